"""What one can ask an MDETR about an image: phrases of a caption, names, a question, a mask.

    found = ground_phrases(model, tokenizer, "street.jpg", "A woman with a red hat walks her dog.")
    for phrase in found:
        phrase.phrase, phrase.span, [(each.box, each.score) for each in phrase.objects]

A request, end to end: image → `open_image`, `Framing.see` · text → tokens with their characters → network →
soft tokens and boxes of each query → phrases by their tokens, boxes by `Placement.boxes`.
Functions of a model in evaluation mode: nothing of a request stays anywhere. Of many texts of one image
(`ground_captions`, `rank_boxes`, `answer_all`, `segment_all`) each is answered as it would be alone, and the
backbone sees the image once, unless words choose what runs: only the first has its cost, which the others
call `shared`. `milliseconds` of each are from pixels to its answer, others' before it too.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from groundling.ask.reply import Reply, Score, at_image_size
from groundling.dynamic.gates import decided
from groundling.models import require
from groundling.models.abilities import Ability
from groundling.models.answers import AnswerKind, AnswersConfig
from groundling.models.finder import ObjectFinder
from groundling.pictures.images import MAX_PIXELS, ImageSource, name_of, open_image
from groundling.pictures.masks import encode
from groundling.pictures.placement import Clip
from groundling.results import Answer, CaptionGrounding, Cost, Detection, Detections, Segmentation
from groundling.selection import Selection
from groundling.words.byte_pairs import ByteTokenizer
from groundling.words.phrases import Splitter, check_spans, splitter
from groundling.words.text import Span, normalised, read_words
from groundling.words.tokens import Tokens


@torch.inference_mode()
def ground_phrases(
    model: ObjectFinder,
    tokenizer: ByteTokenizer,
    image: ImageSource,
    caption: str,
    *,
    spans: Sequence[Span] | None = None,
    split: Literal["auto", "spacy", "rules"] = "auto",
    score: Score = "object",
    threshold: float | None = None,
    most: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> CaptionGrounding:
    """The objects of each noun phrase of a caption with a score of at least `threshold`, the surest first.

    threshold: in [0, 1]; None, here and below, is the model's own. most: so many of each phrase; None, all.
    spans: character ranges [begin, end) of the caption to ground instead of its noun phrases. Raises
    ValueError for a caption without noun phrases, one that is longer than the model reads, and spans outside
    it; ValueError and FileNotFoundError for images as `open_image` does.
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
    model: ObjectFinder,
    tokenizer: ByteTokenizer,
    image: ImageSource,
    captions: Sequence[str],
    *,
    spans: Sequence[Sequence[Span]] | None = None,
    split: Literal["auto", "spacy", "rules"] = "auto",
    score: Score = "object",
    threshold: float | None = None,
    most: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> list[CaptionGrounding]:
    """`ground_phrases` of each caption of one image.

    spans: those of each caption. Raises ValueError for no captions, too, and for spans of more or fewer.
    """
    threshold = _threshold(model, threshold)
    _check_texts(captions, "caption")
    if spans is not None and len(spans) != len(captions):
        raise ValueError(
            f"spans must be a list for each of {len(captions)} captions, given {len(spans)} lists"
        )
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
    model: ObjectFinder,
    tokenizer: ByteTokenizer,
    image: ImageSource,
    expressions: Sequence[str],
    *,
    threshold: float = 0.0,
    most: int | None = None,
    max_pixels: int = MAX_PIXELS,
    clip: Clip = "image",
) -> list[Detections]:
    """Of each expression as a whole the boxes, the surest first and at most `most`: what Prec@k looks at.

    The first is what `Grounder.ground` answers with. `clip`: what of a box counts (`Placement.boxes`).
    Raises ValueError for no expressions and for one that is longer than the model reads.
    """
    threshold = _threshold(model, threshold)
    _check_texts(expressions, "expression")
    found: list[Detections] = []
    for asked in _ask(model, tokenizer, image, expressions, max_pixels, clip=clip):
        objects = asked.objects(asked.found.objectness[0], threshold, most, asked.text)
        _, cost, width, height, milliseconds, name = asked.known()
        found.append(Detections(objects, cost, width, height, milliseconds, name))
    return found


