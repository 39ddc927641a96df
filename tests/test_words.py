"""Words that come again are read once, within their memory, and say the same."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from small import WORDS, model_folder
from torch.testing import assert_close

from groundling import checkpoint
from groundling.checkpoint import Loaded
from groundling.dynamic.gates import hard_gates
from groundling.runtime.words import Reader
from groundling.selection import Selection
from groundling.words.tokens import TruncationWarning


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return checkpoint.load(model_folder(tmp_path_factory.mktemp("model") / "small"))


def reader(loaded: Loaded, limit_bytes: int = 2**20) -> Reader:
    with torch.no_grad():
        return Reader(loaded.model, loaded.tokenizer, (), limit_bytes)


def encoded(read: Reader) -> list[int]:
    """How many rows the text encoder has been given, so far."""
    rows: list[int] = []
    read.text.register_forward_pre_hook(lambda _, given: rows.append(len(given[0].ids)))
    return rows


@torch.no_grad()
def test_words_are_what_the_model_reads(loaded: Loaded) -> None:
    read, model = reader(loaded), loaded.model
    for expression in WORDS:
        words = read.read(expression)
        tokens = loaded.tokenizer.encode([expression])
        assert torch.equal(words.tokens.ids, tokens.ids)
        text = model.text(tokens)
        assert_close(words.text, text)
        assert model.selector is not None
        gates = hard_gates(model.selector(text, tokens))
        assert words.selection == Selection.from_gates(gates)


@torch.no_grad()
def test_words_that_come_again_are_read_once(loaded: Loaded) -> None:
    read = reader(loaded)
    rows = encoded(read)
    first = [read.read(expression) for expression in WORDS]
    again = [read.read(expression) for expression in WORDS]
    assert rows == [1] * len(WORDS)
    assert all(one is other for one, other in zip(first, again, strict=True))


@torch.no_grad()
def test_memory_is_bounded_and_the_oldest_goes_first(loaded: Loaded) -> None:
    size = max(reader(loaded).read(expression).nbytes(expression) for expression in WORDS)
    read = reader(loaded, limit_bytes=2 * size)
    rows = encoded(read)
    for expression in WORDS[:3]:
        read.read(expression)
    assert sum(words.nbytes(key) for key, words in read._known.items()) == read._bytes <= 2 * size
    assert WORDS[0] not in read._known
    read.read(WORDS[2])
    assert len(rows) == 3
    nothing = reader(loaded, limit_bytes=0)
    nothing.read(WORDS[0])
    assert not nothing._known


@torch.no_grad()
def test_long_expressions_count(loaded: Loaded) -> None:
    """The key of what is kept was not counted: a million spaces were kept for nothing."""
    read = reader(loaded)
    read.read(WORDS[0] + " " * 10**6)
    assert list(read._known) == [WORDS[0]]


@torch.no_grad()
def test_expressions_that_are_cut_warn_each_time(loaded: Loaded) -> None:
    """The second request for one was answered from memory, without a word about what was left out."""
    read = reader(loaded)
    for _ in range(2):
        with pytest.warns(TruncationWarning, match="cut to 12 tokens"):
            read.read("left " * 50)


@torch.no_grad()
def test_a_reader_like_another_shares_its_encoder_and_nothing_else(loaded: Loaded) -> None:
    read = reader(loaded)
    read.read(WORDS[0])
    other = read.like(0)
    assert other.text is read.text
    other.read(WORDS[1])
    assert (len(other._known), len(read._known)) == (0, 1)


@torch.no_grad()
def test_a_static_network_chooses_nothing(loaded: Loaded) -> None:
    words = reader(loaded).like(0, choosing=False).read(WORDS[0])
    assert words.relevance is None
    assert words.selection == Selection(())


def test_words_without_words_are_not_kept(loaded: Loaded) -> None:
    read = reader(loaded)
    with pytest.raises(ValueError, match="has no words"):
        read.read("  ")
    assert not read._known


def test_threads_share_a_reader(loaded: Loaded) -> None:
    read, barrier = reader(loaded), threading.Barrier(8)

    def ask(index: int) -> Selection:
        barrier.wait()
        with torch.inference_mode():
            return read.read(WORDS[index % len(WORDS)]).selection

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert found == [found[i % len(WORDS)] for i in range(8)]
    assert read._bytes == sum(words.nbytes(key) for key, words in read._known.items())
