"""Expressions about fresh scenes, each grounded by the subnet of its words and by the full network.

Time is measured in one thread, after a warm-up with other words: the first use of an expression, which reads
it and extracts its subnet, then repeats of it in turns with the full network, whose medians count.
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
WARM_UP = "a bench"


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
    """The model's answers, with their times and that of the full network."""
    whole = Selection.all_on(model.model.units())
    with one_thread():
        model.ground(asked[0].picture, WARM_UP)  # the first request of a process takes many times as long
        model.ground(asked[0].picture, WARM_UP, selection=whole)
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
    picture = open_image(question.picture)
    return Cell(picture, found.found, question.truth, full.found.milliseconds, found.first_milliseconds)
