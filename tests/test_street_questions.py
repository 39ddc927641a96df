"""Questions about street scenes: answers are what the scene says, evidence is what is meant."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest
import street_truth

from groundling.data import street
from groundling.data.street.draw import GROUNDS, SKIES
from groundling.data.street.question import ANSWERS, BINARY, KINDS, Meaning, Question, asked
from groundling.data.street.questions import questions
from groundling.data.street.reader import matching
from groundling.data.street.scenes import Scene
from groundling.data.street.setting import COVERS, WEATHERS, setting

SCENES = 2000


@pytest.fixture(scope="module")
def many() -> list[tuple[Scene, tuple[Question, ...]]]:
    return [(scene, questions(scene)) for scene in street_truth.scenes(SCENES)]


def test_each_answer_is_what_the_scene_says(many: list[tuple[Scene, tuple[Question, ...]]]) -> None:
    """The reader of tests/street_truth.py shares no code with the maker."""
    for scene, found in many:
        for question in found:
            assert street_truth.answer(scene, question.text) == question.answer, question


def test_no_answer_hangs_on_a_hair(many: list[tuple[Scene, tuple[Question, ...]]]) -> None:
    """Boxes may move by 2.5 of 192 pixels and the answer stays."""
    rng = random.Random(0)
    for scene, found in many[:300]:
        shaken = street_truth.shaken(scene, rng)
        for question in found:
            assert street_truth.answer(shaken, question.text) == question.answer, question


def test_evidence_is_what_its_words_mean(many: list[tuple[Scene, tuple[Question, ...]]]) -> None:
    for scene, found in many:
        names = {thing.id: thing.category for thing in scene.objects}
        for question in found:
            words = question.text.removesuffix("?").split()
            for evidence in question.evidence:
                said = " ".join(words[slice(*evidence.words)])
                if evidence.object == question.shown:
                    assert said in ("Who", "What", "thing", *street_truth.KINDS)
                    assert names[evidence.object] == question.answer
                elif question.kind == "existRel" and evidence is not question.evidence[-1]:
                    rest = " ".join(words[evidence.words[0] :])
                    assert street_truth.loosely(scene, rest) == {evidence.object}, question
                else:
                    assert matching(scene, said) == {evidence.object}, question


def test_evidence_is_all_that_is_there(many: list[tuple[Scene, tuple[Question, ...]]]) -> None:
    """What a question is about has evidence; what is not there has none."""
    for question in [question for _, found in many for question in found]:
        count = len(question.evidence)
        yes = question.answer == "yes"
        match question.kind:
            case "queryGlobal" | "verifyGlobal" | "chooseGlobal":
                assert count == 0
            case "queryAttr" | "verifyAttr" | "verifyAttrs" | "chooseAttr":
                assert count == 1
            case "exist":
                assert count == yes
            case "existRel":
                assert count == 1 + yes
            case "logicOr":
                assert count >= 1 if yes else count == 0
            case "logicAnd":
                assert count == 2 if yes else count <= 1
            case _:
                assert count >= 1
                assert question.shown == question.evidence[0].object


def test_the_vocabulary_is_closed(many: list[tuple[Scene, tuple[Question, ...]]]) -> None:
    used = defaultdict(set)
    for _, found in many:
        for question in found:
            used[question.semantic].add(question.answer)
    size = len({word for words in ANSWERS.values() for word in words})
    print(f"answers: {size} in all;", {kind: len(words) for kind, words in ANSWERS.items()})
    assert {kind: set(words) for kind, words in ANSWERS.items()} == used
    assert size == 45


def test_thirteen_types_in_turn(many: list[tuple[Scene, tuple[Question, ...]]]) -> None:
    kinds = Counter(question.kind for _, found in many for question in found)
    assert len(KINDS) == 13 == len(kinds)
    assert kinds.total() >= 7.99 * SCENES
    assert all(abs(count / kinds.total() - 1 / 13) < 0.012 for count in kinds.values()), kinds
    assert all(len({question.text for question in found}) == len(found) for _, found in many)


def test_yes_and_no_are_even(many: list[tuple[Scene, tuple[Question, ...]]]) -> None:
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for _, found in many:
        for question in found:
            answers[question.kind][question.answer] += 1
    for kind in BINARY:
        assert set(answers[kind]) == {"yes", "no"}
        assert answers[kind]["yes"] / answers[kind].total() == pytest.approx(0.5, abs=0.05), kind
    for kind in ("chooseGlobal", "queryGlobal", "queryAttr", "chooseAttr", "queryObject", "chooseObject"):
        assert answers[kind].most_common(1)[0][1] / answers[kind].total() < 0.35, kind


def test_the_place_in_a_choice_tells_nothing(many: list[tuple[Scene, tuple[Question, ...]]]) -> None:
    found = [question for _, asked in many for question in asked if question.kind.startswith("choose")]
    last = [question.text.removesuffix("?").endswith(question.answer) for question in found]
    ground = [question.text.endswith("on the ground?") for question in found]
    share = sum(last) / (len(found) - sum(ground))
    assert share == pytest.approx(0.5, abs=0.04)


def _shape(question: Question) -> list[str]:
    return [question.kind, *question.text.lower().removesuffix("?").split()]


def _blind(train: Sequence[Question], test: Sequence[Question]) -> float:
    """How often a naive Bayes reader that sees no picture answers right."""
    counts = {answer: Counter[str]() for answer in ("yes", "no")}
    for question in train:
        counts[question.answer].update(_shape(question))
    right = 0
    for question in test:
        score = sum(
            math.log((counts["yes"][word] + 2) / (counts["no"][word] + 2)) for word in _shape(question)
        )
        right += (score > 0) == (question.answer == "yes")
    return right / len(test)


def test_words_alone_tell_little(many: list[tuple[Scene, tuple[Question, ...]]]) -> None:
    found = [question for _, asked in many for question in asked if question.kind in BINARY]
    assert 0.4 < _blind(found[: len(found) // 2], found[len(found) // 2 :]) < 0.62


def test_only_some_types() -> None:
    found = questions(street.scene(3, 1), 6, only=("exist", "queryGlobal"))
    assert Counter(question.kind for question in found).keys() == {"exist", "queryGlobal"}
    assert questions(street.scene(3, 1), 0) == ()
    assert questions(street.scene(3, 1)) == questions(street.scene(3, 1))
    with pytest.raises(ValueError, match="unknown types compare; there are queryGlobal"):
        questions(street.scene(3, 1), only=("compare",))
    with pytest.raises(ValueError, match="count"):
        questions(street.scene(3, 1), -1)
    with pytest.raises(ValueError, match="unknown types"):
        questions(street.scene(3, 1), only=())


def test_a_question_by_hand() -> None:
    pieces = [
        "Is there a",
        Meaning("red car", 3),
        "next to the",
        Meaning("dog", 5),
        "",
        Meaning("ghost", None),
    ]
    question = asked("existRel", pieces, "yes", (("select", "dog (5)"),))
    assert question.text == "Is there a red car next to the dog ghost?"
    assert [(evidence.words, evidence.object) for evidence in question.evidence] == [((3, 5), 3), ((8, 9), 5)]
    assert (question.semantic, question.structural) == ("rel", "verify")
    assert question.full_answer == "Yes, that is so."


def test_the_setting_is_what_is_drawn() -> None:
    """Sky and ground have one word for each of their colours; the picture's own colours say the same."""
    assert (len(WEATHERS), len(COVERS)) == (len(SKIES), len(GROUNDS))
    seen = set()
    for scene in street_truth.scenes(60):
        here = setting(scene)
        assert street_truth.background(scene.seed, scene.index) == (here.weather, here.ground)
        seen |= {here.weather, here.ground}
    assert seen == {*WEATHERS, *COVERS}
