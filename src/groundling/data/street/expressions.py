"""Referring expressions of a scene: programs that mean exactly one object, in words as people type them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Iterator, Mapping
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
    answer,
    part_colour,
)
from groundling.data.street.scenes import Scene, StreetObject, cover
from groundling.data.street.words import (
    CARRIED,
    COLOUR_FORMS,
    COLOUR_WORDS,
    EXTREME_FORMS,
    HAIR_WORDS,
    MIDDLE_FORMS,
    ORDER_FORMS,
    ORDINALS,
    PART_FORMS,
    PART_WORDS,
    PEOPLE,
    PLURAL,
    POSE_FORMS,
    RELATION_FORMS,
    SIDE_FORMS,
    SYNONYMS,
    WEAR_FORMS,
)

KINDS: Mapping[str, float] = {
    "category": 3,
    "colour": 40,
    "part": 18,
    "pose": 5,
    "position": 14,
    "size": 8,
    "order": 7,
    "relation": 16,
}
LONELY = 0.1  # how often a target may be the only one of its category


@dataclass(frozen=True)
class Referring:
    """An expression that is true of one object (`target`, its id) of its scene, and the program behind it."""

    expression: str
    target: int
    kind: str
    program: Program


def describe(scene: Scene, count: int = 6, only: Collection[str] | None = None) -> tuple[Referring, ...]:
    """Up to `count` different expressions; `only` keeps targets to some categories."""
    if count < 0:
        raise ValueError(f"count must be 0 or more, got {count}")
    rng = random.Random(f"words:{scene.seed}:{scene.index}")
    found: list[Referring] = []
    for _ in range(count * 6):
        if len(found) == count:
            break
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        new = _refer(scene, rng, kind, only)
        if new and all(
            new.expression != old.expression and (new.target, kind) != (old.target, old.kind) for old in found
        ):
            found.append(new)
    return tuple(found)


def _refer(scene: Scene, rng: random.Random, kind: str, only: Collection[str] | None) -> Referring | None:
    """The first target (in random order) that an expression of this kind can single out."""
    lonely = kind == "category" or rng.random() < LONELY
    targets = [thing for thing in scene.objects if only is None or thing.category in only]
    for target in rng.sample(targets, len(targets)):
        alone = sum(thing.category == target.category for thing in scene.objects) == 1
        if alone and not lonely:
            continue
        for program in MAKERS[kind](scene, target, rng):
            if answer(scene, program).only == target.id:
                return Referring(say(program, rng), target.id, kind, program)
    return None


def named(target: StreetObject, rng: random.Random) -> Named:
    """A word for the target, the plain one most often."""
    words, weights = zip(*SYNONYMS[target.category], strict=True)
    return Named(rng.choices(words, weights)[0])


def tinted(base: Program, target: StreetObject) -> Program:
    """The target by its colour; people by that of what they wear."""
    return Wearing(base, target.colour) if target.category in PEOPLE else Coloured(base, target.colour)


def _base(target: StreetObject, rng: random.Random) -> Program:
    """A plain noun, or now and then one with a colour."""
    noun = named(target, rng)
    return tinted(noun, target) if rng.random() < 0.25 else noun


def _category(scene: Scene, target: StreetObject, rng: random.Random) -> Iterator[Program]:
    yield named(target, rng)


def _colour(scene: Scene, target: StreetObject, rng: random.Random) -> Iterator[Program]:
    noun = named(target, rng)
    if target.category in PEOPLE and rng.random() < 0.5:
        yield Having(noun, "shirt", target.colour)
    yield tinted(noun, target)


def _part(scene: Scene, target: StreetObject, rng: random.Random) -> Iterator[Program]:
    noun = Named("person") if target.category in PEOPLE and rng.random() < 0.2 else named(target, rng)
    parts = [(part, colour) for part, colour in target.parts if not hidden(part, target, scene)]
    for part, colour in rng.sample(parts, len(parts)):
        if part in CARRIED and rng.random() < 0.4:
            yield Having(noun, part, None)
        yield Having(noun, part, colour)


def hidden(part: str, target: StreetObject, scene: Scene) -> bool:
    """Whether the part may be out of sight: hair under a hat, or what is low behind nearer things."""
    if part not in ("pants", "skirt", "shorts", "door"):
        return part == "hair" and part_colour(target, "hat") is not None
    x1, y1, x2, y2 = target.box
    low = x1, (y1 + y2) / 2, x2, y2
    return sum(cover(thing.box, low) for thing in scene.objects if thing.depth > target.depth) > 0.4


def _pose(scene: Scene, target: StreetObject, rng: random.Random) -> Iterator[Program]:
    for pose in rng.sample([target.pose, target.facing], 2):
        if (
            pose
            and target.category != "mailbox"
            and (pose != "standing" or target.category in ("dog", "cat"))
        ):
            yield Posed(_base(target, rng), pose)


def _position(scene: Scene, target: StreetObject, rng: random.Random) -> Iterator[Program]:
    base = _base(target, rng)
    ways: list[Program] = [
        Extreme(base, which) for which in ("left", "right", "left", "right", "top", "bottom", "near", "far")
    ]
    ways += [Side(base, which) for which in ("left", "right", "left", "right")]
    yield from rng.sample(ways, len(ways))


def _size(scene: Scene, target: StreetObject, rng: random.Random) -> Iterator[Program]:
    base = _base(target, rng)
    yield from (Extreme(base, which) for which in rng.sample(("big", "small"), 2))


def _order(scene: Scene, target: StreetObject, rng: random.Random) -> Iterator[Program]:
    base = _base(target, rng)
    ways = [Ordered(base, number, side) for number in (2, 2, 3) for side in ("left", "right")]
    yield from rng.sample([*ways, Ordered(base, 0, "left")], len(ways) + 1)


def _relation(scene: Scene, target: StreetObject, rng: random.Random) -> Iterator[Program]:
    base = _base(target, rng)
    ways = [
        (relation, thing) for thing in scene.objects if thing is not target for relation in RELATION_FORMS
    ]
    for relation, thing in sorted(rng.sample(ways, len(ways)), key=lambda way: way[0] in ("left", "right")):
        if relation in ("left", "right") or rng.random() < 0.8:
            noun = named(thing, rng)
            yield Related(base, relation, noun if rng.random() < 0.6 else tinted(noun, thing))
            yield Related(base, relation, tinted(noun, thing))


Maker = Callable[[Scene, StreetObject, random.Random], Iterator[Program]]
MAKERS: Mapping[str, Maker] = {
    "category": _category,
    "colour": _colour,
    "part": _part,
    "pose": _pose,
    "position": _position,
    "size": _size,
    "order": _order,
    "relation": _relation,
}


def say(program: Program, rng: random.Random) -> str:
    """The program in words: one of several wordings, articles now and then."""
    text = _phrase(program, rng, outer=True)
    if rng.random() < 0.25 and not text.startswith(("second", "third", "2nd", "3rd")):
        text = f"the {text}"
    return re.sub(r"\ba (?=[aeiou])", "an ", text)


def _phrase(program: Program, rng: random.Random, outer: bool = False) -> str:
    if isinstance(program, Named):
        return program.noun
    base = _phrase(program.of, rng)
    match program:
        case Coloured(colour=colour):
            form = rng.choice(COLOUR_FORMS if outer else COLOUR_FORMS[:1])
            return form.format(b=base, c=rng.choice(COLOUR_WORDS[colour]))
        case Wearing(colour=colour):
            return rng.choice(WEAR_FORMS if outer else WEAR_FORMS[:1]).format(
                b=base, c=rng.choice(COLOUR_WORDS[colour])
            )
        case Having():
            return _having(program, base, rng)
        case Posed(pose=pose):
            return rng.choice(POSE_FORMS[pose]).format(b=base)
        case Extreme(which=which):
            return rng.choice(EXTREME_FORMS[which]).format(b=base)
        case Side(which=which):
            return rng.choice(SIDE_FORMS[which]).format(b=base)
        case Ordered(number=0):
            return rng.choice(MIDDLE_FORMS).format(b=base)
        case Ordered(number=number, side=side):
            return rng.choice(ORDER_FORMS[side]).format(b=base, n=rng.choice(ORDINALS[number]))
        case Related(relation=relation, to=to):
            other = rng.choice(("the ", "the ", "a ", "")) + _phrase(to, rng)
            return rng.choice(RELATION_FORMS[relation]).format(b=base, r=other)


def _having(program: Having, base: str, rng: random.Random) -> str:
    part, word = program.part, rng.choice(PART_WORDS[program.part])
    names = HAIR_WORDS if part == "hair" else COLOUR_WORDS
    colour = rng.choice(names[program.colour]) if program.colour else ""
    if base == "person" and colour and part != "hair" and rng.random() < 0.5:
        return f"{colour} {word}"  # "red shirt": the people of RefCOCO leave the person out
    group = {
        "shirt": "clothes",
        "pants": "clothes",
        "skirt": "clothes",
        "shorts": "clothes",
        "hat": "hat",
        "bag": "held",
        "umbrella": "held",
    }.get(part, "other")
    forms = PART_FORMS[group]
    form = rng.choice(forms if colour else [form for form in forms if not form.startswith("{c}")])
    text = form.format(b=base, c=colour, p=word).replace("  ", " ")
    return text.replace(" a ", " ", 1) if word in PLURAL else text
