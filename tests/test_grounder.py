"""A Grounder answers as the masked supernet does, in pixels of the picture, and threads may share it."""

import io
import json
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scrambled import scrambled
from small import WORDS, model_folder

import groundling
from groundling import Grounder, Grounding, Selection
from groundling.checkpoint import packaged
from groundling.dynamic.budget import BudgetError
from groundling.dynamic.gates import hard_gates
from groundling.models import build
from groundling.models.lads import LadsConfig
from groundling.pictures.boxes import clip, cxcywh_to_xyxy
from groundling.words.tokens import TruncationWarning, UnknownWordWarning
from groundling.words.wordpiece import Tokenizer

CONFIGS = {
    "dense": tiny.MODEL,
    "cls": tiny.MODEL.model_copy(update={"head": "cls", "norm": "frozen"}),
    "static": tiny.MODEL.model_copy(update={"gating": None}),
}


def grounder(config: LadsConfig, seed: int = 0) -> Grounder:
    return Grounder(scrambled(build(config), seed), Tokenizer.train(WORDS, 120, 12))


@pytest.fixture(scope="module")
def model() -> Grounder:
    return grounder(CONFIGS["dense"])


def photo(width: int = 60, height: int = 40, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG", **options)
    return data.getvalue()


def by_hand(model: Grounder, image: Image.Image, expression: str, gates: Any) -> tuple[list[float], Any]:
    """The way of a request with the masked supernet instead of a subnet."""
    framing = model.model.config.framing
    seen = framing.see(image)
    given, placement = framing.input([seen]), seen.placement
    tokens = model.tokenizer.encode([expression])
    with torch.no_grad():
        text = model.model.text(tokens)
        if gates == "selector":
            gates = hard_gates(model.model.selector(text, tokens)) if model.model.selector else None
        found = model.model.net(given.images, text, tokens, gates, shown=given.shown)
    box = placement.undo(cxcywh_to_xyxy(found.boxes_cxcywh01[0]) * placement.canvas_width)
    x1, y1, x2, y2 = clip(box, *image.size).tolist()
    if y2 - y1 < 0.01:  # found in the padding beside the picture: its nearest row of pixels
        y1, y2 = (0.0, 1.0) if y1 < image.height / 2 else (image.height - 1.0, float(image.height))
    return [x1, y1, x2, y2], found.scores


# --- the answer


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("expression", WORDS)
def test_a_subnet_answers_as_the_masked_supernet(kind: str, expression: str) -> None:
    model = grounder(CONFIGS[kind])
    found = model.ground(photo(), expression)
    box, scores = by_hand(model, photo(), expression, "selector")
    assert found.box == pytest.approx(box, abs=1e-2)
    assert found.score == (None if scores is None else pytest.approx(float(scores[0]), abs=1e-4))


def test_everything_on_answers_as_the_supernet(model: Grounder) -> None:
    whole = Selection.all_on(model.model.units())
    found = model.ground(photo(), "left", selection=whole)
    assert found.box == pytest.approx(by_hand(model, photo(), "left", None)[0], abs=1e-2)
    assert found.cost.share == 1
    assert (found.selection.layers_on, found.selection.filters_on) == (whole.layers, whole.filters)


def test_one_expression_or_several(model: Grounder) -> None:
    several = model.ground(photo(), WORDS)
    assert [grounding.expression for grounding in several] == list(WORDS)
    assert [g.box for g in several] == [model.ground(photo(), words).box for words in WORDS]
    assert model.ground(photo(), []) == []


@settings(max_examples=25)
@given(width=st.integers(1, 300), height=st.integers(1, 300), seed=st.integers(0, 9))
def test_boxes_lie_in_the_picture(model: Grounder, width: int, height: int, seed: int) -> None:
    x1, y1, x2, y2 = model.ground(photo(width, height, seed), "left").box
    assert 0 <= x1 <= x2 <= width
    assert 0 <= y1 <= y2 <= height


def test_a_picture_is_the_same_however_it_comes(model: Grounder, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(encoded(photo()))
    sources = (photo(), np.asarray(photo()), encoded(photo()), tmp_path / "photo.png")
    answers = [model.ground(source, "left") for source in sources]
    assert len({answer.box for answer in answers}) == 1
    assert [answer.image for answer in answers] == ["", "", "", str(tmp_path / "photo.png")]


def test_a_picture_is_seen_upright(model: Grounder) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    turned = encoded(photo().transpose(Image.Transpose.ROTATE_90), exif=exif)
    found = model.ground(turned, "left")
    assert (found.width, found.height) == (60, 40)
    assert found.box == model.ground(photo(), "left").box


def test_an_answer_is_json(model: Grounder) -> None:
    found = model.ground(photo(), "left")
    row = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert row["box"] == [round(value, 2) for value in found]
    assert row["share"] == round(found.cost.macs / found.cost.full, 4)
    assert (row["layers"], row["filters"]) == (found.selection.layers, found.selection.filters)
    assert found.milliseconds > 0


# --- what runs


def test_words_alone_select(model: Grounder) -> None:
    for words in WORDS:
        selection = model.select(words)
        found = model.ground(photo(), words)
        assert found.selection == selection.canonical()
        again = model.ground(photo(), words, selection=Selection.parse(str(selection)))
        assert again.box == found.box
        length = model.tokenizer.encode([words]).ids.shape[1]
        assert found.cost == model.model.cost_model.cost(selection, length)


def test_a_budget_is_kept_and_more_is_never_less(model: Grounder) -> None:
    least = model.ground(photo(), "left", selection=Selection.all_off(model.model.units())).cost.share
    budgets = [least + (1 - least) * part for part in (0, 0.1, 0.3, 0.6, 1)]
    found = [model.ground(photo(), "left", budget=min(1, budget + 1e-9)) for budget in budgets]
    assert all(g.cost.share <= budget + 1e-6 for g, budget in zip(found, budgets, strict=True))
    macs = [g.cost.macs for g in found]
    assert macs == sorted(macs)
    assert found[-1].selection == model.ground(photo(), "left").selection
    with pytest.raises(BudgetError, match=f"{least:.4f}"):
        model.ground(photo(), "left", budget=least * 0.99)


def test_a_static_model_runs_all_of_itself() -> None:
    model = grounder(CONFIGS["static"])
    for budget in (None, 1):
        found = model.ground(photo(), "left", budget=budget)
        assert found.cost.share == 1
        assert found.selection == Selection(())
    with pytest.raises(ValueError, match="takes no budget below 1"):
        model.ground(photo(), "left", budget=0.5)


def test_subnets_are_kept_for_the_next_request() -> None:
    model = grounder(CONFIGS["dense"])
    model.ground(photo(), WORDS)
    before = model.subnets.stats
    model.ground(photo(seed=1), WORDS)
    after = model.subnets.stats
    assert after.misses == before.misses
    assert after.held == before.held
    assert after.hits > before.hits


def test_threads_share_a_model(model: Grounder) -> None:
    asked = [(photo(seed=seed), words) for seed in range(4) for words in WORDS]
    alone = [model.ground(*question).box for question in asked]
    fresh = grounder(CONFIGS["dense"])
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda question: fresh.ground(*question).box, asked * 3))
    assert together == alone * 3


