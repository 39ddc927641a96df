"""What can be asked about one thing of a scene: its colour, its pose, where it looks, its parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from groundling.data.street.expressions import hidden
from groundling.data.street.meaning import LARGE_PARTS, part_colour
from groundling.data.street.phrases import a_or_an
from groundling.data.street.scenes import Scene, StreetObject
from groundling.data.street.words import ALL, CARRIED, PEOPLE, PLURAL

# What has the colour of the whole, where another large part has a colour of its own; of a ball nothing has.
BODIES = {"car": "body", "bus": "body", "truck": "cab", "house": "walls", "bird": "body", "hydrant": "body"}
WRONG_POSES: Mapping[
    str, Mapping[str, tuple[str, ...]]
] = {  # who waves stands too, and who stands may be about to fly
    "dog": {"sitting": ("standing",), "standing": ("sitting",)},
    "cat": {"sitting": ("standing",), "standing": ("sitting",)},
    "bird": {"flying": ("standing",), "standing": ("flying",)},
    "person": {"sitting": ("standing", "waving"), "standing": ("sitting", "waving"), "waving": ("sitting",)},
}
SIDES = ("left", "right")
WORN = ("shirt", "pants", "skirt", "shorts", "hat")
HELD = ("bag", "umbrella")


@dataclass(frozen=True)
class Trait:
    """A property of a thing, its value, and what it surely is not."""

    name: str  # colour, pose, facing or a part's name: a word of `phrases.about`
    value: str
    others: tuple[str, ...]
    body: str | None = ""  # the word whose colour can be asked for; "" the whole's, None: nobody could say


def traits(scene: Scene, thing: StreetObject) -> Iterator[Trait]:
    """All that anybody could see of the thing."""
    if thing.category not in PEOPLE:
        large = {part_colour(thing, part) for part in LARGE_PARTS}
        others = tuple(name for name in ALL if name != thing.colour and name not in large)
        body = BODIES.get(thing.category) if large != {None} else ""
        yield Trait("colour", thing.colour, others, body)
    worn = [("shirt", thing.colour)] * (thing.category in PEOPLE)
    for part, colour in (*worn, *thing.parts):
        if part != "hair" and not hidden(part, thing, scene):
            yield Trait(part, colour, tuple(name for name in ALL if name != colour), part)
    poses = WRONG_POSES.get("person" if thing.category in PEOPLE else thing.category, {})
    if thing.pose in poses:
        yield Trait("pose", thing.pose, poses[thing.pose])
    if thing.facing and thing.category != "mailbox":
        yield Trait("facing", thing.facing, tuple(side for side in SIDES if side != thing.facing))


# The words around the thing's name, before and after it.
Frame = tuple[str, str]


def what(trait: Trait) -> Frame:
    """The words that ask for the value."""
    if trait.name == "pose":
        return "What is the", "doing"
    if trait.name == "facing":
        return "Which side is the", "facing"
    return (
        f"What color {_is(trait.body)} the {trait.body} of the" if trait.body else "What color is the"
    ), ""


def whether(trait: Trait, *values: str) -> Frame:
    """The words that ask whether it has the value; of two values, which."""
    text = " or ".join(values)
    if trait.name == "facing":
        return "Is the", f"facing {text}"
    part = trait.name not in ("colour", "pose")
    return (f"{_is(trait.name).capitalize()} the {trait.name} of the" if part else "Is the"), text


def predicate(trait: Trait, value: str) -> str | None:
    """The value as said of the thing itself: "wearing a red hat"; None where that would be odd."""
    if trait.name in ("colour", "pose"):
        return value
    if trait.name == "facing":
        return f"facing {value}"
    if trait.name not in (*WORN, *HELD):
        return None
    verb = "holding" if trait.name in HELD else "wearing"
    words = f"{value} {trait.name}"
    return f"{verb} {words if trait.name in PLURAL else a_or_an(words)}"


def _is(part: str | None) -> str:
    return "are" if part in ("walls", *PLURAL) and part not in CARRIED and part != "cargo" else "is"
