"""Pictures for people: what was found, drawn on its image, and contact sheets of many."""

from groundling.draw.asked import draw_answer, draw_mask, draw_phrases
from groundling.draw.asked_cells import AskedCell, Boxes, CaptionCell, MaskCell, QuestionCell, asked_summary
from groundling.draw.asked_sheet import Row, asked_sheet
from groundling.draw.labels import draw_detections, draw_grounding
from groundling.draw.saving import check_picture, format_of, save
from groundling.draw.sheet import Cell, contact_sheet

__all__ = [
    "AskedCell",
    "Boxes",
    "CaptionCell",
    "Cell",
    "MaskCell",
    "QuestionCell",
    "Row",
    "asked_sheet",
    "asked_summary",
    "check_picture",
    "contact_sheet",
    "draw_answer",
    "draw_detections",
    "draw_grounding",
    "draw_mask",
    "draw_phrases",
    "format_of",
    "save",
]
