"""Tokenizers at their limits, on odd input and on real expressions, and the text encoder's padding."""

import gzip
import json
import pickle
import string
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scrambled import scrambled
from tokenizers import BertWordPieceTokenizer
from tokenizers import Tokenizer as FastTokenizer
from torch.testing import assert_close

from groundling.words.bert import TextConfig, TextEncoder
from groundling.words.tokens import Tokens, TruncationWarning
from groundling.words.wordpiece import Tokenizer

REAL = Path(__file__).parents[2] / "shared" / "data" / "refer_val" / "jsonl"
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "man",
    "on",
    "left",
    "play",
    "##ing",
    "cafe",
    ".",
]


def vocab_file(folder: Path, words: list[str] = WORDS) -> Path:
    path = folder / "vocab.txt"
    path.write_text("\n".join(words) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    return Tokenizer.load(vocab_file(tmp_path), limit=8)


@pytest.mark.parametrize(
    ("expression", "pieces"),
    [
        ("the man on the left", ["[CLS]", "the", "man", "on", "the", "left", "[SEP]"]),
        ("The MAN", ["[CLS]", "the", "man", "[SEP]"]),  # lower case
        ("playing", ["[CLS]", "play", "##ing", "[SEP]"]),
        ("café", ["[CLS]", "cafe", "[SEP]"]),  # accents go, as in BERT uncased
        ("cafe\u0301", ["[CLS]", "cafe", "[SEP]"]),  # also when written as two characters
        ("  the\tman\n on ", ["[CLS]", "the", "man", "on", "[SEP]"]),
        ("the\u00a0man", ["[CLS]", "the", "man", "[SEP]"]),  # a no-break space
        ("man.", ["[CLS]", "man", ".", "[SEP]"]),
        ("ma\x00n\x07", ["[CLS]", "man", "[SEP]"]),  # control characters vanish
        ("man 犬", ["[CLS]", "man", "[UNK]", "[SEP]"]),
        ("🐕 on the left", ["[CLS]", "[UNK]", "on", "the", "left", "[SEP]"]),
        ("zebra", ["[CLS]", "[UNK]", "[SEP]"]),
    ],
)
def test_pieces(tokenizer: Tokenizer, expression: str, pieces: list[str]) -> None:
    assert tokenizer.pieces(expression) == pieces
    assert tokenizer.encode([expression]).ids.tolist() == [[WORDS.index(piece) for piece in pieces]]


@pytest.mark.parametrize("expression", ["", " ", "\n\t ", "\x00", "\u200b\u200b", "\x07 \x1b", "\ufeff"])
def test_an_expression_without_words_is_an_error(tokenizer: Tokenizer, expression: str) -> None:
    with pytest.raises(ValueError, match="no words; say what to look for"):
        tokenizer.encode(["the man", expression])


def test_half_a_surrogate_pair_is_an_error_that_shows_it(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match=r"'the \\ud83d' is not valid Unicode"):
        tokenizer.encode(["the \ud83d"])
    with pytest.raises(ValueError, match=r"'the \\ud83d' is not valid Unicode"):
        tokenizer.spelled("the \ud83d")


def test_no_expressions_at_all_is_an_error(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="no expressions"):
        tokenizer.encode([])


def test_expressions_are_padded_to_the_longest(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode(["man", "the man on the left", "playing"])
    assert tokens.ids.shape == tokens.padding.shape == (3, 7)
    assert (~tokens.padding).sum(1).tolist() == [3, 7, 4]
    assert tokens.ids[tokens.padding].unique().tolist() == [tokenizer.pad]
    assert tokens.ids.dtype == torch.int64
    assert tokens.padding.dtype == torch.bool


def test_an_expression_that_just_fits_is_not_cut(tokenizer: Tokenizer) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tokenizer.encode(["the man on the left ."]).ids.shape == (1, 8)


def test_one_that_does_not_keeps_its_first_words_and_the_separator(tokenizer: Tokenizer) -> None:
    with pytest.warns(TruncationWarning, match=r"7 words cut to 8 tokens: the man on the left the man …"):
        tokens = tokenizer.encode(["the man on the left the man"])
    expected = ["[CLS]", "the", "man", "on", "the", "left", "the", "[SEP]"]
    assert tokens.ids.tolist() == [[WORDS.index(piece) for piece in expected]]
    assert tokenizer.pieces("the man on the left the man") == expected


def test_ten_thousand_words(tokenizer: Tokenizer) -> None:
    with pytest.warns(TruncationWarning, match="10000 words cut to 8 tokens"):
        assert tokenizer.encode(["man " * 10_000]).ids.shape == (1, 8)


def test_many_spaces_hide_no_words(tokenizer: Tokenizer) -> None:
    """Ten thousand spaces before the last word used to drop it without a warning."""
    assert tokenizer.pieces("the" + " " * 10_000 + "man") == ["[CLS]", "the", "man", "[SEP]"]


def test_words_behind_one_endless_word_are_not_dropped_silently(tokenizer: Tokenizer) -> None:
    with pytest.warns(TruncationWarning, match="2 words"):
        assert tokenizer.encode(["a" * 10_000 + " man"]).ids.tolist() == [[2, 1, 3]]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("the Zebra's left side", ("zebra",)),  # the sign and the lone letter are pieces of their own
        ("zébra 42 犬 left", ("zebra", "42", "犬")),
        ("left", ()),
        ("", ()),
        ("left " * 20 + "zebra", ()),  # behind the limit: another warning speaks of that
    ],
)
def test_spelled_words(expression: str, words: tuple[str, ...]) -> None:
    tokenizer = Tokenizer.train(["the left side"], 120, limit=12)
    assert tokenizer.spelled(expression) == words


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=4))
def test_any_text_is_tokens_or_one_clear_error(expressions: list[str]) -> None:
    tokenizer = Tokenizer.train([], 200, limit=12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        try:
            tokens = tokenizer.encode(expressions)
        except ValueError as error:
            if "no words" not in str(error) and "not valid Unicode" not in str(error):
                raise
            return
    assert tokens.ids.shape[1] <= 12
    assert 0 <= int(tokens.ids.min()) <= int(tokens.ids.max()) < len(tokenizer)
    assert bool((tokens.ids[:, 0] == 2).all())


# -------------------------------------------------------------------------------------------------- files


def test_a_tokenizer_is_the_same_after_saving_and_pickling(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json", limit=8)
    for again in (loaded, pickle.loads(pickle.dumps(tokenizer))):
        assert again.pieces("The café . 犬") == tokenizer.pieces("The café . 犬")
        assert (len(again), again.limit, again.pad) == (len(WORDS), 8, 0)


def test_a_published_file_that_cuts_and_pads_does_neither_here(tmp_path: Path) -> None:
    """Sentence encoders publish tokenizers that pad everything to 128 tokens; all would have counted."""
    fast = BertWordPieceTokenizer({word: i for i, word in enumerate(WORDS)}, lowercase=True)
    fast.enable_truncation(4)
    fast.enable_padding(length=32)
    fast.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.load(tmp_path / "tokenizer.json", limit=8)
    assert tokenizer.pieces("the man on the left") == ["[CLS]", "the", "man", "on", "the", "left", "[SEP]"]


def test_padding_that_is_not_zero(tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(vocab_file(tmp_path, WORDS[1:] + WORDS[:1]), limit=8)
    tokens = tokenizer.encode(["man", "the man"])
    assert tokenizer.pad == tokens.ids[0, 3] == len(WORDS) - 1


def test_missing_and_damaged_files_say_so(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no tokenizer at .*; give a tokenizer.json or a BERT vocab.txt$"
    ):
        Tokenizer.load(tmp_path / "tokenizer.json", 8)
    for text in ("", "{", '{"version": "1.0"}', "[1, 2]", "\x00\x01"):
        (tmp_path / "tokenizer.json").write_text(text)
        with pytest.raises(ValueError, match=r"tokenizer.json is not a tokenizer"):
            Tokenizer.load(tmp_path / "tokenizer.json", 8)


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe\x00", b"the\nman\n"], ids=["empty", "binary", "no specials"]
)
def test_a_vocabulary_that_is_none_is_an_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "vocab.txt").write_bytes(data)
    with pytest.raises(
        ValueError, match=r"vocab.txt is (in UTF-16|not a tokenizer)|has no \[(PAD|UNK|CLS|SEP)\] token"
    ):
        Tokenizer.load(tmp_path / "vocab.txt", 8)


def test_a_tokenizer_of_another_kind_is_an_error(tmp_path: Path) -> None:
    fast = BertWordPieceTokenizer({word: i for i, word in enumerate(WORDS)}, lowercase=True)
    fields = json.loads(fast.to_str())
    FastTokenizer.from_str(json.dumps({**fields, "post_processor": None})).save(
        str(tmp_path / "tokenizer.json")
    )
    with pytest.raises(ValueError, match=r"does not put words between \[CLS\] and \[SEP\]"):
        Tokenizer.load(tmp_path / "tokenizer.json", 8)


def test_a_limit_without_room_for_words_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a token limit must be 3 or more, to leave room for words, given 2"):
        Tokenizer.load(vocab_file(tmp_path), 2)


# ----------------------------------------------------------------------------------------------- training


def test_training_is_repeatable_and_keeps_frequent_words_whole() -> None:
    said = ["the red car", "the red dog", "the dog"]
    tokenizer, again = Tokenizer.train(said, 150, 12), Tokenizer.train(reversed(said), 150, 12)
    assert tokenizer.pieces("the red dog") == ["[CLS]", "the", "red", "dog", "[SEP]"]
    assert tokenizer._fast.get_vocab() == again._fast.get_vocab()
    small = Tokenizer.train(said, 110, 12)  # room for one word: letters and signs take 109
    assert len(small) == 110
    assert small.pieces("the dog") == ["[CLS]", "the", "d", "##o", "##g", "[SEP]"]
    with pytest.raises(ValueError, match="vocabulary of 50 is too small"):
        Tokenizer.train(said, 50, 12)


@settings(deadline=None, max_examples=60)
@given(st.text(string.ascii_letters + string.digits + string.punctuation + " ", min_size=1, max_size=30))
def test_every_ascii_text_is_spelled(text: str) -> None:
    assert "[UNK]" not in Tokenizer.train([], 120, 40).pieces(text)


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data/refer_val is not here")
@pytest.mark.parametrize("name", ["refcoco", "refcoco+", "refcocog_umd", "referit", "flickr30k_entities"])
def test_real_expressions_are_spelled_and_fit(name: str) -> None:
    """What people wrote about images, through a small vocabulary trained on half of it."""
    with gzip.open(REAL / f"{name}_val.jsonl.gz", "rt", encoding="utf-8") as lines:
        expressions = [json.loads(line)["expression"] for line in lines]
    tokenizer = Tokenizer.train(expressions[:4000:2], 2000, limit=40)
    said = [text for text in expressions[:2000] if text.split()]
    pieces = [tokenizer.pieces(text) for text in said]
    unknown = [text for text, row in zip(said, pieces, strict=True) if text.isascii() and "[UNK]" in row]
    assert not unknown
    assert all(row[0] == "[CLS]" and row[-1] == "[SEP]" for row in pieces)
    lengths = sorted(len(row) for row in pieces)
    assert lengths[-1] <= 40
    assert 3 <= lengths[len(lengths) // 2] <= 16  # people are brief; the longest are RefCOCOg's
    assert lengths[-len(lengths) // 50] < 40  # all but one in fifty fit whole
    tokens = tokenizer.encode(said[:64])
    assert (~tokens.padding).sum(1).tolist() == [len(row) for row in pieces[:64]]


# ------------------------------------------------------------------------------------------- text encoder


def test_padding_changes_no_features() -> None:
    config = TextConfig(vocabulary=50, layers=2, dim=16, heads=2, ffn=32, tokens=12)
    encoder = scrambled(TextEncoder(config)).double()
    ids = torch.randint(5, 50, (2, 9), generator=torch.Generator().manual_seed(0))
    padding = torch.tensor([[False] * 9, [False] * 4 + [True] * 5])
    together = encoder(Tokens(ids, padding))
    alone = encoder(Tokens(ids[1:, :4], padding[1:, :4]))
    assert_close(together[1:, :4], alone)
    other = encoder(Tokens(torch.where(padding, 7, ids), padding))
    assert_close(other[~padding], together[~padding])
