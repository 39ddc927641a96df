"""Folders, patterns and videos: every picture is answered once, bad ones are named and counted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small import Shell, data_folder, model_folder

from groundling.runtime.streams import Picture, Stream, StreamError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pictures, one of them in a folder of its own."""
    data_folder(tmp_path / "data", images=4)
    images = tmp_path / "data" / "images"
    (images / "deeper").mkdir()
    (images / "3.png").rename(images / "deeper" / "3.PNG")
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


def test_a_video_whose_name_has_a_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film(tmp_path / "film.mp4").rename(tmp_path / "12:30.mp4")
    monkeypatch.chdir(tmp_path)
    assert len(names(Stream("12:30.mp4", every=5))) == 2


def test_what_is_no_stream(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"not found: .*none.mp4"):
        Stream(str(tmp_path / "none.mp4"))
    with pytest.raises(ValueError, match="no picture or video that can be read in"):
        Stream(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no file or folder has a name of this pattern"):
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
