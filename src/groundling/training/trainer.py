"""Putting a run together: model, data, tokenizer, optimiser, as they are at its start or were left."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from groundling import checkpoint
from groundling.data import detection
from groundling.data.loader import Plan, ThingNames, TrainingSet, fingerprint, share
from groundling.dynamic.gates import Draw
from groundling.losses import OBJECTIVES, Objective
from groundling.training.config import Run, TrainConfig
from groundling.training.distributed import Group
from groundling.training.optimisation import MovingAverage, freeze_norms, mixed, parameter_groups
from groundling.training.state import check_same_samples, restore

if TYPE_CHECKING:
    from groundling.data.sample import Dataset
    from groundling.language import Tokenizer


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
    """What training asks its data: `data.loader.TrainingSet` of expressions, `DetectionSet` of objects."""

    steps_per_epoch: int

    def examples(self, step: int) -> Sequence[Any]:
        """The global batch of a step."""

    def collate(self, examples: Sequence[Any]) -> Part:
        """Examples as tensors."""


@dataclass
class Trainer:
    """What changes while training, and what is needed to change it."""

    run: Run
    group: Group
    model: nn.Module
    stepper: nn.Module  # the objective over the model, in DDP where there are several processes
    tokenizer: "Tokenizer | None"  # None for a model that reads no words
    data: Batches
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: MovingAverage | None
    steps: int
    step: int = 0  # steps done
    origin: dict[str, Any] = field(default_factory=dict)  # the weights it began with
    scores: dict[str, float] = field(default_factory=dict)  # of the latest evaluation


def prepare(
    run: Run,
    group: Group,
    saved: Path | None,
    init: Path | None,
    dataset: "Dataset | None",
    objective: Objective | None,
) -> Trainer:
    """Everything a run needs, as it is at its start or in the checkpoint `saved`; nothing is written."""
    config, named = run.config, objective is None
    if objective is None:
        if run.objective not in OBJECTIVES:
            raise ValueError(f"no objective '{run.objective}'; there are {', '.join(sorted(OBJECTIVES))}")
        objective = OBJECTIVES[run.objective](config.loss)
    # Refuses now what the steps could not cut.
    share(share(range(config.images_per_batch), 0, group.world), 0, config.accumulate)
    source = init or config.init
    if config.needs_init and not source and not saved:
        raise ValueError(
            f"run '{run.name}' continues from trained weights: it needs init, a checkpoint folder"
        )
    # A run that continues has its weights: where it began may be gone by now.
    init = checkpoint.locate(source, download=config.download) if source and not saved else None
    model, origin, own_words = built(config, group, init, published=saved is None)
    if named and detects(model) != (run.objective == "detr"):
        raise ValueError(f"objective {run.objective} does not train a {config.model.get('system')}")
    if dataset is None:
        from groundling.data import open_dataset

        dataset = open_dataset(config.data.path, config.data.dataset, config.data.split)
    digest = detection.fingerprint(dataset) if detects(model) else fingerprint(dataset)
    check_same_samples(group, digest)
    tokenizer = None if detects(model) else words_for(model, config, own_words, saved or init, dataset)
    data = batches(dataset, tokenizer, model, config)
    known = tokenizer.spelled if tokenizer is not None else lambda _: ()
    spelled = {word for sample in dataset.samples for word in known(sample.expression)}
    trainer = Trainer(
        run,
        group,
        model,
        wrapped(model, objective, group),
        tokenizer,
        data,
        adamw(model, config),
        torch.amp.GradScaler(group.device.type, enabled=config.autocast == "fp16"),
        MovingAverage(model, config.ema) if config.ema is not None else None,
        config.length(data.steps_per_epoch),
        origin={
            **origin,
            "data_sha256": digest,
            "spelled": sorted({*origin.get("spelled", ()), *spelled}),
        },
    )
    if saved is not None:
        restore(trainer, saved)
    model.train()
    if config.freeze_norm:
        freeze_norms(model)
    return trainer


def built(
    config: TrainConfig, group: Group, init: Path | None, *, published: bool
) -> tuple[nn.Module, dict[str, Any], "Tokenizer | None"]:
    """The model with its first weights, where they come from, and the tokenizer of a published BERT.

    `published` lets weights of backbone and text encoder be read that the configuration names.
    """
    from groundling.importers import initialise
    from groundling.models import build

    if config.autocast == "fp16" and group.device.type != "cuda":
        raise ValueError(
            f"autocast fp16 needs a GPU and this run is on {group.device.type}; bf16 or none works there"
        )
    torch.manual_seed(mixed(config.seed, -1, 0))
    model = build(config.model)
    tokenizer = None
    if published and init is None and (config.backbone or config.text or config.detr):
        tokenizer = initialise(
            model,
            backbone=config.backbone,
            text=config.text,
            detr=config.detr,
            download=config.download,
        )
    model = model.to(group.device)
    origin: dict[str, Any] = {}
    if init is not None:
        weights = init / checkpoint.WEIGHTS
        checkpoint.load_weights(model, weights, fresh=config.fresh, discard=config.discard)
        taught = checkpoint.taught(checkpoint.read_config(init))
        origin = {"init": init.name, "init_sha256": checkpoint.sha256(weights), "spelled": taught}
    if config.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.compile:
        for part in model.children():  # objectives call the parts, not the whole
            part.compile()
    return model, origin, tokenizer


def words_for(
    model: nn.Module,
    config: TrainConfig,
    own_words: "Tokenizer | None",
    folder: Path | None,
    dataset: "Dataset",
) -> "Tokenizer":
    """The tokenizer of a run: that of a published BERT unless another is configured."""
    if own_words is not None and config.tokenizer is None:
        return own_words
    return tokenizer_for(model, config, folder, [sample.expression for sample in dataset.samples])


def batches(
    dataset: "Dataset", tokenizer: "Tokenizer | None", model: nn.Module, config: TrainConfig
) -> Batches:
    """Of expressions where there is a tokenizer to read them, else of objects."""
    if tokenizer is None:
        return detection_set(dataset, model, config)
    return training_set(dataset, tokenizer, model, config)


def training_set(
    dataset: "Dataset", tokenizer: "Tokenizer", model: nn.Module, config: TrainConfig
) -> TrainingSet:
    """The batches that the configuration asks for, in the size that the model sees."""
    from groundling.data.transforms import lads_train, transvg_train

    if config.data.augment == "detr":
        raise ValueError("augment 'detr' shows all objects of an image: it is for objective detr")
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
        sizes.image_size,
        plan,
        view=views[config.data.augment](sizes.image_size) if config.data.augment in views else None,
        names=ThingNames(sizes.categories, sizes.attributes) if config.data.things else None,
        cache_gib=config.data.cache_gib,
    )


def detects(model: nn.Module) -> bool:
    """Whether it learns from all objects of an image and reads no words."""
    from groundling.models.detr import Detr

    return isinstance(model, Detr)


def detection_set(dataset: "Dataset", model: nn.Module, config: TrainConfig) -> detection.DetectionSet:
    """The batches of a model that detects."""
    sizes: Any = model.config
    data, augment = config.data, config.data.augment
    if augment not in ("none", "mirror", "detr"):
        raise ValueError(f"augment '{augment}' draws a view per expression; none, mirror and detr detect")
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


def adamw(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """The optimiser with the configuration's parameter groups."""
    groups = parameter_groups(
        model, config.lr, config.weight_decay, config.lr_groups, config.no_decay, config.decay_vectors
    )
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)


