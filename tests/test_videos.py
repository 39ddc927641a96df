"""Videos that are written: every format, any sizes, nothing where there is no encoder."""

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from groundling.runtime import videos

av = pytest.importorskip("av", reason="videos need the extra `video`")


def written(path: Path, pictures: list[Image.Image], speed: Fraction = Fraction(5, 2)) -> Path:
    with open(path, "wb") as file, videos.film(file, path, speed) as film:
        for picture in pictures:
            film.add(picture)
    return path


@pytest.mark.parametrize("ending", videos.ENCODERS)
def test_a_film_is_read_as_it_was_drawn(tmp_path: Path, ending: str) -> None:
    pictures = [Image.new("RGB", (101, 75), (40 * n, 40 * n, 40 * n)) for n in range(5)]
    path = written(tmp_path / f"film{ending}", pictures)
    assert (videos.count(path, 1), videos.rate(path)) == (5, Fraction(5, 2))
    for number, image in videos.frames(path, 1, 10**6):
        assert image.size == (102, 76)  # colours are stored for every second pixel
        assert np.asarray(image)[:70, :96].mean() == pytest.approx(40 * number, abs=6)


def test_frames_of_other_sizes_are_shown_whole_on_white(tmp_path: Path) -> None:
    """What is written below a picture may take more lines in one frame than in the next."""
    sizes = [(80, 60), (80, 120), (40, 60)]
    path = written(tmp_path / "film.mp4", [Image.new("RGB", size, "black") for size in sizes])
    seen = [np.asarray(image) > 128 for _, image in videos.frames(path, 1, 10**6)]
    assert [image.shape for image in seen] == [(60, 80, 3)] * 3
    assert [image[30].mean().round(1) for image in seen] == [0, 0.5, 0.5]  # 30 and 40 of 80 are black


def test_very_slow_films_have_a_speed(tmp_path: Path) -> None:
    path = written(tmp_path / "film.mkv", [Image.new("RGB", (8, 8))] * 2, Fraction(25, 10**6))
    assert len(list(videos.frames(path, 1, 100))) == 2


def test_what_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        videos.VideoError, match=r"cannot save a video as 'a.gif'; its name should end in .mp4"
    ):
        videos.encoder("a.gif")
    monkeypatch.setitem(videos.ENCODERS, ".mp4", ("mp4", ("none_such",)))
    with pytest.raises(videos.VideoError, match=r"no encoder for .mp4 is here \(none_such\); try .avi"):
        videos.encoder("a.mp4")


def test_an_error_among_frames_is_not_hidden_by_the_file() -> None:
    with pytest.raises(KeyError, match="mine"), videos.film(io.BytesIO(), "a.mp4", videos.RATE):
        raise KeyError("mine")
