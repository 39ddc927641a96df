"""How each category is drawn: a figure is a list of filled shapes in its own units, facing right."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from groundling.data.street.words import COLOURS

Colour = tuple[int, int, int]
Build = tuple[
    float, float, float, float, float
]  # head radius, then heights of neck, hip, foot, then half width
Point = tuple[float, float]
SKINS: tuple[Colour, ...] = ((250, 212, 178), (226, 172, 128), (176, 122, 82), (120, 80, 54))
GLASS: Colour = (176, 216, 240)
DARK: Colour = (38, 38, 42)
STEEL: Colour = (168, 172, 178)
WOOD: Colour = (118, 82, 52)
LIGHT: Colour = (255, 236, 150)
MAN: Build = (9, 20, 53, 98, 13.5)
WOMAN: Build = (9, 20, 53, 98, 10.5)
CHILD: Build = (11.5, 24, 50, 78, 10.5)


@dataclass(frozen=True)
class Shape:
    """One filled polygon or oval (two corners); an oval with `rim` > 0 is a ring of that thickness."""

    points: tuple[Point, ...]
    fill: Colour
    oval: bool = False
    rim: float = 0.0


@dataclass(frozen=True)
class Look:
    """What a figure is drawn from."""

    category: str
    colour: str
    parts: tuple[tuple[str, str], ...]
    pose: str
    variant: int

    def paint(self, name: str) -> Colour:
        """The shade of a named colour on this object: the pure colour, a little off."""
        rng = random.Random(f"{name}:{self.variant}")
        light = rng.randint(-12, 12)
        red, green, blue = (min(255, max(0, value + light + rng.randint(-4, 4))) for value in COLOURS[name])
        return red, green, blue

    def part(self, name: str) -> Colour | None:
        """The shade of a part; None where it is not there."""
        return next((self.paint(colour) for part, colour in self.parts if part == name), None)

    @property
    def main(self) -> Colour:
        """The shade of the whole (of people: of the shirt)."""
        return self.paint(self.colour)


def poly(fill: Colour, *numbers: float) -> Shape:
    """A polygon from x, y, x, y, …."""
    return Shape(tuple(zip(numbers[::2], numbers[1::2], strict=True)), fill)


def rect(fill: Colour, x1: float, y1: float, x2: float, y2: float) -> Shape:
    """A rectangle from two corners."""
    return poly(fill, x1, y1, x2, y1, x2, y2, x1, y2)


def oval(fill: Colour, x1: float, y1: float, x2: float, y2: float, rim: float = 0.0) -> Shape:
    """An oval in the rectangle of two corners."""
    return Shape(((x1, y1), (x2, y2)), fill, True, rim)


def disc(fill: Colour, x: float, y: float, radius: float, rim: float = 0.0) -> Shape:
    """A circle."""
    return oval(fill, x - radius, y - radius, x + radius, y + radius, rim)


def bar(fill: Colour, x1: float, y1: float, x2: float, y2: float, width: float) -> Shape:
    """A thick line."""
    length = math.hypot(x2 - x1, y2 - y1)
    dx, dy = (y2 - y1) / length * width / 2, (x1 - x2) / length * width / 2
    return poly(fill, x1 + dx, y1 + dy, x2 + dx, y2 + dy, x2 - dx, y2 - dy, x1 - dx, y1 - dy)


def shade(colour: Colour, factor: float) -> Colour:
    """The colour darker (factor < 1) or lighter (> 1)."""
    red, green, blue = (int(min(255, value * factor)) for value in colour)
    return red, green, blue


def person(look: Look) -> list[Shape]:
    """A front view: children have big heads and short legs, men a beard, women long hair, girls pigtails."""
    child, female = look.category in ("boy", "girl"), look.category in ("woman", "girl")
    radius, neck, hip, foot, half = CHILD if child else WOMAN if female else MAN
    seated = look.pose == "sitting"
    foot = hip + (foot - hip) * 0.62 if seated else foot
    skin = SKINS[look.variant % len(SKINS)]
    head = neck - radius + 1
    lower = look.part("pants") or look.part("shorts") or look.part("skirt") or DARK
    shapes = _umbrella(look, half, neck, hip)
    shapes += _hair_behind(look, radius, head)
    shapes += _legs(look, lower, skin, hip, foot, half, seated)
    shapes.append(
        poly(
            look.main,
            -half,
            neck + 3,
            -half + 4,
            neck,
            half - 4,
            neck,
            half,
            neck + 3,
            half - 2,
            hip + 1,
            -half + 2,
            hip + 1,
        )
    )
    shapes += _arms(look, skin, neck, hip, half)
    shapes += _head(look, skin, radius, head)
    bag = look.part("bag")
    if bag:
        shapes += [
            bar(shade(bag, 0.6), -half - 3, hip - 6, -half - 3, hip + 4, 2),
            rect(bag, -half - 11, hip + 2, -half + 3, hip + 16),
        ]
    return shapes


def _umbrella(look: Look, half: float, neck: float, hip: float) -> list[Shape]:
    colour = look.part("umbrella")
    if not colour:
        return []
    x, top = half + 4, -26.0
    arc = [
        (x + 27 * math.cos(a), -2 + 24 * math.sin(a)) for a in (math.pi + math.pi * i / 10 for i in range(11))
    ]
    canopy = Shape((*arc, (x + 18, -6), (x + 9, -2), (x, -6), (x - 9, -2), (x - 18, -6)), colour)
    return [bar(DARK, x, top, x, hip - 4, 2.4), canopy, bar(shade(colour, 0.75), x, -25, x, -6, 1.6)]


def _hair_behind(look: Look, radius: float, head: float) -> list[Shape]:
    hair = look.part("hair") or DARK
    if look.category == "woman":
        return [
            poly(
                hair,
                -radius - 2,
                head - 3,
                radius + 2,
                head - 3,
                radius + 4,
                head + 20,
                -radius - 4,
                head + 20,
            )
        ]
    if look.category == "girl":
        return [
            oval(hair, -radius - 8, head - 5, -radius + 1, head + 12),
            oval(hair, radius - 1, head - 5, radius + 8, head + 12),
        ]
    return []


def _legs(
    look: Look, lower: Colour, skin: Colour, hip: float, foot: float, half: float, seated: bool
) -> list[Shape]:
    spread = half * (0.72 if seated else 0.5)
    bare = look.category != "man"
    shapes = [rect(skin if bare else lower, s * spread - 4, hip, s * spread + 4, foot - 3) for s in (-1, 1)]
    shapes += [oval(DARK, s * spread - 6 + s, foot - 5, s * spread + 6 + s, foot) for s in (-1, 1)]
    if look.category in ("woman", "girl"):
        end = hip + (foot - hip) * 0.55
        shapes.append(poly(lower, -half + 2, hip - 1, half - 2, hip - 1, half + 6, end, -half - 6, end))
    elif look.category == "boy":
        shapes.append(rect(lower, -half + 1, hip - 1, half - 1, hip + (foot - hip) * 0.45))
    else:
        shapes.append(rect(lower, -half + 2, hip - 1, half - 2, hip + 8))
    if seated:
        shapes.append(rect(shade(lower, 0.85), -half - 1, hip + 2, half + 1, hip + 10))
    return shapes


def _arms(look: Look, skin: Colour, neck: float, hip: float, half: float) -> list[Shape]:
    sleeve, low = shade(look.main, 0.86), hip - 3
    shapes = [bar(sleeve, -half + 1.5, neck + 3, -half - 3, low, 6), disc(skin, -half - 3, low + 1, 3.4)]
    if look.pose == "waving":
        return [
            *shapes,
            bar(sleeve, half - 1.5, neck + 4, half + 13, neck - 16, 6),
            disc(skin, half + 14, neck - 18, 4),
        ]
    if look.part("umbrella"):
        return [
            *shapes,
            bar(sleeve, half - 1.5, neck + 4, half + 4, neck + 18, 6),
            disc(skin, half + 4, neck + 18, 3.4),
        ]
    return [*shapes, bar(sleeve, half - 1.5, neck + 3, half + 3, low, 6), disc(skin, half + 3, low + 1, 3.4)]


def _head(look: Look, skin: Colour, radius: float, head: float) -> list[Shape]:
    hair, hat, r = look.part("hair") or DARK, look.part("hat"), radius
    shapes = [disc(skin, 0, head, r)]
    if look.category == "man":
        beard = [(r * math.cos(a), head + r * math.sin(a)) for a in (math.pi * i / 8 for i in range(9))]
        shapes.append(Shape((*beard, (-r * 0.5, head + r * 0.35), (r * 0.5, head + r * 0.35)), hair))
    arc = [
        (r * 1.08 * math.cos(a), head + r * 1.08 * math.sin(a))
        for a in (math.pi + math.pi * i / 8 for i in range(9))
    ]
    shapes.append(Shape((*arc, (r * 0.6, head - r * 0.45), (-r * 0.6, head - r * 0.45)), hair))
    shapes += [disc(DARK, s * r * 0.38, head - r * 0.05, r * 0.13) for s in (-1, 1)]
    smile = [
        (r * 0.42 * math.cos(a), head + r * 0.38 + r * 0.3 * math.sin(a))
        for a in (math.pi * i / 6 for i in range(7))
    ]
    shapes.append(Shape((*smile, (0.0, head + r * 0.5)), (190, 50, 60)))
    if hat:
        shapes += [
            rect(hat, -r * 0.85, head - r * 1.75, r * 0.85, head - r * 0.5),
            rect(hat, -r * 1.5, head - r * 0.72, r * 1.5, head - r * 0.4),
        ]
    return shapes


def dog(look: Look) -> list[Shape]:
    """Long snout, hanging ear, tail up."""
    coat, dark, collar = look.main, shade(look.main, 0.72), look.part("collar")
    if look.pose == "sitting":
        shapes = [
            bar(coat, 12, 46, 0, 34, 5),
            poly(coat, 12, 52, 10, 40, 22, 22, 36, 22, 38, 52),
            oval(dark, 10, 36, 28, 54),
            rect(coat, 31, 30, 37, 54),
            rect(dark, 26, 34, 31, 54),
        ]
        x, y = 32.0, 12.0
    else:
        shapes = [
            bar(coat, 10, 24, 0, 8, 5),
            *(rect(dark, x, 28, x + 6, 48) for x in (14, 40)),
            *(rect(coat, x, 28, x + 6, 50) for x in (7, 34)),
            oval(coat, 4, 15, 46, 36),
            poly(coat, 34, 20, 40, 8, 50, 12, 46, 30),
        ]
        x, y = 46.0, 10.0
    if collar:
        shapes.append(bar(collar, x - 10, y + 6, x + 5, y + 13, 6.5))
    return [
        *shapes,
        oval(coat, x - 10, y - 10, x + 9, y + 9),
        oval(coat, x + 1, y - 3, x + 19, y + 8),
        oval(dark, x - 12, y - 9, x - 4, y + 11),
        disc(DARK, x + 18, y + 0.5, 2.6),
        disc((255, 255, 255), x + 3, y - 3, 2.4),
        disc((10, 10, 10), x + 3.5, y - 3, 1.5),
    ]


def cat(look: Look) -> list[Shape]:
    """Round face with two pointed ears and whiskers, long curled tail."""
    coat, dark, collar = look.main, shade(look.main, 0.72), look.part("collar")
    if look.pose == "sitting":
        shapes = [
            bar(coat, 10, 50, 1, 42, 5),
            bar(coat, 2, 44, 2, 28, 5),
            poly(coat, 10, 54, 14, 30, 24, 20, 34, 30, 38, 54),
            rect(dark, 19, 38, 23, 54),
            rect(dark, 26, 38, 30, 54),
        ]
        x, y = 24.0, 14.0
    else:
        shapes = [
            bar(coat, 8, 28, 1, 14, 5),
            bar(coat, 1, 16, 7, 1, 5),
            *(rect(dark, x, 30, x + 5, 45) for x in (13, 36)),
            *(rect(coat, x, 30, x + 5, 47) for x in (7, 30)),
            oval(coat, 4, 18, 44, 36),
        ]
        x, y = 44.0, 16.0
    if collar:
        shapes.append(oval(collar, x - 9, y + 5, x + 9, y + 16))
    shapes += [poly(coat, x + s * 11, y - 2, x + s * 10.5, y - 16, x + s * 1.5, y - 8) for s in (-1, 1)]
    shapes += [oval(coat, x - 12, y - 10, x + 12, y + 10)]
    shapes += [disc((170, 220, 90), x + s * 5, y - 1, 2.7) for s in (-1, 1)]
    shapes += [disc((10, 10, 10), x + s * 5, y - 1, 1.3) for s in (-1, 1)]
    whiskers = (210, 210, 210) if look.colour == "black" else DARK
    shapes += [
        bar(whiskers, x + s * 4, y + 4 + t, x + s * 14, y + 3 + 2 * t, 0.8) for s in (-1, 1) for t in (0, 2)
    ]
    return [*shapes, poly((236, 130, 140), x - 2, y + 3, x + 2, y + 3, x, y + 5.5)]


def bird(look: Look) -> list[Shape]:
    """Round body, coloured wing, orange beak; wings spread when flying."""
    body, wing, beak = look.main, look.part("wing") or DARK, (250, 150, 30)
    tail = poly(shade(body, 0.75), 14, 22, 0, 18, 0, 29, 15, 29)
    head = [
        disc(body, 38, 13, 9),
        poly(beak, 45, 9, 56, 14, 45, 18),
        disc((255, 255, 255), 40, 11, 2.8),
        disc(DARK, 41, 11, 1.6),
    ]
    if look.pose == "flying":
        far = poly(shade(wing, 0.75), 24, 18, 28, -6, 40, -10, 37, 17)
        return [far, tail, oval(body, 10, 12, 44, 34), *head, poly(wing, 17, 22, 6, -4, 18, -10, 33, 22)]
    legs = [bar(beak, x, 34, x, 44, 2.4) for x in (23, 31)] + [
        rect(beak, x - 2, 42.5, x + 5, 44.5) for x in (23, 31)
    ]
    return [*legs, tail, oval(body, 10, 12, 44, 38), *head, oval(wing, 12, 17, 32, 31)]


FIGURES: Mapping[str, Callable[[Look], list[Shape]]] = {
    **dict.fromkeys(("man", "woman", "boy", "girl"), person),
    "dog": dog,
    "cat": cat,
    "bird": bird,
}


def extent(shapes: Sequence[Shape]) -> tuple[float, float, float, float]:
    """The tight xyxy box of a figure in its own units."""
    xs = [x for shape in shapes for x, _ in shape.points]
    ys = [y for shape in shapes for _, y in shape.points]
    return min(xs), min(ys), max(xs), max(ys)
