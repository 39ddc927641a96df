"""Groundings drawn on their image: a coloured box for each, its expression on a label that can be read."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from groundling.data.sample import Box
from groundling.draw import ink
from groundling.draw.placing import Detail, Label, gap, leading, nearest, pad, place_labels
from groundling.draw.right import on_one
from groundling.pictures.images import MAX_PIXELS, ImageSource, open_image
from groundling.results import Detections, Grounding

SMALL, ENLARGED = 400, 640  # pixels of the longer side: what is less is drawn at least so large


def draw_grounding(
    image: ImageSource, groundings: Sequence[Grounding], truth: Sequence[Box] | None = None
) -> Image.Image:
    """A copy of the image with a box and a label for each grounding, and the corners of true boxes.

    image: path, bytes, PIL image or array, as a Grounder takes it. `truth` are boxes xyxy in pixels of the
    image; a box that lies on none of them (IoU below 0.5) is dashed. Lines and letters grow with the picture;
    one of less than 400 pixels is drawn a whole number of times as large, so that labels have room.
    ValueError if a grounding is of an image of another size, or a true box is not four numbers.
    """
    sizes = [(grounding.width, grounding.height) for grounding in groundings]
    picture, scale = enlarged(fitting(image, "a grounding", sizes))
    found = [each for grounding in groundings for each in grounding.found()]
    texts = [_words(each.label, each.score) for each in found]
    draw_boxes(picture, scale, [each.box for each in found], texts, truth)
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
    """Draw on a picture that was made so many times as large: each box with its label, corners of true boxes.

    Of boxes that are nearly the same, each later frame lies around the earlier ones.
    """
    draw, size = ImageDraw.Draw(picture), letter_size(picture.size)
    width, detail = line_width(picture.size), Detail.of(picture)
    real = [scaled(box, scale) for box in boxes]
    true = None if truth is None else [scaled(_checked(box), scale) for box in truth]
    right = [True] * len(real) if true is None else on_one(real, true)
    framed = apart(real, 1.5 * width)
    colours = colours or [ink.BOXES[i % len(ink.BOXES)] for i in range(len(boxes))]
    for box, colour, good in zip(framed, colours, right, strict=True):
        ink.frame(draw, box, colour, width, broken=not good)
    for box in true or ():
        ink.ticks(draw, box, ink.TRUTH, max(2, width // 2))
    labels = place_labels(picture.size, framed, texts, size, detail)
    for label, box, colour in zip(labels, framed, colours, strict=True):
        _leader(draw, label, box, colour, size)
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
                f"{what} of an image of {width}x{height} cannot be drawn on this image of "
                f"{picture.width}x{picture.height}; give the upright original image"
            )
    return picture


def letter_size(size: tuple[int, int]) -> int:
    """Letters that can be read when the picture fills a screen, and on a picture of 128 pixels."""
    return max(11, round(0.032 * min(size)))


def line_width(size: tuple[int, int]) -> int:
    """Of a frame around a box in a picture of this size."""
    return max(2, round(letter_size(size) / 7))


def _words(what: str, score: float | None) -> str:
    return what + ("" if score is None else f" {score:.2f}")


def _leader(draw: ImageDraw.ImageDraw, label: Label, box: Box, colour: str, size: int) -> None:
    """A line from a label to its box, where they do not touch."""
    if gap(label.rect, box) < size / 2:
        return
    (x1, x2), (y1, y2) = nearest(label.rect[::2], box[::2]), nearest(label.rect[1::2], box[1::2])
    wide = max(1, size // 10)
    draw.line((x1, y1, x2, y2), fill="#000000", width=wide + 2)
    draw.line((x1, y1, x2, y2), fill=colour, width=wide)


def _draw_label(draw: ImageDraw.ImageDraw, label: Label, colour: str, size: int) -> None:
    left, top, right, bottom = (round(value) for value in label.rect)
    draw.rectangle((left, top, right - 1, bottom - 1), fill=colour)
    for row, line in enumerate(label.lines):
        place = (left + pad(size), top + pad(size) / 2 + row * leading(size))
        draw.text(place, line, fill=ink.on(colour), font=ink.font(size))


def _checked(box: Box) -> Box:
    try:
        x1, y1, x2, y2 = map(float, box)
    except (TypeError, ValueError):
        raise ValueError(f"{box!r} is not a box; truth is a list of (x1, y1, x2, y2)") from None
    return x1, y1, x2, y2
