"""COCO's and LVIS' AP: cases by hand, a slow second implementation, and faster-coco-eval called directly."""

import copy
import json
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import coco_json
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from groundling.pictures import boxes
from groundling.pictures.masks import encode, from_polygons
from groundling.protocols import coco, lvis
from groundling.protocols.detections import Detection, Truth, Verified

REAL = Path(__file__).parents[2] / "shared" / "data" / "lvis_val_100" / "lvis_val_100.json"

FIRST, SECOND, AWAY = (0, 0, 10, 10), (20, 20, 70, 70), (80, 80, 90, 90)
TWO = [Truth(1, "cat", FIRST), Truth(1, "cat", SECOND)]


# By hand


def test_one_image_and_two_boxes() -> None:
    """The docstring's case. The first object is small, the second, of 50 × 50, medium."""
    found = coco.average_precision(TWO, [Detection(1, "cat", 0.9, FIRST), Detection(1, "cat", 0.5, AWAY)])
    part = pytest.approx(51 / 101)
    assert found == coco.CocoAP(
        of="boxes", objects=2, detections=2, ap=part, ap_50=part, ap_75=part, ap_small=1, ap_medium=0,
        ap_large=None, ar_1=0.5, ar_10=0.5, ar_100=0.5, ar_small=1, ar_medium=0, ar_large=None,
    )  # fmt: skip
    assert json.dumps(found.as_dict()) == (
        '{"of": "boxes", "objects": 2, "detections": 2, "AP": 0.505, "AP50": 0.505, "AP75": 0.505, '
        '"APs": 1.0, "APm": 0.0, "APl": null, "AR1": 0.5, "AR10": 0.5, "AR100": 0.5, '
        '"ARs": 1.0, "ARm": 0.0, "ARl": null}'
    )


def test_thresholds_are_reached_one_by_one() -> None:
    """10 × 7.2 in an object of 10 × 10: IoU 0.72, which 0.50 to 0.70 (5 of 10) accept and 0.75 does not."""
    found = coco.average_precision(TWO[:1], [Detection(1, "cat", 1.0, (0, 0, 10, 7.2))])
    assert (found.ap, found.ap_50, found.ap_75, found.ar_1) == (0.5, 1, 0, 0.5)


def test_the_best_detection_is_in_another_image() -> None:
    """A wrong box ranked above a right one, of another image: precision 1/2 up to recall 1."""
    detections = [Detection(1, "cat", 0.5, FIRST), Detection(2, "cat", 0.9, FIRST)]
    assert coco.average_precision(TWO[:1], detections).ap == pytest.approx(0.5)
    assert coco.average_precision(TWO[:1], detections, images=[1, 2, 3]).ap == pytest.approx(0.5)


@pytest.mark.parametrize("ids", [(2, 10), ("10", "2"), (2, "1")])
def test_equal_scores_are_ranked_in_the_order_of_the_images(ids: tuple[int | str, int | str]) -> None:
    first, second = ids
    truths = [Truth(first, "cat", FIRST), Truth(second, "cat", SECOND)]
    for right, wrong, expected in ((first, second, 51 / 101), (second, first, 51 / 101 / 2)):
        box = FIRST if right == first else SECOND
        detections = [Detection(wrong, "cat", 0.5, AWAY), Detection(right, "cat", 0.5, box)]
        assert coco.average_precision(truths, detections).ap == pytest.approx(expected)


def test_no_detection_at_all() -> None:
    found = coco.average_precision(TWO, [])
    assert (found.ap, found.ar_100, found.ap_large) == (0, 0, None)


def test_a_crowd_counts_neither_for_nor_against() -> None:
    crowd = Truth(1, "cat", SECOND, crowd=True)
    inside = Detection(1, "cat", 0.9, (30, 30, 40, 40))  # a cat of the crowd
    right = Detection(1, "cat", 0.5, FIRST)
    assert coco.average_precision([TWO[0], crowd], [inside, right]).ap == 1
    assert coco.average_precision(TWO, [inside, right]).ap == pytest.approx(51 / 101 / 2)


def test_the_area_that_is_given_decides() -> None:
    big = Truth(1, "cat", FIRST, area=100.0**2)
    found = coco.average_precision([big], [Detection(1, "cat", 0.9, FIRST)])
    assert (found.ap_small, found.ap_large) == (None, 1)


