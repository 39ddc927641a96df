"""A contact sheet: pictures, their boxes, and which part of the network ran for the words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import torch
from PIL import Image, ImageDraw

from groundling.data.sample import Box
from groundling.draw import ink
from groundling.draw.ink import Rect
from groundling.draw.labels import apart, scaled
from groundling.draw.right import ENOUGH
from groundling.pictures.boxes import iou
from groundling.pictures.images import open_image
from groundling.results import Grounding
from groundling.selection import Selection, is_filters, layer_of

TITLE = "Groundling runs only the part of the network your words need"
CELL, GAP, MARGIN, HEADER = 372, 30, 36, 132  # pixels
LINE, ROW = 22, 24  # of a cell: a line of its words, a line with a bar
STRIP, NAMES = 32, 20  # the bars of its Selection, and the names of stages under them
LABELS, VALUES = 92, 126  # width of the words left and right of a bar
BREAK = 0.6  # of a bar's width: the gap between stages
FRAME, TICK = 3, 2  # widths of lines

Sign = Callable[[ImageDraw.ImageDraw, Rect], None]  # draws what a legend explains


@dataclass(frozen=True)
class Cell:
    """One answer to show: its image, the grounding, the true box (xyxy) and what the full network takes.

    The grounding's own time is that of words asked again; `first_milliseconds` is that of their first use,
    with the extraction of their subnet.
    """

    image: Image.Image
    grounding: Grounding
    truth: Box | None = None
    full_milliseconds: float | None = None
    first_milliseconds: float | None = None

    def __post_init__(self) -> None:
        for time in (self.full_milliseconds, self.first_milliseconds):
            if time is not None and not time > 0:
                raise ValueError(f"an answer in {time} ms? Give None where unknown")

    @property
    def iou(self) -> float | None:
        """IoU of the grounding with the true box, None without one."""
        if self.truth is None:
            return None
        found, true = (torch.tensor(box, dtype=torch.float64) for box in (self.grounding.box, self.truth))
        return float(iou(found, true))

    @property
    def right(self) -> bool | None:
        """Whether the IoU is 0.5 or more, None without a true box."""
        return None if self.iou is None else self.iou >= ENOUGH


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
    below = _below(cells)
    width = 2 * MARGIN + columns * (CELL + GAP) - GAP
    height = HEADER + sum(heights) + LINE * sum(lines) + (below + GAP) * len(rows) - GAP + MARGIN
    sheet = Image.new("RGB", (width, height), ink.PAPER)
    legend = _legend(any(cell.truth for cell in cells), any(cell.right is False for cell in cells))
    header(ImageDraw.Draw(sheet), title, _summary(cells), legend, width)
    top = HEADER
    for row, high, count in zip(rows, heights, lines, strict=True):
        for column, cell in enumerate(row):
            _cell(sheet, cell, MARGIN + column * (CELL + GAP), top, high, count)
        top += high + LINE * count + below + GAP
    return sheet


def _below(cells: Sequence[Cell]) -> int:
    """Height of what is under a cell's words."""
    return 20 + ROW * max(len(_times(cell)) + 1 for cell in cells) + STRIP + NAMES


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
    image: Image.Image,
    boxes: Sequence[Box],
    colours: Sequence[str],
    right: Sequence[bool],
    truth: Sequence[Box],
) -> Image.Image:
    """The picture of a cell: each box in a frame, wrong ones dashed, and the corners of true boxes."""
    picture = resized(image)
    draw, scale = ImageDraw.Draw(picture), max(picture.size) / max(image.size)
    places = apart([scaled(box, scale) for box in boxes], 1.5 * FRAME)
    for box, colour, good in zip(places, colours, right, strict=True):
        ink.frame(draw, box, colour, FRAME, broken=not good)
    for box in truth:
        ink.ticks(draw, scaled(box, scale), ink.TRUTH, TICK)
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
        x = ink.write(draw, (x + 28, 98), words, 14, ink.INK) + 18
    draw.line((MARGIN, HEADER - 10, width - MARGIN, HEADER - 10), fill=ink.RULE, width=1)


def solid(colour: str) -> Sign:
    """The sign of a box that was found."""
    return lambda draw, rect: ink.frame(draw, _within(rect), colour, 2)


def broken(colour: str) -> Sign:
    """The sign of a box that was found and is wrong."""
    return lambda draw, rect: ink.frame(draw, _within(rect), colour, 2, broken=True)


def cornered(draw: ImageDraw.ImageDraw, rect: Rect) -> None:
    """The sign of a true box."""
    ink.ticks(draw, rect, ink.TRUTH, TICK)


def _within(rect: Rect) -> Rect:
    return rect[0] + 2, rect[1] + 2, rect[2] - 1, rect[3] - 1


def _summary(cells: Sequence[Cell]) -> str:
    count = len(cells)
    parts = [f"{count} expression{'s' * (count != 1)}"]
    if found := [cell.right for cell in cells if cell.right is not None]:
        parts.append(f"{sum(found)} of {len(found)} found (IoU of 0.5 or more)")
    share = sum(cell.grounding.cost.share for cell in cells) / count
    return " · ".join([*parts, f"{share:.0%} of the full network's computation on average"])


