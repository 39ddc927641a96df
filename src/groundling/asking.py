"""What one can ask an MDETR about an image: phrases of a caption, names, a question, a mask.

    found = ground_phrases(model, tokenizer, "street.jpg", "A woman with a red hat walks her dog.")
    for phrase in found:
        phrase.phrase, phrase.span, [(each.box, each.score) for each in phrase.objects]

The way of a request: image → `open_image`, `letterbox` · text → tokens with their characters → network →
soft tokens and boxes of each query → phrases by their tokens, boxes by `Placement.undo`.
Functions of a model in evaluation mode: nothing of a request stays anywhere. Of many texts of one image
(`ground_captions`, `rank_boxes`, `answer_all`, `segment_all`) each is answered as it would be alone, and the
backbone sees the image once, unless words choose what runs: only the first has its cost, which the others
call `shared`. `milliseconds` of each are from pixels to its answer, others' before it too. Shapes: Q queries,
C tokens.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from groundling.boxes import clip, cxcywh_to_xyxy
from groundling.dynamic.gates import hard_gates
from groundling.images import MAX_PIXELS, ImageSource, Placement, letterbox, normalise, open_image
from groundling.language import Tokens
from groundling.masks import encode
from groundling.models.answers import AnswerKind, AnswersConfig
from groundling.models.mdetr import ANSWERS, MASKS, Mdetr, Memory, Objects, joined
from groundling.phrases import Span, Splitter, characters_of, check_spans, splitter, tokens_of
from groundling.results import (
    Answer,
    CaptionGrounding,
    Cost,
    Detection,
    Detections,
    PhraseObjects,
    Segmentation,
)
from groundling.roberta import ByteTokenizer
from groundling.selection import Selection

# How sure it is that a query is of a phrase. "object": 1 − P(no object), times σ(is final) where the model
# says that, of the queries to which a token of the phrase is about as likely as any. "token": the likeliest
# of the phrase's tokens, of every query, which MDETR's Recall@k on Flickr30k Entities ranks by.
Score = Literal["object", "token"]

ALIKE = 0.5  # a model learns the same probability for all words of a phrase, and may take more for one phrase
NAMED = 0.1  # a query is named after the tokens that are at least as likely, as in the published demo


@torch.inference_mode()
def ground_phrases(
    model: Mdetr,
    tokenizer: ByteTokenizer,
    image: ImageSource,
    caption: str,
    *,
    spans: Sequence[Span] | None = None,
    split: Literal["auto", "spacy", "rules"] = "auto",
    score: Score = "object",
    threshold: float | None = None,
    most: int = 100,
    max_pixels: int = MAX_PIXELS,
) -> CaptionGrounding:
    """The objects of each noun phrase of a caption, at most `most` with a score of at least `threshold`.

    threshold: in [0, 1]; None, here and below, is the model's own. spans: character ranges [begin, end) of
    the caption to ground instead of its noun phrases. Raises ValueError for a caption without noun phrases,
    one that is longer than the model reads, and spans outside it; ValueError and FileNotFoundError for
    images as `open_image` does.
    """
    (found,) = ground_captions(
        model,
        tokenizer,
        image,
        [caption],
        spans=None if spans is None else [spans],
        split=split,
        score=score,
        threshold=threshold,
        most=most,
        max_pixels=max_pixels,
    )
    return found


@torch.inference_mode()
def ground_captions(
    model: Mdetr,
    tokenizer: ByteTokenizer,
    image: ImageSource,
    captions: Sequence[str],
    *,
    spans: Sequence[Sequence[Span]] | None = None,
    split: Literal["auto", "spacy", "rules"] = "auto",
    score: Score = "object",
    threshold: float | None = None,
    most: int = 100,
    max_pixels: int = MAX_PIXELS,
) -> list[CaptionGrounding]:
    """`ground_phrases` of each caption of one image.

    spans: those of each caption. Raises ValueError for no captions, too, and for spans of more or fewer.
    """
    threshold = _threshold(model, threshold)
    _check_texts(captions, "captions")
    if spans is not None and len(spans) != len(captions):
        raise ValueError(f"{len(captions)} captions have spans each, given {len(spans)} lists of spans")
    for caption in captions:
        tokenizer.offsets(caption)  # first: what is too long need not be split
    name = "given"
    if spans is None:
        found = splitter(split)
        name, spans = found.name, [_split(caption, found) for caption in captions]
    for caption, own in zip(captions, spans, strict=True):
        check_spans(caption, own)
    answers: list[CaptionGrounding] = []
    for asked, own in zip(_ask(model, tokenizer, image, captions, max_pixels), spans, strict=True):
        phrases = tuple(asked.phrase(span, score, threshold, most) for span in own)
        answers.append(CaptionGrounding(*asked.known(), phrases=phrases, splitter=name))
    return answers


@torch.inference_mode()
def rank_boxes(
    model: Mdetr,
    tokenizer: ByteTokenizer,
    image: ImageSource,
    expressions: Sequence[str],
    *,
    threshold: float = 0.0,
    most: int = 100,
    max_pixels: int = MAX_PIXELS,
) -> list[Detections]:
    """Of each expression as a whole at most `most` boxes, the surest first: what Prec@k looks at.

    The first is what `Grounder.ground` answers with. Raises ValueError for no expressions and for one that
    is longer than the model reads.
    """
    threshold = _threshold(model, threshold)
    _check_texts(expressions, "expressions")
    found: list[Detections] = []
    for asked in _ask(model, tokenizer, image, expressions, max_pixels):
        objects = asked.objects(asked.found.scores()[0], threshold, most, asked.text)
        _, cost, width, height, milliseconds, name = asked.known()
        found.append(Detections(tuple(objects), cost, width, height, milliseconds, name))
    return found


@torch.inference_mode()
def detect_names(
    model: Mdetr,
    tokenizer: ByteTokenizer,
    image: ImageSource,
    names: Sequence[str],
    *,
    score: Score = "object",
    threshold: float | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Detections:
    """All objects that one of these names says, each with its name; as many captions as the names fill.

    The backbone sees the image once. Raises ValueError for no names, a name that comes twice or is empty,
    and one that is longer than the model reads.
    """
    threshold = _threshold(model, threshold)
    captions = captions_of(names, tokenizer)
    found: list[Detection] = []
    costs: list[Cost] = []
    asked = _ask(model, tokenizer, image, [caption for caption, _ in captions], max_pixels)
    for one, (_, spans) in zip(asked, captions, strict=True):
        found += [each for span in spans for each in one.phrase(span, score, threshold, 100).objects]
        costs.append(one.cost)
        _, _, width, height, milliseconds, name = one.known()
    objects = tuple(sorted(found, key=lambda each: -each.score))
    return Detections(objects, _sum(costs), width, height, milliseconds, name)


@torch.inference_mode()
def answer(
    model: Mdetr,
    tokenizer: ByteTokenizer,
    image: ImageSource,
    question: str,
    *,
    threshold: float | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Answer:
    """The likeliest answer of the likeliest type of question, and the objects that are its evidence.

    Raises ValueError for a model without answer heads or that does not know its answers' words.
    """
    return answer_all(model, tokenizer, image, [question], threshold=threshold, max_pixels=max_pixels)[0]


@torch.inference_mode()
def answer_all(
    model: Mdetr,
    tokenizer: ByteTokenizer,
    image: ImageSource,
    questions: Sequence[str],
    *,
    threshold: float | None = None,
    max_pixels: int = MAX_PIXELS,
) -> list[Answer]:
    """`answer` to each question about one image. Raises ValueError for no questions, too."""
    threshold = _threshold(model, threshold)
    _check_texts(questions, "questions")
    config = model.config.answers
    if config is None:
        raise ValueError(f"this MDETR answers no questions; those that do are {ANSWERS}")
    if silent := [kind.name for kind in config.kinds if not kind.words]:
        raise ValueError(
            f"this MDETR knows its answers of {', '.join(silent)} by number only: import it with "
            "answers=, gqa_answer2id_by_type.json or gqa_answer2id.json of MDETR's annotations"
        )
    asked = _ask(model, tokenizer, image, questions, max_pixels, answers=True)
    return [_answer(model, config, one, threshold) for one in asked]


@torch.inference_mode()
def segment(
    model: Mdetr,
    tokenizer: ByteTokenizer,
    image: ImageSource,
    phrase: str,
    *,
    threshold: float | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Segmentation:
    """The pixels of everything that a phrase means: a union of the masks of objects above `threshold`.

    As MDETR on PhraseCut: an object is kept by 1 − P(no object), a pixel of it by a probability above one
    half at the image's own size. Raises ValueError for a model without a mask head.
    """
    return segment_all(model, tokenizer, image, [phrase], threshold=threshold, max_pixels=max_pixels)[0]


@torch.inference_mode()
def segment_all(
    model: Mdetr,
    tokenizer: ByteTokenizer,
    image: ImageSource,
    phrases: Sequence[str],
    *,
    threshold: float | None = None,
    max_pixels: int = MAX_PIXELS,
) -> list[Segmentation]:
    """`segment` of each phrase of one image. Raises ValueError for no phrases, too."""
    threshold = _threshold(model, threshold)
    _check_texts(phrases, "phrases")
    if not model.config.masks:
        raise ValueError(f"this MDETR segments nothing; those that do are {MASKS}")
    return [
        _segmentation(model, one, threshold) for one in _ask(model, tokenizer, image, phrases, max_pixels)
    ]


# ------------------------------------------------------------------------------------------------- inside


@dataclass(frozen=True)
class _Asked:
    """A request on its way back: what the network found of it, and what turns that into an answer."""

    text: str
    image: str
    offsets: tuple[Span, ...]
    placement: Placement
    memory: Memory
    hidden: list[Tensor]
    found: Objects
    overlap: float  # of MdetrConfig
    cost: Cost
    length: int
    selection: Selection | None  # what the words chose to run, of a network whose words choose
    seen: bool  # the backbone had the image before, for another text
    began: float

    def known(self) -> tuple[str, Cost, int, int, float, str]:
        """The fields of results.Asked."""
        milliseconds = 1000 * (time.perf_counter() - self.began)
        return self.text, self.cost, self.placement.width, self.placement.height, milliseconds, self.image

    def phrase(self, span: Span, score: Score, threshold: float, most: int) -> PhraseObjects:
        """The objects of one span of the text, under its words."""
        text = self.text[span[0] : span[1]]
        scores = phrase_scores(self.found, tokens_of([span], self.offsets), score)
        return PhraseObjects(text, span, tuple(self.objects(scores, threshold, most, text)))

    def objects(
        self, scores_Q: Tensor, threshold: float, most: int, label: str | None = None, *, apart: bool = True
    ) -> Iterator[Detection]:
        """Objects by their scores, those below 0 or the threshold left out; named after their tokens.

        apart: one place may hold objects of several names.
        """
        likely, boxes = self.found.token_probabilities()[0].tolist(), self._boxes()

        @cache
        def name(query: int) -> str:
            return self._named(likely[query]) if label is None else label

        names = name if apart and label is None else None
        for query, score in self.best(scores_Q, threshold, names)[:most]:
            x1, y1, x2, y2 = boxes[query].tolist()
            yield Detection(name(query), (x1, y1, x2, y2), min(1.0, score))

    def best(
        self, scores_Q: Tensor, threshold: float, name: Callable[[int], str] | None = None
    ) -> list[tuple[int, float]]:
        """The surest query of each object, and how sure it is that one of the object's queries is right.

        The likeliest object is taken first, with all its queries. Queries are of one object where their boxes
        overlap and their names, if they have any, are the same. The first is the answer of MdetrNet.forward.
        """
        threshold = max(threshold, 0.0)
        if self.overlap == 1:
            order = scores_Q.argsort(descending=True, stable=True)
            return [(int(q), float(scores_Q[q])) for q in order if scores_Q[q] >= threshold]
        same = self.found.same(self.overlap)[0]
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
        place = self.placement
        boxes = place.undo(cxcywh_to_xyxy(self.found.boxes_cxcywh01[0].cpu()) * place.size)
        return clip(boxes, place.width, place.height)

    def _named(self, likely_C: Sequence[float]) -> str:
        """The text from the first to the last of a query's likely tokens; its likeliest where none is."""
        real = [place for place, (begin, end) in enumerate(self.offsets) if begin < end]
        positions = [place for place in real if likely_C[place] >= NAMED]
        begin, end = characters_of(positions or [max(real, key=lambda place: likely_C[place])], self.offsets)
        return self.text[begin:end]


