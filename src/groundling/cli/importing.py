"""`groundling import`: published weights become a checkpoint folder."""

from pathlib import Path
from typing import Annotated

import typer

SYSTEMS = ("detr",)


def bring_in(
    source: Annotated[str, typer.Argument(help="A weight file, a folder with one, or a hub id.")],
    out: Annotated[Path, typer.Argument(help="The checkpoint folder to write.")],
    system: Annotated[str, typer.Option(help="What it is: detr.")],
    categories: Annotated[
        Path | None, typer.Option(help="A text file, one class name a line, where they are not COCO's.")
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the source from the hub.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Write over a folder that is there.")] = False,
) -> None:
    """Turn published weights into a checkpoint folder that says where they come from."""
    from groundling.importers.detr import import_detr

    if system not in SYSTEMS:
        raise ValueError(f"no importer for {system!r}; there is one for {', '.join(SYSTEMS)}")
    if out.exists() and not replace:
        raise ValueError(f"{out} is there already; choose another folder, or replace=True")
    names = None if categories is None else categories.read_text(encoding="utf-8").splitlines()
    print(import_detr(source, out, categories=names, download=download))
