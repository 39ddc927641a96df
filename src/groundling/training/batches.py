"""What a model learns from, expressions, objects or captions: what reads them, and their batches."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import nn

from groundling import checkpoint
from groundling.data import detection, loader, modulated
from groundling.data.caption import CaptionSet, referring
from groundling.data.loader import Plan, ThingNames, TrainingSet
from groundling.data.sample import Dataset
from groundling.models import Config
from groundling.models.abilities import Ability
from groundling.training import holding
from groundling.training.config import TrainConfig
from groundling.training.holding import Data

if TYPE_CHECKING:
    from groundling.words.wordpiece import Tokenizer

Kind = Literal["expressions", "objects", "captions"]
OBJECTIVES_OF: dict[Kind, tuple[str, ...]] = {
    "expressions": ("grounding", "detection"),
    "objects": ("detr",),
    "captions": ("mdetr",),
}


class Part(Protocol):
    """A batch, or the piece of one that is computed at once; len() counts what losses are means over."""

    @property
    def names(self) -> tuple[str, ...]:
        """What is in it, for messages."""

    def __len__(self) -> int: ...

    def to(self, device: torch.device | str) -> "Part":
        """The same on another device."""

    def pinned(self) -> "Part":
        """The same in memory that a GPU can copy from while it computes."""


class Batches(Protocol):
    """What training asks its data: a `TrainingSet`, a `DetectionSet` or a `CaptionTrainingSet`."""

    steps_per_epoch: int

    def examples(self, step: int) -> Sequence[Any]:
        """The global batch of a step."""

    def collate(self, examples: Sequence[Any]) -> Part:
        """Examples as tensors."""


def learns(sizes: Config) -> Kind:
    """What a model of this configuration learns from; of objects it reads no words."""
    able = sizes.abilities
    return "captions" if Ability.FINDS in able else "objects" if Ability.DETECTS in able else "expressions"


def opened(config: TrainConfig, kind: Kind) -> Dataset | CaptionSet:
    """The data that the configuration names."""
    data = config.data
    return opener(kind)(data.path, data.dataset, data.split)


def opener(kind: Kind) -> Callable[..., Dataset | CaptionSet]:
    """What reads data of this kind: of a folder, dataset and split."""
    from groundling.data import open_dataset, open_mixture

    return open_mixture if kind == "captions" else open_dataset


def learned(config: TrainConfig, kind: Kind, given: Data | None) -> tuple[Data, Data | None]:
    """What a run learns from, of the data given or configured, and what is held out of it."""
    place = config.data
    if place.held_out and (kind == "objects" or "," in place.dataset + place.split):
        raise ValueError(
            "data.held_out is for expressions or captions of one dataset: set it to 0, and give a split val"
        )
    data = fitting(given if given is not None else opened(config, kind), kind)
    beside = partial(opener(kind), place.path, place.dataset, need_images=False)
    return holding.parted(data, place, config.seed, beside)


def fitting(data: Dataset | CaptionSet, kind: Kind) -> Dataset | CaptionSet:
    """The same as expressions or as captions, whichever is learned from."""
    if kind == "captions":
        return data if isinstance(data, CaptionSet) else as_captions(data)
    return data.samples() if isinstance(data, CaptionSet) else data


def as_captions(dataset: Dataset) -> CaptionSet:
    """Expressions as captions that are all phrase."""
    return CaptionSet(
        dataset.name, dataset.split, tuple(map(referring, dataset.samples)), left_out=dataset.left_out
    )


def texts(data: Dataset | CaptionSet) -> list[str]:
    """All that is to be read."""
    if isinstance(data, CaptionSet):
        return [caption.text for caption in data.captions]
    return [sample.expression for sample in data.samples]


def fingerprint(data: Dataset | CaptionSet, kind: Kind) -> str:
    """SHA-256 of what the data says, wherever its files lie."""
    if isinstance(data, CaptionSet):
        return modulated.fingerprint(data)
    return detection.fingerprint(data) if kind == "objects" else loader.fingerprint(data)


def batches(
    data: Dataset | CaptionSet, tokenizer: "Tokenizer | None", model: nn.Module, config: TrainConfig
) -> Batches:
    """The batches that the configuration asks for, in the size that the model sees."""
    if isinstance(data, CaptionSet):
        return caption_set(data, tokenizer, model, config)
    if tokenizer is None:
        return detection_set(data, model, config)
    return training_set(data, tokenizer, model, config)


def training_set(
    dataset: Dataset, tokenizer: "Tokenizer", model: nn.Module, config: TrainConfig
) -> TrainingSet:
    """The batches that the configuration asks for, in the size that the model sees."""
    from groundling.data.transforms import lads_train, transvg_train

    if config.data.augment == "detr":
        raise ValueError("data.augment 'detr' shows all objects of an image; it is for the objective detr")
    sizes: Any = model.config
    views = {"lads": lads_train, "transvg": transvg_train}
    plan = Plan(
        config.seed,
        config.images_per_batch,
        config.expressions_per_image,
        mirror=config.data.augment == "mirror",
        repeat=config.data.repeat,
    )
    return TrainingSet(
        dataset,
        tokenizer,
        sizes.framing,
        plan,
        view=views[config.data.augment](sizes.image_size) if config.data.augment in views else None,
        names=ThingNames(sizes.categories, sizes.attributes) if config.data.things else None,
        cache_gib=config.data.cache_gib,
    )


def detection_set(dataset: Dataset, model: nn.Module, config: TrainConfig) -> detection.DetectionSet:
    """The batches of a model that detects."""
    sizes: Any = model.config
    data, augment = config.data, config.data.augment
    if augment not in ("none", "mirror", "detr"):
        raise ValueError(
            f"data.augment must be none, mirror or detr for a model that detects, given '{augment}'"
        )
    if config.expressions_per_image != 1:
        raise ValueError(
            f"a detector reads no words: expressions_per_image is 1, given {config.expressions_per_image}"
        )
    return detection.DetectionSet(
        dataset,
        ThingNames(sizes.categories, ()),
        detection.Views(sizes.short_side, sizes.long_side, augment),
        seed=config.seed,
        images_per_batch=config.images_per_batch,
        repeat=data.repeat,
        cache_gib=data.cache_gib,
    )


def caption_set(
    captions: CaptionSet, tokenizer: "Tokenizer | None", model: nn.Module, config: TrainConfig
) -> modulated.CaptionTrainingSet:
    """The batches of an mdetr."""
    from groundling.words.byte_pairs import ByteTokenizer

    sizes: Any = model.config
    data = config.data
    if data.augment not in ("none", "mirror"):
        raise ValueError(f"data.augment must be none or mirror for captions, given '{data.augment}'")
    if data.things:
        raise ValueError("data.things must be false for captions: the objects are those of their phrases")
    assert isinstance(tokenizer, ByteTokenizer)
    plan = Plan(
        config.seed,
        config.images_per_batch,
        config.expressions_per_image,
        mirror=data.augment == "mirror",
        repeat=data.repeat,
    )
    learned = modulated.Learned(sizes.slots + 1, sizes.masks, sizes.answers, sizes.is_final)
    return modulated.CaptionTrainingSet(
        captions, tokenizer, sizes.framing, plan, learned, cache_gib=data.cache_gib
    )


def words_for(
    model: nn.Module,
    config: TrainConfig,
    own_words: "Tokenizer | None",
    folder: Path | None,
    expressions: Sequence[str],
) -> "Tokenizer":
    """The tokenizer of a run: that of a published BERT unless another is configured."""
    if own_words is not None and config.tokenizer is None:
        return own_words
    return tokenizer_for(model, config, folder, expressions)


def tokenizer_for(
    model: nn.Module, config: TrainConfig, folder: Path | None, expressions: Sequence[str]
) -> "Tokenizer":
    """The configured tokenizer, a checkpoint's, or one that is trained on the expressions.

    Each process trains its own: the same expressions give the same vocabulary.
    """
    from groundling.words.reading import tokenizer_for as kind_for

    sizes: Any = model.config
    limit, room = sizes.text.tokens, sizes.text.vocabulary
    if config.tokenizer is not None:
        tokenizer = kind_for(sizes.text).load(config.tokenizer, limit)
    elif folder is not None:
        tokenizer = checkpoint.load_tokenizer(folder)
    else:
        tokenizer = kind_for(sizes.text).train(expressions, room, limit)
    if len(tokenizer) > room:
        raise ValueError(
            f"the tokenizer has {len(tokenizer)} pieces, and the model room for text.vocabulary={room}"
        )
    return tokenizer
