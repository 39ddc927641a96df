"""The papers' transforms: words swapped as words, the target always whole, the same draws for a seed."""

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from groundling.data import transforms
from groundling.data.transforms import View, flip, flip_words, says_position
from groundling.pictures.placement import to_tensor

SHARED = Path(__file__).parents[2] / "shared" / "data" / "refer_val" / "jsonl"


def marked(width: int, height: int, box: tuple[int, int, int, int], expression: str = "the dog") -> View:
    """A black image on which the box is white: where the target went can be seen."""
    image = Image.new("RGB", (width, height))
    image.paste("white", box)
    return View(image, tuple(map(float, box)), expression)


def white_box(canvas: torch.Tensor) -> list[float]:
    """The bounds of what is bright on a canvas (3, H, W): more than half of the brightest."""
    brightness = canvas.float().mean(0)
    rows, columns = torch.nonzero(brightness > brightness.max() / 2, as_tuple=True)
    return [columns.min().item(), rows.min().item(), columns.max().item() + 1, rows.max().item() + 1]


# --- words ---


@pytest.mark.parametrize(
    ("words", "mirrored"),
    [
        ("left dog", "right dog"),
        ("the bright left dog", "the bright right dog"),  # TransVG: "the bleft right dog"
        ("upright man, leftover cake, brightly lit", "upright man, leftover cake, brightly lit"),
        ("copyright on the cleft", "copyright on the cleft"),
        ("leftmost of the rightmost", "rightmost of the leftmost"),
        ("left-hand side, right hand", "right-hand side, left hand"),
        ("Left dog, LEFT side, Right.", "Right dog, RIGHT side, Left."),
        ("left/right (left) right's", "right/left (right) left's"),
        ("2nd from the left in the right row", "2nd from the right in the left row"),
        ("lefty leftish leftest leftward", "righty rightish rightest rightward"),
        ("bottomright bottom-left topleft", "bottomleft bottom-right topright"),
        ("tree on rt, rigth side, lft", "tree on left, left side, right"),
        ("orange at 3 o'clock", "orange at 9 o'clock"),
        ("orange at 12 o clock, 6 o'clock, 11 oclock", "orange at 12 o clock, 6 o'clock, 1 oclock"),
        ("slice at two o’clock", "slice at ten o’clock"),
        ("3 dogs and a clock", "3 dogs and a clock"),
        ("the dog", "the dog"),
        ("", ""),
    ],
)
def test_left_and_right_are_swapped_as_words(words, mirrored):
    assert flip_words(words) == mirrored


PLAIN = [
    "left",
    "right",
    "bright",
    "leftmost",
    "Right",
    "LEFT",
    "left-hand",
    "dog",
    "7 o'clock",
    "upright",
    ",",
    "topleft",
]


@given(st.lists(st.sampled_from(PLAIN)).map(" ".join))
def test_mirroring_twice_says_the_same(words):
    assert flip_words(flip_words(words)) == words


@given(st.text(st.sampled_from("lefright o'clk19-")))
def test_words_without_a_side_or_hour_are_left_alone(words):
    if not says_position(words):
        assert flip_words(words) == words


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("left dog", True),
        ("the topmost shelf", True),
        ("MIDDLE one", True),
        ("bottom-right corner", True),
        ("cup at 3 o'clock", True),
        ("bright dog", False),
        ("man in a laptop bag, stopping", False),
        ("the fleft", False),
    ],
)
def test_position_is_told_from_words_not_substrings(words, says):
    assert says_position(words) is says


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data/refer_val is not here")
def test_human_expressions_swap_and_come_back():
    """46,763 expressions: a fifth says a position, and only misspellings do not come back."""
    files = [gzip.decompress(file.read_bytes()) for file in SHARED.glob("*.gz")]
    words = [json.loads(line)["expression"] for data in files for line in data.splitlines()]
    lost = [text for text in words if flip_words(flip_words(text)) != text]
    assert len(words) == 46_763
    assert len(lost) < 50
    assert sum(map(says_position, words)) == pytest.approx(0.22 * len(words), rel=0.1)
    sided = [text for text in words if {"left", "right"} & set(text.lower().split())]
    assert all(flip_words(text) != text for text in sided)
    without = [text for text in words if "bright" in text and not says_position(text)]
    assert without
    assert all(flip_words(text) == text for text in without)


# --- images and boxes ---


