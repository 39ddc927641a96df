"""Ink: colours that mean the same in every picture, letters that PIL can draw, and lines."""

import unicodedata
from functools import lru_cache

from PIL import ImageColor, ImageDraw, ImageFont

Rect = tuple[float, float, float, float]  # left, top, right, bottom in pixels

INK, QUIET, RULE, OFF, PAPER = "#1f2630", "#66707c", "#e3e7ec", "#ced4db", "#ffffff"
LAYER, ATTENTION, FFN = "#2f6fb7", "#e8891d", "#7d52b5"  # residual layers and the two kinds of sublayers
GOOD, BAD = "#1d8a4b", "#c63b35"
PREDICTED, TRUTH = "#ff3d6e", "#ffffff"
MASK = PREDICTED
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


def frame(draw: ImageDraw.ImageDraw, box: Rect, colour: str, width: int) -> None:
    """A solid frame around the outside of a box, with a dark edge that shows on any picture."""
    edge = max(1, width // 3)
    left, top, right, bottom = _outside(draw, box, width)
    draw.rectangle((left - edge, top - edge, right + edge, bottom + edge), outline="#000000", width=edge)
    draw.rectangle((left, top, right, bottom), outline=colour, width=width)


def _outside(draw: ImageDraw.ImageDraw, box: Rect, width: int) -> tuple[int, int, int, int]:
    """Whole pixels around a box, moved inside where the picture ends."""
    wide, high = draw.im.size
    left, top, right, bottom = (round(value) for value in box)
    left, top = max(0, left - width), max(0, top - width)
    return left, top, min(wide - 1, right + width - 1), min(high - 1, bottom + width - 1)


def dashes(draw: ImageDraw.ImageDraw, box: Rect, colour: str, width: int) -> None:
    """A thin dashed frame just inside a box: light dashes on a dark line."""
    wide, high = draw.im.size
    left, top = (max(0, round(v)) for v in box[:2])
    right, bottom = min(wide, round(box[2])), min(high, round(box[3]))
    draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline="#000000", width=width)
    step = 4 * width
    for start in range(left, right, 2 * step):
        end = min(start + step, right) - 1
        draw.rectangle((start, top, end, top + width - 1), fill=colour)
        draw.rectangle((start, max(top, bottom - width), end, max(top, bottom - 1)), fill=colour)
    for start in range(top, bottom, 2 * step):
        end = min(start + step, bottom) - 1
        draw.rectangle((left, start, left + width - 1, end), fill=colour)
        draw.rectangle((max(left, right - width), start, max(left, right - 1), end), fill=colour)