def _answer(model: Mdetr, config: AnswersConfig, asked: _Asked, threshold: float) -> Answer:
    """The likeliest answer of the likeliest type, of a model that has these answers."""
    kinds = {kind.name: kind for kind in config.kinds}
    logits = model.net.answer(asked.hidden)
    kind, sure = config.kinds[0].name, 1.0
    if config.types:
        likely, place = logits["type"][0].softmax(-1).max(-1)
        kind, sure = config.types[int(place)], float(likely)
    words, confidence = said(logits[kind][0], kinds[kind])
    return Answer(
        *asked.known(),
        answer=words,
        kind=kind if config.types else None,
        confidence=sure * confidence,
        evidence=tuple(asked.objects(asked.found.scores()[0], threshold, 100)),
    )


def _segmentation(model: Mdetr, asked: _Asked, threshold: float) -> Segmentation:
    """The union of the masks of objects above the threshold."""
    scores = asked.found.scores()[0]
    kept = [query for query, _ in asked.best(scores, threshold)]
    place = asked.placement
    union = torch.zeros(place.height, place.width, dtype=torch.bool)
    if kept:
        for logits in model.net.masks(asked.hidden[-1][:, kept], asked.memory)[0]:
            union |= _at_image_size(logits, place).cpu() > 0  # a logit above 0 is a probability above ½
    cost = model.cost_model.asked(asked.length, asked.selection, masks=len(kept), seen=asked.seen)
    return Segmentation(
        asked.text,
        cost,
        *asked.known()[2:],
        mask=encode(union.numpy()),
        objects=tuple(asked.objects(scores, threshold, len(scores), apart=False)),
    )


