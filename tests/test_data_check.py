"""`groundling data check`: what is read, what is left out and why, and boxes to look at."""

import json
from pathlib import Path

import pytest
import test_labelled
from PIL import Image
from small import Shell

from groundling.data.check import check, shared_images

GOOD = {"image": "a.jpg", "expression": "left dog", "box": [1, 2, 30, 35]}


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def save(folder: Path, *rows: object, name: str = "val") -> Path:
    Image.new("RGB", (50, 50)).save(folder / "a.jpg")
    (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def test_what_is_read_and_left_out(tmp_path, shell) -> None:
    rows = [
        GOOD,
        GOOD | {"box": [1, 2, 90, 35]},
        GOOD | {"box": [70, 2, 90, 35]},
        GOOD | {"box": [5, 2, 5, 3]},
    ]
    ran = shell("data", "check", save(tmp_path, *rows, GOOD | {"box": [60, 2, 90, 35]}))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "jsonl, split val",
        "  pictures: 1, 50x50 pixels",
        "  captions or expressions: 2, phrases: 2, boxes: 2",
        "  phrases that mean exactly one box: 2",
        "  left out: 2, such as "
        "val.jsonl:3: box (70.0, 2.0, 90.0, 35.0) lies outside its image of 50x50 pixels; "
        "val.jsonl:5: box (60.0, 2.0, 90.0, 35.0) lies outside its image of 50x50 pixels",
        "  left out: 1, val.jsonl:4: box (5.0, 2.0, 5.0, 3.0) has no area; "
        "a box is (left, top, right, bottom)",
        "  boxes cut at the edge of their picture: 1 (val.jsonl:2: (1, 2, 90, 35) in 50x50 pixels)",
    ]


def test_objects_of_each_format(tmp_path) -> None:
    for name, write in test_labelled.FORMATS.items():
        root, split = write(tmp_path / name)
        (found,) = check(root)
        assert (found.dataset, found.split, found.error) == (name, split, None)
        assert found.lines() == ["pictures: 3, 60x40 pixels", "objects: 4, categories: 2"]
        assert sorted(each.image.name for each in found.shown) == ["a.jpg", "b.jpg"]


def test_a_split_that_cannot_be_read_costs_the_status_alone(tmp_path, shell) -> None:
    save(tmp_path, GOOD)
    save(tmp_path, GOOD | {"image": "gone.jpg"}, name="train")
    ran = shell("data", "check", tmp_path)
    assert (ran.code, ran.err) == (2, "")
    first, second, _, third, *_ = ran.out.splitlines()[:4]
    assert (first, third) == ("jsonl, split train", "  pictures: 1, 50x50 pixels")
    assert second.startswith("  cannot be read: ")
    assert "train.jsonl:1: image not found" in second
    assert shell("data", "check", tmp_path, "--split", "val").code == 0


def test_pictures_that_two_splits_share(tmp_path, shell) -> None:
    save(tmp_path, GOOD)
    save(tmp_path, GOOD, name="train")
    assert shared_images(check(tmp_path)) == [("train", "val", 1)]
    assert "train and val have pictures in common: 1" in shell("data", "check", tmp_path).out


def test_boxes_on_a_sheet(tmp_path, shell) -> None:
    (tmp_path / "data").mkdir()
    out = tmp_path / "sheet.png"
    ran = shell("data", "check", save(tmp_path / "data", GOOD, GOOD), "--out", out)
    assert (ran.code, ran.out.splitlines()[-1]) == (0, f"2 pictures with their boxes in {out}")
    with Image.open(out) as sheet:
        assert sheet.width > 600
        colours = {colour for _, colour in sheet.convert("RGB").getcolors(1 << 20)}
    assert (255, 61, 110) in colours  # of the first box
    again = shell("data", "check", tmp_path / "data", "--out", out)
    assert again.complaint().endswith("is there already; --replace writes over it")


def test_nothing_is_written_over_what_is_read(tmp_path, shell) -> None:
    Image.new("RGB", (50, 50)).save(tmp_path / "a.png")
    save(tmp_path, GOOD | {"image": "a.png"})
    before = (tmp_path / "a.png").read_bytes()
    ran = shell("data", "check", tmp_path, "--out", tmp_path / "a.png", "--replace")
    assert "would be written over" in ran.complaint()
    assert (tmp_path / "a.png").read_bytes() == before


def test_no_folder_and_no_dataset(tmp_path, shell) -> None:
    assert "dataset folder not found" in shell("data", "check", tmp_path / "gone").complaint()
    assert "holds no dataset in a known layout" in shell("data", "check", tmp_path).complaint()
