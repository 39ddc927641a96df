"""Ink: colours that mean the same in every picture, letters that PIL can draw, and lines."""

import unicodedata
from functools import lru_cache

from PIL import ImageColor, ImageDraw, ImageFont

Rect = tuple[float, float, float, float]  # left, top, right, bottom in pixels

INK, QUIET, RULE, OFF, PAPER = "#1f2630", "#66707c", "#e3e7ec", "#ced4db", "#ffffff"
LAYER, ATTENTION, FFN = "#2f6fb7", "#e8891d", "#7d52b5"  # residual layers and the two kinds of sublayers
GOOD, PARTLY, BAD = "#1d8a4b", "#8f5b00", "#c63b35"
PREDICTED, TRUTH = "#ff3d6e", "#ffffff"
MASKS = ("#00e5ff", "#ff2fd0", "#ffe100", "#3dff3d")  # of which one stands out from any object
BESIDE = "#f3f5f7"  # of a picture that is narrower than its place
BOXES = (PREDICTED, "#17b3a6", "#ffb000", "#4f7cff", "#9ad321", "#c45cff", "#ff7f2a", "#00c2ff")
PHRASES = (  # Okabe and Ito 2008 without black: they differ for people who see fewer colours, too
    "#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#0072b2", "#f0e442", "#d55e00",
)  # fmt: skip
CATEGORIES = (
    "#2f6fb7", "#e8891d", "#1d8a4b", "#c63b35", "#7d52b5", "#8a5a3b", "#d65fa8",
    "#9aa51c", "#18a5b8", "#12305a", "#f2b8c6", "#5fd08a", "#b08a00", "#8f9bff",
)  # fmt: skip


_SPELLED = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "×": "x"})


@lru_cache(maxsize=64)
def font(size: int) -> ImageFont.FreeTypeFont:
    """The font that PIL ships, `size` pixels high."""
    found = ImageFont.load_default(max(1, size))
    assert isinstance(found, ImageFont.FreeTypeFont), "this PIL was built without FreeType"
    return found


def plain(text: str) -> str:
    """The text in one line, in letters that the font has: without accents, `?` for what is left."""
    letters = unicodedata.normalize("NFKD", " ".join(text.split()).translate(_SPELLED))
    return "".join(c if _has(c) else "?" for c in letters if not unicodedata.combining(c))


@lru_cache(maxsize=4096)
def _has(letter: str) -> bool:
    def shape(text: str) -> tuple[bytes, float]:
        return bytes(font(16).getmask(text)), font(16).getlength(text)

    return letter == " " or (letter.isprintable() and shape(letter) != shape("\ue000"))


def wrapped(text: str, size: int, width: float, lines: int) -> list[str]:
    """The text in at most `lines` lines of `width` pixels; `…` where it was cut."""
    letters, rest = font(size), plain(text).split(" ")
    rows: list[str] = []
    while rest and len(rows) < lines:
        count = len(rest)
        while count > 1 and letters.getlength(" ".join(rest[:count])) > width:
            count -= 1
        rows.append(" ".join(rest[:count]))
        rest = rest[count:]
    rows[-1] += "…" if rest else ""
    return [_cut(row, size, width) for row in rows]


def _cut(row: str, size: int, width: float) -> str:
    if font(size).getlength(row) <= width:
        return row
    row = row.removesuffix("…")
    while len(row) > 1 and font(size).getlength(row + "…") > width:
        row = row[:-1]
    return row.rstrip() + "…"


def write(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    words: str,
    size: int,
    colour: str,
    *,
    bold: bool = False,
) -> float:
    """Draw words with their upper left corner at `place`; returns where they end."""
    letters = font(size)
    draw.text(place, words, fill=colour, font=letters, stroke_width=0.35 if bold else 0, stroke_fill=colour)
    return place[0] + letters.getlength(words)


def pill(draw: ImageDraw.ImageDraw, right: int, top: int, words: str, colour: str) -> None:
    """Words on a small field of a colour, whose right end and top are given."""
    wide = font(14).getlength(words) + 18
    draw.rounded_rectangle((right - wide, top, right - 1, top + 22), radius=5, fill=colour)
    write(draw, (right - wide + 9, top + 3), words, 14, PAPER)


