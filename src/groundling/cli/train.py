"""`groundling train`: the runs of a recipe, one after another; under torchrun, over several processes."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli import console

if TYPE_CHECKING:
    from groundling.training.train import Evaluate, Run

SCORED = 500  # expressions, captions or images of val that a run is measured on at its end
STOPPED = 130


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(help="A recipe, or a .py file with a function `recipe`; all recipes without it."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="A setting, such as data=DIR, lr=1e-4 or adapt.steps=100."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the runs, runs/RECIPE without it.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the runs in the folder, as they were set.")
    ] = False,
    init: Annotated[Path | None, typer.Option(help="A checkpoint to begin from.")] = None,
    list_settings: Annotated[
        bool, typer.Option("--settings", help="List what --set can change, and train nothing.")
    ] = False,
) -> None:
    """List the recipes; or train the runs of one, one after another.

    Prints where the finished checkpoint is. `torchrun -m groundling train …` trains over several processes.
    """
    from groundling.cli import recipe_list, recipes, settings
    from groundling.training.state import runs_in
    from groundling.training.train import Stopped, train_all

    if recipe is None:
        recipe_list.show()
        return
    if list_settings:
        recipe_list.show_settings(recipe, settings.parsed(set_ or ()))
        return
    folder = out or Path("runs") / Path(recipe).stem
    before = runs_in(folder) if resume else ()
    runs = settings.continued(before, recipes.find(recipe), settings.parsed(set_ or ()))
    try:
        weights = train_all(runs, folder, resume=resume, init=init, evaluate=scorer)
    except Stopped as stop:
        if _first():
            console.complain(str(stop))
        raise SystemExit(STOPPED) from stop
    if _first():
        print(weights)


def scorer(run: "Run") -> "Evaluate | None":
    """What measures a run: some items of the split beside its own, where there is one, or of several."""
    from groundling.evaluate import validation

    of = {
        "grounding": validation.of_expressions,
        "mdetr": validation.of_captions,
        "phrases": validation.of_phrases,
        "detr": validation.of_objects,
    }
    return of[run.objective](run.config, SCORED) if run.objective in of else None


def _first() -> bool:
    """Whether this process is the one that speaks; torchrun numbers them."""
    return os.environ.get("RANK", "0") == "0"
