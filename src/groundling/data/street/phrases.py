"""Noun phrases of a scene for whole sentences: programs that mean one thing or several, in grammatical words.

Referring expressions (`expressions`) are what people type: "second car from left". Captions and questions
take the same programs, but say them as part of a sentence: "the second car from the left", "two men in red".
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator

from groundling.data.street.expressions import hidden, named, tinted
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
)
from groundling.data.street.scenes import Scene, StreetObject
from groundling.data.street.words import (
    CARRIED,
    CLOTHES,
    COLOUR_WORDS,
    EXTREME_FORMS,
    HAIR_WORDS,
    ORDINALS,
    PART_WORDS,
    PEOPLE,
    PLURAL,
    SYNONYMS,
)

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
IRREGULAR = {
    "man": "men", "woman": "women", "gentleman": "gentlemen", "child": "children", "person": "people",
    "puppy": "puppies", "kitty": "kitties", "lady": "ladies", "lorry": "lorries", "bus": "buses",
    "bench": "benches", "mailbox": "mailboxes", "mail box": "mail boxes",
}  # fmt: skip
SIDES = ("{b} on the {w}", "{b} on the {w} side", "{b} to the {w}")
RELATION_WORDS = {
    "left": ("left of", "to the left of", "on the left of"),
    "right": ("right of", "to the right of", "on the right of"),
    "front": ("in front of",),
    "behind": ("behind",),
    "beside": ("next to", "beside", "near"),
    "on": ("on", "on top of"),
    "above": ("above", "over"),
}


def plural(noun: str) -> str:
    """Several of the noun."""
    return IRREGULAR.get(noun, f"{noun}s")


def a_or_an(text: str) -> str:
    """The text after its indefinite article."""
    return f"an {text}" if text[0] in "aeiou" else f"a {text}"


def definite(program: Program) -> bool:
    """Whether the words take "the" and never "a": the one that is out at one end."""
    return isinstance(program, (Extreme, Ordered))


def meant(scene: Scene, program: Program) -> frozenset[int]:
    """The ids of what the program means; nothing where somebody might mean others."""
    found = answer(scene, program)
    return found.sure if found.sure == found.maybe else frozenset()


def about(program: Program) -> frozenset[str]:
    """What the words of the program tell of its object: colour, pose, facing, and names of parts."""
    if isinstance(program, Named):
        return frozenset()
    told = about(program.of)
    match program:
        case Coloured():
            return told | {"colour"}
        case Wearing():
            return told | {*CLOTHES, "hat"}
        case Having(part=part):
            return told | {part}
        case Posed(pose=pose):
            return told | {"facing" if pose in ("left", "right") else "pose"}
        case _:
            return told


def one(
    scene: Scene, thing: StreetObject, rng: random.Random, avoid: Collection[str] = (), plain: float = 0.5
) -> Program | None:
    """A program that means this thing alone, and tells nothing that `avoid` lists (words of `about`).

    `plain` is how often a noun is enough where it is unique; else, and where it is not, more is said.
    """
    noun = named(thing, rng)
    ways: list[Program] = [noun] if rng.random() < plain else []
    ways += _mixed(rng, _attributes(scene, thing, noun, rng))
    base = tinted(noun, thing) if rng.random() < 0.3 else noun
    ways += _mixed(rng, _places(base))
    ways.append(noun)
    return next(
        (way for way in ways if not about(way) & set(avoid) and meant(scene, way) == {thing.id}), None
    )


def several(scene: Scene, rng: random.Random) -> tuple[Program, frozenset[int]] | None:
    """A program that means two or more things, and their ids."""
    thing = rng.choice(scene.objects)
    noun = Named(rng.choice([word for word, _ in SYNONYMS[thing.category]]))
    ways = [tinted(noun, thing)]
    if thing.pose and (thing.pose != "standing" or thing.category in ("dog", "cat")):
        ways.append(Posed(noun, thing.pose))
    ways += [Side(noun, which) for which in ("left", "right")]
    ways += [Having(noun, part, None) for part, _ in thing.parts if part in CARRIED]
    ways = [*_mixed(rng, ways), noun]
    for way in ways[rng.choice((0, 0, len(ways) - 1)) :]:
        ids = meant(scene, way)
        if len(ids) > 1:
            return way, ids
    return None


def _mixed(rng: random.Random, ways: Iterator[Program] | list[Program]) -> list[Program]:
    all_ways = list(ways)
    return rng.sample(all_ways, len(all_ways))


def _attributes(scene: Scene, thing: StreetObject, noun: Named, rng: random.Random) -> Iterator[Program]:
    yield tinted(noun, thing)
    yield tinted(noun, thing)
    for part, colour in thing.parts:
        if not hidden(part, thing, scene):
            yield Having(noun, part, None if part in CARRIED and rng.random() < 0.3 else colour)
    if thing.category in PEOPLE:
        yield Having(noun, "shirt", thing.colour)
    if thing.facing and thing.category != "mailbox":
        yield Posed(noun, thing.facing)
    if thing.pose and (thing.pose != "standing" or thing.category in ("dog", "cat")):
        yield Posed(noun, thing.pose)


def _places(base: Program) -> Iterator[Program]:
    for which in EXTREME_FORMS:
        yield Extreme(base, which)
    for which in ("left", "right"):
        yield Side(base, which)
        yield Ordered(base, 2, which)


def spoken(program: Program, rng: random.Random, many: bool = False) -> str:
    """The program in words, without article or number; with `many` in the plural."""
    if isinstance(program, Named):
        return plural(program.noun) if many else program.noun
    base = spoken(program.of, rng, many)
    match program:
        case Coloured(colour=colour):
            return f"{rng.choice(COLOUR_WORDS[colour])} {base}"
        case Wearing(colour=colour):
            return f"{base} {rng.choice(('in', 'in', 'dressed in'))} {rng.choice(COLOUR_WORDS[colour])}"
        case Having():
            return _having(program, base, rng, many)
        case Posed(pose=("left" | "right") as pose):
            return f"{base} facing {pose}"
        case Posed(pose=pose):
            return f"{pose} {base}"
        case Extreme(which=which):
            return rng.choice(EXTREME_FORMS[which]).format(b=base)
        case Side(which=which):
            return rng.choice(SIDES).format(b=base, w=which)
        case Ordered(number=number, side=side):
            assert number, "the middle one is not said in sentences"
            return f"{ORDINALS[number][0]} {base} from the {side}"
        case Related(relation=relation, to=to):
            article = "the " if definite(to) or rng.random() < 0.5 else ""
            return f"{base} {rng.choice(RELATION_WORDS[relation])} {article}{spoken(to, rng)}"


def _having(program: Having, base: str, rng: random.Random, many: bool) -> str:
    part = program.part
    word = rng.choice(PART_WORDS[part])
    names = HAIR_WORDS if part == "hair" else COLOUR_WORDS
    text = f"{rng.choice(names[program.colour])} {word}" if program.colour else word
    if many and word not in PLURAL:
        text = plural(text)
    elif word not in PLURAL:
        text = a_or_an(text)
    links = {"bag": ("with", "holding", "carrying"), "umbrella": ("with", "holding", "carrying")}
    worn = ("in", "wearing", "with") if part in (*CLOTHES, "hat") else ("with",)
    return f"{base} {rng.choice(links.get(part, worn))} {text}"
