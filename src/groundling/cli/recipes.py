"""Finding a recipe: a function of the package, or one in a file of the user's own."""

import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import get_type_hints

from groundling import recipes
from groundling.training.train import Run

Recipe = Callable[..., Sequence[Run]]


def find(name: str) -> Recipe:
    """The recipe of a name, or `recipe` in a .py file; ValueError lists the names there are."""
    if name.endswith(".py"):
        return _in_file(Path(name))
    there = packaged()
    if name not in there:
        raise ValueError(f"no recipe {name!r}; there are {', '.join(there)}, or give a .py file")
    return there[name]


def packaged() -> dict[str, Recipe]:
    """The functions in `groundling.recipes` that say they return runs, by name."""
    found: dict[str, Recipe] = {}
    for entry in pkgutil.iter_modules(recipes.__path__, f"{recipes.__name__}."):
        module = importlib.import_module(entry.name)
        functions = inspect.getmembers(module, inspect.isfunction)
        found |= {name: function for name, function in functions if _is_recipe(function, module)}
    return dict(sorted(found.items()))


def _is_recipe(function: Callable[..., object], module: ModuleType) -> bool:
    own = function.__module__ == module.__name__ and not function.__name__.startswith("_")
    return own and get_type_hints(function).get("return") == tuple[Run, ...]


def _in_file(path: Path) -> Recipe:
    if not path.is_file():
        raise FileNotFoundError(f"recipe file not found: {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the file is the user's: it may raise anything
        raise ValueError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    recipe = getattr(module, "recipe", None)
    if not callable(recipe):
        raise ValueError(f"{path} has no function `recipe` that returns runs")
    return recipe  # type: ignore[no-any-return]
