"""The examples run on real data where it is."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scrambled import scrambled
from small import WORDS, model_folder
from test_mdetr_gates import GATED

from groundling import Selection
from groundling.ask.grounder import Grounder, load_grounder
from groundling.data import open_dataset
from groundling.models.mdetr import Mdetr
from groundling.pictures.placement import Resize
from groundling.words.byte_pairs import ByteTokenizer

ROOT = Path(__file__).parents[1]
COCO = ROOT.parent / "shared" / "data" / "tiny_coco"


@pytest.mark.skipif(not COCO.is_dir(), reason="no ../shared/data/tiny_coco")
def test_coco_instances_become_a_refer_folder(tmp_path: Path) -> None:
    sources = [
        str(COCO / part)
        for s in ("val", "train")
        for part in (f"annotations/instances_{s}2017.json", f"{s}2017")
    ]
    script, out = str(ROOT / "examples" / "refer_from_coco.py"), tmp_path / "coco"
    subprocess.run([sys.executable, script, str(out), *sources], check=True, capture_output=True)
    dataset = open_dataset(out, "refcoco", "train")
    assert len(dataset) == 554
    for sample in dataset.samples:
        same = [thing for thing in dataset.things[sample.image] if thing.category == sample.category]
        if sample.expression.startswith("leftmost"):
            assert sample.box[0] + sample.box[2] == min(t.box[0] + t.box[2] for t in same)
        elif not sample.expression.startswith(("rightmost", "largest")):
            assert [thing.box for thing in same] == [sample.box]


ALONE = """
import runpy, sys
sys.modules["torch"] = sys.modules["groundling"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0])
"""


@pytest.mark.parametrize("raw", [False, True], ids=["normalised", "raw"])
@pytest.mark.parametrize("frame", ["canvas", "image"])
def test_an_exported_file_is_run_by_onnxruntime_alone(tmp_path: Path, frame: str, raw: bool) -> None:
    """The same box as Groundling's, of a lying and an upright picture, without Groundling and PyTorch.

    Metadata did not say where padding goes: a centred picture and one in the corner give other boxes.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="exports need the extra `export`")
    from groundling.runtime import ExportedGrounder, export

    if frame == "canvas":
        loaded = load_grounder(model_folder(tmp_path / "model"))
    else:
        config = GATED.model_copy(update={"resize": Resize(short_side=48, long_side=96)})
        loaded = Grounder(scrambled(Mdetr(config)), ByteTokenizer.train(WORDS, config.text.vocabulary, 24))
    file = tmp_path / "left.onnx"
    card = export(loaded.model, loaded.tokenizer, file, name="model", expression="left", raw=raw)
    assert (card.place, card.box) == {
        "canvas": ("centre", "xyxy, pixels of the canvas"),
        "image": ("corner", "xyxy, shares of the picture"),
    }[frame]
    for width, height in ((90, 60), (50, 80)):
        noise = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "photo.png")
        script = str(ROOT / "examples" / "run_onnx.py")
        ran = subprocess.run(
            [sys.executable, "-c", ALONE, script, str(file), str(tmp_path / "photo.png")],
            check=True,
            capture_output=True,
            text=True,
        )
        *box, score = map(float, ran.stdout.split())
        (expected,) = ExportedGrounder(file, threads=1).ground(tmp_path / "photo.png")
        assert box == pytest.approx(list(expected.box), abs=0.5)
        assert score == pytest.approx(expected.score, abs=0.01)
        whole = loaded.ground(
            tmp_path / "photo.png", "left", selection=Selection.all_on(loaded.model.units())
        )
        assert frame == "image" or box == pytest.approx(list(whole.box), abs=0.5)
