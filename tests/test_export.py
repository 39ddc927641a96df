"""Exported files compute what the network does and say what they are; what cannot be one is one line."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from conftest import random_selection
from scrambled import scrambled
from small import Shell, data_folder, model_folder
from test_mdetr_gates import GATED
from torch.testing import assert_close

import groundling
from groundling import Selection
from groundling.ask.grounder import Grounder
from groundling.files import write
from groundling.models.mdetr import Mdetr
from groundling.pictures.images import open_image
from groundling.runtime import Card, ExportedGrounder, ExportError, export
from groundling.runtime.card import KEY
from groundling.words.byte_pairs import ByteTokenizer

for package in ("onnx", "onnxscript", "onnxruntime", "openvino"):
    pytest.importorskip(package, reason="exports need the extra `export`")

EXPRESSION = "the blue one on the left"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted((data_folder(tmp_path_factory.mktemp("data"), images=3) / "images").glob("*.png"))


@pytest.fixture(scope="module")
def grounder(model: Path) -> "groundling.Grounder":
    return groundling.load(model)


@pytest.fixture(scope="module")
def selection(grounder: "groundling.Grounder") -> Selection:
    """Every layer, every other filter."""
    bits = ((unit.name, tuple(i % 2 == 0 for i in range(unit.size))) for unit in grounder.model.units())
    return Selection(tuple(bits))


@pytest.fixture(scope="module")
def files(
    grounder: "groundling.Grounder", selection: Selection, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """One file of each kind."""
    folder = tmp_path_factory.mktemp("exported")
    parts = grounder.model, grounder.tokenizer
    words = {"name": "small", "expression": EXPRESSION, "selection": selection}
    export(*parts, folder / "one.onnx", raw=True, **words)
    export(*parts, folder / "one.xml", form="openvino", **words)
    export(*parts, folder / "any.onnx", name="small")
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.mark.parametrize("name", ["one.onnx", "one.xml"])
def test_a_file_of_one_expression_answers_as_the_network(
    grounder: "groundling.Grounder",
    selection: Selection,
    files: dict[str, Path],
    pictures: list[Path],
    name: str,
) -> None:
    exported = ExportedGrounder(files[name], threads=1)
    for picture in pictures:
        (found,), expected = (
            exported.ground(picture),
            grounder.ground(picture, EXPRESSION, selection=selection),
        )
        size = max(expected.width, expected.height)
        assert_close(torch.tensor(found.box) / size, torch.tensor(expected.box) / size, atol=1e-4, rtol=0)
        assert found.score == pytest.approx(expected.score, abs=1e-4)
        assert (found.expression, found.selection) == (EXPRESSION, expected.selection)
        parts = expected.cost.parts
        assert found.cost.macs == expected.cost.macs - parts["text"] - parts["selector"]
        assert found.cost.full == expected.cost.full


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_a_network_without_scores_is_exported(tmp_path: Path, pictures: list[Path], form: Any) -> None:
    """One that regresses its box, as lads_r50 does, could not be: a score was looked for."""
    model = groundling.load(model_folder(tmp_path / "cls", tiny.MODEL.model_copy(update={"head": "cls"})))
    out = (tmp_path / "one").with_suffix(".onnx" if form == "onnx" else ".xml")
    chosen = Selection.all_on(model.model.units())
    words = {"name": "cls", "expression": EXPRESSION, "selection": chosen}
    card = export(model.model, model.tokenizer, out, form=form, **words)
    assert not card.scored
    (found,) = ExportedGrounder(out, threads=1).ground(pictures[0])
    assert found.score is None
    assert found.box == pytest.approx(model.ground(pictures[0], EXPRESSION, selection=chosen).box, abs=1e-2)


def test_an_mdetr_is_exported(tmp_path: Path, pictures: list[Path]) -> None:
    """What the words of one expression chose of it, its queries joined; and all of it for any words."""
    config = GATED.model_copy(update={"overlap": 0.3, "queries": 12})
    tokenizer = ByteTokenizer.train([EXPRESSION] * 9, 300, config.text.tokens)
    mdetr = Grounder(scrambled(Mdetr(config), 5), tokenizer)
    chosen = random_selection(mdetr.model.units(), torch.Generator().manual_seed(0))
    one, every = tmp_path / "one.onnx", tmp_path / "any.onnx"
    export(mdetr.model, tokenizer, one, name="mdetr", expression=EXPRESSION, selection=chosen)
    export(mdetr.model, tokenizer, every, name="mdetr")
    whole = Selection.all_on(mdetr.model.units())
    for picture in pictures:
        (found,), expected = (
            ExportedGrounder(one, threads=1).ground(picture),
            mdetr.ground(picture, EXPRESSION, selection=chosen),
        )
        assert_close(torch.tensor(found.box), torch.tensor(expected.box), atol=1e-2, rtol=0)
        assert found.score == pytest.approx(expected.score, abs=1e-4)
        (full,) = ExportedGrounder(every, threads=1).ground(picture, ["blue left"])
        expected = mdetr.ground(picture, "blue left", selection=whole)
        assert_close(torch.tensor(full.box), torch.tensor(expected.box), atol=1e-2, rtol=0)


def test_a_file_of_the_full_network_answers_any_expression(
    grounder: "groundling.Grounder", files: dict[str, Path], pictures: list[Path]
) -> None:
    exported = ExportedGrounder(files["any.onnx"], threads=1)
    whole = Selection.all_on(grounder.model.units())
    words = ["left", "red square", "the blue one on the left"]
    for found, expected in zip(
        exported.ground(pictures[0], words), grounder.ground(pictures[0], words, selection=whole), strict=True
    ):
        assert_close(torch.tensor(found.box), torch.tensor(expected.box), atol=1e-2, rtol=0)
        assert found.score == pytest.approx(expected.score, abs=1e-4)
    with pytest.raises(ValueError, match="answers any expression: say what to look for"):
        exported.ground(pictures[0])


WITHOUT_TORCH = """
import json, sys
sys.modules["torch"] = None
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
card = json.loads(session.get_modelmeta().custom_metadata_map["groundling"])
found = session.run(None, {"image": numpy.load(sys.argv[2])})
print(json.dumps([card["expression"], [x.tolist() for x in found]]))
"""


def test_a_file_runs_where_torch_cannot_be_imported(
    grounder: "groundling.Grounder",
    selection: Selection,
    files: dict[str, Path],
    pictures: list[Path],
    tmp_path: Path,
) -> None:
    seen = grounder.model.config.framing.see(open_image(pictures[1]))
    canvas, placement = seen.pixels, seen.placement
    np.save(tmp_path / "canvas.npy", canvas[None].numpy())
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, files["one.onnx"], tmp_path / "canvas.npy"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    expression, (box, score) = json.loads(ran.stdout)
    expected = grounder.ground(pictures[1], EXPRESSION, selection=selection)
    assert expression == EXPRESSION
    assert score == pytest.approx([expected.score], abs=1e-4)
    undone = placement.undo(torch.tensor(box[0]))
    assert_close(undone.clamp(min=0), torch.tensor(expected.box), atol=0.02, rtol=0)


def test_a_subnet_holds_no_more_than_it_needs(files: dict[str, Path]) -> None:
    assert files["one.onnx"].stat().st_size < files["any.onnx"].stat().st_size * 0.8


def test_the_command_line_writes_and_runs_a_file(
    shell: Shell, model: Path, pictures: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "new" / "left.onnx"
    ran = shell("export", model, out, "--expression", "left", "--raw")
    assert (ran.code, ran.err) == (0, "")
    assert "'left'" in ran.out
    assert [path.name for path in out.parent.iterdir()] == ["left.onnx"]
    found = shell("ground", pictures[0], "--model", out, "--json")
    expected = shell("ground", pictures[0], "left", "--model", model, "--json")
    one, other = json.loads(found.out), json.loads(expected.out)
    assert one["box"] == pytest.approx(other["box"], abs=0.02)
    assert {**one, "box": 0, "macs": 0, "share": 0, "milliseconds": 0, "score": 0} == {
        **other, "box": 0, "macs": 0, "share": 0, "milliseconds": 0, "score": 0,
    }  # fmt: skip
    assert (
        "made for 'left' and answers nothing else"
        in shell("ground", pictures[0], "right", "--model", out).complaint()
    )
    assert "it has one size" in shell("ground", pictures[0], "--model", out, "--budget", 0.5).complaint()


def test_what_is_no_exported_file(
    shell: Shell, files: dict[str, Path], pictures: list[Path], tmp_path: Path
) -> None:
    def complaint(file: Path) -> str:
        return shell("ground", pictures[0], "left", "--model", file).complaint()

    assert "no exported file" in complaint(tmp_path / "missing.onnx")
    half = tmp_path / "half.onnx"
    half.write_bytes(files["one.onnx"].read_bytes()[:5000])
    assert "cannot be read by onnxruntime" in complaint(half)
    import onnx

    bare = onnx.load(files["one.onnx"])
    del bare.metadata_props[:]
    onnx.save(bare, tmp_path / "bare.onnx")
    assert "was not written by `groundling export`" in complaint(tmp_path / "bare.onnx")
    entry = bare.metadata_props.add()
    entry.key, entry.value = KEY, '{"format": 1}'
    onnx.save(bare, tmp_path / "odd.onnx")
    assert "was written by another version" in complaint(tmp_path / "odd.onnx")
    card = ExportedGrounder(files["one.onnx"]).card
    for change in ({"height": 64, "width": 64}, {"raw": False}):
        entry.value = card.model_copy(update=change).text()
        onnx.save(bare, tmp_path / "false.onnx")
        assert "its network does not take the inputs that its metadata says" in complaint(
            tmp_path / "false.onnx"
        )
    entry.value = card.model_copy(update={"scored": False}).text()
    onnx.save(bare, tmp_path / "false.onnx")
    assert "not what its metadata says" in complaint(tmp_path / "false.onnx")


def test_what_cannot_be_written(
    shell: Shell, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def complaint(*arguments: object) -> str:
        return shell("export", model, *arguments).complaint()

    assert "format onnx must end in .onnx, given 'x.bin'" in complaint(tmp_path / "x.bin")
    (tmp_path / "folder.onnx").mkdir()
    assert "folder.onnx: Is a directory" in complaint(tmp_path / "folder.onnx")
    (tmp_path / "file").write_text("here")
    assert "file: File exists" in complaint(tmp_path / "file" / "x.onnx")
    assert "give --expression too" in complaint(tmp_path / "x.onnx", "--budget", 0.5)
    assert "no words" in complaint(tmp_path / "x.onnx", "--expression", " ")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "needs onnx, onnxscript, openvino; pip install 'groundling[export]'" in complaint(
        tmp_path / "x.xml", "--format", "openvino"
    )


def test_an_interrupted_or_wrong_export_leaves_no_file(
    grounder: "groundling.Grounder", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["groundling.runtime.export"]
    asked = {"name": "small", "expression": "left", "selection": grounder.select("left")}
    monkeypatch.setattr(module, "TOLERANCE", -1.0)
    with pytest.raises(ExportError, match="differs from the network"):
        export(grounder.model, grounder.tokenizer, tmp_path / "x.onnx", **asked)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "y.onnx", b"half")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"selection": "nonsense"},
        {"expression": None},
        {"height": 0},
        {"width": 16},
        {"place": "corner"},
        {"box": "xyxy, shares of the picture"},
        {"macs": {"stem": -1}},
        {"more": 1},
        {"channels": "BGR"},
        {"padding": [0, 0, 0]},
    ],
)
def test_a_card_is_checked(change: dict[str, object]) -> None:
    good = {
        "groundling": "0.1.0", "model": "m", "sha256": None, "expression": "left", "selection": "layer1.0=1",
        "height": 32, "width": 32, "place": "centre", "masked": False, "padding": [124, 116, 104],
        "box": "xyxy, pixels of the canvas", "raw": False,
        "scored": True, "macs": {"stem": 5}, "full_macs": 9, "tokens": 3,
    }  # fmt: skip
    assert Card.read(json.dumps(good), "file").cost.share == 5 / 9
    with pytest.raises(ValueError, match="file: its 'groundling' block"):
        Card.read(json.dumps({**good, **change}), "file")
