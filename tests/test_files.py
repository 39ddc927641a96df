"""Files are saved whole, in the place of files alone and never of what is read."""

import os
import unicodedata
from pathlib import Path

import pytest

from groundling.files import check_folder_kept, check_kept, check_place, found, write, writing


@pytest.mark.parametrize("place", ["folder", "pipe", "file/inside"])
def test_a_place_that_no_file_can_have_is_named_and_left_as_it_is(tmp_path: Path, place: str) -> None:
    """The message named a hidden file beside it; a pipe was replaced."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("here")
    before = sorted(tmp_path.rglob("*"))
    for ask in (check_place, lambda path: write(path, b"new")):
        with pytest.raises(OSError, match=place.split("/")[0]) as raised:
            ask(tmp_path / place)
        assert not str(raised.value.filename).rpartition("/")[2].startswith(".")
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "pipe").is_fifo()


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_what_fails_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    write(tmp_path / "file", b"old")

    def fail() -> None:
        with writing(tmp_path / "file") as file:
            file.write(b"new")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


# --- what is read is never written over


def names_of(file: Path) -> dict[str, Path]:
    """Other names of a file, by what makes them other."""
    folder = file.parent
    (folder / "link").symlink_to(file.name)
    os.link(file, folder / "hard")
    (folder / "there").symlink_to(".", target_is_directory=True)
    return {
        "itself": file,
        "link": folder / "link",
        "hard link": folder / "hard",
        "linked folder": folder / "there" / file.name,
        "spelling": folder / ".." / folder.name / "." / file.name,
    }


@pytest.mark.parametrize("name", ["itself", "link", "hard link", "linked folder", "spelling"])
@pytest.mark.parametrize("given", ["file", "folder"])
def test_an_input_is_not_written_over(tmp_path: Path, name: str, given: str) -> None:
    """`ground photo.jpg "the cat" --out photo.jpg` drew its boxes into the only copy."""
    folder = tmp_path / "read"
    folder.mkdir()
    file = folder / "photo.jpg"
    file.write_bytes(b"the only copy")
    place = names_of(file)[name]
    source = file if given == "file" else folder
    for ask in (
        lambda: check_place(place, [source]),
        lambda: write(place, b"boxes", inputs=["nowhere", source]),
        lambda: check_kept(place, [source]),
    ):
        with pytest.raises(ValueError, match="read here, and would be written over"):
            ask()
    assert file.read_bytes() == b"the only copy"
    write(folder / "new.jpg", b"boxes", inputs=[source])  # beside it there is room


def test_a_hard_link_outside_the_folder_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "read" / "deeper").mkdir(parents=True)
    (tmp_path / "read" / "deeper" / "a.jpg").write_bytes(b"the only copy")
    os.link(tmp_path / "read" / "deeper" / "a.jpg", tmp_path / "out.jpg")
    with pytest.raises(ValueError, match="written over"):
        check_kept(tmp_path / "out.jpg", [tmp_path / "read"])
    (tmp_path / "other.jpg").write_bytes(b"another")
    check_kept(tmp_path / "other.jpg", [tmp_path / "read", "owner/hub-id", "a\0b"])


def test_a_folder_that_holds_an_input_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "model" / "text").mkdir(parents=True)
    (tmp_path / "link").symlink_to("model", target_is_directory=True)
    for given in ("model", "model/text", "link/text", "link"):
        with pytest.raises(ValueError, match="which would be replaced; choose another folder"):
            check_folder_kept(tmp_path / "model", [tmp_path / given])
    check_folder_kept(tmp_path / "model", [tmp_path, tmp_path / "none"])
    check_folder_kept(tmp_path / "new", [tmp_path])


# --- the file that a path means


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_in_another_unicode_form_is_found(tmp_path: Path, form: str) -> None:
    """Unzipped on a Mac, `café.jpg` is another name than the one in the annotations."""
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    there = tmp_path / unicodedata.normalize(form, "Zürich") / unicodedata.normalize(form, "café.jpg")
    there.parent.mkdir()
    there.write_bytes(b"")
    assert found(there) == there
    assert found(tmp_path / unicodedata.normalize(other, "Zürich") / there.name) == there
    assert found(unicodedata.normalize(other, str(there))) == there


@pytest.mark.parametrize("name", ["nowhere.jpg", "caffè.jpg", "a\0é", "é" * 4000, "é/é.jpg", "", "é/../x"])
def test_what_is_not_there_stays_as_it_was_given(tmp_path: Path, name: str) -> None:
    (tmp_path / "café.jpg").write_bytes(b"")
    assert found(tmp_path / name) == tmp_path / name
