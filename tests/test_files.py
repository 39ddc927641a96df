"""Files are whole or not there, and take the place of files alone."""

import os
from pathlib import Path

import pytest

from groundling.files import check_place, write, writing


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
