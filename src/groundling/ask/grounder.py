"""The object a user holds: image and words in, Groundings out.

    model = groundling.load()
    answer = model.ground("street.jpg", "the red car left of the tree")
    answer.box, answer.score, answer.cost.share

A request, end to end: image → `open_image`, `Framing.see` · expression → tokens, features and
relevance (kept for words that come again) → Selection (within a budget) → subnet (cached) → box on the
network's frame → `Placement.boxes` → Grounding.
Nothing of a request stays on the object: threads can share one.
"""

import os
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeVar, overload

import torch

from groundling import callers, checkpoint
from groundling.ask.asking import answer, detect_names, ground_phrases, segment, share_of_one
from groundling.ask.detector import Detector, load_detector
from groundling.ask.naming import described, short
from groundling.device import checked
from groundling.draw.view import View
from groundling.dynamic.blocks import BlockCache
from groundling.dynamic.budget import check_budget, fit
from groundling.dynamic.cost import CostModel
from groundling.dynamic.gates import Relevance, decided
from groundling.layers.sharing import share
from groundling.models import require
from groundling.models.abilities import Ability
from groundling.models.finder import ObjectFinder
from groundling.models.supernet import Prediction, Supernet
from groundling.pictures.images import (
    MAX_PIXELS,
    ImageSource,
    name_of,
    open_image,
)
from groundling.pictures.placement import Input, Placement, Seen
from groundling.results import Answer, CaptionGrounding, Cost, Detections, Grounding, Segmentation, Shown
from groundling.runtime.batched import Batcher, Rows
from groundling.runtime.compiled import CompiledSubnets, EagerSubnets, Subnets
from groundling.runtime.compilers import Runtime, compiler
from groundling.runtime.words import Reader, Words
from groundling.selection import Selection, check
from groundling.words.byte_pairs import ByteTokenizer
from groundling.words.text import Span, read_words
from groundling.words.tokens import UnknownWordWarning
from groundling.words.wordpiece import Tokenizer

WORDS_PART = 8  # of the cache's memory one part in so many is for words
DEFAULT = "lads_photo"
Found = TypeVar("Found", bound=Shown)


