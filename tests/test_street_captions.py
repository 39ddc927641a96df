"""Captions of street scenes: true word by word, each phrase of exactly the objects that it means."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import street_truth

from groundling.data import street
from groundling.data.street.captions import StreetCaption, captions
from groundling.data.street.cuts import cuts
from groundling.data.street.meaning import (
    Coloured,
    Extreme,
    Having,
    Named,
    Posed,
    Program,
    Related,
    Side,
    Wearing,
)
from groundling.data.street.phrases import a_or_an, about, one, plural, several, spoken
from groundling.data.street.scenes import Scene

SCENES = 2000
CAR, MAN = Named("car"), Named("man")
HELD, BLOND = ("with", "holding", "carrying"), ("blond", "blonde", "yellow")


@pytest.fixture(scope="module")
def many() -> list[tuple[Scene, tuple[StreetCaption, ...]]]:
    return [(scene, captions(scene)) for scene in street_truth.scenes(SCENES)]


def check(scene: Scene, caption: StreetCaption) -> None:
    spans = [span for phrase in caption.phrases for span in phrase.spans]
    street_truth.check_caption(scene, caption.text, spans)
    for phrase in caption.phrases:
        for begin, end in phrase.spans:
            assert street_truth.meant(scene, caption.text[begin:end]) == phrase.objects, caption


def test_each_caption_is_true_and_each_phrase_means_its_objects(
    many: list[tuple[Scene, tuple[StreetCaption, ...]]],
) -> None:
    """The reader of tests/street_truth.py shares no code with the maker."""
    for scene, said in many:
        for caption in said:
            check(scene, caption)


def test_no_caption_hangs_on_a_hair(many: list[tuple[Scene, tuple[StreetCaption, ...]]]) -> None:
    """Boxes may move by 2.5 of 192 pixels and all is still true."""
    rng = random.Random(0)
    for scene, said in many[:300]:
        shaken = street_truth.shaken(scene, rng)
        for caption in said:
            check(shaken, caption)


def test_spans_are_whole_words_that_do_not_overlap(
    many: list[tuple[Scene, tuple[StreetCaption, ...]]],
) -> None:
    for _, said in many[:300]:
        for caption in said:
            spans = sorted(span for phrase in caption.phrases for span in phrase.spans)
            ends = [0, *(end for _, end in spans)]
            assert all(begin >= end for (begin, _), end in zip(spans, ends, strict=False))
            for begin, end in spans:
                around = caption.text[begin - 1 : begin], caption.text[end : end + 1]
                assert around[0] in ("", " ")
                assert around[1] in (" ", ",", ".")


def test_the_mix_of_captions(many: list[tuple[Scene, tuple[StreetCaption, ...]]]) -> None:
    said = [caption for _, found in many for caption in found]
    assert len(said) >= 4.95 * SCENES
    assert all(len({caption.text for caption in found}) == len(found) for _, found in many)
    phrases = [phrase for caption in said for phrase in caption.phrases]
    assert sum(len(phrase.objects) > 1 for phrase in phrases) / len(phrases) >= 0.13
    assert sum(len(phrase.spans) > 1 for phrase in phrases) / len(phrases) >= 0.1
    assert {len(phrase.objects) for phrase in phrases} >= {1, 2, 3, 4}
    assert 1.5 <= len(phrases) / len(said) <= 3
    starts = Counter(caption.text.split()[0] for caption in said)
    assert starts.most_common(1)[0][1] / len(said) < 0.65


def test_captions_depend_on_the_scene_alone() -> None:
    random.seed(1)
    before = random.getstate()
    assert captions(street.scene(4, 2)) == captions(street.scene(4, 2))
    assert captions(street.scene(4, 2), 2) == captions(street.scene(4, 2))[:2]
    assert random.getstate() == before
    assert captions(street.scene(4, 2), 0) == ()
    with pytest.raises(ValueError, match="count"):
        captions(street.scene(4, 2), -1)


@pytest.mark.parametrize(
    ("noun", "several_of_it"),
    [
        ("car", "cars"),
        ("bus", "buses"),
        ("lady", "ladies"),
        ("person", "people"),
        ("lamp post", "lamp posts"),
    ],
)
def test_plurals(noun: str, several_of_it: str) -> None:
    assert plural(noun) == several_of_it


@pytest.mark.parametrize(
    ("program", "many", "words"),
    [
        (CAR, True, {"cars"}),
        (Coloured(CAR, "red"), True, {"red cars"}),
        (Wearing(MAN, "red"), True, {"men in red", "men dressed in red"}),
        (Posed(MAN, "waving"), False, {"waving man"}),
        (Posed(CAR, "left"), True, {"cars facing left"}),
        (Having(MAN, "umbrella", None), True, {f"men {how} umbrellas" for how in HELD}),
        (Having(CAR, "roof", "orange"), False, {"car with an orange roof"}),
        (Having(MAN, "hair", "yellow"), False, {f"man with {how} hair" for how in BLOND}),
        (Side(CAR, "left"), True, {"cars on the left", "cars on the left side", "cars to the left"}),
        (
            Related(CAR, "front", Extreme(MAN, "big")),
            False,
            {f"car in front of the {how} man" for how in ("big", "biggest", "largest", "bigger", "large")},
        ),
    ],
)  # fmt: skip
def test_programs_in_words(program: Program, many: bool, words: set[str]) -> None:
    rng = random.Random(0)
    assert {spoken(program, rng, many) for _ in range(80)} == words


def test_articles() -> None:
    assert [a_or_an(text) for text in ("orange car", "car", "umbrella")] == [
        "an orange car",
        "a car",
        "an umbrella",
    ]


def test_a_phrase_tells_nothing_that_it_must_not() -> None:
    rng = random.Random(0)
    told: Counter[str] = Counter()
    for scene in street_truth.scenes(100):
        for thing in scene.objects:
            program = one(scene, thing, rng, avoid=("colour", "shirt"))
            if program is not None:
                assert not about(program) & {"colour", "shirt"}
                told.update(about(program))
    assert told["pose"] > 0 < told["roof"]


def test_groups_have_two_or_more() -> None:
    rng = random.Random(0)
    groups = [several(scene, rng) for scene in street_truth.scenes(300)]
    assert sum(group is not None for group in groups) > 200
    assert all(len(group[1]) > 1 for group in groups if group)


# ---- phrases to cut out


def test_each_cut_means_all_its_objects() -> None:
    counts: Counter[int] = Counter()
    kinds: Counter[str] = Counter()
    for scene in street_truth.scenes(SCENES):
        for cut in cuts(scene):
            words = (
                " ".join(map(street_truth.singular, cut.text.split())) if len(cut.objects) > 1 else cut.text
            )
            assert street_truth.loosely(scene, words) == cut.objects, cut
            assert cut.name in words
            counts[len(cut.objects)] += 1
            kinds[cut.kind] += 1
    assert counts.total() >= 5.9 * SCENES
    assert 0.3 <= 1 - counts[1] / counts.total() <= 0.7
    assert set(kinds) == {"name", "attribute", "relation", "verbose"}
    assert min(kinds.values()) / kinds.total() >= 0.02
