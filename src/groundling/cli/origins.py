"""What `groundling info` says of where weights come from, as their checkpoint tells it."""

from collections.abc import Mapping
from typing import Any

from groundling.cli import console

UNSTATED = "not stated in the checkpoint"
MEASURES = {
    "prec@0.5": "Prec@0.5",
    "mean_iou": "mean IoU",
    "macs_share": "MACs run",
    "layers_on": "layers on",
}


def can(config: Any) -> str:
    """What a model of this configuration can do: "ground an expression, answer questions"."""
    from groundling.models.abilities import TASKS

    return ", ".join(task for ability, task in TASKS.items() if ability in config.abilities)


def trained_on(training: Mapping[str, Any]) -> str:
    """What the weights were trained on, or where they were imported from, in a few words."""
    about, data = training.get("about"), _object(_object(training, "config"), "data")
    return str(about) if about else f"the dataset {_datasets(data)}" if data else UNSTATED


def licence_of(training: Mapping[str, Any]) -> str:
    """The licence of the weights."""
    return str(training.get("licence") or UNSTATED)


def training_rows(training: Mapping[str, Any]) -> list[tuple[str, object]]:
    """What a checkpoint says about its making, as far as it does."""
    data, origin = _object(_object(training, "config"), "data"), _object(training, "imported")
    rows: list[tuple[str, object]] = []
    if origin:
        rows.append(("imported from", f"{origin.get('file')}, SHA-256 {str(origin.get('sha256'))[:16]}…"))
    if about := training.get("about"):
        rows.append(("trained on", about))
    if data:
        rows.append(("read as" if about else "dataset", _datasets(data)))
    if "run" in training:
        steps = training.get("step", 0)
        many = f"{steps:,}" if type(steps) is int else steps
        rows.append(("last run", f"{training['run']}, {many} steps"))
    scores = _object(training, "scores")
    rows += [(f"measured: {_measure(name)}", _score(value)) for name, value in scores.items()]
    return rows


def _datasets(data: Mapping[str, Any]) -> str:
    """Datasets that were read together, each once with its splits: "gqa (val), refcoco (train)"."""
    names, splits = (str(data.get(key)).split(",") for key in ("dataset", "split"))
    found: dict[str, dict[str, None]] = {}
    for place, name in enumerate(names):
        found.setdefault(name, {})[splits[min(place, len(splits) - 1)]] = None
    return ", ".join(f"{name} ({', '.join(own)})" for name, own in found.items())


def _measure(name: str) -> str:
    plain = name.rpartition("/")[2]
    return MEASURES.get(plain, plain.replace("_", " "))


def _score(value: object) -> str:
    """A share as a percentage, another number with two decimals."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return console.percent(value) if isinstance(value, float) and 0 <= value <= 1 else f"{value:,.4g}"


def _object(said: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An object in what a checkpoint says; an empty one where it says something else."""
    value = said.get(key)
    return value if isinstance(value, Mapping) else {}
