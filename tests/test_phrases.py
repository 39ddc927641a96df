"""Spans and tokens against hand-written offsets; noun phrases against captions that people wrote."""

import gzip
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from groundling.words import phrases
from groundling.words.phrases import by_rules, characters_of, check_spans, positive_map, splitter, tokens_of

SHARED = Path(__file__).parents[2] / "shared/data"
CAPTIONS = SHARED / "tiny_coco/caption_phrase_boxes.json"
FLICKR = SHARED / "refer_val/jsonl/flickr30k_entities_val.jsonl.gz"

# "a catamaran, a cat" as <s> a cat amaran , a cat </s>
TEXT = "a catamaran, a cat"
OFFSETS = ((0, 0), (0, 1), (2, 5), (5, 11), (11, 12), (13, 14), (15, 18), (0, 0))


@pytest.mark.parametrize(
    ("spans", "tokens"),
    [
        ([(2, 11)], (2, 3)),  # one word of two pieces
        ([(15, 18)], (6,)),  # the second "cat", not the piece of the first
        ([(4, 6)], (2, 3)),  # parts of two pieces
        ([(1, 12)], (2, 3, 4)),  # begins with the space before
        ([(0, 1), (13, 18)], (1, 5, 6)),  # two spans of one object
        ([(0, 18)], (1, 2, 3, 4, 5, 6)),  # never the tokens that the tokenizer adds
        ([(12, 13)], ()),  # a space
    ],
)
def test_tokens_of_spans(spans: list[tuple[int, int]], tokens: tuple[int, ...]) -> None:
    assert tokens_of(spans, OFFSETS) == tokens


def test_characters_of_tokens() -> None:
    assert characters_of((2, 3), OFFSETS) == (2, 11)
    assert characters_of((0, 6, 5), OFFSETS) == (13, 18)
    with pytest.raises(ValueError, match=r"tokens \[0, 7\] have no characters"):
        characters_of((0, 7), OFFSETS)


def test_positive_maps_by_hand() -> None:
    """The paper's rows: distributions."""
    objects = [[(2, 11), (15, 18)], [(0, 1)]]
    paper = positive_map(objects, OFFSETS, columns=9)
    third = 1 / 3
    assert_close(
        paper,
        torch.tensor([[0, 0, third, third, 0, 0, third, 0, 0], [0, 1.0, 0, 0, 0, 0, 0, 0, 0]]),
    )
    assert positive_map([], OFFSETS).shape == (0, 256)


def test_a_span_without_a_token_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"object 1: spans \[\(12, 13\)\] are not among the 8 tokens"):
        positive_map([[(0, 1)], [(12, 13)]], OFFSETS)
    with pytest.raises(ValueError, match="not among the 6 tokens"):  # its column is that of no object
        positive_map([[(15, 18)]], OFFSETS, columns=7)


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ((3, 99), r"\(3, 99\) must begin before it ends, within the 18 characters"),
        ((-1, 2), "must begin before it ends"),
        ((5, 5), "must begin before it ends"),
        ((6, 2), "must begin before it ends"),
        ((12, 13), "nothing but spaces"),
    ],
)
def test_spans_outside_the_text_are_named(span: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_spans(TEXT, [(0, 1), span])


# ---------------------------------------------------------------------------------------------- rules


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A man in a red shirt is riding a horse.", ["A man", "a red shirt", "a horse"]),
        ("The woman's black and white dog", ["The woman's black and white dog"]),
        ("a dog and a cat", ["a dog", "a cat"]),
        ("a dog and two cats", ["a dog", "two cats"]),
        ("a big, red ball, a bat", ["a big, red ball", "a bat"]),
        ("a man, tall trees", ["a man", "tall trees"]),
        ("two parked cars on a street", ["two parked cars", "a street"]),
        ("cars parked on a street", ["cars", "a street"]),
        ("a sleeping cat", ["a sleeping cat"]),
        ("a cat sleeping on a bed", ["a cat", "a bed"]),
        ("Smiling children eating pizza", ["Smiling children", "pizza"]),
        ("people riding bikes in front of a building", ["people", "bikes", "a building"]),
        ("a cat on top of the top bunk", ["a cat", "the top bunk"]),
        ("a t-shirt — très chic", ["a t-shirt", "très chic"]),
        ("the car left of a dog to the right of it", ["the car", "a dog"]),
        ("the left dog on the right", ["the left dog", "the right"]),
        ("The sky is blue", ["The sky"]),
        ("the red", ["the red"]),
        ("it is there", []),
        ("", []),
        (" \n.,!", []),
        ("a", []),
    ],
)
def test_rules(caption: str, expected: list[str]) -> None:
    assert [phrase.text for phrase in by_rules(caption)] == expected


def test_a_phrase_has_its_span_and_its_head() -> None:
    dog, second = by_rules("A wet dog chases a dog")
    assert (dog.span, dog.head) == ((0, 9), (6, 9))
    assert (second.span, second.head) == ((17, 22), (19, 22))


