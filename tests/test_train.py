"""Training: steps follow from seed and step, so a run killed at any moment ends as if it had not been."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from groundling import checkpoint
from groundling.data.sample import Dataset
from groundling.training.distributed import Group
from groundling.training.optimisation import MovingAverage, lr_factor, parameter_groups
from groundling.training.prepare import prepare, used
from groundling.training.state import check_same_samples
from groundling.training.train import Run, Stopped, TrainConfig, TrainingError, train, train_all

TINY = Path(tiny.__file__)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return tiny.drawn(tmp_path_factory.mktemp("data") / "images")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trained(out: Path, dataset: Dataset, *, resume: bool = False, **options: Any) -> Path:
    asked = {
        "objective": tiny.objective,
        **{k: options.pop(k) for k in ("objective", "init", "evaluate") if k in options},
    }
    return train(
        Run("tiny", tiny.config(**options), "grounding"), out, resume=resume, dataset=dataset, **asked
    )


def weights(folder: Path) -> dict[str, Tensor]:
    return checkpoint.read_tensors(folder / "model.safetensors")


def assert_same(left: Path, right: Path) -> None:
    one, other = weights(left), weights(right)
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def logged(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


# ---------------------------------------------------------------------------------------------- resuming


def asked_to_stop_at(step: int) -> Any:
    def objective(model: Any, batch: Any, draw: Any) -> dict[str, Tensor]:
        if draw.step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return tiny.objective(model, batch, draw)

    return objective


def test_a_stopped_run_continues_bit_for_bit(tmp_path: Path, dataset: Dataset) -> None:
    whole = trained(tmp_path / "whole", dataset)
    with pytest.raises(Stopped, match=r"stopped at step 4 of 6; resume=True continues from .*step-00000004"):
        trained(tmp_path / "cut", dataset, objective=asked_to_stop_at(3))
    assert not (tmp_path / "cut/final").exists()
    resumed = trained(tmp_path / "cut", dataset, resume=True)
    assert_same(whole, resumed)
    assert [line["step"] for line in logged(tmp_path / "cut")] == [2, 4, 6]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_killed_at_any_moment_a_run_continues_bit_for_bit(tmp_path: Path, dataset: Dataset) -> None:
    """SIGKILL after a random time in the steps, again and again until the run is through."""
    whole = trained(tmp_path / "whole", dataset, steps=10)
    out = tmp_path / "killed"
    command = [sys.executable, str(TINY), str(out), "--resume", "steps=10", "slow=0.1"]
    # The script draws its own images beside OUT; they are the same, which the run checks when it resumes.
    for kill in (True, True, False):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        if kill:
            process.stdout.readline()  # the first steps are done
            time.sleep(random.uniform(0, 0.5))
            process.kill()
        process.communicate()
    assert process.returncode == 0
    assert_same(whole, out / "final")
    assert [line["step"] for line in logged(out)] == [2, 4, 6, 8, 10]
    assert list(out.glob(".*")) == []


def test_a_run_on_fewer_images_than_a_batch_continues_bit_for_bit(tmp_path: Path, dataset: Dataset) -> None:
    three = Dataset(dataset.name, dataset.split, dataset.samples[:12])
    options = {"data": tiny.config().data.model_copy(update={"repeat": True}), "steps": 4}
    whole = trained(tmp_path / "whole", three, **options)
    with pytest.raises(Stopped):
        trained(tmp_path / "cut", three, objective=asked_to_stop_at(1), **options)
    assert_same(whole, trained(tmp_path / "cut", three, resume=True, **options))


def test_a_broken_newest_checkpoint_gives_way_to_the_one_before(tmp_path: Path, dataset: Dataset) -> None:
    whole = trained(tmp_path / "whole", dataset)
    with pytest.raises(Stopped):
        trained(tmp_path / "cut", dataset, objective=asked_to_stop_at(4))
    newest, before = checkpoint.steps(tmp_path / "cut")
    (newest / "trainer/tensors.safetensors").write_bytes(b"half of it")
    assert_same(whole, trained(tmp_path / "cut", dataset, resume=True))
    assert before.name == "step-00000004"


def test_no_whole_checkpoint_left_is_an_error(tmp_path: Path, dataset: Dataset) -> None:
    trained(tmp_path, dataset, steps=2)
    (tmp_path / "step-00000002/manifest.json").unlink()
    with pytest.raises(ValueError, match=r"can be resumed: .*saving it did not finish"):
        trained(tmp_path, dataset, resume=True)


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path, dataset: Dataset) -> None:
    final = trained(tmp_path, dataset, steps=2)
    before = (final / "manifest.json").stat().st_mtime_ns
    assert trained(tmp_path, dataset, steps=2, resume=True) == final
    assert (final / "manifest.json").stat().st_mtime_ns == before


def test_what_changes_no_step_may_change_when_a_run_is_resumed(tmp_path: Path, dataset: Dataset) -> None:
    final = trained(tmp_path, dataset, steps=2)
    other = {"repeat": True, "cache_gib": 1.0, "path": Path("moved")}
    data = tiny.config().data.model_copy(update=other)
    assert trained(tmp_path, dataset, steps=2, data=data, workers=0, log_every=1, resume=True) == final


def test_a_run_is_never_overwritten(tmp_path: Path, dataset: Dataset) -> None:
    trained(tmp_path, dataset, steps=2)
    with pytest.raises(ValueError, match="already holds a run up to step-00000002"):
        trained(tmp_path, dataset, steps=2)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"lr": 0.5}, "lr"),
        ({"model": tiny.STILL}, "model"),
        ({"loss": {"mi": 0.5}}, "loss"),
        ({"steps": 4}, "steps"),  # the cosine would have been another one
    ],
)
def test_resuming_another_run_is_refused(
    tmp_path: Path, dataset: Dataset, change: dict[str, Any], named: str
) -> None:
    trained(tmp_path, dataset, steps=2)
    with pytest.raises(ValueError, match=f"cannot resume with another {named};"):
        trained(tmp_path, dataset, resume=True, **{"steps": 2, **change})


def test_a_run_may_go_on_for_longer_where_rates_do_not_follow_from_its_length(
    tmp_path: Path, dataset: Dataset
) -> None:
    constant = {"schedule": "constant", "warmup": 0}
    trained(tmp_path / "longer", dataset, steps=2, **constant)
    longer = trained(tmp_path / "longer", dataset, steps=4, resume=True, **constant)
    assert_same(longer, trained(tmp_path / "at once", dataset, steps=4, **constant))


def test_resuming_with_other_samples_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    trained(tmp_path, dataset, steps=2, schedule="constant")
    fewer = Dataset(dataset.name, dataset.split, dataset.samples[4:], dataset.things)
    with pytest.raises(ValueError, match="the samples are not those"):
        trained(tmp_path, fewer, resume=True, steps=4, schedule="constant")


# ---------------------------------------------------------------------------------------------- steps


def test_micro_batches_compute_what_one_batch_does(tmp_path: Path, dataset: Dataset) -> None:
    options = {"model": tiny.STILL, "freeze_norm": True, "steps": 4, "log_every": 1}
    one = trained(tmp_path / "one", dataset, **options)
    four = trained(tmp_path / "four", dataset, accumulate=4, **options)
    for left, right in zip(logged(tmp_path / "one"), logged(tmp_path / "four"), strict=True):
        assert left["loss"] == pytest.approx(right["loss"], rel=1e-4)
        assert left["grad_norm"] == pytest.approx(right["grad_norm"], rel=1e-3)
    theirs = weights(four)
    assert all(torch.allclose(t.float(), theirs[n].float(), atol=2e-4) for n, t in weights(one).items())


def test_it_learns(tmp_path: Path, dataset: Dataset) -> None:
    trained(tmp_path, dataset, model=tiny.STILL, steps=60, log_every=10, checkpoint_every=60, lr=3e-3)
    losses = [line["loss"] for line in logged(tmp_path)]
    assert losses[-1] < 0.75 * losses[0]


def test_detection_pretraining_feeds_grounding(tmp_path: Path, dataset: Dataset) -> None:
    """A recipe of two runs: the second starts from the first one's weights, without its detector."""
    grounding = tiny.STILL.model_copy(update={"categories": (), "attributes": ()})
    things = tiny.config().data.model_copy(update={"things": True})
    runs = [
        Run("detect", tiny.config(model=tiny.STILL, data=things, steps=2), "detection"),
        Run(
            "ground",
            tiny.config(model=grounding, steps=2, discard=("detector.",), lr_groups={"net.backbone": 0.0}),
            "grounding",
        ),
    ]
    asked: list[str] = []

    def evaluate(run: Run) -> Any:
        asked.append(run.name)
        return (lambda model, tokenizer: {"half": 0.5}) if run.objective == "grounding" else None

    final = train_all(runs, tmp_path, dataset=dataset, evaluate=evaluate)
    assert asked == ["detect", "ground"]
    scores = [checkpoint.load(tmp_path / n / "final").info.training.get("scores") for n in asked]
    assert scores == [None, {"eval/half": 0.5}]
    assert final == tmp_path / "ground/final"
    detected, grounded = weights(tmp_path / "detect/final"), weights(final)
    assert {n for n in detected if n not in grounded} == {n for n in detected if n.startswith("detector.")}
    frozen = [n for n, t in grounded.items() if n.startswith("net.backbone") and t.ndim == 4]
    assert len(frozen) > 5
    assert all(torch.equal(detected[n], grounded[n]) for n in frozen)
    training = checkpoint.load(final).info.training
    assert training["init_sha256"] == checkpoint.sha256(tmp_path / "detect/final/model.safetensors")