def on(colour: str) -> str:
    """Black or white, whichever is easier to read on this colour (WCAG relative luminance)."""
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in _unit(colour)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "#ffffff"


def pale(colour: str) -> str:
    """The colour as a tint, for the part of a bar that is not filled."""
    return "#" + "".join(f"{round(255 * (0.78 + 0.22 * value)):02x}" for value in _unit(colour))


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of a colour, 0 to 255."""
    red, green, blue = ImageColor.getrgb(colour)[:3]
    return red, green, blue


def _unit(colour: str) -> list[float]:
    return [value / 255 for value in rgb(colour)]


def frame(draw: ImageDraw.ImageDraw, box: Rect, colour: str, width: int, *, broken: bool = False) -> None:
    """A frame around the outside of a box, with a dark edge that shows on any picture; dashed if `broken`."""
    edge = max(1, width // 3)
    left, top, right, bottom = _outside(draw, box, width)
    if not broken:
        draw.rectangle((left - edge, top - edge, right + edge, bottom + edge), outline="#000000", width=edge)
        draw.rectangle((left, top, right, bottom), outline=colour, width=width)
        return
    dashes = _dashes(left, top, right, bottom, width)
    for x1, y1, x2, y2 in dashes:
        draw.rectangle((x1 - edge, y1 - edge, x2 + edge, y2 + edge), fill="#000000")
    for dash in dashes:
        draw.rectangle(dash, fill=colour)


def _dashes(left: int, top: int, right: int, bottom: int, width: int) -> list[tuple[int, int, int, int]]:
    """The dashes of a broken frame as rectangles, as long as the gaps between them or a little more."""
    found = []
    for start, end in _steps(left, right, 3 * width):
        found += [(start, top, end, top + width - 1), (start, bottom - width + 1, end, bottom)]
    for start, end in _steps(top, bottom, 3 * width):
        found += [(left, start, left + width - 1, end), (right - width + 1, start, right, end)]
    return [(x1, min(y1, y2), x2, max(y1, y2)) for x1, y1, x2, y2 in found if x1 <= x2]


def _steps(first: int, last: int, step: int) -> list[tuple[int, int]]:
    """Where dashes begin and end on a side: one at each end of it, gaps of about `step` between."""
    count = max(1, round((last - first) / step / 2))
    size = (last - first) / (2 * count + 1)
    return [(round(first + 2 * n * size), round(first + (2 * n + 1) * size)) for n in range(count + 1)]


def _outside(draw: ImageDraw.ImageDraw, box: Rect, width: int) -> tuple[int, int, int, int]:
    """Whole pixels around a box, moved inside where the picture ends."""
    wide, high = draw.im.size
    left, top, right, bottom = (round(value) for value in box)
    left, top = max(0, left - width), max(0, top - width)
    return left, top, min(wide - 1, right + width - 1), min(high - 1, bottom + width - 1)


def ticks(draw: ImageDraw.ImageDraw, box: Rect, colour: str, width: int) -> None:
    """The four corners of a box, just inside it: light lines with a dark edge, and nothing between them."""
    wide, high = draw.im.size
    left, top = (max(0, round(v)) for v in box[:2])
    right, bottom = min(wide, round(box[2])) - 1, min(high, round(box[3])) - 1
    if right < left or bottom < top:
        return
    across, down = (
        max(width, min(8 * width, round(0.3 * (b - a)))) for a, b in ((left, right), (top, bottom))
    )
    arms = []
    for x, inward in ((left, 1), (right, -1)):
        for y, below in ((top, 1), (bottom, -1)):
            arms.append(_between(x, y, x + inward * across, y + below * (width - 1)))
            arms.append(_between(x, y, x + inward * (width - 1), y + below * down))
    for x1, y1, x2, y2 in arms:
        draw.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), fill="#000000")
    for arm in arms:
        draw.rectangle(arm, fill=colour)


def _between(x1: int, y1: int, x2: int, y2: int) -> tuple[int, int, int, int]:
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
