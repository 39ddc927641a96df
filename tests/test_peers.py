"""Models answer the same requests in turns, and the table says what was measured."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

import peers
import pytest
import tiny
from detectors import DETECTORS, Size
from PIL import Image

from groundling.models import PRESETS
from groundling.models.mdetr import MdetrConfig
from groundling.models.transvg import TransVGConfig
from groundling.words.bert import TextConfig
from groundling.words.roberta import RobertaTextConfig

WORDS = "red square on the left"
TRANSVG = TransVGConfig(
    image_size=32,
    text=TextConfig(vocabulary=120, layers=1, dim=16, heads=2, ffn=32, tokens=12),
    blocks=(1, 1),
    width=8,
    dim=16,
    heads=2,
    ffn=32,
    layers=1,
    visual_layers=1,
)

MDETR = MdetrConfig(
    image_size=64,
    text=RobertaTextConfig(vocabulary=300, layers=1, dim=16, heads=2, ffn=32, tokens=24, positions=26),
    blocks=(1, 1, 1),
    width=4,
    expansion=2,
    stem_width=8,
    dim=16,
    heads=2,
    ffn=24,
    layers=1,
    decoder_layers=1,
    queries=5,
)


@pytest.fixture
def all_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model of the script, tiny."""
    for name, detector in DETECTORS.items():
        monkeypatch.setitem(DETECTORS, name, replace(detector, size=Size(96, 96, 8)))
    monkeypatch.setitem(PRESETS, "lads_r50", tiny.MODEL)
    monkeypatch.setitem(PRESETS, "lads_r50_static", tiny.MODEL.model_copy(update={"gating": None}))
    monkeypatch.setitem(PRESETS, "transvg_r50", TRANSVG)
    monkeypatch.setitem(PRESETS, "mdetr_r101", MDETR)


def test_the_adaptive_model_runs_a_new_subnet_each_time() -> None:
    still = tiny.MODEL.model_copy(update={"gating": None})
    static, adaptive = peers.ours("still", still, [WORDS]), peers.ours("adaptive", tiny.MODEL, [WORDS])
    assert static.parameters < adaptive.parameters  # it has no selector
    image = Image.new("RGB", (40, 30), "red")
    assert len({static.ask(image, WORDS).box for _ in range(4)}) == 1
    assert len({adaptive.ask(image, WORDS).box for _ in range(4)}) > 1
    assert adaptive.ask(image, WORDS).macs < static.ask(image, WORDS).macs


def test_contenders_take_turns_on_the_same_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock of our own: LADS takes 1, 2, 3 … ms, the other ten times as long."""
    asked: list[tuple[str, object, str]] = []
    clock = [0.0]
    monkeypatch.setattr(peers.time, "perf_counter", lambda: clock[0])

    def contender(name: str, slow: int) -> peers.Contender:
        calls = count(1)

        def ask(image: object, expression: str) -> peers.Answer:
            call = next(calls)
            asked.append((name, image, expression))
            clock[0] += call * slow / 1000
            return peers.Answer((0, 0, 1, 1), call if name == "lads_r50" else None)

        return peers.Contender(name, 2, 3, 4, ask)

    requests = [("a.png", "left"), ("b.png", "right")]
    mine, other = peers.compare([contender("lads_r50", 1), contender("other", 10)], requests, 3)
    turns = [(name, *request) for request in requests for name in ("lads_r50", "other")]
    assert asked == [*turns, *turns, *turns[:2]]  # two rounds of warming up, three of measuring
    assert mine == peers.Row("lads_r50", 2, 3, 4, ms_median=4, ms_p95=5, ratio=1, macs=4)
    assert other == peers.Row("other", 2, 3, 4, ms_median=40, ms_p95=50, ratio=10, macs=None)
    (alone,) = peers.compare([contender("other", 10)], requests, 1)
    assert alone.ratio is None


@pytest.mark.usefixtures("all_small")
def test_the_document(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text(f"{WORDS}\nthe blue one\n")
    Image.new("RGB", (60, 40)).save(tmp_path / "one.png")
    asked = ["--images", str(tmp_path / "one.png"), "--expressions", str(tmp_path / "words.txt")]
    assert peers.main([*asked, "--rounds", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (document["weights"], document["rounds"]) == ("random", 1)
    assert document["selections"] == "drawn at the LADS paper's rates"
    rows = {row["name"]: row for row in document["rows"]}
    assert list(rows) == list(peers.MODELS)
    base = rows["lads_r50"]
    for name, row in rows.items():
        assert 0 < row["ms_median"] <= row["ms_p95"]
        assert row["parameters"] > 1000
        assert row["ratio"] == pytest.approx(row["ms_median"] / base["ms_median"], rel=0.01)
        assert (row["macs"] is None) == (name in DETECTORS)
    assert base["macs"] < rows["lads_r50_static"]["macs"]
    assert (rows["owlv2_base"]["height"], rows["transvg_r50"]["width"]) == (96, 32)


@pytest.mark.usefixtures("all_small")
def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert peers.main(["--rounds", "1", "--threads", "1", "--models", "lads_r50, owlv2_base"]) == 0
    out = capsys.readouterr().out
    (mine,) = (line.split() for line in out.splitlines() if line.startswith(" lads_r50"))
    (other,) = (line.split() for line in out.splitlines() if line.startswith(" owlv2_base"))
    assert (mine[1], mine[5], other[1], len(other)) == ("32×32", "1.00", "96×96", 6)  # nobody counts its MACs
    assert "1 threads, 1 rounds" in out
    assert "weights random" in out
    assert "drawn at the LADS paper's rates" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "rounds 1 or more, given 0 and 0"),
        (["--threads", "-1"], "threads must be 0 or more"),
        (["--threads", "two"], "argument --threads: invalid int value: 'two'"),
        (
            ["--models", "lads_r50,mdetr"],
            "no model 'mdetr'; there are lads_r50, lads_r50_static",
        ),
        (["--models", ""], "no model ''"),
        (["--fast"], "unrecognized arguments: --fast"),
        (["--expressions", "nowhere.txt"], "nowhere.txt"),
        (["--images", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_measured(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert peers.main(arguments) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert not out
    assert line.startswith("groundling: error: ")
    assert message in line


def test_it_is_a_script() -> None:
    command = [sys.executable, str(Path(peers.__file__)), "--models", "none"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
