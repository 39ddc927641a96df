"""A batch of different subnets equals its rows one by one, and computes nothing that is off."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from conftest import SHAPES, lads, random_selection, random_tokens
from PIL import Image
from scrambled import scrambled
from small import WORDS
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from groundling.ask.grounder import Grounder
from groundling.dynamic.extract import extract
from groundling.models import build
from groundling.runtime import batched
from groundling.runtime.batched import Batcher, Rows
from groundling.selection import Selection, Unit
from groundling.words.tokens import Tokens
from groundling.words.wordpiece import Tokenizer


def corners(units: tuple[Unit, ...]) -> list[Selection]:
    """Everything, nothing, layers without filters, filters without layers, and one filter of each."""

    def choose(layers: bool, keep: int) -> Selection:
        return Selection(
            tuple(
                (
                    u.name,
                    (layers,) * u.size if u.kind != "filters" else tuple(i < keep for i in range(u.size)),
                )
                for u in units
            )
        )

    most = max(unit.size for unit in units)
    return [choose(True, most), choose(False, 0), choose(True, 0), choose(False, most), choose(True, 1)]


@torch.no_grad()
@pytest.mark.parametrize(("grouped", "at_once"), [(False, None), (False, 1), (False, 3), (True, None)])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_batch_is_its_rows(shape: str, grouped: bool, at_once: int | None) -> None:
    model, generator = lads(shape).double(), torch.Generator().manual_seed(3)
    units, size = model.units(), model.config.image_size
    selections = [random_selection(units, generator) for _ in range(6)]
    selections += [selections[0], *corners(units)]
    rows = len(selections)
    pixels = torch.rand(3, 3, size, size, generator=generator, dtype=torch.float64)
    index = torch.arange(rows) % 3
    words = random_tokens(rows, rows + 3, model.config.text.vocabulary)
    text = model.text(words)
    whole = extract(model, Selection.all_on(units))
    found = batched.run(whole, Rows(selections, pixels, index, text, words), grouped=grouped, at_once=at_once)
    for row, selection in enumerate(selections):
        alone = extract(model, selection)(
            pixels[index[row]][None],
            text[row : row + 1],
            Tokens(words.ids[row : row + 1], words.padding[row : row + 1]),
        )
        assert_close(found.boxes_cxcywh01[row], alone.boxes_cxcywh01[0], atol=1e-6, rtol=0)
        if alone.scores is not None and found.scores is not None:
            assert_close(found.scores[row], alone.scores[0], atol=1e-6, rtol=0)


@torch.no_grad()
def test_a_batch_costs_what_its_rows_do_less_what_they_share() -> None:
    """As torch counts it: the stem runs once for each image, all else once for each row that has it on."""
    model, generator = lads("inner"), torch.Generator().manual_seed(5)
    size, words = model.config.image_size, random_tokens(6, 5, 50, padded=False)
    selections = [random_selection(model.units(), generator) for _ in range(6)]
    whole, text = extract(model, Selection.all_on(model.units())), model.text(words)
    pixels, index = torch.rand(2, 3, size, size), torch.tensor([0, 0, 0, 1, 1, 1])
    with FlopCounterMode(display=False) as counter:
        batched.run(whole, Rows(selections, pixels, index, text, words))
    parts = [model.cost_model.count(selection, 5) for selection in selections]
    for part in parts:  # what is not run here, and attention's products, which the counter misses on a CPU
        part["text"] = part["selector"] = 0
    expected = sum(sum(part.values()) for part in parts) - 4 * parts[0]["stem"]
    products = sum(
        2 * (5 + model.config.grid**2) ** 2 * model.config.dim
        for selection in selections
        for layer in range(model.config.layers)
        if selection.on(f"encoder.{layer}.attention")
    )
    assert counter.get_total_flops() / 2 == pytest.approx(expected - products, rel=1e-6)


def test_rows_that_do_not_fit() -> None:
    model = lads("all")
    words = random_tokens(2, 4, 50)
    with pytest.raises(ValueError, match="1 Selections, 2 image indices and 2 texts"):
        Rows(
            [Selection.all_on(model.units())],
            torch.rand(1, 3, 32, 32),
            torch.tensor([0, 0]),
            model.text(words),
            words,
        )


# --- through the Grounder


@pytest.fixture
def model() -> Grounder:
    return Grounder(scrambled(build(tiny.MODEL)), Tokenizer.train(WORDS, 120, 12))


def pictures(count: int) -> list[Image.Image]:
    noise = np.random.default_rng(0)
    return [
        Image.fromarray(noise.integers(0, 256, (30 + 7 * i, 50, 3), dtype=np.uint8)) for i in range(count)
    ]


@pytest.mark.parametrize("way", Batcher.WAYS)
@pytest.mark.parametrize("budget", [None, 0.8])
def test_requests_in_a_batch_are_answered_as_one_by_one(
    model: Grounder, way: str, budget: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Batcher, "choose", staticmethod(lambda times: way))
    shown = pictures(3)
    asked: list[tuple[Image.Image, str]] = [(shown[i % 3], WORDS[i % len(WORDS)]) for i in range(9)]
    for found, (picture, expression) in zip(model.ground_batch(asked, budget=budget), asked, strict=True):
        alone = model.ground(picture, expression, budget=budget)
        assert found.box == pytest.approx(alone.box, abs=5e-3)
        assert found.score == pytest.approx(alone.score, abs=1e-4)
        assert (found.selection, found.cost, found.expression) == (alone.selection, alone.cost, expression)
        assert (found.width, found.height) == picture.size


def test_batches_find_the_fastest_way(model: Grounder) -> None:
    batcher = Batcher(model.subnets)
    model.batcher = batcher
    asked = [(picture, "left") for picture in pictures(4)]
    for _ in range(9):
        model.ground_batch(asked)
    (times,) = batcher.times.values()
    assert [len(times[way]) for way in Batcher.WAYS] == [2, 2, 2, 2]
    assert Batcher.choose({"a": [9.0, 2.0], "b": [1.0, 3.0]}) == "a"  # the first time prepares
    assert Batcher.choose({"a": [9.0, 2.0], "b": [1.0]}) == "b"
    model.ground_batch(asked[:2])
    assert len(batcher.times) == 2


def test_batches_of_nothing_and_of_what_is_wrong(model: Grounder, tmp_path: Path) -> None:
    assert model.ground_batch([]) == []
    (picture,) = pictures(1)
    with pytest.raises(ValueError, match="no words"):
        model.ground_batch([(picture, "left"), (picture, " ")])
    with pytest.raises(ValueError, match=r"a request is an image and an expression, .*; number 0 is .* 5\)"):
        model.ground_batch([(picture, 5)])  # type: ignore[list-item]
    with pytest.raises(FileNotFoundError):
        model.ground_batch([(tmp_path / "none.png", "left")])


def test_a_static_network_answers_batches() -> None:
    model = Grounder(
        scrambled(build(tiny.MODEL.model_copy(update={"gating": None}))), Tokenizer.train(WORDS, 120, 12)
    )
    asked = [(picture, words) for picture in pictures(2) for words in WORDS]
    for found, (picture, words) in zip(model.ground_batch(asked), asked, strict=True):
        assert found.box == pytest.approx(model.ground(picture, words).box, abs=5e-3)
