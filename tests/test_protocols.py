"""The protocols' cases worked by hand, and what must hold of any answers."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from groundling.pictures.masks import encode
from groundling.protocols import flickr, gqa, phrasecut, refexp
from groundling.protocols.ranking import Rule, as_boxes, by_score

OBJECT = [0.0, 0.0, 10.0, 10.0]
FOUR, SIX, HALF = [0.0, 0.0, 10.0, 4.0], [0.0, 0.0, 10.0, 6.0], [0.0, 0.0, 10.0, 5.0]
AWAY = [50.0, 50.0, 60.0, 60.0]

side, place = st.integers(1, 20), st.integers(0, 20)
box = st.builds(lambda x, y, w, h: [x, y, x + w, y + h], place, place, side, side)
some = st.lists(box, min_size=1, max_size=3)
ranked = st.lists(box, max_size=12)
phrases = st.lists(st.tuples(ranked, some), min_size=1, max_size=6)


# Ranking


def test_boxes_in_the_order_of_their_scores() -> None:
    assert by_score([FOUR, SIX, HALF], [0.1, 0.9, 0.5]).tolist() == [SIX, HALF, FOUR]
    equal = [[0.0, 0.0, 1.0, float(place)] for place in range(100)]
    assert by_score(equal, [0.5] * 100).tolist() == equal
    assert by_score([], []).shape == (0, 4)


@pytest.mark.parametrize("scores", [[0.1], [0.1, math.nan], [[0.1, 0.2]]])
def test_scores_that_do_not_fit(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="2 boxes need 2 scores"):
        by_score([FOUR, SIX], scores)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([0, 0, 1, 1], r"it: boxes have the shape \(N, 4\), given \(4,\)"),
        ([[0, 0, 1]], r"given \(1, 3\)"),
        ([[0, 0, 1], [0, 0, 1, 1]], r"it: boxes have the shape \(N, 4\); expected sequence of length 3"),
        ([["0", "0", "1", "1"]], r"it: boxes have the shape \(N, 4\); "),
        (torch.zeros(2, 0), r"given \(2, 0\)"),
        ([OBJECT, [0, 0, math.inf, 1]], r"finite corners, given \[0.0, 0.0, inf, 1.0\]"),
        ([OBJECT, [20, 20, 5, 5]], r"given \[20.0, 20.0, 5.0, 5.0\]; is it \(left, top, width, height\)"),
    ],
)
def test_what_are_no_boxes(boxes: list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_boxes(boxes, "it")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule(), 2),
        (Rule(strict=True), 3),  # exactly a half does not count
        (Rule(threshold=0.6), 3),
        (Rule(threshold=0.7), None),
        (Rule("giou"), 2),  # inside the object: GIoU is IoU
    ],
)
def test_the_place_of_the_first_right_box(rule: Rule, expected: int | None) -> None:
    answers = torch.tensor([FOUR, HALF, SIX])
    assert rule.place(answers, torch.tensor([OBJECT])) == expected
    assert rule.place(answers, torch.tensor([AWAY, OBJECT])) == expected
    assert rule.place(answers, torch.tensor([AWAY])) is None


def test_rules_that_are_none() -> None:
    assert (str(Rule()), str(Rule("giou", 0.75, True))) == ("iou ≥ 0.5", "giou > 0.75")
    with pytest.raises(ValueError, match="no overlap 'diou'; there are iou, giou"):
        Rule("diou")
    with pytest.raises(ValueError, match="given 50"):
        Rule(threshold=50)


# Referring expressions


def test_precision_by_hand() -> None:
    """Right at place 1, 2 (docstring's case), 6, nowhere, and no answer."""
    answers = [[OBJECT, FOUR], [FOUR, SIX], [AWAY] * 5 + [SIX], [AWAY], []]
    found = refexp.precision(answers, [OBJECT] * 5)
    assert found == refexp.RefExpPrecision("iou ≥ 0.5", 5, 1 / 5, 2 / 5, 3 / 5)
    assert json.dumps(found.as_dict(), ensure_ascii=False) == (
        '{"rule": "iou ≥ 0.5", "expressions": 5, "prec@1": 0.2, "prec@5": 0.4, "prec@10": 0.6}'
    )


def test_the_border_and_giou() -> None:
    assert refexp.precision([[HALF]], [OBJECT]).prec_at_1 == 1
    assert refexp.precision([[HALF]], [OBJECT], strict=True).prec_at_1 == 0
    # (4, 4)-(12, 12) in part over (0, 0)-(10, 10): IoU 36/128; the hull has 144, GIoU 36/128 − 16/144
    beside = [[[4.0, 4.0, 12.0, 12.0]]]
    assert refexp.precision(beside, [OBJECT], threshold=0.28).prec_at_1 == 1
    assert refexp.precision(beside, [OBJECT], threshold=0.28, overlap="giou").prec_at_1 == 0
    assert refexp.precision(beside, [OBJECT], threshold=0.17, overlap="giou").prec_at_1 == 1


@settings(deadline=None)
@given(phrases)
def test_precision_grows_with_k_and_giou_is_stricter(rows: list[tuple[list, list]]) -> None:
    answers, truths = [row[0] for row in rows], [row[1][0] for row in rows]
    plain = refexp.precision(answers, truths)
    strict = refexp.precision(answers, truths, strict=True)
    giou = refexp.precision(answers, truths, overlap="giou")
    assert plain.prec_at_1 <= plain.prec_at_5 <= plain.prec_at_10
    for k in ("prec_at_1", "prec_at_5", "prec_at_10"):
        assert getattr(strict, k) <= getattr(plain, k) >= getattr(giou, k)


def test_expressions_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="no expressions to score"):
        refexp.precision([], [])
    with pytest.raises(ValueError, match="2 expressions need 2 truths, given 1"):
        refexp.precision([[OBJECT], [OBJECT]], [OBJECT])
    with pytest.raises(ValueError, match="answer 1: boxes have the shape"):
        refexp.precision([[OBJECT], OBJECT], [OBJECT, OBJECT])


