"""What must hold of the project as a whole: imports point down the list of rooms, versions and pins agree."""

import ast
import importlib.util
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import groundling

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "groundling"

# A room may use those above it; rooms in one row do not use each other.
ROOMS = (
    ("boxes", "selection", "images", "language"),
    ("results",),
    ("layers",),
    ("dynamic",),
    ("models",),
    ("losses",),
    ("data",),
    ("checkpoint",),
    ("importers",),
    ("training",),
    ("train", "evaluate"),
    ("recipes", "grounder"),
    ("draw",),
    ("analyze", "demo"),
    ("cli",),
    ("__main__",),
)
ORDER = {name: number for number, row in enumerate(ROOMS) for name in row}

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def modules() -> list[Path]:
    return sorted(
        path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE
    )


def room_of(name: str) -> str | None:
    """`groundling.data.refer` → data; None for the package itself and for others."""
    parts = name.split(".")
    return parts[1] if parts[0] == "groundling" and len(parts) > 1 else None


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Rooms that a module imports, also inside functions, and where; not those imported for types alone."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names = [str(node.module)]
            if node.module == "groundling":
                names = [f"groundling.{alias.name}" for alias in node.names]
        yield from ((room, node.lineno) for name in names if (room := room_of(name)) in ORDER)


def test_imports_point_down_the_list_of_rooms() -> None:
    up = []
    for path in modules():
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        assert own in ORDER, f"{own} has no place in the list of rooms"
        up += [
            f"{path.relative_to(ROOT)}:{line} imports {room}"
            for room, line in imported(path)
            if room != own and ORDER[room] >= ORDER[own]
        ]
    assert not up, "\n".join(up)


def test_every_module_says_its_idea() -> None:
    silent = [str(path) for path in modules() if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not silent


def test_no_drawer_for_odds_and_ends() -> None:
    assert not {path.stem for path in modules()} & {"utils", "util", "misc", "common", "helpers"}


def test_versions_agree() -> None:
    assert PROJECT["version"] == groundling.__version__
    assert f"## [{groundling.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text().split()
    pins = {plain(name): version for name, version in (line.split("==") for line in lines)}
    assert "+" not in pins["torch"]  # any build of that version will do
    extras = [line for extra in PROJECT["optional-dependencies"].values() for line in extra]
    for line in [*PROJECT["dependencies"], *extras]:
        name, _, least = line.partition(">=")
        assert plain(name) in pins, line
        if least:
            assert numbers(pins[plain(name)]) >= numbers(least), line


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


def test_torchvision_is_absent_or_whole() -> None:
    """A torchvision that does not fit this torch stops even a BERT from importing, with an odd message."""
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError) as error:
        pytest.fail(f"the torchvision that is installed does not fit this torch ({error}): uninstall it")


def test_public_names_are_there() -> None:
    assert all(hasattr(groundling, name) for name in groundling.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        groundling.nothing  # noqa: B018


def test_packaged_weights_are_small() -> None:
    for folder in (PACKAGE / "weights").glob("*"):
        assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 12 * 2**20


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 200
