"""What the README shows works: its Python runs, its quick commands run, its files are there."""

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest
from small import Shell

from groundling.checkpoint import packaged

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
QUICK = ("ground", "info", "demo", "phrases", "answer", "segment", "detect")
MADE = ("models/", "runs/")  # what a command before it was to bring in or to train
EXPORTED = "cat.onnx"  # made by a slow command

needs_weights = pytest.mark.skipif(not packaged(), reason="no packaged weights")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """The command lines of shell blocks, without prompts, comments and `groundling` itself."""
    lines = [line.split("  #")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("groundling ")]


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like the repository's root and may be written to."""
    shutil.copytree(ROOT / "docs" / "images", tmp_path / "docs" / "images")
    (tmp_path / "photos").mkdir()
    shutil.copy(ROOT / "docs" / "images" / "street.jpg", tmp_path / "photos")
    (tmp_path / "words.txt").write_text("the cat\nthe grey bench\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@needs_weights
def test_the_python_of_the_readme_runs(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out


@needs_weights
@pytest.mark.parametrize(
    "command",
    [
        c
        for c in commands()
        if c[0] in QUICK and EXPORTED not in c and not any(map(" ".join(c).__contains__, MADE))
    ],
    ids=" ".join,
)
def test_the_commands_of_the_readme_run(
    command: list[str], copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Shell(capsys)(*command)
    assert (ran.code, ran.err) == (0, "")


def test_every_verb_of_the_readme_takes_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert {"ground", "info", "train", "evaluate"} <= {command[0] for command in commands()}
    for verb, *arguments in commands():
        helped = Shell(capsys)(verb, *arguments[: verb == "data"], "--help").out
        for option in (word for word in arguments if word.startswith("--")):
            assert f"{option} " in helped or f"{option}\n" in helped, f"{verb} {option}"


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        if not target.startswith("http") and not (ROOT / target).exists():
            assert target.endswith(".png"), target
            assert not packaged(), f"{target} is missing"  # pictures are drawn with the packaged model


def test_the_file_map_names_what_is_there() -> None:
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    (block,) = re.findall(r"^```text\n(.*?)^```", contributing, re.MULTILINE | re.DOTALL)
    for line in block.splitlines():
        name = line.strip().split(" ")[0]
        folder = ROOT if not line.startswith(" ") else ROOT / "src" / "groundling"
        assert os.path.exists(folder / name), name
