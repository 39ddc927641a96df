"""Expressions about fresh scenes, each grounded by the subnet of its words and by the full network.

Time is measured in one thread, the subnet and the full network in turns, after one warm-up; medians count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from groundling.ask.grounder import Grounder
from groundling.data.sample import Box
from groundling.data.street import describe, jpeg, scene
from groundling.demo.clock import REPEATS, one_thread, timed
from groundling.draw import Cell, contact_sheet
from groundling.pictures.images import open_image
from groundling.selection import Selection

SCENES, EACH, COLUMNS = 6, 2, 4


@dataclass(frozen=True)
class Question:
    """An expression about a picture (JPEG, as the training data), and the box that answers it."""

    picture: bytes
    expression: str
    truth: Box


def questions(seed: int) -> list[Question]:
    """Two expressions for each scene, of different kinds and about different objects where possible."""
    asked = []
    for index in range(SCENES):
        street = scene(seed, index)
        first, *others = describe(street)
        others.sort(key=lambda other: (other.target == first.target) + (other.kind == first.kind))
        boxes = {thing.id: thing.box for thing in street.objects}
        picture = jpeg(street)
        asked += [Question(picture, r.expression, boxes[r.target]) for r in (first, *others)[:EACH]]
    return asked


def ask(model: Grounder, asked: Sequence[Question], repeats: int = REPEATS) -> list[Cell]:
    """The model's answers, with their time and that of the full network: medians of `repeats` turns."""
    whole = Selection.all_on(model.model.units())
    with one_thread():
        return [_answer(model, question, whole, repeats) for question in asked]


def show(cells: Sequence[Cell]) -> Image.Image:
    """The contact sheet: expressions about one picture are beside each other."""
    return contact_sheet([cells[first : first + COLUMNS] for first in range(0, len(cells), COLUMNS)])


def _answer(model: Grounder, question: Question, whole: Selection, repeats: int) -> Cell:
    found, full = timed(
        lambda: model.ground(question.picture, question.expression),
        lambda: model.ground(question.picture, question.expression, selection=whole),
        repeats=repeats,
    )
    return Cell(open_image(question.picture), found, question.truth, full.milliseconds)
