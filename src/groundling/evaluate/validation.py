"""What a run of an MDETR or a DETR is measured on while it trains: some items of the splits beside its own.

    score = of_captions(run.config, 500)       # None where there is no such split
    score(model, tokenizer)                    # {"recall@1": 0.71, "answer_accuracy": 0.64}

A split goes with that of the training by its name: val with train, val_balanced with train_balanced, val2017
with train2017. Numbers are shares in [0, 1].
"""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeVar

from torch import nn

from groundling.data import DataError, coco, mixture, open_captions, open_dataset
from groundling.data.caption import Caption, CaptionSet
from groundling.data.image_folder import Sizes
from groundling.data.sample import spread
from groundling.detector import Detector
from groundling.evaluate import objects
from groundling.evaluate.jobs import Task, task_of, told
from groundling.language import Tokenizer
from groundling.models import parse_config
from groundling.models.detr import Detr, DetrConfig
from groundling.models.mdetr import Mdetr, MdetrConfig
from groundling.protocols.detections import require_evaluator
from groundling.protocols.flickr import FlickrRecall
from groundling.protocols.gqa import GqaAccuracy
from groundling.protocols.phrasecut import PhraseCut
from groundling.protocols.refexp import RefExpPrecision
from groundling.roberta import ByteTokenizer
from groundling.train import DataConfig, Evaluate, TrainConfig

T = TypeVar("T")

BESIDE = ("val", "validation")  # what stands in the place of "train" in the name of a split
NAMES: Mapping[Task, str] = {
    "expressions": "prec@1",
    "phrases": "recall@1",
    "questions": "answer_accuracy",
    "masks": "mask_mean_iou",
}


class UnmeasuredWarning(UserWarning):
    """A run that is not measured, though there is something to measure it on."""


class _Part(NamedTuple):
    """A dataset that is measured, by which protocol, and what its number is called."""

    captions: CaptionSet
    task: Task
    name: str
    protocol: str | None = None


def of_captions(config: TrainConfig, limit: int) -> Evaluate | None:
    """What measures an MDETR: a number of each dataset of a mixture, of at most `limit` captions of it.

    Where the model has no masks it is PhraseCut's IoU of boxes, and where it answers nothing the boxes of
    questions count. Of datasets that give the same number each has its name before it. Captions that are too
    long for the model are left out, as in training. DataError for a split that is there and cannot be read.
    """
    model, data = parse_config(config.model), config.data
    assert isinstance(model, MdetrConfig)
    parts = list[_Part]()
    for dataset, split in dict.fromkeys(mixture(data.dataset, data.split)):
        captions = _beside(split, partial(open_captions, data.path, dataset))
        if captions is not None and (part := _part(captions.limited(limit), model)):
            parts.append(part)
    often = Counter(part.name for part in parts)

    def score(net: nn.Module, tokenizer: Tokenizer | None) -> Mapping[str, float]:
        assert isinstance(net, Mdetr)
        assert isinstance(tokenizer, ByteTokenizer)
        numbers = dict[str, float]()
        for captions, task, name, protocol in parts:
            if readable := _readable(captions.captions, tokenizer):
                measure = told(net, tokenizer, replace(captions, captions=readable), task, protocol)
                key = name if often[name] == 1 else f"{captions.name}/{name}"
                found = measure()
                numbers[key] = _number(found.result)
                if net.selector is not None:
                    numbers[f"{captions.name}/macs_share"] = found.macs_share
        return numbers

    return score if parts else None


def of_objects(config: TrainConfig, limit: int) -> Evaluate | None:
    """What measures a DETR: AP and AP50 of at most `limit` images, where the extra `eval` is installed.

    Raises as `of_captions` does; warns where only the extra is missing.
    """
    model = parse_config(config.model)
    assert isinstance(model, DetrConfig)
    found = _beside(config.data.split, partial(_objects, config.data, limit))
    labels = objects.shared(found.content.categories, model.categories) if found else {}
    if found is None or not labels:
        return None
    try:
        require_evaluator()
    except ValueError as error:
        warnings.warn(f"this run is not measured: {error}", UnmeasuredWarning, stacklevel=3)
        return None

    def score(net: nn.Module, tokenizer: Tokenizer | None) -> Mapping[str, float]:
        assert isinstance(net, Detr)
        ask = partial(Detector(net, device=f"{next(net.parameters()).device}").detect, threshold=0.0)
        numbers = objects.average_precision(found, ask, labels).as_dict()
        return {name: value for name in ("AP", "AP50") if isinstance(value := numbers[name], float)}

    return score


def _beside(split: str, read: Callable[[str], T]) -> T | None:
    """The split that goes with one of the training; None where there is none."""
    before, train, after = split.rpartition("train")
    for name in BESIDE if train else ():
        try:
            return read(f"{before}{name}{after}")
        except DataError:
            raise
        except ValueError:  # no such split
            continue
    return None


def _part(captions: CaptionSet, model: MdetrConfig) -> _Part | None:
    """What of these captions this model is measured on; None where nothing is known of them."""
    task = task_of(captions)
    if task == "masks" and not model.masks:
        return _Part(captions, task, "box_mean_iou", "boxes")
    if task == "questions" and model.answers is None:
        task = "phrases"
    known = {
        "questions": any(caption.answer for caption in captions.captions),
        "phrases": any(phrase.boxes for caption in captions.captions for phrase in caption.phrases),
    }
    return _Part(captions, task, NAMES[task]) if known.get(task, True) else None


def _readable(captions: Sequence[Caption], tokenizer: ByteTokenizer) -> tuple[Caption, ...]:
    return tuple(each for each in captions if _fits(each.text, tokenizer))


def _fits(text: str, tokenizer: ByteTokenizer) -> bool:
    try:
        tokenizer.offsets(text)
    except ValueError:  # too long
        return False
    return True


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
    if data.dataset in coco.DATASETS:
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
