"""`groundling demo`: both jobs on fresh pictures, as contact sheets and tables."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli import console

if TYPE_CHECKING:
    from groundling.demo import MdetrAnswers
    from groundling.draw import Cell
    from groundling.results import Asked

SHEET, MDETR_SHEET = "contact_sheet.png", "mdetr_sheet.png"
MDETR_COLUMNS = ("asked", "answered", "right", "M MACs", "ms")
COLUMNS = ("expression", "box (x1 y1 x2 y2)", "IoU", "MACs", "ms", "ms, full network")


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the contact sheets.")] = Path("demo"),
    model: Annotated[str, typer.Option(help="A packaged model or a checkpoint folder.")] = "lads_street",
    mdetr: Annotated[
        str,
        typer.Option(help="A packaged mdetr or a checkpoint folder of a model that answers and segments."),
    ] = "mdetr_street",
    seed: Annotated[
        int, typer.Option(help="Seed of the scenes; the packaged models were trained on scenes of seed 0.")
    ] = 2023,
) -> None:
    """Show on fresh street scenes what the packaged models can do.

    One model grounds expressions; an mdetr finds the phrases of captions, answers questions and segments.
    Prints what part of the network ran for each expression and how long it took, and which answers are right.
    """
    from groundling.ask.grounder import load_grounder
    from groundling.demo import ask, ask_mdetr, check_tasks, mdetr_questions, questions, show
    from groundling.draw import save

    loaded, answering = load_grounder(model), load_grounder(mdetr)
    check_tasks(answering)  # before anything is measured
    cells = ask(loaded, questions(seed))
    file = save(show(cells), out / SHEET)
    console.print_table(COLUMNS, map(_row, cells))
    print(_summary(cells))
    print(file)
    answers = ask_mdetr(answering, mdetr_questions(seed))
    file = save(answers.show(), out / MDETR_SHEET)
    console.print_table(MDETR_COLUMNS, _mdetr_rows(answers))
    print(f"{answers.summary()} ({mdetr}, one thread)")
    print(file)


def _row(cell: "Cell") -> tuple[str, ...]:
    found = cell.grounding
    return (
        found.expression,
        console.numbers(found.box),
        f"{cell.iou or 0:.2f}",
        console.percent(found.cost.share),
        f"{found.milliseconds:.1f}",
        f"{cell.full_milliseconds:.1f}",
    )


def _summary(cells: "list[Cell]") -> str:
    count, right = len(cells), sum((cell.iou or 0) >= 0.5 for cell in cells)
    share = sum(cell.grounding.cost.share for cell in cells) / count
    spent = sum(cell.grounding.milliseconds for cell in cells) / count
    full = sum(cell.full_milliseconds or 0 for cell in cells) / count
    return (
        f"Prec@0.5 {right / count:.2f} ({right} of {count}) · {share:.0%} of the full network's MACs · "
        f"{spent:.1f} ms, full network {full:.1f} ms (one thread, means)"
    )


def _mdetr_rows(answers: "MdetrAnswers") -> Iterator[tuple[str, ...]]:
    for caption in answers.captions:
        boxes = sum(len(phrase.objects) for phrase in caption.found)
        right = f"{sum(caption.right)} of {len(caption.right)} phrases"
        yield caption.found.text, f"{boxes} boxes", right, *_spent(caption.found)
    for question in answers.questions:
        right = "yes" if question.right else f"no: {question.answer}"
        yield question.found.text, question.found.answer, right, *_spent(question.found)
    for mask in answers.masks:
        share = mask.found.mask.area / (mask.found.width * mask.found.height)
        yield mask.found.text, f"{console.percent(share)} of it", f"IoU {mask.iou:.2f}", *_spent(mask.found)


def _spent(found: "Asked") -> tuple[str, str]:
    return f"{found.cost.macs / 1e6:,.0f}", f"{found.milliseconds:.1f}"
