"""What `groundling train` lists: the recipes there are, and with `--settings` all that one of them sets."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from groundling.cli import console, recipes, settings
from groundling.cli.recipes import Recipe
from groundling.training.train import Run

LISTED = 6  # values of a list that are shown
NEEDED = "DIR"  # stands for a folder that has to be given
COLUMNS = ("recipe", "what it trains", "runs", "settings of its own")


def show() -> None:
    """Every packaged recipe: what it trains, the runs it consists of, and the settings that are its own."""
    rows = [_row(name, recipe) for name, recipe in recipes.packaged().items()]
    console.print_table(COLUMNS, rows, right=False)
    print("Start one with `groundling train RECIPE --set NAME=VALUE …`; `groundling train RECIPE --settings`")
    print("lists everything that --set can change.")


def show_settings(name: str, given: Mapping[str, str]) -> None:
    """Everything that `--set` can change of a recipe, with its value, after what is given."""
    recipe = recipes.find(name)
    own = {**_own(recipe), **_needed(recipe)}
    runs = settings.applied(recipe, {**_needed(recipe), **given})
    print(f"{name}: {_about(recipe)}")
    rows = [(key, _shown(given.get(key, default))) for key, default in own.items()]
    console.print_table(("setting of the recipe", "value"), rows, right=False)
    values = {run.name: settings.values(run) for run in runs}
    keys = sorted({key: None for each in values.values() for key in each}, key=_of_model)
    of_runs = [(key, _in_runs(key, values)) for key in keys]
    console.print_table(("setting of its runs", "value"), of_runs, right=False)
    first = next(iter(values))
    print(f"The runs are {', '.join(values)}.")
    print(f"--set lr=1e-4 sets it in every run, --set {first}.lr=1e-4 in the run {first} alone.")


def _of_model(key: str) -> bool:
    """Whether a setting is a size of the network: those come last."""
    return key.startswith("model.")


def _in_runs(key: str, values: Mapping[str, Mapping[str, Any]]) -> str:
    """The value of a setting; where runs differ, those of each: "detect: 128; adapt, settle: 160"."""
    runs: dict[str, list[str]] = {}
    for run, own in values.items():
        if key in own:
            runs.setdefault(_shown(own[key]), []).append(run)
    if len(runs) == 1 and len(values) == len(next(iter(runs.values()))):
        return next(iter(runs))
    return "; ".join(f"{', '.join(names)}: {value}" for value, names in runs.items())


def _row(name: str, recipe: Recipe) -> tuple[str, ...]:
    runs = settings.applied(recipe, _needed(recipe))
    own = {**_own(recipe), **_needed(recipe)}
    return name, _about(recipe), _lengths(runs), " ".join(f"{key}={_shown(own[key])}" for key in own)


def _needed(recipe: Recipe) -> dict[str, str]:
    """What has to be given, with a word that stands for it."""
    return {key: NEEDED for key, default in _own(recipe).items() if default is inspect.Parameter.empty}


def _lengths(runs: Sequence[Run]) -> str:
    """The runs with their lengths: "adapt 1,600 steps, settle 3,450 steps"."""
    return ", ".join(
        f"{run.name} {run.config.steps:,} steps"
        if run.config.steps
        else f"{run.name} {run.config.epochs} epochs"
        for run in runs
    )


def _about(recipe: Recipe) -> str:
    """The first paragraph of its docstring."""
    return " ".join((inspect.getdoc(recipe) or "").partition("\n\n")[0].split())


def _own(recipe: Recipe) -> dict[str, Any]:
    """The parameters of a recipe and their defaults."""
    return {name: each.default for name, each in inspect.signature(recipe).parameters.items()}


def _shown(value: Any) -> str:
    """A value as `--set` takes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        more = f", … {len(value)} in all" if len(value) > LISTED else ""
        return "[" + ", ".join(map(str, value[:LISTED])) + more + "]"
    return str(value.as_posix() if isinstance(value, Path) else value)
