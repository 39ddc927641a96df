"""Which model is evaluated on which dataset, and by which protocol; what does not go together is said first.

    job = prepared(groundling.load("models/mdetr"), Source(Path("data"), "flickr30k", "val"))
    job().as_dict()

A model that detects is measured on all objects of images, one that finds one box on expressions. An MDETR
does what the dataset asks for: expressions, phrases of captions, questions, masks, or objects by their names.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from groundling.ask.asking import answer_all, detect_names, ground_captions, rank_boxes, segment_all
from groundling.ask.detector import Detector
from groundling.ask.grounder import Grounder
from groundling.data import CAPTIONS, OBJECTS, CaptionSet, has_objects, open_captions, open_dataset
from groundling.data.caption import Caption, Phrase, Span
from groundling.data.image_folder import Sizes
from groundling.data.modulated import check_masks
from groundling.data.rejects import Rejects
from groundling.data.sample import DataError
from groundling.evaluate import expressions, objects, one_box, phrase_masks, phrases, questions
from groundling.evaluate.score import Score, Watch, unwatched
from groundling.models import require
from groundling.models.abilities import Ability
from groundling.models.finder import ObjectFinder
from groundling.pictures.images import MAX_PIXELS
from groundling.pictures.placement import Clip
from groundling.results import CaptionGrounding
from groundling.words.byte_pairs import ByteTokenizer

Found = one_box.Metrics | Score
Task = Literal["expressions", "phrases", "questions", "masks"]

# The protocols to choose from; the first is what counts if nobody does.
# IoU ≥ 0.5, IoU > 0.5, GIoU ≥ 0.5. As MDETR's code counts: GIoU ≥ 0.5 of boxes that are not cut to the
# picture, of equal scores the larger box first; of one box as TransVG's: IoU ≥ 0.5 of boxes cut to the
# canvas.
EXPRESSIONS = ("iou", "strict", "giou", "released")
PHRASES = ("any", "merged")
MASKS = ("masks", "boxes", "drawn")  # pixels, what boxes cover, boxes as PhraseCut draws them
MERGED = "(merged)"  # ends the name of a dataset whose phrases have one box around all of theirs


class Source(NamedTuple):
    """A split of a dataset as `open_dataset` knows it, or so many items of it, evenly spread."""

    root: Path
    dataset: str
    split: str
    limit: int | None = None


class Measure(Protocol):
    """An evaluation that is ready to run."""

    def __call__(self, *, model: str = "", watch: Watch = unwatched) -> Score:
        """Run it; `model` is the model's name in the result."""
        ...


def prepared(
    loaded: Grounder | Detector,
    source: Source,
    *,
    model: str = "",
    protocol: str | None = None,
    budget: float | None = None,
    watch: Watch = unwatched,
) -> Callable[[], Found]:
    """The evaluation of a model on a split, read and ready to run.

    `protocol` is iou, strict, giou or released for expressions, any or merged for phrases of captions, masks,
    boxes or drawn for phrases with masks, and None where there is no choice. `budget` is the largest share of
    MACs for an expression, of a model that finds one box. `model` is its name in the result. ValueError,
    naming accepted values, where model, dataset and protocol do not go together, and as `open_dataset` does.
    """
    one = not isinstance(loaded, Detector) and Ability.FINDS not in loaded.model.config.abilities
    if budget is not None and not one:
        raise ValueError("a budget is for models that find one box of an expression, such as lads_photo")
    if isinstance(loaded, Detector):
        return partial(_detector(loaded, source, protocol), model=model, watch=watch)
    if one:
        return _one_box(loaded, source, model, protocol, budget, watch)
    named = has_objects(source.root, source.dataset, source.split)
    measure = _named(loaded, source, protocol) if named else _told(loaded, source, protocol)
    return partial(measure, model=model, watch=watch)


def task_of(captions: CaptionSet) -> Task:
    """What captions ask for: by the name of their dataset, else by what they have."""
    name = captions.name.removesuffix(MERGED)
    if name == "gqa" or any(caption.answer for caption in captions.captions):
        return "questions"
    told = [phrase for caption in captions.captions for phrase in caption.phrases]
    if name == "phrasecut" or _mostly_masked(told):
        return "masks"
    single = all(caption.referring for caption in captions.captions)
    return "expressions" if single and all(len(phrase.boxes) == 1 for phrase in told) else "phrases"


def _mostly_masked(phrases: Sequence[Phrase]) -> bool:
    """Whether most phrases have masks: a few may have lost a bad one."""
    return 2 * sum(bool(phrase.masks) for phrase in phrases) > len(phrases)


def _one_box(
    loaded: Grounder,
    source: Source,
    model: str,
    protocol: str | None,
    budget: float | None,
    watch: Watch,
) -> Callable[[], Found]:
    system, (root, dataset, split, limit) = loaded.model.config.system, source
    if dataset == "gqa":
        require(loaded.model.config, Ability.ANSWERS)
    if dataset in CAPTIONS or dataset == "jsonl":
        captions = open_captions(root, dataset, split).limited(limit)
        if task_of(captions) == "phrases":
            rule = _chosen(protocol, PHRASES, f"phrases of {captions.name}")
            return partial(
                one_box.recall,
                loaded.model,
                loaded.tokenizer,
                titled(captions),
                protocol=rule,
                budget=budget,
                name=model,
                watch=watch,
            )
    if protocol not in (None, "iou", "strict", "released"):
        raise ValueError(
            f"a {system} finds one box, which is scored by the protocol iou, strict or released, "
            f"not {protocol}"
        )
    samples = open_dataset(root, dataset, split).limited(limit)
    return partial(
        one_box.evaluate,
        loaded.model,
        loaded.tokenizer,
        samples,
        strict=protocol == "strict",
        clip="released" if protocol == "released" else "image",
        budget=budget,
        watch=partial(watch, total=len(samples), doing=f"evaluating {split}"),
    )


