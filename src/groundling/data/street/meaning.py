"""What a referring expression means: a small tree of conditions, and which objects of a scene meet it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from groundling.data.street.scenes import Scene, StreetObject
from groundling.data.street.words import CLOTHES, NOUNS, PEOPLE

LARGE_PARTS = (
    "roof",
    "stripe",
    "cargo",
    "wing",
    "cap",
)  # parts that make somebody call the whole thing by their colour
STEP = 0.06  # of the picture: positions nearer to each other than this are not told apart
BIGGER = 1.25  # ratio of areas that people see


@dataclass(frozen=True)
class Named:
    """All that the noun may denote."""

    noun: str


@dataclass(frozen=True)
class Coloured:
    """Things of a colour."""

    of: Program
    colour: str


@dataclass(frozen=True)
class Wearing:
    """People in clothes of a colour."""

    of: Program
    colour: str


@dataclass(frozen=True)
class Having:
    """Those with a part, of a colour when one is given."""

    of: Program
    part: str
    colour: str | None


@dataclass(frozen=True)
class Posed:
    """A pose (sitting, standing, flying, waving) or the side something faces (left, right)."""

    of: Program
    pose: str


@dataclass(frozen=True)
class Extreme:
    """The one farthest out: left, right, top, bottom, near, far, big or small."""

    of: Program
    which: str


@dataclass(frozen=True)
class Side:
    """Those in the left or right half."""

    of: Program
    which: str


@dataclass(frozen=True)
class Ordered:
    """The n-th from the left or right; `number` 0 is the middle one."""

    of: Program
    number: int
    side: str


@dataclass(frozen=True)
class Related:
    """Those in a relation (left, right, front, behind, beside, on, above) to one other thing."""

    of: Program
    relation: str
    to: Program


Program = Named | Coloured | Wearing | Having | Posed | Extreme | Side | Ordered | Related


@dataclass(frozen=True)
class Answer:
    """Ids of the objects that everybody would agree on, and of those that somebody might mean."""

    sure: frozenset[int]
    maybe: frozenset[int]

    @property
    def only(self) -> int | None:
        """The one object that is meant, where there is no doubt."""
        return next(iter(self.sure)) if len(self.sure) == 1 and self.sure == self.maybe else None


def answer(scene: Scene, program: Program) -> Answer:
    """Which objects of the scene the program means."""
    if isinstance(program, Named):
        return _split(scene.objects, lambda thing: thing.category in NOUNS[program.noun].denotes)
    base = answer(scene, program.of)
    things = [thing for thing in scene.objects if thing.id in base.maybe]
    if base.sure != base.maybe:
        return Answer(frozenset(), base.maybe)
    match program:
        case Coloured() | Wearing() | Having() | Posed():
            return _attribute(program, things)
        case Extreme():
            return _extreme(program.which, things, scene.size)
        case Side():
            sign = 1 if program.which == "left" else -1
            ahead = {thing.id: sign * (0.5 - _x(thing) / scene.size) for thing in things}
            return _split(things, lambda thing: ahead[thing.id] > 0.05, lambda thing: ahead[thing.id] > -0.05)
        case Ordered():
            return _ordered(program, things, scene.size)
        case Related():
            return _related(program, things, scene)


def _split(
    things: tuple[StreetObject, ...] | list[StreetObject],
    sure: Callable[[StreetObject], bool],
    maybe: Callable[[StreetObject], bool] | None = None,
) -> Answer:
    certain = frozenset(thing.id for thing in things if sure(thing))
    return Answer(certain, certain | {thing.id for thing in things if (maybe or sure)(thing)})


def _x(thing: StreetObject) -> float:
    return (thing.box[0] + thing.box[2]) / 2


def _y(thing: StreetObject) -> float:
    return (thing.box[1] + thing.box[3]) / 2


def part_colour(thing: StreetObject, part: str) -> str | None:
    """The colour of a part, the shirt being a person's own colour."""
    return thing.colour if part == "shirt" and thing.category in PEOPLE else dict(thing.parts).get(part)


def _attribute(program: Coloured | Wearing | Having | Posed, things: list[StreetObject]) -> Answer:
    match program:
        case Coloured(colour=colour):
            return _split(
                things,
                lambda thing: thing.colour == colour,
                lambda thing: colour in {part_colour(thing, part) for part in LARGE_PARTS},
            )
        case Wearing(colour=colour):
            return _split(
                things,
                lambda thing: thing.category in PEOPLE and thing.colour == colour,
                lambda thing: colour in {part_colour(thing, part) for part in (*CLOTHES, "hat")},
            )
        case Having(part=part, colour=None):
            return _split(things, lambda thing: part_colour(thing, part) is not None)
        case Having(part=part, colour=colour):
            alike = ("pants", "shorts") if part in ("pants", "shorts") else (part,)
            return _split(
                things,
                lambda thing: part_colour(thing, part) == colour,
                lambda thing: colour in {part_colour(thing, name) for name in alike},
            )
        case Posed(pose=pose):
            return _split(things, lambda thing: pose in (thing.pose, thing.facing))


