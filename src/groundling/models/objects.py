"""What a system finds of a text, as one value: boxes, of which tokens each is, and how sure it is of a thing.

Answers are made of this alone, so systems may say it in their own ways: MDETR by soft tokens, GLIP by
sub-words aligned with regions, X-DETR by dot products with whole phrases (each phrase is one token then).
Shapes: E texts, Q queries (or regions), L tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from groundling.pictures.boxes import cxcywh_to_xyxy, iou

# How sure a system is that a query is of a span of the text. "likeliest": as sure as that it is a thing, of
# the queries to which a token of the span is about as likely as any (MDETR). "mean", "max": that, times the
# mean (GLIP) or the largest of the span's tokens.
SpanRule = Literal["likeliest", "mean", "max"]

ALIKE = 0.5  # a model learns the same probability for all words of a phrase, and may take more for one phrase


@dataclass(frozen=True)
class Objects:
    """Of each query: a box cxcywh01 (E, Q, 4), how sure it is of each token (E, Q, L) and of a thing (E, Q).

    Scores lie in [0, 1]; `objectness` is 1 where a system has none. `span` is the system's rule, and queries
    of one object are those whose boxes have an IoU above `overlap` (1: there are none).
    """

    boxes_cxcywh01: Tensor
    tokens: Tensor
    objectness: Tensor
    span: SpanRule = "likeliest"
    overlap: float = 1.0

    def of_span(self, tokens: Sequence[int]) -> Tensor:
        """How sure it is that each query is of these tokens, (E, Q); −1 of a query that is none's."""
        own = self.tokens[..., list(tokens)]
        if self.span == "likeliest":
            likely = own.amax(-1) >= ALIKE * self.tokens.amax(-1)
            return torch.where(likely, self.objectness, -1.0)
        return self.objectness * (own.mean(-1) if self.span == "mean" else own.amax(-1))

    def of_likeliest(self, tokens: Sequence[int]) -> Tensor:
        """The likeliest of these tokens for each query (E, Q), whatever the system's rule."""
        return self.tokens[..., list(tokens)].amax(-1)

    def same(self) -> Tensor:
        """Which queries are of one object, (E, Q, Q): each and itself, and those that overlap enough."""
        boxes = cxcywh_to_xyxy(self.boxes_cxcywh01)
        near = iou(boxes[:, :, None], boxes[:, None]) > self.overlap
        return near | torch.eye(boxes.shape[1], dtype=torch.bool, device=boxes.device)

    def surest(self) -> tuple[Tensor, Tensor]:
        """The box (E, 4) that each text as a whole is about, and how sure that is (E,)."""
        scores, surest = self.objectness, None
        if self.overlap < 1:
            scores, surest = joined(scores, self.same())
        sure, best = scores.max(dim=1)
        rows = torch.arange(len(best), device=best.device)
        return self.boxes_cxcywh01[rows, best if surest is None else surest[rows, best]], sure


def joined(scores_EQ: Tensor, same_EQQ: Tensor) -> tuple[Tensor, Tensor]:
    """How sure it is that one of the queries of each query's object is right, and the surest of them, (E, Q).

    1 − ∏ (1 − s) over the queries that are the same: several that say one object make it likelier. A score
    below 0 is of a query that is none's.
    """
    of_each = torch.where(same_EQQ, scores_EQ[:, None], -1.0)
    return 1 - (1 - of_each.clamp(0, 1)).prod(dim=-1), of_each.argmax(dim=-1)