@torch.inference_mode()
def detect_names(
    model: ObjectFinder,
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
    captions, given = captions_of(names, tokenizer), iter(names)
    found: list[Detection] = []
    costs: list[Cost] = []
    asked = _ask(model, tokenizer, image, [caption for caption, _ in captions], max_pixels)
    for one, (_, spans) in zip(asked, captions, strict=True):
        for span in spans:
            label = next(given)
            found += [replace(each, label=label) for each in one.phrase(span, score, threshold).objects]
        costs.append(one.cost)
        _, _, width, height, milliseconds, name = one.known()
    objects = tuple(sorted(found, key=lambda each: -each.score))
    return Detections(objects, _sum(costs), width, height, milliseconds, name)


@torch.inference_mode()
def answer(
    model: ObjectFinder,
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
    model: ObjectFinder,
    tokenizer: ByteTokenizer,
    image: ImageSource,
    questions: Sequence[str],
    *,
    threshold: float | None = None,
    max_pixels: int = MAX_PIXELS,
) -> list[Answer]:
    """`answer` to each question about one image. Raises ValueError for no questions, too."""
    threshold = _threshold(model, threshold)
    _check_texts(questions, "question")
    require(model.config, Ability.ANSWERS)
    config = model.config.answers
    if silent := [kind.name for kind in config.kinds if not kind.words]:
        raise ValueError(
            f"this model knows its answers of {', '.join(silent)} by number only: import it with "
            "answers=, gqa_answer2id_by_type.json or gqa_answer2id.json of MDETR's annotations"
        )
    asked = _ask(model, tokenizer, image, questions, max_pixels, answers=True)
    return [_answer(model, config, one, threshold) for one in asked]


@torch.inference_mode()
def segment(
    model: ObjectFinder,
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
    model: ObjectFinder,
    tokenizer: ByteTokenizer,
    image: ImageSource,
    phrases: Sequence[str],
    *,
    threshold: float | None = None,
    max_pixels: int = MAX_PIXELS,
) -> list[Segmentation]:
    """`segment` of each phrase of one image. Raises ValueError for no phrases, too."""
    threshold = _threshold(model, threshold)
    _check_texts(phrases, "phrase")
    require(model.config, Ability.SEGMENTS)
    return [
        _segmentation(model, one, threshold) for one in _ask(model, tokenizer, image, phrases, max_pixels)
    ]


# ------------------------------------------------------------------------------------------------- inside


def _answer(model: ObjectFinder, config: AnswersConfig, asked: Reply, threshold: float) -> Answer:
    """The likeliest answer of the likeliest type, of a model that has these answers."""
    kinds = {kind.name: kind for kind in config.kinds}
    logits = model.net.answer(asked.hidden)
    kind, sure = config.kinds[0].name, 1.0
    if config.types:
        likely, place = logits["type"][0].softmax(-1).max(-1)
        kind, sure = config.types[int(place)], float(likely)
    words, confidence = said(logits[kind][0], kinds[kind])
    evidence = asked.objects(asked.found.objectness[0], threshold)
    return Answer(
        *asked.known(),
        answer=words,
        kind=kind if config.types else None,
        confidence=sure * confidence,
        evidence=evidence,
    )


def _segmentation(model: ObjectFinder, asked: Reply, threshold: float) -> Segmentation:
    """The union of the masks of objects above the threshold."""
    scores = asked.found.objectness[0]
    kept = [query for query, _ in asked.best(scores, threshold)]
    place = asked.placement
    union = torch.zeros(place.height, place.width, dtype=torch.bool)
    if kept:
        for logits in model.net.masks(asked.hidden[-1][:, kept], asked.memory)[0]:
            union |= at_image_size(logits, place).cpu() > 0  # a logit above 0 is a probability above ½
    objects, mask = asked.objects(scores, threshold, label=asked.text), encode(union.numpy())
    cost = model.costs(place.canvas_height, place.canvas_width).asked(
        asked.length, asked.selection, masks=len(kept), seen=asked.seen
    )
    return Segmentation(asked.text, cost, *asked.known()[2:], mask=mask, objects=objects)


def _split(caption: str, how: Splitter) -> list[Span]:
    """The spans of the noun phrases of a caption; ValueError for none."""
    words = normalised(caption)
    spans = [words.back(phrase.span) for phrase in how.split(words.text)]
    if not spans:
        raise ValueError(
            f"no noun phrase was found in {caption[:80]!r} (by {how.name}); give its spans, or ground it as "
            "one expression"
        )
    return spans


def _ask(
    model: ObjectFinder,
    tokenizer: ByteTokenizer,
    image: ImageSource,
    texts: Sequence[str],
    max_pixels: int,
    answers: bool = False,
    clip: Clip = "image",
) -> Iterator[Reply]:
    """What the network says of each text, one after the other; the backbone sees the image once.

    Where words choose what runs, each text has a subnet, and the image is seen by each of them.
    """
    if model.net.training or model.text.training:
        raise ValueError("a model in training mode answers at random; call model.eval() first")
    offsets = [tokenizer.offsets(text) for text in texts]  # first: too long is an error, `encode` would cut
    tokens = tokenizer.encode(texts)
    framing = model.config.framing
    placed = framing.see(open_image(image, max_pixels))
    device = next(model.parameters()).device
    began, given = time.perf_counter(), framing.input([placed], device)
    shared = None if model.selector else model.net.see(given.images, shown=given.shown)
    costs = model.costs(*given.sides)
    for row, text in enumerate(texts):  # many captions together would take much memory and save little time
        length = len(offsets[row])
        own = Tokens(tokens.ids[row : row + 1, :length], tokens.padding[row : row + 1, :length]).to(device)
        words = model.text(own)
        selection = chosen(model, words, own)
        net = model.net if selection is None else model.cut(selection)
        memory = net.join(shared or net.see(given.images, shown=given.shown), words, own)
        hidden = net.decode(memory)
        again = shared is not None and row > 0
        cost = costs.asked(length, selection, answers=answers, seen=again)
        place, found = (name_of(image), offsets[row], placed.placement), net.objects(hidden[-1])
        yield Reply(text, *place, memory, hidden, found, cost, length, selection, again, began, clip)


def chosen(model: ObjectFinder, words_1LD: Tensor, tokens: Tokens) -> Selection | None:
    """What the words of one text choose to run; None where nothing chooses."""
    if model.selector is None:
        return None
    return decided(model.selector(words_1LD, tokens))[0]


def said(logits: Tensor, kind: AnswerKind) -> tuple[str, float]:
    """The likeliest answer of a kind, and its probability; of one output, no or yes."""
    if kind.outputs == 1:
        yes = float(logits.sigmoid())
        return (kind.words[1], yes) if yes > 0.5 else (kind.words[0], 1 - yes)
    likely, place = logits.softmax(-1).max(-1)
    return kind.words[int(place)], float(likely)


def captions_of(names: Sequence[str], tokenizer: ByteTokenizer) -> list[tuple[str, list[Span]]]:
    """Captions "person. traffic light. …" that the model can read, and the spans of the names in each."""
    _check_texts(names, "name")
    found: list[tuple[str, list[Span]]] = []
    caption, spans, read = "", list[Span](), set[str]()
    for given in names:
        name = normalised(given).text
        if name in read:
            raise ValueError(f"names must differ; {given!r} comes twice")
        read.add(name)
        longer = f"{caption} {name}." if caption else f"{name}."
        if spans and len(tokenizer.pieces(longer)) >= tokenizer.limit:
            found.append((caption, spans))
            longer, spans = f"{name}.", []
        caption = longer
        spans = [*spans, (len(caption) - 1 - len(name), len(caption) - 1)]
    return [*found, (caption, spans)]


def _check_texts(texts: Sequence[str], what: str) -> None:
    """ValueError unless these are texts with words, at least one."""
    if isinstance(texts, str) or not texts:
        raise ValueError(f"{what}s must be a list of one text or more, given {texts!r}")
    for text in texts:
        read_words(text, what)


def _threshold(model: ObjectFinder, threshold: float | None) -> float:
    """The score from which an object counts; the model's own where none is given."""
    if threshold is None:
        return float(model.config.threshold)
    return share_of_one(threshold, "threshold")


def share_of_one(value: object, name: str) -> float:
    """A number from 0 to 1; ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a number from 0 to 1, given {value!r}")
    return value


def _sum(costs: Sequence[Cost]) -> Cost:
    """Cost of all texts of a request: what they share is in it, with the first of them."""
    parts: dict[str, int] = {}
    for cost in costs:
        for name, macs in cost.parts.items():
            parts[name] = parts.get(name, 0) + macs
    return Cost(parts, sum(cost.full for cost in costs))
