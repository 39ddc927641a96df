"""What a run is measured on while it trains: some items of the splits beside its own.

    score = of_captions(run.config, 500)       # None where there is no such split
    score(model, tokenizer)                    # {"recall@1": 0.71, "answer_accuracy": 0.64}

A split goes with that of the training by its name: val with train, val_balanced with train_balanced, val2017
with train2017. Nobody asked for it: what cannot be read, or not be measured, is an UnmeasuredWarning, and the
run trains all the same. Numbers are shares in [0, 1], but for a count of layers.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

from torch import nn

from groundling import callers
from groundling.ask.detector import Detector
from groundling.data import coco, has_objects, mixture, open_captions, open_dataset
from groundling.data.caption import CaptionSet
from groundling.data.image_folder import Sizes
from groundling.data.rejects import Rejects
from groundling.data.sample import Dataset, spread
from groundling.evaluate import objects, one_box
from groundling.evaluate.jobs import Task, measure_of, readable, task_of, titled
from groundling.models import Config, parse_config
from groundling.models.abilities import Ability
from groundling.models.detecting import CategoryDetector
from groundling.models.finder import ObjectFinder
from groundling.models.supernet import Supernet
from groundling.protocols.detections import require_evaluator
from groundling.protocols.flickr import FlickrRecall
from groundling.protocols.gqa import GqaAccuracy
from groundling.protocols.phrasecut import PhraseCut
from groundling.protocols.refexp import RefExpPrecision
from groundling.training.holding import Data, UnmeasuredWarning, beside, parted
from groundling.training.train import DataConfig, Evaluate, TrainConfig
from groundling.words.byte_pairs import ByteTokenizer
from groundling.words.wordpiece import Tokenizer

T = TypeVar("T")

NAMES: Mapping[Task, str] = {
    "expressions": "prec@1",
    "phrases": "recall@1",
    "questions": "answer_accuracy",
    "masks": "mask_mean_iou",
}


class _Part(NamedTuple):
    """A dataset that is measured, by which protocol, and what its number is called."""

    captions: CaptionSet
    task: Task
    name: str
    protocol: str | None = None


def of_expressions(config: TrainConfig, limit: int) -> Evaluate | None:
    """What measures a model that finds one box: accuracy and cost on at most `limit` expressions."""
    data, read = config.data, partial(open_dataset, config.data.path, config.data.dataset)
    found: Data | None = beside(data.path, data.split, read)
    if found is None and data.held_out and data.path.exists():
        found = parted(read(data.split), data, config.seed, partial(read, need_images=False))[1]
    if found is None:
        return None
    assert isinstance(found, Dataset)
    expressions = found.limited(limit)

    def score(net: nn.Module, tokenizer: Tokenizer | None) -> Mapping[str, float]:
        assert isinstance(net, Supernet)
        assert tokenizer is not None
        metrics = one_box.evaluate(net, tokenizer, expressions)
        return {
            "prec@0.5": metrics.prec_at_05,
            "mean_iou": metrics.mean_iou,
            "macs_share": metrics.macs_share,
            "layers_on": metrics.layers_on,
        }

    return score


def of_captions(config: TrainConfig, limit: int) -> Evaluate | None:
    """What measures a model that finds objects of a text: a number for each dataset of a mixture.

    At most `limit` captions of each are asked.

    Where the model has no masks it is PhraseCut's IoU of boxes, and where it answers nothing the boxes of
    questions count. Of datasets that give the same number each has its name before it, and its split where
    the dataset is measured twice. Captions that are too long for the model are left out, as in training, and
    what the others ask for is what is measured.
    """
    model, sets = parse_config(config.model), _beside(config, limit)
    if not any(_part(captions, model) for captions in sets):
        return None

    def score(net: nn.Module, tokenizer: Tokenizer | None) -> Mapping[str, float]:
        assert isinstance(net, ObjectFinder)
        assert isinstance(tokenizer, ByteTokenizer)
        parts = [part for captions in sets if (part := _part(_readable(captions, tokenizer), model))]
        names = Counter(part.name for part in parts)
        datasets = Counter(part.captions.name for part in parts)
        numbers = dict[str, float]()
        for captions, task, name, protocol in parts:
            found = measure_of(net, tokenizer, captions, task, protocol)()
            title = captions.name if datasets[captions.name] == 1 else f"{captions.name} {captions.split}"
            numbers[name if names[name] == 1 else f"{title}/{name}"] = _number(found.result)
            if net.selector is not None:
                numbers[f"{title}/macs_share"] = found.macs_share
        return numbers

    return score


def of_phrases(config: TrainConfig, limit: int) -> Evaluate | None:
    """What measures a model that finds one box of a phrase: Recall@1 of each dataset of a mixture.

    At most `limit` captions of each are asked; with an adaptive model, also what share of MACs ran.
    """
    sets = [each for each in _beside(config, limit) if any(p.boxes for c in each.captions for p in c.phrases)]
    if not sets:
        return None

    def score(net: nn.Module, tokenizer: Tokenizer | None) -> Mapping[str, float]:
        assert isinstance(net, Supernet)
        assert tokenizer is not None
        numbers = dict[str, float]()
        for captions in sets:
            found, before = one_box.recall(net, tokenizer, captions), f"{titled(captions).name}/"
            before = before if len(sets) > 1 else ""
            numbers[f"{before}recall@1"] = _number(found.result)
            if net.selector is not None:
                numbers[f"{before}macs_share"] = found.macs_share
        return numbers

    return score


def _beside(config: TrainConfig, limit: int) -> list[CaptionSet]:
    """Captions of the split that goes with each of the training's, or those that are held out of it."""
    data, sets = config.data, list[CaptionSet]()
    for dataset, split in dict.fromkeys(mixture(data.dataset, data.split)):
        captions = beside(data.path, split, partial(open_captions, data.path, dataset))
        sets += [] if captions is None else [captions.limited(limit)]
    if not sets and data.held_out and data.path.exists():
        read = partial(open_captions, data.path, data.dataset)
        held = parted(read(data.split), data, config.seed, partial(read, need_images=False))[1]
        assert held is None or isinstance(held, CaptionSet)
        sets = [] if held is None else [held.limited(limit)]
    return sets


