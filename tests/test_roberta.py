"""RoBERTa and its byte-level BPE against transformers' own, and offsets that are characters of the text."""

import json
from pathlib import Path

import pytest
import torch
from conftest import random_tokens
from hypothesis import given, settings
from hypothesis import strategies as st
from scrambled import scrambled
from torch import nn
from torch.testing import assert_close

from groundling.layers.fused import Linear, packed
from groundling.words.bert import TextConfig, TextEncoder
from groundling.words.byte_pairs import ByteTokenizer
from groundling.words.phrases import tokens_of
from groundling.words.reading import read_tokenizer
from groundling.words.roberta import RobertaEncoder, RobertaTextConfig
from groundling.words.text import is_unicode, normalised
from groundling.words.tokens import Tokens, TruncationWarning
from groundling.words.wordpiece import Tokenizer

SAID = ["the red car", "the red dog", "a dog left of the car"] * 3
SMALL = RobertaTextConfig(vocabulary=300, layers=2, dim=16, heads=2, ffn=32, tokens=12, positions=20)


@pytest.fixture(scope="module")
def tokenizer() -> ByteTokenizer:
    return ByteTokenizer.train(SAID, 300, 12)


def test_a_training_keeps_frequent_words_whole_and_does_not_depend_on_the_order(
    tokenizer: ByteTokenizer,
) -> None:
    again = ByteTokenizer.train(reversed(SAID), 300, 12)
    assert tokenizer.as_json() == again.as_json()
    assert tokenizer.pieces("the red dog") == ["<s>", "the", "Ġred", "Ġdog", "</s>"]
    assert (tokenizer.pad, tokenizer.encode(["a"]).ids[0, 0].item()) == (1, 0)
    with pytest.raises(ValueError, match="vocabulary of 200 is too small; it starts with 261"):
        ByteTokenizer.train(SAID, 200, 12)


def test_it_reads_as_transformers_reads_the_same_files(tokenizer: ByteTokenizer, tmp_path: Path) -> None:
    from transformers import RobertaTokenizerFast

    model = json.loads(tokenizer.as_json())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    (tmp_path / "merges.txt").write_text(
        "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in model["merges"])
    )
    theirs = RobertaTokenizerFast.from_pretrained(tmp_path)
    ours = ByteTokenizer.load(tmp_path / "vocab.json", 40)
    for text in ("the red car", "The car, left; of a dög 🐕!", "dog's", "</s> <mask>"):
        expected = theirs(text, return_offsets_mapping=True, split_special_tokens=True)
        assert ours.encode([text]).ids[0].tolist() == expected["input_ids"], text
        assert list(ours.offsets(text)) == [tuple(pair) for pair in expected["offset_mapping"]]
    rows = ours.encode(["the car", "a dog left of the car"])
    expected = theirs(["the car", "a dog left of the car"], padding=True)
    assert rows.ids.tolist() == expected["input_ids"]
    assert (~rows.padding).long().tolist() == expected["attention_mask"]


def test_offsets_find_the_second_of_two_equal_words(tokenizer: ByteTokenizer) -> None:
    text = "a dog, the  dog"
    assert tokens_of([(12, 15)], tokenizer.offsets(text)) == (len(tokenizer.pieces(text)) - 2,)


@settings(deadline=None)
@given(st.text(min_size=1, max_size=9))
def test_offsets_cover_every_character_that_is_no_space(text: str) -> None:
    tokenizer = ByteTokenizer.train(SAID, 300, 80)
    if not is_unicode(text) or not normalised(text).has_words:
        return
    covered = {place for begin, end in tokenizer.offsets(text) for place in range(begin, end)}
    assert {place for place, sign in enumerate(text) if normalised(sign).text} <= covered
    assert tokenizer._fast.decode(tokenizer.encode([text]).ids[0].tolist()) == normalised(text).text


def test_what_is_too_long_is_said(tokenizer: ByteTokenizer) -> None:
    long = "the dog " * 20
    with pytest.warns(TruncationWarning, match="expression of 40 words cut to 12 tokens"):
        assert tokenizer.encode([long]).ids.shape == (1, 12)
    with pytest.raises(ValueError, match=r"a text of 42 tokens is too long for a model that reads 12"):
        tokenizer.offsets(long)
    with pytest.raises(ValueError, match="too long for a model"):
        tokenizer.offsets("the" + " the" * 100_000)


def test_a_text_that_was_refused_is_forgotten() -> None:
    """Each kept 200 characters a token, the last 65,536 texts, and their tokenizers for ever."""
    import gc
    import weakref

    tokenizer = ByteTokenizer.train(SAID, 300, 12)
    with pytest.raises(ValueError, match="too long for a model"):
        tokenizer.offsets("the dog " * 400)
    kept = weakref.ref(tokenizer._fast)
    del tokenizer
    gc.collect()
    assert kept() is None


