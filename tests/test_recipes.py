"""Schedules of the recipes for published data: arithmetic on the sizes of RefCOCO, without its files."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import torch

from groundling.checkpoint import load, packaged
from groundling.data import jsonl
from groundling.data.loader import Plan, TrainingSet
from groundling.data.sample import Dataset, Sample
from groundling.data.transforms import lads_train
from groundling.models import build
from groundling.recipes.finetune import finetune
from groundling.recipes.lads_refcoco import lads_finetune, lads_pretrain, lads_refcoco
from groundling.recipes.transvg_refcoco import transvg_refcoco
from groundling.training.optimisation import lr_factor, parameter_groups
from groundling.training.train import Run, train_all

IMAGES, EXPRESSIONS = 17_000, 120_000


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    samples = (
        Sample(f"{n}", Path(f"{n % IMAGES}.jpg"), "left", (0.0, 0.0, 8.0, 8.0)) for n in range(EXPRESSIONS)
    )
    return Dataset("refcoco", "train", tuple(samples))


def steps_per_epoch(dataset: Dataset, run: Run) -> int:
    plan = Plan(0, run.config.images_per_batch, 1, mirror=False)
    return TrainingSet(dataset, None, 512, plan, view=lads_train(512)).steps_per_epoch  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("run", "per_epoch", "length", "drop"),
    [
        (lads_refcoco(Path())[0], 468, 120 * 468, 90 * 468),
        (lads_pretrain(Path())[0], 234, 40 * 234, 30 * 234),
        (lads_finetune(Path())[0], 468, 20 * 468, 10 * 468),
    ],
)
def test_every_expression_is_seen_and_the_warm_up_ends(
    dataset: Dataset, run: Run, per_epoch: int, length: int, drop: int
) -> None:
    """With an epoch of 66 steps, one expression an image, RefCOCO never left its warm-up of 8000."""
    config = run.config
    assert steps_per_epoch(dataset, run) == per_epoch
    assert config.length(per_epoch) == length
    assert config.drops == (drop // per_epoch,)
    last = lr_factor(length - 1, length, config.schedule, config.warmup, [drop])
    assert last == pytest.approx(0.1)


def test_fine_tuning_is_warm_long_before_its_drop(dataset: Dataset) -> None:
    (run,) = lads_finetune(Path())
    assert run.config.warmup <= 2 * steps_per_epoch(dataset, run)


@pytest.mark.parametrize("recipe", [lads_refcoco, lads_pretrain])
def test_only_weights_worth_keeping_are_frozen(recipe: Callable[..., tuple[Run, ...]]) -> None:
    """The first layers of the backbone used to stay at random values where it was not given."""
    (scratch,), (given,) = recipe(Path()), recipe(Path(), backbone="detr-r50.pth")
    assert 0.0 not in scratch.config.lr_groups.values()
    frozen = {name for name, rate in given.config.lr_groups.items() if rate == 0}
    assert frozen == {"net.backbone.conv1", "net.backbone.layer1"}
    assert given.config.backbone == "detr-r50.pth"


@pytest.mark.parametrize(
    ("name", "epochs", "drop", "tokens"),
    [("refcoco", 90, 60, 20), ("unc+", 180, 120, 20), ("refcocog(umd)", 90, 60, 40), ("gref", 90, 60, 40)],
)
def test_transvg_as_published(name: str, epochs: int, drop: int, tokens: int) -> None:
    (run,) = transvg_refcoco(Path(), name, detr="detr-r50.pth")
    config = run.config
    assert (config.epochs, config.drops, config.images_per_batch) == (epochs, (drop,), 64)
    assert (config.lr, config.clip_norm, config.data.augment) == (1e-4, None, "transvg")
    assert (config.model["text"]["tokens"], config.detr) == (tokens, "detr-r50.pth")


@pytest.mark.parametrize("recipe", [lads_refcoco, lads_pretrain, lads_finetune, transvg_refcoco])
def test_rates_are_of_parts_that_the_model_has(recipe: Callable[..., tuple[Run, ...]]) -> None:
    (run,) = recipe(Path())
    config = run.config
    with torch.device("meta"):
        model = build(config.model)
    options = (config.weight_decay, config.lr_groups, config.no_decay, config.decay_vectors)
    groups = parameter_groups(model, config.lr, *options)
    assert {1e-4, 1e-5} == {group["lr"] for group in groups}


def test_fine_tuning_needs_weights(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="run 'finetune' continues from trained weights: it needs init"):
        train_all(lads_finetune(tmp_path), tmp_path)


@pytest.mark.skipif("lads_street" not in packaged(), reason="no packaged weights")
def test_fine_tuning_on_a_handful_of_pictures(tmp_path: Path) -> None:
    """Anything below the recipe's batch of sixteen was refused."""
    samples = tiny.drawn(tmp_path / "images", 5).samples
    jsonl.write(tmp_path / "train.jsonl", samples)
    (run,) = finetune(tmp_path, "jsonl", steps=1)
    short = run.config.model_copy(update={"tensorboard": False, "device": "cpu"})
    final = train_all([run._replace(config=short)], tmp_path / "runs")
    assert load(final).info.training["step"] == 1


def test_a_warm_up_is_shorter_than_its_run() -> None:
    config = lads_refcoco(Path())[0].config
    assert config.warmup_of(config.length(66)) == 7920 // 4 < config.warmup
