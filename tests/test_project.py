"""What must hold of the project as a whole: names, versions, pins and sizes agree."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

import groundling

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "groundling"

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def modules() -> list[Path]:
    return sorted(
        path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE
    )


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


def test_public_names_are_there() -> None:
    assert all(hasattr(groundling, name) for name in groundling.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        groundling.nothing  # noqa: B018


def test_packaged_weights_are_small() -> None:
    folders = list((PACKAGE / "weights").glob("*"))
    assert "lads_street" in {folder.name for folder in folders}
    for folder in folders:
        most = 48_000_000 if folder.name == "lads_photo" else 12 * 2**20  # it brings a text encoder
        assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= most


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 200
