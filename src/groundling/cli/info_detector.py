"""What `groundling info` says of a model that detects objects."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundling.cli import console
from groundling.cli.info_macs import of_detector, sides
from groundling.cli.origins import can, licence_of, training_rows

if TYPE_CHECKING:
    from groundling.models.detecting import CategoryDetector


def is_one(name: str, download: bool) -> bool:
    """Whether a preset, folder or hub id is of a model that detects."""
    from groundling import checkpoint
    from groundling.models import DETR, PRESETS
    from groundling.models.abilities import Ability

    if name in DETR and not Path(name).exists():
        return True
    if not (Path(name).is_dir() or name in checkpoint.packaged() or (download and name not in PRESETS)):
        return False
    return checkpoint.can(name, Ability.DETECTS, download=download)


def show(name: str, json: bool, download: bool) -> None:
    """Print it as a table or as one JSON line."""
    from groundling.models.coco_names import NOBODY

    model, training, sha256 = _read(name, download)
    values = described(name, model)
    values |= {"weights": sha256 is not None, "sha256": sha256, "training": training}
    values["licence"] = licence_of(training or {}) if sha256 else "none: a preset has no weights"
    if json:
        console.print_json(values)
        return
    config, names = model.config, set(model.config.categories) - {NOBODY}
    rows = [
        ("model", name + ("" if sha256 else ", a preset without weights")),
        ("system", config.system),
        ("it can", can(config)),
        ("parameters", f"{values['parameters']:,}"),
        ("image", str(config.framing)),
        ("finds", f"up to {config.queries} objects of {len(names)} categories"),
        ("licence", str(values["licence"])),
        ("weights", f"SHA-256 {sha256[:16]}…" if sha256 else "none"),
        *training_rows(training or {}),
    ]
    console.print_table(("", ""), [(key, str(value)) for key, value in rows], right=False)
    height, width = sides(model)
    console.print_table(
        (f"MACs for {width} × {height} pixels", "", "share"), console.shares_of(of_detector(model))
    )


def described(name: str, model: "CategoryDetector") -> dict[str, object]:
    """Sizes and cost; MACs are of a photo of 4:3."""
    units: dict[str, int] = {}
    for unit in model.units():
        units[unit.kind] = units.get(unit.kind, 0) + unit.size
    (height, width), full = sides(model), of_detector(model)
    return {
        "model": name,
        "system": model.config.system,
        "abilities": sorted(model.config.abilities),
        "parameters": sum(p.numel() for p in model.parameters()),
        "short_side": model.config.short_side,
        "long_side": model.config.long_side,
        "queries": model.config.queries,
        "categories": list(model.config.categories),
        "units": units,
        "image": [width, height],
        "full_macs": full.full,
        "macs": dict(full.parts),
    }


def _read(name: str, download: bool) -> "tuple[CategoryDetector, dict[str, Any] | None, str | None]":
    """The model, and what its checkpoint says of its making and the hash of its weights, if it is one."""
    import torch

    from groundling import checkpoint
    from groundling.models import DETR, build

    if name in DETR and not Path(name).exists():
        with torch.device("meta"):
            return build(DETR[name]), None, None
    loaded = checkpoint.load_detector(name, download=download)
    return loaded.model, dict(loaded.info.training), loaded.info.sha256
