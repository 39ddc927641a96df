"""Masks of street scenes: what is seen of each object, and outlines that fill to exactly that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import street_truth
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation

from groundling.data import street
from groundling.data.street.masks import Mask, Polygon, masks, polygons


def filled(outlines: list[Polygon], mask: Mask) -> Mask:
    """As PhraseCut's own code fills polygons: coordinates cut down, outline drawn too."""
    picture = Image.new("1", (mask.shape[1], mask.shape[0]))
    for polygon in outlines:
        ImageDraw.Draw(picture).polygon([(int(x), int(y)) for x, y in polygon], outline=1, fill=1)
    return np.asarray(picture)


def filled_by_coco(outlines: list[Polygon], mask: Mask) -> Mask:
    coco = pytest.importorskip("faster_coco_eval").mask
    flat = [[number for corner in polygon for number in corner] for polygon in outlines]
    found: npt.NDArray[np.bool_] = coco.decode(coco.merge(coco.frPyObjects(flat, *mask.shape))).astype(bool)
    return found


def drawn(text: str) -> Mask:
    return np.array([[letter == "#" for letter in line] for line in text.split()])


def test_a_mask_is_within_its_box_and_shares_no_pixel() -> None:
    for scene in street_truth.scenes(400):
        found = masks(scene)
        assert list(found) == [thing.id for thing in scene.objects]
        assert np.sum(list(found.values()), axis=0).max() == 1
        for thing in scene.objects:
            rows, columns = np.nonzero(found[thing.id])
            x1, y1, x2, y2 = thing.box
            assert columns.min() >= int(x1) - 1
            assert rows.min() >= int(y1) - 1
            assert columns.max() + 1 <= x2 + 2
            assert rows.max() + 1 <= y2 + 2


def test_a_mask_covers_what_the_object_changes_in_the_picture() -> None:
    """With and without the object the picture differs in its mask, and else in its shadow and at its rim."""
    for scene in street_truth.scenes(60):
        found = masks(scene)
        whole = np.asarray(street.render(scene)).astype(int)
        for thing in scene.objects:
            rest = replace(scene, objects=tuple(other for other in scene.objects if other is not thing))
            change = np.abs(np.asarray(street.render(rest)).astype(int) - whole).max(axis=-1) > 0
            mask = found[thing.id]
            assert (mask & ~change).sum() <= 0.1 * mask.sum()  # black on black
            x1, _, x2, y2 = thing.frame
            shadow = np.zeros_like(change)
            reach = 0.08 * (x2 - x1) + 1
            shadow[max(0, int(y2 - reach)) : int(y2 + reach) + 1, max(0, int(x1) - 1) : int(x2) + 2] = True
            far = change & ~binary_dilation(mask, np.ones((3, 3))) & ~shadow
            assert far.sum() <= 0.02 * mask.sum(), thing  # slivers of less than half a pixel


def test_masks_show_most_of_each_object() -> None:
    shares = []
    for scene in street_truth.scenes(100):
        found = masks(scene)
        for thing in scene.objects:
            alone = masks(replace(scene, objects=(thing,)))[thing.id]
            assert not (found[thing.id] & ~alone).any()
            shares.append(found[thing.id].sum() / alone.sum())
    assert np.mean(np.array(shares) >= 0.55) >= 0.98
    assert min(shares) > 0.25


@pytest.mark.parametrize(
    ("text", "outlines"),
    [
        ("#", [[(0, 0), (0.95, 0), (0.95, 0.95), (0, 0.95)]]),
        (".... .##. ....", [[(1, 1), (2.95, 1), (2.95, 1.95), (1, 1.95)]]),
        ("#. ##", [[(0, 0), (0.95, 0), (0.95, 1), (1.95, 1), (1.95, 1.95), (0, 1.95)]]),
        ("... ...", []),
    ],
)
def test_outlines_by_hand(text: str, outlines: list[Polygon]) -> None:
    assert polygons(drawn(text)) == outlines


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("### #.# ###", 2),  # a hole: two halves
        ("#. .#", 2),  # they touch at a corner: two pieces
        ("##. #.# ###", 1),  # a bay that is closed by a corner only
        ("##### #.#.# #####", 2),  # both holes are in one row
        ("### #.# ### #.# ###", 3),
    ],
)
def test_pieces_by_hand(text: str, count: int) -> None:
    mask = drawn(text)
    assert len(polygons(mask)) == count
    assert (filled(polygons(mask), mask) == mask).all()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=9, max_size=9), min_size=1, max_size=8))
def test_outlines_fill_to_the_mask_either_way(rows: list[list[bool]]) -> None:
    mask = np.array(rows)
    found = polygons(mask)
    assert (filled(found, mask) == mask).all()
    if mask.any():
        assert (filled_by_coco(found, mask) == mask).all()


def test_outlines_of_scenes_fill_to_their_masks() -> None:
    for scene in street_truth.scenes(40):
        for mask in masks(scene).values():
            found = polygons(mask)
            assert mask.any()
            assert (filled(found, mask) == mask).all()
            assert (filled_by_coco(found, mask) == mask).all()
