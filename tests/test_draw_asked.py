"""Phrases, answers and masks as pictures: colours tie words to boxes, and all of the words can be read."""

from collections.abc import Sequence
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_draw import count, rgb

from groundling.draw import caption, draw_answer, draw_detections, draw_mask, draw_phrases, ink
from groundling.draw.asked import marks_in, marks_of
from groundling.draw.asked_cells import Boxes, CaptionCell, MaskCell, QuestionCell, asked_summary
from groundling.draw.asked_sheet import Row, asked_sheet
from groundling.draw.caption import Mark
from groundling.draw.hatching import eroded, grown, hatched, standing_out
from groundling.draw.labels import apart
from groundling.draw.sheet import CELL, HEADER, MARGIN
from groundling.pictures.masks import encode
from groundling.results import Answer, CaptionGrounding, Cost, Detection, PhraseObjects, Segmentation

SIZE = (480, 400)
GREY = "#808080"
IMAGE = Image.new("RGB", SIZE, GREY)
COST = Cost({"all": 2_000_000}, 2_000_000)
TEXT = "A red car left of two red dogs"
CAR, DOGS = (0, 9), (18, 30)
LEFT, RIGHT = (20.0, 60.0, 140.0, 200.0), (260.0, 60.0, 400.0, 200.0)


def grounded(
    *boxes: Sequence[tuple[float, float, float, float]],
    text: str = TEXT,
    spans: Sequence[tuple[int, int]] = (CAR, DOGS),
    size: tuple[int, int] = SIZE,
) -> CaptionGrounding:
    """Of each span the boxes that are given of it."""
    phrases = tuple(
        PhraseObjects(text[a:b], (a, b), tuple(Detection("", box, 0.9) for box in own))
        for (a, b), own in zip(spans, boxes, strict=True)
    )
    return CaptionGrounding(text, COST, *size, 5.0, "", phrases, "given")


def answered(text: str, *labels: str, answer: str = "yes", kind: str | None = "obj") -> Answer:
    evidence = tuple(Detection(label, LEFT, 0.9) for label in labels)
    return Answer(text, COST, *SIZE, 5.0, "", answer=answer, kind=kind, confidence=0.6, evidence=evidence)


def segmented(mask: np.ndarray, text: str = "dogs") -> Segmentation:
    return Segmentation(text, COST, mask.shape[1], mask.shape[0], 5.0, "", mask=encode(mask), objects=())


def halves(drawn: Image.Image) -> tuple[Image.Image, Image.Image]:
    """The picture, and what is written below it."""
    return drawn.crop((0, 0, drawn.width, SIZE[1])), drawn.crop((0, SIZE[1], drawn.width, drawn.height))


# ---------------------------------------------------------------------------------------------- phrases


