"""Training: one run is one objective and one schedule; a recipe may chain runs.

What a run computes follows from its configuration and the step alone: the order of the samples, dropout and
gate noise are derived from (seed, step). So a run that was killed continues bit for bit (on the CPU) from its
weights, its optimiser and its step.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from groundling.data.loader import ahead, share
from groundling.dynamic.gates import Draw
from groundling.losses import Objective
from groundling.training import verdict
from groundling.training.batches import Part
from groundling.training.config import DataConfig, Run, TrainConfig
from groundling.training.distributed import joined
from groundling.training.optimisation import freeze_norms, lr_factor, mixed, not_finite, set_lr
from groundling.training.prepare import prepare
from groundling.training.progress import Meter, Progress
from groundling.training.state import (
    check_folder,
    check_same_place,
    finished,
    keep,
    publish,
    save,
    starting_point,
)
from groundling.training.trainer import Trainer

if TYPE_CHECKING:
    from groundling.data.caption import CaptionSet
    from groundling.data.sample import Dataset
    from groundling.words.wordpiece import Tokenizer

__all__ = [
    "DataConfig",
    "Evaluate",
    "Objective",
    "Run",
    "Stopped",
    "TrainConfig",
    "TrainingError",
    "train",
    "train_all",
]

Evaluate = Callable[[nn.Module, "Tokenizer | None"], Mapping[str, float]]


class TrainingError(RuntimeError):
    """The numbers stopped making sense."""


class Stopped(SystemExit):
    """A run that was asked to stop and has saved its checkpoint; a script that lets it pass prints it."""


def train_all(
    runs: Sequence[Run],
    out: Path,
    *,
    resume: bool = False,
    init: Path | None = None,
    evaluate: Callable[[Run], Evaluate | None] | None = None,
    dataset: "Dataset | CaptionSet | None" = None,
) -> Path:
    """The runs of a recipe one after another in out/<name>, each from the weights of the one before.

    evaluate: chooses what measures a run, None where nothing does.
    """
    check_folder(Path(out))  # first of all: reading the data to measure on may take long
    if not runs:
        raise ValueError("no runs to train")
    with joined(runs[0].config.device):  # one group for all: who left it first would meet the others' old one
        for run in runs:
            score = evaluate(run) if evaluate else None
            init = train(
                run,
                Path(out) / run.name,
                resume=resume,
                init=init,
                evaluate=score,
                dataset=dataset,
                together=runs,
            )
    assert init is not None
    return init


def train(
    run: Run,
    out: Path,
    *,
    resume: bool = False,
    init: Path | None = None,
    evaluate: Evaluate | None = None,
    dataset: "Dataset | CaptionSet | None" = None,
    objective: Objective | None = None,
    together: Sequence[Run] = (),
) -> Path:
    """Train and return the folder of the finished checkpoint, out/final.

    resume: continue from the newest whole checkpoint in `out`, if there is one. init: a checkpoint folder
    whose weights to start from. evaluate: measures the (averaged) model every `evaluate_every` steps and at
    the end; its numbers go to the log and into the checkpoint, and an error of it comes after a checkpoint.
    dataset, objective: in place of those the configuration names. together: the runs of a recipe that this
    is one of, kept beside its state.
    Raises Stopped after SIGINT or SIGTERM, TrainingError for a loss or gradient that is not finite.
    """
    out, config = Path(out), run.config
    with joined(config.device) as group, asked_to_stop() as stop:
        saved = starting_point(run, out, resume)
        check_same_place(group, saved, out)  # else they would wait for each other in different places
        if finished(run, out):
            return out / "final"
        trainer = prepare(run, group, saved, init, dataset, objective)
        trainer.together = tuple(together) or (run,)
        start, steps = trainer.step, trainer.steps
        with Progress(out, run.name, start, steps, speaks=group.first, board=config.tensorboard) as progress:
            meter, learned = Meter(group), 0.0
            for note in trainer.notes:
                progress.say(f"{run.name}: {note}")
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
                if last or stopping or due(trainer.step, config.log_every):
                    epoch = trainer.step / trainer.data.steps_per_epoch
                    numbers = {**meter.read(), "lr": trainer.optimizer.param_groups[0]["lr"], "epoch": epoch}
                    learned = numbers.get(verdict.RIGHT, learned)
                    progress.log(trainer.step, numbers)
                if evaluate and (last or due(trainer.step, config.evaluate_every)):
                    trainer.scores = measured(trainer, evaluate, out)
                    progress.log(trainer.step, trainer.scores)
                    last = no_better(trainer, out) or last
                if last or stopping or due(trainer.step, config.checkpoint_every):
                    saved = save(trainer, out)
                if stopping and not last:
                    raise Stopped(
                        f"stopped at step {trainer.step} of {steps}; resume=True continues from {saved}"
                    )
                if last:
                    break
            scores = trainer.best.scores or trainer.scores
            for line in verdict.after(scores, learned, trainer.best.step, trainer.step):
                progress.say(f"{run.name}: {line}")
            return publish(trainer, out)


def no_better(trainer: Trainer, out: Path) -> bool:
    """Whether as many measurements as are borne were no better than the best, whose weights are kept."""
    patience = trainer.run.config.patience
    if patience is None:
        return False
    if trainer.scores:  # those of other processes are empty
        trainer.best = trainer.best.after(verdict.merit(trainer.scores), trainer.step, trainer.scores)
        if trainer.best.step == trainer.step:
            keep(trainer, out)
    return trainer.group.any(trainer.best.since >= patience)


def micro_batches(trainer: Trainer, step: int) -> list[Part]:
    """This process's slice of the global batch of a step, in the pieces it is computed in."""
    config, group = trainer.run.config, trainer.group
    mine = share(trainer.data.examples(step), group.rank, group.world)
    parts = [trainer.data.collate(share(mine, i, config.accumulate)) for i in range(config.accumulate)]
    return [part.pinned() for part in parts] if group.device.type == "cuda" else parts


