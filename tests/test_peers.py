"""Peers have their published sizes, answer with boxes of the picture, and are timed in turns."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import peers
import pytest
import tiny
import torch
from PIL import Image
from torch import Tensor, nn

from groundling.language import TextConfig
from groundling.models import PRESETS
from groundling.models.transvg import TransVGConfig

WORDS = "red square on the left"
SMALL = {
    "grounding_dino_tiny": peers.Size(96, 128, 8),
    "owlv2_base": peers.Size(64, 64, 8),
    "omdet_turbo_tiny": peers.Size(96, 96, 8),
}
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


def picture(width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def small(name: str) -> peers.Peer:
    return replace(peers.PEERS[name], size=SMALL[name])


@pytest.fixture
def all_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model of the script, a thousandth of its size."""
    for name in peers.PEERS:
        monkeypatch.setitem(peers.PEERS, name, small(name))
    monkeypatch.setitem(PRESETS, "lads_r50", tiny.MODEL)
    monkeypatch.setitem(PRESETS, "lads_r50_static", tiny.MODEL.model_copy(update={"gating": None}))
    monkeypatch.setitem(PRESETS, "transvg_r50", TRANSVG)


# Millions of parameters: Grounding DINO's paper, table 2; the published OWLv2 and OmDet-Turbo checkpoints.
@pytest.mark.parametrize(
    ("name", "height", "width", "millions"),
    [
        ("grounding_dino_tiny", 800, 1066, 172),
        ("owlv2_base", 960, 960, 155),
        ("omdet_turbo_tiny", 640, 640, 115),
    ],
)
def test_published_sizes(name: str, height: int, width: int, millions: int) -> None:
    peer = peers.PEERS[name]
    assert (peer.size.height, peer.size.width) == (height, width)
    with torch.device("meta"):
        network = peer.build(peer.size)
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6) == millions


@pytest.mark.parametrize("name", SMALL)
def test_attention_is_fused_where_it_can_be(name: str) -> None:
    with torch.device("meta"):
        network = small(name).build(SMALL[name])
    able = [part for part in network.modules() if getattr(part, "_supports_sdpa", False)]
    assert able
    assert all(part.config._attn_implementation == "sdpa" for part in able)


@pytest.mark.parametrize("name", SMALL)
def test_boxes_lie_in_their_picture(name: str) -> None:
    contender = peers.theirs(name, small(name))
    assert (contender.height, contender.width) == (SMALL[name].height, SMALL[name].width)
    for width, height in ((60, 20), (20, 60), (200, 150)):
        answer = contender.ask(picture(width, height), WORDS)
        x1, y1, x2, y2 = answer.box
        assert 0 <= x1 <= x2 <= width  # not less: a random box may lie in the padding
        assert 0 <= y1 <= y2 <= height
        assert answer.macs is None


class Known(nn.Module):
    """A network whose second query is the surest, about its second word."""

    def forward(self, pixel_values: Tensor, input_ids: Tensor) -> dict[str, Tensor]:
        assert pixel_values.shape == (1, 3, 50, 50)
        logits = torch.tensor([[[1.0, 0.0], [-9.0, 2.0], [0.5, 1.5]]])
        boxes = torch.tensor([[[0.1, 0.1, 0.1, 0.1], [0.5, 0.5, 0.5, 0.25], [0.9, 0.9, 0.1, 0.1]]])
        return {"logits": logits, "pred_boxes": boxes}


@pytest.mark.parametrize(
    ("padded", "box"),
    # A square of 80 shows the picture from its 20th row on: 40±10 there is 20±10 in the picture.
    [(False, (20, 15, 60, 25)), (True, (20, 10, 60, 30))],
)
def test_the_best_box_by_hand(padded: bool, box: tuple[float, ...]) -> None:
    text = peers.PEERS["grounding_dino_tiny"].text
    size = peers.Size(50, 50)
    known = peers.Peer(lambda _: Known(), text, ("logits", "pred_boxes"), padded, size)
    found = peers.theirs("known", known).ask(picture(80, 40), WORDS)
    assert found.box == pytest.approx(box, abs=1e-4)


