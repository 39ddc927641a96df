"""Putting a run together: model, data, tokenizer, optimiser, as they are at its start or were left."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from groundling import checkpoint
from groundling.data.loader import share
from groundling.dynamic.gates import Draw
from groundling.losses import OBJECTIVES, Objective
from groundling.models import build, parse_config
from groundling.training import batches, holding, verdict
from groundling.training.batches import Batches, Kind, Part
from groundling.training.config import Run, TrainConfig
from groundling.training.distributed import Group
from groundling.training.holding import Data
from groundling.training.optimisation import MovingAverage, freeze_norms, mixed, parameter_groups
from groundling.training.state import check_same_samples, restore
from groundling.training.trainer import Trainer
from groundling.training.vocabulary import Growth, growth

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
    kind = batches.learns(parse_config(config.model))
    if named and run.objective not in batches.OBJECTIVES_OF[kind]:
        raise ValueError(f"the objective {run.objective} cannot train a {config.model.get('system')}")
    told, held = batches.learned(config, kind, dataset)
    digest, texts = batches.fingerprint(told, kind), batches.texts(told, kind)
    check_same_samples(group, digest)
    added = None if kind == "objects" else grown(config, init, texts, kind)
    model, origin, own_words = built(config, group, init, saved, added, texts)
    tokenizer, spelled, familiar = None if added is None else added.tokenizer, set[str](), set[str]()
    if kind != "objects":
        known = saved or (None if forgets_words(config) else init)
        tokenizer = tokenizer or batches.words_for(model, config, own_words, known, texts)
        spelled = {word for text in texts for word in tokenizer.spelled(text)}
        if kind == "phrases":  # its text encoder knew more words before
            familiar = {word for text in texts for word in tokenizer.words(text)}
    optimizer = adamw(model, config)  # first: what it freezes has no gradient to be averaged, and can be kept
    data = batches.batches(told, tokenizer, model, config)
    trainer = Trainer(
        run,
        group,
        model,
        wrapped(model, objective, group, data, config),
        tokenizer,
        data,
        optimizer,
        torch.amp.GradScaler(group.device.type, enabled=config.autocast == "fp16"),
        MovingAverage(model, config.ema) if config.ema is not None else None,
        config.length(data.steps_per_epoch),
        origin={
            **origin,
            "data_sha256": digest,
            "spelled": sorted({*origin.get("spelled", ()), *spelled}),
            **({"words": sorted(familiar)} if familiar else {}),
        },
    )
    if saved is not None:
        restore(trainer, saved)
    trainer.notes = tuple(notes(trainer, told, held, added, saved))
    model.train()
    if config.freeze_norm:
        freeze_norms(model)
    return trainer


def notes(
    trainer: Trainer, told: Data, held: Data | None, added: Growth | None, saved: Path | None
) -> Iterator[str]:
    """What whoever trains should know before the first step."""
    config, steps = trainer.run.config, trainer.steps
    if saved is not None:
        yield f"continues at step {trainer.step} of {steps}, from {saved}"
        return
    pictures, aside = len(holding.images(told)), 0 if held is None else len(holding.images(held))
    if held is not None:
        yield f"{aside} pictures with {len(held)} texts are held out to measure on, {pictures} learned from"
    if config.data.held_out and (few := verdict.before(pictures, aside)):
        yield few
    if added is not None and (line := added.told()):
        yield line
    if (warmup := config.warmup_of(steps)) < config.warmup:
        yield f"warms up in {warmup} of its {steps} steps, not in {config.warmup}"


def grown(config: TrainConfig, init: Path | None, texts: Sequence[str], kind: Kind) -> Growth | None:
    """What the texts add to the words of the initial weights; None where they may add nothing."""
    if init is None or forgets_words(config) or not (config.new_words or config.longest):
        return None
    longest = 0 if kind == "captions" else config.longest  # objects of a text have a slot for each token
    return growth(init, config.model, texts, config.new_words, longest)


def built(
    config: TrainConfig,
    group: Group,
    init: Path | None,
    saved: Path | None,
    added: Growth | None,
    texts: Sequence[str] = (),
) -> tuple[nn.Module, dict[str, Any], "Tokenizer | None"]:
    """The model with its first weights, where they come from, and the tokenizer of a published BERT.

    Weights of backbone and text encoder that the configuration names are read unless there is a checkpoint to
    begin with, `init`, or to continue from, `saved`, which also says to what sizes the model has grown.
    """
    from groundling.importers import initialise

    if config.autocast == "fp16" and group.device.type != "cuda":
        raise ValueError(
            f"autocast fp16 needs a GPU and this run is on {group.device.type}; bf16 or none works there"
        )
    torch.manual_seed(mixed(config.seed, -1, 0))
    sizes = config.model if added is None else added.model
    model = build(sizes if saved is None else checkpoint.read_config(saved)["model"])
    tokenizer = None
    if saved is None and init is None and (config.backbone or config.text or config.detr):
        tokenizer = initialise(
            model,
            backbone=config.backbone,
            text=config.text,
            detr=config.detr,
            download=config.download,
            texts=texts,
        )
    model = model.to(group.device)
    origin: dict[str, Any] = {}
    if init is not None:
        weights = init / checkpoint.WEIGHTS
        tensors = checkpoint.read_tensors(weights)
        tensors = tensors if added is None else added.applied(tensors)
        checkpoint.fit(model, tensors, weights, fresh=config.fresh, discard=config.discard)
        taught = () if forgets_words(config) else checkpoint.taught(checkpoint.read_config(init))
        origin = {"init": init.name, "init_sha256": checkpoint.sha256(weights), "spelled": taught}
        origin |= {} if added is None else added.origin()
    if config.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.compile:
        if (
            batches.learns(parse_config(config.model)) == "captions"
        ):  # its objective calls methods of the network, not the whole
            raise ValueError(
                "compile must be false for a model that learns from captions: it would do nothing"
            )
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


def wrapped(
    model: nn.Module, objective: Objective, group: Group, data: Batches, config: TrainConfig
) -> nn.Module:
    """One step of the objective; over several processes, with gradients averaged by DDP.

    DDP waits for the gradient of every parameter, or looks for those without one at each step, and warns
    where there are none such. So a first batch, of which nothing is kept, says which parameters this
    objective leaves alone: they are frozen. Only where processes differ in it DDP has to look.
    """
    step = Step(model, objective)
    if group.world == 1:
        return step
    part = data.collate(share(share(data.examples(0), group.rank, group.world), 0, config.accumulate))
    some, differ = group.differs(used(step, part.to(group.device), config))
    for parameter, reached in zip(model.parameters(), some.tolist(), strict=True):
        parameter.requires_grad_(parameter.requires_grad and reached)
    ids = [group.device.index] if group.device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(step, device_ids=ids, find_unused_parameters=differ)


def used(step: Step, part: Part, config: TrainConfig) -> Tensor:
    """Which parameters have a gradient after a batch, as bool; the model stays as it is."""
    model, before = step.model, {name: buffer.clone() for name, buffer in step.model.named_buffers()}
    total = config.images_per_batch * config.expressions_per_image
    terms = step(part, Draw(config.seed, 0, 0, len(part), total))
    losses = [term.float() for name, term in terms.items() if not name.startswith("metric/")]
    parameters = list(model.parameters())
    moving = [parameter for parameter in parameters if parameter.requires_grad]
    gradients = torch.autograd.grad(torch.stack(losses).sum(), moving, allow_unused=True)
    reached = {id(p) for p, gradient in zip(moving, gradients, strict=True) if gradient is not None}
    for name, buffer in model.named_buffers():
        buffer.copy_(before[name])
    return torch.tensor([id(parameter) in reached for parameter in parameters])
