"""`groundling detect`: all objects of a picture."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli import console, timing

if TYPE_CHECKING:
    from groundling.results import Detection, Detections

COLUMNS = ("object", "box (x1 y1 x2 y2)", "score")


def detect(
    image: Annotated[Path, typer.Argument(help="A picture.")],
    names: Annotated[
        list[str] | None, typer.Argument(help="Names of what to look for, each in quotes; a detr takes none.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="A packaged model, a checkpoint folder of a detr or mdetr, or a hub id.")
    ] = "mdetr_street",
    threshold: Annotated[
        float | None, typer.Option(help="Least confidence, in [0, 1]; 0.7 or an mdetr's own without it.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON, one line; milliseconds are those of a first use.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Save the picture with its boxes here.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the model from the hub.")] = False,
    max_pixels: Annotated[int, typer.Option(help="Refuse pictures of more pixels.")] = 50_000_000,
    device: Annotated[str, typer.Option(help="Where it runs: cpu, cuda or cuda:N.")] = "cpu",
) -> None:
    """Find all objects of a picture, or those of given names.

    A detr finds the objects of its own categories; an mdetr those of the names that it is given.
    """
    from groundling import checkpoint
    from groundling.ask.detector import THRESHOLD, load_detector
    from groundling.ask.grounder import load_grounder
    from groundling.draw import draw_detections, format_of, save
    from groundling.models.abilities import Ability
    from groundling.pictures.images import open_image

    if out is not None:
        format_of(out)  # before the model runs
    own = checkpoint.can(model, Ability.DETECTS, download=download)
    if names and own:
        raise ValueError(
            "this model finds the objects of its own categories: give no names, or a model that reads them, "
            "such as mdetr_street"
        )
    ask: Callable[[], Detections]
    if not own:
        reader = load_grounder(model, device=device, download=download, max_pixels=max_pixels)
        ask = partial(reader.detect, image, names or (), threshold=threshold)
    else:
        loaded = load_detector(model, device=device, download=download, max_pixels=max_pixels)
        ask = partial(loaded.detect, image, threshold=THRESHOLD if threshold is None else threshold)
    found = ask()
    if out is not None:
        save(draw_detections(open_image(image, max_pixels), found), out)
    if json:
        console.print_json(found.as_dict())
        return
    console.print_table(COLUMNS, map(_row, found))
    times = timing.both(found.milliseconds, timing.again(ask).milliseconds)
    print(f"{console.many(len(found), 'object')} · {console.macs(found.cost.macs)} MACs · {times}")


def _row(found: "Detection") -> tuple[str, ...]:
    return found.label, console.numbers(found.box), f"{found.score:.2f}"
