"""Every verb does what Python does, prints strict JSON where asked, and keeps to its exit codes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tiny
from PIL import Image
from safetensors.torch import load_file
from small import Shell, data_folder, mdetr_folder, model_folder
from typer.main import get_command

import groundling
from groundling import checkpoint
from groundling.cli import app, console, datasets, recipes, settings
from groundling.cli.train import scorer
from groundling.data import open_dataset
from groundling.evaluate import evaluate
from groundling.evaluate.validation import UnmeasuredWarning
from groundling.losses.grounding import GroundingLoss
from groundling.models.answers import STREET, AnswersConfig
from groundling.training.train import Run, Stopped, TrainingError

VERBS = ("ground", "demo", "data", "train", "evaluate", "analyze", "info")
WORDS = ("red square", "the blue one on the left")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_folder(tmp_path_factory.mktemp("data"))


@pytest.fixture
def picture(data: Path) -> Path:
    return data / "images" / "0.png"


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def strict(lines: str) -> list[dict[str, Any]]:
    """Each line as JSON; Python's own reader would take NaN and Infinity too."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in lines.splitlines()]


# --- the verbs


def test_help_names_every_verb_and_each_has_its_own(shell: Shell) -> None:
    without = shell()
    assert without == shell("--help")
    assert without.code == 0
    for verb in VERBS:
        assert f"  {verb} " in without.out
        assert shell(verb, "--help").code == 0


def test_no_verb_has_more_than_ten_flags() -> None:
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        for verb in getattr(command, "commands", {name: command}).values():
            flags = [p for p in verb.params if p.param_type_name == "option" and p.name != "help"]
            assert len(flags) <= 10, name