def test_a_run_continues_without_the_weights_it_began_with(tmp_path: Path, dataset: Dataset) -> None:
    init = trained(tmp_path / "before", dataset, steps=2)
    whole = trained(tmp_path / "whole", dataset, init=init)
    with pytest.raises(Stopped):
        trained(tmp_path / "cut", dataset, init=init, objective=asked_to_stop_at(2))
    init.rename(tmp_path / "elsewhere")
    resumed = trained(tmp_path / "cut", dataset, init=init, resume=True)
    assert_same(whole, resumed)
    first, again = (checkpoint.load(folder).info.training["init_sha256"] for folder in (whole, resumed))
    assert first == again


def test_a_checkpoint_names_the_words_it_had_to_spell(tmp_path: Path, dataset: Dataset) -> None:
    """And a run that begins with it keeps them: the model still knows what they mean."""
    folder = trained(tmp_path / "first", dataset, steps=2)
    assert checkpoint.load(folder).info.taught == ()
    exotic = replace(dataset.samples[0], expression="the zebra")
    more = replace(dataset, samples=(exotic, *dataset.samples[1:]))
    second = trained(tmp_path / "second", more, steps=2, init=folder)
    third = trained(tmp_path / "third", dataset, steps=2, init=second)
    assert [checkpoint.load(folder).info.taught for folder in (second, third)] == [("zebra",)] * 2


