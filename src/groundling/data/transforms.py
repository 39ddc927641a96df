"""The random transforms of the papers, on image, box and words together, drawn from a random.Random alone.

A training view is resized, cropped, mirrored, recoloured and laid on the canvas. What the words say stays
true: a mirrored image has its left and right swapped in the expression, as words, and a crop always keeps the
whole target. Both differ from TransVG's code, which turns "bright" into "bleft" and can cut the target away.
"""

import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from PIL import Image, ImageEnhance

from groundling.data.sample import Box
from groundling.pictures.placement import Seen, on_canvas
from groundling.words.text import normalised


@dataclass(frozen=True)
class View:
    """An RGB image, the target's box in its pixels (xyxy), and the expression that is true of it."""

    image: Image.Image
    box: Box
    expression: str


Transform = Callable[[View, random.Random], View]


@dataclass(frozen=True)
class RandomResize:
    """The long (or short) side becomes one of `sizes` pixels."""

    sizes: tuple[int, ...]
    side: Literal["long", "short"] = "long"

    def __call__(self, view: View, rng: random.Random) -> View:
        """The view resized, its aspect kept."""
        side = max(view.image.size) if self.side == "long" else min(view.image.size)
        return _resize(view, rng.choice(self.sizes) / side)


@dataclass(frozen=True)
class RandomCrop:
    """A window whose sides are drawn from least..most pixels, or as much more as the whole target needs."""

    least: int
    most: int

    def __call__(self, view: View, rng: random.Random) -> View:
        """A window of the view, around the whole target."""
        (width, height), (x1, y1, x2, y2) = view.image.size, view.box
        left, right = self._span(x1, x2, width, rng)
        top, bottom = self._span(y1, y2, height, rng)
        box = x1 - left, y1 - top, x2 - left, y2 - top
        return replace(view, image=view.image.crop((left, top, right, bottom)), box=box)

    def _span(self, first: float, last: float, length: int, rng: random.Random) -> tuple[int, int]:
        """Start and end of a window along a side of `length` pixels, around the target's first..last."""
        low, high = max(0, math.floor(first)), min(length, math.ceil(last))
        side = rng.randint(min(self.least, length), min(self.most, length))
        side = max(side, high - low)
        start = rng.randint(max(0, high - side), min(low, length - side))
        return start, start + side


@dataclass(frozen=True)
class RandomFlip:
    """With this probability the mirror image, with left and right swapped in the words."""

    probability: float = 0.5

    def __call__(self, view: View, rng: random.Random) -> View:
        """The view or its mirror image."""
        return flip(view) if rng.random() < self.probability else view


@dataclass(frozen=True)
class ColourJitter:
    """With this probability brightness, contrast and saturation change by factors of 1 ± strength."""

    strength: float = 0.4
    probability: float = 0.8

    def __call__(self, view: View, rng: random.Random) -> View:
        """The view recoloured, in random order of the three."""
        if rng.random() >= self.probability:
            return view
        image = view.image
        kinds = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color]
        for enhance in rng.sample(kinds, len(kinds)):
            image = enhance(image).enhance(rng.uniform(1 - self.strength, 1 + self.strength))
        return replace(view, image=image)


@dataclass(frozen=True)
class CropUnlessPosition:
    """`cropped` with this probability, else `whole`; always `whole` for words that say a position."""

    cropped: tuple[Transform, ...]
    whole: tuple[Transform, ...]
    probability: float

    def __call__(self, view: View, rng: random.Random) -> View:
        """The view after the steps of one of the two."""
        crop = rng.random() < self.probability and not says_position(view.expression)
        for step in self.cropped if crop else self.whole:
            view = step(view, rng)
        return view


@dataclass(frozen=True)
class Fit:
    """Shrinks what is larger than the canvas: a crop that kept a large target whole."""

    size: int

    def __call__(self, view: View, rng: random.Random) -> View:
        """The view, no side of it longer than the canvas."""
        return _resize(view, min(1.0, self.size / max(view.image.size)))


@dataclass(frozen=True)
class Train:
    """Steps in order, then the canvas: the whole way of a training view."""

    size: int
    steps: tuple[Transform, ...]

    def __call__(self, view: View, rng: random.Random) -> tuple[Seen, View]:
        """The last view on its canvas, and that view."""
        for step in self.steps:
            view = step(view, rng)
        return pad(view.image, self.size, rng), view


def lads_train(size: int = 512) -> Train:
    """LADS: long side size ± 4 steps of size/16, crop to size, flip, random place."""
    step = size // 16
    smaller = tuple(size - step * r for r in range(5))
    larger = tuple(size + step * r for r in range(1, 5))
    scaled = CropUnlessPosition(
        cropped=(RandomResize(smaller + larger), RandomCrop(size, size)),
        whole=(RandomResize(smaller),),
        probability=1.0,
    )
    return Train(size, (scaled, Fit(size), RandomFlip()))


