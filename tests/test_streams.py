"""Folders, patterns and videos: every picture is answered once, bad ones are named and counted."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small import Shell, data_folder, model_folder

import groundling
from groundling.runtime.streams import Answers, Picture, Stream, StreamError, is_many


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pictures, one of them in a folder of its own, and a text."""
    data_folder(tmp_path / "data", images=4)
    images = tmp_path / "data" / "images"
    (images / "deeper").mkdir()
    (images / "3.png").rename(images / "deeper" / "3.PNG")
    (images / "notes.txt").write_text("no picture")
    return images


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def film(path: Path, frames: int = 10) -> Path:
    """A short video; frame n is n·20 bright (of 256)."""
    av = pytest.importorskip("av", reason="videos need the extra `video`")
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 48, "yuv420p", 2_000_000
        for number in range(frames):
            pixels = np.full((48, 64, 3), number * 20 % 256, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
    return path


def names(stream: Stream) -> list[str]:
    return [each.name if isinstance(each, Picture) else f"! {each}" for each in stream]


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# --- what there is


def test_a_folder_is_its_pictures_by_name(folder: Path) -> None:
    found = Stream(str(folder))
    assert names(found) == [str(folder / name) for name in ("0.png", "1.png", "2.png", "deeper/3.PNG")]
    assert len(found) == 4


def test_a_pattern(folder: Path) -> None:
    assert names(Stream(str(folder / "[01].png"))) == [str(folder / "0.png"), str(folder / "1.png")]
    assert len(Stream(str(folder / "**" / "*.PNG"))) == 1


def test_a_file_that_looks_like_a_pattern_is_a_file(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a[1].png")
    assert not is_many(str(tmp_path / "a[1].png"))


@pytest.mark.parametrize(("every", "numbers"), [(1, range(10)), (4, (0, 4, 8))])
def test_a_video_is_its_frames(tmp_path: Path, every: int, numbers: Any) -> None:
    path = film(tmp_path / "film.mp4")
    stream = Stream(str(path), every)
    frames = [each for each in stream if isinstance(each, Picture)]
    assert [frame.name for frame in frames] == [f"{path}#{number}" for number in numbers]
    assert len(stream) == len(frames)
    for frame, number in zip(frames, numbers, strict=True):
        assert isinstance(frame.source, Image.Image)
        assert frame.source.size == (64, 48)
        assert np.asarray(frame.source).mean() == pytest.approx(number * 20, abs=6)


def test_links_in_circles_give_each_picture_once(folder: Path) -> None:
    (folder / "deeper" / "again").symlink_to(folder, target_is_directory=True)
    assert len(names(Stream(str(folder / "**" / "*.png")))) == 3
    assert len(names(Stream(str(folder / "**" / "**" / "*.png")))) == 3
    assert len(names(Stream(str(folder)))) == 4


def test_a_video_whose_name_has_a_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film(tmp_path / "film.mp4").rename(tmp_path / "12:30.mp4")
    monkeypatch.chdir(tmp_path)
    assert len(names(Stream("12:30.mp4", every=5))) == 2


def test_what_is_no_stream(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no picture, folder or video .*none.mp4"):
        Stream(str(tmp_path / "none.mp4"))
    with pytest.raises(ValueError, match="holds no picture or video"):
        Stream(str(tmp_path))
    with pytest.raises(ValueError, match="no file is called like"):
        Stream(str(tmp_path / "*.jpg"))
    with pytest.raises(ValueError, match="every must be 1 or more, given 0"):
        Stream(str(tmp_path), every=0)


def test_videos_need_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "film.mp4").write_bytes(b"")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'groundling\[video\]'"):
        Stream(str(tmp_path / "film.mp4"))


def test_a_video_that_ends_within_a_frame(tmp_path: Path) -> None:
    """What came before it is answered; what is missing is one error."""
    whole = film(tmp_path / "whole.avi", frames=60).read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    frames = list(Stream(str(cut)))
    assert 5 < sum(isinstance(frame, Picture) for frame in frames) < 60
    cut.write_bytes(whole[:700])
    (only,) = Stream(str(cut))
    assert isinstance(only, StreamError)
    assert str(cut) in str(only)
    assert len(Stream(str(cut))) == 0


def test_a_video_too_large(tmp_path: Path) -> None:
    (only,) = Stream(str(film(tmp_path / "film.mp4")), max_pixels=1000)
    assert "64×48 pixels, the limit is 1,000" in str(only)


# --- the command line


def test_lines_come_for_every_picture_and_expression(shell: Shell, model: Path, folder: Path) -> None:
    ran = shell("ground", folder, "left", "red square", "--model", model)
    assert (ran.code, ran.err) == (0, "")
    rows = lines(ran.out)
    asked = [(row["image"], row["expression"]) for row in rows]
    assert asked == [(name, words) for name in names(Stream(str(folder))) for words in ("left", "red square")]
    alone = lines(shell("ground", folder / "1.png", "left", "--model", model, "--json").out)[0]
    assert {**rows[2], "milliseconds": 0} == {**alone, "milliseconds": 0}


def test_frames_are_named(shell: Shell, model: Path, tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4")
    ran = shell("ground", path, "left", "--model", model, "--every", 5)
    assert [row["image"] for row in lines(ran.out)] == [f"{path}#0", f"{path}#5"]


def test_bad_files_are_skipped_named_and_counted(shell: Shell, model: Path, folder: Path) -> None:
    (folder / "1.png").write_bytes(b"no picture")
    ran = shell("ground", folder, "left", "--model", model)
    assert ran.code == 0
    assert len(lines(ran.out)) == 3
    first, last = ran.err.splitlines()
    assert first.startswith("groundling: skipped: ")
    assert "1.png" in first
    assert last == "groundling: 1 skipped, 3 answered"
    for path in Stream(str(folder)).paths:
        path.write_bytes(b"")
    assert shell("ground", folder, "left", "--model", model).code == 2


def test_what_cannot_be_asked_is_said_once(shell: Shell, model: Path, folder: Path) -> None:
    def complaint(*arguments: object) -> str:
        return shell("ground", folder, *arguments, "--model", model).complaint()

    assert "no words" in complaint(" ")
    assert "out of reach" in complaint("left", "--budget", 0.001)
    assert "give a file *.jsonl, not 'x.png'" in complaint("left", "--out", folder / "x.png")
    assert "say what to look for" in complaint()


def test_a_stopped_run_is_taken_up_again(shell: Shell, model: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    assert shell("ground", folder, "left", "--model", model, "--out", out).out == f"{out}\n"
    whole = out.read_text()
    rows = whole.splitlines(keepends=True)
    out.write_text("".join(rows[:2]) + rows[2][:30])  # stopped while it wrote the third
    assert shell("ground", folder, "left", "--model", model, "--out", out).code == 0
    assert untimed(out.read_text()) == untimed(whole)
    assert shell("ground", folder, "left", "red square", "--model", model, "--out", out).code == 0
    assert len(lines(out.read_text())) == 8
    assert (
        "of another model or with another budget"
        in shell("ground", folder, "left", "--model", model, "--out", out, "--budget", 0.9).complaint()
    )


def untimed(text: str) -> list[dict[str, Any]]:
    return [{**row, "milliseconds": 0} for row in lines(text)]


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text('{"image": "a.png", "expression": "b", "box": [1, 2, 3, 4]}\n')
    with pytest.raises(ValueError, match="choose another file"):
        Answers(tmp_path / "mine.jsonl", {"model": "x"})
    assert (tmp_path / "mine.jsonl").read_text().startswith('{"image"')
    Answers(tmp_path / "new.jsonl", {"model": "x"}).close()
    (tmp_path / "new.jsonl").write_text("[]\n")
    with pytest.raises(ValueError, match=r"new.jsonl:1: is no answer of ours"):
        Answers(tmp_path / "new.jsonl", {"model": "x"})


def test_whatever_grounds_answers_a_stream(folder: Path) -> None:
    """Anything that grounds can: here a function."""
    from groundling.runtime.streams import answers

    grounder = groundling.load()
    calls: list[int] = []

    def ground(image: Any, words: Any) -> list[Any]:
        calls.append(len(words))
        return grounder.ground(image, list(words))

    found: Iterator[Any] = answers(
        Stream(str(folder / "?.png")), ["left", "red"], ground, done={(str(folder / "0.png"), "left")}
    )
    assert [len(each) for each in found] == [1, 2, 2]
    assert calls == [1, 2, 2]