def _legend(truth: bool, wrong: bool) -> list[tuple[str, Sign]]:
    def bar(colour: str, share: float) -> Sign:
        return lambda draw, rect: _bar(draw, (rect[0] + 6, rect[1], rect[0] + 16, rect[3]), colour, share)

    return [
        ("found", solid(ink.PREDICTED)),
        *([("wrong", broken(ink.PREDICTED))] if wrong else []),
        *([("true box", cornered)] if truth else []),
        ("layer, filled by its filters", bar(ink.LAYER, 0.6)),
        ("attention", bar(ink.ATTENTION, 1.0)),
        ("feed-forward", bar(ink.FFN, 1.0)),
        ("left out", bar(ink.OFF, 0.0)),
    ]


def _cell(sheet: Image.Image, cell: Cell, x: int, y: int, high: int, lines: int) -> None:
    truth = () if cell.truth is None else (cell.truth,)
    boxes = [each.box for each in cell.grounding.found()]
    picture = boxed(
        cell.image, boxes, [ink.PREDICTED] * len(boxes), [cell.right is not False] * len(boxes), truth
    )
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((x, y, x + CELL - 1, y + high - 1), fill=ink.BESIDE)
    sheet.paste(picture, (x + (CELL - picture.width) // 2, y + (high - picture.height) // 2))
    top = y + high + 10
    for row, line in enumerate(_words(cell)):
        ink.write(draw, (x, top + LINE * row), line, 18, ink.INK, bold=True)
    if cell.iou is not None:
        ink.pill(draw, x + CELL, top + 1, f"IoU {cell.iou:.2f}", ink.GOOD if cell.right else ink.BAD)
    share, base = cell.grounding.cost.share, top + LINE * lines + 10
    gauges = [("compute", share, f"{share:.0%} of the network"), *_times(cell)]
    for row, (name, filled, value) in enumerate(gauges):
        _gauge(draw, (x, base + ROW * row), name, filled, value)
    top = base + ROW * len(gauges) + 6
    found = bars(cell.grounding.selection)
    for stage, left, right in _strip(draw, (x, top, x + CELL, top + STRIP), found):
        _name(draw, stage, left, right, top + STRIP + 3)


def _words(cell: Cell) -> list[str]:
    return ink.wrapped(cell.grounding.expression, 18, CELL - (84 if cell.truth else 0), 2)


def _times(cell: Cell) -> list[tuple[str, float | None, str]]:
    """Lines about time: their names, how much of a bar they fill (None: no bar), and their values.

    The longest fills its bar; where there is only one, there is nothing to compare and no bar.
    """
    again = "time" if cell.first_milliseconds is None else "repeat"
    named = [
        ("first use", cell.first_milliseconds),
        (again, cell.grounding.milliseconds),
        ("full network", cell.full_milliseconds),
    ]
    times = [(name, spent) for name, spent in named if spent is not None]
    longest = max(spent for _, spent in times)
    return [(name, spent / longest if len(times) > 1 else None, f"{spent:.1f} ms") for name, spent in times]


def _gauge(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], name: str, share: float | None, value: str
) -> None:
    """A line of the cell: a name, a bar filled by `share` (no bar for None), and the value in words."""
    x, y = place
    ink.write(draw, (x, y), name, 14, ink.QUIET)
    left, right = x + LABELS, x + CELL - VALUES - 10
    if share is not None:
        draw.rectangle((left, y + 4, right, y + 12), fill=ink.RULE)
        filled = max(1, round((right - left) * min(1.0, share)))
        draw.rectangle((left, y + 4, left + filled, y + 12), fill=ink.INK)
    ink.write(draw, (left if share is None else right + 10, y), value, 14, ink.INK)


def _strip(draw: ImageDraw.ImageDraw, rect: Rect, found: Sequence[Bar]) -> list[tuple[str, float, float]]:
    """Draw the bars of a Selection over the width, a gap between stages; each stage, and where it lies."""
    left, top, right, bottom = rect
    if not found:
        ink.write(draw, (left, top + 8), "everything runs: a static network", 14, ink.INK)
        return []
    breaks = [a.stage != b.stage for a, b in pairwise(found)]
    step = (right - left) / (len(found) + BREAK * sum(breaks))
    x, places = left, list[tuple[str, float, float]]()
    for bar, stage_ends in zip(found, [*breaks, False], strict=True):
        _bar(draw, (x, top, x + max(2.0, step - max(1.0, 0.18 * step)), bottom), bar.colour, bar.share)
        places.append((bar.stage, x, x + step))
        x += step * (1 + BREAK * stage_ends)
    stages = [(stage, list(own)) for stage, own in groupby(places, key=lambda place: place[0])]
    return [(stage, own[0][1], own[-1][2]) for stage, own in stages]


def _name(draw: ImageDraw.ImageDraw, stage: str, left: float, right: float, top: float) -> None:
    """A stage's name under its bars: in letters of 15 to 11 pixels, in the middle, cut where it is longer."""
    room = right - left + 4
    size = next((size for size in range(15, 11, -1) if ink.font(size).getlength(stage) <= room), 11)
    (name,) = ink.wrapped(stage, size, room, 1)
    ink.write(draw, ((left + right - ink.font(size).getlength(name)) / 2, top), name, size, ink.INK)


def _bar(draw: ImageDraw.ImageDraw, rect: Rect, colour: str, share: float) -> None:
    """What is left out is grey from top to bottom; what runs is filled by its share, pale above."""
    left, top, right, bottom = (round(value) for value in rect)
    if share <= 0:
        middle = (top + bottom) // 2
        draw.rectangle((left, middle - 1, right - 1, middle + 1), fill=ink.OFF)
        return
    draw.rectangle((left, top, right - 1, bottom - 1), fill=ink.pale(colour))
    draw.rectangle((left, bottom - max(1, round((bottom - top) * share)), right - 1, bottom - 1), fill=colour)
