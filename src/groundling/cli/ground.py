"""`groundling ground`: the box of each expression in a picture."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli import console, many, timing

if TYPE_CHECKING:
    from groundling.pictures.images import ImageSource
    from groundling.results import Grounding

    Answer = Callable[[ImageSource, Sequence[str]], list[Grounding]]

COLUMNS = ("expression", "box (x1 y1 x2 y2)", "score", "MACs", "layers on", "filters on", *timing.COLUMNS)


def ground(
    image: Annotated[str, typer.Argument(help="A picture; or many: a folder, a pattern in quotes, a video.")],
    expressions: Annotated[
        list[str] | None, typer.Argument(help="What to look for, each in quotes (an exported file knows it).")
    ] = None,
    model: Annotated[
        str, typer.Option(help="A packaged model, a checkpoint folder, an exported file, or a hub id.")
    ] = "lads_street",
    budget: Annotated[
        float | None,
        typer.Option(help="Largest share of the full network's MACs to spend, above 0 and up to 1."),
    ] = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print JSON, one line an expression; milliseconds are those of a first use."
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Save the picture with its boxes here; of many, the lines (*.jsonl).")
    ] = None,
    every: Annotated[int, typer.Option(help="Read one frame in so many of a video.")] = 1,
    download: Annotated[bool, typer.Option("--download", help="Fetch the model from the hub.")] = False,
    max_pixels: Annotated[int, typer.Option(help="Refuse pictures of more pixels.")] = 50_000_000,
    device: Annotated[str, typer.Option(help="Where it runs: cpu, cuda or cuda:N.")] = "cpu",
) -> None:
    """Find what each expression means in a picture, or in many.

    Many pictures give JSON Lines; a file of them is taken up again where it stopped.
    """
    from groundling.draw import draw_grounding, format_of, save
    from groundling.pictures.images import open_image
    from groundling.runtime.streams import Stream, is_many

    stream = Stream(image, every, max_pixels) if is_many(image) else None
    if out is not None and stream is None:
        format_of(out)  # before the model runs
    answer, asked = _ready(model, expressions or (), budget, device, download, max_pixels)
    if stream is not None:
        many.run(stream, asked, answer, out, {"model": _hash(model, download), "budget": budget})
        return
    found = answer(Path(image), asked)
    if out is not None:
        save(draw_grounding(open_image(image, max_pixels), found), out)
    if json:
        for grounding in found:
            console.print_json(grounding.as_dict())
    else:
        repeated = timing.again(lambda: answer(Path(image), asked))
        console.print_table(COLUMNS, map(_row, found, repeated))
        print(timing.NOTE)


def _ready(
    model: str, expressions: Sequence[str], budget: float | None, device: str, download: bool, max_pixels: int
) -> "tuple[Answer, Sequence[str]]":
    """What answers about a picture, and the expressions it is asked: looked at before any picture is."""
    from groundling.ask.grounder import load_grounder
    from groundling.runtime import ExportedGrounder
    from groundling.runtime.exported import RUNTIMES

    if Path(model).suffix in RUNTIMES:
        if budget is not None or device != "cpu":
            raise ValueError(f"{model} is an exported file: it has one size and runs on the CPU")
        exported = ExportedGrounder(model, max_pixels=max_pixels)
        return exported.ground, exported.asked(expressions)
    if not expressions:
        raise ValueError("say what to look for: groundling ground IMAGE EXPRESSION")
    loaded = load_grounder(model, device=device, download=download, max_pixels=max_pixels)
    with warnings.catch_warnings():  # they come with the answers
        warnings.simplefilter("ignore")
        for expression in expressions:
            loaded.select(expression, budget=budget)
    return lambda image, words: loaded.ground(image, words, budget=budget), expressions


def _hash(model: str, download: bool) -> str:
    """SHA-256 of the weights, or of an exported file."""
    from groundling import checkpoint

    if (file := Path(model)).is_file():
        weights = file.with_suffix(".bin")  # of OpenVINO
        beside = checkpoint.sha256(weights) if file.suffix == ".xml" and weights.is_file() else ""
        return checkpoint.sha256(file) + beside
    return checkpoint.sha256(checkpoint.locate(model, download=download) / checkpoint.WEIGHTS)


def _row(found: "Grounding", repeated: "Grounding") -> tuple[str, ...]:
    selection = found.selection
    return (
        found.expression,
        console.numbers(found.box),
        "" if found.score is None else f"{found.score:.2f}",
        f"{found.cost.macs / 1e6:.1f} M, {console.percent(found.cost.share)}",
        console.part(selection.layers_on, selection.layers),
        console.part(selection.filters_on, selection.filters),
        f"{found.milliseconds:.1f}",
        f"{repeated.milliseconds:.1f}",
    )