def test_masks_by_hand() -> None:
    """10 × 10 pixels and 8 of their columns: IoU 0.8, accepted by 0.50 to 0.80, 7 of 10; no box is asked."""
    whole, part = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    whole[:10, :10] = part[:10, :8] = True
    truth = Truth("a", 7, mask=encode(whole))
    detection = Detection("a", 7, 0.9, box=AWAY, mask=encode(part))
    found = coco.average_precision([truth], [detection], of="masks")
    assert (found.of, found.ap, found.ap_small, found.ar_1) == (
        "masks",
        pytest.approx(0.7),
        pytest.approx(0.7),
        pytest.approx(0.7),
    )
    assert coco.average_precision([truth], [Detection("a", 7, 0.9, mask=encode(whole))], of="masks").ap == 1


CAT = [Truth(1, "cat", FIRST)]
CATEGORIES = {"cat": "r", "dog": "c", "hat": "f"}
FOUND = Detection(1, "cat", 0.5, FIRST)


def lvis_ap(
    detections: Sequence[Detection], verified: Verified, truths: Sequence[Truth] = tuple(CAT)
) -> lvis.LvisAP:
    return lvis.average_precision(truths, detections, images={1: verified}, frequencies=CATEGORIES)


def test_lvis_by_hand() -> None:
    """The docstring's case."""
    negative, partly = Verified(frozenset({"dog"})), Verified(frozenset({"dog"}), frozenset({"cat"}))
    hat, dog, more = (Detection(1, name, 0.9, AWAY) for name in ("hat", "dog", "cat"))
    assert lvis_ap([FOUND], negative) == lvis.LvisAP(
        of="boxes", objects=1, detections=1,
        ap=1, ap_50=1, ap_75=1, ap_small=1, ap_medium=None, ap_large=None,
        ap_rare=1, ap_common=None, ap_frequent=None, ar=1, ar_small=1, ar_medium=None, ar_large=None,
    )  # fmt: skip
    assert lvis_ap([FOUND, hat, dog], negative).ap == 1
    assert lvis_ap([FOUND, more], negative).ap == pytest.approx(0.5)
    assert lvis_ap([FOUND, more], partly).ap == 1


def test_a_negative_image_counts_against() -> None:
    """A hat where there is verified to be none is wrong; where nothing is known of hats, it is left out."""
    truths, away = [*CAT, Truth(2, "hat", FIRST)], Detection(1, "hat", 0.9, FIRST)
    detections = [FOUND, away, Detection(2, "hat", 0.5, FIRST)]
    for negative, expected in ((frozenset[str](), 1.0), (frozenset({"hat"}), 0.5)):
        images = {1: Verified(negative), 2: Verified()}
        found = lvis.average_precision(truths, detections, images=images, frequencies=CATEGORIES)
        assert (found.ap_rare, found.ap_frequent) == (1, pytest.approx(expected))
        assert found.ap == pytest.approx((1 + expected) / 2)


def test_three_hundred_detections_an_image_over_all_categories() -> None:
    dogs = [Detection(1, "dog", 0.9, AWAY)] * 299
    assert lvis_ap([FOUND, *dogs], Verified()).ap == 1
    assert lvis_ap([FOUND, *dogs, dogs[0]], Verified()).ap == 0


def test_the_names_of_lvis() -> None:
    row = lvis_ap([FOUND], Verified()).as_dict()
    assert list(row) == [
        "of", "objects", "detections", "AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf",
        "AR@300", "ARs@300", "ARm@300", "ARl@300",
    ]  # fmt: skip
    assert json.loads(json.dumps(row))["APc"] is None


# A slow second implementation


def slow_ap(
    truths: Sequence[Truth],
    detections: Sequence[Detection],
    excused: Callable[[Detection], bool] | None = None,
) -> dict[int | str, float]:
    """AP of each category from the definition; `excused` detections that match nothing are left out."""
    aps = {}
    for category in {truth.category for truth in truths}:
        true = [truth for truth in truths if truth.category == category]
        mine = sorted(
            (one for one in detections if one.category == category), key=lambda one: (-one.score, one.image)
        )
        at = [_slow_at(true, mine, 0.5 + 0.05 * step, excused) for step in range(10)]
        aps[category] = sum(at) / len(at)
    return aps