class Grounder:
    """A supernet ready to answer; `load` makes one.

    name: what it is called when it prints. reader: of another Grounder over this model, to share its packed
    text encoder.
    """

    def __init__(
        self,
        model: Supernet,
        tokenizer: Tokenizer,
        *,
        name: str = "",
        device: str = "cpu",
        cache_mib: int = 256,
        max_pixels: int = MAX_PIXELS,
        taught: Collection[str] = (),
        runtime: Runtime = "eager",
        compiled_mib: int = 1024,
        reader: Reader | None = None,
        familiar: Collection[str] = (),
    ) -> None:
        if not isinstance(cache_mib, int) or cache_mib < 0:
            raise ValueError(
                f"cache_mib must be a whole number of MiB, 0 to keep nothing, given {cache_mib!r}"
            )
        if not isinstance(max_pixels, int) or max_pixels < 1:
            raise ValueError(f"max_pixels must be a whole number, 1 or more, given {max_pixels!r}")
        if not isinstance(compiled_mib, int) or compiled_mib < 0:
            raise ValueError(
                f"compiled_mib must be a whole number of MiB, 0 to compile nothing, given {compiled_mib!r}"
            )
        self.name, self.device = name, torch.device(checked(device))
        self.taught = frozenset(taught)  # words that the tokenizer spells and the training had all the same
        self.familiar = frozenset(familiar)  # as a Reader's
        self.model, self.tokenizer, self.max_pixels = model.eval().to(self.device), tokenizer, max_pixels
        self._runtime, self._bytes, self._compiled_bytes = runtime, cache_mib * 2**20, compiled_mib * 2**20
        self._prepare(reader)

    def __repr__(self) -> str:
        return described("Grounder", self.name, self.model, self.device, self._runtime)

    def refresh(self) -> None:
        """Forget what was made of the model's weights: to be called when they have changed."""
        self._prepare(None)

    def _prepare(self, reader: Reader | None) -> None:
        if reader is None:
            with torch.inference_mode(False), torch.no_grad():
                limit = self._bytes // WORDS_PART
                reader = Reader(self.model, self.tokenizer, self.taught, limit, self.familiar)
        self.reader, self.subnets = reader, BlockCache(self.model, self._bytes)
        self.batcher = Batcher(self.subnets)
        compile_ = compiler(self._runtime, self.model, self.tokenizer, self.device)
        self.runner: Subnets = EagerSubnets(self.subnets)
        if compile_ is not None:
            self.runner = CompiledSubnets(self.subnets, compile_, self._compiled_bytes)

    @overload
    def ground(  # type: ignore[overload-overlap]  # a str is a sequence of str too
        self,
        image: ImageSource,
        expressions: str,
        *,
        budget: float | None = None,
        selection: Selection | None = None,
        absent: float | None = None,
    ) -> Grounding: ...
    @overload
    def ground(
        self,
        image: ImageSource,
        expressions: Sequence[str],
        *,
        budget: float | None = None,
        selection: Selection | None = None,
        absent: float | None = None,
    ) -> list[Grounding]: ...
    @torch.inference_mode()
    def ground(
        self,
        image: ImageSource,
        expressions: str | Sequence[str],
        *,
        budget: float | None = None,
        selection: Selection | None = None,
        absent: float | None = None,
    ) -> Grounding | list[Grounding]:
        """One Grounding per expression, a list for a list.

        image: path, bytes, PIL image or (H, W, 3) uint8 RGB array; boxes are pixels of it as people see it
        (EXIF orientation applied). budget: the largest share of the full network's MACs to spend, in (0, 1].
        selection: run this subnet instead of the one that the words choose (`Selection.all_on(units)` is
        the whole network). absent: in [0, 1]; what is less likely than this to be in the picture at all
        (`present`) gets no box. `milliseconds` of a Grounding is words to box; decoding the image, shared by
        all expressions, is not in it. Raises ValueError for input that is not accepted, and
        FileNotFoundError for a missing file.
        """
        if isinstance(expressions, str):
            return self.ground(image, [expressions], budget=budget, selection=selection, absent=absent)[0]
        if not isinstance(expressions, Sequence):
            raise ValueError(
                f"expressions must be a text or a list of texts, given {type(expressions).__name__}"
            )
        if budget is not None and selection is not None:
            raise ValueError("give a budget or a selection, not both")
        self.check_absent(absent)
        seen = self._seen(image)
        asked = self.model.config.framing.input([seen], self.device), seen.placement
        view, name = View(image, self.max_pixels), name_of(image)
        found = [self._answer(*asked, e, budget, selection, name) for e in expressions]
        return [_unless(each, absent).seen_by(view) for each in found]

    @torch.inference_mode()
    def ground_batch(
        self,
        requests: Sequence[tuple[ImageSource, str]],
        *,
        budget: float | None = None,
        absent: float | None = None,
    ) -> list[Grounding]:
        """One Grounding per (image, expression), computed together though each has a subnet of its own.

        Arguments and errors as in `ground`; an image that comes again is decoded, and seen by what words do
        not change, once. `milliseconds` of a Grounding is its part of the time from words to boxes.
        """
        requests = _requests(requests)
        self.check_absent(absent)
        if not requests:
            return []
        images = {_key(image): image for image, _ in requests}
        place = {key: index for index, key in enumerate(images)}
        seen = [self._seen(image) for image in images.values()]
        pictures = self.model.config.framing.input(seen, self.device)
        index = [place[_key(image)] for image, _ in requests]
        began = time.perf_counter()
        expressions = [expression for _, expression in requests]
        for expression in expressions:
            self._warn(expression, self.reader.strange(_text(expression)))
        tokens, text, relevance = self.reader.read_all(expressions)
        lengths = (~tokens.padding).sum(1).tolist()
        costs = self.model.costs(*pictures.sides)
        selections = self._select(relevance, lengths, budget, costs)
        rows = Rows(selections, pictures.images, torch.tensor(index), text, tokens, pictures.shown)
        found = _on_cpu(self.batcher.run(rows))
        milliseconds = 1000 * (time.perf_counter() - began) / len(requests)
        answers = [
            self._grounding(
                (expression, name_of(image)),
                seen[index[row]].placement,
                found,
                row,
                selections[row],
                costs.cost(selections[row].canonical(), lengths[row]),
                milliseconds,
            )
            for row, (image, expression) in enumerate(requests)
        ]
        return [
            _unless(answer, absent).seen_by(View(image, self.max_pixels))
            for answer, (image, _) in zip(answers, requests, strict=True)
        ]

    def detect(
        self, image: ImageSource, names: Sequence[str] = (), *, threshold: float | None = None
    ) -> Detections:
        """All objects that one of these names says, of a model that finds objects of a text.

        threshold: the least score, in [0, 1]; None, here and below, is the model's own. ValueError without
        names, and for a model that cannot do this; the message names models that can.
        """
        finder = self.finder()
        if not names:
            raise ValueError("this model finds objects by their names; give names, such as dog")
        found = detect_names(*finder, image, names, threshold=threshold, max_pixels=self.max_pixels)
        return self._given(found, image, *names)

    def ground_phrases(
        self,
        image: ImageSource,
        caption: str,
        *,
        spans: Sequence[Span] | None = None,
        threshold: float | None = None,
    ) -> CaptionGrounding:
        """The objects of each noun phrase of a caption, or of its character ranges `spans`."""
        found = ground_phrases(
            *self.finder(), image, caption, spans=spans, threshold=threshold, max_pixels=self.max_pixels
        )
        return self._given(found, image, caption)

    def answer(self, image: ImageSource, question: str, *, threshold: float | None = None) -> Answer:
        """The answer to a question, and the objects it rests on."""
        found = answer(
            *self.finder(Ability.ANSWERS), image, question, threshold=threshold, max_pixels=self.max_pixels
        )
        return self._given(found, image, question)

    def segment(self, image: ImageSource, phrase: str, *, threshold: float | None = None) -> Segmentation:
        """The pixels that a phrase means."""
        found = segment(
            *self.finder(Ability.SEGMENTS), image, phrase, threshold=threshold, max_pixels=self.max_pixels
        )
        return self._given(found, image, phrase)

    def finder(self, ability: Ability = Ability.FINDS) -> tuple[ObjectFinder, ByteTokenizer]:
        """The model that finds objects of a text as it answers, its norms folded and its weights packed.

        ValueError for a model that cannot do what is asked; the message names models that can.
        """
        require(self.model.config, ability)
        assert isinstance(self.model, ObjectFinder)
        assert isinstance(self.tokenizer, ByteTokenizer)
        parts = {"net": self.subnets.whole(), "text": self.reader.text}  # folded and packed
        model = share(self.model, parts)
        model.kept = self.subnets
        return model, self.tokenizer

    @torch.inference_mode()
    def select(self, expression: str, *, budget: float | None = None) -> Selection:
        """The units that these words choose, without an image."""
        words = self._read(expression)
        return self._chosen(words, budget, self.model.cost_model).canonical()

    def _seen(self, image: ImageSource) -> Seen:
        return self.model.config.framing.see(open_image(image, self.max_pixels))

    def _answer(
        self,
        pictures: Input,
        placement: Placement,
        expression: str,
        budget: float | None,
        selection: Selection | None,
        image: str,
    ) -> Grounding:
        began, costs = time.perf_counter(), self.model.costs(*pictures.sides)
        words = self._read(expression)
        if selection is None:
            selection = self._chosen(words, budget, costs)
        run = self.runner.get(check(selection, self.model.units()), pictures.images, words.text)
        found = _on_cpu(run(pictures.images, words.text, words.tokens, shown=pictures.shown))
        milliseconds = 1000 * (time.perf_counter() - began)
        cost = costs.cost(selection.canonical(), words.tokens.ids.shape[1])
        return self._grounding((expression, image), placement, found, 0, selection, cost, milliseconds)

    def _grounding(
        self,
        asked: tuple[str, str],
        placement: Placement,
        found: Prediction,
        row: int,
        selection: Selection,
        cost: Cost,
        milliseconds: float,
    ) -> Grounding:
        """A row of a prediction in pixels of its image; `asked` is the expression and the image's name."""
        x1, y1, x2, y2 = placement.boxes(found.boxes_cxcywh01[row]).tolist()
        return Grounding(
            expression=asked[0],
            box=(x1, y1, x2, y2),
            score=None if found.scores is None else float(found.scores[row]),
            cost=cost,
            selection=selection.canonical(),
            width=placement.width,
            height=placement.height,
            milliseconds=milliseconds,
            image=asked[1],
            present=None if found.present is None else float(found.present[row].sigmoid()),
        )

    def check_absent(self, absent: float | None) -> None:
        """ValueError for what `ground` does not take as `absent`."""
        if absent is not None:
            share_of_one(absent, "absent")
            require(self.model.config, Ability.MISSES)

    def _read(self, expression: str) -> Words:
        words = self.reader.read(_text(expression))
        self._warn(expression, words.strange)
        return words

    def _given(self, found: Found, image: ImageSource, *texts: str) -> Found:
        """What was found of these texts, after a warning of words that the model was never taught."""
        for text in texts:
            self._warn(text, self.reader.strange(text))
        return found.seen_by(View(image, self.max_pixels))

    def _warn(self, expression: str, strange: Sequence[str]) -> None:
        if strange:
            callers.warn(
                f"this model was never taught {', '.join(map(repr, strange[:5]))}: "
                f"its answer to {expression[:80]!r} rests on the other words",
                UnknownWordWarning,
            )

    def _chosen(self, words: Words, budget: float | None, costs: CostModel) -> Selection:
        """What runs for these words."""
        if budget is None:
            return words.selection
        return self._select(words.relevance, [words.tokens.ids.shape[1]], budget, costs)[0]

    def _select(
        self, relevance: Relevance | None, lengths: Sequence[int], budget: float | None, costs: CostModel
    ) -> list[Selection]:
        """The Selection of each row, whose words are so many tokens."""
        model, rows = self.model, range(len(lengths))
        if budget is not None:
            check_budget(budget)
        if relevance is None:
            if budget is not None and budget < 1:
                raise ValueError(
                    "this model runs the same network for all words, so it takes no budget below 1"
                )
            return [Selection(())] * len(rows)
        if budget is None:
            return decided(relevance)
        scores = [{name: r[row] for name, r in relevance.items()} for row in rows]
        return [fit(scores[row], model.units(), costs, lengths[row], budget) for row in rows]