def test_the_averaged_model_is_evaluated_and_published(tmp_path: Path, dataset: Dataset) -> None:
    seen: list[dict[str, Tensor]] = []

    def evaluate(model: nn.Module, tokenizer: Any) -> dict[str, float]:
        assert not model.training
        assert len(tokenizer) > 0
        seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return {"prec@0.5": 0.25}

    final = trained(tmp_path / "watched", dataset, evaluate=evaluate, evaluate_every=3)
    assert len(seen) == 2
    published = weights(final)
    assert all(torch.equal(tensor, published[name]) for name, tensor in seen[-1].items())
    assert checkpoint.load(final).info.training["scores"] == {"eval/prec@0.5": 0.25}
    assert_same(final, trained(tmp_path / "alone", dataset))


# ------------------------------------------------------------------------------------------ stopping early


def judged(*scores: float) -> Any:
    """What measures a run by these numbers, one after the other, as often as it asks."""
    left = list(scores)

    def evaluate(model: nn.Module, tokenizer: Any) -> dict[str, float]:
        return {"prec@0.5": left.pop(0), "macs_share": 0.9}

    return evaluate


def test_a_run_that_gets_no_better_ends_and_the_best_is_kept(
    tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    """Recipes trained to the end on thirty pictures, and published what had learned them by heart."""
    watched = {"evaluate_every": 1, "patience": 2, "ema": None, "log_every": 1}
    final = trained(tmp_path / "early", dataset, evaluate=judged(0.2, 0.5, 0.5, 0.4), **watched)
    training = checkpoint.load(final).info.training
    assert (training["step"], training["scores"]["eval/prec@0.5"]) == (2, 0.5)
    assert [line["step"] for line in logged(tmp_path / "early")][-1] == 4
    assert "tiny: no better after step 2, whose weights are kept" in capsys.readouterr().out
    with pytest.raises(Stopped):
        trained(tmp_path / "two", dataset, objective=asked_to_stop_at(1), **watched)
    assert_same(final, tmp_path / "two/step-00000002")
    verified = trained(tmp_path / "early", dataset, resume=True, **watched)
    assert verified == final


def test_a_run_that_was_stopped_remembers_its_best(tmp_path: Path, dataset: Dataset) -> None:
    watched = {"evaluate_every": 1, "patience": 3}
    whole = trained(tmp_path / "whole", dataset, evaluate=judged(0.2, 0.5, 0.3, 0.3, 0.1), **watched)
    with pytest.raises(Stopped):
        trained(
            tmp_path / "cut",
            dataset,
            evaluate=judged(0.2, 0.5, 0.3),
            objective=asked_to_stop_at(2),
            **watched,
        )
    resumed = trained(tmp_path / "cut", dataset, evaluate=judged(0.3, 0.1), resume=True, **watched)
    assert_same(whole, resumed)
    assert [line["step"] for line in logged(tmp_path / "cut")][-1] == 5


def test_what_was_learned_by_heart_is_said(
    tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    """87.5 % on thirty photographs, none of fourteen expressions of others, and no word of it."""

    def objective(model: Any, batch: Any, draw: Any) -> dict[str, Tensor]:
        return tiny.objective(model, batch, draw) | {"metric/prec@0.5": torch.tensor(0.96)}

    trained(tmp_path, dataset, steps=2, objective=objective, evaluate=judged(0.3))
    told = capsys.readouterr().out
    assert "tiny: 96% right on what it trains on, 30% on what it has not seen: it has learned the" in told


def test_where_it_continues_is_said(
    tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Stopped):
        trained(tmp_path / "cut", dataset, objective=asked_to_stop_at(2))
    trained(tmp_path / "cut", dataset, resume=True)
    assert f"tiny: continues at step 3 of 6, from {tmp_path}/cut/step-00000003" in capsys.readouterr().out


def test_an_error_while_measuring_loses_no_step(tmp_path: Path, dataset: Dataset) -> None:
    """It came before the checkpoint of its step, at the end too: hours of a run were lost with it."""
    measured = []

    def evaluate(model: nn.Module, tokenizer: Any) -> dict[str, float]:
        measured.append(model)
        if len(measured) == 2:
            raise ValueError("nothing to measure on")
        return {"prec@0.5": 0.25}

    steps = tiny.config().steps
    assert steps
    with pytest.raises(ValueError, match="nothing to measure on"):
        trained(tmp_path / "bad", dataset, evaluate=evaluate, evaluate_every=steps - 1)
    assert checkpoint.steps(tmp_path / "bad")[0].name == f"step-{steps:08}"
    final = trained(tmp_path / "bad", dataset, evaluate=evaluate, evaluate_every=steps - 1, resume=True)
    assert "scores" not in checkpoint.load(final).info.training  # those before the last steps are not its own
    assert_same(final, trained(tmp_path / "plain", dataset))


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path, dataset: Dataset) -> None:
    def objective(model: Any, batch: Any, draw: Any) -> dict[str, Tensor]:
        losses = tiny.objective(model, batch, draw)
        return {**losses, "giou.0": losses["giou.0"] / (0.0 if draw.step == 1 else 1.0)}

    message = r"step 1: the loss is not finite \(cell\.0 .*giou\.0 inf\) for samples \d+/"
    with pytest.raises(TrainingError, match=message):
        trained(tmp_path, dataset, objective=objective)


def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path: Path, dataset: Dataset) -> None:
    def objective(model: Any, batch: Any, draw: Any) -> dict[str, Tensor]:
        zero = model.net.text_proj[0].weight.sum() * 0
        return {**tiny.objective(model, batch, draw), "root": zero.abs().sqrt()}

    with pytest.raises(
        TrainingError, match=r"step 0: the gradient is not finite in net\.text_proj\.0\.weight"
    ):
        trained(tmp_path, dataset, objective=objective)