# --- what does not fit


@pytest.mark.parametrize("budget", [0, -0.1, 1.1, 2, float("nan"), float("inf"), "0.4", [0.4]])
def test_a_budget_is_a_share(model: Grounder, budget: Any) -> None:
    for asked in (model, grounder(CONFIGS["static"])):
        with pytest.raises(ValueError, match=r"budget must be .* above 0 and up to 1, given"):
            asked.ground(photo(), "left", budget=budget)
        with pytest.raises(ValueError, match="budget must be"):
            asked.select("left", budget=budget)


def test_a_budget_may_come_from_numpy(model: Grounder) -> None:
    assert model.ground(photo(), "left", budget=np.float32(1)).cost.share <= 1


def test_a_selection_is_no_text(model: Grounder) -> None:
    with pytest.raises(ValueError, match=r"selection must be a Selection, given str; Selection\.parse reads"):
        model.ground(photo(), "left", selection=str(model.select("left")))  # type: ignore[call-overload]


def test_a_budget_and_a_selection(model: Grounder) -> None:
    with pytest.raises(ValueError, match="a budget or a selection, not both"):
        model.ground(photo(), "left", budget=0.9, selection=model.select("left"))


def test_a_selection_of_another_supernet(model: Grounder) -> None:
    with pytest.raises(ValueError, match="of another network"):
        model.ground(photo(), "left", selection=Selection.parse("layer1.0=1"))


@pytest.mark.parametrize("expression", ["", " ", 7, None])
def test_what_is_no_expression(model: Grounder, expression: Any) -> None:
    with pytest.raises(ValueError, match="expression"):
        model.ground(photo(), [expression])


def test_an_expression_too_long_is_cut_and_said_so(model: Grounder) -> None:
    with pytest.warns(TruncationWarning, match="expression of 10000 words cut to 12 tokens"):
        found = model.ground(photo(), "left " * 10_000)
    assert found.expression == "left " * 10_000