# Flickr30k Entities

MEN = [[0, 0, 10, 10], [20, 0, 30, 10]]


def test_any_box_and_merged_boxes_by_hand() -> None:
    """One man is a hit of "any" alone, the box around both (IoU 1/3 with each man) of "merged" alone."""
    answers = [[[0, 0, 10, 10], [0, 0, 30, 10]], [AWAY] * 10 + [[20, 0, 30, 10]], [AWAY], [AWAY]]
    truths = [MEN, MEN, MEN, []]
    types = [["people"], ["people", "clothing"], ["scene"], ["scene"]]
    found = flickr.recall(answers, truths, types)
    assert found.all == flickr.Recalls(3, 1 / 3, 1 / 3, 1 / 3, 2 / 3)
    assert (found.dropped, found.protocol, found.rule) == (1, "any", "iou ≥ 0.5")
    assert found.by_type == {
        "clothing": flickr.Recalls(1, 0, 0, 0, 1),
        "people": flickr.Recalls(2, 1 / 2, 1 / 2, 1 / 2, 1),
        "scene": flickr.Recalls(1, 0, 0, 0, 0),
    }
    around = flickr.recall(answers, truths, types, protocol="merged")
    assert around.all == flickr.Recalls(3, 0, 1 / 3, 1 / 3, 1 / 3)
    assert json.loads(json.dumps(around.as_dict()))["by_type"]["people"] == {
        "phrases": 2, "recall@1": 0, "recall@5": 0.5, "recall@10": 0.5, "upper_bound": 0.5,
    }  # fmt: skip


@settings(deadline=None)
@given(phrases)
def test_recall_grows_with_k_up_to_its_bound(rows: list[tuple[list, list]]) -> None:
    answers, truths = [row[0] for row in rows], [row[1] for row in rows]
    for protocol in flickr.PROTOCOLS:
        found = flickr.recall(answers, truths, protocol=protocol).all
        assert 0 <= found.recall_at_1 <= found.recall_at_5 <= found.recall_at_10 <= found.upper_bound <= 1