def _extreme(which: str, things: list[StreetObject], size: int) -> Answer:
    measures: dict[str, Callable[[StreetObject], float]] = {
        "left": lambda thing: -_x(thing),
        "right": _x,
        "top": lambda thing: -_y(thing),
        "bottom": _y,
        "near": lambda thing: thing.box[3],
        "far": lambda thing: -thing.box[3],
        "big": lambda thing: thing.area,
        "small": lambda thing: 1e6 / thing.area,
    }
    if (which in ("near", "far") and any(off_ground(thing) for thing in things)) or len(things) < 2:
        return Answer(frozenset(), frozenset(thing.id for thing in things))
    best = max(things, key=measures[which])
    top = measures[which](best)
    limit = top / BIGGER if which in ("big", "small") else top - STEP * size
    rivals = {thing.id for thing in things if measures[which](thing) > limit}
    return Answer(frozenset({best.id}), frozenset(rivals))


def off_ground(thing: StreetObject) -> bool:
    """Whether the height in the picture says nothing about how near it is."""
    return thing.on is not None or thing.pose == "flying" or thing.category == "balloon"


def _ordered(program: Ordered, things: list[StreetObject], size: int) -> Answer:
    order = sorted(things, key=_x, reverse=program.side == "right")
    place = program.number - 1 if program.number else len(order) // 2
    odd = program.number or len(order) % 2
    if len(order) < 3 or place >= len(order) or not odd:
        return Answer(frozenset(), frozenset(thing.id for thing in things))
    chosen = order[place]
    rivals = {thing.id for thing in order if abs(_x(thing) - _x(chosen)) < STEP * size}
    return Answer(frozenset({chosen.id}), frozenset(rivals))


def _related(program: Related, things: list[StreetObject], scene: Scene) -> Answer:
    other = answer(scene, program.to).only
    if other is None:
        return Answer(frozenset(), frozenset(thing.id for thing in things))
    anchor = next(thing for thing in scene.objects if thing.id == other)
    rest = [thing for thing in things if thing.id != other]
    sure, maybe = RELATIONS[program.relation]
    return _split(
        rest, lambda thing: sure(thing, anchor, scene.size), lambda thing: maybe(thing, anchor, scene.size)
    )


def _overlap(one: StreetObject, two: StreetObject) -> float:
    """Shared width, as a share of the narrower; negative is the gap."""
    shared = min(one.box[2], two.box[2]) - max(one.box[0], two.box[0])
    return shared / min(one.box[2] - one.box[0], two.box[2] - two.box[0])


def _gaps(one: StreetObject, two: StreetObject, size: int) -> tuple[float, float]:
    """Horizontal and vertical distance of the boxes (negative: they overlap), as shares of the picture."""
    wide = max(one.box[0], two.box[0]) - min(one.box[2], two.box[2])
    high = max(one.box[1], two.box[1]) - min(one.box[3], two.box[3])
    return wide / size, high / size


def _before(near: StreetObject, far: StreetObject, size: int) -> bool:
    """Near stands before far and hides a little of it, or nearly."""
    step = near.box[3] - far.box[3]
    grounded = not off_ground(near) and not off_ground(far)
    return (
        grounded
        and 0.03 * size < step < 0.4 * size
        and _overlap(near, far) > 0.5
        and _gaps(near, far, size)[1] < -0.02
    )


def _perhaps_before(near: StreetObject, far: StreetObject, size: int) -> bool:
    wide, high = _gaps(near, far, size)
    return near.depth > far.depth and wide < 0.05 and high < 0.1


def _beside(one: StreetObject, two: StreetObject, size: int) -> bool:
    wide, _ = _gaps(one, two, size)
    grounded = not off_ground(one) and not off_ground(two)
    return grounded and -0.04 < wide < 0.1 and abs(one.box[3] - two.box[3]) < 0.1 * size


def _perhaps_beside(one: StreetObject, two: StreetObject, size: int) -> bool:
    return max(_gaps(one, two, size)) < 0.2


def _above(one: StreetObject, two: StreetObject, size: int) -> bool:
    return (
        one.on != two.id
        and off_ground(one)
        and _overlap(one, two) > 0.5
        and _gaps(one, two, size)[1] > -0.03
        and (one.box[3] < two.box[3])
    )


Relation = Callable[[StreetObject, StreetObject, int], bool]
RELATIONS: dict[str, tuple[Relation, Relation]] = {
    "left": (
        lambda one, two, size: _x(one) < _x(two) - 0.08 * size,
        lambda one, two, size: _x(one) < _x(two) + 0.04 * size,
    ),
    "right": (
        lambda one, two, size: _x(one) > _x(two) + 0.08 * size,
        lambda one, two, size: _x(one) > _x(two) - 0.04 * size,
    ),
    "front": (_before, _perhaps_before),
    "behind": (
        lambda one, two, size: _before(two, one, size),
        lambda one, two, size: _perhaps_before(two, one, size),
    ),
    "beside": (_beside, _perhaps_beside),
    "on": (lambda one, two, size: one.on == two.id, lambda one, two, size: one.on == two.id),
    "above": (_above, lambda one, two, size: _y(one) < _y(two) and _gaps(one, two, size)[0] < 0.05),
}
