"""Five verbs about many pictures: pictures before words, lines, folders, videos; no input is written over."""

import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from small import Shell, mdetr_folder, model_folder
from test_streams import film, folder, names

from groundling.runtime.streams import Stream

__all__ = ["folder"]  # a fixture


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# --- many pictures


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
    assert "cannot be met" in complaint("left", "--budget", 0.001)
    assert "go to a folder, as in --out boxes/, to a file *.jsonl, or" in complaint(
        "left", "--out", folder / "x.png"
    )
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
    other = shell("ground", folder, "left", "--model", model, "--out", out, "--budget", 0.9).complaint()
    assert "holds answers of another budget; choose another file" in other


def untimed(text: str) -> list[dict[str, Any]]:
    return [{**row, "milliseconds": 0} for row in lines(text)]


# --- pictures before words


def test_several_pictures_come_before_the_words(shell: Shell, model: Path, folder: Path) -> None:
    """`ground photos/*.jpg "the man"`, as a shell expands it, boxed the second path as an expression."""
    pictures = [folder / "0.png", folder / "1.png", folder / "deeper"]
    rows = lines(shell("ground", *pictures, "left", "red", "--model", model).out)
    asked = [(row["image"], row["expression"]) for row in rows]
    read = [str(folder / name) for name in ("0.png", "1.png", "deeper/3.PNG")]
    assert asked == [(name, words) for name in read for words in ("left", "red")]