def tokenizer_for(
    model: nn.Module, config: TrainConfig, folder: Path | None, expressions: Sequence[str]
) -> "Tokenizer":
    """The configured tokenizer, a checkpoint's, or one that is trained on the expressions.

    Each process trains its own: the same expressions give the same vocabulary.
    """
    from groundling.roberta import tokenizer_for as kind_for

    sizes: Any = model.config
    limit, room = sizes.text.tokens, sizes.text.vocabulary
    if config.tokenizer is not None:
        tokenizer = kind_for(sizes.text).load(config.tokenizer, limit)
    elif folder is not None:
        tokenizer = checkpoint.load_tokenizer(folder)
    else:
        tokenizer = kind_for(sizes.text).train(expressions, room, limit)
    if len(tokenizer) > room:
        raise ValueError(f"the tokenizer has {len(tokenizer)} pieces, the model's text.vocabulary is {room}")
    return tokenizer


class Step(nn.Module):
    """The objective as one forward of one module, which is what DDP needs to see."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, batch: Part, draw: Draw) -> dict[str, Tensor]:
        """The objective's named losses and metrics."""
        return self.objective(self.model, batch, draw)


def wrapped(model: nn.Module, objective: Objective, group: Group) -> nn.Module:
    """One step of the objective; over several processes, with gradients averaged by DDP."""
    step = Step(model, objective)
    if group.world == 1:
        return step
    ids = [group.device.index] if group.device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(step, device_ids=ids, find_unused_parameters=True)
