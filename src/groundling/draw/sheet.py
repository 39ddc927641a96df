"""A contact sheet: pictures, their boxes, and which part of the network ran for the words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from PIL import Image, ImageDraw

from groundling.data.sample import Box
from groundling.draw import ink
from groundling.draw.ink import Rect
from groundling.draw.labels import apart, scaled
from groundling.pictures.boxes import iou
from groundling.pictures.images import open_image
from groundling.results import Grounding
from groundling.selection import Selection, is_filters, layer_of

TITLE = "Groundling runs only the part of the network your words need"
CELL, GAP, MARGIN, HEADER = 372, 30, 36, 132  # pixels
LINE, BELOW, STRIP = 22, 116, 34  # of a cell: a line of words, what is under them, the bars of its Selection
LABELS = 72  # width of the words left of the bars
FRAME = 4  # width

Sign = Callable[[ImageDraw.ImageDraw, Rect], None]  # draws what a legend explains


@dataclass(frozen=True)
class Cell:
    """One answer to show: its image, the grounding, the true box (xyxy) and what the full network takes."""

    image: Image.Image
    grounding: Grounding
    truth: Box | None = None
    full_milliseconds: float | None = None

    def __post_init__(self) -> None:
        if self.full_milliseconds is not None and not self.full_milliseconds > 0:
            raise ValueError(f"a full network in {self.full_milliseconds} ms? Give None where unknown")

    @property
    def iou(self) -> float | None:
        """IoU of the grounding with the true box, None without one."""
        if self.truth is None:
            return None
        found, true = (torch.tensor(box, dtype=torch.float64) for box in (self.grounding.box, self.truth))
        return float(iou(found, true))


@dataclass(frozen=True)
class Bar:
    """One layer or sublayer of a Selection: its colour, and the share of it that runs (0: skipped)."""

    stage: str
    colour: str
    share: float


def contact_sheet(rows: Sequence[Sequence[Cell]], title: str = TITLE) -> Image.Image:
    """Rows of cells under a title and a legend; ValueError without any cell."""
    cells = [cell for row in rows for cell in row]
    if not cells:
        raise ValueError("a contact sheet needs at least one cell")
    columns = max(2, max(len(row) for row in rows))  # two, or the legend would not fit
    heights = [max((fit(cell.image)[1] for cell in row), default=0) for row in rows]
    lines = [max((len(_words(cell)) for cell in row), default=0) for row in rows]
    width = 2 * MARGIN + columns * (CELL + GAP) - GAP
    height = HEADER + sum(heights) + LINE * sum(lines) + (BELOW + GAP) * len(rows) - GAP + MARGIN
    sheet = Image.new("RGB", (width, height), ink.PAPER)
    legend = _legend(any(cell.truth for cell in cells))
    header(ImageDraw.Draw(sheet), title, _summary(cells), legend, width)
    top = HEADER
    for row, high, count in zip(rows, heights, lines, strict=True):
        for column, cell in enumerate(row):
            _cell(sheet, cell, MARGIN + column * (CELL + GAP), top, high, count)
        top += high + LINE * count + BELOW + GAP
    return sheet


def bars(selection: Selection) -> list[Bar]:
    """A Selection as bars, in the network's order; none for a static network."""
    selection, found = selection.canonical(), []
    for name, bits in selection.units:
        if is_filters(name):
            continue
        stage, kind = name.partition(".")[0], name.rpartition(".")[2]
        colour = {"attention": ink.ATTENTION, "ffn": ink.FFN}.get(kind, ink.LAYER)
        found.append(Bar(stage, colour, _filters(selection, name) if bits[0] else 0.0))
    return found


def _filters(selection: Selection, layer: str) -> float:
    """Share of a layer's filters that run; 1 where none can be left out."""
    rows = [row for name, row in selection.units if is_filters(name) and layer_of(name) == layer]
    bits = [bit for row in rows for bit in row]
    return sum(bits) / len(bits) if bits else 1.0


def fit(image: Image.Image) -> tuple[int, int]:
    """Size of a picture in its cell: as wide as the cell, at most as high, small ones enlarged."""
    scale = CELL / max(image.size)
    return max(1, round(image.width * scale)), max(1, round(image.height * scale))


def resized(image: Image.Image) -> Image.Image:
    """A copy of the picture as large as in its cell."""
    original = open_image(image, max_pixels=image.width * image.height)
    return original.resize(fit(original), Image.Resampling.LANCZOS)


def boxed(
    image: Image.Image, boxes: Sequence[Box], colours: Sequence[str], truth: Sequence[Box]
) -> Image.Image:
    """The picture of a cell with framed boxes, each seen, and dashed true boxes."""
    picture = resized(image)
    draw, scale = ImageDraw.Draw(picture), max(picture.size) / max(image.size)
    places = apart([scaled(box, scale) for box in boxes], 1.5 * FRAME)
    for box, colour in zip(places, colours, strict=True):
        ink.frame(draw, box, colour, FRAME)
    for box in truth:
        dashed(draw, scaled(box, scale))
    return picture


def header(
    draw: ImageDraw.ImageDraw, title: str, summary: str, legend: Sequence[tuple[str, Sign]], width: int
) -> None:
    """Title, summary and legend over a sheet that is so wide."""
    ink.write(draw, (MARGIN, 28), title, 27, ink.INK, bold=True)
    ink.write(draw, (MARGIN, 66), summary, 16, ink.QUIET)
    x = float(MARGIN)
    for words, sign in legend:
        sign(draw, (x, 99, x + 22, 113))
        x = ink.write(draw, (x + 29, 98), words, 14, ink.INK) + 22
    draw.line((MARGIN, HEADER - 10, width - MARGIN, HEADER - 10), fill=ink.RULE, width=1)


