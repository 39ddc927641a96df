"""How the vehicles, buildings and furniture of the street are drawn, facing right."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from groundling.data.street.figures import (
    DARK,
    FIGURES,
    GLASS,
    LIGHT,
    STEEL,
    WOOD,
    Look,
    Shape,
    bar,
    disc,
    oval,
    poly,
    rect,
    shade,
)


def _wheels(radius: float, y: float, *centres: float) -> list[Shape]:
    return [disc(fill, x, y, r) for x in centres for fill, r in ((DARK, radius), (STEEL, radius * 0.5))]


def car(look: Look) -> list[Shape]:
    """A saloon: low body, cabin under a coloured roof."""
    body, roof = look.main, look.part("roof") or look.main
    return [
        poly(roof, 18, 20, 28, 2, 62, 2, 76, 20),
        poly(GLASS, 24, 20, 31, 9, 43, 9, 43, 20),
        poly(GLASS, 47, 20, 47, 9, 59, 9, 69, 20),
        poly(body, 0, 24, 6, 19, 78, 19, 98, 25, 100, 40, 0, 40),
        rect(shade(body, 0.8), 44, 20, 45.5, 38),
        rect(STEEL, 48, 25, 55, 27),
        rect(LIGHT, 92, 26, 99, 31),
        rect((220, 50, 50), 0, 26, 4, 31),
        *_wheels(10, 40, 22, 78),
    ]


def bus(look: Look) -> list[Shape]:
    """A long box with a row of windows and a stripe."""
    body, stripe = look.main, look.part("stripe") or look.main
    windows = [rect(GLASS, x, 7, x + 13, 22) for x in (5, 21, 37, 53)]
    return [
        poly(body, 0, 4, 4, 0, 94, 0, 100, 6, 100, 48, 0, 48),
        *windows,
        rect(stripe, 0, 27, 72, 37),
        rect(GLASS, 74, 8, 85, 44),
        rect(shade(body, 0.7), 79, 8, 80, 44),
        poly(GLASS, 89, 7, 99, 7, 99, 26, 89, 26),
        rect(LIGHT, 94, 36, 100, 42),
        *_wheels(9, 48, 20, 66),
    ]


def truck(look: Look) -> list[Shape]:
    """A cab in the truck's colour before a big cargo box in another."""
    cab, cargo = look.main, look.part("cargo") or look.main
    return [
        rect(DARK, 4, 42, 96, 48),
        rect(cargo, 0, 0, 58, 42),
        *(rect(shade(cargo, 0.82), x, 3, x + 2, 39) for x in (14, 28, 42)),
        poly(cab, 61, 10, 82, 10, 92, 26, 100, 28, 100, 46, 61, 46),
        poly(GLASS, 68, 14, 80, 14, 88, 27, 68, 27),
        rect(LIGHT, 94, 33, 100, 39),
        *_wheels(9.5, 48, 17, 40, 80),
    ]


def bicycle(look: Look) -> list[Shape]:
    """Two wheels, a thick frame, saddle, handlebar, perhaps a basket."""
    frame, basket = look.main, look.part("basket")
    shapes = [disc(DARK, x, 44, 20, 4.0) for x in (20, 76)] + [disc(STEEL, x, 44, 3) for x in (20, 76)]
    lines = (
        (20, 44, 34, 16),
        (34, 16, 66, 16),
        (66, 16, 46, 44),
        (46, 44, 34, 16),
        (20, 44, 46, 44),
        (76, 44, 64, 8),
    )
    shapes += [bar(frame, *line, 6) for line in lines]
    shapes += [oval(DARK, 24, 6, 44, 14), bar(DARK, 58, 5, 74, 5, 5)]
    return [*shapes, poly(basket, 70, 6, 94, 6, 90, 22, 74, 22)] if basket else shapes


def tree(look: Look) -> list[Shape]:
    """A round tree, or every third one a pine."""
    crown, dark = look.main, shade(look.main, 0.82)
    if look.variant % 3 == 0:
        return [
            rect(WOOD, 28, 78, 42, 100),
            poly(dark, 35, 30, 70, 84, 0, 84),
            poly(crown, 35, 15, 65, 62, 5, 62),
            poly(shade(crown, 1.12), 35, 0, 58, 38, 12, 38),
        ]
    return [
        poly(WOOD, 29, 50, 41, 50, 44, 100, 26, 100),
        oval(dark, 0, 22, 42, 64),
        oval(dark, 28, 22, 70, 64),
        oval(crown, 8, 0, 62, 50),
        oval(crown, 14, 26, 56, 66),
        oval(shade(crown, 1.12), 20, 6, 42, 24),
    ]


