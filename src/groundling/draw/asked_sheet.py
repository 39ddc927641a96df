"""A contact sheet of what a model was asked: phrases, questions and masks, and whether each is right."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from groundling.draw import caption, ink
from groundling.draw.asked import coloured, colours_of, marks_in, marks_of
from groundling.draw.asked_cells import (
    AskedCell,
    Boxes,
    CaptionCell,
    MaskCell,
    QuestionCell,
    asked_summary,
    counted,
)
from groundling.draw.caption import Mark
from groundling.draw.hatching import at_size, eroded, hatched, standing_out
from groundling.draw.ink import Rect
from groundling.draw.right import on_one
from groundling.draw.sheet import (
    CELL,
    GAP,
    HEADER,
    MARGIN,
    Sign,
    boxed,
    broken,
    cornered,
    header,
    resized,
    solid,
)
from groundling.pictures.masks import Mask as Pixels
from groundling.pictures.masks import decode
from groundling.results import Asked

TITLE = "One network for whole sentences, questions and masks"
HEADING, TEXT, ANSWER, FOOT = 46, 17, 24, 30  # pixels: heights of heading and foot, sizes of letters
DASH = 5


@dataclass(frozen=True)
class Row:
    """Cells beside each other, under a name and a few quiet words."""

    name: str
    meaning: str
    cells: tuple[AskedCell, ...]


@dataclass(frozen=True)
class _Panel:
    """A cell as it is drawn: picture, words with their marks, an answer, and the verdict in its colour."""

    picture: Image.Image
    text: list[caption.Line]
    answer: str
    sure: str
    verdict: str
    colour: str
    foot: str


def asked_sheet(rows: Sequence[Row], summary: str | None = None, title: str = TITLE) -> Image.Image:
    """Rows of cells under a title, a summary (None: that of the cells) and a legend.

    Rows without cells are left out; ValueError without any cell.
    """
    rows = [row for row in rows if row.cells]
    if not rows:
        raise ValueError("a sheet of answers needs at least one cell")
    panels = [[_panel(cell) for cell in row.cells] for row in rows]
    columns = max(3, *map(len, panels))  # three, or the legend would not fit
    width = 2 * MARGIN + columns * (CELL + GAP) - GAP
    heights = [HEADING + _high(own) + GAP for own in panels]
    sheet = Image.new("RGB", (width, HEADER + sum(heights) - GAP + MARGIN), ink.PAPER)
    draw = ImageDraw.Draw(sheet)
    said = asked_summary([cell for row in rows for cell in row.cells]) if summary is None else summary
    header(draw, title, said, _LEGEND, width)
    top = HEADER
    for row, own, high in zip(rows, panels, heights, strict=True):
        x = ink.write(draw, (MARGIN, top + 8), row.name, 20, ink.INK, bold=True)
        ink.write(draw, (x + 12, top + 12), row.meaning, 15, ink.QUIET)
        for column, panel in enumerate(own):
            _draw(sheet, panel, MARGIN + column * (CELL + GAP), top + HEADING, own)
        top += high
    return sheet


# ------------------------------------------------------------------------------------- what a cell shows


def _panel(cell: AskedCell) -> _Panel:
    match cell:
        case CaptionCell():
            return _phrases(cell)
        case QuestionCell():
            return _question(cell)
        case MaskCell():
            return _mask(cell)


def _phrases(cell: CaptionCell) -> _Panel:
    marks, right, count = marks_of(cell.found), cell.right, Boxes.of([cell])
    objects = coloured(cell.found, marks)
    picture = boxed(
        cell.image,
        [each.box for each, _, _ in objects],
        [colour for _, colour, _ in objects],
        [good for phrase in cell.boxes_right for good in phrase],
        [box for boxes in cell.truth for box in boxes],
    )
    verdict = f"{sum(right)} of {len(right)} found"
    boxes = f"{count.right} of {count.true} objects, {counted(count.wrong)} wrong"
    foot = f"{boxes} · {cell.found.milliseconds:.0f} ms"
    colour = ink.BAD if not all(right) else ink.PARTLY if count.wrong else ink.GOOD
    return _Panel(picture, _lines(cell.found.text, marks), "", "", verdict, colour, foot)


def _question(cell: QuestionCell) -> _Panel:
    colours, boxes = colours_of(cell.found), [each.box for each in cell.found.evidence]
    picture = boxed(
        cell.image,
        boxes,
        [colours[each.label] for each in cell.found.evidence],
        on_one(boxes, cell.truth),
        cell.truth,
    )
    return _Panel(
        picture,
        _lines(cell.found.text, marks_in(cell.found)),
        cell.found.answer,
        f"{cell.found.confidence:.0%} sure",
        "right" if cell.right else f"wrong: it is {cell.answer}",
        ink.GOOD if cell.right else ink.BAD,
        _spent(cell.found),
    )


def _mask(cell: MaskCell) -> _Panel:
    mask, picture = decode(cell.found.mask), resized(cell.image)
    colour = standing_out(picture, mask)
    picture = _outlined(hatched(picture, mask, colour), cell.truth)
    text = _lines(cell.found.text, [Mark((0, len(cell.found.text)), colour if mask.any() else None)])
    verdict = ink.GOOD if cell.right else ink.BAD
    return _Panel(picture, text, "", "", f"IoU {cell.iou:.2f}", verdict, _spent(cell.found))


def _lines(text: str, marks: Sequence[Mark]) -> list[caption.Line]:
    return caption.lines(text, marks, TEXT, CELL)


def _spent(found: Asked) -> str:
    return f"{found.milliseconds:.1f} ms · {found.cost.macs / 1e6:,.0f} M MACs"


def _outlined(picture: Image.Image, truth: Pixels) -> Image.Image:
    """The picture with the true mask's outline, light and dark in turn."""
    mask = at_size(truth, picture.size)
    rows, columns = np.nonzero(mask & ~eroded(mask, 1))
    pixels = np.array(picture)
    light = (rows // DASH + columns // DASH) % 2 == 0
    pixels[rows, columns] = np.where(light[:, None], 255, 0)
    return Image.fromarray(pixels)


# --------------------------------------------------------------------------------------------- the layout


def _hatch(draw: ImageDraw.ImageDraw, rect: Rect) -> None:
    left, top, right, bottom = (round(value) for value in rect)
    draw.rectangle(rect, ink.pale(ink.MASKS[0]), ink.MASKS[0], 2)
    for x in range(left + 4, right - (bottom - top) // 2, 6):
        draw.line((x, bottom, x + (bottom - top) // 2, top), fill=ink.INK)


def _outline(draw: ImageDraw.ImageDraw, rect: Rect) -> None:
    left, top, right, bottom = (round(value) for value in rect)
    draw.rectangle(rect, None, "#000000", 2)
    for x in range(left, right, 2 * DASH):
        draw.rectangle((x, top, x + DASH - 1, top + 1), fill=ink.TRUTH)
        draw.rectangle((x, bottom - 1, x + DASH - 1, bottom), fill=ink.TRUTH)


def _nothing(draw: ImageDraw.ImageDraw, rect: Rect) -> None:
    draw.rounded_rectangle(rect, 4, None, ink.QUIET, 1)


_LEGEND: tuple[tuple[str, Sign], ...] = (
    ("found, in its words' colour", solid(ink.PHRASES[0])),
    ("found, but wrong", broken(ink.PHRASES[0])),
    ("true box", cornered),
    ("mask, in a colour that stands out", _hatch),
    ("true outline", _outline),
    ("nothing found", _nothing),
)


def _high(panels: Sequence[_Panel]) -> int:
    """Height of a row of cells."""
    picture, text = max(panel.picture.height for panel in panels), max(len(panel.text) for panel in panels)
    answer = caption.leading(ANSWER) * any(panel.answer for panel in panels)
    return picture + 12 + caption.leading(TEXT) * text + answer + FOOT


def _draw(sheet: Image.Image, panel: _Panel, x: int, y: int, row: Sequence[_Panel]) -> None:
    """A panel in its place, its foot level with those of its row."""
    draw = ImageDraw.Draw(sheet)
    high = max(other.picture.height for other in row)
    draw.rectangle((x, y, x + CELL - 1, y + high - 1), fill=ink.BESIDE)
    place = x + (CELL - panel.picture.width) // 2, y + (high - panel.picture.height) // 2
    sheet.paste(panel.picture, place)
    top = y + high + 12
    caption.write(draw, (x, top), panel.text, TEXT)
    if panel.answer:
        top += caption.leading(TEXT) * len(panel.text)
        (answer,) = ink.wrapped(panel.answer, ANSWER, CELL - 100, 1)
        end = ink.write(draw, (x, top), answer, ANSWER, ink.INK, bold=True)
        ink.write(draw, (end + 10, top + 9), panel.sure, 14, ink.QUIET)
    foot = y + _high(row) - FOOT
    ink.write(draw, (x, foot + 6), panel.foot, 14, ink.QUIET)
    ink.pill(draw, x + CELL, foot + 3, panel.verdict, panel.colour)
