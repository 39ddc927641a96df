"""What `groundling info` lists without a model: those that are packaged, and what each model can do."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from groundling.cli import console, info_macs
from groundling.cli.origins import licence_of, trained_on

if TYPE_CHECKING:
    from groundling.models import Config
    from groundling.models.abilities import Ability

COLUMNS = ("packaged model", "on disk", "MACs", "licence", "trained on")


@dataclass(frozen=True)
class Listed:
    """A packaged model or a preset; `size` in bytes, None for a preset, which has no weights."""

    name: str
    config: "Config"
    macs: int
    size: int | None = None
    licence: str = ""
    trained_on: str = ""

    def as_dict(self) -> dict[str, object]:
        """What `groundling info --json` prints, a line each."""
        return {
            "model": self.name,
            "packaged": self.size is not None,
            "system": self.config.system,
            "abilities": sorted(self.config.abilities),
            "bytes": self.size,
            "full_macs": self.macs,
            "licence": self.licence or None,
            "trained_on": self.trained_on or None,
        }


def show(json: bool) -> None:
    """Print the lists as tables, or as one JSON line a model."""
    models = [*_packaged(), *_presets()]
    if json:
        for each in models:
            console.print_json(each.as_dict())
        return
    packaged = [each for each in models if each.size is not None]
    console.print_table(COLUMNS, map(_row, packaged), right=False)
    own = {ability for each in models for ability in each.config.abilities}
    abilities = [ability for ability in type(next(iter(own))) if ability in own]
    rows = [
        (
            each.name,
            "packaged" if each.size is not None else "preset",
            console.macs(each.macs),
            *("yes" if ability in each.config.abilities else "" for ability in abilities),
        )
        for each in models
    ]
    console.print_table(("model", "", "MACs", *map(_column, abilities)), rows)
    print("MACs (multiply-accumulates) are those of the full network, for eight tokens or a photo of 4:3.")
    print("A preset has sizes and no weights: `groundling train` or `groundling import` makes a model of it.")


def _row(each: Listed) -> tuple[str, ...]:
    size = f"{(each.size or 0) / 2**20:.1f} MiB"
    return each.name, size, console.macs(each.macs), each.licence, each.trained_on


def _column(ability: "Ability") -> str:
    return str(ability).replace("finds objects of a text", "finds all")


def _packaged() -> Iterator[Listed]:
    from groundling import checkpoint
    from groundling.models import parse_config

    for name in checkpoint.packaged():
        folder = checkpoint.locate(name)
        said = checkpoint.read_config(folder)
        config, training = parse_config(said["model"]), said.get("training") or {}
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        yield Listed(name, config, _macs(config), size, licence_of(training), trained_on(training))


def _presets() -> Iterator[Listed]:
    from groundling import checkpoint
    from groundling.models import DETR, PRESETS

    named: dict[str, Config] = {**PRESETS, **DETR}
    for name, config in named.items():
        if name not in checkpoint.packaged():
            yield Listed(name, config, _macs(config))


def _macs(config: "Config") -> int:
    """MACs of the full network, built without memory for its weights."""
    import torch

    from groundling.models import build
    from groundling.models.supernet import Supernet

    with torch.device("meta"):
        model = build(config)
    whole = info_macs.of_supernet(model) if isinstance(model, Supernet) else info_macs.of_detector(model)
    return whole.full
