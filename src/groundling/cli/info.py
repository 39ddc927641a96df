"""`groundling info`: what a model is, costs and comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundling.cli import console
from groundling.cli.origins import UNSTATED, training_rows

if TYPE_CHECKING:
    from groundling.models.supernet import Supernet

TOKENS = 8  # of a typical expression: six words, [CLS] and [SEP]


@dataclass(frozen=True)
class Described:
    """A model and where its weights come from; `training` is None for a preset without weights."""

    name: str
    model: "Supernet"
    training: Mapping[str, Any] | None
    licence: str
    sha256: str | None = None

    def as_dict(self) -> dict[str, object]:
        """What `groundling info --json` prints."""
        return {
            "model": self.name,
            "system": self.model.config.system,
            "weights": self.training is not None,
            "sha256": self.sha256,
            "licence": self.licence,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "image_size": self.model.config.image_size,
            "units": _units(self.model),
            "tokens": TOKENS,
            **_macs(self.model),
            "training": None if self.training is None else dict(self.training),
        }


def info(
    model: Annotated[
        str, typer.Argument(help="A packaged model, a checkpoint folder, a preset, or a hub id.")
    ],
    json: Annotated[bool, typer.Option("--json", help="One JSON line.")] = False,
    download: Annotated[bool, typer.Option("--download", help="The model may be a hub id.")] = False,
) -> None:
    """Say what a model is, costs and comes from."""
    from groundling.cli import info_detector

    if info_detector.is_one(model, download):
        info_detector.show(model, json, download)
        return
    described = _described(model, download)
    if json:
        console.print_json(described.as_dict())
    else:
        _print(described)


def _described(name: str, download: bool = False) -> Described:
    from groundling import checkpoint
    from groundling.models import DETR, PRESETS

    if name in checkpoint.packaged() or Path(name).exists() or (download and name not in PRESETS):
        loaded = checkpoint.load(name, download=download)
        packaged = loaded.info.path.parent == checkpoint.PACKAGED
        licence = loaded.info.training.get("licence") or ("Apache-2.0" if packaged else UNSTATED)
        return Described(name, loaded.model, loaded.info.training, licence, loaded.info.sha256)
    if name not in PRESETS:
        packaged_names = ", ".join(checkpoint.packaged()) or "none"
        raise ValueError(
            f"no model {name!r}: packaged are {packaged_names}; presets without weights are "
            f"{', '.join([*PRESETS, *DETR])}; else give a checkpoint folder, or a hub id with --download"
        )
    return Described(name, _without_weights(name), None, "none: a preset has no weights")


def _without_weights(name: str) -> "Supernet":
    """The network of a preset, with its sizes but no memory for weights."""
    import torch

    from groundling.models import PRESETS, build

    with torch.device("meta"):
        return build(PRESETS[name])


def _units(model: "Supernet") -> dict[str, int]:
    """How many layers, filters and sublayers can be left out."""
    counts: dict[str, int] = {}
    for unit in model.units():
        counts[unit.kind] = counts.get(unit.kind, 0) + unit.size
    return counts


def _macs(model: "Supernet") -> dict[str, object]:
    """MACs of everything, part by part, and the least share that a subnet can have."""
    from groundling.selection import Selection

    units = model.units()
    full = model.cost_model.cost(Selection.all_on(units) if units else None, TOKENS)
    least = model.cost_model.cost(Selection.all_off(units), TOKENS).share if units else 1.0
    return {"full_macs": full.full, "macs": dict(full.parts), "least_share": round(least, 4)}


def _print(described: Described) -> None:
    values = described.as_dict()
    macs, units = values["macs"], values["units"]
    assert isinstance(macs, dict)
    assert isinstance(units, dict)
    rows = [
        (
            "model",
            described.name + ("" if described.training is not None else ", a preset without weights"),
        ),
        ("system", values["system"]),
        ("parameters", f"{values['parameters']:,}"),
        ("image", f"{values['image_size']} pixels a side"),
        (
            "can be left out",
            ", ".join(f"{n} {_NAMES[kind]}" for kind, n in units.items()) or "nothing",
        ),
        ("licence", described.licence),
        ("weights", "none" if described.sha256 is None else f"SHA-256 {described.sha256[:16]}…"),
        *training_rows(described.name, described.training or {}),
    ]
    console.print_table(("", ""), [(name, str(value)) for name, value in rows], right=False)
    full = int(str(values["full_macs"]))
    shares = [(name, f"{n / 1e6:,.1f} M", console.percent(n / full)) for name, n in macs.items() if n]
    whole = ("all", f"{full / 1e6:,.1f} M", console.percent(1))
    least = ("least possible", "", console.percent(float(str(values["least_share"]))))
    console.print_table((f"MACs for {TOKENS} tokens", "", "share"), [*shares, whole, least])


_NAMES = {
    "layer": "residual layers",
    "filters": "filters",
    "attention": "attention sublayers",
    "ffn": "feed-forward sublayers",
}
