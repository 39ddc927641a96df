"""`groundling data street`: the embedded dataset, drawn."""

from pathlib import Path
from typing import Annotated

import typer

from groundling.cli import console

app = typer.Typer(rich_markup_mode=None, help="Make datasets.")


@app.callback()
def _data() -> None:
    """Make datasets."""


@app.command()
def street(
    folder: Annotated[Path, typer.Argument(help="Where to write: a new or empty folder.")],
    scenes: Annotated[int, typer.Option(help="How many pictures.")] = 2000,
    seed: Annotated[int, typer.Option(help="The same seed draws the same pictures.")] = 0,
    size: Annotated[int, typer.Option(help="Side of a picture in pixels.")] = 192,
    workers: Annotated[int, typer.Option(help="Processes that draw.")] = 1,
    tasks: Annotated[str, typer.Option(help="Of captions,questions,masks: what more to write.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Draw over the scenes that are there.")] = False,
) -> None:
    """Draw street scenes with expressions, in the layout of RefCOCO; captions as Flickr30k Entities has them,
    questions as GQA has them, masks as PhraseCut has them."""
    from groundling.data.street import write

    chosen = [name.strip() for name in tasks.split(",") if name.strip()]
    with console.counted("drawing") as progress:
        write(folder, scenes, seed, size, workers=workers, progress=progress, replace=replace, tasks=chosen)
    print(f"{scenes} scenes in {folder}; read them as the dataset refcoco: train, val, testA, testB")
