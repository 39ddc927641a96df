"""`groundling ground`: the box of each expression in a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli import console
from groundling.cli import device as devices

if TYPE_CHECKING:
    from groundling.results import Grounding

COLUMNS = ("expression", "box (x1 y1 x2 y2)", "score", "MACs", "layers on", "filters on", "ms")


def ground(
    image: Annotated[Path, typer.Argument(help="A picture.")],
    expressions: Annotated[
        list[str] | None, typer.Argument(help="What to look for, each in quotes (an exported file knows it).")
    ] = None,
    model: Annotated[
        str, typer.Option(help="A packaged model, a checkpoint folder, an exported file, or a hub id.")
    ] = "lads_street",
    budget: Annotated[
        float | None, typer.Option(help="Largest share of the network's MACs to spend, in (0, 1].")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON line per expression.")] = False,
    out: Annotated[Path | None, typer.Option(help="Save the picture with the boxes here.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the model from the hub.")] = False,
    max_pixels: Annotated[int, typer.Option(help="Refuse larger pictures.")] = 50_000_000,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
) -> None:
    """Find what each expression means in a picture."""
    from groundling import load
    from groundling.draw import draw_grounding, save
    from groundling.images import open_image
    from groundling.runtime import ExportedGrounder
    from groundling.runtime.exported import RUNTIMES

    if Path(model).suffix in RUNTIMES:
        if budget is not None or device != "cpu":
            raise ValueError(f"{model} is an exported file: it has one size and runs on the CPU")
        found = ExportedGrounder(model, max_pixels=max_pixels).ground(image, expressions)
    elif not expressions:
        raise ValueError("say what to look for: groundling ground IMAGE EXPRESSION")
    else:
        loaded = load(model, device=devices.checked(device), download=download, max_pixels=max_pixels)
        found = loaded.ground(image, expressions, budget=budget)
    if out is not None:
        save(draw_grounding(open_image(image, max_pixels), found), out)
    if json:
        for grounding in found:
            console.print_json(grounding.as_dict())
    else:
        console.print_table(COLUMNS, map(_row, found))


def _row(found: "Grounding") -> tuple[str, ...]:
    selection = found.selection
    return (
        found.expression,
        console.numbers(found.box),
        "" if found.score is None else f"{found.score:.2f}",
        f"{found.cost.macs / 1e6:.1f} M, {console.percent(found.cost.share)}",
        f"{selection.layers_on} of {selection.layers}",
        f"{selection.filters_on} of {selection.filters}",
        f"{found.milliseconds:.1f}",
    )
