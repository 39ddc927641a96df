"""Text as every model reads it, and which of its characters are which of the text as it was given.

    words = read_words("the wo\\u00adman\\u00a0in  black")
    words.text                     "the woman in black"
    words.back((4, 9))             (4, 10), characters of the text as given
    words.forward((4, 10))         (4, 9)

People paste text from web pages and PDFs: accents in two characters, soft hyphens, zero-width spaces,
no-break spaces, line breaks. None of it changes what is meant, so none of it reaches a tokenizer. Answers
speak of the text as given: its words, and spans of its characters.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

Span = tuple[int, int]  # characters of a text, from the first to before the second

# Characters that show nothing: Unicode's control and format characters that are no space (soft hyphen,
# zero-width space and joiners, marks of direction, byte order mark), and what else it calls ignorable.
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2"
    "\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    "\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U00013438\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
# Blanks that Unicode does not call spaces: of Hangul and of Braille.
_BLANKS = dict.fromkeys(map(ord, "\u2800\u3164\uffa0"), " ")
_SURROGATE = re.compile("[\ud800-\udfff]")
_HANGUL_SECOND = range(0x1161, 0x1200)  # vowels and finals, which join the letter before them
SHOWN = 80  # characters of a text that an error repeats


@dataclass(frozen=True)
class Normalised:
    """`text` is what models read of `original`, the text as given.

    Composed (NFC), without characters that show nothing, every run of spaces and line breaks one space, none
    at its ends. Reading it again changes nothing.
    """

    text: str
    original: str

    @cached_property
    def offsets(self) -> tuple[Span, ...]:
        """The characters of `original` that each character of `text` was made of."""
        if self.text == self.original:
            return tuple((place, place + 1) for place in range(len(self.text)))
        return tuple(_offsets(self.original))

    def back(self, span: Span) -> Span:
        """A span of `text` in characters of `original`; of an empty one, where it is."""
        begin, end = span
        if begin < end:
            return self.offsets[begin][0], self.offsets[end - 1][1]
        place = self.offsets[begin - 1][1] if begin else 0
        return place, place

    def forward(self, span: Span) -> Span:
        """The characters of `text` that a span of `original` has a part in; (0, 0) where there are none."""
        begin, end = span
        inside = [place for place, (first, last) in enumerate(self.offsets) if first < end and begin < last]
        return (inside[0], inside[-1] + 1) if inside else (0, 0)

    @property
    def has_words(self) -> bool:
        """Whether there is a letter or a digit of any script: signs and emoji alone name nothing."""
        return any(map(str.isalnum, self.text))


def is_unicode(text: str) -> bool:
    """Whether this is text: half of a surrogate pair is no character."""
    return text.isascii() or _SURROGATE.search(text) is None


def normalised(text: str) -> Normalised:
    """The text as models read it; ValueError for half of a surrogate pair."""
    if text.isascii() and text.isprintable():
        return Normalised(" ".join(text.split()), text)
    if not is_unicode(text):
        raise ValueError(f"text {text[:SHOWN]!r} is not valid Unicode: half of a character is missing")
    seen = _UNSEEN.sub("", text.translate(_BLANKS))
    return Normalised(" ".join(unicodedata.normalize("NFC", seen).split()), text)


def read_words(text: object, what: str = "expression") -> Normalised:
    """What somebody asks, as models read it: the rule of what can be asked, wherever it comes from.

    ValueError, in which `what` says what was given, for anything but a text, for text that is not valid
    Unicode, and for text without words.
    """
    if not isinstance(text, str):
        raise ValueError(f"{_a(what)} is a text, given {text!r}")
    try:
        words = normalised(text)
    except ValueError:
        raise ValueError(f"{what} {text[:SHOWN]!r} is not valid Unicode") from None
    if not words.has_words:
        raise ValueError(f"{what} {text[:SHOWN]!r} has no words; say what to look for")
    return words


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _offsets(original: str) -> Iterator[Span]:
    """Where each character of the normalised text comes from."""
    text = original.translate(_BLANKS)
    gap: Span | None = None  # the spaces since the last letter
    started = False
    for places in _clusters(text):
        raw = "".join(text[place] for place in places)
        begin, end = places[0], places[-1] + 1
        if raw.isspace():
            gap = (gap[0] if gap else begin, end)
            continue
        if gap and started:
            yield gap
        gap, started = None, True
        composed = unicodedata.normalize("NFC", raw)
        if composed == raw:
            yield from ((place, place + 1) for place in places)
        else:  # which of them became which is not said, nor would anyone mark half of a letter
            yield from [(begin, end)] * len(composed)


def _clusters(text: str) -> Iterator[list[int]]:
    """The places of a letter with the marks that it may be composed with, or of a space alone."""
    cluster: list[int] = []
    for place, sign in enumerate(text):
        if _UNSEEN.match(sign):
            continue
        if cluster and (text[cluster[0]].isspace() or not _joins(sign)):
            yield cluster
            cluster = []
        cluster.append(place)
    if cluster:
        yield cluster


def _joins(sign: str) -> bool:
    """Whether this may be composed with what stands before it."""
    return unicodedata.category(sign)[0] == "M" or ord(sign) in _HANGUL_SECOND
