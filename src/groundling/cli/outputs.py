"""Where answers about pictures go: a picture, a folder of pictures, a video, or a file of JSON Lines.

The name that `--out` is given says which. No picture that is read is ever written over: every place is looked
at before a model runs.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from PIL import Image

    from groundling.runtime.answer_file import Told
    from groundling.runtime.streams import Picture, Stream

    Answers = Sequence[Told]
    Draw = Callable[[Image.Image, Answers], Image.Image]

LINES = ".jsonl"


class Output(Protocol):
    """What takes the answers about each picture, and keeps them."""

    path: Path
    drawn: bool  # whether it takes pictures; else it is lines

    def missing(self, picture: "Picture", texts: Sequence[str]) -> Sequence[str]:
        """Which of the texts it has no answer to yet, about this picture."""

    def add(self, picture: "Picture", image: "Image.Image | None", answers: "Answers") -> None:
        """The answers about a picture; `image` is opened for outputs that draw."""


@dataclass(frozen=True)
class Place:
    """What an option was given to save answers about one picture, or about many.

    mask: pictures of masks go there, which only a PNG keeps as they are. lines: answers may be lines.
    """

    out: str
    many: bool
    mask: bool = False
    lines: bool = True

    @property
    def path(self) -> Path:
        """As a path."""
        return Path(self.out)

    @property
    def written(self) -> list[Path]:
        """What is written, and so not read where it lies in a folder of pictures."""
        hidden = self.path.with_name(f".{self.path.name}.made_by")
        return [self.path, hidden] if self.path.suffix == LINES else [self.path]

    @property
    def is_folder(self) -> bool:
        """Its name ends so, or it is one already, or many pictures need one."""
        return self.out.endswith(os.sep) or self.path.is_dir() or (self.many and not self.path.suffix)

    def check(self, stream: "Stream", inputs: Sequence[Path]) -> None:
        """The error that it would end in. inputs: files that are read besides the pictures."""
        from groundling.draw.saving import check_picture
        from groundling.files import check_place
        from groundling.runtime.videos import ENCODERS

        if not self.out:
            raise ValueError("an empty name is given as the place for answers")
        path, kind, read = self.path, self.path.suffix.lower(), [*stream.paths, *inputs]
        if self.is_folder:
            self._check_folder(stream, read)
        elif kind == LINES and self.lines:
            check_place(path, read)
        elif self.mask and (kind != ".png" or self.many):
            raise ValueError(
                "a mask is saved as a PNG, which loses nothing, and masks of many pictures in a folder, as "
                f"in --out masks/; {path.name!r} is another name"
            )
        elif kind in ENCODERS:
            self._check_video(stream, read)
        elif self.many:
            lines = ", to a file *.jsonl" if self.lines else ""
            raise ValueError(
                f"answers about many pictures go to a folder, as in --out boxes/{lines}, or of one video to "
                f"a video (*.mp4), not to {path.name!r}"
            )
        elif not kind:
            raise ValueError(f"{self.out!r}: a picture's name ends in .png or .jpg, a folder's in {os.sep}")
        else:
            check_picture(path, read)

    def _check_folder(self, stream: "Stream", read: Sequence[Path]) -> None:
        from groundling.files import check_kept, check_place

        if self.path.exists() and not self.path.is_dir():
            raise ValueError(
                f"{self.out} is a file; answers about many pictures go to a folder or to a file *.jsonl"
            )
        for entry in stream.entries:
            check_kept(self.path / entry.below, [entry.path])
        check_place(self.path / "groundling", read)

    def _check_video(self, stream: "Stream", read: Sequence[Path]) -> None:
        from groundling.files import check_place
        from groundling.runtime.sources import is_video
        from groundling.runtime.videos import encoder

        if stream.first or len(stream.paths) != 1 or not is_video(stream.paths[0]):
            raise ValueError(
                f"{self.path.name} is a video, and one is made of one video; answers about pictures go to a "
                "folder, as in --out boxes/, or to a file *.jsonl"
            )
        encoder(self.path)
        check_place(self.path, read)

    def opened(
        self,
        stack: ExitStack,
        stream: "Stream",
        inputs: Sequence[Path],
        draw: "Draw",
        made_by: Mapping[str, object],
    ) -> Output:
        """The output; what has to be finished is when the stack is left, and dropped if by an error."""
        read = [*stream.paths, *inputs]
        if self.is_folder:
            return Folder(self.path, draw, self.mask)
        if self.path.suffix.lower() == LINES:
            return Lines(self.path, stack, made_by, read)
        if self.many:
            return Video(self.path, stack, stream, draw)
        return OnePicture(self.path, draw, read)


class Lines:
    """A file of JSON Lines that is continued where it stopped."""

    drawn = False

    def __init__(
        self, path: Path, stack: ExitStack, made_by: Mapping[str, object], read: Iterable[Path]
    ) -> None:
        from groundling.runtime.answer_file import AnswerFile

        self.path, self._file = path, AnswerFile(path, made_by, read)
        stack.callback(self._file.close)

    def missing(self, picture: "Picture", texts: Sequence[str]) -> Sequence[str]:
        """Texts that have no line yet."""
        return [text for text in texts if (picture.name, text) not in self._file.done]

    def add(self, picture: "Picture", image: "Image.Image | None", answers: "Answers") -> None:
        """A line for each answer that has none."""
        for answer in answers:
            self._file.add(answer)


class OnePicture:
    """The picture with its answers; an earlier one of this name is replaced."""

    drawn = True

    def __init__(self, path: Path, draw: "Draw", read: Sequence[Path]) -> None:
        self.path, self._draw, self._read = path, draw, read

    def missing(self, picture: "Picture", texts: Sequence[str]) -> Sequence[str]:
        """All."""
        return texts

    def add(self, picture: "Picture", image: "Image.Image | None", answers: "Answers") -> None:
        """Draw and save it."""
        from groundling.draw import save

        assert image is not None
        save(self._draw(image, answers), self.path, self._read)


class Folder:
    """A folder with a drawn picture for each that was read, in the same sub-folders.

    A picture that is there is left as it is.
    """

    drawn = True

    def __init__(self, path: Path, draw: "Draw", mask: bool) -> None:
        self.path, self._draw, self._mask, self._taken = path, draw, mask, dict[str, str]()

    def missing(self, picture: "Picture", texts: Sequence[str]) -> Sequence[str]:
        """All, or none if the picture is there."""
        return () if os.path.lexists(self._place(picture)) else texts

    def add(self, picture: "Picture", image: "Image.Image | None", answers: "Answers") -> None:
        """Draw and save it."""
        from groundling.draw import save

        assert image is not None
        save(self._draw(image, answers), self._place(picture))

    def _place(self, picture: "Picture") -> Path:
        """Under its own name, which is made different if another picture has it already."""
        from groundling.draw.saving import FORMATS

        below, number = picture.below, 1
        ending = below.suffix if below.suffix.lower() in FORMATS and not self._mask else ".png"
        while True:
            name = below.with_name(f"{below.stem}{'' if number == 1 else f'-{number}'}{ending}")
            if self._taken.setdefault(str(name).lower(), picture.name) == picture.name:
                return self.path / name
            number += 1


class Video:
    """The frames of a video with their answers, as a video."""

    drawn = True

    def __init__(self, path: Path, stack: ExitStack, stream: "Stream", draw: "Draw") -> None:
        from groundling.files import writing
        from groundling.runtime.videos import film, rate

        self.path, self._draw = path, draw
        (source,) = stream.paths
        file = stack.enter_context(writing(path, inputs=[source]))
        self._film = stack.enter_context(film(file, path, rate(source) / stream.every))

    def missing(self, picture: "Picture", texts: Sequence[str]) -> Sequence[str]:
        """All."""
        return texts

    def add(self, picture: "Picture", image: "Image.Image | None", answers: "Answers") -> None:
        """The next frame."""
        assert image is not None
        self._film.add(self._draw(image, answers))