def _split(caption: str, how: Splitter) -> list[Span]:
    """The spans of the noun phrases of a caption; ValueError for none."""
    spans = [phrase.span for phrase in how.split(caption)]
    if not spans:
        raise ValueError(
            f"no noun phrase in {caption[:80]!r} ({how.name}): give its spans, or ground it as one expression"
        )
    return spans


def _ask(
    model: Mdetr,
    tokenizer: ByteTokenizer,
    image: ImageSource,
    texts: Sequence[str],
    max_pixels: int,
    answers: bool = False,
) -> Iterator[_Asked]:
    """What the network says of each text, one after the other; the backbone sees the image once.

    Where words choose what runs, each text has a subnet, and the image is seen by each of them.
    """
    if model.net.training or model.text.training:
        raise ValueError("an MDETR in training mode answers at random: call model.eval() first")
    offsets = [tokenizer.offsets(text) for text in texts]  # first: too long is an error, `encode` would cut
    tokens = tokenizer.encode(texts)
    canvas, placement = letterbox(open_image(image, max_pixels), model.config.image_size)
    device = next(model.parameters()).device
    began, pixels = time.perf_counter(), normalise(canvas[None].to(device))
    shared = None if model.selector else model.net.see(pixels)
    for row, text in enumerate(texts):  # many captions together would take much memory and save little time
        length = len(offsets[row])
        own = Tokens(tokens.ids[row : row + 1, :length], tokens.padding[row : row + 1, :length]).to(device)
        words = model.text(own)
        selection = chosen(model, words, own)
        net = model.net if selection is None else model.cut(selection)
        memory = net.join(shared or net.see(pixels), words, own)
        hidden = net.decode(memory)
        again = shared is not None and row > 0
        cost = model.cost_model.asked(length, selection, answers=answers, seen=again)
        place, found = (_name(image), offsets[row], placement), net.objects(hidden[-1])
        overlap = model.config.overlap
        yield _Asked(text, *place, memory, hidden, found, overlap, cost, length, selection, again, began)