def house(look: Look) -> list[Shape]:
    """Walls, a gable roof, a door and two windows."""
    wall, roof, door = look.main, look.part("roof") or WOOD, look.part("door") or WOOD
    windows = [
        shape
        for x in (16, 66)
        for shape in (rect((250, 250, 250), x, 50, x + 19, 70), rect(GLASS, x + 2, 52, x + 17, 68))
    ]
    return [
        rect(shade(roof, 0.7), 70, 6, 82, 34),
        rect(wall, 8, 38, 92, 96),
        poly(roof, 0, 42, 50, 0, 100, 42),
        *windows,
        rect(door, 40, 58, 60, 96),
        disc(LIGHT, 56, 78, 2),
    ]


def bench(look: Look) -> list[Shape]:
    """A park bench seen from the front."""
    wood, dark = look.main, shade(look.main, 0.8)
    return [
        *(rect(DARK, x, 0, x + 6, 52) for x in (8, 86)),
        *(rect(wood, 0, y, 100, y + 9) for y in (3, 15)),
        poly(dark, 4, 27, 96, 27, 100, 38, 0, 38),
    ]


def lamp(look: Look) -> list[Shape]:
    """A street lamp: wide base, fat post, big lantern."""
    metal = look.main
    return [
        rect(metal, 15, 30, 23, 92),
        rect(metal, 6, 88, 32, 100),
        poly(LIGHT, 6, 8, 32, 8, 27, 32, 11, 32),
        poly(metal, 2, 10, 19, 0, 36, 10),
        rect(metal, 9, 30, 29, 35),
        rect(metal, 18, 10, 20, 31),
    ]


def hydrant(look: Look) -> list[Shape]:
    """A fire hydrant with a coloured cap."""
    body, cap = look.main, look.part("cap") or look.main
    return [
        rect(shade(body, 0.8), 0, 38, 56, 54),
        rect(body, 12, 26, 44, 92),
        disc(shade(body, 0.7), 28, 48, 10),
        disc(STEEL, 28, 48, 5),
        oval(cap, 12, 6, 44, 42),
        rect(cap, 8, 24, 48, 31),
        rect(cap, 24, 0, 32, 10),
        rect(shade(body, 0.75), 6, 88, 50, 98),
    ]


def ball(look: Look) -> list[Shape]:
    """A beach ball with a stripe."""
    return [
        disc(look.main, 50, 50, 50),
        poly(look.part("stripe") or look.main, 4, 30, 96, 30, 100, 50, 96, 68, 4, 68, 0, 50),
        oval((255, 255, 255), 26, 8, 46, 22),
    ]


def sign(look: Look) -> list[Shape]:
    """A round, square or triangular board on a post."""
    board, mark = look.main, DARK if look.colour in ("white", "yellow", "pink", "orange") else (255, 255, 255)
    post = [rect(STEEL, 22, 44, 30, 100), rect(STEEL, 14, 95, 38, 100)]
    if look.variant % 3 == 0:
        return [*post, disc(board, 26, 26, 26), rect(mark, 9, 21, 43, 31)]
    if look.variant % 3 == 1:
        return [
            *post,
            rect(board, 1, 1, 51, 51),
            poly(mark, 26, 8, 43, 26, 33, 26, 33, 43, 19, 43, 19, 26, 9, 26),
        ]
    return [*post, poly(board, 26, 0, 54, 50, -2, 50), rect(mark, 23, 16, 29, 35), disc(mark, 26, 42, 3.6)]


def mailbox(look: Look) -> list[Shape]:
    """A box with a rounded top on a post, with a flag."""
    body, flag = look.main, look.part("flag") or look.main
    return [
        rect(WOOD, 22, 50, 34, 100),
        oval(body, 0, 10, 58, 52),
        rect(body, 0, 30, 58, 62),
        rect(shade(body, 0.6), 10, 32, 48, 37),
        bar(DARK, 54, 4, 54, 32, 3),
        poly(flag, 53, 0, 72, 0, 72, 15, 53, 15),
    ]


def balloon(look: Look) -> list[Shape]:
    """A party balloon on a string."""
    skin = look.main
    return [
        bar(DARK, 30, 72, 27, 100, 1.6),
        poly(shade(skin, 0.8), 30, 66, 37, 76, 23, 76),
        oval(skin, 0, 0, 60, 72),
        oval(shade(skin, 1.3), 14, 10, 26, 28),
    ]


PROPS: Mapping[str, Callable[[Look], list[Shape]]] = {
    "car": car,
    "bus": bus,
    "truck": truck,
    "bicycle": bicycle,
    "tree": tree,
    "house": house,
    "bench": bench,
    "lamp": lamp,
    "hydrant": hydrant,
    "ball": ball,
    "sign": sign,
    "mailbox": mailbox,
    "balloon": balloon,
}


def figure(look: Look) -> list[Shape]:
    """The shapes of an object, back to front."""
    return {**FIGURES, **PROPS}[look.category](look)
