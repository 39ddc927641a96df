"""The examples run on real data where it is."""

import subprocess
import sys
from pathlib import Path

import pytest

from groundling.data import open_dataset

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