@given(st.text(max_size=60))
def test_any_text_gives_spans_of_it_in_order(text: str) -> None:
    end = 0
    for phrase in by_rules(text):
        assert text[slice(*phrase.span)] == phrase.text
        assert end <= phrase.span[0] <= phrase.head[0] < phrase.head[1] == phrase.span[1]
        end = phrase.span[1]
        check_spans(text, [phrase.span, phrase.head])


@pytest.mark.skipif(not CAPTIONS.is_file(), reason="../shared/data/tiny_coco is not here")
def test_captions_of_coco() -> None:
    """413 spans that name a category: 97.8 % are the end of a phrase (its head), 99.8 % lie in one."""
    rows = json.loads(CAPTIONS.read_text())
    heads = inside = 0
    for row in rows:
        (begin, end), found = row["span"], by_rules(row["caption"])
        heads += any(phrase.head[1] == end for phrase in found)
        inside += any(phrase.span[0] <= begin and end <= phrase.span[1] for phrase in found)
    assert len(rows) == 413
    assert heads / len(rows) >= 0.97
    assert inside / len(rows) >= 0.99


@pytest.mark.skipif(not FLICKR.is_file(), reason="../shared/data/refer_val is not here")
def test_phrases_of_flickr_are_one_phrase() -> None:
    """14,433 phrases without their captions: 96.0 % are exactly one noun phrase by the rules too."""
    with gzip.open(FLICKR, "rt", encoding="utf-8") as lines:
        said = [json.loads(line)["expression"] for line in lines]
    whole = sum([phrase.text for phrase in by_rules(text)] == [text] for text in said)
    assert whole / len(said) >= 0.955


# ------------------------------------------------------------------------------------------------ spaCy


@pytest.fixture
def spacy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module that says what spaCy's pipeline would of "It shows dogs"."""

    def chunk(begin: int, end: int, root: int, tag: str) -> SimpleNamespace:
        class Root:
            idx, pos_ = root, tag

            def __len__(self) -> int:
                return end - root

        return SimpleNamespace(start_char=begin, end_char=end, root=Root())

    chunks = [chunk(0, 2, 0, "PRON"), chunk(9, 17, 13, "NOUN")]
    module: Any = ModuleType("spacy")
    module.load = lambda name: lambda text: SimpleNamespace(noun_chunks=chunks)
    monkeypatch.setitem(sys.modules, "spacy", module)
    phrases._spacy.cache_clear()
    yield module
    phrases._spacy.cache_clear()


def test_spacy_is_taken_where_it_is(spacy: Any) -> None:
    read = splitter()
    assert read.name == "spacy/en_core_web_sm"
    assert read.split("It shows wet dogs") == (phrases.Phrase("wet dogs", (9, 17), (13, 17)),)
    assert splitter("rules").name == "rules"


def test_without_its_model_the_rules_are_used_and_named(spacy: Any) -> None:
    def absent(name: str) -> None:
        raise OSError(f"[E050] Can't find model '{name}'")

    spacy.load = absent
    read = splitter()
    assert (read.name, read.split) == ("rules", by_rules)
    with pytest.raises(ValueError, match=r"is not installed: pip install .groundling\[phrases\]"):
        splitter("spacy")
    with pytest.raises(ValueError, match="split must be auto, spacy or rules, given 'nltk'"):
        splitter("nltk")  # type: ignore[arg-type]


@pytest.mark.parametrize("word", ["red ", "2 ", "the ", "dog "])
def test_rules_look_at_each_word_once(word: str) -> None:
    """Each word of a phrase was compared with all before it: a caption of 20,000 took half a minute."""

    def calls(words: int) -> int:
        seen: list[str] = []
        sys.setprofile(lambda frame, event, argument: seen.append(event))
        try:
            by_rules(word * words)
        finally:
            sys.setprofile(None)
        return len(seen)

    assert calls(400) < 3 * calls(200)


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        (
            "The woman wearing orange is in front of a woman in black.",
            ["The woman wearing orange", "a woman in black"],
        ),
        ("A girl dressed in blue and white walks", ["A girl", "blue and white walks"]),  # a noun may follow
        ("The man in orange shorts", ["The man", "orange shorts"]),  # clothing is a phrase of its own
        ("two men in red, and a dog", ["two men in red", "a dog"]),
    ],
)
def test_a_colour_alone_stays_with_who_wears_it(text: str, phrases: list[str]) -> None:
    """Of "the woman wearing orange" only "the woman" was looked for, which is any of them."""
    found = by_rules(text)
    assert [phrase.text for phrase in found] == phrases
    assert all(text[slice(*phrase.span)] == phrase.text for phrase in found)
    assert all(phrase.span[0] <= phrase.head[0] < phrase.head[1] <= phrase.span[1] for phrase in found)
