"""Groundings drawn on their image: a coloured box for each, its expression on a label that can be read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from groundling.data.sample import Box
from groundling.draw import ink
from groundling.draw.ink import Rect
from groundling.pictures.images import MAX_PIXELS, ImageSource, open_image
from groundling.results import Detections, Grounding

LINES = 2  # of a label
SMALL, ENLARGED = 400, 640  # pixels of the longer side: what is less is drawn at least so large


@dataclass(frozen=True)
class Label:
    """Where a label lies, wholly inside the picture, and its lines."""

    rect: Rect
    lines: tuple[str, ...]


def draw_grounding(
    image: ImageSource, groundings: Sequence[Grounding], truth: Sequence[Box] | None = None
) -> Image.Image:
    """A copy of the image with a solid box and a label for each grounding, and dashed true boxes.

    image: path, bytes, PIL image or array, as a Grounder takes it. `truth` are boxes xyxy in pixels of the
    image. Lines and letters grow with the picture; one of less than 400 pixels is drawn a whole number of
    times as large, so that labels have room. ValueError if a grounding is of an image of another size, or a
    true box is not four numbers.
    """
    sizes = [(grounding.width, grounding.height) for grounding in groundings]
    picture, scale = enlarged(fitting(image, "a grounding", sizes))
    boxes, texts = [g.box for g in groundings], [_words(g.expression, g.score) for g in groundings]
    draw_boxes(picture, scale, boxes, texts, truth)
    return picture


def draw_detections(image: ImageSource, found: Detections, truth: Sequence[Box] | None = None) -> Image.Image:
    """As `draw_grounding`, for the objects of one image; those of a category have one colour."""
    picture, scale = enlarged(fitting(image, "detections", [(found.width, found.height)]))
    order = list(dict.fromkeys(each.label for each in found))
    colours = [ink.BOXES[order.index(each.label) % len(ink.BOXES)] for each in found]
    texts = [_words(each.label, each.score) for each in found]
    draw_boxes(picture, scale, [each.box for each in found], texts, truth, colours)
    return picture


def enlarged(picture: Image.Image) -> tuple[Image.Image, int]:
    """A small picture so many times as large that labels have room on it, and how many times that is."""
    longer = max(picture.size)
    if longer >= SMALL:
        return picture, 1
    times = -(-ENLARGED // longer)
    size = picture.width * times, picture.height * times
    return picture.resize(size, Image.Resampling.LANCZOS), times


def scaled(box: Box, times: float) -> Box:
    """A box of a picture that was drawn so many times as large."""
    x1, y1, x2, y2 = (value * times for value in box)
    return x1, y1, x2, y2


def apart(boxes: Sequence[Box], step: float) -> list[Box]:
    """The boxes; those nearly the same as earlier ones a step outside them, so that each frame is seen."""
    found = np.empty((len(boxes), 4))
    for index, box in enumerate(boxes):
        place = np.array(box)
        while index and np.abs(found[:index] - place).max(axis=1).min() < step:
            place += (-step, -step, step, step)
        found[index] = place
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in found.tolist()]


def draw_boxes(
    picture: Image.Image,
    scale: float,
    boxes: Sequence[Box],
    texts: Sequence[str],
    truth: Sequence[Box] | None = None,
    colours: Sequence[str] | None = None,
) -> None:
    """Draw on a picture that was made so many times as large: each box with its label, dashed true boxes.

    Of boxes that are nearly the same, each later frame lies around the earlier ones.
    """
    draw, size = ImageDraw.Draw(picture), letter_size(picture.size)
    width = line_width(picture.size)
    boxes = apart([scaled(box, scale) for box in boxes], 1.5 * width)
    colours = colours or [ink.BOXES[i % len(ink.BOXES)] for i in range(len(boxes))]
    for box, colour in zip(boxes, colours, strict=True):
        ink.frame(draw, box, colour, width)
    for box in truth or ():
        ink.dashes(draw, scaled(_checked(box), scale), ink.TRUTH, max(1, width // 2))
    labels = place_labels(picture.size, boxes, texts, size)
    for label, colour in zip(labels, colours, strict=True):
        _draw_label(draw, label, colour, size)


def fitting(image: ImageSource, what: str, sizes: Sequence[tuple[int, int]]) -> Image.Image:
    """The image to draw on, upright, if all is of images of its size."""
    limit = max(MAX_PIXELS, *(width * height for width, height in sizes), 0)  # what was asked about was taken
    if isinstance(image, Image.Image):
        limit = image.width * image.height
    picture = open_image(image, limit).copy()
    for width, height in sizes:
        if picture.size != (width, height):
            raise ValueError(
                f"{what} in an image of {width}x{height} does not fit this image of "
                f"{picture.width}x{picture.height}; give the upright original image"
            )
    return picture


def letter_size(size: tuple[int, int]) -> int:
    """Letters that can be read when the picture fills a screen, and on a picture of 128 pixels."""
    return max(11, round(0.032 * min(size)))


def line_width(size: tuple[int, int]) -> int:
    """Of a frame around a box in a picture of this size."""
    return max(2, round(letter_size(size) / 7))


def place_labels(
    size: tuple[int, int], boxes: Sequence[Box], texts: Sequence[str], letters: int
) -> list[Label]:
    """A label for each box: near it, inside the picture, off other labels and boxes where there is room."""
    placed: list[Label] = []
    # Covering its own box is twice as bad as another's, a label worst; being far away counts too.
    rects, weights = np.zeros((2 * len(boxes), 4)), np.repeat((1.0, 100.0), len(boxes))
    rects[: len(boxes)] = np.reshape(boxes, (-1, 4))
    for index, (box, text) in enumerate(zip(boxes, texts, strict=True)):
        pad = _pad(letters)
        lines = ink.wrapped(text, letters, min(size[0] - 2 * pad, 26 * letters), LINES)
        wide = max(ink.font(letters).getlength(line) for line in lines) + 2 * pad
        high = len(lines) * _leading(letters) + pad
        places = _places(size, box, wide, high, max(2, round(letters / 7)))
        there = len(boxes) + index
        weights[index] = 2
        troubles = [
            float(_overlaps(place, rects[:there]) @ weights[:there]) + 2 * letters * _gap(place, box)
            for place in places
        ]
        weights[index] = 1
        rects[there] = places[troubles.index(min(troubles))]
        placed.append(Label(places[troubles.index(min(troubles))], tuple(lines)))
    return placed


def _places(size: tuple[int, int], box: Box, wide: float, high: float, gap: int) -> list[Rect]:
    """Above, below, right, left, then inside the box, then anywhere: moved inside the picture."""
    x1, y1, x2, y2 = box
    corners = [(x1 - gap, y1 - gap - high), (x2 + gap - wide, y1 - gap - high), (x1 - gap, y2 + gap)]
    corners += [(x2 + gap - wide, y2 + gap), (x2 + gap, y1), (x1 - gap - wide, y1), (x1, y1), (x1, y2 - high)]
    corners += [(x1, row * high) for row in range(int(size[1] // high))]
    rects = []
    for x, y in corners:
        left, top = max(0.0, min(x, size[0] - wide)), max(0.0, min(y, size[1] - high))
        rects.append((left, top, left + wide, top + high))
    return rects


def _words(what: str, score: float | None) -> str:
    return what + ("" if score is None else f" {score:.2f}")


def _draw_label(draw: ImageDraw.ImageDraw, label: Label, colour: str, size: int) -> None:
    left, top, right, bottom = (round(value) for value in label.rect)
    draw.rectangle((left, top, right - 1, bottom - 1), fill=colour)
    for row, line in enumerate(label.lines):
        place = (left + _pad(size), top + _pad(size) / 2 + row * _leading(size))
        draw.text(place, line, fill=ink.on(colour), font=ink.font(size))


def _pad(size: int) -> int:
    return max(2, round(0.35 * size))


def _leading(size: int) -> int:
    return round(1.25 * size)


def _overlaps(a: Rect, rects_N4: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area that a rectangle shares with each of the others (N,)."""
    left, top, right, bottom = rects_N4.T
    wide = np.minimum(a[2], right) - np.maximum(a[0], left)
    high = np.minimum(a[3], bottom) - np.maximum(a[1], top)
    shared: NDArray[np.float64] = wide.clip(min=0) * high.clip(min=0)
    return shared


def _gap(a: Rect, b: Rect) -> float:
    """How far two rectangles are apart; 0 where they touch."""
    return max(0.0, a[0] - b[2], b[0] - a[2]) + max(0.0, a[1] - b[3], b[1] - a[3])


def _checked(box: Box) -> Box:
    try:
        x1, y1, x2, y2 = map(float, box)
    except (TypeError, ValueError):
        raise ValueError(f"{box!r} is not a box; truth is a list of (x1, y1, x2, y2)") from None
    return x1, y1, x2, y2
