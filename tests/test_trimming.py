"""A vocabulary that is cut down reads the texts as before, and spells the rest."""

import string
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from groundling.importers import initialise
from groundling.importers.wheels import wheel
from groundling.models import build
from groundling.models.late import LateConfig, LateLads
from groundling.words.bert import TextConfig
from groundling.words.trimming import trimmed
from groundling.words.wordpiece import SPECIAL, Tokenizer

TEXTS = ["the man in the red jacket", "two dogs playing with a ball", "left zebra"]
LETTERS = [*string.ascii_lowercase, *(f"##{x}" for x in string.ascii_lowercase)]
WORDS = ["the", "of", "man", "##s", "in", "red", "dog", "ball", "jacket", "zebra", "left", "with", "a"]
WORDS += ["two", "play", "##ing", "金", "##able", "unusual"]


def published() -> Tokenizer:
    pieces = list(dict.fromkeys([*SPECIAL, *LETTERS, *WORDS]))
    from tokenizers import BertWordPieceTokenizer
    from tokenizers import Tokenizer as Fast

    numbered = {piece: number for number, piece in enumerate(pieces)}
    return Tokenizer(Fast.from_str(BertWordPieceTokenizer(numbered, lowercase=True).to_str()), 20)


def test_texts_are_read_as_before_and_the_rest_is_spelled() -> None:
    before = published()
    after, kept = trimmed(before, TEXTS, 71)
    assert len(after) == len(kept) == 71
    for text in TEXTS:
        assert after.pieces(text) == before.pieces(text)
        ids = before.encode([text]).ids[0].tolist()
        assert [kept[new] for new in after.encode([text]).ids[0].tolist()] == ids
    assert before.pieces("unusual") == ["[CLS]", "unusual", "[SEP]"]
    assert after.pieces("unusual") == ["[CLS]", "u", *(f"##{x}" for x in "nusual"), "[SEP]"]
    assert "of" in after.pieces("of")  # while there is room, frequent words stay


def test_a_vocabulary_needs_its_letters() -> None:
    with pytest.raises(ValueError, match=r"40 pieces are too few: 5\d spell what the others do not say"):
        trimmed(published(), TEXTS, 40)


def folder() -> Path:
    try:
        return Path(wheel("minilm-l6"))
    except ValueError as error:
        pytest.skip(str(error))


def test_a_published_encoder_says_the_same_with_fewer_pieces() -> None:
    """MiniLM from its wheel, whole and cut down: the same features for the same words."""
    sizes = TextConfig(dim=384, heads=12, ffn=1536, layers=6, tokens=40, dropout=0.0)
    found, source = [], folder()
    for text in (sizes, sizes.model_copy(update={"vocabulary": 2000, "bare": True})):
        config = LateConfig(text=text, image_size=64, dim=16, heads=2, ffn=16, layers=1, gating=None)
        model = build(config)
        assert isinstance(model, LateLads)
        tokenizer = initialise(model, text=source, texts=TEXTS)
        assert tokenizer is not None
        with torch.no_grad():
            found.append(model.eval().text(tokenizer.encode(TEXTS)))
    whole, cut = found
    assert cut.shape[2] == 2 * 384
    assert_close(cut[..., :384], whole)
    # Behind it stands each word without its neighbours: the two "the" of the first text are one.
    bare = cut[0, :, 384:]
    assert_close(bare[1], bare[4])
    assert float((bare[1] - bare[2]).abs().max()) > 1
    assert_close(bare.mean(-1), torch.zeros(len(bare)), atol=1e-5, rtol=0)


def test_without_texts_a_vocabulary_that_is_too_large_is_refused() -> None:
    text = TextConfig(dim=384, heads=12, ffn=1536, layers=6, vocabulary=2000)
    model = build(LateConfig(text=text, image_size=64, dim=16, heads=2, ffn=16, layers=1, gating=None))
    with pytest.raises(ValueError, match=r"vocab_size 30522|30522 word pieces"):
        initialise(model, text=folder())