def backward(trainer: Trainer, parts: Sequence[Part], step: int) -> dict[str, Tensor]:
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
    """Clip, move the weights and their average; return this process's part of the gradient norm."""
    config = trainer.run.config
    parameters = [p for p in trainer.model.parameters() if p.grad is not None]
    trainer.scaler.unscale_(trainer.optimizer)
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if not trainer.scaler.is_enabled() and not bool(norm.isfinite()):
        broken = not_finite((name, p.grad) for name, p in trainer.model.named_parameters())
        raise TrainingError(f"step {step}: the gradient is not finite in {', '.join(broken[:5])}")
    if config.clip_norm is not None:
        nn.utils.clip_grads_with_norm_(parameters, config.clip_norm, norm)
    trainer.scaler.step(trainer.optimizer)
    trainer.scaler.update()
    trainer.optimizer.zero_grad(set_to_none=True)
    if trainer.average is not None:
        trainer.average.update(step)
    return norm / trainer.group.world  # summed over processes by the meter


def complaint(step: int, losses: Mapping[str, Tensor], part: Part) -> str:
    """What a person needs to find the cause of a loss that is not finite."""
    terms = ", ".join(f"{name} {term.item():.4g}" for name, term in losses.items())
    ids = ", ".join(part.names[:16]) + (f" and {len(part) - 16} more" if len(part) > 16 else "")
    return f"step {step}: the loss is not finite ({terms}) for samples {ids}"


def learning_rate_factor(trainer: Trainer, step: int) -> float:
    """The schedule at a step, with drops given in epochs turned into steps."""
    config = trainer.run.config
    unit = trainer.data.steps_per_epoch if config.epochs is not None else 1
    drops = [drop * unit for drop in config.drops]
    return lr_factor(
        step, trainer.steps, config.schedule, config.warmup_of(trainer.steps), drops, config.lr_floor
    )


def due(step: int, every: int | None) -> bool:
    """Whether something done every so many steps is to be done after this one."""
    return every is not None and step % every == 0


def measured(trainer: Trainer, evaluate: Evaluate, out: Path) -> dict[str, float]:
    """Scores of the model as it would be published, by the first process while the others wait.

    An error while measuring leaves a checkpoint of the step, without scores, and goes on its way.
    """
    scores: dict[str, float] = {}
    if trainer.group.first:
        trainer.model.eval()
        try:
            with trainer.average.applied() if trainer.average else nullcontext(), torch.no_grad():
                found = evaluate(trainer.model, trainer.tokenizer)
                scores = {f"eval/{name}": float(value) for name, value in found.items()}
        except Exception:
            trainer.scores = {}
            save(trainer, out)
            raise
        trainer.model.train()
        if trainer.run.config.freeze_norm:
            freeze_norms(trainer.model)
    trainer.group.wait()
    return scores


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
