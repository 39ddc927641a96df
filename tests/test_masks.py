"""Run-length codes and polygons in literals, as properties, and beside faster-coco-eval's."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from groundling.pictures import masks
from groundling.pictures.masks import Rle, as_mask, decode, encode, from_polygons, read_rle

LVIS = Path(__file__).parents[2] / "shared" / "data" / "lvis_val_100" / "lvis_val_100.json"

sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))


@st.composite
def drawn(draw: st.DrawFn) -> np.ndarray:
    height, width = draw(sizes)
    bits = draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    return np.array(bits).reshape(height, width)


# . # #
# . # .      down the columns: 2 off, 3 on, 1 off
SMALL = np.array([[0, 1, 1], [0, 1, 0]], dtype=bool)


def test_run_lengths_in_literals() -> None:
    assert encode(SMALL) == Rle(2, 3, (2, 3, 1))
    assert encode(~SMALL) == Rle(2, 3, (0, 2, 3, 1))  # the first count is of pixels that are off
    assert encode(SMALL).area == 3
    assert decode(Rle(2, 3, (2, 3, 1))).tolist() == SMALL.tolist()
    assert encode(SMALL).as_dict(compressed=False) == {"size": [2, 3], "counts": [2, 3, 1]}


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ((2, 3, 1), "231"),
        ((0, 6), "06"),
        ((15, 16), "?`0"),  # 16 needs a second character, or its sign bit would read as minus
        ((100,), "T3"),  # 100 = 3 · 32 + 4: "4" with the bit for more, then 3
        ((1, 2, 3, 4, 1, 2), "1232NN"),  # from the fourth on, differences: 4 − 2, 1 − 3, 2 − 4
    ],
)
def test_strings_worked_by_hand(counts: tuple[int, ...], text: str) -> None:
    rle = Rle(1, sum(counts), counts)
    assert rle.as_dict()["counts"] == text
    assert read_rle({"size": [1, sum(counts)], "counts": text}) == rle
    assert read_rle({"size": [1, sum(counts)], "counts": text.encode()}) == rle
    assert read_rle({"size": [1, sum(counts)], "counts": list(counts)}) == rle


@settings(deadline=None)
@given(drawn())
def test_what_is_written_reads_back(mask: np.ndarray) -> None:
    rle = encode(mask)
    assert np.array_equal(decode(rle), mask)
    for compressed in (True, False):
        assert read_rle(json.loads(json.dumps(rle.as_dict(compressed)))) == rle
    assert rle.area == mask.sum()


@settings(deadline=None)
@given(drawn())
def test_the_same_strings_as_faster_coco_eval(mask: np.ndarray) -> None:
    oracle = pytest.importorskip("faster_coco_eval").mask
    theirs = oracle.encode(np.asfortranarray(mask.astype(np.uint8)))
    ours = encode(mask).as_dict()
    assert ours == {"size": list(mask.shape), "counts": _text(theirs["counts"])}
    assert np.array_equal(oracle.decode(ours).astype(bool), mask)
    assert np.array_equal(as_mask(theirs), mask)


def _text(counts: str | bytes) -> str:
    return counts if isinstance(counts, str) else counts.decode()


def test_runs_of_many_thousand_pixels_as_faster_coco_eval() -> None:
    oracle = pytest.importorskip("faster_coco_eval").mask
    mask = np.zeros((300, 400), dtype=bool)
    mask[100:250, 30:35] = mask[3:4, 200:390] = True
    assert encode(mask).as_dict()["counts"] == _text(
        oracle.encode(np.asfortranarray(mask, np.uint8))["counts"]
    )


def test_a_square_in_literals() -> None:
    """Corners on the pixels' corners: the pixels between them, x from 1 to 3 and y from 2 to 4."""
    expected = np.zeros((5, 4), dtype=bool)
    expected[2:4, 1:3] = True
    square = [1, 2, 3, 2, 3, 4, 1, 4]
    assert np.array_equal(from_polygons([square], 5, 4), expected)
    assert np.array_equal(from_polygons([[*square, 1, 2]], 5, 4), expected)  # closed twice
    assert np.array_equal(from_polygons([square[::-1]], 4, 5), expected.T)  # the other way round, mirrored
    assert np.array_equal(from_polygons([[-9, -9, 9, -9, 9, 9, -9, 9]], 5, 4), np.ones((5, 4), bool))


def test_several_polygons_are_one_mask() -> None:
    left, right = [0, 0, 1, 0, 1, 2, 0, 2], [2, 0, 3, 0, 3, 2, 2, 2]
    assert from_polygons([left, right, left], 2, 3).tolist() == [[True, False, True]] * 2
    assert not from_polygons([], 2, 3).any()


coordinate = st.floats(-4, 16, width=32)


