"""Putting a run together: model, data, tokenizer, optimiser, as they are at its start or were left."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from groundling import checkpoint
from groundling.data.loader import share
from groundling.dynamic.gates import Draw
from groundling.losses import OBJECTIVES, Objective
from groundling.training import batches
from groundling.training.batches import Part
from groundling.training.config import Run, TrainConfig
from groundling.training.distributed import Group
from groundling.training.optimisation import MovingAverage, freeze_norms, mixed, parameter_groups
from groundling.training.state import check_same_samples, restore
from groundling.training.trainer import Trainer

if TYPE_CHECKING:
    from groundling.data.caption import CaptionSet
    from groundling.data.sample import Dataset
    from groundling.words.wordpiece import Tokenizer


def prepare(
    run: Run,
    group: Group,
    saved: Path | None,
    init: Path | None,
    dataset: "Dataset | CaptionSet | None",
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
    kind = batches.learns(model)
    if named and run.objective not in batches.OBJECTIVES_OF[kind]:
        raise ValueError(f"objective {run.objective} does not train a {config.model.get('system')}")
    told = batches.fitting(dataset if dataset is not None else batches.opened(config, kind), kind)
    digest, texts = batches.fingerprint(told, kind), batches.texts(told)
    check_same_samples(group, digest)
    tokenizer, spelled = None, set[str]()
    if kind != "objects":
        known = saved or (None if forgets_words(config) else init)
        tokenizer = batches.words_for(model, config, own_words, known, texts)
        spelled = {word for text in texts for word in tokenizer.spelled(text)}
    data = batches.batches(told, tokenizer, model, config)
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
        taught = () if forgets_words(config) else checkpoint.taught(checkpoint.read_config(init))
        origin = {"init": init.name, "init_sha256": checkpoint.sha256(weights), "spelled": taught}
    if config.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.compile:
        if batches.learns(model) == "captions":  # its objective calls methods of the network, not the whole
            raise ValueError("compile does nothing for a model that learns from captions; leave it out")
        for part in model.children():  # objectives call the parts, not the whole
            part.compile()
    return model, origin, tokenizer


def forgets_words(config: TrainConfig) -> bool:
    """Whether a run begins with weights whose text encoder, and so whose tokenizer, is not wanted."""
    return "text." in config.discard


def adamw(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """The optimiser with the configuration's parameter groups."""
    groups = parameter_groups(
        model, config.lr, config.weight_decay, config.lr_groups, config.no_decay, config.decay_vectors
    )
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)


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
