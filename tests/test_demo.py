"""What the demo asks: always the same of a seed, about scenes of its own, and true."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small import mdetr_folder

from groundling.ask.grounder import load_grounder
from groundling.data.street import scene
from groundling.data.street.captions import captions
from groundling.data.street.cuts import cuts
from groundling.data.street.questions import questions as street_questions
from groundling.demo import MdetrAsked, ask_mdetr, mdetr_questions
from groundling.demo.clock import timed, timed_from_first
from groundling.demo.expressions import SCENES
from groundling.results import Cost, Grounding
from groundling.selection import Selection

COST = Cost({"all": 1}, 1)


@pytest.fixture(scope="module")
def asked() -> MdetrAsked:
    return mdetr_questions(7)


def test_each_is_about_a_fresh_scene_of_its_own(asked: MdetrAsked) -> None:
    assert mdetr_questions(7) == asked
    assert mdetr_questions(8) != asked
    places = [street.index for street, _ in (*asked.captions, *asked.questions, *asked.cuts)]
    assert len(set(places)) == len(places) == 9
    assert min(places) >= SCENES  # the others are those of the expressions
    assert all(street == scene(7, street.index) for street, _ in asked.captions)


def test_what_is_asked_is_of_the_kinds_that_are_shown(asked: MdetrAsked) -> None:
    for street, caption in asked.captions:
        assert caption in captions(street)
        assert len(caption.phrases) >= 2
        assert all(len(phrase.spans) == 1 for phrase in caption.phrases)
    for (street, question), form in zip(asked.questions, ("query", "verify", "choose"), strict=True):
        assert question in street_questions(street)
        assert question.structural == form
        assert question.evidence
    assert all(cut in cuts(street) for street, cut in asked.cuts)
    assert [len(cut.objects) > 1 for _, cut in asked.cuts] == [True, False, True]


def test_answers_stand_beside_what_is_true(asked: MdetrAsked, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    answers = ask_mdetr(load_grounder(mdetr_folder(tmp_path / "mdetr")), asked, repeats=2)
    assert torch.get_num_threads() == threads
    for (street, caption), cell in zip(asked.captions, answers.captions, strict=True):
        boxes = {thing.id: thing.box for thing in street.objects}
        assert [found.phrase for found in cell.found] == [
            caption.text[slice(*span)] for phrase in caption.phrases for span in phrase.spans
        ]
        assert [set(truth) for truth in cell.truth] == [
            {boxes[number] for number in phrase.objects} for phrase in caption.phrases
        ]
    for (_, question), asked_of in zip(asked.questions, answers.questions, strict=True):
        assert (asked_of.found.text, asked_of.answer) == (question.text, question.answer)
        assert 1 <= len(asked_of.truth) <= len(question.evidence)
    for (street, cut), masked in zip(asked.cuts, answers.masks, strict=True):
        assert masked.found.text == cut.text
        rows, columns = np.nonzero(masked.truth)
        boxes = [thing.box for thing in street.objects if thing.id in cut.objects]
        assert columns.min() >= min(box[0] for box in boxes) - 1
        assert rows.max() <= max(box[3] for box in boxes) + 1
    assert answers.summary().count(" of ") == 2
    assert answers.show().height > answers.show().width


def test_requests_are_made_in_turns_and_the_first_turn_does_not_count() -> None:
    made: list[str] = []
    times = {"a": iter((90.0, 1.0, 4.0, 2.0)), "b": iter((90.0, 30.0, 10.0, 20.0))}

    def request(name: str) -> Grounding:
        made.append(name)
        box = (0.0, 0.0, 1.0, 1.0)
        return Grounding(name, box, None, COST, Selection(()), 8, 8, milliseconds=next(times[name]))

    found = timed(lambda: request("a"), lambda: request("b"), repeats=3)
    assert [(each.expression, each.milliseconds) for each in found] == [("a", 2.0), ("b", 20.0)]
    assert made == ["a", "b"] * 4
    times = {"a": iter((90.0, 1.0)), "b": iter((80.0, 30.0))}
    pairs = timed_from_first(lambda: request("a"), lambda: request("b"), repeats=1)
    assert [(each.first_milliseconds, each.found.milliseconds) for each in pairs] == [(90, 1), (80, 30)]
