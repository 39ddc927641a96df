"""Training: one run is one objective and one schedule; a recipe may chain runs.

What a run computes follows from its configuration and the step alone: the order of the samples, dropout and gate noise
are derived from (seed, step), so a run that was killed continues bit for bit (on the CPU) and needs to keep only its
weights, its optimiser and its step.
"""

import hashlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import Tensor, nn

from groundling import checkpoint
from groundling.checkpoint import CheckpointError, TrainerState
from groundling.data.loader import Batch, Plan, ThingNames, TrainingSet, ahead, share
from groundling.distributed import Group, joined
from groundling.dynamic.gates import Draw
from groundling.optimisation import (
    MovingAverage,
    freeze_norms,
    lr_factor,
    not_finite,
    optimizer_tensors,
    parameter_groups,
    restore_optimizer,
    set_lr,
)
from groundling.progress import Progress

if TYPE_CHECKING:
    from groundling.data.sample import Dataset
    from groundling.language import Tokenizer

Objective = Callable[[Any, Batch, Draw], dict[str, Tensor]]
Evaluate = Callable[[nn.Module, "Tokenizer"], Mapping[str, float]]
# What may change when a run is resumed: nothing that the steps already made depend on.
FREE = {"steps", "epochs", "workers", "checkpoint_every", "log_every", "evaluate_every", "keep_last", "device"}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataConfig(_Frozen):
    """Which expressions to learn from. `path` may differ between machines, the rest may not."""

    path: Path
    dataset: str
    split: str = "train"
    things: bool = False  # also give all annotated objects, for detection pre-training
    mirror: bool = True  # half of the images, with the words left and right
    cache_gib: float = 4.0  # decoded images kept in memory


class TrainConfig(_Frozen):
    """One run. Rates are AdamW's, `steps` counts optimiser steps; exactly one of `steps` and `epochs` is given."""

    model: dict[str, Any]
    data: DataConfig
    loss: dict[str, Any] = {}  # options of the objective, such as GroundingLoss
    seed: int = 0
    steps: int | None = Field(None, gt=0)
    epochs: int | None = Field(None, gt=0)
    images_per_batch: int = Field(32, gt=0)  # of all processes and micro-batches together
    expressions_per_image: int = Field(1, gt=0)
    accumulate: int = Field(1, gt=0)  # micro-batches a batch is computed in
    lr: float = 1e-4
    lr_groups: dict[str, float] = {}  # module prefix -> rate; 0 freezes
    weight_decay: float = 1e-4
    no_decay: tuple[str, ...] = ()  # module prefixes without weight decay
    decay_vectors: bool = True  # norms and biases decay too (DETR's and TransVG's habit)
    schedule: Literal["constant", "step", "cosine"] = "step"
    warmup: int = Field(0, ge=0)  # steps
    drops: tuple[int, ...] = ()  # ×0.1 at each, in the unit of the length (steps or epochs)
    lr_floor: float = 0.0  # where the cosine ends, as a share
    clip_norm: float | None = 0.15
    ema: float | None = None  # decay of the moving average that is evaluated and published
    autocast: Literal["none", "bf16", "fp16"] = "none"
    freeze_norm: bool = False
    channels_last: bool = False
    compile: bool = False
    tokenizer: Path | None = None  # else the one of the initial weights, else trained on the expressions
    fresh: tuple[str, ...] = ()  # prefixes that initial weights need not have
    discard: tuple[str, ...] = ()  # prefixes of initial weights that are not wanted
    workers: int = Field(1, ge=0)
    device: str = "auto"
    checkpoint_every: int = Field(500, gt=0)
    keep_last: int = Field(2, gt=0)
    log_every: int = Field(20, gt=0)
    evaluate_every: int | None = Field(None, gt=0)

    @field_validator("model", mode="before")
    @classmethod
    def _plain(cls, model: object) -> object:
        return model.model_dump(mode="json") if isinstance(model, BaseModel) else model

    @model_validator(mode="after")
    def _one_length(self) -> "TrainConfig":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs")
        if self.images_per_batch % self.accumulate:
            raise ValueError(f"{self.images_per_batch} images cannot be cut into {self.accumulate} micro-batches")
        return self


class Run(NamedTuple):
    """A named training: what to minimise and how long."""

    name: str
    config: TrainConfig
    objective: Literal["grounding", "detection"]


