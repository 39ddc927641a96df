"""Building blocks that know their units: each can run masked (training) or hand out its dense part."""
