"""Whatever people give: one clear line and exit code 2, or in Python a ValueError; never a traceback."""

import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file
from small import Shell, data_folder, model_folder

import groundling

USER_ERRORS = (ValueError, FileNotFoundError)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_folder(tmp_path_factory.mktemp("data"), images=2)


@pytest.fixture(scope="module")
def grounder(model: Path) -> "groundling.Grounder":
    return groundling.load(model)


@pytest.fixture
def picture(data: Path) -> Path:
    return data / "images" / "0.png"


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


# --- pictures


def noise(width: int = 40, height: int = 30) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def truncated(path: Path) -> None:
    noise(200, 200).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:3000])


def animated(path: Path) -> None:
    noise().save(path, "GIF", save_all=True, append_images=[Image.new("RGB", (40, 30))])


def huge(path: Path) -> None:
    """A whole PNG of 20000 × 20000 pixels in a few hundred kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(2501 * 20_000), 1)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


BAD_PICTURES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "not found"),
    "truncated": (truncated, "truncated"),
    "text": (lambda path: path.write_text("a dog on a sofa"), "not an image"),
    "empty": (lambda path: path.write_bytes(b""), "empty"),
    "folder": (lambda path: path.mkdir(), "no picture or video that can be read in"),
    "animated": (animated, "animated with 2 frames"),
    "huge": (huge, "20000x20000 is 400,000,000 pixels; the limit is 50,000,000"),
}

GOOD_PICTURES: dict[str, tuple[Callable[[Path], object], tuple[int, int]]] = {
    "CMYK": (lambda path: noise().convert("CMYK").save(path, "JPEG"), (40, 30)),
    "16 bit": (
        lambda path: Image.fromarray(np.full((30, 40), 40_000, np.uint16)).save(path, "PNG"),
        (40, 30),
    ),
    "palette": (lambda path: noise().convert("P").save(path, "PNG"), (40, 30)),
    "alpha": (lambda path: noise().convert("RGBA").save(path, "PNG"), (40, 30)),
    "one pixel": (lambda path: noise(1, 1).save(path, "PNG"), (1, 1)),
    "a line": (lambda path: noise(3000, 1).save(path, "PNG"), (3000, 1)),
}


@pytest.mark.parametrize("case", BAD_PICTURES)
def test_pictures_that_cannot_be_used(
    case: str, shell: Shell, model: Path, grounder: "groundling.Grounder", tmp_path: Path
) -> None:
    make, message = BAD_PICTURES[case]
    make(tmp_path / "picture")
    complaint = shell("ground", tmp_path / "picture", "left", "--model", model, "--json").complaint()
    assert message in complaint
    assert "picture" in complaint
    with pytest.raises(USER_ERRORS, match="picture"):
        grounder.ground(tmp_path / "picture", "left")


@pytest.mark.parametrize("case", GOOD_PICTURES)
def test_odd_pictures_get_boxes_inside_them(case: str, shell: Shell, model: Path, tmp_path: Path) -> None:
    make, (width, height) = GOOD_PICTURES[case]
    make(tmp_path / "picture")
    ran = shell("ground", tmp_path / "picture", "left", "--model", model, "--json")
    assert (ran.code, ran.err) == (0, "")
    x1, y1, x2, y2 = json.loads(ran.out)["box"]
    assert 0 <= x1 <= x2 <= width
    assert 0 <= y1 <= y2 <= height


def test_a_limit_of_ones_own(shell: Shell, model: Path, picture: Path) -> None:
    complaint = shell("ground", picture, "left", "--model", model, "--max-pixels", 99).complaint()
    assert "the limit is 99" in complaint


# --- words and numbers


@pytest.mark.parametrize("expression", ["", "   ", "\n\t", "\udcff"])
def test_expressions_without_words(
    expression: str, shell: Shell, model: Path, grounder: "groundling.Grounder", picture: Path
) -> None:
    assert "expression" in shell("ground", picture, expression, "--model", model).complaint()
    with pytest.raises(ValueError, match="expression"):
        grounder.ground(picture, expression)


@pytest.mark.parametrize("budget", ["0", "2", "-1", "nan", "inf", "1e-9"])
def test_budgets_that_cannot_be_kept(
    budget: str, shell: Shell, model: Path, grounder: "groundling.Grounder", picture: Path
) -> None:
    complaint = shell("ground", picture, "left", "--model", model, f"--budget={budget}", "--json").complaint()
    assert "budget" in complaint
    with pytest.raises(ValueError, match="budget"):
        grounder.ground(picture, "left", budget=float(budget))


# --- what is typed

TYPED: dict[str, tuple[tuple[str, ...], str]] = {
    "no verb of ours": (("grund", "PICTURE", "left"), "grund"),
    "no option of ours": (("ground", "PICTURE", "left", "--modle", "x"), "--modle"),
    "no expression": (("ground", "PICTURE"), "say what to look for"),
    "no number": (("ground", "PICTURE", "left", "--budget", "half"), "--budget"),
    "no model": (("ground", "PICTURE", "left", "--model", "lads_streat"), "lads_streat"),
    "no model to describe": (("info", "lads_streat"), "lads_street"),
    "no weights": (("ground", "PICTURE", "left", "--model", "lads_r50"), "lads_r50"),
    "no device": (("ground", "PICTURE", "left", "--model", "MODEL", "--device", "gpu"), "cpu"),
    "no such GPU": (("ground", "PICTURE", "left", "--model", "MODEL", "--device", "cuda:99"), "cuda:99"),
    "no pixels": (
        ("ground", "PICTURE", "left", "--model", "MODEL", "--max-pixels", "0"),
        "--max-pixels must be a whole number, 1 or more, given 0",
    ),
    "another split of a file": (
        ("evaluate", "MODEL", "--data", "FILE", "--split", "test"),
        "is the split 'val', not 'test'",
    ),
    "runs in a file": (("train", "finetune", "--set", "data=DATA", "--out", "FILE"), "val.jsonl is a file"),
    "no recipe": (("train", "lads_streat"), "lads_street"),
    "no recipe file": (("train", "recipes/mine.py"), "recipe file not found"),
    "no recipe key": (("train", "lads_street", "--set", "learning_rate=1"), "learning_rate"),
    "no training data": (("train", "lads_street", "--set", "data=nowhere"), "nowhere"),
    "no data": (("evaluate", "MODEL", "--data", "nowhere"), "dataset folder not found: nowhere"),
    "no dataset": (("evaluate", "MODEL", "--data", "DATA", "--dataset", "coco"), "jsonl"),
    "no TransVG dataset": (("evaluate", "MODEL", "--data", "DATA", "--dataset", "transvg"), "TransVG"),
    "no split": (("evaluate", "MODEL", "--data", "DATA", "--split", "testA"), "it has test, val"),
    "no limit": (("evaluate", "MODEL", "--data", "DATA", "--limit", "0"), "limit of 0"),
    "nothing to analyze": (("analyze", "MODEL", "--data", "nowhere", "--out", "x"), "nowhere"),
    "no scenes": (("data", "street", "OUT", "--scenes", "0"), "scenes must be 4 or more"),
    "no size": (("data", "street", "OUT", "--size", "7"), "size must be 64 to 1024"),
    "others' folder": (("data", "street", "DATA"), "is not empty"),
    "no dataset to make": (("data", "streat", "OUT"), "streat"),
}


@pytest.mark.parametrize("case", TYPED)
def test_what_is_typed_wrongly(
    case: str, shell: Shell, model: Path, data: Path, picture: Path, tmp_path: Path
) -> None:
    places = {"PICTURE": picture, "MODEL": model, "DATA": data, "OUT": tmp_path / "out"}
    places["FILE"] = data / "val.jsonl"
    arguments, message = TYPED[case]
    complaint = shell(*(places.get(argument, argument) for argument in arguments)).complaint()
    assert message in complaint
    assert "Usage" not in complaint


@pytest.mark.parametrize("name", ["file/boxes.png", "boxes.xyz", "boxes"])
def test_places_that_cannot_be_written(
    name: str, shell: Shell, model: Path, picture: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.png").mkdir()
    ran = shell("ground", picture, "left", "--model", model, "--json", "--out", tmp_path / name)
    assert Path(name).name in ran.complaint() or "file" in ran.complaint()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


# --- checkpoints


def cut(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def bad_header(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(b"\xff" * 8 + file.read_bytes()[8:])


def retensored(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
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


class Attack:
    """A pickle of this makes a folder when it is read by Python's own reader."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.place),)


