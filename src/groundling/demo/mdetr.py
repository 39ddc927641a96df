"""Captions, questions and phrases about fresh scenes, answered by an MDETR: phrases, answers and masks.

Each is about a scene of its own, none of those that `expressions` draws. Time as there: one thread, a
warm-up, then the median of some turns, from pixels to the answer.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
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
from groundling.demo.clock import REPEATS, one_thread, timed
from groundling.demo.expressions import SCENES
from groundling.draw import CaptionCell, MaskCell, QuestionCell, asked_sheet, asked_summary
from groundling.pictures.images import open_image
from groundling.words.text import Span

EACH = 3  # captions, questions and masks
FORMS = ("query", "verify", "choose")  # of the questions, in turn

T = TypeVar("T")


@dataclass(frozen=True)
class MdetrAsked:
    """What is asked, each with its scene."""

    captions: tuple[tuple[Scene, StreetCaption], ...]
    questions: tuple[tuple[Scene, Question], ...]
    cuts: tuple[tuple[Scene, Cut], ...]


@dataclass(frozen=True)
class MdetrAnswers:
    """What was answered, beside what is true."""

    captions: tuple[CaptionCell, ...]
    questions: tuple[QuestionCell, ...]
    masks: tuple[MaskCell, ...]

    def show(self) -> Image.Image:
        """The contact sheet."""
        return asked_sheet(self.captions, self.questions, self.masks)

    def summary(self) -> str:
        """What was right, in one line."""
        return asked_summary(self.captions, self.questions, self.masks)


def mdetr_questions(seed: int) -> MdetrAsked:
    """The first scenes in turn that have a caption, a question and a phrase of the kind that is looked for.

    A caption has two phrases or more and says each once; a question is about an object; a mask is of one
    object and of several in turn, where there are several.
    """
    scenes = map(partial(scene, seed), count(SCENES))
    return MdetrAsked(
        tuple(_first(scenes, _caption) for _ in range(EACH)),
        tuple(_first(scenes, partial(_question, form)) for form in FORMS),
        tuple(_first(scenes, partial(_cut, place % 2 == 0)) for place in range(EACH)),
    )


def check_tasks(model: Grounder) -> None:
    """ValueError for a model that is no MDETR, or one without heads for answers or masks."""
    net, _ = model.finder()
    missing = [] if net.config.answers else ["answers no questions"]
    missing += [] if net.config.masks else ["segments nothing"]
    if missing:
        raise ValueError(
            f"this MDETR {' and '.join(missing)}: the demo takes one that does both, mdetr_street or what is "
            "trained with model.answers and model.masks"
        )


def ask_mdetr(model: Grounder, asked: MdetrAsked, repeats: int = REPEATS) -> MdetrAnswers:
    """The model's answers, with the median time of `repeats` turns; ValueError as of `check_tasks`."""
    check_tasks(model)
    with one_thread():
        return MdetrAnswers(
            tuple(_phrases(model, *one, repeats) for one in asked.captions),
            tuple(_answer(model, *one, repeats) for one in asked.questions),
            tuple(_mask(model, *one, repeats) for one in asked.cuts),
        )


# ----------------------------------------------------------------------------------------- what is asked


def _first(scenes: Iterator[Scene], find: Callable[[Scene], T | None]) -> tuple[Scene, T]:
    """The next scene of which something is found, and that."""
    for street in scenes:
        found = find(street)
        if found is not None:
            return street, found
    raise AssertionError("scenes have no end")


def _caption(street: Scene) -> StreetCaption | None:
    return next(
        (c for c in captions(street) if len(c.phrases) > 1 and len(_spans(c)) == len(c.phrases)), None
    )


def _spans(caption: StreetCaption) -> list[Span]:
    return [span for phrase in caption.phrases for span in phrase.spans]


def _question(form: str, street: Scene) -> Question | None:
    return next((q for q in questions(street) if q.structural == form and q.evidence), None)


def _cut(several: bool, street: Scene) -> Cut | None:
    return next((cut for cut in cuts(street) if (len(cut.objects) > 1) == several), None)


# --------------------------------------------------------------------------------------- what is answered


def _phrases(model: Grounder, street: Scene, caption: StreetCaption, repeats: int) -> CaptionCell:
    picture = jpeg(street)
    (found,) = timed(
        lambda: model.ground_phrases(picture, caption.text, spans=_spans(caption)), repeats=repeats
    )
    truth = tuple(_boxes(street, phrase.objects) for phrase in caption.phrases)
    return CaptionCell(open_image(picture), found, truth)


def _answer(model: Grounder, street: Scene, question: Question, repeats: int) -> QuestionCell:
    picture = jpeg(street)
    (found,) = timed(lambda: model.answer(picture, question.text), repeats=repeats)
    truth = _boxes(street, {evidence.object for evidence in question.evidence})
    return QuestionCell(open_image(picture), found, question.answer, truth)


def _mask(model: Grounder, street: Scene, cut: Cut, repeats: int) -> MaskCell:
    picture = jpeg(street)
    (found,) = timed(lambda: model.segment(picture, cut.text), repeats=repeats)
    own = [mask for number, mask in masks(street).items() if number in cut.objects]
    return MaskCell(open_image(picture), found, np.logical_or.reduce(own))


def _boxes(street: Scene, objects: Collection[int]) -> tuple[Box, ...]:
    return tuple(thing.box for thing in street.objects if thing.id in objects)
