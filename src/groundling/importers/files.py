"""Weight files that come in: data only, whatever they are called and wherever they lie.

A file is safetensors, or what `torch.load` reads with `weights_only=True`.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from groundling.checkpoint import locate, read_json, read_tensors

Source = str | os.PathLike[str]

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_PICKLES = (".pth", ".pt", ".bin")


def read(
    file: Path, wrappers: Sequence[str] = ("model", "state_dict")
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a .safetensors, or of a .pth, .pt or .bin that holds nothing but data; and its `args`.

    What trainings put around the tensors (`model` as DETR, `state_dict`) is taken off, the first there is.
    `args` is the command line that DETR's trainings kept in their file; empty where there is none.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no weight file at {file}")
    if file.suffix == ".safetensors":
        return read_tensors(file), {}
    held = _read_pickle(file)
    arguments = held.get("args") if isinstance(held, Mapping) else None
    for wrapper in wrappers:
        if isinstance(held, Mapping) and isinstance(held.get(wrapper), Mapping):
            held = held[wrapper]
    if not isinstance(held, Mapping) or not all(isinstance(value, Tensor) for value in held.values()):
        raise ValueError(
            f"{file} holds no weights: no tensors by name, bare or under {' or '.join(map(repr, wrappers))}"
        )
    said = vars(arguments) if isinstance(arguments, argparse.Namespace) else arguments or {}
    if not isinstance(said, Mapping):
        raise ValueError(f"{file}: args are no command line but a {type(said).__name__}")
    tensors = {str(name): _data(str(name), tensor, file) for name, tensor in held.items()}
    return tensors, {str(name): value if _plain(value) else repr(type(value)) for name, value in said.items()}


def whole_number(arguments: Mapping[str, Any], name: str, default: int, file: Path) -> int:
    """A whole number of 1 or more that a file was trained with."""
    value = arguments.get(name, default)
    if type(value) is not int or value < 1:
        raise ValueError(f"{file}: {name} is {value!r}; it should be a whole number, 1 or more")
    return value


def _plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _data(name: str, tensor: Tensor, file: Path) -> Tensor:
    """The tensor, if the file holds its numbers: a small file can name a tensor of any size."""
    stored = tensor.layout is torch.strided and not tensor.is_meta
    if not stored or tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        raise ValueError(f"{file}: {name} is not stored number by number, as weights are")
    return tensor


def _read_pickle(file: Path) -> Any:
    if file.suffix not in _PICKLES:
        raise ValueError(f"{file} is not a weight file; give one of .safetensors, {', '.join(_PICKLES)}")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # DETR's `args`: plain values
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and EOF errors have no common class
        raise ValueError(
            f"{file} is damaged, or holds more than tensors: for safety nothing else is loaded"
        ) from error


def source_file(source: Source, download: bool) -> Path:
    """The weight file that is meant by a file, a folder or a hub id."""
    path = Path(source)
    if path.is_file() or path.suffix in (".safetensors", *_PICKLES):
        return path
    folder = locate(source, download=download, files=("config.json", *WEIGHTS))
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"no weights in {folder}; it should hold {' or '.join(WEIGHTS)}")


def config_beside(file: Path) -> dict[str, Any]:
    """What a config.json in the folder of a weight file says; nothing where there is none."""
    config = file.parent / "config.json"
    return read_json(config) if config.is_file() else {}
