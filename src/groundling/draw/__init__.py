"""Pictures for people: what was found, drawn on its image, and contact sheets of many."""

from groundling.draw.asked import draw_answer, draw_mask, draw_phrases
from groundling.draw.labels import draw_detections, draw_grounding
from groundling.draw.saving import save
from groundling.draw.sheet import Cell, contact_sheet

__all__ = [
    "Cell",
    "contact_sheet",
    "draw_answer",
    "draw_detections",
    "draw_grounding",
    "draw_mask",
    "draw_phrases",
    "save",
]
