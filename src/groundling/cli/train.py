"""`groundling train`: the runs of a recipe, one after another; under torchrun, over several processes."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli import console

if TYPE_CHECKING:
    from groundling.train import Evaluate, Run

SCORED = 500  # expressions, captions or images of val that a run is measured on at its end
STOPPED = 130


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or a .py file with a function `recipe`.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting: data=DIR, lr=1e-4, adapt.steps=100."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the runs; runs/RECIPE without it.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the runs in the folder.")] = False,
    init: Annotated[Path | None, typer.Option(help="A checkpoint whose weights to begin with.")] = None,
) -> None:
    """Train the runs of a recipe, one after another.

    Prints where the finished checkpoint is. `torchrun -m groundling train …` trains over several processes.
    """
    from groundling.cli import recipes, settings
    from groundling.train import Stopped, train_all

    runs = settings.applied(recipes.find(recipe), settings.parsed(set_ or ()))
    folder = out or Path("runs") / Path(recipe).stem
    try:
        weights = train_all(runs, folder, resume=resume, init=init, evaluate=scorer)
    except Stopped as stop:
        if _first():
            console.complain(str(stop))
        raise SystemExit(STOPPED) from stop
    if _first():
        print(weights)


def scorer(run: "Run") -> "Evaluate | None":
    """What measures a run: some items of val, where its dataset has that split; several of a mixture.

    DataError for a split that is there and cannot be read.
    """
    from groundling.data import DataError, open_dataset
    from groundling.evaluate import evaluate, validation

    if run.objective == "mdetr":
        return validation.of_captions(run.config, SCORED)
    if run.objective == "detr":
        return validation.of_objects(run.config, SCORED)
    if run.objective != "grounding":
        return None
    try:
        val = open_dataset(run.config.data.path, run.config.data.dataset, "val").limited(SCORED)
    except DataError:
        raise
    except ValueError:
        return None

    def score(model: object, tokenizer: object) -> Mapping[str, float]:
        found = evaluate(model, tokenizer, val)  # type: ignore[arg-type]
        return {
            "prec@0.5": found.prec_at_05,
            "mean_iou": found.mean_iou,
            "macs_share": found.macs_share,
            "layers_on": found.layers_on,
        }

    return score


def _first() -> bool:
    """Whether this process is the one that speaks; torchrun numbers them."""
    return os.environ.get("RANK", "0") == "0"
