"""Pictures in, answers out: what `ground`, `detect`, `phrases`, `answer` and `segment` have in common.

One picture gives a table, or JSON; many give JSON Lines as the answers come, or files. A picture that cannot
be read does not stop the others.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Generic, TypeVar

import typer

from groundling.cli import console, given, timing
from groundling.cli.outputs import Output, Place

if TYPE_CHECKING:
    from PIL import Image

    from groundling.pictures.images import ImageSource
    from groundling.results import Asked, Detection, Detections, Shown
    from groundling.runtime.streams import Picture, Stream

A = TypeVar("A", bound="Shown")

PICTURES = "Pictures: files, folders, patterns, videos, or - for stdin"
Json = Annotated[
    bool,
    typer.Option("--json", help="Print JSON, one line an answer; milliseconds are those of a first use."),
]
Threshold = Annotated[
    float | None, typer.Option(help="Least confidence, from 0 to 1; the model's own without it.")
]
Every = Annotated[int, typer.Option(help="Read one frame in so many of a video.")]
Download = Annotated[bool, typer.Option("--download", help="Fetch the model from the hub.")]
MaxPixels = Annotated[int, typer.Option(help="Refuse pictures of more pixels.")]
Device = Annotated[str, typer.Option(help="Where it runs: cpu, cuda or cuda:N.")]
Out = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Save the picture with its answers here; of many a folder (boxes/), lines (*.jsonl) or a video.",
    ),
]


@dataclass(frozen=True)
class Asking(Generic[A]):
    """What a verb asks about each picture, and what becomes of the answers.

    texts: each has one answer (a verb that needs none asks an empty one). show: prints the answers about one
    picture, with those of the same request again, for their times. made_by: what decides the answers beside
    picture and text: a file of them is continued by the same alone.
    """

    texts: Sequence[str]
    ask: "Callable[[ImageSource, Sequence[str]], Sequence[A]]"
    show: Callable[[Sequence[A], Sequence[A]], None]
    made_by: Mapping[str, object]


@dataclass(frozen=True)
class Pictures:
    """The pictures of a command line and the places for its answers, all looked at before a model is."""

    stream: "Stream"
    many: bool
    places: tuple[Place | None, ...]
    inputs: tuple[Path, ...]
    json: bool

    def run(
        self,
        asking: Asking[A],
        *draws: "Callable[[Image.Image, Sequence[A]], Image.Image]",
    ) -> None:
        """Ask about every picture; of the places each has its own way to draw.

        Lines go to stdout, or with a place to that, whose path is printed. A picture or video that cannot be
        read is a line on stderr, and ValueError where none could be. One picture alone raises its error.
        """
        with ExitStack() as stack:
            outputs = [
                place.opened(stack, self.stream, self.inputs, draw, asking.made_by)  # type: ignore[arg-type]
                for place, draw in zip(self.places, draws, strict=True)
                if place is not None
            ]
            if self.many:
                self._ask_all(asking, outputs)
            else:
                (picture,) = self.stream
                self._ask_one(asking, outputs, picture)  # type: ignore[arg-type]  # files are no videos
        for output in outputs:
            console.print_path(output.path, aside=self.json)

    def _ask_one(self, asking: Asking[A], outputs: Sequence[Output], picture: "Picture") -> None:
        there = [output for output in outputs if not output.missing(picture, asking.texts)]
        answers = self._answers(asking, asking.texts, outputs, picture)
        for output in there:
            console.complain(f"{output.path} holds this answer already; it is left as it is")
        if not self.json:
            asking.show(answers, timing.again(lambda: asking.ask(picture.source, asking.texts)))

    def _ask_all(self, asking: Asking[A], outputs: Sequence[Output]) -> None:
        from groundling.pictures.images import ImageError
        from groundling.runtime.streams import StreamError

        answered = skipped = there = 0
        for picture in console.followed(self.stream, len(self.stream), "asking"):
            try:
                if isinstance(picture, StreamError):
                    raise picture
                texts = _missing(asking.texts, outputs, picture)
                if texts:
                    self._answers(asking, texts, outputs, picture)
                    answered += 1
                else:
                    there += 1
            except (StreamError, ImageError, FileNotFoundError) as error:  # others are about the words
                skipped += 1
                name = "" if isinstance(picture, StreamError) or picture.name in str(error) else picture.name
                console.complain(f"skipped: {name}{': ' if name else ''}{error}")
        if skipped:
            console.complain(f"{skipped} skipped, {answered + there} answered")
        if there:
            console.complain(f"{there} {'was' if there == 1 else 'were'} there already")
        if not answered and not there:
            raise ValueError("none of the pictures could be read")

    def _answers(
        self, asking: Asking[A], texts: Sequence[str], outputs: Sequence[Output], picture: "Picture"
    ) -> list[A]:
        """The answers about a picture, kept by the outputs that have none yet, and printed as JSON."""
        from groundling.pictures.images import open_image
        from groundling.runtime.streams import StreamError

        wanting = [output for output in outputs if output.missing(picture, asking.texts)]
        image = None
        if any(output.drawn for output in wanting):
            image = open_image(picture.source, self.stream.max_pixels)
        found = asking.ask(picture.source if image is None else image, texts)
        answers = [replace(answer, image=picture.name) for answer in found]  # type: ignore[call-arg]
        for output in wanting:
            try:
                output.add(picture, image, answers)  # type: ignore[arg-type]
            except ValueError as error:  # more pixels than its format has
                raise StreamError(f"{picture.name}: {error}") from error
        if self.json or (self.many and not outputs):
            for answer in answers:
                console.print_json(answer.as_dict())  # type: ignore[attr-defined]
        return answers


def pictures(
    sources: Sequence[str],
    *places: Place | None,
    json: bool,
    every: int,
    max_pixels: int,
    inputs: Sequence[Path] = (),
) -> Pictures:
    """The pictures of these arguments, and where answers go; raises what is wrong with them.

    inputs: files that are read besides the pictures.
    """
    from groundling.runtime.streams import Picture, Stream

    files = [source for source in sources if source != given.STDIN]
    first = [Picture(given.STDIN, given.read_stdin(), Path("stdin.png"))] if given.STDIN in sources else []
    many = are_many(sources)
    used = [place for place in places if place is not None]
    written = [path for place in used for path in place.written] if many else []
    stream = Stream(files, every, max_pixels, without=written, first=first)
    for place in used:
        place.check(stream, inputs)
    return Pictures(stream, many, places, tuple(inputs), json)


def place(out: str | None, asked: given.Given, mask: bool = False, lines: bool = True) -> Place | None:
    """Where an option sends the answers about these pictures, if it is given; arguments as of Place."""
    return None if out is None else Place(out, are_many(asked.pictures), mask, lines)


def are_many(sources: Sequence[str]) -> bool:
    """Whether these arguments are more than one picture."""
    from groundling.runtime.sources import is_many

    return len(sources) > 1 or is_many(sources[0])


def sha256(model: str, download: bool) -> str:
    """Of the weights, or of an exported file."""
    from groundling import checkpoint

    if (file := Path(model)).is_file():
        weights = file.with_suffix(".bin")  # of OpenVINO
        beside = checkpoint.sha256(weights) if file.suffix == ".xml" and weights.is_file() else ""
        return checkpoint.sha256(file) + beside
    return checkpoint.sha256(checkpoint.locate(model, download=download) / checkpoint.WEIGHTS)


def print_objects(column: str, objects: "Sequence[Detection]") -> None:
    """A table of objects, under this name of the first column."""
    rows = [(each.label, console.numbers(each.box), f"{each.score:.2f}") for each in objects]
    console.print_table((column, "box (x1 y1 x2 y2)", "score"), rows)


def spent(found: "Asked | Detections", repeated: "Asked | Detections") -> str:
    """What an answer took, and what it takes again."""
    times = timing.both(found.milliseconds, repeated.milliseconds)
    return f"{console.macs(found.cost.macs)} MACs · {times}"


def _missing(texts: Sequence[str], outputs: Sequence[Output], picture: "Picture") -> Sequence[str]:
    """The texts to ask: all where nothing is kept or a picture is drawn, else those without a line."""
    if not outputs:
        return texts
    wanted = [(output, output.missing(picture, texts)) for output in outputs]
    if any(missing for output, missing in wanted if output.drawn):
        return texts
    asked = {text for _, missing in wanted for text in missing}
    return [text for text in texts if text in asked]
