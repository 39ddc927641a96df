"""The object a user holds: image and words in, Groundings out.

    model = groundling.load()
    answer = model.ground("street.jpg", "the red car left of the tree")
    answer.box, answer.score, answer.cost.share

The way of a request, all of it here: image → `open_image`, `letterbox` · expression → tokens, features →
selector (within a budget) → Selection → subnet (cached) → box on the canvas → `Placement.undo` → Grounding.
Nothing of a request stays on the object: threads can share one.
"""

import os
import time
import warnings
from collections.abc import Collection, Sequence
from typing import overload

import torch
from torch import Tensor

from groundling import checkpoint
from groundling.boxes import clip, cxcywh_to_xyxy
from groundling.device import checked
from groundling.dynamic.budget import check_budget, fit
from groundling.dynamic.extract import SubnetCache
from groundling.dynamic.gates import hard_gates
from groundling.images import MAX_PIXELS, ImageSource, Placement, letterbox, normalise, open_image
from groundling.language import Tokenizer, Tokens, UnknownWordWarning
from groundling.models.supernet import Supernet
from groundling.results import Grounding
from groundling.selection import Selection, check

DEFAULT = "lads_street"


class Grounder:
    """A supernet ready to answer; `load` makes one."""

    def __init__(
        self,
        model: Supernet,
        tokenizer: Tokenizer,
        *,
        device: str = "cpu",
        cache_mib: int = 256,
        max_pixels: int = MAX_PIXELS,
        taught: Collection[str] = (),
    ) -> None:
        if not isinstance(cache_mib, int) or cache_mib < 0:
            raise ValueError(f"cache_mib={cache_mib!r}: a whole number of MiB fits, 0 to keep no subnets")
        if not isinstance(max_pixels, int) or max_pixels < 1:
            raise ValueError(f"max_pixels={max_pixels!r}: a whole number fits, 1 or more")
        self.device = torch.device(checked(device))
        self.taught = frozenset(taught)  # words that the tokenizer spells and the training had all the same
        self.model, self.tokenizer, self.max_pixels = model.eval().to(self.device), tokenizer, max_pixels
        self.subnets = SubnetCache(self.model, cache_mib * 2**20)

    @overload
    def ground(  # type: ignore[overload-overlap]  # a str is a sequence of str too
        self,
        image: ImageSource,
        expressions: str,
        *,
        budget: float | None = None,
        selection: Selection | None = None,
    ) -> Grounding: ...
    @overload
    def ground(
        self,
        image: ImageSource,
        expressions: Sequence[str],
        *,
        budget: float | None = None,
        selection: Selection | None = None,
    ) -> list[Grounding]: ...
    @torch.inference_mode()
    def ground(
        self,
        image: ImageSource,
        expressions: str | Sequence[str],
        *,
        budget: float | None = None,
        selection: Selection | None = None,
    ) -> Grounding | list[Grounding]:
        """One Grounding per expression, a list for a list.

        image: path, bytes, PIL image or (H, W, 3) uint8 RGB array; boxes are pixels of it as people see it
        (EXIF orientation applied). budget: the largest share of the supernet's MACs to spend, in (0, 1].
        selection: run this subnet instead of the one that the words choose (`Selection.all_on(units)` is
        the whole network). `milliseconds` of a Grounding is words to box; decoding the image, shared by
        all expressions, is not in it. Raises ValueError and FileNotFoundError for what does not fit.
        """
        if isinstance(expressions, str):
            return self.ground(image, [expressions], budget=budget, selection=selection)[0]
        if not isinstance(expressions, Sequence):
            raise ValueError(f"expressions are a text or a list of texts, given {type(expressions).__name__}")
        for expression in expressions:
            if not isinstance(expression, str):
                raise ValueError(f"an expression is a text, given {expression!r}")
        if budget is not None and selection is not None:
            raise ValueError("give a budget or a selection, not both")
        picture = open_image(image, self.max_pixels)
        canvas, placement = letterbox(picture, self.model.config.image_size)
        pixels = normalise(canvas[None].to(self.device))
        name = os.fspath(image) if isinstance(image, str | os.PathLike) else ""
        return [self._answer(pixels, placement, e, budget, selection, str(name)) for e in expressions]

    def select(self, expression: str, *, budget: float | None = None) -> Selection:
        """The units that these words choose, without an image."""
        tokens, text = self._read(expression)
        return self._select(text, tokens, budget).canonical()

    def _answer(
        self,
        pixels: Tensor,
        placement: Placement,
        expression: str,
        budget: float | None,
        selection: Selection | None,
        image: str,
    ) -> Grounding:
        began = time.perf_counter()
        tokens, text = self._read(expression)
        if selection is None:
            selection = self._select(text, tokens, budget)
        subnet = self.subnets.get(check(selection, self.model.units()))
        prediction = subnet(pixels, text, tokens)
        box = placement.undo(cxcywh_to_xyxy(prediction.boxes_cxcywh01[0].cpu()) * placement.size)
        x1, y1, x2, y2 = clip(box, placement.width, placement.height).tolist()
        return Grounding(
            expression=expression,
            box=(x1, y1, x2, y2),
            score=None if prediction.scores is None else float(prediction.scores[0]),
            cost=self.model.cost_model.cost(selection.canonical(), tokens.ids.shape[1]),
            selection=selection.canonical(),
            width=placement.width,
            height=placement.height,
            milliseconds=1000 * (time.perf_counter() - began),
            image=image,
        )

    def _read(self, expression: str) -> tuple[Tokens, Tensor]:
        strange = [word for word in self.tokenizer.spelled(expression) if word not in self.taught]
        if strange:
            warnings.warn(
                f"this model was never taught {', '.join(map(repr, strange[:5]))}: "
                f"its answer to {expression[:80]!r} rests on the other words",
                UnknownWordWarning,
                stacklevel=2,
            )
        tokens = self.tokenizer.encode([expression]).to(self.device)
        return tokens, self.model.text(tokens)

    def _select(self, text: Tensor, tokens: Tokens, budget: float | None) -> Selection:
        model = self.model
        if budget is not None:
            check_budget(budget)
        if model.selector is None:
            if budget is not None and budget < 1:
                raise ValueError("a static model has one size: it takes no budget below 1")
            return Selection(())
        relevance = model.selector(text, tokens)
        if budget is None:
            return Selection.from_gates(hard_gates(relevance))
        scores = {name: r[0] for name, r in relevance.items()}
        return fit(scores, model.units(), model.cost_model, tokens.ids.shape[1], budget)


def load(
    model: str | os.PathLike[str] = DEFAULT,
    *,
    device: str = "cpu",
    download: bool = False,
    cache_mib: int = 256,
    max_pixels: int = MAX_PIXELS,
) -> Grounder:
    """A packaged model by name, a checkpoint folder, or with `download=True` a hub id ("owner/name")."""
    checked(device)  # before the weights are read
    loaded = checkpoint.load(model, download=download)
    return Grounder(
        loaded.model,
        loaded.tokenizer,
        device=device,
        cache_mib=cache_mib,
        max_pixels=max_pixels,
        taught=loaded.info.taught,
    )
