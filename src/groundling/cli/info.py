"""`groundling info`: the models there are; what one is, can do, costs and comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundling.cli import console
from groundling.cli.info_macs import TOKENS, least_share, of_supernet
from groundling.cli.origins import can, licence_of, training_rows

if TYPE_CHECKING:
    from groundling.models.supernet import Supernet


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
            "abilities": sorted(self.model.config.abilities),
            "weights": self.training is not None,
            "sha256": self.sha256,
            "licence": self.licence,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "image": str(self.model.config.framing),
            "units": _units(self.model),
            "tokens": TOKENS,
            "full_macs": of_supernet(self.model).full,
            "macs": dict(of_supernet(self.model).parts),
            "least_share": round(least_share(self.model), 4),
            "training": None if self.training is None else dict(self.training),
        }


def info(
    model: Annotated[
        str | None,
        typer.Argument(help="A packaged model, checkpoint folder, preset or hub id; all models without it."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, one line a model.")] = False,
    download: Annotated[bool, typer.Option("--download", help="Fetch the model from the hub.")] = False,
) -> None:
    """List the models; or say what one is, costs and comes from."""
    from groundling.cli import info_detector, info_list

    if model is None:
        info_list.show(json)
        return
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
        training = loaded.info.training
        return Described(name, loaded.model, training, licence_of(training), loaded.info.sha256)
    if name not in PRESETS:
        packaged_names = ", ".join(checkpoint.packaged()) or "none"
        raise ValueError(
            f"no model {name!r}: packaged are {packaged_names}; presets without weights are "
            f"{', '.join([*PRESETS, *DETR])}; or give a checkpoint folder, or a hub id with --download"
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


def _print(described: Described) -> None:
    model, whole = described.model, of_supernet(described.model)
    units = ", ".join(f"{n:,} {_NAMES[kind]}" for kind, n in _units(model).items())
    preset = "" if described.training is not None else ", a preset without weights"
    rows = [
        ("model", described.name + preset),
        ("system", model.config.system),
        ("it can", can(model.config)),
        ("parameters", f"{sum(p.numel() for p in model.parameters()):,}"),
        ("image", str(model.config.framing)),
        ("words can leave out", units or "nothing: this network has one size"),
        ("licence", described.licence),
        ("weights", "none" if described.sha256 is None else f"SHA-256 {described.sha256[:16]}…"),
        *training_rows(described.training or {}),
    ]
    console.print_table(("", ""), [(name, str(value)) for name, value in rows], right=False)
    table = console.shares_of(whole)
    if units:
        table.append(("the least that can run", "", console.percent(least_share(model))))
    console.print_table((f"MACs for {TOKENS} tokens", "", "share"), table)


_NAMES = {
    "layer": "residual layers",
    "filters": "filters",
    "attention": "attention sublayers",
    "ffn": "feed-forward sublayers",
}
