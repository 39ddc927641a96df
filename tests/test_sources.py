"""What a folder, a pattern or a path means: all that can be opened, each file once, the rest counted."""

import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from test_streams import folder, names

from groundling.runtime.sources import is_many
from groundling.runtime.streams import LeftOutWarning, Stream

__all__ = ["folder"]  # a fixture


def test_a_pattern(folder: Path) -> None:
    assert names(Stream(str(folder / "[01].png"))) == [str(folder / "0.png"), str(folder / "1.png")]
    assert len(Stream(str(folder / "**" / "*.PNG"))) == 1


def test_a_file_that_looks_like_a_pattern_is_a_file(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a[1].png")
    assert not is_many(str(tmp_path / "a[1].png"))


def test_links_in_circles_give_each_picture_once(folder: Path) -> None:
    (folder / "deeper" / "again").symlink_to(folder, target_is_directory=True)
    assert len(names(Stream(str(folder / "**" / "*.png")))) == 3
    assert len(names(Stream(str(folder / "**" / "**" / "*.png")))) == 3
    assert len(names(Stream(str(folder)))) == 4


def test_a_folder_holds_whatever_can_be_opened(tmp_path: Path) -> None:
    """Of six pictures one was answered, without a word of the others (.jfif, .pgm, .mpo, linked, .avif)."""
    photos, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    for place in (photos / ".git", photos / "__MACOSX", photos / "@eaDir", elsewhere):
        place.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(place / "z.jpg")
    for name in ("a.jpg", "b.jfif", "e.JPE", "c.pgm", "without"):
        Image.new("L", (8, 8)).save(photos / name, "PPM" if name == "c.pgm" else "JPEG")
    (photos / "d.mpo").write_bytes((photos / "a.jpg").read_bytes())
    (photos / "linked").symlink_to("../elsewhere")
    (photos / "again.jpg").symlink_to("a.jpg")
    (photos / "broken.jpg").symlink_to("nowhere.jpg")
    (photos / "f.avif").write_bytes(b"\0\0\0\x1cftypavif\0\0\0\0")
    (photos / "g.heic").write_bytes(b"\0\0\0\x1cftypheic\0\0\0\0")
    (photos / "Thumbs.db").write_bytes(b"x")
    (photos / "._a.jpg").write_bytes(b"x")
    (photos / "notes.txt").write_text("no picture")
    os.mkfifo(photos / "pipe")
    with pytest.warns(LeftOutWarning) as said:
        found = names(Stream(str(photos)))
    read = ("a.jpg", "b.jfif", "c.pgm", "d.mpo", "e.JPE", "linked/z.jpg", "without")
    assert found == [str(photos / name) for name in read]
    (line,) = (str(each.message) for each in said)
    assert line.startswith(
        f"{photos}: 11 files left out: 1 AVIF and 1 HEIC (formats not supported), 5 hidden, "
    )
    for kind in ("1 .txt", "1 broken link", "1 pipe or device", "1 read already under another name"):
        assert kind in line


def test_a_link_gives_its_place_to_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "photos" / "z").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "z" / "a.png")
    (tmp_path / "photos" / "b").symlink_to("z")
    (tmp_path / "photos" / "up").symlink_to("..")
    assert names(Stream(str(tmp_path / "photos"))) == [str(tmp_path / "photos" / "z" / "a.png")]


def test_the_part_of_a_pattern_that_exists_is_no_pattern(tmp_path: Path) -> None:
    """`trip [2024]/*.jpg`: "no file is called like trip [2024]/*.jpg"."""
    for place in ("trip [2024]", "trip 2", "deep/trip [2024]"):
        (tmp_path / place).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / place / "a.jpg")
    for pattern, found in {
        "trip [2024]/*.jpg": ["trip [2024]/a.jpg"],
        "trip [2024]": ["trip [2024]/a.jpg"],
        "*/trip [2024]/*.jpg": ["deep/trip [2024]/a.jpg"],
        "trip [1-3]/*.jpg": ["trip 2/a.jpg"],
        "trip*": ["trip 2/a.jpg", "trip [2024]/a.jpg"],
        "**/?.jpg": ["deep/trip [2024]/a.jpg", "trip 2/a.jpg", "trip [2024]/a.jpg"],
    }.items():
        assert names(Stream(str(tmp_path / pattern))) == [str(tmp_path / each) for each in found], pattern


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_in_another_unicode_form_are_found(tmp_path: Path, form: Any) -> None:
    own, other = (unicodedata.normalize(each, "été") for each in (form, "NFD" if form == "NFC" else "NFC"))
    (tmp_path / own).mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / own / f"{own}.png")
    there = [str(tmp_path / own / f"{own}.png")]
    for asked in (f"{other}/{other}.png", other, f"{other}/*.png", f"*/{other}*"):
        assert names(Stream(str(tmp_path / asked))) == there, ascii(asked)


def test_several_sources_give_each_file_once_in_their_order(folder: Path) -> None:
    sources = [str(folder / "2.png"), str(folder / "[01].png"), str(folder / "2.png"), str(folder / "deeper")]
    found = [str(folder / name) for name in ("2.png", "0.png", "1.png", "deeper/3.PNG")]
    assert names(Stream(sources)) == found


def test_urls_keep_their_slashes() -> None:
    with pytest.raises(ValueError, match=r"^https://a\.b/c\.jpg: URLs are not fetched"):
        Stream("https://a.b/c.jpg")


def test_videos_of_a_folder_without_their_package_are_counted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One video stopped all pictures beside it."""
    (folder / "film.mp4").write_bytes(b"")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.warns(LeftOutWarning, match=r"1 video \(videos need the package av"):
        assert len(names(Stream(str(folder)))) == 4
