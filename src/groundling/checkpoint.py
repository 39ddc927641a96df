"""A checkpoint is a folder, complete or not there: config, weights, tokenizer and, while training, state.

    folder/config.json         model configuration, preset, library version, how it was trained
    folder/model.safetensors   the weights to use (their moving average where training keeps one)
    folder/tokenizer.json      of a model that reads words
    folder/trainer/            state.json and tensors.safetensors: what continuing the training needs
    folder/manifest.json       size and SHA-256 of every other file, written last

Nothing here is a pickle, so a checkpoint from a stranger is only data.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from groundling.words.text_files import read_text

if TYPE_CHECKING:
    from groundling.models.abilities import Ability
    from groundling.models.detecting import CategoryDetector
    from groundling.models.supernet import Supernet
    from groundling.words.wordpiece import Tokenizer

CONFIG, WEIGHTS, TOKENIZER, MANIFEST = "config.json", "model.safetensors", "tokenizer.json", "manifest.json"
TRAINER = "trainer"
STATE, TENSORS = f"{TRAINER}/state.json", f"{TRAINER}/tensors.safetensors"
FORMAT = 1
PACKAGED = Path(__file__).parent / "weights"


class CheckpointError(ValueError):
    """A checkpoint that cannot be used, and why, in one line."""


@dataclass(frozen=True)
class Info:
    """Where a model comes from: enough to say beside a result which weights made it."""

    path: Path
    preset: str | None
    version: str
    training: Mapping[str, Any]
    sha256: str  # of model.safetensors
    taught: tuple[str, ...] = ()  # words that the tokenizer spells and the training had all the same
    words: tuple[str, ...] = ()  # all words of the training, where its text encoder had read others before


class Loaded(NamedTuple):
    """What a checkpoint holds, ready to use: the model is on the CPU, in eval mode."""

    model: "Supernet"
    tokenizer: "Tokenizer"
    info: Info


class LoadedDetector(NamedTuple):
    """What a detector's checkpoint holds, ready to use: the model is on the CPU, in eval mode."""

    model: "CategoryDetector"
    info: Info


@dataclass(frozen=True)
class TrainerState:
    """What a training needs to continue: its step, its tensors by name, and plain JSON values."""

    step: int
    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


def save(
    folder: Path,
    model: nn.Module,
    tokenizer: "Tokenizer | None",
    *,
    weights: Mapping[str, Tensor] | None = None,
    preset: str | None = None,
    training: Mapping[str, Any] | None = None,
    trainer: TrainerState | None = None,
) -> Path:
    """Write a checkpoint folder in one step: whoever looks sees the old one, nothing, or all of the new one.

    `tokenizer` is None for a model that reads no words. `weights` replaces the model's own state dict (a
    moving average); `training` says how they were made.
    """
    config = {
        "format": FORMAT,
        "groundling": _version(),
        "preset": preset,
        "model": model_config(model),
        **({} if tokenizer is None else {"tokens": tokenizer.limit}),
        "training": dict(training or {}),
    }

    def write(temporary: Path) -> None:
        (temporary / CONFIG).write_text(json.dumps(config, indent=1) + "\n")
        save_file(_plain(model.state_dict() if weights is None else weights), temporary / WEIGHTS)
        if tokenizer is not None:
            tokenizer.save(temporary / TOKENIZER)
        if trainer is not None:
            (temporary / STATE).parent.mkdir()
            (temporary / STATE).write_text(
                json.dumps({"step": trainer.step, **trainer.values}, indent=1) + "\n"
            )
            save_file(_plain(trainer.tensors), temporary / TENSORS)

    return write_folder(folder, write)


def load(source: str | os.PathLike[str], *, download: bool = False) -> Loaded:
    """Read a checkpoint folder, or with `download` a hub id, strictly: all keys, all shapes, all finite.

    Raises FileNotFoundError where there is no such folder and CheckpointError for one that cannot be used,
    also for a model that detects and does not read words: `load_detector` reads those.
    """
    from groundling.models.abilities import Ability
    from groundling.models.supernet import Supernet

    folder = _verified(source, download)
    model = _able(folder, Ability.GROUNDS)
    assert isinstance(model, Supernet)
    tokenizer = load_tokenizer(folder)
    check_tokenizer(model, tokenizer, folder)
    load_weights(model, folder / WEIGHTS)
    return Loaded(model.eval(), tokenizer, _info(folder))


