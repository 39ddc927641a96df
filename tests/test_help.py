"""Help says things in sentences, its examples can be typed; lists of models and recipes are for people."""

import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from small import Shell, model_folder

from groundling import checkpoint
from groundling.cli import app, examples
from groundling.cli.origins import training_rows
from groundling.cli.recipes import packaged
from groundling.models import DETR, PRESETS, able
from groundling.models.abilities import Ability

ROOT = Path(__file__).parents[1]
COMMAND: Any = typer.main.get_command(app)


def verbs(group: Any = COMMAND, before: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every verb by the words that call it."""
    found: dict[tuple[str, ...], Any] = {}
    for name, command in group.commands.items():
        words = (*before, name)
        found |= verbs(command, words) if hasattr(command, "commands") else {words: command}
    return found


VERBS = verbs()


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_verb_shows_examples_that_can_be_typed(words: tuple[str, ...], shell: Shell) -> None:
    shown = shell(*words, "--help").out
    lines = [line.strip() for line in shown.partition("Examples:")[2].splitlines() if line.strip()]
    assert lines
    for line in lines:
        name, *given = shlex.split(line)
        assert (name, *given[: len(words)]) == ("groundling", *words)
        VERBS[words].make_context(words[-1], given[len(words) :])  # parses, and runs nothing


def test_all_examples_are_shown() -> None:
    lines = {line for value in vars(examples).values() if isinstance(value, tuple) for line in value}
    assert all(any(line in (command.epilog or "") for command in VERBS.values()) for line in lines)


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_help_texts_are_sentences(words: tuple[str, ...]) -> None:
    """`--format`: "Of the file."; `--seed`: "0 was trained on"; `--system`: "What it is"."""
    for parameter in VERBS[words].params:
        text = parameter.help or ""
        assert re.fullmatch(r"[A-Z].*\.", text), f"{parameter.name}: {text!r}"
        assert len(text.split()) > 1, f"{parameter.name}: {text!r}"
        assert not text.startswith(("Of ", "As ", "Or ", "And ", "The same", "Another ")), (
            f"{parameter.name}: {text!r}"
        )


def test_the_list_of_verbs_cuts_no_sentence(shell: Shell) -> None:
    assert "..." not in shell("--help").out.partition("Commands:")[2]
    assert "..." not in shell("data", "--help").out.partition("Commands:")[2]


def complete(words: str) -> list[str]:
    """What a shell offers after these words."""
    done = subprocess.run(
        [sys.executable, "-m", "groundling"],
        capture_output=True,
        text=True,
        check=True,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "src"),
            "_GROUNDLING_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        },
    )
    return done.stdout.split()


def test_a_shell_completes_verbs_and_options(shell: Shell) -> None:
    assert complete("groundling gr") == ["ground"]
    assert complete("groundling train --se") == ["--set", "--settings"]
    assert "--install-completion" in shell("--help").out


# ---------------------------------------------------------------------------------------------- the lists


def test_info_lists_the_models_and_what_each_can(shell: Shell) -> None:
    said = shell("info")
    assert said.code == 0
    for name in (*PRESETS, *DETR):
        assert name in said.out
    rows = {line.split()[0]: line for line in said.out.splitlines() if line.strip()}
    for name in checkpoint.packaged():
        assert "Apache-2.0" in said.out
        assert "packaged" in rows[name]
    assert rows["mdetr_r101_gqa"].split() == ["mdetr_r101_gqa", "preset", "145.5", "G", *["yes"] * 3]


def test_info_lists_the_models_as_json(shell: Shell) -> None:
    rows = {row["model"]: row for row in map(json.loads, shell("info", "--json").out.splitlines())}
    for ability in Ability:
        assert {name for name, row in rows.items() if ability in row["abilities"]} == set(able(ability))
    for name in checkpoint.packaged():
        folder = checkpoint.PACKAGED / name
        assert rows[name]["packaged"]
        assert rows[name]["bytes"] == sum(file.stat().st_size for file in folder.iterdir())
        assert rows[name]["full_macs"] == json.loads(shell("info", name, "--json").out)["full_macs"]
    assert rows["detr_r50"]["full_macs"] == json.loads(shell("info", "detr_r50", "--json").out)["full_macs"]
    assert rows["lads_r50"]["bytes"] is None


@pytest.mark.parametrize("name", checkpoint.packaged())
def test_packaged_models_say_their_licence_and_what_they_were_trained_on(name: str) -> None:
    training = checkpoint.read_config(checkpoint.PACKAGED / name)["training"]
    assert training["licence"] == "Apache-2.0"
    assert training["about"]
    checkpoint.verify(checkpoint.PACKAGED / name, required=True)


def test_numbers_and_datasets_are_for_people() -> None:
    """0.8358096668124199, and "flickr30k,jsonl,jsonl,gqa,gqa,gqa", were printed as they are stored."""
    config = {"data": {"dataset": "flickr30k,jsonl,jsonl,gqa,gqa", "split": "train,lists,names,train,train"}}
    scores = {"eval/prec@0.5": 0.932, "eval/mean_iou": 0.8358096668124199, "eval/layers_on": 11.81}
    rows = dict(training_rows({"config": config, "scores": scores, "run": "polish", "step": 3000}))
    assert rows == {
        "dataset": "flickr30k (train), jsonl (lists, names), gqa (train)",
        "last run": "polish, 3,000 steps",
        "measured: Prec@0.5": "93.2%",
        "measured: mean IoU": "83.6%",
        "measured: layers on": "11.81",
    }


def test_a_model_of_one_size_leaves_out_nothing(shell: Shell) -> None:
    """Its table said "0 of 0" layers."""
    picture = str(ROOT / "docs" / "images" / "street.jpg")
    said = shell("ground", picture, "the cat", "--model", "mdetr_street").out
    assert "0 of 0" not in said
    assert said.split().count("all") == 2
    assert "nothing: this network has one size" in shell("info", "mdetr_street").out


def test_train_lists_the_recipes(shell: Shell) -> None:
    said = shell("train")
    assert said.code == 0
    for name, recipe in packaged().items():
        assert name in said.out
        about = (inspect.getdoc(recipe) or "").split()
        assert about[0] in said.out
    assert "data=DIR" in said.out


def test_settings_of_a_recipe_are_listed_as_set_takes_them(shell: Shell, tmp_path: Path) -> None:
    said = shell("train", "lads_street", "--settings", "--set", "adapt.lr=0.25", "--set", "data=mine")
    rows = dict(re.findall(r"^ (\S+)  +(\S.*?) *$", said.out, re.M))
    assert rows["data"] == "mine"
    assert "adapt: 0.25" in rows["lr"]
    assert rows["weight_decay"] == "0.01"
    for key, value in rows.items():
        if re.fullmatch(r"[\w.]+", key) and re.fullmatch(r"[\d.]+|true|false", value):
            again = shell("train", "lads_street", "--settings", "--set", f"{key}={value}")
            assert again.code == 0, again.err
            break
    assert not list(tmp_path.iterdir())


def test_a_model_in_a_folder_says_what_it_can(shell: Shell, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "small")
    assert "ground an expression" in shell("info", folder).out
    assert json.loads(shell("info", folder, "--json").out)["abilities"] == ["grounds"]


# ------------------------------------------------------------------------------------------------- times


@pytest.mark.parametrize(
    "arguments",
    [
        ("ground", "the cat", "the grey bench"),
        ("detect", "woman"),
        ("phrases", "the woman near a bench"),
        ("answer", "Is there a bench?"),
        ("segment", "the cat"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_tables_show_first_use_and_repeat(arguments: tuple[str, ...], shell: Shell) -> None:
    """A table showed 737 ms, those of a first use, where an answer takes 9."""
    verb, *words = arguments
    picture = str(ROOT / "docs" / "images" / "street.jpg")
    said = shell(verb, picture, *words)
    assert (said.code, said.err) == (0, "")
    assert "first use" in said.out
    assert "again" in said.out
    if verb == "ground":
        rows = [line.split() for line in said.out.splitlines() if line.strip().startswith("the ")]
        times = [(float(row[-2]), float(row[-1])) for row in rows]
    else:
        times = [
            (float(first), float(repeated))
            for first, repeated in re.findall(r"([\d.]+) ms at first use, ([\d.]+) ms again", said.out)
        ]
    assert len(times) == len(words) if verb == "ground" else 1
    assert all(first > 0 and repeated > 0 for first, repeated in times)
    assert "milliseconds" in json.loads(shell(verb, picture, words[0], "--json").out)
    assert "milliseconds are those of a first use" in " ".join(shell(verb, "--help").out.split())