@settings(deadline=None)
@given(st.lists(coordinate, min_size=6, max_size=16).map(lambda flat: flat[: len(flat) // 2 * 2]), sizes)
@example([0, 0, 0, 0, 5, 5], (4, 4))
@example([5, 5, 0, 0, 5, 5], (4, 4))
def test_the_same_polygons_as_faster_coco_eval(polygon: list[float], size: tuple[int, int]) -> None:
    oracle = pytest.importorskip("faster_coco_eval").mask
    theirs = oracle.decode(oracle.frPyObjects([polygon], *size))[:, :, 0].astype(bool)
    assert np.array_equal(from_polygons([polygon], *size), theirs)


far = st.one_of(coordinate, st.floats(-3000, 3000, width=32))


@settings(deadline=None)
@given(st.lists(far, min_size=6, max_size=16).map(lambda flat: flat[: len(flat) // 2 * 2]), sizes)
def test_polygons_that_leave_the_image_as_faster_coco_eval(
    polygon: list[float], size: tuple[int, int]
) -> None:
    oracle = pytest.importorskip("faster_coco_eval").mask
    theirs = oracle.decode(oracle.frPyObjects([polygon], *size))[:, :, 0].astype(bool)
    assert np.array_equal(from_polygons([polygon], *size), theirs)


corners = st.lists(st.tuples(st.integers(-5, 60), st.integers(-5, 45)), min_size=3, max_size=9)


@settings(deadline=None)
@given(corners)
def test_an_outline_inside_the_image_is_all_its_edges_at_once(given: list[tuple[int, int]]) -> None:
    """In an image of 11 × 8 pixels, and a pixel around it: fifths of pixels from −5 to 60 and 45."""
    points, most = np.array(given), (60, 45)
    edges = zip(points, np.roll(points, -1, axis=0), strict=True)
    expected = np.concatenate([masks._trace(start, end, most) for start, end in edges])
    assert masks._outline(points, most).tolist() == expected.tolist()


def test_a_corner_far_away_takes_no_memory() -> None:
    """An edge was traced in steps of a fifth of a pixel wherever it went: 40 GB to a corner at 10⁹."""
    far = 1e9
    assert from_polygons([[-far, -far, far, -far, far, far, -far, far]], 5, 4).all()
    assert not from_polygons([[far, far, far + 1, far, far, far + 9]], 5, 4).any()
    below = from_polygons([[0, 0, 4, 0, 4, 4, 2, far, 0, 4]], 4, 4)
    assert below.all()
    halves = from_polygons([[2, -far, 2, far, far, 0]], 4, 4)
    assert halves.tolist() == [[False, False, True, True]] * 4
    diagonal = from_polygons(
        [[-far, -far, far, far, -far, far]], 4, 4
    )  # below the line y = x, as COCO draws it
    assert np.array_equal(diagonal, from_polygons([[-9, -9, 9, 9, -9, 9]], 4, 4))
    with pytest.raises(ValueError, match=r"a corner at 1e\+300 pixels, far from any image"):
        from_polygons([[0, 0, 1e300, 0, 0, 1]], 4, 4)


@pytest.mark.skipif(not LVIS.is_file(), reason="../shared/data/lvis_val_100 is not here")
def test_the_polygons_of_lvis_as_faster_coco_eval() -> None:
    oracle = pytest.importorskip("faster_coco_eval").mask
    content = json.loads(LVIS.read_text())
    images = {row["id"]: row for row in content["images"]}
    for row in content["annotations"][:200]:
        height, width = images[row["image_id"]]["height"], images[row["image_id"]]["width"]
        theirs = oracle.merge(oracle.frPyObjects(row["segmentation"], height, width))
        ours = encode(from_polygons(row["segmentation"], height, width))
        assert ours.as_dict()["counts"] == _text(theirs["counts"])


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ({"counts": "231"}, "a size of .height, width., given None"),
        ({"size": [2], "counts": "231"}, "a size of .height, width., given .2."),
        ({"size": [2, 3], "counts": None}, "a string or a list of whole numbers"),
        ({"size": [2, 3], "counts": [2.5, 3.5]}, "a string or a list of whole numbers"),
        ({"size": [2, 3], "counts": [2, 3]}, "run lengths are of 5 pixels, and the mask has 2×3"),
        ({"size": [2, 3], "counts": [7, -1]}, "run lengths are of 6 pixels"),
        ({"size": [0, 3], "counts": []}, "at least one pixel, given a size of 0×3"),
        ({"size": [10**6, 10**6], "counts": [10**12]}, "1000000×1000000 pixels is larger than 268,435,456"),
        ({"size": [2, 3], "counts": "2 1"}, "no character ' '"),
        ({"size": [2, 3], "counts": b"2\xff1"}, "no character"),
        ({"size": [2, 3], "counts": "23Q"}, "ends in the middle of a count"),
    ],
)
def test_bad_codes(rle: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_rle(rle)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((2, 2)), r"float64 \(2, 2\)"),
        (np.zeros((1, 2, 2), bool), r"bool \(1, 2, 2\)"),
        (np.zeros((0, 2), bool), r"bool \(0, 2\)"),
        ([[True]], "given list"),
    ],
)
def test_what_is_no_mask(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_mask(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "polygon", [[0, 0, 1, 1], [0, 0, 1, 1, 2], [[0, 0], [1, 1], [2, 0]], [0, 0, 1, 1, 2, np.nan]]
)
def test_what_is_no_polygon(polygon: list[float]) -> None:
    with pytest.raises(ValueError, match="three points or more"):
        from_polygons([polygon], 4, 4)


def test_no_room_for_a_polygon() -> None:
    with pytest.raises(ValueError, match="a mask of 100000×100000 pixels is larger than"):
        from_polygons([], 100_000, 100_000)
    with pytest.raises(ValueError, match="given a size of 4×0"):
        from_polygons([], 4, 0)


def test_masks_pass_through() -> None:
    assert as_mask(SMALL) is SMALL
    assert masks.as_mask(encode(SMALL)).tolist() == SMALL.tolist()