def check_tokenizer(model: "Supernet", tokenizer: "Tokenizer", source: object) -> None:
    """CheckpointError for a tokenizer, of `source`, whose ids or tokens the model has no room for."""
    room = model.config.text
    if tokenizer.limit > room.tokens or tokenizer.highest >= room.vocabulary:
        raise CheckpointError(
            f"{source}: its tokenizer gives up to {tokenizer.limit} tokens and ids up to {tokenizer.highest}"
            f"; the model reads {room.tokens} tokens and {room.vocabulary} ids"
        )


def load_detector(source: str | os.PathLike[str], *, download: bool = False) -> LoadedDetector:
    """As `load`, for a model that detects objects; CheckpointError for one that grounds expressions."""
    from groundling.models.abilities import Ability
    from groundling.models.detecting import CategoryDetector

    folder = _verified(source, download)
    model = _able(folder, Ability.DETECTS)
    assert isinstance(model, CategoryDetector)
    load_weights(model, folder / WEIGHTS)
    return LoadedDetector(model.eval(), _info(folder))


def can(source: str | os.PathLike[str], ability: "Ability", *, download: bool = False) -> bool:
    """Whether the model of a checkpoint folder can do this, as its config.json says; False if that is bad."""
    from groundling.models import parse_config

    model = read_config(locate(source, download=download)).get("model")
    try:
        return isinstance(model, dict) and ability in parse_config(model).abilities
    except ValueError:  # said by whoever loads it
        return False


def _verified(source: str | os.PathLike[str], download: bool) -> Path:
    folder = locate(source, download=download)
    verify(folder, required=False)
    return folder


def _able(folder: Path, ability: "Ability") -> "Supernet | CategoryDetector":
    """The model that a folder describes; CheckpointError for one that cannot do this."""
    from groundling.models import require

    model = _built(folder)
    try:
        require(model.config, ability)
    except ValueError as error:
        raise CheckpointError(f"{folder}: {error}") from error
    return model


def _built(folder: Path) -> "Supernet | CategoryDetector":
    """The model that a folder describes, with fresh weights."""
    from groundling.models import build

    config = read_config(folder)
    try:
        model: Supernet | CategoryDetector = build(config["model"])
    except (AttributeError, KeyError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder / CONFIG} describes a model that cannot be built: {_line(error)}"
        ) from error
    return model


def _info(folder: Path) -> Info:
    config = read_config(folder)
    return Info(
        path=folder,
        preset=config.get("preset"),
        version=str(config.get("groundling", "unknown")),
        training=config.get("training") or {},
        sha256=sha256(folder / WEIGHTS),
        taught=tuple(taught(config)),
        words=tuple(_words(config, "words")),
    )


def locate(
    source: str | os.PathLike[str],
    *,
    download: bool = False,
    files: Sequence[str] = (CONFIG, WEIGHTS, TOKENIZER, MANIFEST),
) -> Path:
    """The folder behind a packaged name, a path or, only when asked to download, a hub id (these files)."""
    if str(source) in packaged():
        return PACKAGED / str(source)
    folder = Path(source)
    if folder.is_dir():
        return folder
    if not download:
        raise FileNotFoundError(
            f"no model '{source}'; give a packaged model ({', '.join(packaged()) or 'there is none'}) or a "
            "checkpoint folder; a hub id is fetched only when asked to download"
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(source), allow_patterns=list(files)))
    except Exception as error:  # the hub raises HTTP, validation and offline errors without a common class
        raise CheckpointError(f"could not download '{source}' from the hub: {_line(error)}") from error


def packaged() -> tuple[str, ...]:
    """Names of the models that come with the package."""
    return tuple(sorted(folder.name for folder in PACKAGED.glob("*") if (folder / CONFIG).is_file()))


def load_weights(
    model: nn.Module, file: Path, *, fresh: Iterable[str] = (), discard: Iterable[str] = ()
) -> None:
    """Copy a weight file into a model: every key on both sides, equal shapes, finite numbers.

    Only names under the prefixes `fresh` may miss from the file, only those under `discard` from the model;
    what is under both stays as it is in the model, whatever the file has there.
    """
    fit(model, read_tensors(file), file, fresh=fresh, discard=discard)


