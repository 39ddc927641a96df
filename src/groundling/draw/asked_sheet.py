"""A contact sheet of what an MDETR answers: phrases, questions and masks, and whether each is right."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw

from groundling.data.sample import Box
from groundling.draw import caption, ink
from groundling.draw.asked import at_size, coloured, colours_of, eroded, marks_in, marks_of, tinted
from groundling.draw.caption import Mark
from groundling.draw.ink import Rect
from groundling.draw.sheet import CELL, GAP, HEADER, MARGIN, Sign, boxed, dashed, header, resized, solid
from groundling.pictures.boxes import pairwise_iou
from groundling.pictures.masks import Mask as Pixels
from groundling.pictures.masks import decode
from groundling.results import Answer, Asked, CaptionGrounding, Detection, Segmentation

TITLE = "One network for whole sentences, questions and masks"
ENOUGH = 0.5  # IoU of a box or mask that counts as found
HEADING, TEXT, ANSWER, FOOT = 46, 17, 24, 30  # pixels: heights of heading and foot, sizes of letters
DASH = 5


@dataclass(frozen=True)
class CaptionCell:
    """A caption's phrases beside their true boxes (xyxy), in the same order."""

    image: Image.Image
    found: CaptionGrounding
    truth: tuple[tuple[Box, ...], ...]

    def __post_init__(self) -> None:
        if len(self.truth) != len(self.found):
            raise ValueError(f"{len(self.found)} phrases do not fit true boxes of {len(self.truth)}")

    @property
    def right(self) -> tuple[bool, ...]:
        """Whether the surest box of each phrase has an IoU of 0.5 or more with one of its true boxes."""
        return tuple(
            _on_one(found.objects, boxes) for found, boxes in zip(self.found, self.truth, strict=True)
        )


@dataclass(frozen=True)
class QuestionCell:
    """An answer beside the true one, and the true boxes of what the question is about."""

    image: Image.Image
    found: Answer
    answer: str
    truth: tuple[Box, ...]

    @property
    def right(self) -> bool:
        """Whether it is the true answer."""
        return self.found.answer == self.answer


@dataclass(frozen=True)
class MaskCell:
    """A phrase's mask beside the true one."""

    image: Image.Image
    found: Segmentation
    truth: Pixels

    def __post_init__(self) -> None:
        size = (self.found.height, self.found.width)
        if self.truth.shape != size:
            given, fitting = ("×".join(map(str, shape)) for shape in (self.truth.shape, size))
            raise ValueError(f"a mask of {fitting} (height × width) does not fit a true one of {given}")

    @property
    def iou(self) -> float:
        """IoU of both masks; 1 if both are empty."""
        found = decode(self.found.mask)
        union = int((found | self.truth).sum())
        return int((found & self.truth).sum()) / union if union else 1.0


@dataclass(frozen=True)
class _Panel:
    """A cell as it is drawn: picture, words with their marks, an answer, and the verdict."""

    picture: Image.Image
    text: list[caption.Line]
    answer: str
    sure: str
    verdict: str
    good: bool
    foot: str


def asked_sheet(
    captions: Sequence[CaptionCell],
    questions: Sequence[QuestionCell],
    masks: Sequence[MaskCell],
    title: str = TITLE,
) -> Image.Image:
    """A row of each kind under a title, a summary and a legend; ValueError without any cell."""
    rows: list[tuple[str, str, list[_Panel]]] = [
        (
            "Captions",
            "each phrase has one colour, in the words and in the picture",
            [*map(_phrases, captions)],
        ),
        ("Questions", "the answer, and what it rests on", [*map(_question, questions)]),
        ("Masks", "the pixels of everything that a phrase means", [*map(_mask, masks)]),
    ]
    rows = [row for row in rows if row[2]]
    if not rows:
        raise ValueError("a sheet of answers needs at least one cell")
    columns = max(3, max(len(panels) for _, _, panels in rows))  # three, or the legend would not fit
    width = 2 * MARGIN + columns * (CELL + GAP) - GAP
    heights = [HEADING + _high(panels) + GAP for _, _, panels in rows]
    sheet = Image.new("RGB", (width, HEADER + sum(heights) - GAP + MARGIN), ink.PAPER)
    draw = ImageDraw.Draw(sheet)
    header(draw, title, asked_summary(captions, questions, masks), _LEGEND, width)
    top = HEADER
    for (name, meaning, panels), high in zip(rows, heights, strict=True):
        x = ink.write(draw, (MARGIN, top + 8), name, 20, ink.INK, bold=True)
        ink.write(draw, (x + 12, top + 12), meaning, 15, ink.QUIET)
        for column, panel in enumerate(panels):
            _draw(sheet, panel, MARGIN + column * (CELL + GAP), top + HEADING, panels)
        top += high
    return sheet


