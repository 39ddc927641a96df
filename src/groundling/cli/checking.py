"""`groundling data check`: what can be read of a dataset, and what is left out and why."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli import datasets

if TYPE_CHECKING:
    from groundling.data.check import Checked


def check(
    folder: Annotated[Path, typer.Argument(help=datasets.FOLDER_HELP)],
    dataset: Annotated[str | None, typer.Option(help="Dataset to check, all without it.")] = None,
    split: Annotated[str | None, typer.Option(help="Split to check, all without it.")] = None,
    out: Annotated[Path | None, typer.Option(help="Picture to write: some images with their boxes.")] = None,
    without_images: Annotated[
        bool, typer.Option("--without-images", help="Do not look for the images.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the picture if it exists.")] = False,
) -> None:
    """Say what can be read of a dataset, and what is left out and why.

    The exit status is 2 where a split cannot be read at all.
    """
    from groundling.data import DataWarning
    from groundling.data.check import check, shared_images
    from groundling.draw.saving import check_picture

    if out is not None and without_images:
        raise ValueError("--out draws the images, and --without-images does not look for them; leave one out")
    if out is not None:
        check_picture(out, [folder])
        if out.exists() and not replace:
            raise ValueError(f"{out} is there already; --replace writes over it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # said below, reason by reason
        found = check(folder, dataset, split, need_images=not without_images)
    for each in found:
        _print(each)
    for one, other, count in shared_images(found):
        print(f"{one} and {other} have pictures in common: {count}")
    if out is not None:
        _draw(found, out, folder)
    if any(each.error for each in found):
        raise typer.Exit(2)


def _print(checked: "Checked") -> None:
    from groundling.data.rejects import said

    print(f"{checked.dataset}, split {checked.split}")
    read = [f"cannot be read: {checked.error}"] if checked.error else checked.lines()
    for line in (*read, *said(checked.rejects)):
        print(f"  {line}")


def _draw(found: "list[Checked]", out: Path, folder: Path) -> None:
    """As many pictures of each split, on one sheet."""
    from groundling.data.check import SHOWN
    from groundling.draw.annotated import annotated_sheet
    from groundling.draw.saving import save

    share = max(1, SHOWN // len(found))
    cells = [(one.image, one.boxes) for each in found for one in each.shown[:share]]
    save(annotated_sheet(cells), out, [folder])
    print(f"{len(cells)} pictures with their boxes in {out}")
