"""Pictures for people: groundings and detections drawn on their image, and a contact sheet of many."""

from groundling.draw.labels import draw_detections, draw_grounding
from groundling.draw.saving import save
from groundling.draw.sheet import Cell, contact_sheet

__all__ = ["Cell", "contact_sheet", "draw_detections", "draw_grounding", "save"]