def _text(expression: object) -> str:
    """An expression as models read it; ValueError for one without words."""
    return read_words(expression).text


def _requests(requests: object) -> list[tuple[ImageSource, str]]:
    """The requests of a batch; ValueError that says what a request is, and which one is none."""
    what = 'a request is an image and an expression, ("street.jpg", "the cat")'
    if isinstance(requests, str | bytes | Mapping) or not isinstance(requests, Iterable):
        raise ValueError(f"ground_batch takes a list of requests, given {type(requests).__name__}; {what}")
    found = list(requests)
    for place, request in enumerate(found):
        pair = isinstance(request, Sequence) and not isinstance(request, str | bytes) and len(request) == 2
        if not pair or not isinstance(request[1], str):
            raise ValueError(f"{what}; number {place} is {short(request)}")
    return [(image, expression) for image, expression in found]


def _on_cpu(found: Prediction) -> Prediction:
    """The answer where it can be read: the clock stops there, not when a GPU was told to compute."""
    scores, present = (None if each is None else each.cpu() for each in (found.scores, found.present))
    return Prediction(found.boxes_cxcywh01.cpu(), scores, present=present)


def _unless(found: Grounding, absent: float | None) -> Grounding:
    """The answer, without its box where the thing is less likely to be there than asked for."""
    gone = absent is not None and found.present is not None and found.present < absent
    return replace(found, box=None) if gone else found