def _detector(loaded: Detector, source: Source, protocol: str | None) -> Measure:
    root, dataset, split, limit = source
    if not has_objects(root, dataset, split):
        fitting = f"{', '.join(OBJECTS[:-1])} and {OBJECTS[-1]}"
        raise ValueError(
            f"this model ({loaded.model.config.system}) detects and reads no words: it is measured on "
            f"datasets of objects, {fitting}; {dataset} is for a model that grounds"
        )
    _chosen(protocol, (), dataset)
    opened = objects.open_objects(root, dataset, split).limited(limit)
    labels = objects.shared(opened.content.categories, loaded.model.config.categories)
    return partial(objects.average_precision, opened, partial(loaded.detect, threshold=0.0), labels)


def _named(loaded: Grounder, source: Source, protocol: str | None) -> Measure:
    """Objects by the names of their categories: of each name all boxes, by the likeliest token of it."""
    (root, dataset, split, limit), (net, tokenizer) = source, loaded.finder()
    _chosen(protocol, (), dataset)
    opened = objects.open_objects(root, dataset, split).limited(limit)
    labels = objects.spoken(opened.content.categories)
    ask = partial(
        detect_names,
        net,
        tokenizer,
        names=list(labels),
        score="token",
        threshold=0.0,
        max_pixels=loaded.max_pixels,
    )
    return partial(objects.average_precision, opened, ask, labels)


def _told(loaded: Grounder, source: Source, protocol: str | None) -> Measure:
    """What an MDETR says of texts; what cannot be asked or measured is left out with a DataWarning."""
    (root, dataset, split, limit), (net, tokenizer) = source, loaded.finder()
    captions = open_captions(root, dataset, split).limited(limit)
    rejects, task = Rejects("captions"), task_of(captions)
    named = ((f"caption {caption.id}", caption) for caption in captions.captions)
    sizes = Sizes() if task == "masks" else None
    kept = tuple(rejects.usable(named, partial(readable, tokenizer, sizes=sizes)))
    rejects.report(f"{captions.name} {captions.split}", len(kept))
    captions = replace(captions, captions=kept, left_out=captions.left_out + rejects.count)
    return measure_of(net, tokenizer, titled(captions), task, protocol, max_pixels=loaded.max_pixels)


def readable(tokenizer: ByteTokenizer, caption: Caption, sizes: Sizes | None = None) -> Caption:
    """The caption; DataError for one that is too long for the model or, with sizes, has another's masks."""
    if sizes is not None:
        check_masks(caption, sizes)
    try:
        tokenizer.offsets(caption.text)
    except ValueError as error:
        raise DataError(str(error)) from error
    return caption


def titled(captions: CaptionSet) -> CaptionSet:
    """The same as results call it: a file of one's own by its split, as `open_dataset` does.

    That is no name to tell a task by: a file may be called gqa, whatever it holds.
    """
    return replace(captions, name=captions.split) if captions.name == "jsonl" else captions


def measure_of(
    net: ObjectFinder,
    tokenizer: ByteTokenizer,
    captions: CaptionSet,
    task: Task,
    protocol: str | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
) -> Measure:
    """What measures an MDETR on a task of captions; ValueError for a protocol that the task does not have."""
    if task == "expressions":
        rule = _chosen(protocol, EXPRESSIONS, "expressions")
        clip: Clip = "released" if rule == "released" else "image"
        return partial(
            expressions.precision,
            captions.samples(),
            partial(rank_boxes, net, tokenizer, max_pixels=max_pixels, clip=clip),
            overlap="giou" if rule in ("giou", "released") else "iou",
            strict=rule == "strict",
            larger_first=rule == "released",
        )
    if task == "phrases":
        fits = PHRASES[1:] if captions.name.endswith(MERGED) else PHRASES
        rule = _chosen(protocol, fits, f"phrases of {captions.name}")
        return partial(phrases.recall, captions, _phrases(net, tokenizer, max_pixels), protocol=rule)
    if task == "questions":
        _chosen(protocol, (), f"questions of {captions.name}")
        return partial(
            questions.accuracy, captions, partial(answer_all, net, tokenizer, max_pixels=max_pixels)
        )
    if (compared := _chosen(protocol, MASKS, f"masks of {captions.name}")) != "masks":
        ask = partial(rank_boxes, net, tokenizer, threshold=net.config.threshold, max_pixels=max_pixels)
        return partial(phrase_masks.box_overlap, captions, ask, drawn=compared == "drawn")
    return partial(
        phrase_masks.overlap, captions, partial(segment_all, net, tokenizer, max_pixels=max_pixels)
    )


def _phrases(net: ObjectFinder, tokenizer: ByteTokenizer, pixels: int) -> phrases.Ask:
    """Every box of each span, by the likeliest token of it, as MDETR's Recall@k ranks them."""

    def ask(
        image: Path, captions: Sequence[str], spans: Sequence[Sequence[Span]]
    ) -> Sequence[CaptionGrounding]:
        return ground_captions(
            net, tokenizer, image, captions, spans=spans, score="token", threshold=0.0, max_pixels=pixels
        )

    return ask


def _chosen(protocol: str | None, fits: Sequence[str], what: str) -> str:
    """The protocol that was chosen, or the first that fits; "" where there is no choice."""
    if protocol is None:
        return fits[0] if fits else ""
    if protocol not in fits:
        known = f"{' and '.join(fits)} fit" if fits else "there is only one"
        raise ValueError(f"no protocol {protocol} for {what}: {known}")
    return protocol
