"""Checkpoints: whole or not there, the same bits back, and one clear line for each way they can be broken."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from groundling import checkpoint
from groundling.checkpoint import CheckpointError, TrainerState
from groundling.models import build
from groundling.words.wordpiece import Tokenizer

WORDS = ["red square", "the blue one on the left", "green dog"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(WORDS, 120, 12)


@pytest.fixture
def scrambled() -> nn.Module:
    model = build(tiny.MODEL)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor))
    return model


@pytest.fixture
def folder(tmp_path: Path, scrambled: nn.Module, tokenizer: Tokenizer) -> Path:
    return checkpoint.save(tmp_path / "model", scrambled, tokenizer, preset="tiny", training={"run": "x"})


def test_the_same_bits_come_back(folder: Path, scrambled: nn.Module, tokenizer: Tokenizer) -> None:
    model, words, info = checkpoint.load(folder)
    theirs = model.state_dict()
    assert theirs.keys() == scrambled.state_dict().keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in scrambled.state_dict().items())
    assert torch.equal(words.encode(WORDS).ids, tokenizer.encode(WORDS).ids)
    assert words.limit == tokenizer.limit
    assert not model.training
    assert (info.preset, info.training["run"]) == ("tiny", "x")
    assert info.sha256 == checkpoint.sha256(folder / "model.safetensors")


def test_no_file_can_hold_code(folder: Path) -> None:
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".json", ".safetensors"}


def test_tied_weights_are_saved(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    model.config = {"system": "none"}  # type: ignore[assignment]
    saved = checkpoint.read_tensors(
        checkpoint.save(tmp_path / "tied", model, tokenizer) / "model.safetensors"
    )
    assert torch.equal(saved["1.weight"], model[0].weight)


def truncated(folder: Path, share: float) -> None:
    file = folder / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])


def rewritten(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return damage


def reconfigured(change: Callable[[dict[str, dict[str, object]]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))

    return damage


WEIGHT = "net.text_proj.0.weight"
DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "weights cut to nothing": (lambda f: truncated(f, 0), "model.safetensors is not a whole"),
    "weights cut in the header": (lambda f: truncated(f, 0.01), "model.safetensors is not a whole"),
    "weights cut in the middle": (lambda f: truncated(f, 0.5), "model.safetensors is not a whole"),
    "weights cut at the end": (lambda f: truncated(f, 0.999), "model.safetensors is not a whole"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
    "weights are text": (
        lambda f: _write(f / "model.safetensors", "no tensors"),
        "is not a whole safetensors file",
    ),
    "a missing key": (rewritten(lambda t: t.pop(WEIGHT)), f"missing {WEIGHT}; not in the model nothing"),
    "an extra key": (
        rewritten(lambda t: t.update(more=torch.ones(1))),
        "missing nothing; not in the model more",
    ),
    "a wrong shape": (
        rewritten(lambda t: t.update({WEIGHT: torch.ones(2, 3)})),
        rf"{WEIGHT} \(2, 3\) where the model has \(16, 16\)",
    ),
    "a weight not a number": (rewritten(lambda t: t[WEIGHT].fill_(torch.nan)), f"not finite: {WEIGHT}"),
    "no configuration": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "configuration cut": (lambda f: _write(f / "config.json", '{"format": 1,'), "config.json is not JSON"),
    "configuration a list": (lambda f: _write(f / "config.json", "[]"), "holds a JSON list, not an object"),
    "another format": (reconfigured(lambda c: c.update(format={})), "this version reads 1"),
    "no model": (reconfigured(lambda c: c.pop("model")), "describes a model that cannot be built"),
    "an unknown system": (
        reconfigured(lambda c: c["model"].update(system="other")),
        "no system 'other'",
    ),
    "an unknown option": (reconfigured(lambda c: c["model"].update(colour="red")), "colour"),
    "no token limit": (reconfigured(lambda c: c.pop("tokens")), "'tokens' is None"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json"),
    "tokenizer cut": (lambda f: _write(f / "tokenizer.json", '{"version": '), "tokenizer.json"),
}


def _write(file: Path, text: str) -> None:
    file.write_text(text)


@pytest.mark.parametrize("manifest", [True, False], ids=["manifest", "bare"])
@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named_in_one_line(folder: Path, case: str, manifest: bool) -> None:
    """With a manifest the file is named, whatever is wrong with it; without one, what is wrong."""
    damage, message = DAMAGE[case]
    damage(folder)
    if not manifest:
        (folder / "manifest.json").unlink()
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(folder)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 500
    if not manifest:
        assert caught.match(message)
    else:
        assert any(name in line for name in ("model.safetensors", "config.json", "tokenizer.json"))


@pytest.mark.parametrize("text", ["", "[]", '{"files": 3}', '{"files": {"model.safetensors": {}}}'])
def test_a_manifest_that_is_none(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        checkpoint.load(folder)


def test_parts_may_be_fresh_or_discarded_only_when_named(folder: Path) -> None:
    rewritten(lambda t: (t.pop("selector.pool.bias"), t.update({"old.weight": torch.ones(1)})))(folder)
    model, file = build(tiny.MODEL), folder / "model.safetensors"
    kept = model.selector.pool.bias.clone()  # type: ignore[union-attr]
    with pytest.raises(CheckpointError, match=r"missing selector\.pool\.bias; not in the model old\.weight"):
        checkpoint.load_weights(model, file)
    checkpoint.load_weights(model, file, fresh=["selector."], discard=["old."])
    assert torch.equal(model.selector.pool.bias, kept)  # type: ignore[union-attr]
    assert torch.equal(model.state_dict()[WEIGHT], load_file(file)[WEIGHT])


def test_a_1x1_convolution_fits_a_linear_map() -> None:
    convolution, linear = nn.Conv2d(3, 5, 1), nn.Linear(3, 5)
    checkpoint.fit(linear, convolution.state_dict(), Path("detr.pth"))
    x = torch.randn(2, 3, 4, 4)
    assert torch.allclose(linear(x.movedim(1, -1)).movedim(-1, 1), convolution(x), atol=1e-6)
    with pytest.raises(
        checkpoint.CheckpointError, match=r"weight \(5, 3, 3, 3\) where the model has \(5, 3\)"
    ):
        checkpoint.fit(linear, nn.Conv2d(3, 5, 3).state_dict(), Path("detr.pth"))


def test_a_failing_writer_leaves_what_was_there(folder: Path) -> None:
    before = (folder / "model.safetensors").read_bytes()

    def write(temporary: Path) -> None:
        (temporary / "config.json").write_text("{}")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        checkpoint.write_folder(folder, write)
    assert (folder / "model.safetensors").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_saving_again_replaces(folder: Path, tokenizer: Tokenizer) -> None:
    fresh = build(tiny.MODEL)
    checkpoint.save(folder, fresh, tokenizer)
    assert torch.equal(checkpoint.load(folder).model.state_dict()[WEIGHT], fresh.state_dict()[WEIGHT])
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_training_state_needs_its_manifest(
    tmp_path: Path, scrambled: nn.Module, tokenizer: Tokenizer
) -> None:
    state = TrainerState(7, {"optimizer/a.b/exp_avg": torch.arange(3.0)}, {"scaler": {}})
    folder = checkpoint.save(tmp_path / "step-00000007", scrambled, tokenizer, trainer=state)
    loaded = checkpoint.load_trainer(folder)
    assert (loaded.step, loaded.values) == (7, {"scaler": {}})
    assert torch.equal(loaded.tensors["optimizer/a.b/exp_avg"], torch.arange(3.0))
    (folder / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match="saving it did not finish"):
        checkpoint.load_trainer(folder)


def test_a_published_model_cannot_be_continued(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="no trainer/ state"):
        checkpoint.load_trainer(folder)


def test_old_checkpoints_and_leftovers_go(tmp_path: Path) -> None:
    for name in ("step-00000002", "step-00000010", "step-00000004", ".step-00000012.77.tmp", "final"):
        (tmp_path / name).mkdir()
    checkpoint.prune(tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["final", "step-00000004", "step-00000010"]


def test_nothing_is_downloaded_unless_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda name, **_: (asked.append(name), folder)[1]
    )
    with pytest.raises(FileNotFoundError, match="only when asked to download"):
        checkpoint.load("someone/groundling-tiny")
    assert asked == []
    assert checkpoint.load("someone/groundling-tiny", download=True).info.path == folder
    assert asked == ["someone/groundling-tiny"]


def test_a_failed_download_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(name: str, **_: object) -> str:
        raise ConnectionError("could not\nresolve host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(
        CheckpointError, match="could not download 'a/b' from the hub: could not resolve host"
    ):
        checkpoint.load("a/b", download=True)


def test_what_is_no_checkpoint_is_not_replaced(tmp_path: Path) -> None:
    """A folder of photos that was named as the place of a checkpoint was deleted."""
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "1.jpg").write_bytes(b"a photo")
    with pytest.raises(CheckpointError, match="photos exists and is not a checkpoint"):
        checkpoint.write_folder(photos, lambda folder: (folder / "config.json").write_text("{}"))
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
    assert (photos / "1.jpg").read_bytes() == b"a photo"