@settings(deadline=None)
@given(phrases)
def test_one_box_merged_is_that_box(rows: list[tuple[list, list]]) -> None:
    answers, truths = [row[0] for row in rows], [row[1][:1] for row in rows]
    merged = flickr.recall(answers, truths, protocol="merged")
    assert merged.all == flickr.recall(answers, truths).all


@settings(deadline=None)
@given(phrases)
def test_true_boxes_as_answers_are_all_found(rows: list[tuple[list, list]]) -> None:
    truths = [row[1] for row in rows]
    assert flickr.recall(truths, truths).all.recall_at_1 == 1
    around = [flickr.merged(as_boxes(boxes, "")) for boxes in truths]
    assert flickr.recall(around, truths, protocol="merged").all.recall_at_1 == 1


def test_phrases_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="no protocol 'separate'; there are any, merged"):
        flickr.recall([[OBJECT]], [[OBJECT]], protocol="separate")
    with pytest.raises(ValueError, match="1 phrases need 1 types, given 2"):
        flickr.recall([[OBJECT]], [[OBJECT]], [["people"], ["people"]])
    with pytest.raises(ValueError, match="a list of types, given 'people' for phrase 0"):
        flickr.recall([[OBJECT]], [[OBJECT]], ["people"])
    with pytest.raises(ValueError, match="none of 2 phrases has a box"):
        flickr.recall([[OBJECT], []], [[], []])


# GQA


def test_accuracy_by_hand() -> None:
    """The docstring's case."""
    answers, truths = ["dog", "cat", "left"], ["dog", "car", "left"]
    types = ["obj", "obj", "rel"]
    found = gqa.accuracy(answers, truths, types, ["obj", "obj", "attr"])
    by_type = {"obj": gqa.TypeAccuracy(2, 1 / 2), "rel": gqa.TypeAccuracy(1, 1)}
    assert found == gqa.GqaAccuracy(3, 2 / 3, by_type, 2 / 3, 1 / 3)
    assert gqa.accuracy(answers, truths, types) == gqa.GqaAccuracy(3, 2 / 3, by_type)
    assert json.loads(json.dumps(found.as_dict())) == {
        "questions": 3, "accuracy": 0.6667, "accuracy_type": 0.6667, "accuracy_total": 0.3333,
        "by_type": {"obj": {"questions": 2, "accuracy": 0.5}, "rel": {"questions": 1, "accuracy": 1.0}},
        "by_detailed_type": None,
    }  # fmt: skip


def test_finer_types_by_hand() -> None:
    """The docstring's case; the relation says no finer type, and counts in none."""
    answers, truths, types = ["dog", "cat", "left"], ["dog", "car", "left"], ["obj", "obj", "rel"]
    finer = {"exist": gqa.TypeAccuracy(1, 1), "logicOr": gqa.TypeAccuracy(1, 0)}
    found = gqa.accuracy(answers, truths, types, types, detailed_types=["exist", "logicOr", None])
    assert found.by_detailed_type == finer
    assert list(found.as_dict()["by_detailed_type"]) == ["exist", "logicOr"]  # type: ignore[call-overload]
    assert found.accuracy_total == 2 / 3
    alone = gqa.accuracy(answers, truths, types, detailed_types=["logicOr", "logicOr", "logicOr"])
    assert alone.by_detailed_type == {"logicOr": gqa.TypeAccuracy(3, 2 / 3)}
    assert gqa.accuracy(answers, truths, types, detailed_types=[None] * 3).by_detailed_type is None


def test_words_must_be_the_same() -> None:
    assert gqa.accuracy(["Dog"], ["dog"], ["obj"]).accuracy == 0


word, kind = st.sampled_from(["yes", "no", "dog"]), st.sampled_from(gqa.TYPES)


