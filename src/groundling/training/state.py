"""What of a run outlives its process: saving it, finding where to continue, restoring, publishing."""

from dataclasses import asdict
from pathlib import Path

import torch

from groundling import checkpoint
from groundling.checkpoint import CheckpointError, TrainerState
from groundling.training.config import Run, TrainConfig
from groundling.training.distributed import Group
from groundling.training.optimisation import optimizer_tensors, restore_optimizer
from groundling.training.trainer import Best, Trainer

# What may change when a run is resumed: nothing that the steps already made depend on.
FREE = {"workers", "device", "keep_last", "tensorboard", "checkpoint_every", "log_every", "evaluate_every"}
FREE_DATA = {"path", "cache_gib", "repeat"}  # a run that needs `repeat` could not have begun without it
BEST = "best"  # the folder of the best weights of a run that may end before its last step
LENGTH = {"steps", "epochs"}  # free unless every learning rate follows from the length, as the cosine's do


def check_folder(out: Path) -> None:
    """ValueError where something that is no folder lies at `out` or on the way to it."""
    for place in (out, *out.parents):
        if place.exists() and not place.is_dir():
            raise ValueError(f"{place} is a file; give a folder for the run, which need not exist yet")


def starting_point(run: Run, out: Path, resume: bool) -> Path | None:
    """The newest whole checkpoint to continue from, None to begin; never silently over an existing run."""
    check_folder(out)
    found = checkpoint.steps(out)
    if not found:
        return None
    if not resume:
        raise ValueError(
            f"{out} already holds a run up to {found[0].name}; resume it or choose another folder"
        )
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


def finished(run: Run, out: Path) -> bool:
    """Whether out/final is this run at its full length."""
    if not (out / "final").is_dir():
        return False
    length = checkpoint.read_config(out / "final")["training"]["config"]
    return bool((length["steps"], length["epochs"]) == (run.config.steps, run.config.epochs))


def check_same_place(group: Group, saved: Path | None, out: Path) -> None:
    """ValueError unless every process found the run at the same step, finished or not."""
    step = 0 if saved is None else int(saved.name.removeprefix("step-"))
    steps = group.range(step)
    ends = group.range(int((out / "final").is_dir()))
    if steps[0] != steps[1] or ends[0] != ends[1]:
        raise ValueError(
            f"processes find the run in {out} at different steps, {steps[0]} to {steps[1]}: "
            "it must be one folder on a disk that all of them share"
        )


def check_same_samples(group: Group, digest: str) -> None:
    """ValueError unless every process read the samples of this fingerprint."""
    least, most = group.range(int(digest[:15], 16))  # 60 bits, which an int64 holds
    if least != most:
        raise ValueError(
            "processes read different samples: the data must be the same on every machine of the training"
        )


def check_same_run(run: Run, state: TrainerState) -> None:
    """ValueError naming the settings that differ from those the run began with."""
    from groundling.models import parse_config

    then, now = TrainConfig.model_validate(state.values["run"]["config"]), run.config
    free = FREE if now.schedule == "cosine" else FREE | LENGTH
    names = sorted(set(TrainConfig.model_fields) - free - {"model", "data", "tokenizer"})
    changed = [name for name in names if getattr(then, name) != getattr(now, name)]
    changed += ["model"] if parse_config(then.model) != parse_config(now.model) else []
    parts = [name for name in type(now.data).model_fields if name not in FREE_DATA]
    changed += [f"data.{name}" for name in parts if getattr(then.data, name) != getattr(now.data, name)]
    if changed:
        raise ValueError(
            f"cannot resume with another {', '.join(changed)}; init= starts a new run from the weights"
        )


def save(trainer: Trainer, out: Path) -> Path:
    """Write step-<n> with all that continuing needs, and delete the oldest; the first process writes."""
    folder = out / f"step-{trainer.step:08}"
    if trainer.group.first:
        raw = trainer.model.state_dict()
        tensors = optimizer_tensors(trainer.optimizer, trainer.model)
        if trainer.average is not None:
            tensors |= {f"weights/{name}": tensor for name, tensor in raw.items()}
        values = {
            "run": _plain(trainer.run),
            "scaler": trainer.scaler.state_dict(),
            "origin": trainer.origin,
            "scores": trainer.scores,
            "best": asdict(trainer.best),
            "warmup": trainer.run.config.warmup_of(trainer.steps),
            "together": list(map(_plain, trainer.together)),
        }
        state = TrainerState(trainer.step, tensors, values)
        _write(trainer, folder, state)
        checkpoint.prune(out, trainer.run.config.keep_last)
    trainer.group.wait()
    return folder


def _plain(run: Run) -> dict[str, object]:
    return {**run._asdict(), "config": run.config.model_dump(mode="json")}


def runs_in(out: Path) -> tuple[Run, ...]:
    """The runs of the recipe that was trained into this folder, as they were set; none if none was saved."""
    for folder in sorted(out.glob("*/step-*"), key=lambda folder: folder.stat().st_mtime, reverse=True):
        try:
            told = checkpoint.load_trainer(folder).values["together"]
        except CheckpointError:
            continue
        return tuple(
            Run(each["name"], TrainConfig.model_validate(each["config"]), each["objective"]) for each in told
        )
    return ()


def keep(trainer: Trainer, out: Path) -> None:
    """Write out/best, which `publish` gives its name where nothing better comes."""
    if trainer.group.first:
        _write(trainer, out / BEST, None)


def publish(trainer: Trainer, out: Path) -> Path:
    """Write out/final: the finished model, or the best that was kept, without the trainer's state."""
    if trainer.group.first:
        if trainer.best.step not in (0, trainer.step):
            checkpoint.copied(out / BEST, out / "final")
        else:
            _write(trainer, out / "final", None)
    trainer.group.wait()
    return out / "final"


def _write(trainer: Trainer, folder: Path, state: TrainerState | None) -> None:
    average = {} if trainer.average is None else trainer.average.mean
    config = trainer.run.config.model_dump(
        mode="json", exclude={"model": True, "data": {"path", "features"}, "tokenizer": True}
    )
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
    if state is None and trainer.run.config.half:
        weights = {name: t.half() if t.is_floating_point() else t for name, t in weights.items()}
    checkpoint.save(
        folder, trainer.model, trainer.tokenizer, weights=weights, training=training, trainer=state
    )


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
    origin = state.values["origin"]
    if origin["data_sha256"] != trainer.origin["data_sha256"]:
        raise ValueError(
            f"the samples are not those that {folder} was trained on; start a new run with init= instead"
        )
    warmup = trainer.run.config.warmup_of(trainer.steps)
    if state.values["warmup"] != warmup:
        raise ValueError(
            f"cannot resume with another length: {folder} was warmed up in {state.values['warmup']} steps, "
            f"which a run of {trainer.steps} does in {warmup}; init= starts a new run from the weights"
        )
    trainer.step, trainer.origin, trainer.scores = state.step, origin, state.values["scores"]
    trainer.best = Best(**state.values["best"])