def _like(tensor: Tensor, own: Tensor | None) -> Tensor:
    flat = own is not None and own.dim() == 2 and tensor.dim() == 4 and tensor.shape[2:] == (1, 1)
    return tensor.flatten(1) if flat else tensor


def fit(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    file: Path,
    *,
    fresh: Iterable[str] = (),
    discard: Iterable[str] = (),
) -> None:
    """Copy tensors that come from `file` into a model, or change nothing and say what differs.

    A 1×1 convolution can stand for a linear map: DETR projects by the one, systems that read words by the
    other.
    """
    own = model.state_dict()
    tensors = {name: _like(tensor, own.get(name)) for name, tensor in tensors.items()}
    missing = [name for name in own if name not in tensors and not name.startswith(tuple(fresh))]
    extra = [name for name in tensors if name not in own and not name.startswith(tuple(discard))]
    if missing or extra:
        raise CheckpointError(
            f"{file} holds the weights of another model: missing {_few(missing)}; not in the model "
            f"{_few(extra)}"
        )
    anew = [name for name in own if name.startswith(tuple(fresh)) and name.startswith(tuple(discard))]
    shared = {name: tensor for name, tensor in tensors.items() if name in own and name not in anew}
    shapes = [
        f"{name} {tuple(tensor.shape)} where the model has {tuple(own[name].shape)}"
        for name, tensor in shared.items()
        if tensor.shape != own[name].shape
    ]
    shapes += [
        f"{name} of {tensor.dtype} where the model has {own[name].dtype}"
        for name, tensor in shared.items()
        if tensor.is_complex() or tensor.is_floating_point() != own[name].is_floating_point()
    ]
    if shapes:
        raise CheckpointError(f"{file} holds the weights of another model: {_few(shapes)}")
    shared = {name: tensor.to(own[name].dtype) for name, tensor in shared.items()}
    broken = [name for name, t in shared.items() if t.is_floating_point() and not bool(t.isfinite().all())]
    if broken:
        raise CheckpointError(f"{file} holds weights that are not finite: {_few(broken)}")
    model.load_state_dict({**own, **shared}, strict=True)


def load_tokenizer(folder: Path) -> "Tokenizer":
    """The tokenizer of a checkpoint folder, with the token limit it was trained with."""
    from groundling.words.reading import read_tokenizer

    limit = read_config(folder).get("tokens")
    if not isinstance(limit, int):
        raise CheckpointError(
            f"{folder / CONFIG}: 'tokens' is {limit!r}; it must be the number of tokens that the model reads"
        )
    try:
        return read_tokenizer(folder / TOKENIZER, limit)
    except (ValueError, OSError) as error:
        raise CheckpointError(
            f"{folder / TOKENIZER} is not a tokenizer that can be read: {_line(error)}"
        ) from error


def read_config(folder: Path) -> dict[str, Any]:
    """A checkpoint's config.json, of the format this version reads."""
    config = read_json(folder / CONFIG)
    if config.get("format") != FORMAT:
        raise CheckpointError(
            f"{folder / CONFIG} has the format {config.get('format')!r}; this version reads {FORMAT}"
        )
    if not isinstance(config.get("training") or {}, dict):
        raise CheckpointError(f"{folder / CONFIG}: 'training' must be an object")
    return config


def taught(config: Mapping[str, Any]) -> list[str]:
    """Words that the tokenizer of a config.json can only spell, and that its training had all the same."""
    return _words(config, "spelled")


def _words(config: Mapping[str, Any], name: str) -> list[str]:
    words = (config.get("training") or {}).get(name)
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []


def load_trainer(folder: Path) -> TrainerState:
    """The training state of a checkpoint folder; its manifest must be there and true."""
    verify(folder, required=True)
    if not (folder / STATE).exists():
        raise CheckpointError(f"{folder} has no trainer/ state: start from its weights with init= instead")
    values = read_json(folder / STATE)
    return TrainerState(int(values.pop("step")), read_tensors(folder / TENSORS), values)


