"""The benchmark measures what it says, and its numbers follow from each other."""

import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small import Shell, data_folder, model_folder

import groundling
from groundling import Grounder, Selection
from groundling.benchmark import (
    PARTS,
    Attention,
    Point,
    Way,
    _row,
    benchmark,
    curve,
    drawn_like_the_paper,
    in_turns,
    middle_half,
    p95,
    plot,
)
from groundling.cli import console
from groundling.models import PRESETS, build
from groundling.models.supernet import Supernet


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="module")
def requests() -> list[tuple[Image.Image, str]]:
    noise = np.random.default_rng(0)
    shown = [Image.fromarray(noise.integers(0, 256, (40, 60, 3), dtype=np.uint8)) for _ in range(3)]
    return [(picture, words) for picture in shown for words in ("left", "red square")]


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def test_all_rows(folder: Path, requests: list[tuple[Image.Image, str]]) -> None:
    model = groundling.load(folder)
    found = benchmark(model, requests, name="small", rounds=3, batches=(1, 3))
    rows = {row.name: row for row in found.rows}
    compiled = ["compiled_static", "compiled"] if "compiled" in rows else []
    single = {"static", "adaptive_first", "adaptive_cold", "adaptive_warm"}
    assert set(rows) == {*single, "batched_1", "batched_3", *compiled}
    assert rows["static"].share == 1
    assert rows["static"].realised == 1
    shares = [model.ground(*request).cost.share for request in requests]
    timed = [shares[turn % len(shares)] for turn in range(9, 12)]  # after those that warm up
    for name in ("adaptive_first", "adaptive_cold"):
        assert rows[name].share == pytest.approx(np.mean(timed), abs=1e-3)
    cost = model.ground(*requests[0]).cost
    words = cost.parts["text"] + cost.parts["selector"]  # they came again: nobody read them
    assert rows["adaptive_warm"].share == pytest.approx((cost.macs - words) / (cost.full - words), abs=1e-3)
    for row in found.rows:
        assert 0 < row.ms_median <= row.ms_p95
        assert row.images_per_s == pytest.approx(1000 / row.ms_median, rel=0.02)
    assert set(found.parts) == set(PARTS)
    assert all(ms > 0 for ms in found.parts.values())
    again = model.ground(*requests[0])  # the watching has ended
    assert again.box == groundling.load(folder).ground(*requests[0]).box


def test_realised_by_hand(folder: Path) -> None:
    """Half of the MACs in 0.6 of the time: 0.5 / 0.6."""
    who = groundling.load(folder)
    static, static_8 = Way("static", who), Way("static_8", who, batch=8)
    cold, batched = Way("adaptive_cold", who, static), Way("batched_8", who, static_8, batch=8)
    times = {static: [10.0, 10.0, 40.0], batched: [6.0], static_8: [8.0], cold: [6.0, 5.0, 7.0]}
    shares = {static: [1.0], cold: [0.4, 0.6], batched: [0.6]}
    assert _row(static, times, shares, None).realised == 1
    assert _row(cold, times, shares, None).realised == pytest.approx(0.5 * 10 / 6, abs=1e-3)
    assert _row(batched, times, shares, None).realised == pytest.approx(0.6 * 8 / 6, abs=1e-3)


def test_each_way_has_its_requests(folder: Path, requests: list[tuple[Image.Image, str]]) -> None:
    """Six requests: in turn, always the first, or four at a time, of which the second turn begins anew."""
    who = groundling.load(folder)

    def asked(way: Way, turn: int) -> list[str]:
        named = [(shown, f"{words} {place}") for place, (shown, words) in enumerate(requests)]
        return [found.expression.split()[-1] for found in way.answer(named, turn)]

    assert [asked(Way("cold", who), turn) for turn in (0, 5, 6)] == [["0"], ["5"], ["0"]]
    assert [asked(Way("warm", who, again=True), turn) for turn in (0, 5)] == [["0"], ["0"]]
    assert asked(Way("batched", who, batch=4), 1) == ["4", "5", "0", "1"]


def test_ways_take_turns() -> None:
    done: list[int] = []
    ways = {"one": lambda turn: 10 * turn, "other": lambda turn: 10 * turn + 1}
    found = list(in_turns(ways, 2, lambda turn, _: done.append(turn)))
    assert found == [("one", 0), ("other", 1), ("one", 10), ("other", 11)]
    assert done == [1, 2]


def test_half_of_all_times_lie_between_the_quartiles() -> None:
    assert middle_half([5.0]) == (5, 5)
    assert middle_half([4.0, 1.0, 2.0, 3.0, 5.0]) == (2, 4)


def test_progress_counts_every_request(folder: Path, requests: list[tuple[Image.Image, str]]) -> None:
    """It was silent while caches were filled, memory measured and parts timed: most of 453 seconds."""
    told: list[tuple[int, int]] = []
    benchmark(
        groundling.load(folder),
        requests,
        name="small",
        rounds=2,
        batches=(3,),
        runtime="eager",
        progress=lambda done, total: told.append((done, total)),
    )
    done, totals = zip(*told, strict=True)
    assert list(done) == sorted(done)
    assert done[-1] == totals[-1]
    assert all(n <= total for n, total in told)


def test_a_busy_machine_is_noticed() -> None:
    idle, busy = Attention(), Attention()
    idle.of(lambda turn: sum(range(2_000_000)))(0)
    busy.of(lambda turn: time.sleep(0.05))(0)  # as a thread that others keep from running
    assert busy.taken > 0.9 > idle.taken >= 0


