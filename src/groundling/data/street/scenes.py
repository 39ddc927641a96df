"""A street scene as a value: which objects stand where, drawn from (seed, index) alone."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from groundling.data.street.figures import Look, extent
from groundling.data.street.props import figure
from groundling.data.street.words import ALL, CATEGORIES, PEOPLE

Box = tuple[float, float, float, float]
MAX_COVER = 0.40  # largest share of an object's box that nearer boxes may cover
CLIP = 0.12  # largest share of an object's width that may lie outside the picture
SUPPORTS = {
    "car": ("cat", "bird"),
    "bus": ("bird", "cat"),
    "truck": ("bird", "cat"),
    "mailbox": ("bird", "cat"),
    "bench": (*PEOPLE, *PEOPLE, "cat", "bird", "dog"),
}


@dataclass(frozen=True)
class StreetObject:
    """One drawn object: `frame` is its full extent, `box` what is in the picture of it, both xyxy pixels.

    `depth` goes from 0 (far) to 1 (near). For people `colour` is the colour of the shirt.
    """

    id: int
    category: str
    colour: str
    parts: tuple[tuple[str, str], ...]
    pose: str  # standing, sitting, flying, waving or ""
    facing: str  # left, right or "" for front views
    frame: Box
    box: Box
    depth: float
    variant: int
    on: int | None = None  # id of the object it stands or sits on

    @property
    def look(self) -> Look:
        """What its figure is drawn from."""
        return Look(self.category, self.colour, self.parts, self.pose, self.variant)

    @property
    def area(self) -> float:
        """Square pixels of the box."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])

    @property
    def attributes(self) -> tuple[str, ...]:
        """Short words for a detector's attribute head: `red`, `shirt:blue`, `facing:left`, `pose:sitting`."""
        words = [self.colour, *(f"{part}:{colour}" for part, colour in self.parts)]
        words += [f"shirt:{self.colour}"] * (self.category in PEOPLE)
        words += [f"facing:{self.facing}"] * bool(self.facing) + [f"pose:{self.pose}"] * bool(self.pose)
        return tuple(words)


@dataclass(frozen=True)
class Scene:
    """The objects of one square picture of `size` pixels, far to near (the order of drawing)."""

    seed: int
    index: int
    size: int
    horizon: float  # share of the height
    objects: tuple[StreetObject, ...]


def scene(seed: int, index: int, size: int = 192) -> Scene:
    """The scene number `index` of a seed: 3 to 8 objects, most of them in groups of the same category."""
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index must be 0 or more, got seed={seed} index={index}")
    if not 64 <= size <= 1024:
        raise ValueError(f"size must be 64 to 1024 pixels, got {size}")
    rng = random.Random(f"street:{seed}:{index}")
    while True:
        horizon = rng.uniform(0.34, 0.5)
        objects = _populate(rng, horizon, size)
        if len(objects) >= 3:
            order = sorted(objects, key=lambda thing: thing.depth)
            return Scene(seed, index, size, horizon, tuple(order))


def _wanted(rng: random.Random) -> list[str]:
    """The categories of a scene: one or two groups, and some loners."""
    names = list(CATEGORIES)
    weights = [CATEGORIES[name].weight for name in names]
    picks = rng.choices(names, weights, k=5)
    groups = [picks[0]] * rng.choice((2, 3, 3, 4)) + [picks[1]] * rng.choice((1, 2, 2, 3))
    return (groups + picks[2:])[: rng.choice((4, 5, 5, 6, 6, 7, 8))]


def _populate(rng: random.Random, horizon: float, size: int) -> list[StreetObject]:
    objects: list[StreetObject] = []
    for number, category in enumerate(_wanted(rng), 1):
        for _ in range(30):
            new = _place(rng, _dress(rng, number, category), objects, horizon, size)
            if new is not None and _visible([*objects, new]):
                objects.append(new)
                break
    for support in [thing for thing in objects if thing.category in SUPPORTS and rng.random() < 0.6]:
        new = _top(rng, 100 + support.id, support, size)
        if len(objects) < 8 and _inside(new, size) and _visible([*objects, new]):
            objects.append(new)
    return objects


def _dress(rng: random.Random, number: int, category: str) -> StreetObject:
    """An object with its colours and pose, not yet placed."""
    kind = CATEGORIES[category]
    colour = rng.choice(kind.colours)
    parts = []
    for part, colours in kind.parts.items():
        parts.append((part, rng.choice([name for name in colours if name != colour])))
    for part, share in kind.extras.items():
        if rng.random() < share:
            parts.append((part, rng.choice([name for name in ALL if name != colour])))
    names = dict(parts)
    if "hat" in names or "umbrella" in names:
        names.pop("umbrella" if "hat" in names else "", None)
    pose = rng.choices(kind.poses, (3, 2))[0] if kind.poses != ("standing",) and len(kind.poses) == 2 else ""
    if category in PEOPLE:
        pose = "waving" if "umbrella" not in names and rng.random() < 0.22 else "standing"
    facing = rng.choice(("left", "right")) if kind.faces else ""
    nowhere = (0.0, 0.0, 0.0, 0.0)
    return StreetObject(
        number,
        category,
        colour,
        tuple(names.items()),
        pose,
        facing,
        nowhere,
        nowhere,
        0.0,
        rng.randrange(1000),
    )