def chosen(model: Mdetr, words_1LD: Tensor, tokens: Tokens) -> Selection | None:
    """What the words of one text choose to run; None where nothing chooses."""
    if model.selector is None:
        return None
    return Selection.from_gates(hard_gates(model.selector(words_1LD, tokens)))


def phrase_scores(found: Objects, tokens: Sequence[int], score: Score) -> Tensor:
    """How sure it is that each query of the first row is of these tokens, (Q,); −1 for those that are not."""
    likely = found.token_probabilities()[0]
    if score == "token":
        return likely[:, list(tokens)].amax(-1)
    if score != "object":
        raise ValueError(f"no score {score!r}; object and token are")
    own = likely[:, list(tokens)].amax(-1) >= ALIKE * likely.amax(-1)
    return torch.where(own, found.scores()[0], -1.0)


def said(logits: Tensor, kind: AnswerKind) -> tuple[str, float]:
    """The likeliest answer of a kind, and its probability; of one output, no or yes."""
    if kind.outputs == 1:
        yes = float(logits.sigmoid())
        return (kind.words[1], yes) if yes > 0.5 else (kind.words[0], 1 - yes)
    likely, place = logits.softmax(-1).max(-1)
    return kind.words[int(place)], float(likely)


def captions_of(names: Sequence[str], tokenizer: ByteTokenizer) -> list[tuple[str, list[Span]]]:
    """Captions "person. traffic light. …" that the model can read, and the spans of the names in each."""
    if isinstance(names, str) or not names:
        raise ValueError(f"names are a list of texts with at least one, given {names!r}")
    if not all(isinstance(name, str) and name.strip() for name in names) or len(set(names)) < len(names):
        raise ValueError("names are texts that differ and are not empty")
    found: list[tuple[str, list[Span]]] = []
    caption, spans = "", list[Span]()
    for name in names:
        longer = f"{caption} {name}." if caption else f"{name}."
        if spans and len(tokenizer.pieces(longer)) >= tokenizer.limit:
            found.append((caption, spans))
            longer, spans = f"{name}.", []
        caption = longer
        spans = [*spans, (len(caption) - 1 - len(name), len(caption) - 1)]
    return [*found, (caption, spans)]


