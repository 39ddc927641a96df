"""`groundling data`: the embedded dataset, drawn, and any dataset as one file of ours."""

from pathlib import Path
from typing import Annotated

import typer

from groundling.cli import console, datasets

READ_AS = {
    "captions": "the dataset flickr30k: train, val, test",
    "questions": "the dataset gqa: train_balanced, val_balanced, testdev_balanced",
    "attributes": "the dataset gqa: train_attributes, val_attributes, testdev_attributes",
    "masks": "the dataset phrasecut: train, val, test",
    "lists": "the dataset jsonl: lists_train, lists_val, lists_test",
    "names": "the dataset jsonl: names_train, names_val, names_test",
}

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
    tasks: Annotated[str, typer.Option(help=f"More to write: {','.join(READ_AS)}.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Draw over the scenes that are there.")] = False,
) -> None:
    """Draw street scenes with expressions, in the layout of RefCOCO.

    Captions are written as Flickr30k Entities has them, questions as GQA, masks as PhraseCut.
    """
    from groundling.data.street import write

    chosen = [name.strip() for name in tasks.split(",") if name.strip()]
    with console.counted("drawing") as progress:
        write(folder, scenes, seed, size, workers=workers, progress=progress, replace=replace, tasks=chosen)
    print(f"{scenes} scenes in {folder}; read them as the dataset refcoco: train, val, testA, testB")
    for task in chosen:
        print(f"{task}: {READ_AS[task]}")


@app.command()
def convert(
    folder: Annotated[Path, typer.Argument(help=datasets.FOLDER_HELP)],
    out: Annotated[Path, typer.Argument(help="The file to write.")],
    dataset: Annotated[str | None, typer.Option(help="Needed where there are several.")] = None,
    split: Annotated[str | None, typer.Option(help="As the dataset or its file names it; else val.")] = None,
    captions: Annotated[bool, typer.Option("--captions", help="Captions with phrases.")] = False,
    to: Annotated[str, typer.Option(help="jsonl, or mdetr: MDETR's JSON, always captions.")] = "jsonl",
    without_images: Annotated[bool, typer.Option("--without-images", help="Look for no image.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Write over a file that is there.")] = False,
) -> None:
    """Write a split of any dataset as JSON Lines: its expressions, or its captions."""
    from groundling.data.convert import convert

    if out.exists() and not replace:
        raise ValueError(f"{out} is there already; --replace writes over it")
    name = datasets.name_in(folder, dataset)
    part = split or (folder.stem if folder.is_file() else "val")
    done = convert(folder, out, name, part, captions, to, need_images=not without_images)
    noun = "captions" if captions or to == "mdetr" else "expressions"
    print(f"{done.written} {noun} in {out}; {done.left_out} rows and phrases left out")
