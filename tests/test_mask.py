"""Masks: COCO's polygons and run lengths, compressed too, and what is neither."""

import json
from pathlib import Path

import pytest

from groundling.data import DataError
from groundling.data.mask import mask_from
from groundling.pictures.masks import Rle

SHARED = Path(__file__).parents[2] / "shared" / "data"
SQUARE = [0, 0, 4, 0, 4, 4, 0, 4]


def test_polygons() -> None:
    assert mask_from([SQUARE, [1, 1.5, 2, 2, 1, 3]]) == (tuple(map(float, SQUARE)), (1, 1.5, 2, 2, 1, 3))


def test_run_lengths() -> None:
    assert mask_from({"size": [2, 3], "counts": [1, 4, 1]}) == Rle(2, 3, (1, 4, 1))


@pytest.mark.parametrize(
    ("size", "letters", "counts"),
    [
        ([2, 3], "141", (1, 4, 1)),
        # 18 = 10010 with its sign bit clear needs a second letter: 0b110010 -> "b" and 0 -> "0".
        ([6, 6], "b0b0", (18, 18)),
        # The fourth run is written as 5 - 2 = 3, the fifth as 1 - 4 = -3: 0b11101 -> "M".
        ([14, 1], "2243M", (2, 2, 4, 5, 1)),
    ],
)
def test_compressed_run_lengths(size, letters, counts) -> None:
    assert mask_from({"size": size, "counts": letters}) == Rle(*size, counts)


def compressed(counts: tuple[int, ...]) -> str:
    """The reverse of the rule, written from its description."""
    letters = []
    for index, count in enumerate(counts):
        rest = count - counts[index - 2] if index > 2 else count
        while True:
            bits, rest = rest & 31, rest >> 5
            ended = rest == (-1 if bits & 16 else 0)
            letters.append(chr(48 + (bits if ended else bits | 32)))
            if ended:
                break
    return "".join(letters)


def test_long_runs_survive_compression() -> None:
    counts = (0, 1, 31, 32, 15, 16, 100_000, 3, 1, 70_000)
    size = (1, sum(counts))
    assert mask_from({"size": list(size), "counts": compressed(counts)}) == Rle(*size, counts)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "a mask has no polygon"),
        (None, "neither a list of polygons nor run lengths"),
        ({"counts": [1]}, "neither a list of polygons nor run lengths"),
        ([5], "a polygon is not a list of numbers"),
        ([[]], "a polygon is not a list of numbers"),
        ([["1"] * 6], "a polygon is not a list of numbers"),
        ([[True] * 6], "a polygon is not a list of numbers"),
        ([[10**400] * 6], "too large to be a coordinate"),
        ([[0, 0, 1, 1]], "a polygon of 4 numbers; it is x, y of 3 corners or more"),
        ([[0, 0, 1, 1, 2, 0, 1]], "a polygon of 7 numbers"),
        ([SQUARE, [0, 0, 1, float("nan"), 2, 2]], "a corner that is not finite"),
        ([[0, 0, 1, 1, 2, 2**19 + 1]], "a corner more than 524288 pixels from the image's"),
        ({"size": [2, 3], "counts": [1.0, 5]}, "counts that are a string or a list of whole numbers"),
        ({"size": 6, "counts": [6]}, r"a size of \[height, width\], given 6"),
        ({"size": [6], "counts": [6]}, r"a size of \[height, width\], given \[6\]"),
        ({"size": [2, 3], "counts": [1, 4]}, "run lengths are of 5 pixels, and the mask has 2×3"),
        ({"size": [2, 3], "counts": "1!1"}, "has no character '!'"),
        ({"size": [2, 3], "counts": "o" * 50}, "a count that no mask can have"),
        ({"size": [2, 3], "counts": "14o"}, "ends in the middle of a count"),
    ],
)
def test_what_is_no_mask(value, reason) -> None:
    with pytest.raises(DataError, match=reason):
        mask_from(value)


@pytest.mark.skipif(not (SHARED / "tiny_coco").is_dir(), reason="../shared/data/tiny_coco is not here")
def test_every_mask_of_real_images() -> None:
    rows = json.loads((SHARED / "tiny_coco/annotations/instances_val2017.json").read_text())["annotations"]
    masks = [mask_from(row["segmentation"]) for row in rows]
    crowds = sum(row["iscrowd"] for row in rows)
    assert len(masks) == 382
    assert sum(isinstance(mask, Rle) for mask in masks) == crowds > 0
