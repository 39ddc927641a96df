"""Captions, questions and phrases about fresh scenes: many are asked, so that a share says something.

Each is about a scene of its own, none of those that `expressions` draws, and the first one that the data's
generator makes of it: nothing is chosen by what a model answers. The sheet shows the first few of each, of
questions the first few that were answered right and the first few that were not. Each is asked once, in one
thread, after one warm-up; nothing is extracted here, so a repeat takes as long.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from typing import TypeVar

import numpy as np
from PIL import Image

from groundling.ask.grounder import Grounder
from groundling.data.sample import Box
from groundling.data.street import Scene, jpeg, scene
from groundling.data.street.captions import StreetCaption, captions
from groundling.data.street.cuts import Cut, cuts
from groundling.data.street.masks import masks
from groundling.data.street.question import Question
from groundling.data.street.questions import questions
from groundling.demo.clock import one_thread
from groundling.demo.expressions import SCENES
from groundling.draw import (
    Boxes,
    CaptionCell,
    MaskCell,
    QuestionCell,
    Row,
    asked_sheet,
    asked_summary,
)
from groundling.pictures.images import open_image
from groundling.words.text import Span

ASKED = 60  # of each kind: of 60 that are right nine times in ten, 50 to 58 are right (95 %)
SHOWN, WRONG = 4, 2  # in a row of the sheet, and how many of its questions were answered wrong, at most

T = TypeVar("T")


@dataclass(frozen=True)
class Requests:
    """What is asked, each with its scene."""

    captions: tuple[tuple[Scene, StreetCaption], ...]
    questions: tuple[tuple[Scene, Question], ...]
    cuts: tuple[tuple[Scene, Cut], ...]


@dataclass(frozen=True)
class Replies:
    """What was answered, beside what is true."""

    captions: tuple[CaptionCell, ...]
    questions: tuple[QuestionCell, ...]
    masks: tuple[MaskCell, ...]

    @property
    def shown(self) -> tuple[Row, ...]:
        """The rows of the sheet: the first few of each kind."""
        wrong = [cell for cell in self.questions if not cell.right][:WRONG]
        right = [cell for cell in self.questions if cell.right][: SHOWN - len(wrong)]
        count = f"{sum(cell.right for cell in self.questions)} of {len(self.questions)} answered right"
        return (
            Row("Captions", "each phrase in one colour, in words and picture", self.captions[:SHOWN]),
            Row("Questions", f"{count}; here the first of either kind", (*right, *wrong)),
            Row("Masks", "the pixels of everything that a phrase means", self.masks[:SHOWN]),
        )

    def show(self) -> Image.Image:
        """The contact sheet: what it shows, under what was right of all."""
        return asked_sheet(self.shown, self.summary())

    def summary(self) -> str:
        """What was right of all that was asked, in one line."""
        return asked_summary([*self.captions, *self.questions, *self.masks])

    def shares(self) -> dict[str, tuple[float, str]]:
        """What was right as a share, and of how many, by the names of the measures."""
        phrases = [right for cell in self.captions for right in cell.right]
        boxes, answers = Boxes.of(self.captions), [cell.right for cell in self.questions]
        cover = [cell.iou for cell in self.masks]
        return {
            "phrases, Recall@1": (sum(phrases) / len(phrases), f"{sum(phrases)} of {len(phrases)}"),
            "objects found": (boxes.right / boxes.true, f"{boxes.right} of {boxes.true}"),
            "boxes that are right": (
                boxes.right / max(1, boxes.found),
                f"{boxes.right} of {boxes.found}, {boxes.wrong} too many",
            ),
            "questions, accuracy": (sum(answers) / len(answers), f"{sum(answers)} of {len(answers)}"),
            "masks, mean IoU": (sum(cover) / len(cover), f"{len(cover)} masks"),
        }


def requests(seed: int) -> Requests:
    """What the first fresh scenes in turn give: 60 captions, 60 questions and 60 phrases for masks.

    A caption has two phrases or more and says each once: a query belongs to one mention.
    """
    scenes = map(partial(scene, seed), count(SCENES))
    return Requests(
        tuple(islice(_found(scenes, _caption), ASKED)),
        tuple(islice(_found(scenes, _question), ASKED)),
        tuple(islice(_found(scenes, _cut), ASKED)),
    )


def check_tasks(model: Grounder) -> None:
    """ValueError for a model that finds no objects of a text, or has no heads for answers or masks."""
    net, _ = model.finder()
    missing = [] if net.config.answers else ["answers no questions"]
    missing += [] if net.config.masks else ["segments nothing"]
    if missing:
        raise ValueError(
            f"this model {' and '.join(missing)}: the demo takes one that does both, mdetr_street or what is "
            "trained with model.answers and model.masks"
        )


def ask_all(model: Grounder, asked: Requests) -> Replies:
    """The model's answers, with the time of each; ValueError as of `check_tasks`."""
    check_tasks(model)
    with one_thread():
        _phrases(model, *asked.captions[0])  # the first request of a process takes many times as long
        return Replies(
            tuple(_phrases(model, *one) for one in asked.captions),
            tuple(_answer(model, *one) for one in asked.questions),
            tuple(_mask(model, *one) for one in asked.cuts),
        )


# ----------------------------------------------------------------------------------------- what is asked


def _found(scenes: Iterator[Scene], find: Callable[[Scene], T | None]) -> Iterator[tuple[Scene, T]]:
    """The scenes of which something is found, and that."""
    for street in scenes:
        found = find(street)
        if found is not None:
            yield street, found


def _caption(street: Scene) -> StreetCaption | None:
    return next(
        (c for c in captions(street) if len(c.phrases) > 1 and len(_spans(c)) == len(c.phrases)), None
    )


def _spans(caption: StreetCaption) -> list[Span]:
    return [span for phrase in caption.phrases for span in phrase.spans]


def _question(street: Scene) -> Question | None:
    return next(iter(questions(street, 1)), None)


def _cut(street: Scene) -> Cut | None:
    return next(iter(cuts(street)), None)


# --------------------------------------------------------------------------------------- what is answered


def _phrases(model: Grounder, street: Scene, caption: StreetCaption) -> CaptionCell:
    picture = jpeg(street)
    found = model.ground_phrases(picture, caption.text, spans=_spans(caption))
    truth = tuple(_boxes(street, phrase.objects) for phrase in caption.phrases)
    return CaptionCell(open_image(picture), found, truth)


def _answer(model: Grounder, street: Scene, question: Question) -> QuestionCell:
    picture = jpeg(street)
    found = model.answer(picture, question.text)
    truth = _boxes(street, {evidence.object for evidence in question.evidence})
    return QuestionCell(open_image(picture), found, question.answer, truth)


def _mask(model: Grounder, street: Scene, cut: Cut) -> MaskCell:
    picture = jpeg(street)
    found = model.segment(picture, cut.text)
    own = [mask for number, mask in masks(street).items() if number in cut.objects]
    return MaskCell(open_image(picture), found, np.logical_or.reduce(own))


def _boxes(street: Scene, objects: Collection[int]) -> tuple[Box, ...]:
    return tuple(thing.box for thing in street.objects if thing.id in objects)
