"""Metrics in literals, and evaluation in batches as the Grounder answers one by one."""

from pathlib import Path

import pytest
import tiny
from scrambled import scrambled
from small import WORDS

from groundling import Grounder, Selection
from groundling.data import Dataset, Sample
from groundling.evaluate import Metrics, Outcome, answers, evaluate, summarise
from groundling.models import build
from groundling.words.wordpiece import Tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(WORDS, 120, 12)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return tiny.drawn(tmp_path_factory.mktemp("images"), images=6)


def outcome(iou: float, share: float, selection: str) -> Outcome:
    sample = Sample("1", Path("a.png"), "left", (0, 0, 1, 1))
    return Outcome(sample, (0, 0, 1, 1), iou, share, 100, Selection.parse(selection))


OUTCOMES = (
    outcome(0.5, 1.0, "layer1.0=1 layer1.0.conv2=f:4 encoder.0.ffn=1"),
    outcome(0.9, 0.5, "layer1.0=1 layer1.0.conv2=8:4 encoder.0.ffn=0"),
    outcome(0.1, 0.3, "layer1.0=0 layer1.0.conv2=f:4 encoder.0.ffn=0"),
)


def test_metrics_in_literals() -> None:
    found = summarise(Dataset("squares", "val", ()), OUTCOMES, 2.0, strict=False)
    assert found == Metrics(
        "squares",
        "val",
        3,
        pytest.approx(2 / 3),
        pytest.approx(0.5),
        pytest.approx(0.6),
        pytest.approx(1.0),  # layers and sublayers on: 2, 1, 0
        pytest.approx(5 / 3),  # filters that are computed: 4, 1, 0
        2.0,
    )


def test_strict_leaves_out_the_border() -> None:
    assert summarise(Dataset("squares", "val", ()), OUTCOMES, 2.0, strict=True).prec_at_05 == pytest.approx(
        1 / 3
    )


def test_the_names_of_the_json_line() -> None:
    row = summarise(Dataset("squares", "val", ()), OUTCOMES, 2.0, strict=False).as_dict()
    assert row == {
        "dataset": "squares", "split": "val", "expressions": 3, "prec@0.5": 0.6667, "mean_iou": 0.5,
        "macs_share": 0.6, "layers_on": 1.0, "filters_on": 1.6667, "milliseconds": 2.0,
    }  # fmt: skip


@pytest.mark.parametrize("batch", [1, 5, 64])
@pytest.mark.parametrize("gated", [True, False])
def test_batches_answer_as_the_grounder_does(
    dataset: Dataset, tokenizer: Tokenizer, batch: int, gated: bool
) -> None:
    config = tiny.MODEL if gated else tiny.MODEL.model_copy(update={"gating": None})
    model = scrambled(build(config))
    grounder = Grounder(model, tokenizer)
    found = list(answers(model, tokenizer, dataset.samples, batch))
    assert sorted(o.sample.id for o in found) == sorted(sample.id for sample in dataset.samples)
    for one in found:
        alone = grounder.ground(one.sample.image, one.sample.expression)
        assert one.box == pytest.approx(alone.box, abs=1e-2)
        assert one.share == pytest.approx(alone.cost.share)
        assert one.selection.canonical() == alone.selection


def test_a_box_that_is_the_answer_counts(dataset: Dataset, tokenizer: Tokenizer) -> None:
    model = scrambled(build(tiny.MODEL))
    found = [one for one in answers(model, tokenizer, dataset.samples) if one.box[0] < one.box[2]]
    samples = [
        Sample(one.sample.id, one.sample.image, one.sample.expression, one.box)
        for one in found
        if one.box[1] < one.box[3]
    ]
    metrics = evaluate(model, tokenizer, Dataset("own answers", "val", tuple(samples)))
    assert metrics.expressions == len(samples) > 0
    assert metrics.prec_at_05 == 1
    assert metrics.mean_iou == pytest.approx(1, abs=1e-3)
    assert 0 < metrics.macs_share <= 1
    assert metrics.milliseconds > 0


def test_nothing_to_evaluate(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="no expressions to evaluate"):
        evaluate(scrambled(build(tiny.MODEL)), tokenizer, Dataset("empty", "val", ()))


def test_a_budget_is_kept_and_is_what_answers_keep(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """The masked network of an evaluation runs what `Grounder.ground` runs for the same budget."""
    model, dataset = scrambled(build(tiny.MODEL)), tiny.drawn(tmp_path)
    least = max(o.share for o in answers(model, tokenizer, dataset.samples, budget=0.05))
    budget = (least + 1) / 2
    found = list(answers(model, tokenizer, dataset.samples, budget=budget))
    assert max(outcome.share for outcome in found) <= budget
    grounder = Grounder(model, tokenizer)
    for outcome in found[:6]:
        answer = grounder.ground(outcome.sample.image, outcome.sample.expression, budget=budget)
        assert answer.cost.share == pytest.approx(outcome.share, abs=0.02)
    assert evaluate(model, tokenizer, dataset, budget=budget).macs_share <= budget
    with pytest.raises(ValueError, match="budget must be a share"):
        evaluate(model, tokenizer, dataset, budget=1.5)
    static = scrambled(build(tiny.MODEL.model_copy(update={"gating": None})))
    with pytest.raises(ValueError, match="runs the same network for all words"):
        evaluate(static, tokenizer, dataset, budget=0.5)
