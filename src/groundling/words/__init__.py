"""Words become tensors: tokenizers, text encoders, and the phrases of a text with their characters."""