class TrainingError(RuntimeError):
    """The numbers stopped making sense."""


class Stopped(SystemExit):
    """A run that was asked to stop, with its checkpoint saved; at the top of a script it prints its message."""


@dataclass
class Trainer:
    """What changes while training, and what is needed to change it."""

    run: Run
    group: Group
    model: nn.Module
    stepper: nn.Module  # the objective over the model, in DDP where there are several processes
    tokenizer: "Tokenizer"
    data: TrainingSet
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: MovingAverage | None
    steps: int
    step: int = 0  # steps done
    origin: dict[str, Any] = field(default_factory=dict)  # the weights it began with
    scores: dict[str, float] = field(default_factory=dict)  # of the latest evaluation


def train_all(
    runs: Sequence[Run],
    out: Path,
    *,
    resume: bool = False,
    init: Path | None = None,
    evaluate: Evaluate | None = None,
) -> Path:
    """The runs of a recipe one after another in out/<name>, each from the weights of the one before."""
    for run in runs:
        init = train(run, Path(out) / run.name, resume=resume, init=init, evaluate=evaluate)
    if init is None:
        raise ValueError("no runs to train")
    return init


def train(
    run: Run,
    out: Path,
    *,
    resume: bool = False,
    init: Path | None = None,
    evaluate: Evaluate | None = None,
    dataset: "Dataset | None" = None,
    objective: Objective | None = None,
) -> Path:
    """Train and return the folder of the finished checkpoint, out/final.

    resume: continue from the newest whole checkpoint in `out`, if there is one. init: a checkpoint folder whose weights
    to start from. evaluate: measures the (averaged) model every `evaluate_every` steps and at the end.
    dataset, objective: in place of those the configuration names.
    Raises Stopped after SIGINT or SIGTERM, TrainingError for a loss or gradient that is not finite.
    """
    out, config = Path(out), run.config
    with joined(config.device) as group, asked_to_stop() as stop:
        trainer = prepare(run, out, group, resume, init, dataset, objective)
        start, steps = trainer.step, trainer.steps
        with Progress(out, run.name, start, steps, speaks=group.first) as progress:
            meter = Meter(group)
            batches = ahead(lambda step: micro_batches(trainer, step), range(start, steps), config.workers)
            for step in range(start, steps):
                waited = time.monotonic()
                parts = next(batches)
                meter.wait(time.monotonic() - waited)

                set_lr(trainer.optimizer, learning_rate_factor(trainer, step))
                torch.manual_seed(mixed(config.seed, step, group.rank))
                terms = backward(trainer, parts, step)
                terms["grad_norm"] = update(trainer, step)
                meter.add(terms, config.images_per_batch)

                trainer.step = step + 1
                progress.step(trainer.step)
                last, stopping = trainer.step == steps, group.any(stop.is_set())
                if last or stopping or trainer.step % config.log_every == 0:
                    epoch = trainer.step / trainer.data.steps_per_epoch
                    numbers = {**meter.read(), "lr": trainer.optimizer.param_groups[0]["lr"], "epoch": epoch}
                    progress.log(trainer.step, numbers)
                if evaluate and (last or (config.evaluate_every and trainer.step % config.evaluate_every == 0)):
                    trainer.scores = measured(trainer, evaluate)
                    progress.log(trainer.step, trainer.scores)
                if last or stopping or trainer.step % config.checkpoint_every == 0:
                    saved = save(trainer, out)
                if stopping and not last:
                    raise Stopped(f"stopped at step {trainer.step} of {steps}; {saved} continues with resume=True")
            return publish(trainer, out)


