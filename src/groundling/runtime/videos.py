"""Videos: their frames as people see them, and a video made of drawn pictures. PyAV reads and writes them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from PIL import Image

# What a name of a video stands for: its container, and encoders, the first of which that is there is used.
ENCODERS = {
    ".mp4": ("mp4", ("libx264", "mpeg4")),
    ".m4v": ("mp4", ("libx264", "mpeg4")),
    ".mov": ("mov", ("libx264", "mpeg4")),
    ".mkv": ("matroska", ("libx264", "mpeg4")),
    ".avi": ("avi", ("mpeg4",)),
    ".webm": ("webm", ("libvpx-vp9", "libvpx")),
}
RATE = Fraction(25)  # frames a second of a video that does not say its own
_BESIDE = (255, 255, 255)  # a frame smaller than the first is laid on white


class VideoError(ValueError):
    """A video that cannot be read or written; the message says which and why."""


def frames(path: Path, every: int, max_pixels: int) -> Iterator[tuple[int, Image.Image]]:
    """One frame in so many, upright, with its number from 0; VideoError where no more can be read."""
    import av

    number = -1
    try:
        with av.open(os.path.abspath(path)) as video:  # "12:30.mp4" alone is a protocol to ffmpeg
            if not video.streams.video:
                raise VideoError(f"{path}: has no pictures, only sound")
            shape = video.streams.video[0]
            if shape.width * shape.height > max_pixels:
                size = f"{shape.width}×{shape.height}"
                raise VideoError(f"{path}: {size} pixels, the limit is {max_pixels:,}")
            for number, frame in enumerate(video.decode(video=0)):
                if number % every == 0:
                    yield number, _upright(frame)
            if number < 0:
                raise VideoError(f"{path}: holds no frame")
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{path}: cannot be read any further ({error.strerror or error})") from error


def count(path: Path, every: int) -> int:
    """How many frames there will be, as far as the video says it itself; 0 where it cannot be opened."""
    import av

    try:
        with av.open(os.path.abspath(path)) as video:
            shape = video.streams.video[0]
            seconds = float((shape.duration or 0) * (shape.time_base or 0)) or (video.duration or 0) / 1e6
            frames = shape.frames or round(seconds * float(shape.average_rate or 0))
            return -(-frames // every)
    except (av.FFmpegError, OSError, IndexError):
        return 0


def rate(path: Path) -> Fraction:
    """Frames a second."""
    import av

    with suppress(av.FFmpegError, OSError, IndexError), av.open(os.path.abspath(path)) as video:
        return Fraction(video.streams.video[0].average_rate or RATE)
    return RATE


def encoder(name: str | os.PathLike[str]) -> str:
    """The encoder for a video of this name; VideoError for a name of another kind, or where none is there."""
    import av

    kind = Path(name).suffix.lower()
    if kind not in ENCODERS:
        raise VideoError(
            f"cannot save a video as {Path(name).name!r}; its name should end in {', '.join(ENCODERS)}"
        )
    for codec in ENCODERS[kind][1]:
        with suppress(av.FFmpegError, ValueError):
            av.codec.Codec(codec, "w")
            return codec
    raise VideoError(f"no encoder for {kind} is here ({', '.join(ENCODERS[kind][1])}); try .avi or .webm")


class Film(Protocol):
    """A video that grows."""

    def add(self, picture: Image.Image) -> None:
        """The next frame; it is shown at the size of the first one."""


@contextmanager
def film(file: BinaryIO, name: str | os.PathLike[str], speed: Fraction) -> Iterator[Film]:
    """A video of so many frames a second, written to a file that can seek; `name` says its format."""
    import av

    with av.open(file, "w", format=ENCODERS[Path(name).suffix.lower()][0]) as video:
        made = _Film(video, encoder(name), speed)
        yield made
        made.end()


class _Film:
    def __init__(self, video: Any, codec: str, speed: Fraction) -> None:
        self._video, self._codec, self._speed = video, codec, speed
        self._stream: Any = None

    def add(self, picture: Image.Image) -> None:
        import av

        if self._stream is None:
            speed = max(self._speed.limit_denominator(1001), Fraction(1, 1001))  # formats have no finer ones
            self._stream = self._video.add_stream(self._codec, rate=speed)
            # Encoders store colours for every second pixel.
            self._stream.width, self._stream.height = (side + side % 2 for side in picture.size)
            self._stream.pix_fmt = "yuv420p"
        size = self._stream.width, self._stream.height
        self._video.mux(self._stream.encode(av.VideoFrame.from_image(_on_page(picture, size))))

    def end(self) -> None:
        if self._stream is not None:
            self._video.mux(self._stream.encode())


def _on_page(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture on a white page, smaller where it is larger than that."""
    if picture.size == size:
        return picture
    picture = picture.convert("RGB")
    picture.thumbnail(size)
    page = Image.new("RGB", size, _BESIDE)
    page.paste(picture, ((size[0] - picture.width) // 2, 0))
    return page


def _upright(frame: Any) -> Image.Image:
    """A frame as people see it: phones write videos lying, with the turn beside them."""
    image: Image.Image = frame.to_image()
    turn = round(getattr(frame, "rotation", 0) or 0) % 360
    return image.rotate(turn, expand=True) if turn else image
