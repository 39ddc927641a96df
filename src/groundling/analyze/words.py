"""Which words the backbone listens to, and which the fusion of image and words (LADS, Fig. 7).

The score s_w of a word is the mean of α (Eq. 1) over the places where the word is said, one number for each
layer that pools words; α of a word that the tokenizer cut into pieces is their sum. ŝ_w = softmax(s_w) over
the P + M layers; its first P, summed, are the word's score for the backbone, its last M that for fusion.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from groundling.analyze.table import PARTS, Part

Kind = Literal["word", "punctuation", "special"]
Said = tuple[str, Kind]


@dataclass(frozen=True)
class Place:
    """A word in an expression: the tokens [first, last) that spell it."""

    text: str
    kind: Kind
    first: int
    last: int


@dataclass(frozen=True)
class WordScore:
    """How much the layers listen to a word: `attention` is s_w by layer; backbone + fusion = 1.

    `lean` is the backbone's score beyond that of a word to which all layers listen alike, P / (P + M).
    """

    text: str
    kind: Kind
    count: int
    attention: tuple[float, ...]
    backbone: float
    fusion: float
    lean: float


class Listening:
    """Adds up α by word while expressions go by."""

    def __init__(self, layers: int) -> None:
        self.layers = layers
        self._sums: dict[Said, NDArray[np.float64]] = {}
        self._counts: dict[Said, int] = {}

    def hear(self, pieces: Sequence[str], attention_LG: NDArray[np.float64], limit: int) -> None:
        """Take in one expression: its word pieces, at most `limit`, and α of each for each layer."""
        for place in places(pieces, limit):
            said = place.text, place.kind
            self._sums.setdefault(said, np.zeros(self.layers))
            self._sums[said] += attention_LG[place.first : place.last].sum(axis=0)
            self._counts[said] = self._counts.get(said, 0) + 1

    def means(self) -> dict[Said, tuple[int, NDArray[np.float64]]]:
        """How often each word was said, and s_w, its mean α by layer."""
        return {said: (count, self._sums[said] / count) for said, count in self._counts.items()}


def places(pieces: Sequence[str], limit: int) -> list[Place]:
    """Whole words of word pieces; [CLS] and [SEP], the first and the last, are special.

    In an expression as long as the limit the last word is left out: its end may have been cut off.
    """
    starts = [i for i, piece in enumerate(pieces) if not piece.startswith("##")]
    found = []
    for first, last in pairwise([*starts, len(pieces)]):
        text = pieces[first] + "".join(piece.removeprefix("##") for piece in pieces[first + 1 : last])
        found.append(Place(text, kind_of(text), first, last))
    return [*found[:-2], found[-1]] if len(pieces) >= limit else found


def kind_of(text: str) -> Kind:
    """Special tokens are written in brackets; what has no letter or digit is punctuation."""
    if len(text) > 2 and text.startswith("[") and text.endswith("]"):
        return "special"
    return "word" if any(letter.isalnum() for letter in text) else "punctuation"


def score(
    means: Mapping[Said, tuple[int, NDArray[np.float64]]], parts: Sequence[Part]
) -> tuple[WordScore, ...]:
    """Scores of all words, the backbone's first; `parts` says whose each layer is."""
    backbone = np.array([part == PARTS[0] for part in parts])
    scores = []
    for (text, kind), (count, s_w) in means.items():
        exponents = np.exp(s_w - s_w.max())
        share = float(exponents[backbone].sum() / exponents.sum())
        attention = tuple(float(value) for value in s_w)
        lean = share - float(backbone.mean())
        scores.append(WordScore(text, kind, count, attention, share, 1.0 - share, lean))
    return tuple(sorted(scores, key=lambda word: (-word.lean, word.text)))


def cloud(scores: Sequence[WordScore], part: Part, at_least: int, most: int) -> list[WordScore]:
    """The words that lean to a part most, strongest first: only whole words said `at_least` times."""
    sign = 1 if part == "backbone" else -1
    leaning = [w for w in scores if w.kind == "word" and w.count >= at_least and sign * w.lean > 0]
    return sorted(leaning, key=lambda word: (-sign * word.lean, word.text))[:most]