def test_tokens_between_special_ones() -> None:
    (ids,) = peers.grounding_dino_text("red car, left")["input_ids"].tolist()
    assert (ids[0], ids[-2:], len(ids)) == (101, [1012, 102], 7)
    assert min(ids[1:5]) >= 1996
    assert [ids] == peers.grounding_dino_text("red car, left")["input_ids"].tolist()
    assert [ids] != peers.grounding_dino_text("red car, right")["input_ids"].tolist()

    text = peers.owlv2_text("red car")
    assert text["input_ids"][0, [0, 3]].tolist() == [49_406, 49_407]
    assert text["attention_mask"].tolist() == [[1] * 4 + [0] * 12]
    assert text["input_ids"][0, 4:].tolist() == [0] * 12
    assert peers.owlv2_text("car " * 40)["input_ids"][0, -1] == 49_407
    assert peers.owlv2_text("car " * 40)["input_ids"].shape == (1, 16)

    text = peers.omdet_turbo_text("red car")
    assert text["classes_attention_mask"].sum() == 4
    assert text["tasks_attention_mask"].sum() == 6  # Detect red car .
    assert text["tasks_input_ids"].shape == text["classes_input_ids"].shape == (1, 77)


def test_omdet_reads_the_same_words_again() -> None:
    """Its cache of words would compare a warm peer with a cold model."""
    peer = small("omdet_turbo_tiny")
    network, read = peer.build(peer.size).eval(), []
    network.language_backbone.register_forward_hook(lambda *_: read.append(1))
    with torch.inference_mode():
        for _ in range(2):
            network(pixel_values=torch.zeros(1, 3, 96, 96), **peer.text(WORDS))
    assert len(read) == 4  # class and task, twice


def test_the_adaptive_model_runs_a_new_subnet_each_time() -> None:
    still = tiny.MODEL.model_copy(update={"gating": None})
    static, adaptive = peers.ours("still", still, [WORDS]), peers.ours("adaptive", tiny.MODEL, [WORDS])
    assert static.parameters < adaptive.parameters  # it has no selector
    image = picture(40, 30)
    assert len({static.ask(image, WORDS).box for _ in range(4)}) == 1
    assert len({adaptive.ask(image, WORDS).box for _ in range(4)}) > 1
    assert adaptive.ask(image, WORDS).macs < static.ask(image, WORDS).macs


def test_contenders_take_turns_on_the_same_requests() -> None:
    asked: list[tuple[str, object, str]] = []

    def contender(name: str) -> peers.Contender:
        def ask(image: object, expression: str) -> peers.Answer:
            asked.append((name, image, expression))
            return peers.Answer((0, 0, 1, 1), len(asked) if name == "lads_r50" else None)

        return peers.Contender(name, 2, 3, 4, ask)

    requests = [("a.png", "left"), ("b.png", "right")]
    mine, other = peers.compare([contender("lads_r50"), contender("other")], requests, 3)
    turns = [(*name, *requests[turn % 2]) for turn in range(2) for name in (("lads_r50",), ("other",))]
    assert asked == [*turns, *turns, ("lads_r50", "a.png", "left"), ("other", "a.png", "left")]
    assert (mine.ratio, mine.macs) == (1, 7)  # the 5th, 7th and 9th call; before them it warmed up
    assert other.ratio == pytest.approx(other.ms_median / mine.ms_median, rel=0.5)
    assert other.macs is None
    (alone,) = peers.compare([contender("other")], requests, 1)
    assert alone.ratio is None


@pytest.mark.usefixtures("all_small")
def test_the_document(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text(f"{WORDS}\nthe blue one\n")
    picture(60, 40).save(tmp_path / "one.png")
    asked = ["--images", str(tmp_path / "one.png"), "--expressions", str(tmp_path / "words.txt")]
    assert peers.main([*asked, "--rounds", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (document["weights"], document["rounds"]) == ("random", 1)
    assert document["selections"] == "drawn at the LADS paper's rates"
    rows = {row["name"]: row for row in document["rows"]}
    assert list(rows) == [*peers.OURS, *peers.PEERS]
    base = rows["lads_r50"]
    for name, row in rows.items():
        assert 0 < row["ms_median"] <= row["ms_p95"]
        assert row["parameters"] > 1000
        assert row["ratio"] == pytest.approx(row["ms_median"] / base["ms_median"], rel=0.01)
        assert (row["macs"] is None) == (name in peers.PEERS)
    assert base["macs"] < rows["lads_r50_static"]["macs"]
    assert (rows["grounding_dino_tiny"]["height"], rows["grounding_dino_tiny"]["width"]) == (96, 128)


@pytest.mark.usefixtures("all_small")
def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert peers.main(["--rounds", "1", "--threads", "1", "--models", "lads_r50, owlv2_base"]) == 0
    out = capsys.readouterr().out
    (mine,) = (line.split() for line in out.splitlines() if line.startswith(" lads_r50"))
    (other,) = (line.split() for line in out.splitlines() if line.startswith(" owlv2_base"))
    assert (mine[1], mine[5], other[1], len(other)) == ("32×32", "1.00", "64×64", 6)  # nobody counts its MACs
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
