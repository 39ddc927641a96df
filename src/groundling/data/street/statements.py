"""True statements that something is there, alone or in a relation, and false ones that differ by one word."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from groundling.data.street.expressions import hidden, named, tinted
from groundling.data.street.meaning import Coloured, Having, Named, Program, Related, Wearing, answer
from groundling.data.street.phrases import RELATION_WORDS, meant, one
from groundling.data.street.scenes import Scene
from groundling.data.street.words import ALL, CATEGORIES, NOUNS, SYNONYMS

OPPOSITE = {"left": "right", "right": "left", "front": "behind", "behind": "front"}


def there_is(scene: Scene, rng: random.Random) -> Program | None:
    """A program that means exactly one thing of the scene, by what it is or has and not by where it is."""
    for thing in rng.sample(scene.objects, len(scene.objects)):
        noun = named(thing, rng)
        ways: list[Program] = [noun, tinted(noun, thing), tinted(noun, thing)]
        parts = [pair for pair in thing.parts if pair[0] != "hair" and not hidden(pair[0], thing, scene)]
        ways += [Having(noun, part, colour) for part, colour in parts]
        way = rng.choice(ways)
        if meant(scene, way) == {thing.id}:
            return way
    return None


def related(scene: Scene, rng: random.Random) -> Related | None:
    """A relation in which exactly one thing of its kind stands to another; left and right come last."""
    for thing in rng.sample(scene.objects, len(scene.objects)):
        noun = named(thing, rng)
        base = tinted(noun, thing) if rng.random() < 0.3 else noun
        for other in rng.sample(scene.objects, len(scene.objects)):
            to = one(scene, other, rng) if other is not thing else None
            if to is None:
                continue
            for relation in mixed_relations(rng):
                if meant(scene, Related(base, relation, to)) == {thing.id}:
                    return Related(base, relation, to)
    return None


def mixed_relations(rng: random.Random) -> list[str]:
    """The relations in random order, those that hold of every other pair last, mostly."""
    late = rng.random() < 0.8
    return sorted(RELATION_WORDS, key=lambda name: (late and name in ("left", "right"), rng.random()))


def falsified(scene: Scene, program: Program, rng: random.Random) -> Program | None:
    """The program with one word changed so that it means nothing in the scene, not even to somebody."""
    ways = list(_changed(scene, program, rng))
    for way in rng.sample(ways, len(ways)):
        if not answer(scene, way).maybe:
            return way
    return None


def _changed(scene: Scene, program: Program, rng: random.Random) -> Iterator[Program]:
    match program:
        case Named():
            names = rng.choices(list(CATEGORIES), [kind.weight for kind in CATEGORIES.values()], k=4)
            yield from (Named(_noun(name, rng)) for name in names)
        case Coloured(of=Named(noun) as of, colour=colour) | Wearing(of=Named(noun) as of, colour=colour):
            colours = CATEGORIES[NOUNS[noun].names[0]].colours
            yield from (type(program)(of, other) for other in rng.sample(colours, min(len(colours), 4)))
            for thing in scene.objects:
                if colour in CATEGORIES[thing.category].colours:
                    yield tinted(named(thing, rng), replace(thing, colour=colour))
        case Having(of=of, part=part):
            yield from (Having(of, part, colour) for colour in rng.sample(ALL, 4))
        case Related(of=of, relation=relation, to=to):
            yield from (Related(other, relation, to) for other in _here(scene, of, rng))
            if relation in OPPOSITE:
                yield Related(of, OPPOSITE[relation], to)
            for other in rng.sample(scene.objects, 3):
                place = one(scene, other, rng)
                if place is not None and place != to:
                    yield Related(of, relation, place)


def _here(scene: Scene, program: Program, rng: random.Random) -> Iterator[Program]:
    """Other things of the scene, said as plainly."""
    for thing in scene.objects:
        noun = named(thing, rng)
        yield noun if isinstance(program, Named) else tinted(noun, thing)


def _noun(category: str, rng: random.Random) -> str:
    words, weights = zip(*SYNONYMS[category], strict=True)
    return str(rng.choices(words, weights)[0])