def test_a_folder_at_the_end_is_a_word(
    shell: Shell, model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    (folder.parent / "left").mkdir()
    (folder.parent / "red").write_text("a file without an ending that is no picture")
    shutil.copy(folder / "0.png", "left/own.png")
    rows = lines(shell("ground", "images/0.png", "left", "--model", model, "--json").out)
    assert [(row["image"], row["expression"]) for row in rows] == [("images/0.png", "left")]
    rows = lines(shell("ground", "images/0.png", "left", "red", "--model", model).out)
    assert [(row["image"], row["expression"]) for row in rows] == [
        ("images/0.png", "red"), ("left/own.png", "red"),
    ]  # fmt: skip


def test_arguments_that_are_no_words(shell: Shell, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is said before the model, which is not there, is looked for."""
    monkeypatch.chdir(folder)

    def complaint(*arguments: object, verb: str = "ground") -> str:
        return shell(verb, *arguments, "--model", folder / "none").complaint()

    assert "1.png is a file: pictures come before the words" in complaint("0.png", "left", "1.png")
    assert "deeper/ is a folder: pictures come before" in complaint("0.png", "left", "deeper/")
    assert "not found: 7.png" in complaint("0.png", "7.png", "left")
    assert "not found: deeper/7" in complaint("0.png", "deeper/7", "left")
    assert "not found: *.webp" in complaint("0.png", "*.webp", "left")
    assert "not found: left; pictures come first, then the words" in complaint("left", "0.png")
    assert "not found: photos" in complaint("photos", "left", "--out", "cats.jsonl")
    assert "https://a.b/c.png: URLs are not fetched" in complaint("0.png", "https://a.b/c.png", "left")
    assert "say what to look for" in complaint("0.png", "1.png")
    assert "say what to look for" in complaint("0.png", "*.png")
    assert "an empty name" in complaint("", "left")
    assert "an empty name" in complaint("0.png", "left", "--out", "")
    assert "'boxes': a picture's name ends in .png or .jpg, a folder's in /" in complaint(
        "0.png", "left", "--out", "boxes"
    )
    assert "say a question after the pictures" in complaint("0.png", "1.png", verb="answer")
    assert "give a caption as one text in quotes, after the pictures; given 'a', 'red'" in complaint(
        "0.png", "a", "red", verb="phrases"
    )


def test_a_picture_or_expressions_from_stdin(
    shell: Shell, model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def piped(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    piped((folder / "0.png").read_bytes())
    ran = shell("ground", "-", "left", "--model", model, "--json", "--out", tmp_path / "seen.png")
    (row,), path = lines(ran.out), tmp_path / "seen.png"
    assert (row["image"], ran.err, path.exists()) == ("-", f"{path}\n", True)
    words = tmp_path / "words.txt"
    words.write_bytes("\ufeffleft\r\n\r\nred square\n".encode())
    piped(words.read_bytes())
    for file in (words, "-"):
        ran = shell("ground", folder / "0.png", "--expressions", file, "--model", model, "--json")
        assert [row["expression"] for row in lines(ran.out)] == ["left", "red square"]
    both = shell("ground", "-", "--expressions", "-", "--model", model)
    assert "stdin holds a picture or texts, not both" in both.complaint()
    over = shell("ground", folder, "--expressions", words, "--model", model, "--out", words)
    assert over.code == 2
    assert words.read_bytes().startswith(b"\xef\xbb\xbfleft")


# --- outputs of many


def test_a_folder_of_pictures_with_their_boxes(
    shell: Shell, model: Path, folder: Path, tmp_path: Path
) -> None:
    """Sub-folders are kept, names that meet are made different, and what is there stays."""
    shutil.copy(folder / "0.png", folder / "0.bmp")
    out = tmp_path / "boxes"
    ran = shell("ground", folder, "left", "--model", model, "--out", f"{out}/")
    assert (ran.code, ran.out, ran.err) == (0, f"{out}\n", "")
    drawn = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert drawn == {"0.png", "0-2.png", "1.png", "2.png", "deeper/3.PNG"}
    with Image.open(out / "deeper" / "3.PNG") as picture:
        assert picture.width >= 400
    (out / "1.png").write_bytes(b"mine")
    (out / "2.png").unlink()
    again = shell("ground", folder, "left", "--model", model, "--out", out)
    assert (again.code, again.only_line()) == (0, "groundling: 4 were there already")
    assert (out / "1.png").read_bytes() == b"mine"
    assert (out / "2.png").exists()


def test_a_folder_of_answers_inside_the_pictures_is_not_read(shell: Shell, model: Path, folder: Path) -> None:
    for _ in range(2):
        ran = shell("ground", folder, "left", "--model", model, "--out", folder / "boxes")
        assert ran.code == 0
    assert not (folder / "boxes" / "boxes").exists()
    assert f"4 in {folder / 'boxes'}, which is written to" in ran.err
    over = shell("ground", folder, "left", "--model", model, "--out", folder)
    assert "is read here, and would be written over; choose another place" in over.complaint()
    over = shell("ground", folder / "0.png", folder / "1.png", "left", "--model", model, "--out", folder)
    assert "0.png is read here, and would be written over" in over.complaint()


def test_lines_inside_the_pictures_are_taken_up_again(shell: Shell, model: Path, folder: Path) -> None:
    out = folder / "answers.jsonl"
    assert shell("ground", folder, "left", "--model", model, "--out", out) == (0, f"{out}\n", "")
    ran = shell("ground", folder, "left", "--model", model, "--out", out)
    assert (ran.code, ran.only_line()) == (0, "groundling: 4 were there already")


def test_a_video_with_its_boxes(shell: Shell, model: Path, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path, out = film(tmp_path / "film.mp4"), tmp_path / "boxes.mkv"
    ran = shell("ground", path, "left", "--model", model, "--every", 4, "--out", out)
    assert (ran.code, ran.out) == (0, f"{out}\n")
    with av.open(str(out)) as video:
        assert [frame.width >= 400 for frame in video.decode(video=0)] == [True] * 3
        assert video.streams.video[0].average_rate == pytest.approx(10 / 4)
    over = shell("ground", path, "left", "--model", model, "--out", path)
    assert "film.mp4 is read here, and would be written over" in over.complaint()
    two = shell("ground", path, path.parent, "left", "--model", model, "--out", tmp_path / "x.mp4")
    assert "a video, and one is made of one video" in two.err
    assert not (tmp_path / "x.mp4").exists()
    frames = shell("ground", path, "left", "--model", model, "--every", 5, "--out", tmp_path / "frames/")
    assert frames.code == 0
    assert sorted((tmp_path / "frames").rglob("*.jpg")) == [
        tmp_path / "frames" / "film.mp4" / f"{number:06}.jpg" for number in (0, 5)
    ]


def test_a_video_that_cannot_be_read_leaves_none(shell: Shell, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    (tmp_path / "film.mp4").write_bytes(b"no video")
    ran = shell("ground", tmp_path / "film.mp4", "left", "--model", model, "--out", tmp_path / "out.mp4")
    assert ran.code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


ASKED = {"detect": ("square", "left"), "phrases": ("a red square",), "answer": ("Is it red?",)}


@pytest.fixture(scope="module")
def mdetr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mdetr_folder(tmp_path_factory.mktemp("mdetr") / "small")


@pytest.mark.parametrize("verb", ASKED)
def test_every_verb_takes_many_pictures(
    verb: str, shell: Shell, mdetr: Path, folder: Path, tmp_path: Path
) -> None:
    asked = (verb, folder, *ASKED[verb], "--model", mdetr)
    rows = lines(shell(*asked).out)
    assert [row["image"] for row in rows] == names(Stream(str(folder)))
    alone = lines(shell(verb, folder / "1.png", *ASKED[verb], "--model", mdetr, "--json").out)[0]
    assert {**rows[1], "milliseconds": 0} == {**alone, "milliseconds": 0}
    out, boxes = tmp_path / "answers.jsonl", tmp_path / "boxes"
    assert shell(*asked, "--out", out).code == 0
    assert untimed(out.read_text()) == [{**row, "milliseconds": 0} for row in rows]
    assert "4 were there already" in shell(*asked, "--out", out).err
    other = shell("ground", folder, "left", "--model", mdetr, "--out", out).complaint()
    assert "holds answers of another" in other
    assert "another verb" in other
    assert shell(*asked, "--out", boxes).code == 0
    assert len([path for path in boxes.rglob("*") if path.is_file()]) == 4


def test_masks_of_many_pictures(shell: Shell, mdetr: Path, folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "0.png", folder / "0.bmp")
    masks, seen = tmp_path / "masks", tmp_path / "seen"
    asked = ("segment", folder, "a red square", "--model", mdetr, "--threshold", 0)
    ran = shell(*asked, "--out", masks, "--overlay", seen)
    assert (ran.code, ran.out) == (0, f"{masks}\n{seen}\n")
    for place in (masks, seen):
        assert len([path for path in place.rglob("*") if path.is_file()]) == 5
    with Image.open(masks / "deeper" / "3.png") as mask, Image.open(folder / "deeper" / "3.PNG") as picture:
        assert (mask.mode, mask.size) == ("L", picture.size)
    assert "are two pictures" in shell(*asked, "--out", masks, "--overlay", masks).complaint()
    assert "masks of many pictures in a folder" in shell(*asked, "--out", tmp_path / "m.png").complaint()


# --- nothing that is read is written over


@pytest.mark.parametrize("verb", ["ground", *ASKED, "segment"])
@pytest.mark.parametrize("by", ["itself", "another spelling", "a link", "a hard link"])
def test_a_picture_is_never_written_over(
    verb: str, by: str, shell: Shell, model: Path, mdetr: Path, folder: Path, tmp_path: Path
) -> None:
    """`ground p.jpg "the cat" --out p.jpg` drew over the only copy of a photograph, exit 0, no word."""
    picture, before = folder / "0.png", (folder / "0.png").read_bytes()
    out = {"itself": picture, "another spelling": f"{folder}/deeper/../0.png"}.get(by, tmp_path / "link.png")
    if "link" in by:
        (os.link if by == "a hard link" else os.symlink)(picture, out)
    options = ["--out"] if verb != "segment" else ["--out", "--overlay"]
    for option in options:
        words = ASKED.get(verb, ("left",))
        ran = shell(verb, picture, *words, "--model", model if verb == "ground" else mdetr, option, out)
        assert "would be written over" in ran.complaint()
        assert picture.read_bytes() == before


def test_lines_of_a_file_are_printed_where_json_is_asked_for(
    shell: Shell, model: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "answers.jsonl"
    ran = shell("ground", folder, "left", "--model", model, "--out", out, "--json")
    assert ran.out == out.read_text()
    assert ran.err == f"{out}\n"
