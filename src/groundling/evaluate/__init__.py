"""A model on a split of a dataset by the protocol of its field, with its cost beside it; a file a protocol.

Each function asks through a callable, so that it knows no model: `jobs` says which model and which dataset go
together.
"""

from groundling.evaluate.one_box import Metrics, Outcome, answers, evaluate, summarise

__all__ = ["Metrics", "Outcome", "answers", "evaluate", "summarise"]