def prepare(
    run: Run,
    out: Path,
    group: Group,
    resume: bool,
    init: Path | None,
    dataset: "Dataset | None",
    objective: Objective | None,
) -> Trainer:
    """Everything a run needs, as it is at its start or at the checkpoint it continues from."""
    from groundling.models import build

    config = run.config
    saved = starting_point(run, out, resume)
    group.wait()  # nobody writes before everybody has looked
    torch.manual_seed(mixed(config.seed, -1, 0))
    model = build(config.model).to(group.device)
    if config.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    origin: dict[str, Any] = {}
    if init is not None:
        weights = checkpoint.locate(init) / checkpoint.WEIGHTS
        checkpoint.load_weights(model, weights, fresh=config.fresh, discard=config.discard)
        origin = {"init": Path(init).name, "init_sha256": checkpoint.sha256(weights)}
    if dataset is None:
        from groundling.data import open_dataset

        dataset = open_dataset(config.data.path, config.data.dataset, config.data.split)
    tokenizer = tokenizer_for(model, config, out, group, saved or init, [s.expression for s in dataset.samples])
    sizes: Any = model.config
    data = TrainingSet(
        dataset,
        tokenizer,
        sizes.image_size,
        Plan(config.seed, config.images_per_batch, config.expressions_per_image, config.data.mirror),
        names=ThingNames(sizes.categories, sizes.attributes) if config.data.things else None,
        cache_gib=config.data.cache_gib,
    )
    groups = parameter_groups(
        model, config.lr, config.weight_decay, config.lr_groups, config.no_decay, config.decay_vectors
    )
    if config.compile:
        model.compile()
    trainer = Trainer(
        run,
        group,
        model,
        wrapped(model, objective or objective_named(run.objective, config.loss), group),
        tokenizer,
        data,
        torch.optim.AdamW(groups, lr=config.lr, fused=True),
        torch.amp.GradScaler(group.device.type, enabled=config.autocast == "fp16" and group.device.type == "cuda"),
        MovingAverage(model, config.ema) if config.ema is not None else None,
        config.steps if config.steps is not None else (config.epochs or 0) * data.steps_per_epoch,
        origin=origin,
    )
    if saved is not None:
        restore(trainer, saved)
    model.train()
    if config.freeze_norm:
        freeze_norms(model)
    return trainer


def tokenizer_for(
    model: nn.Module,
    config: TrainConfig,
    out: Path,
    group: Group,
    folder: Path | None,
    expressions: Sequence[str],
) -> "Tokenizer":
    """The configured tokenizer, that of a checkpoint, or one trained by the first process on the expressions."""
    from groundling.language import Tokenizer

    sizes: Any = model.config
    limit, room, own = sizes.text.tokens, sizes.text.vocabulary, out / checkpoint.TOKENIZER
    if config.tokenizer is not None:
        tokenizer = Tokenizer.load(config.tokenizer, limit)
    elif folder is not None:
        tokenizer = checkpoint.load_tokenizer(folder)
    else:
        if group.first:
            out.mkdir(parents=True, exist_ok=True)
            Tokenizer.train(expressions, room, limit).save(own)
        group.wait()
        tokenizer = Tokenizer.load(own, limit)
    if len(tokenizer) > room:
        raise ValueError(f"the tokenizer has {len(tokenizer)} pieces, the model's text.vocabulary is {room}")
    return tokenizer


class Step(nn.Module):
    """The objective as one forward of one module, which is what DDP needs to see."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """The objective's named losses and metrics."""
        return self.objective(self.model, batch, draw)


def wrapped(model: nn.Module, objective: Objective, group: Group) -> nn.Module:
    """One step of the objective; over several processes, with gradients averaged by DDP."""
    step = Step(model, objective)
    if group.world == 1:
        return step
    ids = [group.device.index] if group.device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(step, device_ids=ids, find_unused_parameters=True)


def objective_named(name: str, options: Mapping[str, Any]) -> Objective:
    """What a run's `objective` and its `loss` options mean."""
    from groundling.losses.grounding import GroundingLoss, detection, grounding_losses

    if name == "detection" and not options:
        return detection
    if name == "grounding":
        return partial(grounding_losses, weights=GroundingLoss(**options))
    raise ValueError(f"no objective '{name}' with options {sorted(options)}; there are grounding and detection")


# ---------------------------------------------------------------------------------------------- one step


def micro_batches(trainer: Trainer, step: int) -> list[Batch]:
    """This process's slice of the global batch of a step, in the pieces it is computed in."""
    config, group = trainer.run.config, trainer.group
    mine = share(trainer.data.examples(step), group.rank, group.world)
    return [trainer.data.collate(share(mine, i, config.accumulate)) for i in range(config.accumulate)]