def test_flip_mirrors_image_box_and_words():
    mirrored = flip(marked(100, 40, (10, 5, 30, 25), "left bright dog"))
    assert mirrored.box == (70, 5, 90, 25)
    assert mirrored.expression == "right bright dog"
    assert white_box(to_tensor(mirrored.image)) == [70, 5, 90, 25]
    assert flip(mirrored).box == (10, 5, 30, 25)


@pytest.mark.parametrize(("side", "expected"), [("long", (64, 32)), ("short", (128, 64))])
def test_resize_of_either_side(side, expected):
    view = transforms.RandomResize((64,), side)(marked(200, 100, (50, 0, 100, 50)), random.Random(0))
    assert view.image.size == expected
    assert view.box == tuple(value * expected[0] / 200 for value in (50, 0, 100, 50))


boxes = st.tuples(st.integers(0, 89), st.integers(0, 59), st.integers(1, 90), st.integers(1, 60)).map(
    lambda b: (b[0], b[1], min(90, b[0] + b[2]), min(60, b[1] + b[3]))
)


@given(box=boxes, least=st.integers(1, 100), more=st.integers(0, 50), seed=st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_a_crop_always_keeps_the_whole_target(box, least, more, seed):
    """TransVG compares x with the window's top and y with its left: the target can be cut away."""
    view = marked(90, 60, box)
    cropped = transforms.RandomCrop(least, least + more)(view, random.Random(seed))
    assert white_box(to_tensor(cropped.image)) == list(cropped.box)
    assert [cropped.box[2] - cropped.box[0], cropped.box[3] - cropped.box[1]] == [
        box[2] - box[0],
        box[3] - box[1],
    ]


def test_a_crop_of_a_box_that_leaves_the_image():
    view = View(Image.new("RGB", (90, 60)), (-3.5, 10.0, 95.0, 20.0), "dog")
    for seed in range(20):
        cropped = transforms.RandomCrop(10, 20)(view, random.Random(seed))
        assert cropped.image.width == 90
        assert cropped.box[0] == -3.5


def test_a_crop_reaches_every_place():
    rng = random.Random(0)
    starts = {
        transforms.RandomCrop(20, 20)(marked(40, 40, (15, 15, 25, 25)), rng).box[:2] for _ in range(2000)
    }
    assert starts == {(x, y) for x in range(11) for y in range(11)}


def test_colour_jitter_changes_colours_and_nothing_else():
    view = View(Image.new("RGB", (8, 8), (200, 100, 50)), (1.0, 1.0, 4.0, 4.0), "left dog")
    changed = [transforms.ColourJitter()(view, random.Random(seed)) for seed in range(200)]
    assert all(
        (new.box, new.expression, new.image.size) == (view.box, view.expression, (8, 8)) for new in changed
    )
    same = sum(new.image.getpixel((0, 0)) == (200, 100, 50) for new in changed)
    assert same == pytest.approx(40, abs=20)
    still = transforms.ColourJitter(strength=0, probability=1)(view, random.Random(0))
    assert np.abs(np.asarray(still.image).astype(int) - np.asarray(view.image)).max() <= 1


def test_pad_lies_anywhere_with_a_random_and_in_the_centre_without():
    seen = transforms.pad(Image.new("RGB", (20, 10), "red"), 32)
    canvas, placement = seen.pixels, seen.placement
    assert (placement.left, placement.top, placement.scale_x, placement.canvas_width) == (6, 11, 1, 32)
    assert canvas[:, 11, 6].tolist() == [255, 0, 0]
    assert canvas[:, 10, 6].tolist() == [124, 116, 104]
    rng = random.Random(0)
    places = [transforms.pad(Image.new("RGB", (20, 10)), 32, rng).placement for _ in range(500)]
    assert {place.left for place in places} == set(range(13))
    assert {place.top for place in places} == set(range(23))
    with pytest.raises(ValueError, match="40x10 is larger than a canvas of 32"):
        transforms.pad(Image.new("RGB", (40, 10)), 32)


# --- presets ---


@pytest.mark.parametrize("preset", [transforms.lads_train, transforms.transvg_train])
@given(
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    shares=st.tuples(*[st.floats(0, 1)] * 4),
    words=st.sampled_from(["left dog", "bright dog"]),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=60, deadline=None)
def test_a_preset_keeps_the_target_on_the_canvas(preset, size, shares, words, seed):
    """Any shape of image and box: the placed box has its area and lies on the canvas."""
    (width, height), (a, b, c, d) = size, shares
    box = (
        min(a, c) * (width - 1),
        min(b, d) * (height - 1),
        max(a, c) * (width - 1) + 1,
        max(b, d) * (height - 1) + 1,
    )
    seen, view = preset(64)(View(Image.new("RGB", size), box, words), random.Random(seed))
    canvas, placement = seen.pixels, seen.placement
    assert (canvas.shape, canvas.dtype) == ((3, 64, 64), torch.uint8)
    assert (placement.width, placement.height) == view.image.size
    x1, y1, x2, y2 = placement.apply(torch.tensor(view.box)).tolist()
    assert -1e-3 <= x1 < x2 <= 64 + 1e-3
    assert -1e-3 <= y1 < y2 <= 64 + 1e-3
    assert view.expression in (words, flip_words(words))


@pytest.mark.parametrize("preset", [transforms.lads_train, transforms.transvg_train])
def test_what_a_preset_says_is_where_the_target_is(preset):
    """The target is the white area; its box on the canvas is found in the pixels, whatever was drawn."""
    for seed in range(60):
        view = marked(300, 200, (200, 60, 260, 140), "right dog" if seed % 2 else "dog")
        seen, last = preset(128)(view, random.Random(seed))
        canvas, placement = seen.pixels, seen.placement
        expected = placement.apply(torch.tensor(last.box)).tolist()
        padding = torch.tensor([124, 116, 104], dtype=torch.uint8).view(3, 1, 1)
        found = white_box(torch.where((canvas == padding).all(0), torch.zeros_like(canvas), canvas))
        assert found == pytest.approx(expected, abs=2)


def test_a_target_larger_than_the_crop_is_shrunk_and_not_cut():
    view = marked(100, 100, (2, 2, 98, 98))
    drawn = [transforms.lads_train(64)(view, random.Random(seed)) for seed in range(40)]
    assert max(seen.placement.width for seen, _ in drawn) == 64
    for seen, last in drawn:
        canvas, placement = seen.pixels, seen.placement
        whole = placement.apply(torch.tensor(last.box)).tolist()
        assert whole[2] - whole[0] >= 0.9 * placement.width
        assert canvas.shape == (3, 64, 64)


@pytest.mark.parametrize("preset", [transforms.lads_train, transforms.transvg_train])
def test_the_same_seed_draws_the_same(preset):
    view = marked(90, 60, (20, 10, 40, 30))
    first, again, other = (preset(64)(view, random.Random(seed)) for seed in (5, 5, 6))
    assert torch.equal(first[0].pixels, again[0].pixels)
    assert (first[0].placement, first[1].box) == (again[0].placement, again[1].box)
    assert not torch.equal(first[0].pixels, other[0].pixels)
    assert preset(64) == preset(64)


@pytest.mark.parametrize("preset", [transforms.lads_train, transforms.transvg_train])
def test_words_of_position_are_never_cropped(preset):
    """A crop can make the left dog the middle one; the aspect shows that nothing was cut off."""
    view = marked(160, 40, (80, 10, 90, 30), "bright left dog")
    whole = [preset(128)(view, random.Random(seed))[1].image.size for seed in range(50)]
    assert all(width / height == pytest.approx(4, rel=0.05) for width, height in whole)
    plain = marked(160, 40, (80, 10, 90, 30), "bright dog")
    sizes = [preset(128)(plain, random.Random(seed))[1].image.size for seed in range(50)]
    assert not all(width / height == pytest.approx(4, rel=0.05) for width, height in sizes)


def test_presets_have_the_papers_sizes():
    lads = transforms.lads_train(512).steps[0]
    assert sorted(lads.cropped[0].sizes) == [384, 416, 448, 480, 512, 544, 576, 608, 640]
    assert lads.cropped[1] == transforms.RandomCrop(512, 512)
    assert lads.whole[0].sizes == (512, 480, 448, 416, 384)
    transvg = transforms.transvg_train(640).steps[0]
    assert transvg.cropped[0] == transforms.RandomResize((400, 500, 600), side="short")
    assert transvg.cropped[1] == transforms.RandomCrop(384, 600)
    assert transvg.whole[0].sizes == (640, 608, 576, 544, 512, 480, 448)
