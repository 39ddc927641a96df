"""Questions about the whole picture and about what one thing looks like: seven of the thirteen types."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import permutations

from groundling.data.street.phrases import one, spoken
from groundling.data.street.question import Meaning, Question, Steps, asked
from groundling.data.street.scenes import Scene, StreetObject
from groundling.data.street.setting import COVERS, WEATHERS, setting
from groundling.data.street.traits import Trait, predicate, traits, what, whether


@dataclass(frozen=True)
class _Fact:
    """A fact about the whole picture and the words that ask for it."""

    values: tuple[str, ...]
    query: tuple[str, ...]
    verify: tuple[str, ...]
    choose: tuple[str, ...]


FACTS: Mapping[str, _Fact] = {
    "weather": _Fact(
        tuple(sorted(set(WEATHERS))),
        ("How is the weather", "How is the weather in the image", "What is the weather like"),
        ("Is it {}", "Is it {} today", "Is the weather {}"),
        ("Is it {} or {}", "Is the weather {} or {}"),
    ),
    "ground": _Fact(
        tuple(sorted(set(COVERS))),
        ("What is the ground covered with", "What covers the ground"),
        ("Is the ground covered with {}", "Is there {} on the ground"),
        ("Is the ground covered with {} or {}", "Is there {} or {} on the ground"),
    ),
}


def query_global(scene: Scene, rng: random.Random, yes: bool) -> Question | None:
    """How is the weather in the image?"""
    name, value = _fact(scene, rng)
    return asked("queryGlobal", [rng.choice(FACTS[name].query)], value, _overall(("query", name)))


def verify_global(scene: Scene, rng: random.Random, yes: bool) -> Question | None:
    """Is it cloudy today?"""
    name, value = _fact(scene, rng)
    said = value if yes else _other(FACTS[name].values, value, rng)
    text = rng.choice(FACTS[name].verify).format(said)
    return asked("verifyGlobal", [text], _word(yes), _overall((f"verify {name}", said)))


def choose_global(scene: Scene, rng: random.Random, yes: bool) -> Question | None:
    """Is it sunny or cloudy?"""
    name, value = _fact(scene, rng)
    pair = _shuffled(value, _other(FACTS[name].values, value, rng), rng)
    text = rng.choice(FACTS[name].choose).format(*pair)
    return asked("chooseGlobal", [text], value, _overall((f"choose {name}", "|".join(pair))))


def query_attribute(scene: Scene, rng: random.Random, yes: bool) -> Question | None:
    """What color is the apple?"""
    subject = _subject(scene, rng, lambda trait: trait.body is not None)
    if subject is None:
        return None
    thing, trait, meaning = subject
    before, after = what(trait)
    return asked("queryAttr", [before, meaning, after], trait.value, _about(thing, ("query", trait.name)))


def verify_attribute(scene: Scene, rng: random.Random, yes: bool) -> Question | None:
    """Is the apple red?"""
    subject = _subject(scene, rng)
    if subject is None:
        return None
    thing, trait, meaning = subject
    said = trait.value if yes else rng.choice(trait.others)
    before, after = whether(trait, said)
    return asked(
        "verifyAttr", [before, meaning, after], _word(yes), _about(thing, (f"verify {trait.name}", said))
    )


def verify_attributes(scene: Scene, rng: random.Random, yes: bool) -> Question | None:
    """Is the apple red and shiny? Where it is not, one of the two is wrong, or both."""
    thing = rng.choice(scene.objects)
    pairs = list(permutations([trait for trait in traits(scene, thing) if predicate(trait, trait.value)], 2))
    if not pairs:
        return None
    pair = rng.choice(pairs)
    meaning = _meaning(scene, thing, rng, *pair)
    if meaning is None:
        return None
    right = (True, True) if yes else rng.choice(((False, True), (True, False), (False, False)))
    said = [
        trait.value if true else rng.choice(trait.others) for trait, true in zip(pair, right, strict=True)
    ]
    text = " and ".join(f"{predicate(trait, value)}" for trait, value in zip(pair, said, strict=True))
    checks = [(f"verify {trait.name}", value) for trait, value in zip(pair, said, strict=True)]
    return asked("verifyAttrs", ["Is the", meaning, text], _word(yes), _about(thing, *checks, ("and", "")))


def choose_attribute(scene: Scene, rng: random.Random, yes: bool) -> Question | None:
    """Is the apple green or red?"""
    subject = _subject(scene, rng)
    if subject is None:
        return None
    thing, trait, meaning = subject
    pair = _shuffled(trait.value, rng.choice(trait.others), rng)
    before, after = whether(trait, *pair)
    step = (f"choose {trait.name}", "|".join(pair))
    return asked("chooseAttr", [before, meaning, after], trait.value, _about(thing, step))


Maker = Callable[[Scene, random.Random, bool], Question | None]
MAKERS: Mapping[str, Maker] = {
    "queryGlobal": query_global,
    "verifyGlobal": verify_global,
    "chooseGlobal": choose_global,
    "queryAttr": query_attribute,
    "verifyAttr": verify_attribute,
    "verifyAttrs": verify_attributes,
    "chooseAttr": choose_attribute,
}


def _fact(scene: Scene, rng: random.Random) -> tuple[str, str]:
    """A fact and its value; the weather less often where it is sunny, as it is mostly."""
    here = setting(scene)
    rare = here.weather != "sunny"
    return rng.choice((("weather", here.weather), *[("ground", here.ground)] * (1 if rare else 2)))


def _subject(
    scene: Scene, rng: random.Random, fits: Callable[[Trait], bool] = lambda trait: True
) -> tuple[StreetObject, Trait, Meaning] | None:
    """A thing, something to ask about it, and words for it that do not tell."""
    thing = rng.choice(scene.objects)
    there = [trait for trait in traits(scene, thing) if fits(trait)]
    trait = rng.choice(there) if there else None
    meaning = _meaning(scene, thing, rng, trait) if trait else None
    return (thing, trait, meaning) if trait and meaning else None


def _meaning(scene: Scene, thing: StreetObject, rng: random.Random, *secrets: Trait) -> Meaning | None:
    program = one(scene, thing, rng, avoid=[trait.name for trait in secrets])
    return Meaning(spoken(program, rng), thing.id) if program else None


def _other(values: tuple[str, ...], value: str, rng: random.Random) -> str:
    return rng.choice([other for other in values if other != value])


def _shuffled(one: str, two: str, rng: random.Random) -> tuple[str, str]:
    return (one, two) if rng.random() < 0.5 else (two, one)


def _word(yes: bool) -> str:
    return "yes" if yes else "no"


def _overall(*steps: tuple[str, str]) -> Steps:
    return ("select", "scene"), *steps


def _about(thing: StreetObject, *steps: tuple[str, str]) -> Steps:
    return ("select", f"{thing.category} ({thing.id})"), *steps