def backward(trainer: Trainer, parts: Sequence[Batch], step: int) -> dict[str, Tensor]:
    """Leave the gradients of the mean loss over the global batch; return this process's part of each mean."""
    config, group = trainer.run.config, trainer.group
    total = config.images_per_batch * config.expressions_per_image
    first = group.rank * total // group.world
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(config.autocast)
    sums: dict[str, Tensor] = {}
    for index, part in enumerate(parts):
        draw, weight = Draw(config.seed, step, first, len(part), total), len(part) / total
        hold = isinstance(trainer.stepper, nn.parallel.DistributedDataParallel) and index + 1 < len(parts)
        with trainer.stepper.no_sync() if hold else nullcontext():  # type: ignore[operator]
            with torch.autocast(group.device.type, dtype, enabled=dtype is not None):
                terms: dict[str, Tensor] = trainer.stepper(part.to(group.device), draw)
            losses = {name: term for name, term in terms.items() if not name.startswith("metric/")}
            loss = torch.stack([term.float() for term in losses.values()]).sum()
            if not bool(loss.isfinite()):
                raise TrainingError(complaint(step, losses, part))
            # DDP averages over processes; each holds only `weight` of the batch.
            trainer.scaler.scale(loss * (weight * group.world)).backward()  # type: ignore[no-untyped-call]
        for name, term in {**terms, "loss": loss}.items():
            sums[name] = sums.get(name, 0) + term.detach().float() * weight
        first += len(part)
    return sums


def update(trainer: Trainer, step: int) -> Tensor:
    """Clip, move the weights and their average; the gradient norm of the whole batch, as every process sees it."""
    config = trainer.run.config
    parameters = [p for p in trainer.model.parameters() if p.requires_grad]
    trainer.scaler.unscale_(trainer.optimizer)
    norm = nn.utils.clip_grad_norm_(parameters, config.clip_norm or float("inf"))
    if not trainer.scaler.is_enabled() and not bool(norm.isfinite()):
        broken = not_finite((name, p.grad) for name, p in trainer.model.named_parameters())
        raise TrainingError(f"step {step}: the gradient is not finite in {', '.join(broken[:5])}")
    trainer.scaler.step(trainer.optimizer)
    trainer.scaler.update()
    trainer.optimizer.zero_grad(set_to_none=True)
    if trainer.average is not None:
        trainer.average.update(step)
    return norm / trainer.group.world  # summed over processes by the meter


def complaint(step: int, losses: Mapping[str, Tensor], part: Batch) -> str:
    """What a person needs to find the cause of a loss that is not finite."""
    terms = ", ".join(f"{name} {float(term):.4g}" for name, term in losses.items())
    ids = ", ".join(part.names[:16]) + (f" and {len(part) - 16} more" if len(part) > 16 else "")
    return f"step {step}: the loss is not finite ({terms}) for samples {ids}"


def learning_rate_factor(trainer: Trainer, step: int) -> float:
    """The schedule at a step, with drops given in epochs turned into steps."""
    config = trainer.run.config
    unit = trainer.data.steps_per_epoch if config.epochs is not None else 1
    drops = [drop * unit for drop in config.drops]
    return lr_factor(step, trainer.steps, config.schedule, config.warmup, drops, config.lr_floor)


