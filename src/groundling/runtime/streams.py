"""Many pictures one after another: files, folders, patterns and videos.

    for picture in Stream("photos/*.jpg"): ...
    for picture in Stream(["photos", "street.mp4"], every=25): ...

A picture that cannot be read does not stop the others.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from groundling import callers
from groundling.files import Given
from groundling.pictures.images import MAX_PIXELS, ImageSource
from groundling.runtime import videos
from groundling.runtime.sources import NEEDS_AV, Entry, Sources, is_video


class StreamError(ValueError):
    """A picture or video of a stream that cannot be read; the others can."""


class LeftOutWarning(UserWarning):
    """Files of a folder that are not read, counted by kind."""


@dataclass(frozen=True)
class Picture:
    """One picture of a stream: `name` is its path, of a frame `video.mp4#30` (its number, from 0).

    `below`: its path in the folder that was named, of a frame in a folder called as the video.
    """

    name: str
    source: ImageSource
    below: Path


class Stream:
    """The pictures of files, folders (with their subfolders), patterns and videos, in that order.

    What of a folder cannot be read is a LeftOutWarning, counted by kind; each real file comes once.
    every: of a video, one frame in so many. without: what is written to, and so not read. first: pictures
    that are at hand already. Iterating gives a Picture, or a StreamError for a video that cannot be read
    (any further); a picture's file is opened by who asks about it. ValueError where there is nothing to
    read, FileNotFoundError where there is no such file.
    """

    def __init__(
        self,
        source: str | Sequence[str],
        every: int = 1,
        max_pixels: int = MAX_PIXELS,
        *,
        without: Sequence[Given] = (),
        first: Sequence[Picture] = (),
    ) -> None:
        if every < 1:
            raise ValueError(f"every must be 1 or more, given {every}")
        sources = [source] if isinstance(source, str) else list(source)
        self.first, self.every, self.max_pixels = tuple(first), every, max_pixels
        self.entries: tuple[Entry, ...] = ()
        if sources or not first:
            found = Sources(sources, without)
            self.entries = tuple(found.entries)
            if found.left:
                callers.warn(found.told(), LeftOutWarning)
        if any(is_video(path) for path in self.paths) and importlib.util.find_spec("av") is None:
            raise ValueError(NEEDS_AV)

    @property
    def paths(self) -> list[Path]:
        """All files, videos too."""
        return [entry.path for entry in self.entries]

    def __iter__(self) -> Iterator[Picture | StreamError]:
        yield from self.first
        for entry in self.entries:
            if is_video(entry.path):
                yield from self._frames(entry)
            else:
                yield Picture(str(entry.path), entry.path, entry.below)

    def __len__(self) -> int:
        """How many pictures there are, as far as the videos say it themselves."""
        paths = self.paths
        return len(self.first) + sum(videos.count(p, self.every) if is_video(p) else 1 for p in paths)

    def _frames(self, entry: Entry) -> Iterator[Picture | StreamError]:
        try:
            for number, image in videos.frames(entry.path, self.every, self.max_pixels):
                yield Picture(f"{entry.path}#{number}", image, entry.below / f"{number:06}.jpg")
        except videos.VideoError as error:
            yield StreamError(str(error))