def asked_summary(
    captions: Sequence[CaptionCell], questions: Sequence[QuestionCell], masks: Sequence[MaskCell]
) -> str:
    """What was found and answered, how well masks fit, and the mean time of an answer, in one line."""
    parts = list[str]()
    if phrases := [right for cell in captions for right in cell.right]:
        parts.append(f"{sum(phrases)} of {len(phrases)} phrases found")
    if questions:
        parts.append(f"{sum(cell.right for cell in questions)} of {len(questions)} answers right")
    if masks:
        parts.append(f"mean mask IoU {sum(cell.iou for cell in masks) / len(masks):.2f}")
    found: list[Asked] = [cell.found for cell in captions]
    found += [*(cell.found for cell in questions), *(cell.found for cell in masks)]
    times = [each.milliseconds for each in found]
    return " · ".join([*parts, f"{sum(times) / len(times):.1f} ms on average"])


def _on_one(found: Sequence[Detection], truth: Sequence[Box]) -> bool:
    if not found or not truth:
        return False
    surest, true = (torch.tensor(boxes, dtype=torch.float64) for boxes in ([found[0].box], truth))
    return float(pairwise_iou(surest, true).max()) >= ENOUGH


# ------------------------------------------------------------------------------------- what a cell shows


def _phrases(cell: CaptionCell) -> _Panel:
    marks, right = marks_of(cell.found), cell.right
    objects = coloured(cell.found, marks)
    truth = [box for boxes in cell.truth for box in boxes]
    return _Panel(
        boxed(cell.image, [each.box for each, _, _ in objects], [colour for _, colour, _ in objects], truth),
        _lines(cell.found.text, marks),
        "",
        "",
        f"{sum(right)} of {len(right)} found",
        all(right),
        _spent(cell.found),
    )


def _question(cell: QuestionCell) -> _Panel:
    colours = colours_of(cell.found)
    return _Panel(
        boxed(
            cell.image,
            [each.box for each in cell.found.evidence],
            [colours[each.label] for each in cell.found.evidence],
            cell.truth,
        ),
        _lines(cell.found.text, marks_in(cell.found)),
        cell.found.answer,
        f"{cell.found.confidence:.0%} sure",
        "right" if cell.right else f"wrong: it is {cell.answer}",
        cell.right,
        _spent(cell.found),
    )


def _mask(cell: MaskCell) -> _Panel:
    mask = decode(cell.found.mask)
    picture = _outlined(tinted(resized(cell.image), mask, ink.MASK), cell.truth)
    mark = Mark((0, len(cell.found.text)), ink.MASK if mask.any() else None)
    text = _lines(cell.found.text, [mark])
    return _Panel(picture, text, "", "", f"IoU {cell.iou:.2f}", cell.iou >= ENOUGH, _spent(cell.found))


def _lines(text: str, marks: Sequence[Mark]) -> list[caption.Line]:
    return caption.lines(text, marks, TEXT, CELL)


def _spent(found: Asked) -> str:
    return f"{found.milliseconds:.1f} ms · {found.cost.macs / 1e6:,.0f} M MACs"


def _outlined(picture: Image.Image, truth: Pixels) -> Image.Image:
    """The picture with the true mask's outline, light and dark in turn."""
    mask = at_size(truth, picture.size)
    rows, columns = np.nonzero(mask & ~eroded(mask, 2))
    pixels = np.array(picture)
    light = (rows // DASH + columns // DASH) % 2 == 0
    pixels[rows, columns] = np.where(light[:, None], 255, 0)
    return Image.fromarray(pixels)


# --------------------------------------------------------------------------------------------- the layout


def _tint(draw: ImageDraw.ImageDraw, rect: Rect) -> None:
    draw.rectangle(rect, ink.pale(ink.MASK), ink.MASK, 2)


def _nothing(draw: ImageDraw.ImageDraw, rect: Rect) -> None:
    draw.rounded_rectangle(rect, 4, None, ink.QUIET, 1)


_LEGEND: tuple[tuple[str, Sign], ...] = (
    ("found, in its words' colour", solid(ink.PHRASES[0])),
    ("mask", _tint),
    ("true box or outline", dashed),
    ("words of which nothing was found", _nothing),
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
    ink.pill(draw, x + CELL, foot + 3, panel.verdict, ink.GOOD if panel.good else ink.BAD)
