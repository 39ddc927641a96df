"""What a model learns from, expressions, objects or captions: what reads them, and their batches."""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from groundling import checkpoint
from groundling.data import detection, features, loader, modulated, phrases
from groundling.data.caption import CaptionSet, referring
from groundling.data.loader import Plan, ThingNames, TrainingSet
from groundling.data.sample import Dataset
from groundling.models import Config
from groundling.models.supernet import Lesson
from groundling.selection import Selection
from groundling.training import holding
from groundling.training.config import TrainConfig
from groundling.training.holding import Data

if TYPE_CHECKING:
    from groundling.words.wordpiece import Tokenizer

Kind = Lesson
OBJECTIVES_OF: dict[Kind, tuple[str, ...]] = {
    "expressions": ("grounding", "detection"),
    "objects": ("detr",),
    "captions": ("mdetr",),
    "phrases": ("phrases",),
}
CAPTIONED: tuple[Kind, ...] = ("captions", "phrases")  # what is read as captions


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
    return sizes.lesson


def opened(config: TrainConfig, kind: Kind) -> Dataset | CaptionSet:
    """The data that the configuration names."""
    data = config.data
    return opener(kind)(data.path, data.dataset, data.split)


def opener(kind: Kind) -> Callable[..., Dataset | CaptionSet]:
    """What reads data of this kind: of a folder, dataset and split."""
    from groundling.data import open_dataset, open_mixture

    return open_mixture if kind in CAPTIONED else open_dataset


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
    if kind in CAPTIONED:
        return data if isinstance(data, CaptionSet) else as_captions(data)
    return data.samples() if isinstance(data, CaptionSet) else data


def as_captions(dataset: Dataset) -> CaptionSet:
    """Expressions as captions that are all phrase."""
    return CaptionSet(
        dataset.name, dataset.split, tuple(map(referring, dataset.samples)), left_out=dataset.left_out
    )


def texts(data: Dataset | CaptionSet, kind: Kind) -> list[str]:
    """All that is to be read."""
    if kind == "phrases" and isinstance(data, CaptionSet):
        return [*phrases.texts(data)]
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
    sizes: Any = model.config
    if isinstance(data, CaptionSet):
        if learns(sizes) == "phrases":
            return phrase_set(data, tokenizer, model, config)
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


def phrase_set(
    captions: CaptionSet, tokenizer: "Tokenizer | None", model: Any, config: TrainConfig
) -> phrases.PhraseTrainingSet:
    """The batches of a model that grounds phrases; what its frozen parts say is computed once."""
    data = config.data
    if data.augment not in ("none", "mirror"):
        raise ValueError(f"data.augment must be none or mirror for phrases, given '{data.augment}'")
    if data.things:
        raise ValueError("data.things must be false for phrases: the objects are those of their boxes")
    assert tokenizer is not None
    plan = Plan(
        config.seed,
        config.images_per_batch,
        config.expressions_per_image,
        mirror=data.augment == "mirror",
        repeat=data.repeat,
    )
    return phrases.PhraseTrainingSet(
        captions,
        tokenizer,
        model.config.framing,
        plan,
        absent=data.absent,
        made=data.made,
        features=None if data.features is None else kept_features(captions, model, data.features),
        words=phrases.FrozenWords(model.text) if frozen(model.text) else None,
        cache_gib=data.cache_gib,
    )


def kept_features(captions: CaptionSet, model: Any, folder: Path) -> features.Features:
    """What the backbone says of all pictures: its first level, and where all of it is frozen every level.

    ValueError where blocks before the first level are trained, or can be left out.
    """
    backbone, config = model.net.backbone, model.config
    blocks = dict(backbone.named_blocks())
    names = list(blocks)
    first = names.index(backbone.levels[0]) + 1
    begin = [backbone.conv1, *(blocks[name] for name in names[:first])]
    if not all(map(frozen, begin)) or (config.gating is not None and config.always < first):
        raise ValueError(
            f"data.features keeps what the first {first} blocks say: freeze them (lr_groups of "
            f"net.backbone.conv1 and net.backbone.blocks.0. to {first - 1}. are 0) and let them always run "
            f"(model.always is {first} or more), or leave data.features out"
        )
    digest, weights = hashlib.sha256(_bytes(backbone.conv1) + _bytes(backbone.bn1)), list[str]()
    for name, block in blocks.items():
        digest.update(_bytes(block))
        if name in backbone.levels:
            weights.append(digest.hexdigest())
    weights = weights if frozen(backbone) else weights[:1]
    folded = backbone.extract(Selection(()))
    paths = {caption.image for caption in captions.captions}
    return features.kept(folder, paths, folded.each_level, config.framing, weights, print)


def _bytes(module: nn.Module) -> bytes:
    """All numbers of a part, under their names."""
    held = sorted(module.state_dict().items())
    return b"".join(name.encode() + tensor.cpu().numpy().tobytes() for name, tensor in held)


def frozen(module: nn.Module) -> bool:
    """Whether nothing of a part is trained."""
    return not any(parameter.requires_grad for parameter in module.parameters())


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