def _size(thing: StreetObject, scale: float, size: int) -> tuple[float, float]:
    """Width and height in pixels of the figure at a scale."""
    x1, y1, x2, y2 = extent(figure(thing.look))
    height = CATEGORIES[thing.category].height * scale * size
    if thing.category in PEOPLE:  # a hat or an umbrella adds to the height, it does not shrink the person
        height *= (y2 - y1) / (78 if thing.category in ("boy", "girl") else 98)
    return height * (x2 - x1) / (y2 - y1), height


def _place(
    rng: random.Random, thing: StreetObject, others: list[StreetObject], horizon: float, size: int
) -> StreetObject | None:
    """The object somewhere on the ground (or in the sky); sometimes just before another object."""
    depth = rng.random()
    factor = rng.choice((0.78, 1.0, 1.0, 1.28)) * rng.uniform(0.94, 1.06)
    x = rng.uniform(0.04, 0.96)
    if others and rng.random() < 0.25:
        anchor = rng.choice(others)
        x = ((anchor.frame[0] + anchor.frame[2]) / 2 + rng.uniform(-0.1, 0.1) * size) / size
        depth = min(1.0, anchor.depth + rng.uniform(0.2, 0.5))
    width, height = _size(thing, (0.62 + 0.38 * depth) * factor, size)
    foot = (horizon + 0.08 + (0.97 - horizon - 0.08) * depth) * size
    if CATEGORIES[thing.category].sky or thing.pose == "flying":
        foot, depth = rng.uniform(0.02, 0.2) * size + height, rng.uniform(0.0, 0.05)
    left = x * size - width / 2
    placed = _framed(thing, (left, foot - height, left + width, foot), depth, size)
    return placed if _inside(placed, size) else None


def _top(rng: random.Random, number: int, support: StreetObject, size: int) -> StreetObject:
    """An animal on top of a vehicle or mailbox, or somebody sitting on a bench."""
    category = rng.choice(SUPPORTS[support.category])
    thing = _dress(rng, number, category)
    parts = tuple((part, colour) for part, colour in thing.parts if part != "umbrella")
    pose = "sitting" if category in (*PEOPLE, "cat", "dog") else "standing"
    thing = replace(thing, parts=parts, pose=pose, on=support.id)
    spot, top = {
        "car": (0.45, 0.04),
        "bus": (0.4, 0.02),
        "truck": (0.3, 0.02),
        "mailbox": (0.4, 0.14),
        "bench": (rng.uniform(0.25, 0.75), 0.62),
    }[support.category]
    x1, y1, x2, y2 = support.frame
    scale = 0.62 + 0.38 * support.depth
    width, height = _size(thing, scale * (0.8 if category in PEOPLE else 0.85), size)
    foot = y1 + (y2 - y1) * (1.02 if category in PEOPLE else top)
    middle = x1 + (x2 - x1) * (1 - spot if support.facing == "left" else spot)
    return _framed(
        thing, (middle - width / 2, foot - height, middle + width / 2, foot), support.depth + 1e-4, size
    )


def _framed(thing: StreetObject, frame: Box, depth: float, size: int) -> StreetObject:
    x1, y1, x2, y2 = (round(value, 2) for value in frame)
    box = max(0.0, x1), max(0.0, y1), min(float(size), x2), min(float(size), y2)
    return replace(thing, frame=(x1, y1, x2, y2), box=box, depth=round(depth, 4))


def _inside(thing: StreetObject, size: int) -> bool:
    """Nearly all of the object is in the picture, and it is neither tiny nor huge."""
    x1, y1, x2, y2 = thing.frame
    out = max(-x1, x2 - size) / (x2 - x1), max(-y1, y2 - size) / (y2 - y1)
    wide, high = thing.box[2] - thing.box[0], thing.box[3] - thing.box[1]
    return max(out) <= CLIP and min(wide, high) >= 0.11 * size and max(wide, high) <= 0.75 * size


def cover(near: Box, far: Box) -> float:
    """Share of the far box that the near box hides."""
    wide = min(near[2], far[2]) - max(near[0], far[0])
    high = min(near[3], far[3]) - max(near[1], far[1])
    return wide * high / ((far[2] - far[0]) * (far[3] - far[1])) if wide > 0 and high > 0 else 0.0


def _visible(objects: list[StreetObject]) -> bool:
    """No object is covered by more than MAX_COVER in all."""
    for far in objects:
        covers = [cover(near.box, far.box) for near in objects if near.depth > far.depth]
        limit = MAX_COVER + 0.1 * any(near.on == far.id for near in objects)
        if sum(covers) > limit:
            return False
    return True