def test_a_phrase_has_one_colour_in_the_picture_and_in_the_words() -> None:
    drawn = draw_phrases(IMAGE, grounded([LEFT], [RIGHT]))
    picture, words = halves(drawn)
    for colour, box in zip(ink.PHRASES, (LEFT, RIGHT), strict=False):
        middle = (int(box[0] + box[2]) // 2, int(box[3]))  # the first pixel below the box
        assert picture.getpixel(middle) == rgb(colour)
        assert count(words, colour) > 200
    assert count(drawn, ink.PHRASES[2]) == 0
    assert picture.crop((145, 250, 255, 400)).getcolors() == [(110 * 150, rgb(GREY))]  # nothing else changed


def test_a_phrase_of_which_nothing_was_found_is_framed_and_takes_no_colour() -> None:
    found = grounded([], [RIGHT])
    assert [mark.colour for mark in marks_of(found)] == [None, ink.PHRASES[0]]
    _, words = halves(draw_phrases(IMAGE, found))
    assert count(words, ink.QUIET) > 50
    nothing = draw_phrases(IMAGE, grounded([], []))
    picture, words = halves(nothing)
    assert picture.getcolors() == [(480 * 400, rgb(GREY))]
    assert not any(count(words, colour) for colour in ink.PHRASES)


def test_more_phrases_than_colours_are_numbered() -> None:
    few, many = len(ink.PHRASES), len(ink.PHRASES) + 2
    for phrases in (few, many):
        text = " ".join("abcdefghijk"[:phrases])
        spans = [(2 * n, 2 * n + 1) for n in range(phrases)]
        boxes = [[(10.0 + 50 * n, 20.0, 40.0 + 50 * n, 60.0)] for n in range(phrases)]
        found = grounded(*boxes, text=text, spans=spans)
        marks = marks_of(found)
        assert [mark.number for mark in marks] == ([None] * few if phrases == few else [*range(1, many + 1)])
        assert marks[0].colour != marks[few - 1].colour
        draw_phrases(IMAGE, found)
    assert marks[few].colour == marks[0].colour
    (line,) = caption.lines(text, marks, 12, 1000)
    assert [run.words for run in line] == [f"{n} {letter}" for n, letter in enumerate(text.split(), 1)]


SEEN_BY = {  # linear RGB as people without one kind of cone see it (Machado et al. 2009)
    "all": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopes": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopes": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopes": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colour: str, eyes: Sequence[Sequence[float]]) -> np.ndarray:
    """CIE L*a*b* of a colour under D65; a distance of 2 can just be seen."""
    value = np.array(rgb(colour)) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(TO_XYZ @ np.clip(np.array(eyes) @ linear, 0.001, 1) / (0.9505, 1, 1.089))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("who", SEEN_BY)
def test_people_who_see_fewer_colours_tell_the_phrases_apart(who: str) -> None:
    seen = [lab(colour, SEEN_BY[who]) for colour in ink.PHRASES]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 15


def test_two_phrases_of_one_object_are_both_seen() -> None:
    picture, _ = halves(draw_phrases(IMAGE, grounded([LEFT], [LEFT])))
    row = [picture.getpixel((x, 130)) for x in range(140, 160)]
    assert [row.count(rgb(colour)) for colour in ink.PHRASES[:2]] == [2, 2]
    assert apart([LEFT, RIGHT], 3) == [LEFT, RIGHT]
    assert apart([LEFT, LEFT, LEFT], 3)[2] == (14, 54, 146, 206)


def test_a_small_picture_is_drawn_larger() -> None:
    small = grounded([(10.0, 10.0, 60.0, 60.0)], [], size=(192, 192))
    drawn = draw_phrases(Image.new("RGB", (192, 192), GREY), small)
    assert drawn.width == 768
    assert drawn.getpixel((140, 240)) == rgb(ink.PHRASES[0])
    with pytest.raises(ValueError, match="of an image of 192x192 cannot be drawn on this image of 480x400"):
        draw_phrases(IMAGE, small)


def test_a_narrow_picture_leaves_its_words_room() -> None:
    drawn = draw_phrases(Image.new("RGB", (40, 900), GREY), grounded([], [], size=(40, 900)))
    assert drawn.width >= 240
    assert drawn.getpixel((drawn.width // 2, 450)) == rgb(GREY)
    assert drawn.getpixel((1, 450)) == rgb(ink.BESIDE)


# -------------------------------------------------------------------------------------------- the words

PIECES = st.text("ab c\u0301é中\n\t", min_size=1, max_size=60)


@settings(max_examples=80, deadline=None)
@given(text=PIECES, cut=st.tuples(*[st.floats(0, 1)] * 4), width=st.integers(60, 400))
def test_every_letter_is_written_once_in_order_and_no_line_is_too_wide(
    text: str, cut: tuple[float, ...], width: int
) -> None:
    places = [round(value * len(text)) for value in cut]
    spans = [tuple(sorted(places[:2])), tuple(sorted(places[2:]))]
    marks = [Mark((a, b), colour) for (a, b), colour in zip(spans, ink.PHRASES, strict=False) if a < b]
    rows = caption.lines(text, marks, 16, width)
    written = "".join(run.words for line in rows for run in line)
    assert written.replace(" ", "") == ink.plain(text).replace(" ", "")
    for line in rows:
        assert line[0].left >= 0
        assert line[-1].right <= width + 1e-6
        assert all(a.right <= b.left for a, b in pairwise(line))


def test_a_long_caption_is_wrapped_and_none_of_it_is_cut() -> None:
    text = "the big brown dog sits beside the small red car " * 12
    rows = caption.lines(text, [Mark((0, 17), ink.PHRASES[0])], 16, 300)
    assert len(rows) > 10
    assert " ".join(run.words for line in rows for run in line).split() == text.split()
    short, long = (draw_phrases(IMAGE, grounded([], text=t, spans=[(0, 3)])) for t in ("the dog", text))
    assert long.height > short.height + 100


def test_a_phrase_goes_on_in_the_next_line() -> None:
    marks = [Mark((2, 30), ink.PHRASES[0])]
    rows = caption.lines("a dog with a very long brown tail", marks, 16, 120)
    assert len(rows) > 2
    assert [run.words for run in rows[0]] == ["a", "dog with a"]
    assert all(line[0].mark is marks[0] for line in rows[1:-1])


def test_of_marks_that_overlap_the_shorter_lies_on_the_longer() -> None:
    outer, inner = Mark((0, 9), ink.PHRASES[0]), Mark((2, 5), ink.PHRASES[1])
    for marks in ([outer, inner], [inner, outer]):
        (line,) = caption.lines("A red car.", marks, 16, 400)
        assert [(run.words, run.mark) for run in line] == [
            ("A", outer),
            ("red", inner),
            ("car", outer),
            (".", None),
        ]


def test_letters_that_the_font_lacks_do_not_move_the_marks() -> None:
    text = "Ein größerer 猫 läuft"
    (line,) = caption.lines(text, [Mark((4, 12), ink.PHRASES[0]), Mark((13, 14), None)], 16, 600)
    assert [run.words for run in line] == ["Ein", "grosserer", "?", "lauft"]
    assert [run.mark is None for run in line] == [True, False, False, True]
    draw_phrases(IMAGE, grounded([LEFT], [], text=text, spans=[(4, 12), (13, 14)]))


def test_no_words_are_no_lines() -> None:
    assert caption.lines(" \n", [], 16, 100) == []
    assert halves(draw_mask(IMAGE, segmented(np.zeros((400, 480), bool), "")))[1].height > 0


# ---------------------------------------------------------------------------------------------- answers


def test_an_answer_stands_under_its_question_and_its_evidence_has_the_colour_of_its_words() -> None:
    found = answered("Is the dog left of the red car?", "dog", "red car")
    picture, words = halves(draw_answer(IMAGE, found))
    for colour in ink.PHRASES[:2]:
        assert count(picture, colour) > 0
        assert count(words, colour) > 100
    longer = answered(
        "Is the dog left of the red car?", "dog", "red car", answer="a green traffic light " * 9
    )
    assert draw_answer(IMAGE, longer).height > draw_answer(IMAGE, found).height
    assert draw_answer(IMAGE, answered("Is it sunny?", kind=None)).crop((0, 0, *SIZE)).getcolors() == [
        (480 * 400, rgb(GREY))
    ]


def test_evidence_of_one_box_is_all_seen() -> None:
    """The frame of the second object lay on that of the first."""
    picture, _ = halves(draw_answer(IMAGE, answered("Is the dog left of the red car?", "dog", "red car")))
    row = [picture.getpixel((x, 130)) for x in range(140, 160)]
    assert [row.count(rgb(colour)) for colour in ink.PHRASES[:2]] == [2, 2]


def test_words_that_come_twice_or_not_at_all_are_not_coloured() -> None:
    assert [
        mark.span for mark in marks_in(answered("Is the dog a dog near a cat?", "dog", "cat", "car"))
    ] == [(24, 27)]


# ------------------------------------------------------------------------------------------------ masks


def test_a_mask_is_outlined_and_hatched_and_what_it_holds_stays_seen() -> None:
    mask = np.zeros((400, 480), bool)
    mask[100:200, 50:150] = mask[300, 20:200] = True  # a square, and a line that is one pixel high
    drawn = draw_mask(IMAGE, segmented(mask))
    picture, words = halves(drawn)
    changed = (np.asarray(picture) != np.array(rgb(GREY))).any(-1)
    assert not changed[~mask].any()
    assert 0.02 < changed[110:190, 60:140].mean() < 0.2  # the hatching
    (colour,) = [each for each in ink.MASKS if count(words, each) > 100]
    assert picture.getpixel((50, 150)) == (0, 0, 0)  # the outline: dark, then the colour itself
    assert picture.getpixel((51, 150)) == rgb(colour)
    assert picture.getpixel((100, 300)) == rgb(colour)  # what is thin is not all outline


@pytest.mark.parametrize(
    "thing", ["#c81e28", "#ff3d6e", "#ffb6c1", "#1040c0", "#20c020", "#ffe100", "#ffffff", "#000000"]
)
def test_a_mask_has_a_colour_that_its_picture_has_not(thing: str) -> None:
    """A pink tint on a red bench was taken for the bench."""
    mask = np.zeros((400, 480), bool)
    mask[100:200, 50:150] = True
    image = Image.new("RGB", SIZE, thing)
    colour = standing_out(image, mask)
    assert np.linalg.norm(lab(colour, SEEN_BY["all"]) - lab(thing, SEEN_BY["all"])) > 60
    picture = np.asarray(draw_mask(image, segmented(mask)))[:400]
    assert (picture[110:190, 60:140] == rgb(thing)).all(-1).mean() > 0.8


def test_a_mask_of_a_small_picture_keeps_its_pixels() -> None:
    mask = np.zeros((60, 80), bool)
    mask[10:20, 30:50] = True
    small = Image.new("RGB", (80, 60), GREY)
    picture = np.asarray(draw_mask(small, segmented(mask)))[:480, :640]
    changed, on = (picture != 128).any(-1), mask.repeat(8, 0).repeat(8, 1)
    assert not changed[~on].any()
    assert changed[80:160, [240, 399]].all()  # its edges


def test_an_empty_and_a_full_mask() -> None:
    picture, words = halves(draw_mask(IMAGE, segmented(np.zeros((400, 480), bool))))
    assert picture.getcolors() == [(480 * 400, rgb(GREY))]
    assert not any(count(words, colour) for colour in ink.MASKS)
    assert count(words, ink.QUIET) > 20
    picture, _ = halves(draw_mask(IMAGE, segmented(np.ones((400, 480), bool))))
    assert picture.getpixel((0, 200)) == (0, 0, 0)
    assert count(picture, GREY) > 0.8 * 480 * 400


def test_masks_shrink_and_grow_by_pixels() -> None:
    mask = np.zeros((5, 7), bool)
    mask[1:4, 1:6] = True
    assert np.argwhere(eroded(mask, 1)).tolist() == [[2, 2], [2, 3], [2, 4]]
    assert not eroded(mask, 2).any()
    point = np.zeros((5, 5), bool)
    point[2, 2] = True
    assert grown(point, 1).sum() == 5
    assert grown(point, 2).sum() == 13
    nothing = np.zeros((400, 480), bool)
    assert (np.asarray(hatched(IMAGE, nothing, ink.MASKS[0])) == np.asarray(IMAGE)).all()


# ------------------------------------------------------------------------------------------- the sheet

MASK = np.zeros((400, 480), bool)
MASK[100:200, 50:150] = True
SHIFTED = np.roll(MASK, 50, 1)  # 5,000 of 15,000 pixels in both
NEAR = (20.0, 60.0, 100.0, 200.0)  # IoU of 2/3 with LEFT


def cells() -> tuple[list[CaptionCell], list[QuestionCell], list[MaskCell]]:
    captions = [CaptionCell(IMAGE, grounded([NEAR], [RIGHT, LEFT]), ((LEFT,), (LEFT,)))]
    questions = [
        QuestionCell(IMAGE, answered("Is the dog red?", "dog"), "yes", (LEFT,)),
        QuestionCell(IMAGE, answered("Is the dog blue?", "dog"), "no", (LEFT,)),
    ]
    return captions, questions, [MaskCell(IMAGE, segmented(MASK), SHIFTED)]


def test_cells_know_whether_they_are_right() -> None:
    captions, questions, masks = cells()
    assert captions[0].right == (True, False)  # of the second, only the surest box counts
    assert CaptionCell(IMAGE, grounded([], [RIGHT]), ((LEFT,), ())).right == (False, False)
    assert [cell.right for cell in questions] == [True, False]
    assert masks[0].iou == pytest.approx(1 / 3)
    nothing = np.zeros_like(MASK)
    assert MaskCell(IMAGE, segmented(nothing), nothing).iou == 1
    assert MaskCell(IMAGE, segmented(nothing), MASK).iou == 0
    assert captions[0].boxes_right == ((True,), (False, True))
    assert Boxes.of(captions) == Boxes(found=3, right=2, true=2)
    assert Boxes.of(captions).wrong == 1
    said = (
        "1 of 2 phrases found · 2 of 2 objects, 1 box wrong · 1 of 2 answers right · mean mask IoU 0.33 · "
        "5.0 ms on average"
    )
    assert asked_summary([*captions, *questions, *masks]) == said
    with pytest.raises(ValueError, match="2 phrases, and true boxes of 1"):
        CaptionCell(IMAGE, grounded([], []), ((LEFT,),))
    with pytest.raises(ValueError, match=r"mask has 400×480 pixels .*, and the true one 480×400"):
        MaskCell(IMAGE, segmented(MASK), MASK.T)


def test_boxes_too_many_are_counted() -> None:
    """A caption was "2 of 2 found" whatever else was boxed."""
    found = grounded([LEFT, NEAR, RIGHT], [RIGHT])
    cell = CaptionCell(IMAGE, found, ((LEFT,), (RIGHT,)))
    assert cell.right == (True, True)
    assert Boxes.of([cell]) == Boxes(found=4, right=2, true=2)  # NEAR lies on what LEFT has already
    sheet = asked_sheet([Row("Captions", "", (cell,))])
    assert count(sheet, ink.PARTLY) > 100
    assert count(sheet, ink.GOOD) == count(sheet, ink.BAD) == 0


def test_the_sheet_shows_boxes_masks_and_truth() -> None:
    captions, questions, masks = (tuple(each) for each in cells())
    rows = [Row("Captions", "", captions), Row("Questions", "both", questions), Row("Masks", "", masks)]
    sheet = asked_sheet(rows)
    assert sheet.width == asked_sheet(rows[:1]).width > 3 * CELL
    margin = sheet.crop((sheet.width - MARGIN + 1, 0, sheet.width, sheet.height))
    assert margin.getcolors() == [(margin.width * margin.height, (255, 255, 255))]
    first = sheet.crop((MARGIN, HEADER, MARGIN + CELL, HEADER + 400))
    assert count(first, ink.PHRASES[0]) > 200
    assert count(first, ink.PHRASES[1]) > 200
    verdicts = {
        "some phrases": (captions[0], ink.BAD),
        "right answer": (questions[0], ink.GOOD),
        "wrong answer": (questions[1], ink.BAD),
        "poor mask": (masks[0], ink.BAD),
    }
    for name, (cell, colour) in verdicts.items():
        one = asked_sheet([Row(name, "", (cell,)), Row("nothing", "", ())])
        assert [count(one, each) > 100 for each in (ink.GOOD, ink.BAD)] == [
            colour == ink.GOOD,
            colour == ink.BAD,
        ], name
    with pytest.raises(ValueError, match="at least one cell"):
        asked_sheet([Row("nothing", "", ())])


def test_a_true_outline_lies_on_the_mask_in_light_and_dark() -> None:
    nothing, all_of_it = segmented(np.zeros_like(MASK)), segmented(np.ones_like(MASK))
    x, y = MARGIN + round(50 * CELL / 480), HEADER + 46 + round(150 * CELL / 480)  # under the row's heading
    for found in (nothing, all_of_it):
        sheet = asked_sheet([Row("Masks", "", (MaskCell(IMAGE, found, MASK),))])
        assert {sheet.getpixel((x, y + dy)) for dy in range(30)} == {(0, 0, 0), (255, 255, 255)}


@pytest.mark.parametrize("form", ["path", "bytes", "array"])
def test_pictures_are_drawn_on_however_they_are_given(tmp_path: Path, form: str) -> None:
    """`draw_phrases("street.jpg", …)` was an AttributeError, where a Grounder takes a path."""
    image, path = Image.new("RGB", SIZE, "#808080"), tmp_path / "a.png"
    image.save(path)
    source = {"path": path, "bytes": path.read_bytes(), "array": np.asarray(image)}[form]
    mask = np.zeros((SIZE[1], SIZE[0]), bool)
    for draw, found in (
        (draw_phrases, grounded([LEFT], [RIGHT])),
        (draw_answer, answered("Is it a dog?", "dog")),
        (draw_mask, segmented(mask)),
        (draw_detections, answered("Is it a dog?", "dog").detections()),
    ):
        assert draw(source, found).tobytes() == draw(image, found).tobytes()  # type: ignore[operator]
