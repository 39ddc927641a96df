"""The words of the street: colours, categories and their parts, nouns and what they denote, wordings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (214, 38, 38), "green": (44, 160, 62), "blue": (38, 88, 216), "yellow": (248, 214, 36),
    "orange": (244, 130, 22), "purple": (130, 52, 180), "black": (34, 34, 38), "white": (246, 246, 244),
    "brown": (120, 72, 38), "pink": (248, 138, 186), "gray": (142, 145, 150),
}  # fmt: skip
ALL = tuple(COLOURS)
FUR = ("brown", "black", "white", "gray", "orange")
HAIR = ("black", "brown", "yellow", "orange")


@dataclass(frozen=True)
class Category:
    """What a category looks like: its height (share of the picture, when near), its colours and parts."""

    height: float
    colours: tuple[str, ...]
    parts: Mapping[str, tuple[str, ...]]  # always there
    extras: Mapping[str, float]  # part -> how often it is there (any colour)
    poses: tuple[str, ...] = ("standing",)
    supercategory: str = "thing"
    sky: bool = False
    faces: bool = False  # has a left-facing and a right-facing side
    weight: float = 1.0


def _person(height: float, lower: str, weight: float) -> Category:
    extras = {"hat": 0.3, "bag": 0.25, "umbrella": 0.15}
    return Category(
        height, ALL, {lower: ALL, "hair": HAIR}, extras, ("standing", "waving"), "person", weight=weight
    )


CATEGORIES: Mapping[str, Category] = {
    "man": _person(0.58, "pants", 2.0),
    "woman": _person(0.56, "skirt", 2.0),
    "boy": _person(0.44, "shorts", 1.4),
    "girl": _person(0.44, "skirt", 1.4),
    "dog": Category(
        0.30, FUR, {}, {"collar": 0.5}, ("standing", "sitting"), "animal", faces=True, weight=1.6
    ),
    "cat": Category(
        0.28, FUR, {}, {"collar": 0.3}, ("standing", "sitting"), "animal", faces=True, weight=1.3
    ),
    "bird": Category(0.21, ALL, {"wing": ALL}, {}, ("standing", "flying"), "animal", faces=True, weight=1.2),
    "car": Category(0.25, ALL, {"roof": ALL}, {}, (), "vehicle", faces=True, weight=1.8),
    "bus": Category(0.33, ALL, {"stripe": ALL}, {}, (), "vehicle", faces=True),
    "truck": Category(0.31, ALL, {"cargo": ALL}, {}, (), "vehicle", faces=True, weight=1.1),
    "bicycle": Category(0.31, ALL, {}, {"basket": 0.5}, (), "vehicle", faces=True),
    "tree": Category(0.62, ("green", "orange", "yellow", "red", "pink", "purple"), {}, {}, (), "plant"),
    "house": Category(0.52, ALL, {"roof": ALL, "door": ALL}, {}, (), "building", weight=1.2),
    "bench": Category(0.26, ALL, {}, {}, (), "furniture"),
    "lamp": Category(0.62, ALL, {}, {}, (), "furniture", weight=0.8),
    "hydrant": Category(0.29, ALL, {"cap": ALL}, {}, (), "furniture", weight=0.8),
    "ball": Category(0.19, ALL, {"stripe": ALL}, {}, (), "toy"),
    "sign": Category(0.46, ALL, {}, {}, (), "furniture", weight=0.8),
    "mailbox": Category(0.36, ALL, {"flag": ALL}, {}, (), "furniture", faces=True, weight=0.8),
    "balloon": Category(0.30, ALL, {}, {}, (), "toy", sky=True, weight=0.8),
}
CATEGORY_IDS: Mapping[str, int] = {name: number for number, name in enumerate(CATEGORIES, 1)}
PEOPLE = ("man", "woman", "boy", "girl")
CLOTHES = ("shirt", "pants", "skirt", "shorts")  # what "in red" may mean
CARRIED = ("hat", "bag", "umbrella", "collar", "basket")  # parts that some objects of a category lack


@dataclass(frozen=True)
class Noun:
    """A word for some categories (`names`); a careful reader would look through `denotes` for its owner."""

    names: tuple[str, ...]
    denotes: frozenset[str]


def _noun(names: str, *also: str) -> Noun:
    return Noun(tuple(names.split()), frozenset((*names.split(), *also)))


NOUNS: Mapping[str, Noun] = {
    **{name: _noun(name) for name in CATEGORIES}, "guy": _noun("man", "boy"), "gentleman": _noun("man"),
    "dude": _noun("man", "boy"), "lady": _noun("woman"), "kid": _noun("boy girl"),
    "child": _noun("boy girl"), "person": _noun("man woman", "boy", "girl"), "puppy": _noun("dog"),
    "doggy": _noun("dog"), "kitty": _noun("cat"), "animal": _noun("dog cat", "bird"),
    "vehicle": _noun("car bus truck", "bicycle"), "bike": _noun("bicycle"), "building": _noun("house"),
    "lamp post": _noun("lamp"), "street light": _noun("lamp"), "fire hydrant": _noun("hydrant"),
    "traffic sign": _noun("sign"), "street sign": _noun("sign"), "mail box": _noun("mailbox"),
    "automobile": _noun("car"), "lorry": _noun("truck"),
}  # fmt: skip
SYNONYMS: Mapping[str, tuple[tuple[str, float], ...]] = {
    name: tuple(
        (word, 4.0 if word == name else 0.5 if word in ("animal", "vehicle", "dude", "lorry") else 1.0)
        for word, noun in NOUNS.items()
        if name in noun.names
    )
    for name in CATEGORIES
}

PART_WORDS: Mapping[str, tuple[str, ...]] = {
    "shirt": ("shirt", "shirt", "t-shirt"), "pants": ("pants", "pants", "trousers"), "skirt": ("skirt",),
    "shorts": ("shorts",), "hat": ("hat", "hat", "cap"), "bag": ("bag", "bag", "purse"),
    "umbrella": ("umbrella",), "hair": ("hair",), "collar": ("collar",), "wing": ("wing", "wings"),
    "roof": ("roof",), "stripe": ("stripe",), "cargo": ("cargo", "load"), "basket": ("basket",),
    "door": ("door",), "cap": ("cap",), "flag": ("flag",),
}  # fmt: skip
PLURAL = frozenset({"pants", "trousers", "shorts", "hair", "wings", "cargo"})  # words that take no "a"
HAIR_WORDS: Mapping[str, tuple[str, ...]] = {
    "black": ("black",),
    "brown": ("brown",),
    "yellow": ("blond", "blonde", "yellow"),
    "orange": ("red", "orange"),
}
COLOUR_WORDS: Mapping[str, tuple[str, ...]] = {
    name: (name,) if name != "gray" else ("gray", "grey") for name in ALL
}
ORDINALS: Mapping[int, tuple[str, ...]] = {2: ("second", "2nd"), 3: ("third", "3rd"), 4: ("fourth", "4th")}

# Wordings: {b} is the described thing, {c} a colour, {p} a part, {n} an ordinal, {r} the other of a relation.
COLOUR_FORMS = ("{c} {b}", "{c} {b}", "{c} {b}", "{c} {b}", "{b} that is {c}", "{c} colored {b}")
WEAR_FORMS = ("{b} in {c}", "{b} in {c}", "{b} wearing {c}", "{b} dressed in {c}")
PART_FORMS: Mapping[str, tuple[str, ...]] = {
    "clothes": ("{b} in a {c} {p}", "{b} in {c} {p}", "{b} in the {c} {p}", "{b} wearing a {c} {p}",
                "{b} with a {c} {p}", "{c} {p} {b}", "{b} with {c} {p}"),
    "hat": ("{b} in a {c} {p}", "{b} wearing a {c} {p}", "{b} with the {c} {p}", "{c} {p} {b}",
            "{b} with {c} {p}"),
    "held": ("{b} with a {c} {p}", "{b} with the {c} {p}", "{b} holding a {c} {p}", "{b} carrying a {c} {p}"),
    "other": ("{b} with a {c} {p}", "{b} with the {c} {p}", "{b} with {c} {p}", "{b} that has a {c} {p}"),
}  # fmt: skip
POSE_FORMS: Mapping[str, tuple[str, ...]] = {
    "sitting": ("sitting {b}", "{b} sitting", "{b} that is sitting", "seated {b}"),
    "standing": ("standing {b}", "{b} standing", "{b} standing up"),
    "flying": ("flying {b}", "{b} flying", "{b} in the air", "{b} that is flying"),
    "waving": ("waving {b}", "{b} waving", "{b} with arm raised", "{b} with arm up", "{b} with a raised arm"),
    "left": ("{b} facing left", "{b} facing left", "{b} facing the left"),
    "right": ("{b} facing right", "{b} facing right", "{b} facing the right"),
}
EXTREME_FORMS: Mapping[str, tuple[str, ...]] = {
    "left": ("left {b}", "leftmost {b}", "far left {b}", "{b} on the far left", "{b} furthest left",
             "left most {b}"),
    "right": ("right {b}", "rightmost {b}", "far right {b}", "{b} on the far right", "{b} furthest right",
              "right most {b}"),
    "top": ("top {b}", "upper {b}", "{b} at the top", "highest {b}"),
    "bottom": ("bottom {b}", "lower {b}", "{b} at the bottom", "lowest {b}"),
    "near": ("closest {b}", "nearest {b}", "{b} in the foreground", "{b} closest to us", "front {b}"),
    "far": ("farthest {b}", "{b} in the background", "{b} in the back", "{b} farthest away", "back {b}"),
    "big": ("big {b}", "biggest {b}", "largest {b}", "bigger {b}", "large {b}"),
    "small": ("small {b}", "smallest {b}", "smaller {b}", "little {b}", "tiniest {b}"),
}  # fmt: skip
SIDE_FORMS: Mapping[str, tuple[str, ...]] = {
    "left": ("{b} on the left", "{b} on left", "{b} at left", "{b} on the left side", "{b} to the left"),
    "right": ("{b} on the right", "{b} on right", "{b} at right", "{b} on the right side",
              "{b} to the right"),
}  # fmt: skip
ORDER_FORMS: Mapping[str, tuple[str, ...]] = {
    "left": ("{n} {b} from the left", "{n} {b} from left", "{b} {n} from the left", "{b} {n} from left"),
    "right": ("{n} {b} from the right", "{n} {b} from right", "{b} {n} from the right", "{b} {n} from right"),
}
MIDDLE_FORMS = ("middle {b}", "{b} in the middle", "center {b}", "{b} in the center", "{b} in middle")
RELATION_FORMS: Mapping[str, tuple[str, ...]] = {
    "left": ("{b} left of {r}", "{b} to the left of {r}", "{b} on the left of {r}",
             "{b} on left side of {r}"),
    "right": ("{b} right of {r}", "{b} to the right of {r}", "{b} on the right of {r}",
              "{b} on right side of {r}"),
    "front": ("{b} in front of {r}",),
    "behind": ("{b} behind {r}", "{b} in back of {r}"),
    "beside": ("{b} next to {r}", "{b} beside {r}", "{b} by {r}", "{b} near {r}"),
    "on": ("{b} on {r}", "{b} on top of {r}", "{b} sitting on {r}"),
    "above": ("{b} above {r}", "{b} over {r}"),
}  # fmt: skip


def _all_words() -> tuple[str, ...]:
    rows: list[tuple[str, ...]] = [tuple(NOUNS), COLOUR_FORMS, WEAR_FORMS, MIDDLE_FORMS, ("the", "a", "an")]
    rows += ORDINALS.values()
    for table in (PART_WORDS, HAIR_WORDS, COLOUR_WORDS, PART_FORMS, POSE_FORMS, EXTREME_FORMS, SIDE_FORMS):
        rows += table.values()
    for table in (ORDER_FORMS, RELATION_FORMS):
        rows += table.values()
    return tuple(sorted({word for row in rows for text in row for word in text.split() if "{" not in word}))


WORDS: tuple[str, ...] = _all_words()
