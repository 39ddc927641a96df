"""What packaged models reach on held-out scenes, as docs/results.md says: what a demo's shares stand beside.

Thousands of scenes of another seed than the models were trained on; the demo's own are too few to say more
than about where a model is.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """A share in percent, of how many things of which split."""

    percent: float
    items: int
    split: str


HELD_OUT: Mapping[str, Mapping[str, Measured]] = {
    "lads_street": {"expressions, Prec@0.5": Measured(91.3, 3600, "val")},
    "mdetr_street": {
        "phrases, Recall@1": Measured(88.4, 4990, "test"),
        "questions, accuracy": Measured(91.1, 3200, "testdev_balanced"),
        "masks, mean IoU": Measured(79.1, 2400, "test"),
    },
    "mdetr_adaptive": {
        "phrases, Recall@1": Measured(86.4, 4990, "test"),
        "questions, accuracy": Measured(90.0, 3200, "testdev_balanced"),
        "masks, mean IoU": Measured(76.6, 2400, "test"),
    },
}
