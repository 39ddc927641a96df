"""What the demo asks: always the same of a seed, about scenes of its own, and true."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small import mdetr_folder

from groundling.ask.grounder import load_grounder
from groundling.data.street import scene
from groundling.data.street.captions import captions
from groundling.data.street.cuts import cuts
from groundling.data.street.questions import questions as street_questions
from groundling.demo import HELD_OUT, Replies, Requests, ask_all, requests
from groundling.demo.asked import ASKED
from groundling.demo.clock import timed
from groundling.demo.expressions import SCENES
from groundling.draw import Boxes
from groundling.results import Cost, Grounding
from groundling.selection import Selection

COST = Cost({"all": 1}, 1)


@pytest.fixture(scope="module")
def asked() -> Requests:
    return requests(7)


@pytest.fixture(scope="module")
def replies(asked: Requests, tmp_path_factory: pytest.TempPathFactory) -> Replies:
    few = Requests(asked.captions[:5], asked.questions[:5], asked.cuts[:5])
    return ask_all(load_grounder(mdetr_folder(tmp_path_factory.mktemp("demo") / "mdetr")), few)


def test_each_is_about_a_fresh_scene_of_its_own(asked: Requests) -> None:
    assert requests(7) == asked
    assert requests(8) != asked
    places = [street.index for street, _ in (*asked.captions, *asked.questions, *asked.cuts)]
    assert len(set(places)) == len(places) == 3 * ASKED == 180
    assert min(places) >= SCENES  # the others are those of the expressions
    assert all(street == scene(7, street.index) for street, _ in asked.captions)


def test_what_is_asked_is_the_first_that_the_data_has_of_a_scene(asked: Requests) -> None:
    """Three questions of chosen forms said nothing: 1, 2 or 3 of them were right."""
    for street, caption in asked.captions:
        assert caption in captions(street)
        assert len(caption.phrases) >= 2
        assert all(len(phrase.spans) == 1 for phrase in caption.phrases)
    assert all(question == street_questions(street)[0] for street, question in asked.questions)
    assert len({question.kind for _, question in asked.questions}) > 9  # of thirteen types
    assert all(cut == cuts(street)[0] for street, cut in asked.cuts)


def test_answers_stand_beside_what_is_true(asked: Requests, replies: Replies) -> None:
    for (street, caption), cell in zip(asked.captions, replies.captions, strict=False):
        boxes = {thing.id: thing.box for thing in street.objects}
        assert [found.phrase for found in cell.found] == [
            caption.text[slice(*span)] for phrase in caption.phrases for span in phrase.spans
        ]
        assert [set(truth) for truth in cell.truth] == [
            {boxes[number] for number in phrase.objects} for phrase in caption.phrases
        ]
    for (_, question), asked_of in zip(asked.questions, replies.questions, strict=False):
        assert (asked_of.found.text, asked_of.answer) == (question.text, question.answer)
        assert len(asked_of.truth) <= len(question.evidence)
    for (street, cut), masked in zip(asked.cuts, replies.masks, strict=False):
        assert masked.found.text == cut.text
        rows, columns = np.nonzero(masked.truth)
        boxes = [thing.box for thing in street.objects if thing.id in cut.objects]
        assert columns.min() >= min(box[0] for box in boxes) - 1
        assert rows.max() <= max(box[3] for box in boxes) + 1


def test_shares_are_of_all_that_was_asked_and_the_sheet_shows_a_few_of_both_kinds(replies: Replies) -> None:
    right, wrong = (
        replace(replies.questions[0], answer=answer) for answer in (replies.questions[0].found.answer, "?")
    )
    for pattern, rows in (
        ([1] * 5, [1] * 4),
        ([0] * 5, [0] * 2),
        ([0, 0, 0, 1, 1], [1, 1, 0, 0]),
        ([1, 1, 1, 1, 0], [1, 1, 1, 0]),
    ):
        some = replace(replies, questions=tuple(right if good else wrong for good in pattern))
        questions = next(row for row in some.shown if row.name == "Questions")
        assert [cell.right for cell in questions.cells] == [bool(good) for good in rows]
        assert f"{sum(pattern)} of 5 answered right" in questions.meaning
        assert some.shares()["questions, accuracy"] == (sum(pattern) / 5, f"{sum(pattern)} of 5")
    shares, boxes = replies.shares(), Boxes.of(replies.captions)
    assert shares["objects found"][0] == boxes.right / boxes.true
    assert shares["boxes that are right"][1].endswith(f"of {boxes.found}, {boxes.wrong} too many")
    assert replies.show().height > replies.show().width / 2


def test_held_out_figures_are_those_of_the_results() -> None:
    results = (Path(__file__).parents[1] / "docs" / "results.md").read_text()
    for model, measures in HELD_OUT.items():
        lines = results[results.index(f"`{model}`") :].splitlines()
        for measure, measured in measures.items():
            split = [line for line in lines if f"| {measured.split} |" in line]
            assert any(f" {measured.percent}" in line for line in split), (model, measure)
            assert any(f"| {measured.items} |" in line for line in results.splitlines()), (model, measure)


def test_requests_are_made_in_turns_and_the_first_use_is_told_from_repeats() -> None:
    made: list[str] = []
    times = {"a": iter((90.0, 1.0, 4.0, 2.0)), "b": iter((90.0, 30.0, 10.0, 20.0))}

    def request(name: str) -> Grounding:
        made.append(name)
        box = (0.0, 0.0, 1.0, 1.0)
        return Grounding(name, box, None, COST, Selection(()), 8, 8, milliseconds=next(times[name]))

    found = timed(lambda: request("a"), lambda: request("b"), repeats=3)
    said = [(each.found.expression, each.found.milliseconds, each.first_milliseconds) for each in found]
    assert said == [("a", 2.0, 90.0), ("b", 20.0, 90.0)]
    assert made == ["a", "b"] * 4