BIAS = "net.visual_proj.bias"
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut short": (cut, "is not a whole safetensors file"),
    "bad header": (bad_header, "safetensors"),
    "key missing": (retensored(lambda t: t.pop(BIAS)), f"missing {BIAS}"),
    "key too many": (retensored(lambda t: t.update(extra=t[BIAS].clone())), "not in the model extra"),
    "wrong shape": (retensored(lambda t: t.update({BIAS: t[BIAS][:3].clone()})), "where the model has"),
    "not finite": (retensored(lambda t: t[BIAS].fill_(float("nan"))), "not finite"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "missing"),
    "no configuration": (lambda f: (f / "config.json").unlink(), "missing"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "tokenizer"),
    "not JSON": (lambda f: (f / "config.json").write_text("{"), "not JSON"),
    "a list": (lambda f: (f / "config.json").write_text("[]"), "not an object"),
    "of the future": (reconfigured(lambda c: c.update(format=99)), "format 99"),
    "unknown system": (reconfigured(lambda c: c["model"].update(system="yolo")), "yolo"),
    "negative size": (reconfigured(lambda c: c["model"].update(dim=-1)), "dim"),
    "no blocks": (reconfigured(lambda c: c["model"].update(blocks=[])), "blocks"),
    "heads that do not divide": (reconfigured(lambda c: c["model"].update(heads=7)), "heads"),
    "unknown option": (reconfigured(lambda c: c["model"].update(colour="red")), "colour"),
    "bad tokenizer": (lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer"),
    "empty folder": (lambda f: [file.unlink() for file in f.iterdir()], "missing"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_checkpoints_that_cannot_be_used(
    case: str, shell: Shell, model: Path, picture: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(model, tmp_path / "broken")
    (folder / "manifest.json").unlink()  # which would notice anything
    damage, message = DAMAGE[case]
    damage(folder)
    assert message in shell("ground", picture, "left", "--model", folder).complaint()
    with pytest.raises(USER_ERRORS):
        groundling.load(folder)


def test_a_manifest_notices_other_weights(shell: Shell, model: Path, picture: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model, tmp_path / "broken")
    retensored(lambda tensors: tensors[BIAS].add_(1))(folder)
    assert "SHA-256" in shell("info", folder).complaint()


def test_a_pickle_for_weights_runs_nothing(shell: Shell, model: Path, picture: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model, tmp_path / "broken")
    (folder / "manifest.json").unlink()
    (folder / "model.safetensors").write_bytes(pickle.dumps(Attack(tmp_path / "attacked")))
    shell("ground", picture, "left", "--model", folder).complaint()
    assert not (tmp_path / "attacked").exists()


def test_a_pickle_for_annotations_runs_nothing(shell: Shell, model: Path, tmp_path: Path) -> None:
    refcoco = tmp_path / "data" / "refcoco"
    refcoco.mkdir(parents=True)
    (refcoco / "instances.json").write_text('{"images": [], "annotations": [], "categories": []}')
    (refcoco / "refs(unc).p").write_bytes(pickle.dumps(Attack(tmp_path / "attacked")))
    complaint = shell("evaluate", model, "--data", tmp_path / "data").complaint()
    assert "mkdir" in complaint
    assert not (tmp_path / "attacked").exists()


# --- as processes


def test_a_process_says_one_line_too(tmp_path: Path) -> None:
    missing = tmp_path / "no.png"
    for arguments, message in (
        (("ground", str(missing), "left", "--model", str(tmp_path / "no")), "not found"),
        (("--verbose",), "--verbose"),
    ):
        command = [sys.executable, "-m", "groundling", *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert ran.stderr.startswith("groundling: error: ")
        assert ran.stderr.count("\n") == 1
        assert message in ran.stderr
