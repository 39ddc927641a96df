"""What decides, and what a decision is: selectors, Selections, extraction and cost."""
