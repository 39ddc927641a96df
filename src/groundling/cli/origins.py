"""What `groundling info` says of where weights come from."""

from collections.abc import Mapping
from typing import Any

UNSTATED = "not stated in the checkpoint"
STREET = "street scenes, drawn by `groundling data street`"
LEARNT_FROM = {"lads_street": STREET, "mdetr_street": STREET}


def training_rows(name: str, training: Mapping[str, Any]) -> list[tuple[str, object]]:
    """What a checkpoint says about its making, as far as it does."""
    data = (training.get("config") or {}).get("data") or {}
    rows: list[tuple[str, object]] = []
    if origin := training.get("imported"):
        rows.append(("imported from", f"{origin['file']}, SHA-256 {origin['sha256'][:16]}…"))
    if learnt_from := LEARNT_FROM.get(name) or training.get("about"):
        rows.append(("learnt from", learnt_from))
    if data:
        rows.append(("dataset", f"{data.get('dataset')}, split {data.get('split')}"))
    if "run" in training:
        rows.append(("trained", f"run {training['run']}, {training.get('step', 0):,} steps"))
    rows += [(name, value) for name, value in (training.get("scores") or {}).items()]
    return rows