def _at_image_size(logits_hw: Tensor, place: Placement) -> Tensor:
    """Logits of a canvas (h, w) where the image lies, at its own size (height, width)."""
    canvas = F.interpolate(logits_hw[None, None], size=(place.size, place.size), mode="bilinear")
    high, wide = round(place.height * place.scale_y), round(place.width * place.scale_x)
    top, left = int(place.top), int(place.left)
    inside = canvas[..., top : top + high, left : left + wide]
    return F.interpolate(inside, size=(place.height, place.width), mode="bilinear")[0, 0]


def _check_texts(texts: Sequence[str], what: str) -> None:
    if isinstance(texts, str) or not texts:
        raise ValueError(f"{what} are a list of texts with at least one, given {texts!r}")
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"what is asked is a text, given {text!r}")


def _threshold(model: Mdetr, threshold: float | None) -> float:
    """The score from which an object counts; the model's own where none is given."""
    if threshold is None:
        return model.config.threshold
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        raise ValueError(f"a threshold is a score, a number in [0, 1], given {threshold!r}")
    return threshold


def _sum(costs: Sequence[Cost]) -> Cost:
    """Cost of all texts of a request: what they share is in it, with the first of them."""
    parts: dict[str, int] = {}
    for cost in costs:
        for name, macs in cost.parts.items():
            parts[name] = parts.get(name, 0) + macs
    return Cost(parts, sum(cost.full for cost in costs))


def _name(image: ImageSource) -> str:
    return str(os.fspath(image)) if isinstance(image, str | os.PathLike) else ""
