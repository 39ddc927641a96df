"""Words of the data join the vocabulary of a run: old rows stay, new ones begin as what spelled them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from small import WORDS, model_folder
from torch.testing import assert_close

from groundling import checkpoint
from groundling.data.sample import Dataset
from groundling.training.train import Run, train
from groundling.training.vocabulary import PLACES, ROWS, growth
from groundling.words.byte_pairs import ByteTokenizer
from groundling.words.wordpiece import Tokenizer

LONG = "the cerulean zebu left of " + "the vermilion zebu " * 8  # 29 words, where 12 tokens are read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return model_folder(tmp_path / "before")


def spoken(tmp_path: Path, *texts: str) -> Dataset:
    """The tiny data, whose first expressions are these texts, twice each."""
    dataset = tiny.drawn(tmp_path / "images")
    new = [replace(s, expression=t) for s, t in zip(dataset.samples, (*texts, *texts), strict=False)]
    return replace(dataset, samples=(*new, *dataset.samples[len(new) :]))


def begun(tmp_path: Path, init: Path, dataset: Dataset, **options: object) -> Path:
    """A run that changes no weight of the text encoder."""
    frozen = {"lr_groups": {"text.": 0.0}, "ema": None, **options}
    config = tiny.config(steps=1, new_words=50, longest=64, **frozen)
    run = Run("tiny", config, "grounding")
    return train(run, tmp_path / "run", init=init, dataset=dataset, objective=tiny.objective)


def test_old_rows_stay_bit_for_bit_and_new_ones_begin_as_what_spelled_them(
    tmp_path: Path, folder: Path
) -> None:
    before, final = checkpoint.load(folder), begun(tmp_path, folder, spoken(tmp_path, "the cerulean square"))
    after = checkpoint.load(final)
    old, new = before.tokenizer, after.tokenizer
    assert new.pieces("the cerulean square") == ["[CLS]", "the", "cerulean", "square", "[SEP]"]
    known = checkpoint.read_tensors(folder / "model.safetensors")
    taught = checkpoint.read_tensors(final / "model.safetensors")
    (rows,) = [name for name in known if name.endswith(ROWS)]
    assert torch.equal(taught[rows][: old.highest + 1], known[rows][: old.highest + 1])
    letters = old.encode(["cerulean"]).ids[0, 1:-1]
    assert_close(taught[rows][new.encode(["cerulean"]).ids[0, 1]], known[rows][letters].mean(0))
    others = [name for name in known if name.startswith("text.") and name != rows]
    assert all(torch.equal(known[name], taught[name]) for name in others)
    for text in ("the blue one on the left", "zebra"):  # what it could read is read as it was
        assert new.encode([text]).ids.tolist() == old.encode([text]).ids.tolist()
    training = after.info.training
    assert (training["words_added"], training["tokens_before"]) == (len(new) - len(old), 12)


def test_the_token_limit_follows_the_longest_text(tmp_path: Path, folder: Path) -> None:
    """Two thousand expressions were cut in the middle, and there was no way to have them read."""
    with pytest.warns(UserWarning, match="cut to 12 tokens"):
        checkpoint.load(folder).tokenizer.encode([LONG])
    final = begun(tmp_path, folder, spoken(tmp_path, LONG))
    after = checkpoint.load(final)
    assert after.tokenizer.limit == len(LONG.split()) + 2
    assert after.model.config.text.tokens == after.tokenizer.limit
    assert after.tokenizer.encode([LONG]).ids.shape == (1, 31)
    known = checkpoint.read_tensors(folder / "model.safetensors")
    taught = checkpoint.read_tensors(final / "model.safetensors")
    (places,) = [name for name in known if name.endswith(PLACES)]
    assert torch.equal(taught[places][:12], known[places][:12])
    assert torch.equal(taught[places][12:31], known[places][9:12].mean(0).expand(19, -1))


def test_it_is_said_and_goes_on_after_a_stop(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = spoken(tmp_path, LONG)
    config = tiny.config(steps=4, new_words=50, longest=64)
    run = Run("tiny", config, "grounding")
    whole = train(run, tmp_path / "whole", init=folder, dataset=dataset, objective=tiny.objective)
    told = capsys.readouterr().out
    assert "tiny: 4 words of the data join the vocabulary (cerulean, " in told
    assert "expressions are read up to 31 tokens, 12 before" in told
    shortened = tmp_path / "again"
    shortened.mkdir()
    (tmp_path / "whole" / "step-00000002").rename(shortened / "step-00000002")
    again = train(run, shortened, resume=True, dataset=dataset, objective=tiny.objective)
    left, right = (checkpoint.read_tensors(place / "model.safetensors") for place in (whole, again))
    assert all(torch.equal(tensor, right[name]) for name, tensor in left.items())


def test_a_model_that_grew_grows_again(tmp_path: Path, folder: Path) -> None:
    first = begun(tmp_path, folder, spoken(tmp_path, "the cerulean square"))
    second = begun(tmp_path / "more", first, spoken(tmp_path / "more", "the vermilion square", LONG))
    tokenizer = checkpoint.load(second).tokenizer
    assert {"cerulean", "vermilion"} <= set(tokenizer.pieces("cerulean vermilion"))
    assert tokenizer.limit == 31


def grown(folder: Path, texts: Sequence[str], words: int = 50) -> tuple[str, ...]:
    model = checkpoint.read_config(folder)["model"]
    return growth(folder, model, texts, words, 64).words


def test_which_words_join(folder: Path) -> None:
    """Those of one text alone would be learned as its name; whole words are there already."""
    known = "red square"
    assert grown(folder, [f"{known} zebu", f"zebu {known}", "once"]) == ("zebu",)
    assert grown(folder, ["redder zebu", "redder zebu", "zebu"], words=1) == ("zebu",)
    assert grown(folder, ["redder", "redder"]) == ("redder",)  # read as "red" and letters
    assert grown(folder, ["Ze\u00adbu!", "zébu ?"]) == ("zebu",)
    behind = "left " * 40 + "zebu"  # further than the model reads today
    assert grown(folder, [behind, behind]) == ("zebu",)


def test_byte_pairs_keep_their_pieces() -> None:
    tokenizer = ByteTokenizer.train(WORDS, 300, 12)
    longer, new = tokenizer.taught(["zebu"], 40)
    assert (new, longer.limit, longer.pieces("a zebu")) == ((), 40, tokenizer.pieces("a zebu"))


def test_in_letters() -> None:
    tokenizer = Tokenizer.train(["the hat left"], 120, 12)
    assert tokenizer.in_letters("the hatched zebu left , 🐕") == ("hatched", "zebu")
    assert tokenizer.spelled("the hatched zebu left") == ("hatched", "zebu")  # "hat" says nothing of it