def test_mixed_precision_trains_and_keeps_float_weights(tmp_path: Path, dataset: Dataset) -> None:
    final = trained(tmp_path, dataset, steps=2, autocast="bf16", channels_last=True)
    assert {tensor.dtype for tensor in weights(final).values()} <= {torch.float32, torch.int64}
    with pytest.raises(ValueError, match="fp16 needs a GPU"):
        trained(tmp_path / "half", dataset, autocast="fp16")


def test_plain_lines_say_where_the_run_is(
    tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(tmp_path, dataset, steps=4, objective=None, ema=None)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["tiny", "2/4"], ["tiny", "4/4"]]
    for name in ("loss", "prec@0.5", "MACs", "lr", "images/s", "data wait", "eta"):
        assert f" {name} " in lines[0]


def test_in_a_terminal_a_bar_says_it(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    trained(tmp_path, dataset, steps=4, evaluate=lambda *_: {"prec@0.5": 0.25})
    told = capsys.readouterr().out
    assert "4/4" in told
    assert "MACs" in told
    assert "tiny 4/4  eval/prec@0.5 0.25" in told  # a line of its own, above the bar


def test_tensorboard_holds_what_the_log_does(tmp_path: Path, dataset: Dataset) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trained(tmp_path, dataset, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    shown = [(event.step, event.value) for event in events.Scalars("loss")]
    assert shown == [(line["step"], pytest.approx(line["loss"], rel=1e-4)) for line in logged(tmp_path)]


def test_numbers_that_are_none_keep_the_log_readable(tmp_path: Path, dataset: Dataset) -> None:
    def objective(model: Any, batch: Any, draw: Any) -> dict[str, Tensor]:
        return {**tiny.objective(model, batch, draw), "metric/odd": torch.tensor(math.nan)}

    trained(tmp_path, dataset, steps=2, objective=objective)
    assert logged(tmp_path)[0]["metric/odd"] is None


# ---------------------------------------------------------------------------------------------- parts


@pytest.mark.parametrize(
    ("schedule", "step", "factor"),
    [
        ("constant", 0, 0.01),  # warm-up from 1 %
        ("constant", 5, 0.505),
        ("constant", 10, 1.0),
        ("constant", 99, 1.0),
        ("step", 59, 1.0),
        ("step", 60, 0.1),  # the first drop
        ("step", 89, 0.1),
        ("step", 90, 0.01),
        ("cosine", 10, 1.0),
        ("cosine", 99, 0.2),  # the floor
        ("cosine", 54, 0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi * 44 / 89))),
    ],
)
def test_schedules(schedule: Any, step: int, factor: float) -> None:
    assert lr_factor(step, 100, schedule, warmup=10, drops=(60, 90), floor=0.2) == pytest.approx(factor)