def of_objects(config: TrainConfig, limit: int) -> Evaluate | None:
    """What measures a detector: AP, AP50 of at most `limit` images, where the extra `eval` is installed."""
    model: Any = parse_config(config.model)
    try:
        require_evaluator()  # before a large file is read
    except ValueError as error:
        callers.warn(f"this run is not measured: {error}", UnmeasuredWarning)
        return None
    found = beside(config.data.path, config.data.split, partial(_objects, config.data, limit))
    labels = objects.shared(found.content.categories, model.categories) if found else {}
    if found is None or not labels:
        return None

    def score(net: nn.Module, tokenizer: Tokenizer | None) -> Mapping[str, float]:
        assert isinstance(net, CategoryDetector)
        ask = partial(Detector(net, device=f"{next(net.parameters()).device}").detect, threshold=0.0)
        numbers = objects.average_precision(found, ask, labels).as_dict()
        return {name: value for name in ("AP", "AP50") if isinstance(value := numbers[name], float)}

    return score


def _part(captions: CaptionSet, model: Config) -> _Part | None:
    """What of these captions this model is measured on; None where nothing is known of them."""
    task = task_of(captions)
    if task == "questions" and Ability.ANSWERS not in model.abilities:
        task = "phrases"
    phrases = [phrase for caption in captions.captions for phrase in caption.phrases]
    known: Mapping[Task, bool] = {
        "expressions": bool(phrases),
        "phrases": any(phrase.boxes for phrase in phrases),
        "questions": any(caption.answer for caption in captions.captions),
        "masks": any(phrase.masks for phrase in phrases),
    }
    if not known[task]:
        return None
    if task == "masks" and Ability.SEGMENTS not in model.abilities:
        return _Part(titled(captions), task, "box_mean_iou", "boxes")
    return _Part(titled(captions), task, NAMES[task])


def _readable(captions: CaptionSet, tokenizer: ByteTokenizer) -> CaptionSet:
    named = (("", caption) for caption in captions.captions)
    kept = Rejects().usable(named, partial(readable, tokenizer))  # training has said which are too long
    return replace(captions, captions=tuple(kept))


def _number(result: object) -> float:
    """The one number of a result that says most."""
    match result:
        case RefExpPrecision(prec_at_1=share) | GqaAccuracy(accuracy=share):
            return share
        case FlickrRecall(all=every):
            return every.recall_at_1
        case PhraseCut(all=every):
            return every.mean_iou
    raise AssertionError(f"no number of {type(result).__name__}")


def _objects(data: DataConfig, limit: int, split: str) -> objects.ObjectSet | None:
    """All objects of some images of a split; None for a dataset that does not say them."""
    if has_objects(data.path, data.dataset, split):
        return objects.open_objects(data.path, data.dataset, split).limited(limit)
    things = open_dataset(data.path, data.dataset, split).things
    names = sorted({thing.category for several in things.values() for thing in several})
    numbers, sizes = {name: number for number, name in enumerate(names)}, Sizes()
    pictures = tuple(
        coco.Picture(
            place,
            image,
            sizes.of(image),
            tuple(
                coco.Instance(number, numbers[thing.category], thing.box)
                for number, thing in enumerate(several)
            ),
        )
        for place, (image, several) in enumerate(spread(tuple(things.items()), limit, "images"))
    )
    content = coco.Instances({number: name for name, number in numbers.items()}, pictures)
    return objects.ObjectSet(data.dataset, split, content) if names else None
