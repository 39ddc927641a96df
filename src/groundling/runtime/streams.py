"""Many pictures one after another: folders, patterns and videos; their answers as JSON Lines.

    for picture in Stream("photos/*.jpg"): ...
    for picture in Stream("street.mp4", every=25): ...

A picture that cannot be read does not stop the others.
"""

import glob
import importlib.util
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from groundling.files import write
from groundling.pictures.images import MAX_PIXELS, ImageSource
from groundling.results import Grounding

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm")
VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")


class StreamError(ValueError):
    """A picture or video of a stream that cannot be read; the others can."""


@dataclass(frozen=True)
class Picture:
    """One picture of a stream: `name` is its path, of a frame `video.mp4#30` (its number, from 0)."""

    name: str
    source: ImageSource


class Stream:
    """The pictures of a folder (with its subfolders), of a pattern, or of a video, in order of their names.

    every: of a video, one frame in so many. Iterating gives a Picture, or a StreamError for a video that
    cannot be read (any further); a picture's file is opened by who grounds it. ValueError where there is
    nothing to read, FileNotFoundError where there is no such file.
    """

    def __init__(self, source: str, every: int = 1, max_pixels: int = MAX_PIXELS) -> None:
        if every < 1:
            raise ValueError(f"every must be 1 or more, given {every}")
        self.paths, self.every, self.max_pixels = _paths(source), every, max_pixels
        if any(_is_video(path) for path in self.paths) and importlib.util.find_spec("av") is None:
            raise ValueError("videos need the package av; pip install 'groundling[video]' brings it")

    def __iter__(self) -> Iterator[Picture | StreamError]:
        for path in self.paths:
            if _is_video(path):
                yield from self._frames(path)
            else:
                yield Picture(str(path), path)

    def __len__(self) -> int:
        """How many pictures there are, as far as the videos say it themselves."""
        return sum(self._count(path) if _is_video(path) else 1 for path in self.paths)

    def _frames(self, path: Path) -> Iterator[Picture | StreamError]:
        import av

        number = -1
        try:
            with av.open(os.path.abspath(path)) as video:  # "12:30.mp4" alone is a protocol to ffmpeg
                if not video.streams.video:
                    yield StreamError(f"{path}: has no pictures, only sound")
                    return
                shape = video.streams.video[0]
                if shape.width * shape.height > self.max_pixels:
                    size = f"{shape.width}×{shape.height}"
                    yield StreamError(f"{path}: {size} pixels, the limit is {self.max_pixels:,}")
                    return
                for number, frame in enumerate(video.decode(video=0)):
                    if number % self.every == 0:
                        yield Picture(f"{path}#{number}", _upright(frame))
                if number < 0:
                    yield StreamError(f"{path}: holds no frame")
        except (av.FFmpegError, OSError) as error:
            yield StreamError(f"{path}: cannot be read any further ({error.strerror or error})")

    def _count(self, path: Path) -> int:
        import av

        try:
            with av.open(os.path.abspath(path)) as video:
                shape = video.streams.video[0]
                seconds = float((shape.duration or 0) * (shape.time_base or 0))
                frames = shape.frames or round(seconds * float(shape.average_rate or 0))
                return -(-frames // self.every)
        except (av.FFmpegError, OSError, IndexError):
            return 0


def is_many(source: str) -> bool:
    """Whether this names a stream, not one picture."""
    path = Path(source)
    return path.is_dir() or _is_video(path) or (not path.exists() and glob.has_magic(source))


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEOS


def _paths(source: str) -> list[Path]:
    path = Path(source)
    if path.is_dir():
        found = [Path(folder) / name for folder, _, names in os.walk(path, onerror=_refuse) for name in names]
        found = [file for file in found if file.suffix.lower() in (*PICTURES, *VIDEOS)]
        kinds = ", ".join(suffix[1:] for suffix in (*PICTURES, *VIDEOS))
        empty = f"the folder {source} holds no picture or video ({kinds})"
    elif path.exists() or not glob.has_magic(source):
        if not path.exists():
            raise FileNotFoundError(f"no picture, folder or video {source}")
        return [path]
    else:
        found = [Path(name) for name in glob.glob(source, recursive=True) if Path(name).is_file()]
        # Links may circle: of several names of one file, the first.
        found = list({file.resolve(): file for file in sorted(found, reverse=True)}.values())
        empty = f"no file is called like {source}"
    if not found:
        raise ValueError(empty)
    return sorted(found)


def _refuse(error: OSError) -> None:
    raise ValueError(f"{error.filename}: cannot be read ({error.strerror})") from error


def _upright(frame: Any) -> Image.Image:
    """A frame as people see it: phones write videos lying, with the turn beside them."""
    image: Image.Image = frame.to_image()
    turn = round(getattr(frame, "rotation", 0) or 0) % 360
    return image.rotate(turn, expand=True) if turn else image


class Answers:
    """A JSON Lines file of answers that grows line by line and can be taken up again.

    `made_by` says what gives the answers (model, budget); it stands in a hidden file beside them, and a file
    that something else made is refused with ValueError. A last line that an interruption cut off is dropped.
    """

    def __init__(self, path: Path, made_by: Mapping[str, object]) -> None:
        if path.is_dir():
            raise ValueError(f"{path} is a folder; give the name of a file")
        self.path, beside = path, path.with_name(f".{path.name}.made_by")
        self.done: set[tuple[str, str]] = set()
        text = json.dumps(dict(made_by), sort_keys=True)
        if path.exists():
            if not beside.exists() or beside.read_text() != text:
                raise ValueError(
                    f"{path} holds answers of another model or with another budget; choose another file"
                )
            self._take_up()
        write(beside, text.encode())
        self._file = path.open("a", encoding="utf-8")

    def _take_up(self) -> None:
        whole = self.path.read_bytes()
        kept = whole[: whole.rfind(b"\n") + 1]
        if len(kept) < len(whole):
            write(self.path, kept)
        for number, line in enumerate(kept.splitlines(), 1):
            try:
                row = json.loads(line)
                self.done.add((row["image"], row["expression"]))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{self.path}:{number}: is no answer of ours") from error

    def add(self, grounding: Grounding) -> None:
        """Write one answer; it is in the file when this returns."""
        self.done.add((grounding.image, grounding.expression))
        self._file.write(json.dumps(grounding.as_dict(), allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """No more answers."""
        self._file.close()


Ground = Callable[[ImageSource, Sequence[str]], list[Grounding]]


def answers(
    stream: Stream, expressions: Sequence[str], ground: Ground, done: Collection[tuple[str, str]] = ()
) -> Iterator[list[Grounding] | StreamError]:
    """The answers about each picture, or why there are none; what is in `done` is left out."""
    for picture in stream:
        if isinstance(picture, StreamError):
            yield picture
            continue
        asked = [expression for expression in expressions if (picture.name, expression) not in done]
        if not asked:
            yield []
            continue
        try:
            found = ground(picture.source, asked)
        except (ValueError, FileNotFoundError) as error:
            yield StreamError(str(error) if picture.name in str(error) else f"{picture.name}: {error}")
            continue
        yield [replace(grounding, image=picture.name) for grounding in found]