def test_help_does_not_wait_for_heavy_packages() -> None:
    code = (
        "import sys; from groundling.cli import main; main(['--help'])\n"
        "assert not {'torch', 'transformers', 'numpy', 'PIL'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_version(shell: Shell) -> None:
    assert shell("--version") == (0, f"groundling {groundling.__version__}\n", "")


# --- ground


def test_ground_prints_what_python_returns(shell: Shell, model: Path, picture: Path) -> None:
    ran = shell("ground", picture, *WORDS, "--model", model, "--json")
    found = groundling.load(model).ground(str(picture), WORDS)
    wanted = [grounding.as_dict() for grounding in found]
    assert ran.code == 0
    assert ran.err == ""
    assert [{**row, "milliseconds": 0} for row in strict(ran.out)] == [
        {**row, "milliseconds": 0} for row in wanted
    ]
    assert list(wanted[0]) == [
        "image", "expression", "box", "score", "present", "macs", "full_macs", "share", "layers_on",
        "layers", "filters_on", "filters", "milliseconds",
    ]  # fmt: skip


def test_ground_keeps_to_a_budget(shell: Shell, model: Path, picture: Path) -> None:
    rows = strict(shell("ground", picture, *WORDS, "--model", model, "--json", "--budget", 0.7).out)
    assert all(row["macs"] <= 0.7 * row["full_macs"] for row in rows)


def test_ground_prints_a_table_with_the_words_as_they_are(shell: Shell, model: Path, picture: Path) -> None:
    ran = shell("ground", picture, "the [red] square :dog:", "\x1b[31mleft", "--model", model)
    assert ran.code == 0
    assert "the [red] square :dog:" in ran.out
    assert "\x1b" not in ran.out


def test_ground_draws_the_boxes(shell: Shell, model: Path, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "boxes.png"
    assert shell("ground", picture, *WORDS, "--model", model, "--out", out).code == 0
    with Image.open(out) as drawn, Image.open(picture) as plain:
        assert drawn.width >= 640
        assert drawn.width * plain.height == drawn.height * plain.width
        assert drawn.tobytes() != plain.convert(drawn.mode).resize(drawn.size).tobytes()


@pytest.mark.parametrize("verb", ["ground", "detect", "phrases", "answer", "segment"])
def test_pictures_of_no_format_are_refused_before_the_model_runs(
    verb: str, shell: Shell, picture: Path, tmp_path: Path
) -> None:
    """`segment --overlay` of another name was an error after the model had run and --out was written."""
    named = ("--out", tmp_path / "seen.txt")
    if verb == "segment":
        named = ("--out", tmp_path / "mask.png", "--overlay", tmp_path / "seen.txt")
    missing = tmp_path / "no_model"  # it would be the complaint as soon as it is looked for
    complaint = shell(verb, picture, "left", "--model", missing, *named).complaint()
    assert "cannot save a picture as 'seen.txt'; its name should end in .png, .jpg, .jpeg, .webp" in complaint
    assert list(tmp_path.iterdir()) == []


def test_a_long_expression_is_a_warning(shell: Shell, model: Path, picture: Path) -> None:
    ran = shell("ground", picture, "left " * 10_000, "--model", model, "--json")
    assert ran.code == 0
    assert "warning: expression of 10000 words cut to 12 tokens" in ran.only_line()
    assert len(strict(ran.out)) == 1


def test_many_warnings_are_counted(shell: Shell, model: Path, picture: Path) -> None:
    long = [f"{word} " * 40 for word in ("left", "right", "red", "green", "blue")]
    err = shell("ground", picture, *long, "--model", model, "--json").err.splitlines()
    assert len(err) == 4
    assert err[3] == "groundling: warning: 2 more of this kind (TruncationWarning)"


# --- evaluate, analyze, info, data


def test_evaluate_prints_what_python_returns(shell: Shell, model: Path, data: Path) -> None:
    ran = shell("evaluate", model, "--data", data, "--split", "val", "--split", "test", "--json")
    loaded = groundling.load(model)
    assert (ran.code, ran.err) == (0, "")
    for row, split in zip(strict(ran.out), ("val", "test"), strict=True):
        wanted = evaluate(loaded.model, loaded.tokenizer, open_dataset(data, "jsonl", split)).as_dict()
        assert {**row, "milliseconds": 0} == {**wanted, "milliseconds": 0}


def test_evaluate_a_file_without_naming_anything(shell: Shell, model: Path, data: Path) -> None:
    (row,) = strict(shell("evaluate", model, "--data", data / "test.jsonl", "--limit", 5, "--json").out)
    assert (row["dataset"], row["split"], row["expressions"]) == ("test", "test", 5)


def test_evaluate_prints_a_table(shell: Shell, model: Path, data: Path) -> None:
    ran = shell("evaluate", model, "--data", data, "--protocol", "strict")
    assert ran.code == 0
    assert "Prec@0.5" in ran.out
    assert "val" in ran.out


def test_a_dataset_is_named_where_there_are_several(tmp_path: Path) -> None:
    (tmp_path / "data" / "unc").mkdir(parents=True)
    assert datasets.name_in(tmp_path, None) == "unc"
    assert datasets.name_in(tmp_path, "transvg") == "unc"
    (tmp_path / "data" / "gref").mkdir()
    (tmp_path / "refcoco").mkdir()
    with pytest.raises(ValueError, match=r"holds unc, gref; choose one with --dataset"):
        datasets.name_in(tmp_path, "transvg")
    with pytest.raises(ValueError, match=r"holds refcoco, unc, gref; choose one"):
        datasets.name_in(tmp_path, None)
    assert datasets.name_in(tmp_path, "refcoco") == "refcoco"


def test_analyze_writes_pictures_and_tables(shell: Shell, model: Path, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")
    ran = shell("analyze", model, "--data", data, "--out", tmp_path / "found", "--limit", 12)
    assert (ran.code, ran.err) == (0, "")
    files = [Path(line) for line in ran.out.splitlines() if line.startswith(str(tmp_path))]
    assert {".png", ".csv", ".json"} == {file.suffix for file in files if file.stat().st_size}


def test_info_of_a_folder(shell: Shell, model: Path) -> None:
    (row,) = strict(shell("info", model, "--json").out)
    tensors = load_file(model / "model.safetensors")
    statistics = sum(t.numel() for name, t in tensors.items() if "running_" in name or "num_batches" in name)
    assert row["parameters"] == sum(t.numel() for t in tensors.values()) - statistics
    assert row["full_macs"] == sum(row["macs"].values())
    assert row["weights"]
    assert row["licence"] == "not stated in the checkpoint"
    assert 0 < row["least_share"] < 1
    table = shell("info", model)
    assert table.code == 0
    assert f"{row['parameters']:,}" in table.out


def test_info_of_a_preset_says_that_it_has_no_weights(shell: Shell) -> None:
    (row,) = strict(shell("info", "lads_r50", "--json").out)
    assert not row["weights"]
    assert row["parameters"] > 90_000_000
    assert row["units"] == {"layer": 13, "filters": row["units"]["filters"], "attention": 6, "ffn": 6}
    assert "without weights" in shell("info", "lads_r50").out


def test_info_fetches_from_the_hub_when_asked(
    shell: Shell, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: model)
    assert shell("info", "someone/tiny").code == 2
    (here,) = strict(shell("info", model, "--json").out)
    (fetched,) = strict(shell("info", "someone/tiny", "--download", "--json").out)
    assert here["sha256"] == fetched["sha256"]


def test_street_scenes_can_be_evaluated(shell: Shell, model: Path, tmp_path: Path) -> None:
    drawn = shell("data", "street", tmp_path / "street", "--scenes", 8, "--size", 96, "--seed", 5)
    assert (drawn.code, drawn.err) == (0, "")
    (row,) = strict(shell("evaluate", model, "--data", tmp_path / "street", "--split", "testA", "--json").out)
    assert row["dataset"] == "street scenes"
    assert row["expressions"] > 0


def test_demo_shows_fresh_scenes(shell: Shell, model: Path, tmp_path: Path) -> None:
    asked = mdetr_folder(tmp_path / "mdetr")
    ran = shell("demo", "--model", model, "--asked-model", asked, "--out", tmp_path / "demo")
    assert ran.code == 0
    lines = ran.out.splitlines()
    files = [str(tmp_path / "demo" / name) for name in ("contact_sheet.png", "asked_sheet.png")]
    assert [line for line in lines if line.endswith(".png")] == files
    assert lines[-1] == files[-1]
    said = lines[lines.index(files[0]) - 1]
    assert re.search(r"first use of words \d+\.\d ms, .* repeat \d+\.\d ms; full network \d+\.\d ms", said)
    for share, of in (
        ("expressions, Prec@0.5", "12"),
        ("questions, accuracy", "60"),
        ("masks, mean IoU", "60"),
    ):
        (row,) = (line for line in lines if line.strip().startswith(share))
        assert re.search(rf"\d%.* {of}\b", row)
    for file in files:
        with Image.open(file) as sheet:
            assert min(sheet.size) > 500


def test_demo_refuses_an_mdetr_that_is_none(shell: Shell, model: Path, tmp_path: Path) -> None:
    wrong = shell("demo", "--model", model, "--asked-model", model, "--out", tmp_path / "demo").complaint()
    assert "(lads) cannot find all objects of a text" in wrong
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize(
    ("answers", "masks", "message"),
    [
        (None, True, "this model answers no questions: the demo takes one that does both, mdetr_street or"),
        (STREET, False, "this model segments nothing: "),
        (None, False, "this model answers no questions and segments nothing: "),
    ],
)
def test_demo_refuses_an_mdetr_without_heads_before_it_measures(
    answers: AnswersConfig | None, masks: bool, message: str, shell: Shell, model: Path, tmp_path: Path
) -> None:
    """All expressions, then all captions were timed, and then there were no answers."""
    mdetr = mdetr_folder(tmp_path / "mdetr", answers, masks)
    wrong = shell("demo", "--model", model, "--asked-model", mdetr, "--out", tmp_path / "demo").complaint()
    assert message in wrong
    assert not (tmp_path / "demo").exists()


# --- train

RECIPE = """
import tiny
from groundling.training.train import Run

def recipe(data, steps: int = 2):
    changes = {"dataset": "jsonl", "path": data}
    config = tiny.config(steps=steps, data=tiny.DataConfig(**changes), tensorboard=False)
    return [Run("first", config, "grounding"), Run("second", config, "grounding")]
"""


@pytest.fixture
def taught(data: Path, tmp_path: Path) -> Path:
    """The data, with a split to train on."""
    folder = Path(shutil.copytree(data, tmp_path / "taught"))
    shutil.copy(folder / "val.jsonl", folder / "train.jsonl")
    return folder


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(RECIPE)
    return file


def test_train_runs_a_recipe_and_measures_it(
    shell: Shell, recipe: Path, taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("train", recipe, "--set", f"data={taught}", "--out", tmp_path / "runs")
    ran = shell(*given, "--set", "second.lr=1e-4", "--set", "steps=3", "--set", "loss.mi=0.2")
    assert (ran.code, ran.err) == (0, "")
    final = Path(ran.out.splitlines()[-1])
    assert final == tmp_path / "runs" / "second" / "final"
    training = checkpoint.load(final).info.training
    assert (training["config"]["lr"], training["config"]["loss"]["mi"], training["step"]) == (1e-4, 0.2, 3)
    assert {"eval/prec@0.5", "eval/mean_iou", "eval/macs_share"} <= training["scores"].keys()

    again = shell(*given, "--set", "second.lr=1e-4", "--set", "steps=3", "--set", "loss.mi=0.2")
    assert "resume" in again.only_line()
    assert again.code == 2

    # A run that was asked to stop has saved itself: one line, and the exit code of an interrupt.
    def stopped(*_: object, **__: object) -> None:
        raise Stopped("stopped at step 1 of 3; resume=True continues from there")

    monkeypatch.setattr("groundling.training.train.train", stopped)
    ran = shell(*given)
    assert ran.code == 130
    assert ran.only_line() == "groundling: stopped at step 1 of 3; --resume continues from there"


def test_a_run_is_resumed_without_its_settings(
    shell: Shell, recipe: Path, taught: Path, tmp_path: Path
) -> None:
    """All of them had to be given again, to the letter."""
    runs = tmp_path / "runs"
    given = ("--set", f"data={taught}", "--set", "second.lr=1e-4", "--set", "steps=4")
    assert shell("train", recipe, *given, "--out", runs).code == 0
    shutil.rmtree(runs / "second" / "final")
    shutil.rmtree(runs / "second" / "step-00000004")
    again = shell("train", recipe, "--resume", "--out", runs, "--set", "second.log_every=1")
    assert again.code == 0, again.err
    assert f"second: continues at step 2 of 4, from {runs / 'second' / 'step-00000002'}" in again.out
    training = checkpoint.load(runs / "second" / "final").info.training
    assert (training["step"], training["config"]["lr"]) == (4, 1e-4)
    other = shell("train", recipe, "--resume", "--out", runs, "--set", "second.lr=1e-3")
    assert "cannot resume with another lr" in other.complaint()
    assert "needs data" in shell("train", recipe, "--resume", "--out", tmp_path / "none").complaint()
    assert (
        "no setting 'lrr'"
        in shell(
            "train", recipe, "--resume", "--out", runs, "--set", "lrr=1", "--set", f"data={taught}"
        ).complaint()
    )


def test_a_missing_split_is_not_scored_and_a_damaged_one_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("{}")
    given = tiny.DataConfig(path=tmp_path, dataset="jsonl")
    run = Run("tiny", tiny.config(data=given), "grounding")
    assert scorer(run) is None
    (tmp_path / "val.jsonl").write_text("half a row")
    with pytest.warns(UnmeasuredWarning, match=r"val cannot be read, and is not measured on: .*val\.jsonl"):
        assert scorer(run) is None


def test_broken_numbers_are_no_users_mistake(
    shell: Shell, recipe: Path, taught: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise TrainingError("step 3: the loss is not finite")

    monkeypatch.setattr("groundling.training.train.train", broken)
    ran = shell("train", recipe, "--set", f"data={taught}")
    assert ran.code == 1
    assert ran.only_line() == "groundling: error: step 3: the loss is not finite"


def test_recipes_are_found_by_name() -> None:
    there = recipes.packaged()
    assert {"lads_street", "lads_street_static"} <= there.keys()
    assert "attributes" not in there  # a function of the same file that returns no runs
    for recipe in there.values():
        for run in settings.applied(recipe, {"data": "somewhere"}):
            assert run.config.data.path == Path("somewhere")


def run_of(**given: str) -> Run:
    """The last run of the packaged model's recipe, with some settings."""
    names = {name.replace("__", "."): value for name, value in given.items()}
    return settings.applied(recipes.find("lads_street"), names)[-1]


def test_settings_reach_every_run_that_has_them() -> None:
    runs = settings.applied(
        recipes.find("lads_street"),
        {"steps": "7", "loss.mi": "0.3", "adapt.lr": "1e-5", "model.layers": "2", "ground.ema": "null"},
    )
    named = {run.name: run for run in runs}
    detect, ground, adapt = named["detect"], named["ground"], named["adapt"]
    assert {run.config.steps for run in runs} == {7}
    assert "mi" not in detect.config.loss  # its objective has no such term
    assert GroundingLoss.model_validate(ground.config.loss).mi == 0.3
    assert adapt.config.lr == 1e-5 != ground.config.lr
    assert {run.config.model["layers"] for run in runs} == {2}
    assert ground.config.ema is None


def test_settings_of_many_kinds() -> None:
    assert run_of(data="elsewhere").config.data.path == Path("elsewhere")
    assert run_of(data__path="elsewhere").config.data.path == Path("elsewhere")
    assert run_of(data__augment="none").config.data.augment == "none"
    assert run_of(lr_groups__net__encoder="0.001").config.lr_groups["net.encoder"] == 0.001
    assert run_of(drops="[3, 5]").config.drops == (3, 5)
    assert run_of(model__gating__hidden="16").config.model["gating"]["hidden"] == 16
    assert run_of(freeze_norm="false").config.freeze_norm is False
    epochs = run_of(epochs="4").config
    assert (epochs.epochs, epochs.steps) == (4, None)


def test_settings_at_their_bounds() -> None:
    config = run_of(lr="0", weight_decay="0", clip_norm="null", ema="null", lr_floor="1").config
    assert (config.lr, config.weight_decay, config.clip_norm, config.ema) == (0, 0, None, None)


def test_settings_that_change_nothing_leave_the_runs_as_they_are() -> None:
    recipe = recipes.find("lads_street")
    assert settings.applied(recipe, {}) == tuple(recipe())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("lrr=1", r"no setting 'lrr' in this recipe; close are lr"),
        ("mi=1", r"close are loss.mi"),
        ("loss.mii=1", r"close are loss.mi"),
        ("adapt.loss.mii=1", r"no setting 'adapt.loss.mii'"),
        ("detect.loss.mi=1", r"no setting 'detect.loss.mi'"),
        ("model.layer=1", r"close are model.layers"),
        ("model.gating.trunk=new", r"gating.trunk: Input should be 'paper' or 'released'"),
        ("steps=many", r"steps: Input should be a valid integer"),
        ("steps=0", r"steps: Input should be greater than 0"),
        ("loss.mi=much", r"loss mi: Input should be a valid number"),
        ("loss.mi=nan", r"loss mi: Input should be a finite number"),
        ("lr=nan", r"run detect-128: lr: Input should be a finite number, given 'nan'"),
        ("lr=inf", r"lr: Input should be a finite number, given 'inf'"),
        ("lr=1e999", r"lr: Input should be a finite number, given inf"),
        ("lr=-1", r"lr: Input should be greater than or equal to 0, given -1"),
        ("lr_groups.net=-1", r"lr_groups.net: Input should be greater than or equal to 0, given -1"),
        ("lr_floor=2", r"lr_floor: Input should be less than or equal to 1, given 2"),
        ("weight_decay=-0.1", r"weight_decay: Input should be greater than or equal to 0, given -0.1"),
        ("clip_norm=0", r"clip_norm: Input should be greater than 0, given 0"),
        ("clip_norm=-1", r"clip_norm: Input should be greater than 0, given -1"),
        ("ema=0", r"ema: Input should be greater than 0, given 0"),
        ("ema=1", r"ema: Input should be less than 1, given 1"),
        ("ema=NaN", r"ema: Input should be a finite number, given nan"),
        ("data.cache_gib=-1", r"data.cache_gib: Input should be greater than or equal to 0, given -1"),
        ("zzzz=1", r"settings are .*data.*lr"),
        ("steps", r"--set takes NAME=VALUE, given 'steps'"),
        ("=3", r"--set takes NAME=VALUE"),
    ],
)
def test_settings_that_do_not_fit(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings.applied(recipes.find("lads_street"), settings.parsed([setting]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("def other(): pass", "has no function `recipe`"),
        ("def recipe(: pass", "cannot be imported: SyntaxError"),
        ("import nowhere_at_all", "cannot be imported: ModuleNotFoundError"),
        ("def recipe(): return []", "must return a list of runs"),
        ("def recipe(folder): return []", "needs folder: give --set folder="),
    ],
)
def test_recipe_files_that_do_not_fit(content: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(content)
    with pytest.raises(ValueError, match=message):
        settings.applied(recipes.find(str(file)), {})


# --- exit codes


def raising(error: BaseException) -> Any:
    def load(*_: object, **__: object) -> None:
        raise error

    return load


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "groundling: interrupted"),
        (
            KeyError("conv9"),
            1,
            "groundling: internal error: KeyError: 'conv9' (GROUNDLING_TRACEBACK=1 shows where)",
        ),
        (ValueError("two\nlines \x07"), 2, "groundling: error: two lines \\x07"),
        (
            PermissionError(13, "Permission denied", "/somewhere/x"),
            2,
            "groundling: error: /somewhere/x: Permission denied",
        ),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_code(
    error: BaseException, code: int, line: str, shell: Shell, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GROUNDLING_TRACEBACK", raising=False)
    monkeypatch.setattr("groundling.ask.grounder.load_grounder", raising(error))
    ran = shell("ground", picture, "left")
    assert (ran.code, ran.out, ran.only_line()) == (code, "", line)


def test_a_traceback_where_asked_for(shell: Shell, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDLING_TRACEBACK", "1")
    monkeypatch.setattr("groundling.ask.grounder.load_grounder", raising(KeyError("conv9")))
    ran = shell("ground", picture, "left")
    assert "Traceback" in ran.err
    assert ran.code == 1


@pytest.mark.parametrize("closed", ["1", "2"])
def test_a_stream_that_is_closed(closed: str) -> None:
    """Without stdout it was an AttributeError from inside; without stderr, warnings went to stdout."""
    script = f'exec "$0" -m groundling --version {closed}>&-'
    ran = subprocess.run(["sh", "-c", script, sys.executable], capture_output=True, text=True, check=False)
    if closed == "1":
        assert (ran.returncode, ran.stdout) == (2, "")
        assert ran.stderr.startswith("groundling: error: standard output is closed")
        assert ran.stderr.count("\n") == 1
    else:
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"groundling {groundling.__version__}\n", "")


def test_a_complaint_has_an_end(capsys: pytest.CaptureFixture[str]) -> None:
    console.complain("9" * 10**6)
    assert len(capsys.readouterr().err) < 2100


def test_complaints_without_stderr_go_nowhere() -> None:
    script = 'exec "$0" -m groundling --verbose 2>&-'
    ran = subprocess.run(["sh", "-c", script, sys.executable], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", "")


def test_interrupted_drawing_says_so_once(tmp_path: Path) -> None:
    """A terminal sends Ctrl-C to all processes: the workers used to print a traceback each."""
    out = tmp_path / "street"
    command = [sys.executable, "-m", "groundling", "data", "street", str(out), "--scenes", "9000"]
    process = subprocess.Popen(
        [*command, "--workers", "2"], stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs begin without it
    )  # fmt: skip
    while process.poll() is None and not list(out.glob("images/street_*.jpg")):
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=600)
    assert (process.returncode, told) == (130, "groundling: interrupted\n")


def test_nobody_reads_the_output() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "groundling", "--help"]
    ran = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert ran.stderr == b""
