"""From what a system's queries say of a text to objects: whose they are, which are one, where they lie.

A Reply is a text on its way back: the network's queries as `Objects`, and the placement
of the image in its input. Shapes: Q queries, C tokens.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from groundling.models.objects import Objects, joined
from groundling.pictures.placement import Clip, Placement
from groundling.results import Cost, Detection, PhraseObjects
from groundling.selection import Selection
from groundling.words.phrases import characters_of, tokens_of
from groundling.words.text import Span, normalised

# How sure it is that a query is of a phrase. "object": by the system's own rule (`Objects.of_span`). "token":
# the likeliest of the phrase's tokens, of every query, which MDETR's Recall@k on Flickr30k Entities ranks by.
Score = Literal["object", "token"]

NAMED = 0.1  # a query is named after the tokens that are at least as likely, as in the published demo


@dataclass(frozen=True)
class Reply:
    """What the network found of one text, and what turns that into an answer."""

    text: str
    image: str
    offsets: tuple[Span, ...]
    placement: Placement
    memory: Any  # what the network read, for its other heads
    hidden: list[Tensor]
    found: Objects
    cost: Cost
    length: int
    selection: Selection | None  # what the words chose to run, of a network whose words choose
    seen: bool  # the backbone had the image before, for another text
    began: float
    clip: Clip = "image"  # what of a box counts

    def known(self) -> tuple[str, Cost, int, int, float, str]:
        """The fields of results.Asked."""
        milliseconds = 1000 * (time.perf_counter() - self.began)
        return self.text, self.cost, self.placement.width, self.placement.height, milliseconds, self.image

    def phrase(self, span: Span, score: Score, threshold: float, most: int | None = None) -> PhraseObjects:
        """The objects of one span of the text, under its words."""
        begin, end = map(int, span)
        text = self.text[begin:end]
        scores = self.of(tokens_of([span], self.offsets), score)
        return PhraseObjects(text, (begin, end), self.objects(scores, threshold, most, text))

    def of(self, tokens: Sequence[int], score: Score = "object") -> Tensor:
        """How sure it is that each query is of these tokens, (Q,)."""
        if score not in ("object", "token"):
            raise ValueError(f"score must be object or token, given {score!r}")
        return (self.found.of_span(tokens) if score == "object" else self.found.of_likeliest(tokens))[0]

    def objects(
        self, scores_Q: Tensor, threshold: float, most: int | None = None, label: str | None = None
    ) -> tuple[Detection, ...]:
        """Objects by their scores, those below 0 or the threshold left out.

        Without a label they are named after their tokens, and one place may hold objects of several names.
        """
        likely, boxes = self.found.tokens[0].tolist(), self._boxes()

        @cache
        def name(query: int) -> str:
            return self._named(likely[query]) if label is None else label

        names = name if label is None else None
        return tuple(
            Detection(name(query), (*boxes[query].tolist(),), min(1.0, score))
            for query, score in self.best(scores_Q, threshold, names)[:most]
        )

    def best(
        self, scores_Q: Tensor, threshold: float, name: Callable[[int], str] | None = None
    ) -> list[tuple[int, float]]:
        """The surest query of each object, and how sure it is that one of the object's queries is right.

        The likeliest object is taken first, with all its queries. Queries are of one object where their boxes
        overlap and their names, if they have any, are the same. The first is the answer of MdetrNet.forward.
        """
        threshold = max(threshold, 0.0)
        if self.found.overlap == 1:
            scores = scores_Q.tolist()
            order = scores_Q.argsort(descending=True, stable=True).tolist()
            return [(query, scores[query]) for query in order if scores[query] >= threshold]
        same = self.found.same()[0]
        if name is not None:
            first = dict[str, int]()
            names = [first.setdefault(name(query), query) for query in range(len(same))]
            same = same & torch.tensor([[one == other for other in names] for one in names]).to(same.device)
        left, found = scores_Q >= 0, list[tuple[int, float]]()
        while left.any():
            (sure,), (surest,) = joined(torch.where(left, scores_Q, -1.0)[None], same[None])
            query = int(torch.where(left, sure, -1.0).argmax())
            if (score := float(sure[query])) < threshold:
                break
            found.append((int(surest[query]), score))
            left = left & ~same[query]
        return found

    def _boxes(self) -> Tensor:
        """Those of all queries (Q, 4) in pixels of the image."""
        return self.placement.boxes(self.found.boxes_cxcywh01[0].cpu(), self.clip)

    def _named(self, likely_C: Sequence[float]) -> str:
        """The words from the first to the last of a query's likely tokens; its likeliest where none is."""
        real = [place for place, (begin, end) in enumerate(self.offsets) if begin < end]
        words = [place for place in real if any(map(str.isalnum, self.text[slice(*self.offsets[place])]))]
        positions = [place for place in words if likely_C[place] >= NAMED]
        likeliest = max(words or real, key=lambda place: likely_C[place])
        read = normalised(self.text)  # in which nothing unseen ends a word
        begin, end = read.forward(characters_of(positions or [likeliest], self.offsets))
        while begin > 0 and read.text[begin - 1 : begin + 1].isalnum():
            begin -= 1
        while read.text[end - 1 : end + 1].isalnum() and end < len(read.text):
            end += 1
        begin, end = read.back((begin, end))
        return self.text[begin:end]


def at_image_size(logits_hw: Tensor, place: Placement) -> Tensor:
    """Logits (h, w) of a network's input where the image lies, at the image's size (height, width)."""
    sides = place.canvas_height, place.canvas_width
    whole = F.interpolate(logits_hw[None, None], size=sides, mode="bilinear")
    inside = whole[..., *place.part]
    return F.interpolate(inside, size=(place.height, place.width), mode="bilinear")[0, 0]