@pytest.mark.parametrize("text", ["", "  ", "\n\t"])
def test_no_words_are_an_error(tokenizer: ByteTokenizer, text: str) -> None:
    with pytest.raises(ValueError, match="has no words"):
        tokenizer.encode([text])


def test_half_a_character_is_an_error(tokenizer: ByteTokenizer) -> None:
    with pytest.raises(ValueError, match="is not valid Unicode"):
        tokenizer.encode(["dog \ud800"])


def test_words_that_are_spelled(tokenizer: ByteTokenizer) -> None:
    assert tokenizer.spelled("the red zebu, a dog ...") == ("zebu",)
    assert tokenizer.spelled("xyz the") == ("xyz",)


def test_a_file_says_which_tokenizer_it_is(tokenizer: ByteTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "bytes.json")
    Tokenizer.train(SAID, 120, 12).save(tmp_path / "words.json")
    assert type(read_tokenizer(tmp_path / "bytes.json", 9)) is ByteTokenizer
    assert type(read_tokenizer(tmp_path / "words.json", 9)) is Tokenizer
    assert ByteTokenizer.from_json(tokenizer.as_json(), 9).pieces("a dog") == tokenizer.pieces("a dog")
    with pytest.raises(ValueError, match="does not put words between <s> and </s>"):
        ByteTokenizer.load(tmp_path / "words.json", 9)
    with pytest.raises(FileNotFoundError, match="no tokenizer at"):
        read_tokenizer(tmp_path / "gone.json", 9)
    (tmp_path / "odd.json").write_text("{}")
    with pytest.raises(ValueError, match=r"odd\.json is not a tokenizer"):
        read_tokenizer(tmp_path / "odd.json", 9)


# ----------------------------------------------------------------------------------------------- encoder


def some_tokens() -> Tokens:
    ids = torch.randint(5, 300, (2, 9), generator=torch.Generator().manual_seed(0))
    padding = torch.tensor([[False] * 9, [False] * 4 + [True] * 5])
    return Tokens(ids.masked_fill(padding, 1), padding)


def test_it_is_transformers_roberta() -> None:
    """Positions are ours: HF's own, counted from the ids, must be the same."""
    encoder, tokens = scrambled(RobertaEncoder(SMALL)).double(), some_tokens()
    theirs = encoder.roberta(input_ids=tokens.ids, attention_mask=(~tokens.padding).long())
    assert_close(encoder(tokens)[~tokens.padding], theirs.last_hidden_state[~tokens.padding])


def test_its_linear_maps_can_be_packed() -> None:
    """BERT's linear maps were oneDNN's and RoBERTa's stayed torch's."""
    encoder, tokens = scrambled(RobertaEncoder(SMALL)), some_tokens()
    maps = [each for each in encoder.modules() if isinstance(each, nn.Linear)]
    assert maps
    assert all(isinstance(each, Linear) for each in maps)
    assert_close(packed(encoder)(tokens), encoder(tokens))


def test_padding_changes_no_features() -> None:
    encoder, tokens = scrambled(RobertaEncoder(SMALL)).double(), some_tokens()
    together = encoder(tokens)
    alone = encoder(Tokens(tokens.ids[1:, :4], tokens.padding[1:, :4]))
    assert_close(together[1:, :4], alone)
    other = encoder(Tokens(tokens.ids.masked_fill(tokens.padding, 7), tokens.padding))
    assert_close(other[~tokens.padding], together[~tokens.padding])


def test_every_token_has_a_position() -> None:
    with pytest.raises(ValueError, match=r"text\.positions 20 must be at least text\.tokens 30 and 2"):
        RobertaTextConfig(tokens=30, positions=20)
    full = RobertaTextConfig(vocabulary=300, layers=1, dim=8, heads=2, ffn=8, tokens=12, positions=14)
    ids = torch.full((1, 12), 9)
    assert RobertaEncoder(full).eval()(Tokens(ids, torch.zeros(1, 12).bool())).shape == (1, 12, 8)


@pytest.mark.parametrize("bert", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_words_are_read_for_answers_as_transformers_reads_them(bert: bool, padded: bool) -> None:
    """Without gradients the encoder's layers are called one by one: the library's way is slower."""
    encoder: nn.Module
    if bert:
        encoder = TextEncoder(TextConfig(vocabulary=50, layers=2, dim=24, heads=2, ffn=40, tokens=12))
    else:
        encoder = RobertaEncoder(SMALL)
    encoder = scrambled(encoder).double().eval()
    tokens = some_tokens() if not bert else random_tokens(3, 7, 50, padded=padded)
    if not padded:
        tokens = Tokens(tokens.ids[:1, :4], torch.zeros(1, 4, dtype=torch.bool))
    library = encoder(tokens)
    assert library.requires_grad
    with torch.no_grad():
        ours = encoder(tokens)
    assert_close(ours[~tokens.padding], library[~tokens.padding].detach(), atol=1e-9, rtol=1e-9)
