"""Boxes, labels and contact sheets: what lies where, that it can be read, and that files are whole."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from groundling.draw import Cell, contact_sheet, draw_grounding, ink, save
from groundling.draw.labels import letter_size
from groundling.draw.placing import Detail, gap, place_labels
from groundling.draw.right import matched, on_one
from groundling.draw.saving import write
from groundling.draw.sheet import CELL, HEADER, MARGIN, NAMES, _name, _strip, _times, bars
from groundling.results import Cost, Grounding
from groundling.selection import Selection

SELECTION = Selection.parse("layer1.0=1 layer1.0.conv2=c:4 layer2.0=0 layer2.0.conv2=f:4 "
                            "encoder.0.attention=1 encoder.0.ffn=0")  # fmt: skip
GREY = "#808080"


def grounding(
    box: tuple[float, float, float, float] = (20.0, 30.0, 60.0, 70.0),
    size: tuple[int, int] = (100, 80),
    expression: str = "dog",
    selection: Selection = SELECTION,
) -> Grounding:
    return Grounding(expression, box, None, Cost({"all": 40}, 100), selection, *size, milliseconds=4.0)


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def count(picture: Image.Image, colour: str) -> int:
    return sum(n for n, found in picture.getcolors(1 << 24) or [] if found == rgb(colour))


# ------------------------------------------------------------------------------------------- one picture


BOX, LARGE = (80.0, 120.0, 240.0, 280.0), (400, 320)


@pytest.mark.parametrize(("name", "most"), [("a.jpg", 65_500), ("a.webp", 16_383)])
def test_a_picture_that_is_too_long_for_its_format(tmp_path: Path, name: str, most: int) -> None:
    with pytest.raises(ValueError, match=rf"cannot be saved as {name}: \w+ has at most {most:,} .* as .png"):
        save(Image.new("RGB", (most + 1, 1)), tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    save(Image.new("RGB", (most, 1)), tmp_path / name)


def test_the_frame_lies_around_the_box_and_the_original_stays_as_it_was() -> None:
    image = Image.new("RGB", LARGE, GREY)
    drawn = draw_grounding(image, [grounding(BOX, LARGE)])
    assert drawn.size == image.size
    assert count(image, GREY) == 400 * 320
    for place in ((79, 200), (240, 200), (160, 280)):  # the first pixels outside the box, on three sides
        assert drawn.getpixel(place) == rgb(ink.BOXES[0])
    assert drawn.crop((80, 120, 240, 280)).getcolors() == [(25600, rgb(GREY))]  # what it holds stays visible


def test_a_true_box_is_its_four_corners_and_leaves_its_sides_free() -> None:
    drawn = draw_grounding(Image.new("RGB", LARGE, GREY), [], truth=[BOX])
    for corner in ((80, 120), (239, 120), (80, 279), (239, 279)):
        assert drawn.getpixel(corner) == rgb(ink.TRUTH)
    for side in ((160, 120), (160, 279), (80, 200), (239, 200), (160, 200)):
        assert drawn.getpixel(side) == rgb(GREY)
    assert count(drawn, GREY) > 0.99 * LARGE[0] * LARGE[1]


def test_a_box_that_lies_on_no_true_one_is_dashed() -> None:
    """Only its colour told a wrong box from a right one, and only people who knew both."""
    far = (300.0, 20.0, 390.0, 100.0)
    sides = [[(x, y) for y in range(150, 250)] for x in (79, 240)]  # first outside the box
    for truth, solid in (([BOX], True), ([(88.0, 120.0, 240.0, 280.0)], True), ([far], False), ([], False)):
        drawn = draw_grounding(Image.new("RGB", LARGE, GREY), [grounding(BOX, LARGE)], truth=truth)
        seen = [{drawn.getpixel(place) for place in side} for side in sides]
        assert ({rgb(ink.BOXES[0])} in seen) is solid, truth
        assert all(rgb(ink.BOXES[0]) in side for side in seen)


def test_a_true_box_counts_once() -> None:
    one, other, near = (0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 60.0, 60.0), (1.0, 0.0, 10.0, 10.0)
    assert on_one([one, near, other], [one]) == [True, True, False]
    assert matched([one, near, other], [one]) == [True, False, False]
    assert matched([near, one], [one, near]) == [True, True]
    assert matched([one], []) == on_one([one], []) == [False]
    assert matched([], [one]) == []


def test_a_small_picture_is_drawn_larger_and_its_boxes_with_it() -> None:
    """Labels of eleven pixels covered half of a street scene of 192."""
    drawn = draw_grounding(Image.new("RGB", (100, 80), GREY), [grounding()], truth=[(20, 30, 60, 70)])
    assert drawn.size == (700, 560)  # 640 at least, and a whole number of times 100
    assert drawn.getpixel((139, 350)) == drawn.getpixel((420, 350)) == rgb(ink.BOXES[0])
    assert drawn.getpixel((300, 350)) == rgb(GREY)
    assert drawn.getpixel((140, 210)) == rgb(ink.TRUTH)
    assert drawn.getpixel((280, 210)) == rgb(GREY)
    assert draw_grounding(Image.new("RGB", (399, 80)), []).size == (798, 160)
    assert draw_grounding(Image.new("RGB", (400, 80)), []).size == (400, 80)


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(128, 4000), st.integers(128, 4000)),
    corners=st.lists(st.tuples(*[st.floats(0, 1)] * 4), min_size=1, max_size=4),
    words=st.text("abc de", min_size=1, max_size=120),
)
def test_labels_lie_inside_the_picture_and_hold_their_words(
    size: tuple[int, int], corners: list[tuple[float, ...]], words: str
) -> None:
    boxes = []
    for x1, y1, x2, y2 in corners:
        (x1, x2), (y1, y2) = sorted((x1 * size[0], x2 * size[0])), sorted((y1 * size[1], y2 * size[1]))
        boxes.append((x1, y1, x2, y2))
    letters = letter_size(size)
    labels = place_labels(size, boxes, [words] * len(boxes), letters)
    assert letters >= 11
    for label in labels:
        left, top, right, bottom = label.rect
        assert left >= 0
        assert top >= 0
        assert right <= size[0] + 1e-6
        assert bottom <= size[1] + 1e-6
        for line in label.lines:
            assert ink.font(letters).getlength(line) <= right - left


def shared(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, wide) * max(0.0, high)


@settings(max_examples=60, deadline=None)
@given(
    places=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=8, unique=True),
    words=st.text("abc de", min_size=1, max_size=20),
)
def test_labels_cover_neither_boxes_nor_each_other_where_there_is_room(
    places: list[tuple[int, int]], words: str
) -> None:
    """They lay on the heads of people beside their box, or of their own."""
    size = (960, 800)
    boxes = [(160.0 * x + 20, 160.0 * y + 20, 160.0 * x + 140, 160.0 * y + 140) for x, y in places]
    labels = place_labels(size, boxes, [words] * len(boxes), letter_size(size))
    for index, label in enumerate(labels):
        assert sum(shared(label.rect, box) for box in boxes) <= 0.02 * 120 * 120
        assert all(shared(label.rect, other.rect) == 0 for other in labels[:index])


def test_a_label_keeps_off_what_there_is_to_see_and_a_line_leads_to_it() -> None:
    """Nothing was found of the thing above the box; the label lay on it all the same."""
    image = Image.new("RGB", (640, 640), GREY)
    image.paste(Image.effect_noise((640, 300), 200).convert("RGB"), (0, 0))
    box = (250.0, 300.0, 350.0, 330.0)
    letters = letter_size(image.size)
    (label,) = place_labels(image.size, [box], ["the dog"], letters, Detail.of(image))
    assert label.rect[1] >= 298
    crowd = [box, *((x, y, x + 95.0, y + 95.0) for x in range(150, 450, 100) for y in range(200, 440, 100))]
    far = place_labels(image.size, crowd, ["the dog", *[""] * (len(crowd) - 1)], letters)[0]
    drawn = draw_grounding(
        Image.new("RGB", (640, 640), GREY),
        [grounding(each, (640, 640), "the dog" if each == box else "a") for each in crowd],
    )
    if gap(far.rect, box) > letters:
        assert count(drawn, ink.BOXES[0]) > count(draw_grounding(image, []), ink.BOXES[0])


def test_labels_of_one_and_the_same_box_do_not_cover_each_other() -> None:
    box = (100.0, 100.0, 300.0, 200.0)
    labels = place_labels((640, 480), [box] * 5, ["the dog on the left"] * 5, 15)
    for i, one in enumerate(labels):
        for other in labels[:i]:
            a, b = one.rect, other.rect
            assert a[0] >= b[2] or a[2] <= b[0] or a[1] >= b[3] or a[3] <= b[1]


@pytest.mark.parametrize("colour", [*ink.BOXES, *ink.PHRASES, *ink.CATEGORIES, ink.OFF])
def test_letters_on_a_colour_can_be_read(colour: str) -> None:
    def luminance(value: str) -> float:
        parts = [(c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb(value)]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    light, dark = sorted((luminance(colour), luminance(ink.on(colour))), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG AA


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("red  dog\non\tthe left", "red dog on the left"),
        ("café à côté, größte", "cafe a cote, grosste"),
        ("中 dog \x00", "? dog ?"),
        ("smørrebrød 2×3", "smorrebrod 2x3"),
    ],
)
def test_words_are_written_in_letters_that_the_font_has(text: str, drawn: str) -> None:
    assert ink.plain(text) == drawn


def test_long_words_are_wrapped_and_cut_with_a_sign() -> None:
    lines = ink.wrapped("the big brown dog that sits to the left of the red car", 12, 90, 2)
    assert len(lines) == 2
    assert lines[0] == "the big brown"
    assert lines[1].endswith("…")
    assert ink.wrapped("dog", 12, 90, 2) == ["dog"]
    assert ink.wrapped("x" * 500, 12, 90, 2)[0].endswith("…")
    assert all(ink.font(12).getlength(line) <= 90 for line in lines)


@pytest.mark.parametrize("box", [(0.0, 0.0, 0.0, 0.0), (100.0, 80.0, 100.0, 80.0), (0.0, 0.0, 100.0, 80.0)])
def test_boxes_without_area_and_at_the_edge_can_be_drawn(box: tuple[float, float, float, float]) -> None:
    drawn = draw_grounding(Image.new("RGB", (100, 80), GREY), [grounding(box)], truth=[box, (-9, -9, -1, -1)])
    assert count(drawn, ink.BOXES[0]) > 0


def test_tiny_and_transparent_pictures_can_be_drawn_on() -> None:
    image = Image.new("RGBA", (8, 6), (0, 0, 0, 0))
    assert draw_grounding(image, [grounding((1, 1, 5, 5), (8, 6), "the dog")]).size == (640, 480)


def test_what_does_not_fit_is_said() -> None:
    image = Image.new("RGB", (100, 80))
    with pytest.raises(ValueError, match=r"of an image of 80x100 cannot be drawn on this image of 100x80"):
        draw_grounding(image, [grounding(size=(80, 100))])
    with pytest.raises(ValueError, match=r"20 is not a box; truth is a list"):
        draw_grounding(image, [], truth=(20, 30, 60, 70))  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------- contact sheet


def test_a_selection_becomes_one_bar_for_each_layer_filled_by_its_filters() -> None:
    found = [(bar.stage, bar.colour, bar.share) for bar in bars(SELECTION)]
    assert found == [
        ("layer1", ink.LAYER, 0.5),
        ("layer2", ink.LAYER, 0.0),  # off, whatever its filters say
        ("encoder", ink.ATTENTION, 1.0),
        ("encoder", ink.FFN, 0.0),
    ]
    assert bars(Selection(())) == []
    assert bars(Selection.parse("layer1.0=1"))[0].share == 1.0  # no filters to leave out


def test_a_cell_measures_its_iou() -> None:
    image = Image.new("RGB", (100, 80))
    assert Cell(image, grounding()).iou is None
    assert Cell(image, grounding(), (20, 30, 60, 70)).iou == 1.0
    assert Cell(image, grounding(), (40, 30, 80, 70)).iou == pytest.approx(1 / 3)
    for time in ("full_milliseconds", "first_milliseconds"):
        with pytest.raises(ValueError, match="0 ms"):
            Cell(image, grounding(), **{time: 0})


def test_stages_are_named_under_their_bars() -> None:
    sheet = Image.new("RGB", (400, 100), "white")
    found = _strip(ImageDraw.Draw(sheet), (10, 10, 390, 40), bars(SELECTION))
    assert [name for name, _, _ in found] == ["layer1", "layer2", "encoder"]
    assert all(10 <= left < right <= 391 for _, left, right in found)
    assert all(a[2] < b[1] for a, b in itertools.pairwise(found))
    drawn = contact_sheet([[Cell(Image.new("RGB", (100, 80), GREY), grounding())]])
    named = drawn.crop((MARGIN, drawn.height - MARGIN - NAMES, MARGIN + CELL, drawn.height - MARGIN))
    assert count(named, ink.INK) > 40
    assert _strip(ImageDraw.Draw(sheet), (10, 10, 390, 40), []) == []


def test_a_name_that_is_wider_than_its_bars_is_cut() -> None:
    sheet = Image.new("RGB", (200, 30), "white")
    _name(ImageDraw.Draw(sheet), "a_very_long_stage", 80.0, 120.0, 5.0)
    ends = sheet.crop((0, 0, 77, 30)), sheet.crop((124, 0, 200, 30))
    assert all(end.getcolors() == [(end.width * end.height, (255, 255, 255))] for end in ends)


def test_first_use_repeat_and_full_network_have_one_scale() -> None:
    """The first use takes longest; its time stood nowhere."""
    image = Image.new("RGB", (100, 80))
    times = _times(Cell(image, grounding(), None, 8.0, 10.0))
    assert times == [
        ("first use", 1.0, "10.0 ms"),
        ("repeat", 0.4, "4.0 ms"),
        ("full network", 0.8, "8.0 ms"),
    ]
    assert _times(Cell(image, grounding())) == [("time", None, "4.0 ms")]


def test_the_sheet_shows_pictures_enlarged_with_both_boxes() -> None:
    image = Image.new("RGB", (100, 80), GREY)
    with_truth, without = Cell(image, grounding(), (25, 30, 60, 70), 10.0), Cell(image, grounding())
    sheet = contact_sheet([[with_truth, without, without], [without]])
    assert sheet.width == contact_sheet([[without] * 3]).width > 3 * CELL
    picture = sheet.crop((MARGIN, HEADER, MARGIN + CELL, HEADER + round(0.8 * CELL)))
    assert count(picture, GREY) > 0.8 * picture.width * picture.height
    scale = CELL / 100
    assert picture.getpixel((round(20 * scale) - 2, round(50 * scale))) == rgb(ink.PREDICTED)
    assert picture.getpixel((round(25 * scale), round(30 * scale))) == rgb(ink.TRUTH)
    assert count(contact_sheet([[without]]), ink.GOOD) == 0
    assert count(contact_sheet([[with_truth]]), ink.GOOD) > 0


def test_a_sheet_of_one_wide_picture_of_a_static_network_shows_the_whole_legend() -> None:
    wide = Image.new("RGB", (900, 90), GREY)
    cell = Cell(wide, grounding((0, 0, 9, 9), (900, 90), "dog " * 60, Selection(())), (0, 0, 5, 5), 3.0)
    sheet = contact_sheet([[cell]])
    margin = sheet.crop((sheet.width - MARGIN + 1, 0, sheet.width, sheet.height))
    assert margin.getcolors() == [(margin.width * margin.height, (255, 255, 255))]


def test_a_sheet_needs_a_cell() -> None:
    with pytest.raises(ValueError, match="at least one cell"):
        contact_sheet([[]])


# ---------------------------------------------------------------------------------------------- saving


@pytest.mark.parametrize("name", ["a.png", "b.jpg", "c.JPEG", "d.webp"])
def test_pictures_are_saved_in_the_format_of_their_name(tmp_path: Path, name: str) -> None:
    path = save(Image.new("RGB", (10, 10), "red"), tmp_path / "new" / name)
    with Image.open(path) as image:
        assert image.format == {"p": "PNG", "j": "JPEG", "w": "WEBP"}[path.suffix[1].lower()]
    assert [file.name for file in path.parent.iterdir()] == [name]


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'a\.tiff'.*\.png"):
        save(Image.new("RGB", (10, 10)), tmp_path / "a.tiff")
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.csv", b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "array", "image"])
def test_pictures_are_drawn_on_however_they_are_given(tmp_path: Path, kind: str) -> None:
    """`draw_grounding("street.jpg", …)` was an AttributeError, where `ground` takes a path."""
    image, path = Image.new("RGB", LARGE, GREY), tmp_path / "a.png"
    image.save(path)
    forms = {"path": path, "text": str(path), "bytes": path.read_bytes(), "array": np.asarray(image)}
    drawn = draw_grounding(forms.get(kind, image), [grounding(BOX, LARGE)])
    assert drawn.tobytes() == draw_grounding(image, [grounding(BOX, LARGE)]).tobytes()
