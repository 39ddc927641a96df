"""A caption in lines of a width, its phrases on fields of their colours."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from PIL import ImageDraw

from groundling.draw import ink
from groundling.words.text import Span


@dataclass(frozen=True)
class Mark:
    """Characters on a field of a colour (None: only framed, in grey), after a number if there is one."""

    span: Span
    colour: str | None
    number: int | None = None


@dataclass(frozen=True)
class Run:
    """Letters of one line that share a mark: where they begin and end, in pixels from the line's left."""

    words: str
    mark: Mark | None
    left: float
    right: float


Line = tuple[Run, ...]
_Piece = tuple[str, Mark | None]  # letters without a space between them


def lines(text: str, marks: Sequence[Mark], size: int, width: float) -> list[Line]:
    """The text in lines of at most `width` pixels, in letters of `size`; a word that is wider is broken.

    Where marks overlap, a character has the shortest. Letters that the font lacks become `?`.
    """
    found: list[Line] = []
    line: Line = ()
    for spaced, word in _words(text, marks, size, width):
        longer = _with(line, word, size, spaced)
        if line and longer[-1].right + _pad(size, longer[-1].mark) > width:
            found.append(line)
            longer = _with((), word, size, False)
        line = longer
    return [*found, line] if line else found


def write(draw: ImageDraw.ImageDraw, place: tuple[float, float], rows: Sequence[Line], size: int) -> None:
    """Draw lines with their upper left corner at `place`; each is `leading(size)` high."""
    for row, line in enumerate(rows):
        top = place[1] + row * leading(size)
        for run in line:
            colour = ink.INK
            if run.mark is not None:
                pad = _pad(size, run.mark)
                field = (place[0] + run.left - pad, top, place[0] + run.right + pad, top + _field(size))
                frame = None if run.mark.colour else ink.QUIET
                draw.rounded_rectangle(field, size // 4, run.mark.colour, frame, max(1, size // 14))
                colour = ink.on(run.mark.colour) if run.mark.colour else ink.QUIET
            ink.write(draw, (place[0] + run.left, top + 0.13 * size), run.words, size, colour, bold=True)


def leading(size: int) -> int:
    """From one line to the next: fields of two lines do not touch."""
    return round(1.62 * size)


def _field(size: int) -> int:
    return round(1.42 * size)


def _pad(size: int, mark: Mark | None) -> float:
    return 0.0 if mark is None else 0.3 * size


def _words(
    text: str, marks: Sequence[Mark], size: int, width: float
) -> Iterator[tuple[bool, tuple[_Piece, ...]]]:
    """Words as pieces that have one mark each, and whether a space is before them."""
    owners = _owners(text, marks)
    begun: set[int] = set()
    spaced = False
    for blank, letters in groupby(range(len(text)), key=lambda at: text[at].isspace()):
        if blank:
            spaced = True
            continue
        pieces: list[_Piece] = []
        for owner, own in groupby(letters, key=lambda at: owners[at]):
            word = ink.plain("".join(text[at] for at in own))
            mark = None if owner is None else marks[owner]
            if owner is not None and mark is not None and mark.number is not None and owner not in begun:
                word = f"{mark.number} {word}"
            begun |= set() if owner is None else {owner}
            pieces.append((word, mark))
        for part in _broken(pieces, size, width):
            yield spaced, part
            spaced = False


def _owners(text: str, marks: Sequence[Mark]) -> list[int | None]:
    """The mark of each character, by its number: the shortest that holds it."""
    owners: list[int | None] = [None] * len(text)
    for number in sorted(range(len(marks)), key=lambda at: marks[at].span[0] - marks[at].span[1]):
        begin, end = marks[number].span
        owners[begin:end] = [number] * (end - begin)
    return owners


def _broken(pieces: Sequence[_Piece], size: int, width: float) -> Iterator[tuple[_Piece, ...]]:
    """The word as it is where it fits on a line, else its letters in parts that do."""
    if _with((), pieces, size, False)[-1].right + _pad(size, pieces[-1][1]) <= width:
        yield tuple(pieces)
        return
    for word, mark in pieces:
        room = width - 2 * _pad(size, mark)
        part = ""
        for letter in word:
            if part and ink.font(size).getlength(part + letter) > room:
                yield ((part, mark),)
                part = ""
            part += letter
        yield ((part, mark),)


def _with(line: Sequence[Run], word: Sequence[_Piece], size: int, spaced: bool) -> Line:
    """The line with a word after it: what has one mark is one run, and fields have room at both ends."""
    letters, runs = ink.font(size), list(line)
    for place, (words, mark) in enumerate(word):
        space = " " if spaced and place == 0 and runs else ""
        if runs and runs[-1].mark is mark:
            last = runs.pop()
            words, x = last.words + space + words, last.left
        else:
            before = runs[-1] if runs else Run("", None, 0.0, 0.0)
            x = before.right + _pad(size, before.mark) + letters.getlength(space) + _pad(size, mark)
            x += 0.08 * size if before.mark else 0.0  # a full stop stands beside the field
        runs.append(Run(words, mark, x, x + letters.getlength(words)))
    return tuple(runs)
