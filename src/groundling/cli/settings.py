"""`--set name=value`: settings of a recipe's runs, checked against the configurations they belong to.

A name is a parameter of the recipe (data), a path into its runs' configuration (lr, loss.mi,
model.text.layers, lr_groups.net.backbone), or such a path of one run (adapt.lr). A value is JSON, else text.
"""

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError

from groundling.cli.recipes import Recipe
from groundling.losses import OBJECTIVES
from groundling.losses.grounding import GroundingLoss
from groundling.losses.modulated import ModulatedLoss
from groundling.losses.sets import SetLoss
from groundling.models import parse_config
from groundling.training.train import Run, TrainConfig

LOSSES: dict[str, type[BaseModel]] = {"grounding": GroundingLoss, "detr": SetLoss, "mdetr": ModulatedLoss}
OPEN = ("lr_groups",)  # keys below these are free: prefixes of module names, with dots
DATA = ("data", "path")
LENGTHS = {"steps": "epochs", "epochs": "steps"}  # a run has one: setting it unsets the other


def parsed(texts: Sequence[str]) -> dict[str, str]:
    """Settings by name; ValueError for a text that is no NAME=VALUE."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"--set takes NAME=VALUE, given {text!r}")
        found[name.strip()] = value.strip()
    return found


def applied(recipe: Recipe, settings: Mapping[str, str]) -> tuple[Run, ...]:
    """The runs of a recipe with these settings; ValueError for an unknown one, naming close ones."""
    own = inspect.signature(recipe).parameters
    runs = _runs(recipe, {name: text for name, text in settings.items() if name in own})
    drafts = [_Draft(run) for run in runs]
    for name, text in settings.items():
        if name not in own:
            _place(drafts, name, text, tuple(own))
    return tuple(draft.run() for draft in drafts)


def continued(before: Sequence[Run], recipe: Recipe, settings: Mapping[str, str]) -> tuple[Run, ...]:
    """The runs that a folder holds, with these settings changed; those of the recipe where it holds none.

    A setting that only the recipe knows asks for all of them again, as at the beginning.
    """
    drafts = [_Draft(run) for run in before]
    if not drafts or not all(_is_known(drafts, name) for name in settings):
        return applied(recipe, settings)
    for name, text in settings.items():
        _place(drafts, name, text, ())
    return tuple(draft.run() for draft in drafts)


class _Draft:
    """A run that is being changed: what its recipe said, and all keys that it could have said."""

    def __init__(self, run: Run) -> None:
        self.name, self.objective = run.name, run.objective
        self.said: dict[str, Any] = deepcopy(run.config.model_dump())
        self.known: dict[str, Any] = {**self.said, "model": parse_config(run.config.model).model_dump()}
        if run.objective in LOSSES:
            self.known["loss"] = LOSSES[run.objective].model_validate(run.config.loss).model_dump()

    def knows(self, path: Sequence[str]) -> bool:
        """Whether there is a setting at this place."""
        place: Any = self.known
        for key in path[:-1]:
            place = place.get(key) if isinstance(place, dict) else None
        return isinstance(place, dict) and (path[-1] in place or path[0] in OPEN)

    def put(self, path: Sequence[str], value: Any) -> None:
        """Change what the recipe said."""
        place = self.said
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place[path[-1]] = value
        if path[0] in LENGTHS and value is not None:
            self.said[LENGTHS[path[0]]] = None

    def run(self) -> Run:
        """The changed run; ValueError where a value is not accepted."""
        try:
            config = TrainConfig.model_validate(self.said)
        except ValidationError as error:
            raise ValueError(f"run {self.name}: {_first(error)}") from error
        parse_config(config.model)
        if self.objective in OBJECTIVES:
            OBJECTIVES[self.objective](config.loss)
        return Run(self.name, config, self.objective)


def _is_known(drafts: Sequence[_Draft], name: str) -> bool:
    """Whether this sets something of a run, or of the run that it names."""
    head, _, rest = name.partition(".")
    return any(
        draft.knows(_path(name)) or (draft.name == head and bool(rest) and draft.knows(_path(rest)))
        for draft in drafts
    )


def _place(drafts: Sequence[_Draft], name: str, text: str, parameters: Sequence[str]) -> None:
    """Put a setting into every run that has such a one, or into the run that it names."""
    head, _, rest = name.partition(".")
    one = bool(rest) and head in {draft.name for draft in drafts} - set(TrainConfig.model_fields)
    path = _path(rest if one else name)
    fitting = [draft for draft in drafts if (not one or draft.name == head) and draft.knows(path)]
    if not fitting:
        raise ValueError(f"no setting {name!r} in this recipe; {_close(drafts, name, parameters)}")
    for draft in fitting:
        draft.put(path, Path(text) if path == DATA else _value(text))


def _path(name: str) -> tuple[str, ...]:
    head, _, rest = name.partition(".")
    if name == "data":
        return DATA
    return (head, rest) if head in OPEN and rest else tuple(name.split("."))


def _close(drafts: Sequence[_Draft], name: str, parameters: Sequence[str]) -> str:
    """The settings that this name may have been meant for."""
    keys = {key for draft in drafts for key, _ in _leaves(draft.known)} | set(parameters)
    last = name.rpartition(".")[2]
    named = sorted(key for key in keys if key.rpartition(".")[2] == last)
    likely = [*named, *get_close_matches(name, sorted(keys), 3, 0.6)]
    if likely:
        return f"close are {', '.join(dict.fromkeys(likely))}"
    return f"settings are {', '.join(sorted({key.partition('.')[0] for key in keys}))}"


def values(run: Run) -> dict[str, Any]:
    """Every setting of a run by the name that `--set` has for it."""
    return dict(_leaves(_Draft(run).known))


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value and key not in OPEN:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _runs(recipe: Recipe, given: Mapping[str, str]) -> list[Run]:
    """What the recipe returns for these parameters."""
    hints = get_type_hints(recipe)
    arguments = {}
    for name, text in given.items():
        try:
            arguments[name] = TypeAdapter(hints.get(name, str)).validate_python(text)
        except ValidationError as error:
            raise ValueError(f"--set {name}={text}: {_first(error)}") from error
    required = [p.name for p in inspect.signature(recipe).parameters.values() if p.default is p.empty]
    if missing := [name for name in required if name not in given]:
        raise ValueError(f"recipe {recipe.__name__} needs {', '.join(missing)}: give --set {missing[0]}=…")
    runs = recipe(**arguments)
    if not isinstance(runs, Sequence) or not runs or not all(isinstance(run, Run) for run in runs):
        raise ValueError(f"recipe {recipe.__name__} must return a list of runs, not {type(runs).__name__}")
    return list(runs)


def _first(error: ValidationError) -> str:
    """The first value that is not accepted, where it stands, and what was given."""
    first = error.errors()[0]
    place, message = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}, given {first['input']!r}" if place else message
