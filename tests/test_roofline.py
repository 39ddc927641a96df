"""The scripts that say where time goes: their arithmetic by hand, their tables from tiny models."""

import re
import sys

import pytest
import roofline
import tiny
import training_step

from groundling.models import LADS, MDETR, PRESETS


def test_a_row_by_hand() -> None:
    """2 GMACs and 40 MB in 10 ms: 200 GMACs/s of 400, 4 GB/s of 16."""
    row = roofline.Reached("vision", 10.0, 2e9, 40e6)
    found = roofline.shown(row, most_macs=400e9, most_bytes=16e9)
    assert found == ("vision", "10.00", "2.000", "200", "50%", "40.0", "4.0", "25%")


def test_parts_of_a_small_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "small", tiny.MODEL)
    rows = {row.name: row for row in roofline.reached("small", rounds=2)}
    assert set(rows) == {"vision", "fusion", "text", "head"}
    assert all(row.ms > 0 for row in rows.values())
    assert rows["text"].weights > 0
    assert rows["vision"].macs > rows["text"].macs > 0


def test_a_training_step_with_gates_and_without(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(LADS, "lads_street", tiny.MODEL)
    monkeypatch.setattr(sys, "argv", ["training_step", "--images", "2", "--rounds", "2", "--threads", "1"])
    training_step.main()
    said = capsys.readouterr().out
    assert said.startswith("lads_street, 2 images with 1 texts each, 1 threads: ")
    numbers = re.search(r"(\d+) ms with gates, (\d+) ms without, ([\d.]+) times", said)
    assert numbers is not None
    gates, static, ratio = map(float, numbers.groups())
    assert (gates - 0.5) / (static + 0.5) - 0.01 <= ratio <= (gates + 0.5) / (static - 0.5) + 0.01


def test_captions_with_masks_and_answers_and_what_they_take(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(MDETR, "mdetr_adaptive", tiny.MDETR.model_copy(update={"gating": tiny.MODEL.gating}))
    asked = ["mdetr_adaptive", "--images", "2", "--texts", "2", "--rounds", "2", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", ["training_step", *asked])
    training_step.main()
    said = capsys.readouterr().out
    assert said.startswith("mdetr_adaptive, 2 images with 2 texts each, 1 threads: ")
    assert re.search(r"at its height \d+ MB with gates, \d+ MB without", said)


def test_a_model_without_gates_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert roofline.main(["transvg_r50"]) == 2
    assert "give a model with language gates, such as lads_r50" in capsys.readouterr().err