def mixed(seed: int, step: int, rank: int) -> int:
    """One well-mixed seed for the randomness of a step in a process."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}/{rank}".encode()).digest()[:7], "big")


def measured(trainer: Trainer, evaluate: Evaluate) -> dict[str, float]:
    """Scores of the model as it would be published, by the first process while the others wait."""
    scores: dict[str, float] = {}
    if trainer.group.first:
        trainer.model.eval()
        with trainer.average.applied() if trainer.average else nullcontext(), torch.no_grad():
            scores = {f"eval/{name}": float(v) for name, v in evaluate(trainer.model, trainer.tokenizer).items()}
        trainer.model.train()
        if trainer.run.config.freeze_norm:
            freeze_norms(trainer.model)
    trainer.group.wait()
    return scores


class Meter:
    """Means of what the steps since the last reading returned, and how fast they were."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self._reset()

    def _reset(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.steps, self.images, self.waited, self.since = 0, 0, 0.0, time.monotonic()

    def wait(self, seconds: float) -> None:
        """Time spent waiting for data."""
        self.waited += seconds

    def add(self, terms: Mapping[str, Tensor], images: int) -> None:
        """One step's terms: this process's parts of means over the global batch."""
        for name, term in terms.items():
            self.sums[name] = self.sums[name] + term.detach() if name in self.sums else term.detach()
        self.steps += 1
        self.images += images

    def read(self) -> dict[str, float]:
        """The means over processes and steps since the last reading."""
        means = {name: value / self.steps for name, value in self.group.sum(self.sums).items()}
        seconds = max(time.monotonic() - self.since, 1e-9)
        means |= {"images_per_s": self.images / seconds, "data_wait": self.waited / seconds}
        self._reset()
        return means


# ---------------------------------------------------------------------------------------------- saving


def starting_point(run: Run, out: Path, resume: bool) -> Path | None:
    """The newest whole checkpoint to continue from, None to begin; never silently over an existing run."""
    found = checkpoint.steps(out)
    if not found:
        return None
    if not resume:
        raise ValueError(f"{out} already holds a run up to {found[0].name}; resume it or choose another folder")
    problems = []
    for folder in found:
        try:
            state = checkpoint.load_trainer(folder)
        except CheckpointError as error:
            problems.append(str(error))
            continue
        check_same_run(run, state)
        return folder
    raise CheckpointError(f"no checkpoint in {out} can be resumed: {problems[0]}")


def check_same_run(run: Run, state: TrainerState) -> None:
    """ValueError naming the settings that differ from those the run began with."""
    then, now = dict(state.values["run"]["config"]), run.config.model_dump(mode="json")
    defaults = {name: f.default for name, f in TrainConfig.model_fields.items()}
    changed = [n for n in now if n not in FREE | {"data", "tokenizer"} and then.get(n, defaults[n]) != now[n]]
    changed += [f"data.{n}" for n in now["data"] if n not in ("path", "cache_gib") and then["data"].get(n) != now["data"][n]]
    if changed:
        raise ValueError(f"cannot resume with another {', '.join(changed)}; start a new run from the weights with init=")


def save(trainer: Trainer, out: Path) -> Path:
    """Write step-<n> with all that continuing needs, and delete the oldest; the first process writes."""
    folder = out / f"step-{trainer.step:08}"
    if trainer.group.first:
        raw = trainer.model.state_dict()
        tensors = optimizer_tensors(trainer.optimizer, trainer.model)
        if trainer.average is not None:
            tensors |= {f"weights/{name}": tensor for name, tensor in raw.items()}
        values = {
            "run": {**trainer.run._asdict(), "config": trainer.run.config.model_dump(mode="json")},
            "scaler": trainer.scaler.state_dict(),
            "origin": trainer.origin,
            "scores": trainer.scores,
        }
        state = TrainerState(trainer.step, tensors, values)
        _write(trainer, folder, state)
        checkpoint.prune(out, trainer.run.config.keep_last)
    trainer.group.wait()
    return folder


def publish(trainer: Trainer, out: Path) -> Path:
    """Write out/final: the finished model without the trainer's state."""
    if trainer.group.first:
        _write(trainer, out / "final", None)
    trainer.group.wait()
    return out / "final"


def _write(trainer: Trainer, folder: Path, state: TrainerState | None) -> None:
    average = {} if trainer.average is None else trainer.average.mean
    config = trainer.run.config.model_dump(mode="json", exclude={"model": True, "data": {"path"}, "tokenizer": True})
    training = {
        "run": trainer.run.name,
        "objective": trainer.run.objective,
        "step": trainer.step,
        "steps": trainer.steps,
        "config": config,
        "torch": torch.__version__,
        **trainer.origin,
        **({"scores": trainer.scores} if trainer.scores else {}),
    }
    weights = {**trainer.model.state_dict(), **average}
    checkpoint.save(folder, trainer.model, trainer.tokenizer, weights=weights, training=training, trainer=state)


def restore(trainer: Trainer, folder: Path) -> None:
    """Put a trainer where a checkpoint left it."""
    state = checkpoint.load_trainer(folder)
    published = checkpoint.read_tensors(folder / checkpoint.WEIGHTS)
    raw = {n.removeprefix("weights/"): t for n, t in state.tensors.items() if n.startswith("weights/")}
    trainer.model.load_state_dict(raw or published, strict=True)
    restore_optimizer(trainer.optimizer, trainer.model, state.tensors)
    if trainer.average is not None:
        for name, mean in trainer.average.mean.items():
            mean.copy_(published[name])
    trainer.scaler.load_state_dict(state.values["scaler"])
    trainer.step, trainer.origin, trainer.scores = state.step, state.values["origin"], state.values["scores"]


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; a second SIGINT interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, _frame: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