def _slow_at(
    true: Sequence[Truth],
    mine: Sequence[Detection],
    threshold: float,
    excused: Callable[[Detection], bool] | None,
) -> float:
    left, hits = list(true), list[bool]()
    for one in mine:
        overlaps = [(_iou(one, truth), truth) for truth in left if truth.image == one.image]
        best = max(overlaps, key=lambda pair: pair[0], default=(0.0, None))
        if best[0] >= threshold - 1e-9:
            left = [truth for truth in left if truth is not best[1]]
            hits.append(True)
        elif excused is None or not excused(one):
            hits.append(False)
    points = [(sum(hits[: n + 1]) / len(true), sum(hits[: n + 1]) / (n + 1)) for n in range(len(hits))]
    return sum(max((p for r, p in points if r >= step / 100 - 1e-9), default=0) for step in range(101)) / 101


def _iou(one: Detection, truth: Truth) -> float:
    return float(boxes.iou(torch.tensor(one.box, dtype=torch.float64), torch.tensor(truth.box)))


# Boxes of 10 × 10, answers up to 5 pixels beside objects: no IoU lies on a threshold.
corner = st.tuples(st.integers(0, 2), st.integers(0, 1))
image, category = st.sampled_from([1, 2]), st.sampled_from(["cat", "dog", "hat"])


def _box(corner: tuple[int, int]) -> tuple[int, int, int, int]:
    x, y = corner
    return (x, 30 * y, x + 10, 30 * y + 10)


truth = st.builds(lambda i, c, at: Truth(i, c, _box((at[0] * 40, at[1]))), image, category, corner)
answer = st.builds(
    lambda i, c, at, near: (i, c, _box((at[0] * 40 + near, at[1]))),
    image, category, corner, st.integers(0, 5),
)  # fmt: skip
rows = st.tuples(
    st.lists(truth, min_size=1, max_size=6, unique_by=lambda one: (one.image, one.category, one.box)),
    st.lists(answer, max_size=10),
)


def _detections(answers: Sequence[tuple], seed: int) -> list[Detection]:
    scores = random.Random(seed).sample(range(1000), len(answers))
    return [Detection(i, c, score / 1000, box) for (i, c, box), score in zip(answers, scores, strict=True)]


@settings(max_examples=60, deadline=None)
@given(rows, st.integers(0, 99))
def test_coco_as_the_slow_one(given_: tuple[list[Truth], list[tuple]], seed: int) -> None:
    truths, detections = given_[0], _detections(given_[1], seed)
    slow = slow_ap(truths, detections)
    assert coco.average_precision(truths, detections).ap == pytest.approx(sum(slow.values()) / len(slow))


@settings(max_examples=60, deadline=None)
@given(rows, st.integers(0, 99), st.sets(st.tuples(image, category)), st.sets(st.tuples(image, category)))
def test_lvis_as_the_slow_one(
    given_: tuple[list[Truth], list[tuple]], seed: int, negative: set[tuple], partly: set[tuple]
) -> None:
    truths, detections = given_[0], _detections(given_[1], seed)
    there = {(one.image, one.category) for one in truths}
    images = {
        i: Verified(
            frozenset(c for j, c in negative - there if i == j), frozenset(c for j, c in partly if i == j)
        )
        for i in (1, 2)
    }
    found = lvis.average_precision(truths, detections, images=images, frequencies=CATEGORIES)
    counted = [one for one in detections if (one.image, one.category) in there | negative]
    slow = slow_ap(truths, counted, lambda one: (one.image, one.category) in partly)
    assert found.ap == pytest.approx(sum(slow.values()) / len(slow))
    for name, value in (("cat", found.ap_rare), ("dog", found.ap_common), ("hat", found.ap_frequent)):
        assert value == (None if name not in slow else pytest.approx(slow[name]))


# faster-coco-eval called directly