def transvg_train(size: int = 640) -> Train:
    """TransVG with --aug_scale, --aug_crop and --aug_translate; its pixels, made for 640, go with `size`."""
    scales = tuple(size - size // 20 * i for i in range(7))
    crop = (
        RandomResize(tuple(size * short // 640 for short in (400, 500, 600)), side="short"),
        RandomCrop(size * 384 // 640, size * 600 // 640),
        RandomResize(scales),
    )
    scaled = CropUnlessPosition(cropped=crop, whole=(RandomResize(scales),), probability=0.5)
    return Train(size, (scaled, ColourJitter(), RandomFlip()))


def flip(view: View) -> View:
    """The mirror image, its box, and the words that are true of it."""
    x1, y1, x2, y2 = view.box
    width = view.image.width
    image = view.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return View(image, (width - x2, y1, width - x1, y2), flip_words(view.expression))


def pad(image: Image.Image, size: int, rng: random.Random | None = None) -> Seen:
    """The image, not resized, on a canvas (3, size, size) of ImageNet's mean colour.

    It lies anywhere with `rng` and in the centre without. ValueError for an image larger than the canvas.
    """
    width, height = image.size
    if max(width, height) > size:
        raise ValueError(f"an image of {width}x{height} is larger than a canvas of {size}; resize it first")
    left = rng.randint(0, size - width) if rng else (size - width) // 2
    top = rng.randint(0, size - height) if rng else (size - height) // 2
    return on_canvas(image, size, left, top)


def _resize(view: View, scale: float) -> View:
    width, height = view.image.size
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    if (wide, high) == (width, height):
        return view
    x1, y1, x2, y2 = view.box
    sx, sy = wide / width, high / height
    image = view.image.resize((wide, high), Image.Resampling.BILINEAR)
    return replace(view, image=image, box=(x1 * sx, y1 * sy, x2 * sx, y2 * sy))


# As people write it in RefCOCO and ReferIt: "leftmost", "left-hand", "bottomright", "lefty", "rigth", "rt".
_SIDE = re.compile(
    r"(?<![a-z])(?P<before>(?:top|bottom|upper|lower|middle|mid|center|centre|back|front|far)?)"
    r"(?P<side>left|right|lft|lt|rigth|rght|irght|rt)"
    r"(?P<after>(?:most|est|er|iest|ier|ish|y|side|handed|hand|wards|ward)?)(?![a-z])",
    re.IGNORECASE,
)
_OTHER_SIDE = {"left": "right", "lft": "right", "lt": "right"}  # every other spelling means right
_HOURS = ("twelve", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven")
_CLOCK = re.compile(
    rf"(?<![a-z0-9])(?P<hour>1[0-2]|[1-9]|{'|'.join(_HOURS)})(?=\s?o['’]?\s?clock)", re.IGNORECASE
)
_PLACE = re.compile(
    r"(?<![a-z])(?:top|bottom|upper|lower|middle|center|centre|corner)(?:most|side|ish)?(?![a-z])",
    re.IGNORECASE,
)


def flip_words(expression: str) -> str:
    """The expression that is true of the mirror image: left and right swapped, as words.

    "bright left dog" becomes "bright right dog"; so do "leftmost", "bottomright" and "3 o'clock".
    The adverb ("right next to") is taken for the side too, as in 40 of 47,000 human expressions.
    """
    return flip_spans(expression, ())[0]


def flip_spans(text: str, spans: Sequence[tuple[int, int]]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """As `flip_words`, and where the characters [begin, end) of the text have gone to.

    A span that begins or ends inside of a word that changes begins or ends as far into the new one, or with
    it where that is shorter.
    """
    for pattern, other in ((_SIDE, _swap_side), (_CLOCK, _mirror_hour)):
        words = normalised(text)  # a soft hyphen in "left" hides no side
        edits = [(*words.back(found.span()), other(found)) for found in pattern.finditer(words.text)]
        spans = [(_moved(begin, edits), _moved(end, edits)) for begin, end in spans]
        for begin, end, word in reversed(edits):
            text = text[:begin] + word + text[end:]
    return text, tuple(spans)


def says_position(expression: str) -> bool:
    """Whether the words say a position in the image: left, top, middle, corner, 3 o'clock …"""
    text = normalised(expression).text
    return any(pattern.search(text) for pattern in (_SIDE, _PLACE, _CLOCK))


def _moved(place: int, edits: Sequence[tuple[int, int, str]]) -> int:
    """Where the place between two characters is when each [begin, end) has become its word."""
    longer = 0
    for begin, end, word in edits:
        if place <= begin:
            break
        if place < end:
            return begin + longer + min(place - begin, len(word))
        longer += len(word) - (end - begin)
    return place + longer


def _swap_side(match: re.Match[str]) -> str:
    side = match["side"]
    other = _OTHER_SIDE.get(side.lower(), "left")
    cased = other.upper() if side.isupper() else other.title() if side[0].isupper() else other
    return f"{match['before']}{cased}{match['after']}"


def _mirror_hour(match: re.Match[str]) -> str:
    hour = match["hour"].lower()
    if hour.isdigit():
        return str(12 - int(hour) % 12)
    return _HOURS[-_HOURS.index(hour) % 12]