def _key(image: ImageSource) -> object:
    """What is equal for the same image of a batch."""
    return image if isinstance(image, str | bytes | os.PathLike) else id(image)


def load_grounder(
    model: str | os.PathLike[str] = DEFAULT,
    *,
    device: str = "cpu",
    download: bool = False,
    cache_mib: int = 256,
    max_pixels: int = MAX_PIXELS,
    runtime: Runtime = "eager",
    compiled_mib: int = 1024,
) -> Grounder:
    """As `load`, of models that ground expressions; CheckpointError for one that does not."""
    checked(device)  # before the weights are read
    loaded = checkpoint.load(model, download=download)
    return Grounder(
        loaded.model,
        loaded.tokenizer,
        name=loaded.info.path.name,
        device=device,
        cache_mib=cache_mib,
        max_pixels=max_pixels,
        taught=loaded.info.taught,
        familiar=loaded.info.words,
        runtime=runtime,
        compiled_mib=compiled_mib,
    )


@overload
def load(
    model: Literal["lads_photo", "lads_street"] = "lads_photo",
    *,
    device: str = "cpu",
    download: bool = False,
    cache_mib: int = 256,
    max_pixels: int = MAX_PIXELS,
    runtime: Runtime = "eager",
    compiled_mib: int = 1024,
) -> Grounder: ...
@overload
def load(
    model: str | os.PathLike[str],
    *,
    device: str = "cpu",
    download: bool = False,
    cache_mib: int = 256,
    max_pixels: int = MAX_PIXELS,
    runtime: Runtime = "eager",
    compiled_mib: int = 1024,
) -> Grounder | Detector: ...
def load(
    model: str | os.PathLike[str] = DEFAULT,
    *,
    device: str = "cpu",
    download: bool = False,
    cache_mib: int = 256,
    max_pixels: int = MAX_PIXELS,
    runtime: Runtime = "eager",
    compiled_mib: int = 1024,
) -> Grounder | Detector:
    """A packaged model by name, a checkpoint folder, or with `download=True` a hub id ("owner/name").

    A Grounder of what grounds expressions, a Detector of what detects objects (eager only).
    device: cpu, cuda or cuda:N. cache_mib: memory for weights that are cut out for subnets; an eighth as much
    may hold words.
    compiled_mib: memory for weights of compiled subnets.
    runtime: "eager" is PyTorch; the others are for words that come again: from its second request on a subnet
    is compiled in the background, by "openvino", "onnx" (onnxruntime) or "compiled" (torch and a C++
    compiler). "auto" takes OpenVINO where it is installed, else onnxruntime, else PyTorch alone.
    """
    checked(device)  # before anything is read
    if checkpoint.can(model, Ability.DETECTS, download=download):
        if runtime not in ("eager", "auto"):
            raise ValueError(f"a model that detects runs with runtime='eager' only, given {runtime!r}")
        return load_detector(
            model, device=device, download=download, cache_mib=cache_mib, max_pixels=max_pixels
        )
    return load_grounder(
        model,
        device=device,
        download=download,
        cache_mib=cache_mib,
        max_pixels=max_pixels,
        runtime=runtime,
        compiled_mib=compiled_mib,
    )
