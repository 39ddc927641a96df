"""`groundling demo`: both jobs on fresh pictures, as contact sheets and tables."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli import console

if TYPE_CHECKING:
    from groundling.demo import Replies
    from groundling.draw import Cell
    from groundling.results import Asked

SHEET, ASKED_SHEET = "contact_sheet.png", "asked_sheet.png"
COLUMNS = (
    "expression",
    "box (x1 y1 x2 y2)",
    "IoU",
    "MACs",
    "ms, first use",
    "ms, repeat",
    "ms, full network",
)
ASKED_COLUMNS = ("shown: asked", "answered", "right", "M MACs", "ms")
HELD_OUT_NOTE = "Held out: the measure of docs/results.md on scenes that were not trained on."
SHARES = ("asked", "here", "of", "held out", "of")


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the contact sheets.")] = Path("demo"),
    model: Annotated[str, typer.Option(help="A packaged model or a checkpoint folder.")] = "lads_street",
    asked_model: Annotated[
        str, typer.Option(help="A packaged model or a checkpoint folder that answers and segments.")
    ] = "mdetr_street",
    seed: Annotated[
        int, typer.Option(help="Seed of the scenes; the packaged models were trained on scenes of seed 0.")
    ] = 2023,
) -> None:
    """Show on fresh street scenes what the packaged models can do.

    One grounds expressions; one finds phrases of captions, answers questions and segments.

    Prints what part of the network ran for each expression and how long it took, and of everything that was
    asked how much is right, beside what the model reaches on thousands of held-out scenes. Two contact sheets
    show answers, right and wrong ones.
    """
    from groundling.ask.grounder import load_grounder
    from groundling.demo import ask, ask_all, check_tasks, questions, requests, show
    from groundling.draw import save

    loaded, answering = load_grounder(model), load_grounder(asked_model)
    check_tasks(answering)  # before anything is measured
    cells = ask(loaded, questions(seed))
    file = save(show(cells), out / SHEET)
    console.print_table(COLUMNS, map(_row, cells))
    print(_summary(cells))
    print(file)
    replies = ask_all(answering, requests(seed))
    file = save(replies.show(), out / ASKED_SHEET)
    console.print_table(ASKED_COLUMNS, _asked_rows(replies))
    right = [bool(cell.right) for cell in cells]
    precision = sum(right) / len(right), f"{sum(right)} of {len(right)}"
    shares = [*_shares(model, {"expressions, Prec@0.5": precision}), *_shares(asked_model, replies.shares())]
    console.print_table(SHARES, shares)
    print(HELD_OUT_NOTE)
    print(file)


def _row(cell: "Cell") -> tuple[str, ...]:
    found = cell.grounding
    return (
        found.expression,
        console.numbers(found),
        f"{cell.iou or 0:.2f}",
        console.percent(found.cost.share),
        f"{cell.first_milliseconds:.1f}",
        f"{found.milliseconds:.1f}",
        f"{cell.full_milliseconds:.1f}",
    )


def _summary(cells: "list[Cell]") -> str:
    count = len(cells)
    share = sum(cell.grounding.cost.share for cell in cells) / count
    first = sum(cell.first_milliseconds or 0 for cell in cells) / count
    spent = sum(cell.grounding.milliseconds for cell in cells) / count
    full = sum(cell.full_milliseconds or 0 for cell in cells) / count
    return (
        f"{share:.0%} of the full network's MACs · first use of words {first:.1f} ms, with reading them and "
        f"extracting their subnet; repeat {spent:.1f} ms; full network {full:.1f} ms (one thread, means)"
    )


def _shares(model: str, shares: "Mapping[str, tuple[float, str]]") -> Iterator[tuple[str, ...]]:
    """What was right here, and what docs/results.md says of the packaged model."""
    from groundling.demo import HELD_OUT

    for name, (share, of) in shares.items():
        measured = HELD_OUT.get(model, {}).get(name)
        beside = (
            (f"{measured.percent:.1f}%", f"{measured.items:,} of {measured.split}") if measured else ("", "")
        )
        yield name, console.percent(share), of, *beside


def _asked_rows(replies: "Replies") -> Iterator[tuple[str, ...]]:
    from groundling.draw import Boxes, CaptionCell, QuestionCell

    for cell in (cell for row in replies.shown for cell in row.cells):
        match cell:
            case CaptionCell():
                count = Boxes.of([cell])
                boxes = f"{count.found} boxes, {count.wrong} wrong"
                right = f"{sum(cell.right)} of {len(cell.right)} phrases"
            case QuestionCell():
                boxes, right = cell.found.answer, "yes" if cell.right else f"no: {cell.answer}"
            case _:
                share = cell.found.mask.area / (cell.found.width * cell.found.height)
                boxes, right = f"{console.percent(share)} of it", f"IoU {cell.iou:.2f}"
        yield cell.found.text, boxes, right, *_spent(cell.found)


def _spent(found: "Asked") -> tuple[str, str]:
    return f"{found.cost.macs / 1e6:,.0f}", f"{found.milliseconds:.1f}"
