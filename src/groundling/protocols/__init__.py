"""How the field scores answers: pure functions over boxes, scores, masks and words, one file a protocol.

None knows a model or a dataset's files. Each returns a frozen result whose `as_dict()` prints as JSON, and
raises ValueError for input that does not fit.
"""
