"""A plain reader of street expressions: parses the words by its own grammar and tries every object.

It shares no code with the making of expressions (`meaning`, `expressions`), so that a wrong wording or a
wrong meaning shows as a disagreement. It knows no margins: "left" is left by a hair. That an expression
leaves no room for doubt shows when it still holds after the boxes have been shaken a little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from groundling.data.street.scenes import Scene, StreetObject

Things = tuple[StreetObject, ...]

NOUNS = {
    "man": "man", "gentleman": "man", "guy": "man boy", "dude": "man boy", "woman": "woman",
    "lady": "woman", "boy": "boy", "girl": "girl", "kid": "boy girl", "child": "boy girl",
    "person": "man woman boy girl", "dog": "dog", "puppy": "dog", "doggy": "dog", "cat": "cat",
    "kitty": "cat", "bird": "bird", "animal": "dog cat bird", "car": "car", "automobile": "car",
    "bus": "bus", "truck": "truck", "lorry": "truck", "vehicle": "car bus truck bicycle",
    "bicycle": "bicycle", "bike": "bicycle", "tree": "tree", "house": "house", "building": "house",
    "bench": "bench", "lamp": "lamp", "lamp post": "lamp", "street light": "lamp", "hydrant": "hydrant",
    "fire hydrant": "hydrant", "ball": "ball", "sign": "sign", "street sign": "sign",
    "traffic sign": "sign", "mailbox": "mailbox", "mail box": "mailbox", "balloon": "balloon",
}  # fmt: skip
COLOURS = {
    "red": "red", "green": "green", "blue": "blue", "yellow": "yellow", "orange": "orange",
    "purple": "purple", "black": "black", "white": "white", "brown": "brown", "pink": "pink",
    "gray": "gray", "grey": "gray", "blond": "yellow", "blonde": "yellow",
}  # fmt: skip
PARTS = {
    "shirt": "shirt", "t-shirt": "shirt", "pants": "pants", "trousers": "pants", "shorts": "shorts",
    "skirt": "skirt", "hat": "hat", "bag": "bag", "purse": "bag", "umbrella": "umbrella", "hair": "hair",
    "collar": "collar", "wing": "wing", "wings": "wing", "roof": "roof", "stripe": "stripe",
    "cargo": "cargo", "load": "cargo", "basket": "basket", "door": "door", "flag": "flag", "cap": "cap",
}  # fmt: skip
LINKS = ("dressed in", "that has", "with", "in", "wearing", "holding", "carrying")
RELATIONS = {
    "to left of": "left", "on left side of": "left", "on left of": "left", "left of": "left",
    "to right of": "right", "on right side of": "right", "on right of": "right", "right of": "right",
    "in front of": "front", "in back of": "behind", "behind": "behind", "next to": "beside",
    "beside": "beside", "by": "beside", "near": "beside", "on top of": "on", "sitting on": "on",
    "above": "above", "over": "above", "on": "on",
}  # fmt: skip
PREFIXES = {
    "far left": "left", "left most": "left", "leftmost": "left", "left": "left", "far right": "right",
    "right most": "right", "rightmost": "right", "right": "right", "top": "top", "upper": "top",
    "highest": "top", "bottom": "bottom", "lower": "bottom", "lowest": "bottom", "closest": "near",
    "nearest": "near", "front": "near", "farthest": "far", "back": "far", "big": "big", "bigger": "big",
    "biggest": "big", "large": "big", "largest": "big", "small": "small", "smaller": "small",
    "smallest": "small", "tiniest": "small", "little": "small", "middle": "middle", "center": "middle",
}  # fmt: skip
SUFFIXES = {
    "on far left": "left", "furthest left": "left", "on far right": "right", "furthest right": "right",
    "at top": "top", "at bottom": "bottom", "in foreground": "near", "closest to us": "near",
    "in background": "far", "in back": "far", "farthest away": "far", "in middle": "middle",
    "in center": "middle", "on left side": "left half", "on left": "left half", "at left": "left half",
    "to left": "left half", "on right side": "right half", "on right": "right half",
    "at right": "right half", "to right": "right half",
}  # fmt: skip
POSE_PREFIXES = {
    "sitting": "sitting",
    "seated": "sitting",
    "standing": "standing",
    "flying": "flying",
    "waving": "waving",
}
POSE_SUFFIXES = {
    "that is sitting": "sitting", "sitting": "sitting", "standing up": "standing", "standing": "standing",
    "that is flying": "flying", "flying": "flying", "in air": "flying", "waving": "waving",
    "with arm raised": "waving", "with arm up": "waving", "with raised arm": "waving",
    "facing left": "left", "facing right": "right",
}  # fmt: skip
ORDINALS = {"second": 2, "2nd": 2, "third": 3, "3rd": 3, "fourth": 4, "4th": 4}


def matching(scene: Scene, expression: str) -> frozenset[int]:
    """The ids of all objects that the expression is true of; ValueError where it is not understood."""
    words = [word for word in expression.split() if word not in ("the", "a", "an")]
    return frozenset(thing.id for thing in _read(words, scene.objects, scene.size))


def _read(words: list[str], things: Things, size: int) -> Things:
    """A phrase with perhaps a relation: "cat on top of red car"."""
    for place in range(1, len(words)):
        for link in sorted(RELATIONS, key=len, reverse=True):
            count = len(link.split())
            rest = words[place + count :]
            here = words[place : place + count] == link.split()
            if here and rest and rest[0] not in ("left", "right", "far"):
                group, others = _phrase(words[:place], things, size), _phrase(rest, things, size)
                return _related(group, others, RELATIONS[link], size)
    return _phrase(words, things, size)


def _related(group: Things, others: Things, relation: str, size: int) -> Things:
    """Those in the relation to the other thing; nothing when it is not clear which other thing is meant."""
    if len(others) != 1:
        return ()
    return _where(
        group, lambda thing: thing != others[0] and RELATION_TESTS[relation](thing, others[0], size)
    )


def _where(things: Things, test: Callable[[StreetObject], bool]) -> Things:
    return tuple(thing for thing in things if test(thing))


def _phrase(words: list[str], things: Things, size: int) -> Things:
    """A phrase with perhaps a place, order or pose: "second dog from left", "big red car", "man waving"."""
    if words[-2:-1] == ["from"]:
        start = 0 if words[0] in ORDINALS else len(words) - 3
        group = _phrase(words[1:-2] if start == 0 else words[:-3], things, size)
        order = sorted(group, key=_x, reverse=words[-1] == "right")
        number = ORDINALS[words[start]]
        return tuple(order[number - 1 : number])
    for table, pick in ((POSE_SUFFIXES, _posed), (SUFFIXES, _placed)):
        for suffix in _endings(words, table, last=True):
            return pick(_phrase(words[: -len(suffix.split())], things, size), table[suffix], size)
    for table, pick in ((POSE_PREFIXES, _posed), (PREFIXES, _placed)):
        for prefix in _endings(words, table, last=False):
            return pick(_phrase(words[len(prefix.split()) :], things, size), table[prefix], size)
    return _attributed(words, things)


def _endings(words: list[str], phrases: Iterable[str], last: bool) -> list[str]:
    """The longest of the phrases at the end (or start) of the words, in a list; empty if there is none."""
    text = " " + " ".join(words) + " "
    fits = [phrase for phrase in phrases if (text.endswith if last else text.startswith)(f" {phrase} ")]
    return sorted(fits, key=len)[-1:] if len(words) > 1 else []


def _posed(things: Things, pose: str, size: int) -> Things:
    return _where(things, lambda thing: pose in (thing.pose, thing.facing))


def _placed(things: Things, place: str, size: int) -> Things:
    if place.endswith("half"):
        return _where(things, lambda thing: (_x(thing) < size) == (place == "left half"))
    if place == "middle":
        order, middle = sorted(things, key=_x), len(things) // 2
        return tuple(order[middle : middle + 1]) if len(things) % 2 else ()
    sign = -1 if place in ("left", "top", "far", "small") else 1
    measures: dict[str, Callable[[StreetObject], float]] = {
        "left": _x,
        "right": _x,
        "top": _y,
        "bottom": _y,
        "near": lambda thing: thing.box[3],
        "far": lambda thing: thing.box[3],
        "big": _area,
        "small": _area,
    }
    best = max(sign * measures[place](thing) for thing in things)
    return _where(things, lambda thing: sign * measures[place](thing) == best)


def _attributed(words: list[str], things: Things) -> Things:
    """A noun with perhaps a colour or a part: "red car", "woman in blue", "man with a hat", "red shirt"."""
    for link in LINKS:
        before, found, after = " ".join(words).partition(f" {link} ")
        if found:
            return _linked(_attributed(before.split(), things), after.split())
    if words[-3:-1] == ["that", "is"]:
        return _where(_attributed(words[:-3], things), lambda thing: thing.colour == COLOURS[words[-1]])
    if words[0] not in COLOURS:
        return _named(" ".join(words), things)
    if len(words) > 1 and words[1] in PARTS:
        people = _attributed(words[2:] or ["person"], things)
        return _where(people, lambda thing: _has(thing, words[1], words[0]))
    group = _attributed(words[2:] if words[1] == "colored" else words[1:], things)
    return _where(group, lambda thing: thing.colour == COLOURS[words[0]])


def _linked(group: Things, words: list[str]) -> Things:
    """What comes after "in", "with" …: a colour, a part, or a part of a colour."""
    if len(words) == 1 and words[0] in COLOURS:
        return _where(group, lambda thing: _colour(thing, "shirt") == COLOURS[words[0]])
    colour, part = words if len(words) == 2 else ("", words[0])
    return _where(group, lambda thing: _has(thing, part, colour))


def _named(noun: str, things: Things) -> Things:
    if noun not in NOUNS:
        raise ValueError(f"not understood: {noun!r}")
    return _where(things, lambda thing: thing.category in NOUNS[noun].split())


def _colour(thing: StreetObject, part: str) -> str | None:
    return thing.colour if part == "shirt" else dict(thing.parts).get(part)


def _has(thing: StreetObject, word: str, colour: str) -> bool:
    """Whether the thing has the part, in the colour where one is given ("cap" on a person is a hat)."""
    part = "hat" if word == "cap" and thing.category != "hydrant" else PARTS[word]
    wanted = "orange" if part == "hair" and colour == "red" else COLOURS.get(colour)
    return _colour(thing, part) == wanted if colour else _colour(thing, part) is not None


def _x(thing: StreetObject) -> float:
    """Twice the centre."""
    return thing.box[0] + thing.box[2]


def _y(thing: StreetObject) -> float:
    return thing.box[1] + thing.box[3]


def _area(thing: StreetObject) -> float:
    return (thing.box[2] - thing.box[0]) * (thing.box[3] - thing.box[1])


def _gap(one: StreetObject, two: StreetObject, axis: int) -> float:
    """Distance of the boxes along an axis (0: x, 1: y); negative when they overlap."""
    return max(one.box[axis], two.box[axis]) - min(one.box[axis + 2], two.box[axis + 2])


def _touching(one: StreetObject, two: StreetObject) -> bool:
    return _gap(one, two, 0) < 0 and _gap(one, two, 1) < 0


RELATION_TESTS: dict[str, Callable[[StreetObject, StreetObject, int], bool]] = {
    "left": lambda one, two, size: _x(one) < _x(two),
    "right": lambda one, two, size: _x(one) > _x(two),
    "front": lambda one, two, size: one.depth > two.depth and _touching(one, two),
    "behind": lambda one, two, size: one.depth < two.depth and _touching(one, two),
    "beside": lambda one, two, size: _gap(one, two, 0) < 0.15 * size and _gap(one, two, 1) < 0.15 * size,
    "on": lambda one, two, size: one.on == two.id,
    "above": lambda one, two, size: (
        one.box[3] < two.box[3] and _gap(one, two, 0) < 0 and _gap(one, two, 1) > -0.1 * size
    ),
}
