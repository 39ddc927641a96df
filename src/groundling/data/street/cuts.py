"""Phrases to cut out of a scene: short ones, each with all objects that it means, as PhraseCut has them."""

from __future__ import annotations

import random
from dataclasses import dataclass

from groundling.data.street.meaning import (
    Coloured,
    Extreme,
    Having,
    Named,
    Ordered,
    Posed,
    Program,
    Related,
    Side,
    Wearing,
)
from groundling.data.street.phrases import RELATION_WORDS, meant, one, several, spoken
from groundling.data.street.scenes import Scene
from groundling.data.street.statements import related

TRIES = 6  # for each phrase


@dataclass(frozen=True)
class Cut:
    """A phrase, the ids of all that it means, and what it is made of; relations are pairs of words."""

    text: str
    objects: frozenset[int]
    name: str
    attributes: tuple[str, ...]
    relations: tuple[tuple[str, str], ...]

    @property
    def kind(self) -> str:
        """What it takes beyond the name: name, attribute, relation or verbose (both)."""
        return (("name", "attribute"), ("relation", "verbose"))[bool(self.relations)][bool(self.attributes)]


def cuts(scene: Scene, count: int = 6) -> tuple[Cut, ...]:
    """Up to `count` different phrases; about half of them mean several objects, where a scene has them."""
    if count < 0:
        raise ValueError(f"count must be 0 or more, got {count}")
    rng = random.Random(f"cuts:{scene.seed}:{scene.index}")
    found: dict[str, Cut] = {}
    for _ in range(count * TRIES):
        if len(found) == count:
            break
        program = _program(scene, rng)
        if program is not None:
            ids = meant(scene, program)
            text = spoken(program, rng, many=len(ids) > 1)
            found.setdefault(text, Cut(text, ids, _noun(program), *_structure(program)))
    return tuple(found.values())


def _program(scene: Scene, rng: random.Random) -> Program | None:
    group = several(scene, rng) if rng.random() < 0.6 else None
    if group is not None:
        return group[0]
    if rng.random() < 0.25:
        return related(scene, rng)
    return one(scene, rng.choice(scene.objects), rng, plain=0.3)


def _noun(program: Program) -> str:
    return program.noun if isinstance(program, Named) else _noun(program.of)


def _structure(program: Program) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Attributes, and relations such as ("wearing", "red") or ("next to", "car"), from the noun outwards."""
    if isinstance(program, Named):
        return (), ()
    attributes, relations = _structure(program.of)
    match program:
        case Coloured(colour=word) | Extreme(which=word):
            return (*attributes, word), relations
        case Posed(pose=("left" | "right") as side):
            return attributes, (*relations, ("facing", side))
        case Posed(pose=pose):
            return (*attributes, pose), relations
        case Wearing(colour=colour):
            return attributes, (*relations, ("wearing", colour))
        case Having(part=part, colour=colour):
            return attributes, (*relations, ("with", f"{colour} {part}" if colour else part))
        case Side(which=which):
            return attributes, (*relations, ("on", which))
        case Ordered(number=number, side=side):
            return (*attributes, f"number {number}"), (*relations, ("from", side))
        case Related(relation=relation, to=to):
            return attributes, (*relations, (RELATION_WORDS[relation][0], _noun(to)))