def drawn_file(seed: int, polygons: bool = False) -> tuple[dict, list[dict]]:
    """An annotation file and a results file in COCO's form, with crowds and areas of all sizes."""
    rng = random.Random(seed)
    images = [{"id": 10 + i, "height": 300, "width": 300} for i in range(6)]
    for row in images:
        lists = rng.sample(range(1, 5), 2)
        row |= {"neg_category_ids": lists[:1], "not_exhaustive_category_ids": lists[1:]}
    content: dict = {
        "images": images,
        "categories": [{"id": i, "name": str(i), "frequency": "rcff"[i - 1]} for i in range(1, 5)],
        "annotations": [],
    }
    results = []
    for number in range(40):
        x, y, w, h = (rng.randint(0, 120), rng.randint(0, 120), rng.randint(5, 150), rng.randint(5, 150))
        row = {"image_id": 10 + rng.randrange(6), "category_id": rng.randint(1, 4), "bbox": [x, y, w, h]}
        extra = {"id": number + 1, "area": w * h * 0.7, "iscrowd": int(rng.random() < 0.1)}
        extra["segmentation"] = [_triangle(x, y, w, h)]
        content["annotations"].append(row | extra)
        for _ in range(rng.randint(0, 3)):
            moved = [v + rng.randint(-4, 4) for v in row["bbox"]]
            results.append(row | {"bbox": moved, "score": round(rng.random(), 2)})
            if polygons:
                results[-1]["segmentation"] = encode(from_polygons([_triangle(*moved)], 300, 300)).as_dict()
                del results[-1]["bbox"]
    return content, results


def _triangle(x: float, y: float, w: float, h: float) -> list[float]:
    return [x, y, x + w, y, x + w / 2, y + h]


def direct(content: Mapping, results: Sequence[Mapping], kind: str, lvis_style: bool = False) -> list[float]:
    package = pytest.importorskip("faster_coco_eval")
    truth = package.COCO(copy.deepcopy(dict(content)))
    found = truth.loadRes(copy.deepcopy(list(results)))
    evaluator = package.COCOeval_faster(truth, found, kind, lvis_style=lvis_style)
    if lvis_style:
        evaluator.params.maxDets = [300]
    evaluator.run()
    return list(evaluator.all_stats)


def numbers(result: coco.CocoAP | lvis.LvisAP) -> list[float | None]:
    return [value for name, value in vars(result).items() if name.startswith(("ap", "ar"))]


def expected(stats: Sequence[float]) -> list[object]:
    return [None if value < 0 else pytest.approx(value, abs=1e-9) for value in stats]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("of", ["boxes", "masks"])
def test_coco_as_faster_coco_eval(seed: int, of: str) -> None:
    masks = of == "masks"
    content, results = drawn_file(seed, polygons=masks)
    stats = direct(content, results, "segm" if masks else "bbox")
    truths, detections = coco_json.truths(content, masks), coco_json.detections(results, masks)
    before = copy.deepcopy((truths, detections))
    assert numbers(coco.average_precision(truths, detections, of=of)) == expected(stats[:12])
    assert (truths, detections) == before
    assert 0.1 < stats[0] < 0.9


@pytest.mark.parametrize("seed", range(5))
def test_lvis_as_faster_coco_eval(seed: int) -> None:
    content, results = drawn_file(seed)
    for row in content["annotations"]:
        row["iscrowd"] = 0
    stats = direct(content, results, "bbox", lvis_style=True)
    found = lvis.average_precision(
        coco_json.truths(content),
        coco_json.detections(results),
        images=coco_json.verified(content),
        frequencies=coco_json.frequencies(content),
    )
    # Its order: AP, AP50, AP75, three areas; AR@300 in three places, three areas; two more; APr, APc, APf.
    order = [0, 1, 2, 3, 4, 5, 14, 15, 16, 6, 9, 10, 11]
    assert numbers(found) == expected([stats[place] for place in order])


# Real annotations


here = pytest.mark.skipif(not REAL.is_file(), reason="../shared/data/lvis_val_100 is not here")


@here
@pytest.mark.parametrize("of", ["boxes", "masks"])
def test_perfect_predictions_on_lvis(of: str) -> None:
    content = json.loads(REAL.read_text())
    truths = coco_json.truths(content, masks=of == "masks")
    images, frequencies = coco_json.verified(content), coco_json.frequencies(content)
    detections = [Detection(one.image, one.category, 0.5, one.box, one.mask) for one in truths]
    found = lvis.average_precision(truths, detections, images=images, frequencies=frequencies, of=of)
    assert found.objects == 977
    assert numbers(found) == [1.0] * 13