def read_tensors(file: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, or one line saying what is wrong with it."""
    if not file.is_file():
        raise CheckpointError(f"{file} is missing")
    try:
        return load_file(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{file} is not a whole safetensors file: {_line(error)}") from error


# ---------------------------------------------------------------------------------------------- folders


def write_folder(folder: Path, write: Callable[[Path], None]) -> Path:
    """Let `write` fill a temporary neighbour, add the manifest, sync it to disk, and give it its name."""
    folder = Path(folder)
    check_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.parent / f".{folder.name}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        write(temporary)
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        manifest = {
            path.relative_to(temporary).as_posix(): {"size": path.stat().st_size, "sha256": sha256(path)}
            for path in files
        }
        for path in files:
            _sync(path)
        (temporary / MANIFEST).write_text(json.dumps({"files": manifest}, indent=1) + "\n")
        for path in (temporary / MANIFEST, *(p for p in temporary.rglob("*") if p.is_dir()), temporary):
            _sync(path)
        _put_in_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def copied(source: Path, folder: Path) -> Path:
    """Another checkpoint folder with the same model, without a training's state."""

    def write(temporary: Path) -> None:
        for name in (CONFIG, WEIGHTS, TOKENIZER):
            if (source / name).exists():
                shutil.copyfile(source / name, temporary / name)

    return write_folder(folder, write)


def check_replaceable(folder: Path) -> None:
    """CheckpointError where something other than a checkpoint would be lost."""
    if not folder.exists():
        return
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set[str]()
    if folder.is_dir() and (not there or _is_ours(folder)):
        if others := sorted(there - {CONFIG, WEIGHTS, TOKENIZER, MANIFEST, TRAINER}):
            raise CheckpointError(f"{folder} holds {_few(others)}, which would be lost: it is not replaced")
        return
    raise CheckpointError(
        f"{folder} exists and is not a checkpoint, so it is not replaced; choose another folder"
    )


def _is_ours(folder: Path) -> bool:
    try:
        return "format" in read_json(folder / CONFIG)
    except CheckpointError:
        return False


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Rename; a folder already there steps aside first, since a rename replaces only an empty one."""
    aside = folder.parent / f".{folder.name}.{os.getpid()}.old"
    if folder.exists():
        os.rename(folder, aside)
    os.rename(temporary, folder)
    _sync(folder.parent)
    shutil.rmtree(aside, ignore_errors=True)


def verify(folder: Path, *, required: bool) -> None:
    """Compare a folder with its manifest; without `required` a folder that has none passes."""
    if not (folder / MANIFEST).exists():
        if required:
            raise CheckpointError(f"{folder} has no {MANIFEST}: saving it did not finish")
        return
    try:
        entries = [
            (str(k), int(v["size"]), str(v["sha256"]))
            for k, v in read_json(folder / MANIFEST)["files"].items()
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / MANIFEST} is not a manifest: {_line(error)}") from error
    for name, size, digest in entries:
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{path} is missing, though the manifest lists it")
        if path.stat().st_size != size:
            raise CheckpointError(
                f"{path} has {path.stat().st_size} bytes, and {size} in the manifest: it may be cut short"
            )
        if sha256(path) != digest:
            raise CheckpointError(
                f"{path} is not the file that was saved: its SHA-256 differs from the manifest"
            )


def steps(folder: Path) -> list[Path]:
    """The training checkpoints (step-00001000, ...) in a folder, newest first."""
    return sorted((p for p in Path(folder).glob("step-*") if p.is_dir()), reverse=True)


def prune(folder: Path, keep: int) -> None:
    """Delete all training checkpoints but the newest `keep`, and what killed writers left behind."""
    for path in steps(folder)[keep:]:
        shutil.rmtree(path)
    for path in (*Path(folder).glob(".*.tmp"), *Path(folder).glob(".*.old")):
        shutil.rmtree(path, ignore_errors=True)


# ---------------------------------------------------------------------------------------------- small parts


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as a safetensors file wants them: on the CPU, contiguous, none sharing memory with another."""
    return {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}


def model_config(model: nn.Module) -> dict[str, Any]:
    """A model's configuration as plain JSON values."""
    config: Any = model.config
    return dict(config.model_dump(mode="json") if hasattr(config, "model_dump") else config)


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file."""
    if not file.is_file():
        raise CheckpointError(f"{file} is {'a folder' if file.is_dir() else 'missing'}")
    try:
        value = json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} is not JSON: {_line(error)}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{file} holds a JSON {type(value).__name__}, not an object")
    return value


def sha256(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _few(items: list[str]) -> str:
    return (
        ", ".join(items[:3]) + (f" and {len(items) - 3} more" if len(items) > 3 else "")
        if items
        else "nothing"
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("groundling")
    except PackageNotFoundError:
        return "unknown"