@settings(deadline=None)
@given(st.lists(st.tuples(word, word, kind, kind), min_size=1))
def test_types_add_up(rows: list[tuple[str, str, str, str]]) -> None:
    answers, truths, types, predicted = map(list, zip(*rows, strict=True))
    found = gqa.accuracy(answers, truths, types, predicted)
    weighted = sum(one.questions * one.accuracy for one in found.by_type.values())
    assert found.accuracy == pytest.approx(weighted / found.questions)
    assert found.accuracy_total is not None
    assert found.accuracy_total <= min(found.accuracy, found.accuracy_type or 0)
    assert gqa.accuracy(answers, truths, types, types).accuracy_total == found.accuracy


def test_questions_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="no questions to score"):
        gqa.accuracy([], [], [])
    with pytest.raises(ValueError, match="1 questions need 1 predicted_types, given 0"):
        gqa.accuracy(["a"], ["a"], ["obj"], [])
    with pytest.raises(ValueError, match="1 questions need 1 detailed_types, given 2"):
        gqa.accuracy(["a"], ["a"], ["obj"], detailed_types=["exist", None])
    with pytest.raises(ValueError, match="no question type 'verify'; there are obj, attr, rel, global, cat"):
        gqa.accuracy(["a"], ["a"], ["verify"])
    with pytest.raises(ValueError, match="no question type 'verify'"):
        gqa.accuracy(["a"], ["a"], ["obj"], ["verify"])
    assert set(gqa.accuracy(["a"], ["a"], ["verify"], known_types=None).by_type) == {"verify"}


# PhraseCut


def pixels(*on: tuple[int, int], size: tuple[int, int] = (5, 6)) -> np.ndarray:
    mask = np.zeros(size, dtype=bool)
    for row, column in on:
        mask[row, column] = True
    return mask