@here
def test_wrong_predictions_on_lvis() -> None:
    """Half of the objects are found; wrong boxes above them count where the category is denied only."""
    content = json.loads(REAL.read_text())
    truths, images = coco_json.truths(content), coco_json.verified(content)
    frequencies = coco_json.frequencies(content)
    right = [Detection(one.image, one.category, 0.5, one.box) for one in truths[::2]]
    there = {(one.image, one.category) for one in truths}
    unsaid = [
        Detection(image, category, 0.9, AWAY)
        for image, verified in images.items()
        for category in {one.category for one in truths}
        if (image, category) not in there and category not in verified.negative
    ]
    denied = [Detection(image, name, 0.9, AWAY) for image in images for name in images[image].negative]
    ap = [
        lvis.average_precision(truths, [*wrong, *right], images=images, frequencies=frequencies).ap
        for wrong in ([], random.Random(0).sample(unsaid, 2000), denied)
    ]
    assert 0.3 < ap[0] < 0.8
    assert ap[1] == ap[0] > ap[2]


# Bad input


@pytest.mark.parametrize(
    ("truths", "detections", "message"),
    [
        ([], [FOUND], "no objects to score"),
        ([Truth(1, "cat")], [], "object 0 has none of the boxes that are compared"),
        (CAT, [FOUND, Detection(1, "cat", 0.5)], "detection 1 has none of the boxes"),
        (CAT, [Detection(4, "cat", 0.5, FIRST)], "detection 0 lies in image 4, which is none of 2 images"),
        ([Truth("1", "cat", FIRST)], [], "object 0 lies in image '1'"),
        (CAT, [Detection(1, "cat", float("nan"), FIRST)], "no number: nan"),
        (CAT, [Detection(1, "cat", 1, (5, 5, 9, float("inf")))], "four finite numbers"),
        (CAT, [Detection(1, "cat", 1, (5, 5, 1, 1))], r"detection 0: a box is \(left, top, right, bottom\)"),
        (
            CAT,
            [Detection(1, "cat", 1, (5, 5, 1))],
            r"detection 0: a box is four finite numbers, given \(5, 5, 1\)",
        ),
    ],
)
def test_what_does_not_fit(truths: list[Truth], detections: list[Detection], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        coco.average_precision(truths, detections, images=[1, 2])


def test_what_does_not_fit_lvis() -> None:
    with pytest.raises(ValueError, match="detection 0 is of category 'cow', which is none of 3 categories"):
        lvis_ap([Detection(1, "cow", 0.5, FIRST)], Verified())
    with pytest.raises(ValueError, match="verified for 'cow', none of 3 categories"):
        lvis_ap([], Verified(frozenset({"cow"})))
    with pytest.raises(ValueError, match="LVIS has no crowds"):
        lvis_ap([], Verified(), [Truth(1, "cat", FIRST, crowd=True)])
    with pytest.raises(ValueError, match="no frequency 'often'; there are r, c, f"):
        lvis.average_precision(CAT, [], images={1: Verified()}, frequencies={"cat": "often"})


def test_masks_of_one_image_have_one_size() -> None:
    small, large = (encode(np.ones(size, bool)) for size in ((2, 2), (3, 3)))
    with pytest.raises(ValueError, match=r"image 1 has masks of \(2, 2\) and of \(3, 3\)"):
        coco.average_precision([Truth(1, 1, mask=small)], [Detection(1, 1, 1.0, mask=large)], of="masks")
    with pytest.raises(ValueError, match="no comparison of 'keypoints'; there are boxes, masks"):
        coco.average_precision(CAT, [], of="keypoints")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(ValueError, match=r"need faster-coco-eval; pip install 'groundling\[eval\]'"):
        coco.average_precision(CAT, [FOUND])


def test_a_file_in_literals() -> None:
    content, _ = drawn_file(0)
    row = content["annotations"][0] | {"bbox": [1, 2, 3, 4], "area": 9, "iscrowd": 1, "image_id": 10}
    row["segmentation"] = {"size": [2, 2], "counts": [1, 3]}
    (found,) = coco_json.truths(content | {"annotations": [row]}, masks=True)
    assert found == Truth(
        10, row["category_id"], (1, 2, 4, 6), 9, True, encode(np.array([[0, 1], [1, 1]], bool))
    )