def test_words_that_the_model_was_never_taught() -> None:
    """A box for a zebra from a model that never saw one may be anything: it says so."""
    network, tokenizer = build(CONFIGS["dense"]), Tokenizer.train(WORDS, 120, 12)
    with pytest.warns(UnknownWordWarning, match="never taught 'zebra': its answer to 'left zebra' rests"):
        Grounder(network, tokenizer).ground(photo(), "left zebra")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Grounder(network, tokenizer, taught=("zebra",)).ground(photo(), "left zebra")


def test_a_text_of_another_language_is_strange_to_an_encoder_that_knows_many_words() -> None:
    """It may have read every word before the training: half of a text has to be new for a warning."""
    network, tokenizer = build(CONFIGS["dense"]), Tokenizer.train([*WORDS, "der Mann mit Hut"], 120, 12)
    reader = Grounder(network, tokenizer, familiar=("left", "man", "hat", "mit")).reader
    assert reader.strange("left man") == reader.strange("left mann man") == ()
    assert reader.strange("der Mann mit Hut") == ("der", "mann", "hut")


def test_a_picture_too_large() -> None:
    model = Grounder(build(CONFIGS["dense"]), Tokenizer.train(WORDS, 120, 12), max_pixels=1000)
    with pytest.raises(ValueError, match="the limit is 1,000"):
        model.ground(photo(), "left")


# --- loading


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, "no device 'gpu'; give cpu, cuda or cuda:N"),
        ({"device": "cuda"}, r"no device 'cuda': PyTorch .* finds 0 GPUs; use cpu"),
        ({"device": "meta"}, "device 'meta' is not supported"),
        ({"device": 7.5}, "no device 7.5"),
        ({"cache_mib": -1}, "cache_mib must be a whole number of MiB, 0 to keep nothing, given -1"),
        ({"cache_mib": "256"}, "cache_mib must be a whole number of MiB, .* given '256'"),
        ({"max_pixels": 0}, "max_pixels must be a whole number, 1 or more, given 0"),
        ({"max_pixels": 1e6}, "max_pixels must be a whole number, .* given 1000000.0"),
    ],
)
def test_options_that_do_not_fit(
    options: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some were an error of torch or of Python from deep inside, some of the first request."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folder = model_folder(tmp_path / "model")
    with pytest.raises(ValueError, match=message):
        groundling.load(folder, **options)


def test_a_folder_loads_ready_to_answer(tmp_path: Path) -> None:
    loaded = groundling.load(model_folder(tmp_path / "model"))
    again = groundling.load(str(tmp_path / "model"))
    assert not loaded.model.training
    answer = loaded.ground(photo(), "left")
    assert isinstance(answer, Grounding)
    assert answer.box == again.ground(photo(), "left").box


def test_no_such_model(tmp_path: Path) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match="give a packaged model"):
        groundling.load("lads_streat")


@pytest.mark.skipif(not packaged(), reason="no packaged weights")
def test_packaged_models_load_by_name() -> None:
    for name in packaged():
        assert groundling.load(name).ground(photo(), "the red car").cost.share <= 1


def test_refreshed_after_training(model: Grounder) -> None:
    """The packed text encoder, words and subnets kept the weights that the model had."""
    used = grounder(CONFIGS["dense"])
    used.ground(photo(), "left")
    scrambled(used.model, seed=5)
    used.refresh()
    assert used.ground(photo(), "left").box == grounder(CONFIGS["dense"], seed=5).ground(photo(), "left").box


ODD = "\ufeffthe re\u00add\u00a0square\nleft "


def test_what_an_expression_is_made_of_changes_no_answer(model: Grounder) -> None:
    plain, odd = model.ground(photo(), ["the red square left", ODD])
    assert (odd.box, odd.score, odd.selection) == (plain.box, plain.score, plain.selection)
    assert odd.expression == ODD
    (batched,) = model.ground_batch([(photo(), ODD)])
    assert batched.box == pytest.approx(plain.box, abs=1e-3)
    assert model.select(ODD) == model.select("the red square left")
    assert len({id(model.reader.read(text)) for text in ("the red square left", ODD)}) == 1  # kept once


@pytest.mark.parametrize("text", ["???", "\u200b", "🚗", ""])
def test_an_expression_without_words_is_refused(model: Grounder, text: str) -> None:
    """A bare question mark got a box."""
    for ask in (
        lambda: model.ground(photo(), text),
        lambda: model.ground_batch([(photo(), "the square"), (photo(), text)]),
        lambda: model.select(text),
    ):
        with pytest.raises(ValueError, match=r"^expression '.*' has no words; say what to look for$"):
            ask()
