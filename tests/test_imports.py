"""Imports point down the house, never up and never in a circle; heavy packages come when they are used."""

import ast
import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"

# A module may import from rooms above its own in this list and from its own room, from nothing below.
ROOMS = [
    "callers",
    "device",
    "files",
    "pictures",
    "protocols",
    "selection",
    "results",
    "layers",
    "words",
    "dynamic",
    "models",
    "losses",
    "data",
    "checkpoint",
    "importers",
    "training",
    "recipes",
    "draw",
    "runtime",
    "ask",
    "__init__",
    "evaluate",
    "analyze",
    "benchmark",
    "demo",
    "cli",
    "__main__",
]


def modules() -> dict[str, Path]:
    """Every module by its dotted name; a package by that of the package."""
    found = {}
    for path in sorted((SOURCE / "groundling").rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(path: Path) -> set[str]:
    """Modules of ours that a file imports, in functions too; and those that it only names in types."""
    found: set[str] = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {_module(name) for name in names if name.split(".")[0] == "groundling"}
    return found


def _module(name: str) -> str:
    """The module that `from a import b` reads: a.b if it is one, else a."""
    while name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    assert room(module) in ROOMS, f"{room(module)} is a new room: give it a place in ROOMS"
    for other in imports(MODULES[module]):
        place, theirs = ROOMS.index(room(module)), ROOMS.index(room(other))
        assert theirs <= place, f"{module} imports {other}, which lies above it"


def test_no_circles() -> None:
    """Also none inside a room, where the list does not help, and none of imports for types alone."""
    graph = {module: imports(path) - {module} for module, path in MODULES.items()}
    left = dict(graph)
    while free := [module for module, needs in left.items() if not needs & left.keys()]:
        for module in free:
            del left[module]
    assert not left, f"a circle among {', '.join(sorted(left))}"


SYSTEMS = {path.stem for path in (SOURCE / "groundling" / "models").glob("*.py")} - {
    "__init__", "abilities", "answers", "coco_names", "detecting", "finder", "objects", "supernet",
}  # fmt: skip
NAMING = ("models", "importers", "recipes")  # rooms that may know which system is which


@pytest.mark.parametrize("module", [name for name in MODULES if room(name) not in NAMING])
def test_upper_rooms_ask_what_a_model_can_never_which_system_it_is(module: str) -> None:
    """No import of a system's module, in functions and for types too.

    Messages and configurations may name one: they are texts.
    """
    read = {other.removeprefix("groundling.models.") for other in imports(MODULES[module])}
    named = read & SYSTEMS
    assert not named, f"{module} names {', '.join(named)}: ask for an ability (models/abilities.py)"


def test_the_systems_are_known() -> None:
    assert {"lads", "transvg", "detr", "mdetr"} <= SYSTEMS


HEAVY = (
    "transformers", "matplotlib", "sklearn", "scipy", "tensorboard", "huggingface_hub", "faster_coco_eval",
)  # fmt: skip


def loaded_by(statement: str) -> set[str]:
    """Top-level packages that are loaded after a statement in a new Python."""
    code = f"{statement}; import sys; print(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(SOURCE)},
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    ["groundling", *(name for name in ("groundling.cli", "groundling.training.train") if name in MODULES)],
)
def test_heavy_packages_are_imported_where_they_are_used(module: str) -> None:
    assert not loaded_by(f"import {module}") & set(HEAVY)


def test_torchvision_is_not_broken() -> None:
    """A torchvision of another torch stops `BertModel` from importing; without one all is well."""
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except Exception as error:
        pytest.fail(
            f"torchvision does not fit this torch: pip uninstall torchvision ({error})", pytrace=False
        )
