"""What comes back: a Grounding, Detections, what a caption or question found, and a Cost beside each.

Every answer prints as one line, draws itself on its picture (`show`, `save`, in notebooks by itself), and
goes on as plain values: JSON (`as_dict`), rows of a table, results of COCO, `supervision.Detections`.
"""

from groundling.results.asked import Answer, Asked, CaptionGrounding, PhraseObjects, Segmentation
from groundling.results.cost import Cost
from groundling.results.detections import Detection, Detections
from groundling.results.found import Box
from groundling.results.grounding import Grounding
from groundling.results.shown import Shown, View

__all__ = [
    "Answer",
    "Asked",
    "Box",
    "CaptionGrounding",
    "Cost",
    "Detection",
    "Detections",
    "Grounding",
    "PhraseObjects",
    "Segmentation",
    "Shown",
    "View",
]
