"""`groundling data`: the embedded dataset, drawn, and any dataset as one file of ours."""

import warnings
from pathlib import Path
from typing import Annotated

import typer

from groundling.cli import console, datasets, examples
from groundling.cli.checking import check

READ_AS = {
    "captions": "the dataset flickr30k: train, val, test",
    "questions": "the dataset gqa: train_balanced, val_balanced, testdev_balanced",
    "attributes": "the dataset gqa: train_attributes, val_attributes, testdev_attributes",
    "masks": "the dataset phrasecut: train, val, test",
    "lists": "the dataset jsonl: lists_train, lists_val, lists_test",
    "names": "the dataset jsonl: names_train, names_val, names_test",
}

app = typer.Typer(rich_markup_mode=None, help="Draw street scenes; check and convert datasets.")


@app.callback()
def _data() -> None:
    """Draw street scenes; check and convert datasets."""


@app.command(epilog=examples.shown(examples.STREET))
def street(
    folder: Annotated[Path, typer.Argument(help="The folder to write: a new or an empty one.")],
    scenes: Annotated[int, typer.Option(help="How many pictures.")] = 2000,
    seed: Annotated[
        int, typer.Option(help="Seed of what is drawn: the same seed draws the same pictures.")
    ] = 0,
    size: Annotated[int, typer.Option(help="Side of a picture in pixels.")] = 192,
    workers: Annotated[int, typer.Option(help="How many processes draw.")] = 1,
    tasks: Annotated[
        str, typer.Option(help=f"What else to write, with commas between: {','.join(READ_AS)}.")
    ] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Replace the scenes in the folder.")] = False,
) -> None:
    """Draw street scenes with expressions.

    Expressions are written in the layout of RefCOCO, captions as Flickr30k Entities has them, questions as
    GQA, masks as PhraseCut.
    """
    from groundling.data.street import write

    chosen = [name.strip() for name in tasks.split(",") if name.strip()]
    with console.counted("drawing") as progress:
        write(folder, scenes, seed, size, workers=workers, progress=progress, replace=replace, tasks=chosen)
    print(f"{scenes} scenes in {folder}; read them as the dataset refcoco: train, val, testA, testB")
    for task in chosen:
        print(f"{task}: {READ_AS[task]}")


@app.command(epilog=examples.shown(examples.CONVERT))
def convert(
    folder: Annotated[Path, typer.Argument(help=datasets.FOLDER_HELP)],
    out: Annotated[Path, typer.Argument(help="The file to write.")],
    dataset: Annotated[
        str | None, typer.Option(help="Dataset to convert, not needed where the folder has only one.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Split to convert; without it the only one there is, or val.")
    ] = None,
    captions: Annotated[
        bool, typer.Option("--captions", help="Write captions with their phrases; else expressions.")
    ] = False,
    to: Annotated[
        str, typer.Option(help="Format to write: jsonl, or mdetr for MDETR's JSON, which holds captions.")
    ] = "jsonl",
    without_images: Annotated[
        bool, typer.Option("--without-images", help="Do not look for the images.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the file if it exists.")] = False,
) -> None:
    """Write a split of any dataset as a file.

    Its expressions or its captions, as JSON Lines, or in MDETR's format.
    """
    from groundling.data import DataWarning
    from groundling.data.convert import convert
    from groundling.data.rejects import said
    from groundling.files import check_kept

    check_kept(out, [folder])
    if out.exists() and not replace:
        raise ValueError(f"{out} exists already; choose another file, or replace it with --replace")
    name = datasets.name_in(folder, dataset)
    part = split or datasets.split_in(folder, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # said below, reason by reason
        done = convert(folder, out, name, part, captions, to, need_images=not without_images)
    noun = "captions" if captions or to == "mdetr" else "expressions"
    print(f"{done.written} {noun} in {out}; {done.left_out} rows and phrases left out")
    for line in said(done.rejects):
        print(line)


app.command(epilog=examples.shown(examples.CHECK))(check)
