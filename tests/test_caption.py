"""Captions: the spans of their phrases, what cannot be one, and the expressions that come out of them."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundling.data import Answer, Caption, CaptionSet, DataError, Phrase, Sample
from groundling.data.caption import spans_from, whole
from groundling.pictures.masks import Rle

IMAGE = Path("a.jpg")
TEXT = "A man and his two dogs on a sofa"
MAN = Phrase(((0, 5),), ((1, 2, 3, 4),), category="people")
DOGS = Phrase(((10, 22),), ((5, 5, 9, 9), (6, 6, 10, 10)))
SOFA = Phrase(((26, 32),), ((0, 0, 20, 20),))
NOWHERE = Phrase(((26, 32),), ())
TRIANGLE = (0.0, 0.0, 4.0, 0.0, 0.0, 4.0)


def test_a_phrase_with_one_box_is_an_expression() -> None:
    caption = Caption("7", IMAGE, TEXT, (MAN, DOGS, SOFA, NOWHERE))
    assert [caption.words(phrase) for phrase in caption.phrases] == [
        "A man",
        "his two dogs",
        "a sofa",
        "a sofa",
    ]
    assert caption.samples() == (
        Sample("7-0", IMAGE, "A man", (1, 2, 3, 4), "people"),
        Sample("7-2", IMAGE, "a sofa", (0, 0, 20, 20)),
    )


def test_a_phrase_in_two_pieces() -> None:
    pieces = Phrase(((0, 5), (28, 32)), ((1, 2, 3, 4),))
    assert Caption("7", IMAGE, TEXT, (pieces,)).words(pieces) == "A man sofa"


def test_a_set_gives_its_expressions_and_limits_itself() -> None:
    captions = tuple(Caption(str(n), IMAGE, TEXT, (MAN, DOGS)) for n in range(10))
    several = CaptionSet("some", "val", captions)
    assert len(several) == 10
    dataset = several.samples()
    assert (dataset.name, dataset.split, dict(dataset.things)) == ("some", "val", {})
    assert [sample.id for sample in dataset.samples] == [f"{n}-0" for n in range(10)]
    assert [caption.id for caption in several.limited(4).captions] == ["0", "2", "5", "7"]
    assert several.limited(None) == several.limited(10) == several
    with pytest.raises(ValueError, match="a limit of 0 captions leaves none; give 1 or more"):
        several.limited(0)


def test_what_is_valid() -> None:
    """Neighbouring spans, a span to the last character, no phrase at all, an answer without a kind."""
    Caption("1", IMAGE, TEXT, (Phrase(((0, 2), (2, 5), (10, 32)), ()),), negatives=((0, 32),))
    Caption("2", IMAGE, "Is it red?", answer=Answer("no"))
    Phrase(((0, 1),), ((0, 0, 4, 4),), ((TRIANGLE, TRIANGLE),))
    Phrase(((0, 1),), ((0, 0, 4, 4), (1, 1, 2, 2)), ((TRIANGLE,), Rle(2, 3, (1, 4, 1))))
    Rle(2, 2, (0, 4))
    assert whole("a dog", [(0, 0, 1, 1)], category="dog") == Phrase(((0, 5),), ((0, 0, 1, 1),), (), "dog")


@pytest.mark.parametrize(
    ("spans", "reason"),
    [
        ((), "a phrase has no span"),
        (((3, 3),), r"span \(3, 3\) has no characters"),
        (((5, 3),), r"span \(5, 3\) has no characters"),
        (((-1, 3),), r"span \(-1, 3\) has no characters"),
        (((4, 6), (0, 2)), r"span \(0, 2\) begins before \(4, 6\) ends"),
        (((0, 4), (3, 6)), r"span \(3, 6\) begins before \(0, 4\) ends"),
    ],
)
def test_spans_that_no_phrase_has(spans, reason) -> None:
    with pytest.raises(DataError, match=reason):
        Phrase(spans, ())


@pytest.mark.parametrize(
    ("boxes", "masks", "reason"),
    [
        (((3, 3, 3, 9),), (), "has no area"),
        (((3, 9, 9, 3),), (), "has no area"),
        (((0, 0, math.nan, 3),), (), "is not finite"),
        (((0, 0, 4, 4),), ((TRIANGLE,), (TRIANGLE,)), "2 masks for 1 boxes"),
        (((0, 0, 4, 4),), ((),), "a mask has no polygon"),
        (((0, 0, 4, 4),), (((0, 0, 1, 1),),), "a polygon of 4 numbers; it is x, y of 3 corners or more"),
        (((0, 0, 4, 4),), ((TRIANGLE, (*TRIANGLE, 1)),), "a polygon of 7 numbers"),
        (((0, 0, 4, 4),), (((*TRIANGLE[:5], math.inf),),), "not finite"),
    ],
)
def test_boxes_and_masks_that_no_phrase_has(boxes, masks, reason) -> None:
    with pytest.raises(DataError, match=reason):
        Phrase(((0, 1),), boxes, masks)


def test_a_caption_must_hold_its_phrases() -> None:
    for text, reason in (
        ("A man and his two dogs on a sof", r"span \(26, 32\) leaves the caption of 31 characters"),
        (" ", "the caption has no words"),
        (f"{TEXT[:26]}      ", r"span \(26, 32\) of the caption is blank"),
    ):
        with pytest.raises(DataError, match=reason):
            Caption("7", IMAGE, text, (SOFA,))
    with pytest.raises(DataError, match=r"span \(0, 33\) leaves the caption of 32"):
        Caption("7", IMAGE, TEXT, negatives=((0, 33),))
    with pytest.raises(DataError, match=r"span \(2, 2\) has no characters"):
        Caption("7", IMAGE, TEXT, negatives=((2, 2),))


def test_an_answer_says_something_and_points_at_boxes() -> None:
    with pytest.raises(DataError, match="the answer is empty"):
        Answer(" ", "attr")
    with pytest.raises(DataError, match="has no area"):
        Answer("dog", "obj", ((0, 0, 0, 9),))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], ()),
        ([[0, 5]], ((0, 5),)),
        ([[7, 9], [0, 5]], ((0, 5), (7, 9))),
        ([[0, 5], [5, 9]], ((0, 5), (5, 9))),
        ([[0, 5], [3, 9], [8, 12], [20, 21]], ((0, 12), (20, 21))),
        ([[0, 9], [2, 3], [0, 9]], ((0, 9),)),
    ],
)
def test_spans_as_files_have_them(values, expected) -> None:
    assert spans_from(values) == expected


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (None, "not a list of"),
        ("01", "not a list of"),
        ([0, 5], "span 0 is not two whole numbers"),
        ([[0, 5, 6]], "not two whole numbers"),
        ([[0, 5.0]], "not two whole numbers"),
        ([[False, 5]], "not two whole numbers"),
        ([[5, 0]], "has no characters"),
    ],
)
def test_what_is_no_list_of_spans(values, reason) -> None:
    with pytest.raises(DataError, match=reason):
        spans_from(values)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=8))
def test_spans_keep_their_characters(pairs: list[tuple[int, int]]) -> None:
    values = [[begin, begin + length] for begin, length in pairs]
    found = spans_from(values)
    assert {i for b, e in found for i in range(b, e)} == {i for b, e in values for i in range(b, e)}
    if found:
        Phrase(found, ())
