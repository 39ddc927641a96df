"""What `groundling info` says of where weights come from."""

from collections.abc import Mapping
from typing import Any

UNSTATED = "not stated in the checkpoint"
STREET = "street scenes, drawn by `groundling data street`"
LEARNT_FROM = {"lads_street": STREET, "mdetr_street": STREET, "mdetr_adaptive": STREET}


def training_rows(name: str, training: Mapping[str, Any]) -> list[tuple[str, object]]:
    """What a checkpoint says about its making, as far as it does."""
    data, origin = _object(_object(training, "config"), "data"), _object(training, "imported")
    rows: list[tuple[str, object]] = []
    if origin:
        rows.append(("imported from", f"{origin.get('file')}, SHA-256 {str(origin.get('sha256'))[:16]}…"))
    if learnt_from := LEARNT_FROM.get(name) or training.get("about"):
        rows.append(("learnt from", learnt_from))
    if data:
        rows.append(("dataset", f"{data.get('dataset')}, split {data.get('split')}"))
    if "run" in training:
        steps = training.get("step", 0)
        rows.append(
            ("trained", f"run {training['run']}, {f'{steps:,}' if type(steps) is int else steps} steps")
        )
    rows += _object(training, "scores").items()
    return rows


def _object(said: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An object in what a checkpoint says; an empty one where it says something else."""
    value = said.get(key)
    return value if isinstance(value, Mapping) else {}
