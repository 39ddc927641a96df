"""`groundling ground`: the box of each expression in a picture, or in many."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli import answering, console, given, timing
from groundling.cli.answering import Asking, Device, Download, Every, Json, MaxPixels, Out

if TYPE_CHECKING:
    from groundling.pictures.images import ImageSource
    from groundling.results import Grounding

    Answer = Callable[[ImageSource, Sequence[str]], list[Grounding]]

COLUMNS = ("expression", "box (x1 y1 x2 y2)", "score", "MACs", "layers on", "filters on", *timing.COLUMNS)


def ground(
    pictures_and_expressions: Annotated[
        list[str],
        typer.Argument(
            metavar="PICTURES... EXPRESSIONS...",
            help=f"{answering.PICTURES}; then what to look for, each in quotes (an exported file knows it).",
        ),
    ],
    model: Annotated[
        str, typer.Option(help="A packaged model, a checkpoint folder, an exported file, or a hub id.")
    ] = "lads_photo",
    budget: Annotated[
        float | None,
        typer.Option(help="Largest share of the full network's MACs to spend, above 0 and up to 1."),
    ] = None,
    absent: Annotated[
        float | None,
        typer.Option(help="Give no box for what is less likely than this to be there at all, 0 to 1."),
    ] = None,
    json: Json = False,
    out: Out = None,
    expressions: Annotated[
        Path | None, typer.Option(help="Read expressions from this file, one a line; - is stdin.")
    ] = None,
    every: Every = 1,
    download: Download = False,
    max_pixels: MaxPixels = 50_000_000,
    device: Device = "cpu",
) -> None:
    """Find what each expression means in a picture, or in many.

    Many pictures give JSON Lines, or with --out a file of them that is continued where it stopped, a folder
    of pictures, or of a video a video.
    """
    from groundling.draw import draw_grounding
    from groundling.runtime.exported import RUNTIMES

    exported = Path(model).suffix in RUNTIMES
    asked = given.parted(pictures_and_expressions, lambda: not exported and expressions is None)
    pictures = answering.pictures(
        asked.pictures,
        answering.place(out, asked),
        json=json,
        every=every,
        max_pixels=max_pixels,
        inputs=given.files(expressions),
    )
    texts = asked.words + given.read_file(expressions, asked)
    if exported:
        answer, texts = _exported(model, texts, budget, absent, device, max_pixels)
    else:
        answer = _loaded(model, texts, budget, absent, device, download, max_pixels)
    made_by = {"verb": "ground", "model": answering.sha256(model, download), "budget": budget}
    made_by |= {} if absent is None else {"absent": absent}
    pictures.run(Asking(texts, answer, _show, made_by), draw_grounding)


def _exported(
    model: str,
    expressions: list[str],
    budget: float | None,
    absent: float | None,
    device: str,
    max_pixels: int,
) -> "tuple[Answer, list[str]]":
    """What answers, and the expressions that it is asked: its own if it has one."""
    from groundling.runtime import ExportedGrounder

    if budget is not None or device != "cpu":
        raise ValueError(f"{model} is an exported file: it has one size and runs on the CPU")
    if absent is not None:
        raise ValueError(
            f"{model} is an exported file, which does not say how sure it is that a thing is there"
        )
    grounder = ExportedGrounder(model, max_pixels=max_pixels)
    return grounder.ground, list(grounder.asked(expressions))


def _loaded(
    model: str,
    expressions: list[str],
    budget: float | None,
    absent: float | None,
    device: str,
    download: bool,
    max_pixels: int,
) -> "Answer":
    """What answers, after a look at all expressions: a wrong one is an error before a picture is opened."""
    from groundling.ask.grounder import load_grounder

    if not expressions:
        raise ValueError('say what to look for, after the pictures: groundling ground photo.jpg "the cat"')
    loaded = load_grounder(model, device=device, download=download, max_pixels=max_pixels)
    with warnings.catch_warnings():  # they come with the answers
        warnings.simplefilter("ignore")
        for expression in expressions:
            loaded.select(expression, budget=budget)
    loaded.check_absent(absent)
    return lambda image, words: loaded.ground(image, words, budget=budget, absent=absent)


def _show(answers: "Sequence[Grounding]", repeated: "Sequence[Grounding]") -> None:
    console.print_table(COLUMNS, map(_row, answers, repeated))
    print(timing.NOTE)


def _row(found: "Grounding", repeated: "Grounding") -> tuple[str, ...]:
    selection = found.selection
    return (
        found.expression,
        "not there" if found.box is None else console.numbers(found.box),
        "" if found.score is None else f"{found.score:.2f}",
        f"{found.cost.macs / 1e6:.1f} M, {console.percent(found.cost.share)}",
        console.part(selection.layers_on, selection.layers),
        console.part(selection.filters_on, selection.filters),
        f"{found.milliseconds:.1f}",
        f"{repeated.milliseconds:.1f}",
    )