def block(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    return pixels(*((row, column) for row in range(top, bottom) for column in range(left, right)))


def test_masks_by_hand() -> None:
    """The docstring's case: 3 of 4 pixels, then 4 of 16 and 4 others; each of two instances."""
    answers = [[pixels((0, 0)), encode(pixels((0, 1), (1, 0))).as_dict()], block(2, 0, 4, 4)]
    truths = [block(0, 0, 2, 2), [encode(block(3, 0, 5, 6)), block(2, 0, 3, 0), block(0, 0, 1, 4)]]
    assert (answers[1] & block(3, 0, 5, 6)).sum() == 4
    found = phrasecut.mask_overlap(answers, truths, [["attr"], ["attr", "stuff"]])
    first = phrasecut.Overlap(1, 0, 0.75, 0.75, 1, 1, 1, 0, 0)
    second = phrasecut.Overlap(1, 0, 0.2, 0.2, 0, 0, 0, 0, 0)
    assert found.all == phrasecut.Overlap(2, 0, pytest.approx(0.475), 7 / 24, 0.5, 0.5, 0.5, 0, 0)
    assert found.subsets == {"attr": found.all, "stuff": second}
    assert phrasecut.mask_overlap(answers[:1], truths[:1]).all == first
    assert json.loads(json.dumps(found.as_dict()))["subsets"]["stuff"] == {
        "phrases": 1, "empty_truths": 0, "mean_iou": 0.2, "cumulative_iou": 0.2,
        "pr@0.5": 0, "pr@0.6": 0, "pr@0.7": 0, "pr@0.8": 0, "pr@0.9": 0,
    }  # fmt: skip


def test_a_threshold_itself_does_not_count() -> None:
    half = phrasecut.mask_overlap([block(0, 0, 1, 2)], [block(0, 0, 2, 2)])
    assert (half.all.mean_iou, half.all.pr_at_05) == (0.5, 0)


def test_nothing_found_and_nothing_to_find() -> None:
    empty, full = block(0, 0, 0, 0), block(0, 0, 5, 6)
    found = phrasecut.mask_overlap([[], full, empty], [full, empty, empty])
    assert found.all == phrasecut.Overlap(3, 2, 0, 0, 0, 0, 0, 0, 0)
    assert phrasecut.mask_overlap([empty], [empty]).all.cumulative_iou == 0


bits = st.lists(st.booleans(), min_size=12, max_size=12).map(lambda on: np.array(on).reshape(3, 4))


@settings(deadline=None)
@given(st.lists(st.tuples(bits, bits), min_size=1, max_size=4))
def test_masks_of_any_answers(rows: list[tuple[np.ndarray, np.ndarray]]) -> None:
    answers, truths = [row[0] for row in rows], [row[1] for row in rows]
    found = phrasecut.mask_overlap(answers, truths).all
    assert found.pr_at_05 >= found.pr_at_06 >= found.pr_at_07 >= found.pr_at_08 >= found.pr_at_09
    assert 0 <= found.mean_iou <= 1
    same = phrasecut.mask_overlap(truths, truths).all
    assert same.cumulative_iou == (1 if any(mask.any() for mask in truths) else 0)
    assert same.mean_iou == same.pr_at_09 == 1 - same.empty_truths / len(truths)


def test_boxes_by_hand() -> None:
    """Two boxes that cover 10 × 6 together (20 of it twice), of a truth of 10 × 10: 60/100."""
    found = phrasecut.box_overlap([[[0, 0, 10, 4], [0, 2, 10, 6]], []], [[OBJECT], [OBJECT]])
    assert found.of == "boxes"
    assert found.all == phrasecut.Overlap(2, 0, 0.3, 0.3, 0.5, 0, 0, 0, 0)


@settings(deadline=None)
@given(ranked)
def test_boxes_cover_the_cells_that_they_are_over(boxes: list[list[int]]) -> None:
    cells = {(x, y) for x1, y1, x2, y2 in boxes for x in range(x1, x2) for y in range(y1, y2)}
    assert phrasecut.covered(as_boxes(boxes, "")) == len(cells)


@settings(deadline=None)
@given(some, some)
def test_boxes_are_masks_that_are_drawn(found: list[list[int]], true: list[list[int]]) -> None:
    def mask(boxes: list[list[int]]) -> np.ndarray:
        canvas = np.zeros((40, 40), dtype=bool)
        for x1, y1, x2, y2 in boxes:
            canvas[y1:y2, x1:x2] = True
        return canvas

    ours = phrasecut.box_overlap([found], [true]).all
    assert ours == phrasecut.mask_overlap([mask(found)], [mask(true)]).all


def test_polygons_are_drawn_with_their_outline() -> None:
    expected = [[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]
    square = [[0, 0], [2.9, 0], [2, 2], [0, 2.5]]
    assert phrasecut.drawn([square, [[3, 3]]], 4, 4).tolist() == (np.array(expected) == 1).tolist()
    with pytest.raises(ValueError, match="given a size of 0×4"):
        phrasecut.drawn([square], 0, 4)


def test_masks_that_do_not_fit() -> None:
    mask = block(0, 0, 1, 1)
    with pytest.raises(ValueError, match="2 phrases need 2 truths, given 1"):
        phrasecut.mask_overlap([mask, mask], [mask])
    with pytest.raises(ValueError, match="phrase 0 has no true mask"):
        phrasecut.mask_overlap([mask], [[]])
    with pytest.raises(ValueError, match="phrase 0: masks of 5×6 and of 6×5 do not lie on one image"):
        phrasecut.mask_overlap([mask.T], [mask])
    with pytest.raises(ValueError, match="given uint8"):
        phrasecut.mask_overlap([mask.astype(np.uint8)], [mask])
    with pytest.raises(ValueError, match="1 phrases need 1 subsets, given 2"):
        phrasecut.mask_overlap([mask], [mask], [["a"], ["b"]])
    with pytest.raises(ValueError, match="a list of subsets, given 'stuff' for phrase 0"):
        phrasecut.mask_overlap([mask], [mask], ["stuff"])
    with pytest.raises(ValueError, match="phrase 0 has no true box"):
        phrasecut.box_overlap([[OBJECT]], [[]])