def test_the_time_that_is_left_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    now = iter([0.0, 14.0, 16.0, 16.0, 16.0, 20.0, 200.0, 200.0, 200.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(now))
    with console.timed("measuring") as progress:
        progress(1, 10)  # too early to say
        progress(2, 10)
        progress(3, 10)  # a line was just there
        progress(4, 10)
    assert capsys.readouterr().err.splitlines() == [
        "groundling: measuring: 20.0% done, about 64 s left",
        "groundling: measuring: 40.0% done, about 5 min left",
    ]


def test_one_in_twenty_is_slower() -> None:
    assert p95([3.0, 9.0, 1.0]) == 9
    assert p95([float(n) for n in range(100)]) == 95


def test_drawn_selections_have_the_papers_rates() -> None:
    import torch

    with torch.device("meta"):
        model = build(PRESETS["lads_r50"])
    assert isinstance(model, Supernet)
    units, rng = model.units(), random.Random(0)
    one, other = drawn_like_the_paper(units, rng), drawn_like_the_paper(units, rng)
    assert one != other
    for selection in (one, other):
        assert sum(selection.on(unit.name) for unit in units if unit.kind == "layer") == 8
        assert sum(selection.on(unit.name) for unit in units if unit.kind in ("attention", "ffn")) == 10
        assert all(sum(selection[unit.name]) == unit.size // 2 for unit in units if unit.kind == "filters")


def test_selections_of_all_sizes(folder: Path, requests: list[tuple[Image.Image, str]]) -> None:
    points, full = curve(groundling.load(folder), requests[0], selections=9, rounds=3)
    shares = [point.share for point in points]
    assert len(points) == 9
    assert min(shares) < 0.5 < 0.8 < max(shares) < full.share == 1
    for point in (*points, full):
        assert 0 < point.half[0] <= point.milliseconds <= point.half[1]


def test_the_plot_shows_the_spread_within_its_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr("groundling.analyze.canvas.png", lambda figure: drawn.append(figure) or b"")
    plot([Point(0.4, 5.0, (4.5, 7.0)), Point(0.8, 9.0, (8.0, 30.0))], Point(1, 10.0, (9.5, 11.0)), "a_$b")
    (axes,) = drawn[0].axes
    assert axes.get_ylim()[0] == 0
    assert axes.get_ylim()[1] > 30
    assert axes.get_xlim()[0] <= 40 < 100 < axes.get_xlim()[1]
    assert [bars.has_yerr for bars in axes.containers] == [True, True]
    assert axes.get_ylabel() == "milliseconds per answer"


def test_a_static_model_has_nothing_to_measure(requests: list[tuple[Image.Image, str]]) -> None:
    import tiny
    from small import WORDS

    from groundling.words.wordpiece import Tokenizer

    model = Grounder(build(tiny.MODEL.model_copy(update={"gating": None})), Tokenizer.train(WORDS, 120, 12))
    with pytest.raises(ValueError, match="runs the same network for all words"):
        benchmark(model, requests, name="still")
    assert model.select("left") == Selection(())


def test_the_command_line(shell: Shell, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    images = data_folder(tmp_path / "data", images=2) / "images"
    (tmp_path / "words.txt").write_text("left\n\nred square\n")
    asked = ("--images", images, "--expressions", tmp_path / "words.txt", "--rounds", 1)
    ran = shell("benchmark", folder, *asked, "--json", "--plot", tmp_path / "plot.png")
    assert ran.code == 0, ran.err
    document = json.loads(ran.out.splitlines()[-1])
    assert set(document) >= {"model", "device", "threads", "rows"}
    assert {"static", "adaptive_cold", "adaptive_warm", "batched_1", "batched_8", "batched_32"} <= {
        row["name"] for row in document["rows"]
    }
    keys = {"name", "ms_median", "ms_p95", "ms_half", "images_per_s", "share", "realised", "peak_mb"}
    assert all(set(row) == keys for row in document["rows"])
    with Image.open(tmp_path / "plot.png") as drawn:
        assert min(drawn.size) > 300
    table = shell("benchmark", folder, *asked)
    assert "adaptive_cold" in table.out
    assert "realised: 1.00 where every MAC that is left out saves its time" in table.out
    assert " to " in next(line for line in table.out.splitlines() if "adaptive_cold" in line)
    assert "The first request of all took" in table.out
    assert "chosen by the words" in table.out


def test_what_cannot_be_measured(shell: Shell, folder: Path, tmp_path: Path) -> None:
    def complaint(*arguments: object) -> str:
        return shell("benchmark", *arguments).complaint()

    assert "no model 'lads_r5'" in complaint("lads_r5")
    assert "rounds 1 or more" in complaint(folder, "--rounds", 0)
    assert "give a file *.png" in complaint(folder, "--plot", tmp_path / "plot.pdf")
    (tmp_path / "taken.png").mkdir()
    assert "Is a directory" in complaint(folder, "--plot", tmp_path / "taken.png")
    assert "no runtime 'fast'" in complaint(folder, "--runtime", "fast")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "empty.mp4").write_bytes(b"nothing")
    pytest.importorskip("av")
    assert "no picture in" in complaint(folder, "--images", tmp_path / "films")
    assert "holds no expressions" in complaint(folder, "--expressions", tmp_path / "empty.txt")