def test_drops_count_epochs_where_the_length_does(tmp_path: Path, dataset: Dataset) -> None:
    trained(tmp_path, dataset, steps=None, epochs=2, schedule="step", drops=(1,), warmup=0, log_every=6)
    assert [(line["step"], line["lr"]) for line in logged(tmp_path)] == [(6, 1e-3), (12, pytest.approx(1e-4))]


def test_parameter_groups() -> None:
    model = nn.ModuleDict(
        {
            "vision": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3)),
            "selector": nn.Linear(2, 4),
            "head": nn.Linear(2, 5),
        }
    )
    groups = parameter_groups(
        model,
        1.0,
        0.5,
        {"vision.": 0.1, "vision.1": 0.2, "head": 0.0},
        no_decay=("selector",),
        decay_vectors=False,
    )
    found = {
        tuple(p.shape): (g["lr"], g["weight_decay"])
        for g in groups
        for p in g["params"]  # type: ignore[attr-defined]
    }
    assert found == {
        (2, 2): (0.1, 0.5),
        (2,): (0.1, 0.0),
        (3, 2): (0.2, 0.5),  # the longer prefix
        (3,): (0.2, 0.0),
        (4, 2): (1.0, 0.0),
        (4,): (1.0, 0.0),
    }
    assert not model["head"].weight.requires_grad