def solid(colour: str) -> Sign:
    """The sign of a box that was found."""
    return lambda draw, rect: draw.rectangle(rect, outline=colour, width=3)


def dashed(draw: ImageDraw.ImageDraw, rect: Rect) -> None:
    """A true box, and its sign."""
    ink.dashes(draw, rect, ink.TRUTH, 2)


def _summary(cells: Sequence[Cell]) -> str:
    count = len(cells)
    parts = [f"{count} expression{'s' * (count != 1)}"]
    if found := [cell.iou for cell in cells if cell.iou is not None]:
        parts.append(f"{sum(value >= 0.5 for value in found)} of {len(found)} found (IoU of 0.5 or more)")
    share = sum(cell.grounding.cost.share for cell in cells) / count
    return " · ".join([*parts, f"{share:.0%} of the full network's computation on average"])


def _legend(truth: bool) -> list[tuple[str, Sign]]:
    def bar(colour: str, share: float) -> Sign:
        return lambda draw, rect: _bar(draw, (rect[0] + 6, rect[1], rect[0] + 16, rect[3]), colour, share)

    return [
        ("found", solid(ink.PREDICTED)),
        *([("true box", dashed)] if truth else []),
        ("layer, filled by its filters that run", bar(ink.LAYER, 0.6)),
        ("attention", bar(ink.ATTENTION, 1.0)),
        ("feed-forward", bar(ink.FFN, 1.0)),
        ("left out", bar(ink.OFF, 0.0)),
    ]


def _cell(sheet: Image.Image, cell: Cell, x: int, y: int, high: int, lines: int) -> None:
    truth = () if cell.truth is None else (cell.truth,)
    picture = boxed(cell.image, [cell.grounding.box], [ink.PREDICTED], truth)
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((x, y, x + CELL - 1, y + high - 1), fill=ink.BESIDE)
    sheet.paste(picture, (x + (CELL - picture.width) // 2, y + (high - picture.height) // 2))
    top = y + high + 10
    for row, line in enumerate(_words(cell)):
        ink.write(draw, (x, top + LINE * row), line, 18, ink.INK, bold=True)
    if cell.iou is not None:
        ink.pill(draw, x + CELL, top + 1, f"IoU {cell.iou:.2f}", ink.GOOD if cell.iou >= 0.5 else ink.BAD)
    share, base = cell.grounding.cost.share, top + LINE * lines + 10
    _gauge(draw, (x, base), "compute", share, f"{share:.0%} of the network")
    _gauge(draw, (x, base + 24), "time", *_time(cell))
    ink.write(draw, (x, base + 60), "layers", 14, ink.QUIET)
    _strip(draw, (x + LABELS, base + 52, x + CELL, base + 52 + STRIP), bars(cell.grounding.selection))


def _words(cell: Cell) -> list[str]:
    return ink.wrapped(cell.grounding.expression, 18, CELL - (84 if cell.truth else 0), 2)


def _time(cell: Cell) -> tuple[float | None, str]:
    spent, full = cell.grounding.milliseconds, cell.full_milliseconds
    if full is None:
        return None, f"{spent:.1f} ms"
    return spent / full, f"{spent:.1f} of {full:.1f} ms"


def _gauge(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], name: str, share: float | None, value: str
) -> None:
    """A line of the cell: a name, a bar filled by `share` (no bar for None), and the value in words."""
    x, y = place
    ink.write(draw, (x, y), name, 14, ink.QUIET)
    left, right = x + LABELS, x + CELL - 140
    if share is not None:
        draw.rectangle((left, y + 4, right, y + 12), fill=ink.RULE)
        filled = max(1, round((right - left) * min(1.0, share)))
        draw.rectangle((left, y + 4, left + filled, y + 12), fill=ink.INK)
    ink.write(draw, (left if share is None else right + 10, y), value, 14, ink.INK)


def _strip(draw: ImageDraw.ImageDraw, rect: Rect, found: Sequence[Bar]) -> None:
    """The bars of a Selection over the width, with a gap between stages."""
    left, top, right, bottom = rect
    if not found:
        ink.write(draw, (left, top + 8), "all: a static network", 14, ink.INK)
        return
    breaks = [a.stage != b.stage for a, b in pairwise(found)]
    step = (right - left) / (len(found) + 0.6 * sum(breaks))
    x = left
    for bar, stage_ends in zip(found, [*breaks, False], strict=True):
        _bar(draw, (x, top, x + max(2.0, step - max(1.0, 0.18 * step)), bottom), bar.colour, bar.share)
        x += step * (1.6 if stage_ends else 1.0)


def _bar(draw: ImageDraw.ImageDraw, rect: Rect, colour: str, share: float) -> None:
    """What is left out is grey from top to bottom; what runs is filled by its share, pale above."""
    left, top, right, bottom = (round(value) for value in rect)
    if share <= 0:
        middle = (top + bottom) // 2
        draw.rectangle((left, middle - 1, right - 1, middle + 1), fill=ink.OFF)
        return
    draw.rectangle((left, top, right - 1, bottom - 1), fill=ink.pale(colour))
    draw.rectangle((left, bottom - max(1, round((bottom - top) * share)), right - 1, bottom - 1), fill=colour)