def test_a_prefix_that_names_nothing() -> None:
    with pytest.raises(ValueError, match="starts with 'backbone'; the model's parts are: 0, 1"):
        parameter_groups(nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)), 1, 0, {"backbone": 0.1}, (), True)


def test_the_moving_average_by_hand() -> None:
    model = nn.BatchNorm1d(1)
    average, by_hand, running = MovingAverage(model, 0.5), 1.0, 0.0
    for step, value in enumerate((3.0, -2.0, 7.0, 11.0, 4.0, 6.0, 2.0, 9.0, 1.0, 5.0)):
        with torch.no_grad():
            model.weight.fill_(value)
            model.running_mean.fill_(2 * value)  # type: ignore[union-attr]
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        by_hand = decay * by_hand + (1 - decay) * value
        running = decay * running + (1 - decay) * 2 * value
    with average.applied():
        assert model.weight.item() == pytest.approx(by_hand)
        assert model.running_mean.item() == pytest.approx(running)  # type: ignore[union-attr,operator]
    assert model.weight.item() == 5.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": None}, "give steps or epochs, and not both"),
        ({"epochs": 1}, "give steps or epochs, and not both"),
        ({"accumulate": 3}, "must be a multiple of accumulate, given 4 and 3"),
        ({"learning_rate": 1}, "learning_rate"),
    ],
)
def test_configurations_that_make_no_sense(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        tiny.config(**change)


def test_a_configuration_survives_json() -> None:
    config = tiny.config(lr_groups={"net.": 1e-5}, drops=(1, 2))
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config


def test_a_short_run_has_a_short_warm_up(
    tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run of no more steps than its warm-up was refused: `--set steps=20`, the first thing tried."""
    trained(tmp_path, dataset, steps=8, warmup=20, log_every=1)
    assert "tiny: warms up in 2 of its 8 steps, not in 20" in capsys.readouterr().out
    rates = [line["lr"] for line in logged(tmp_path)]
    assert max(range(8), key=rates.__getitem__) == 2
    assert [tiny.config(warmup=20).warmup_of(steps) for steps in (1, 20, 21, 90)] == [0, 5, 20, 20]


def test_a_run_whose_warm_up_was_shortened_cannot_become_longer(tmp_path: Path, dataset: Dataset) -> None:
    """Its first steps would have been others."""
    short = {"schedule": "constant", "warmup": 4}
    trained(tmp_path, dataset, steps=4, **short)
    with pytest.raises(
        ValueError, match=r"another length: .* was warmed up in 1 steps, which a run of 6 does"
    ):
        trained(tmp_path, dataset, steps=6, resume=True, **short)


def test_unknown_objectives_are_named(tmp_path: Path, dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="no objective 'sleep'; there are detection, detr, grounding"):
        train(Run("tiny", tiny.config(), "sleep"), tmp_path, dataset=dataset)


# ---------------------------------------------------------------------------------------------- refusing


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images_per_batch": 28}, "24 images in drawn train, 28 in a batch"),
        ({"lr_groups": {"backbone": 0.1}}, "no parameter name starts with 'backbone'"),
        ({"new_words": 5, "init": "lads_streat"}, "lads_streat"),
        ({"model": tiny.MODEL.model_copy(update={"categories": ()}), "things": True}, "knows no thing"),
        ({"init": "lads_streat"}, "lads_streat"),
        ({"loss": {"detection": 1.0}}, "detection losses need"),  # which only the first step asks for
    ],
)
def test_a_refused_run_leaves_nothing_behind(
    tmp_path: Path, dataset: Dataset, change: dict[str, Any], message: str
) -> None:
    """A tokenizer and empty folders used to stay where the next try was to begin."""
    if change.pop("things", False):
        change["data"] = tiny.config().data.model_copy(update={"things": True})
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        trained(tmp_path / "runs/tiny", dataset, objective=None, tensorboard=True, **change)
    assert list(tmp_path.iterdir()) == []


def test_a_run_makes_the_folders_on_its_way(tmp_path: Path, dataset: Dataset) -> None:
    final = trained(tmp_path / "a/b/c", dataset, steps=2, checkpoint_every=1)
    assert final == tmp_path / "a/b/c/final"
    assert checkpoint.load(final).info.training["step"] == 2


@pytest.mark.parametrize("out", ["file", "file/a/b"])
def test_a_run_does_not_fit_into_a_file(out: str, tmp_path: Path, dataset: Dataset) -> None:
    (tmp_path / "file").write_text("in the way")
    message = r"/file is a file; give a folder for the run"
    with pytest.raises(ValueError, match=message):
        trained(tmp_path / out, dataset)
    with pytest.raises(ValueError, match=message):
        train_all([Run("tiny", tiny.config(), "grounding")], tmp_path / out, evaluate=lambda run: 1 / 0)
    assert (tmp_path / "file").read_text() == "in the way"


def test_processes_that_read_different_samples_are_refused() -> None:
    """Each trains a tokenizer of its own: with other expressions the same ids would mean other words."""

    class Apart(Group):
        def range(self, number: int) -> tuple[int, int]:
            return number - 1, number

    with pytest.raises(ValueError, match="processes read different samples"):
        check_same_samples(Apart(0, 2, torch.device("cpu")), "a" * 64)
    check_same_samples(Group(0, 1, torch.device("cpu")), "f" * 64)


def test_a_first_batch_says_which_parameters_are_trained(tmp_path: Path, dataset: Dataset) -> None:
    """Several processes wait for the gradients of these; and nothing of the batch may stay in the model."""
    config = tiny.config(freeze_norm=False)
    trainer = prepare(
        Run("tiny", config, "grounding"),
        Group(0, 1, torch.device("cpu")),
        None,
        None,
        dataset,
        tiny.objective,
    )
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    part = trainer.data.collate(trainer.data.examples(0))
    reached = used(trainer.stepper, part, config)  # type: ignore[arg-type]
    named = [name for name, _ in trainer.model.named_parameters()]
    left = {name.split(".")[0] for name, flag in zip(named, reached.tolist(), strict=True) if not flag}
    assert left == {"detector"}  # whose losses this objective has not
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.model.state_dict().items())
    assert all(parameter.grad is None for parameter in trainer.model.parameters())
