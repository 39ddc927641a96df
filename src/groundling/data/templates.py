"""Expressions of place made from objects with categories: "left dog", "largest cup", "dog near the bench".

Names alone teach no network where left is. Of a picture with annotated objects of categories, all expressions
of a few patterns are made that are true of one object and clearly of no other of its category.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from groundling.data.sample import Box

CLEARLY = 0.08  # of the picture's side: so far the object is from the next one in what the words compare
LARGER = 1.4  # times: so much larger is the largest than the next one
MOST = 6  # of a category; in a crowd nobody counts
SAME = 0.6  # IoU from which two boxes are of one person
PEOPLE = {
    "man": {"man", "men", "guy", "guys", "gentleman", "male"},
    "woman": {"woman", "women", "lady", "ladies", "female"},
    "boy": {"boy", "boys"},
    "girl": {"girl", "girls"},
}
SYNONYMS = {
    "man": ("man", "guy"),
    "woman": ("woman", "lady"),
    "boy": ("boy", "kid"),
    "girl": ("girl", "kid"),
    "person": ("person", "guy", "one"),
    "couch": ("couch", "sofa"),
    "tv": ("tv", "television", "screen"),
    "cell phone": ("cell phone", "phone"),
    "motorcycle": ("motorcycle", "motorbike", "bike"),
    "bicycle": ("bicycle", "bike"),
    "airplane": ("airplane", "plane"),
    "dining table": ("dining table", "table"),
    "potted plant": ("potted plant", "plant"),
    "wine glass": ("wine glass", "glass"),
    "sports ball": ("ball",),
    "teddy bear": ("teddy bear", "bear"),
    "hot dog": ("hot dog", "hotdog"),
    "donut": ("donut", "doughnut"),
    "hair drier": ("hair drier", "hair dryer"),
}


class Made(NamedTuple):
    """An expression and the one box that it is true of."""

    text: str
    box: Box


class _Side(NamedTuple):
    """What is compared along one axis, and how people say it; `far` of it is the end with the largest."""

    axis: int
    far: bool
    patterns: tuple[str, ...]


_SIDES = (
    _Side(0, False, ("left {}", "{} on the left", "leftmost {}", "{} on left", "far left {}", "{} at left")),
    _Side(0, True, ("right {}", "{} on the right", "rightmost {}", "{} on right", "far right {}")),
    _Side(1, False, ("top {}", "upper {}", "{} at the top", "highest {}", "{} at top", "back {}")),
    _Side(1, True, ("bottom {}", "lower {}", "{} at the bottom", "lowest {}", "front {}", "closest {}")),
)
_LARGE = ("largest {}", "big {}", "biggest {}", "larger {}", "closest {}", "the large {}")
_SMALL = ("smallest {}", "small {}", "smaller {}", "tiny {}", "furthest {}")
_MIDDLE = ("middle {}", "{} in the middle", "center {}", "{} in center", "{} in between")
_SECOND = ("second {0} from {1}", "2nd {0} from {1}", "{0} second from the {1}")
_CORNERS = ("{1} {2} {0}", "{0} in the {1} {2} corner", "{0} on {1} {2}", "{0} {1} {2}")
_NEAR = ("{} next to the {}", "{} near the {}", "{} by the {}", "{} closest to the {}")
_BESIDE = (("{} left of the {}", "{} to the left of {}"), ("{} right of the {}", "{} to the right of {}"))
_ONE = ("left", "right")


def templates(objects: Mapping[str, Sequence[Box]], width: int, height: int) -> list[Made]:
    """All expressions that these objects of a picture allow, by the names of their categories.

    Boxes are xyxy in pixels of a picture of width x height. The result is in a fixed order.
    """
    found: list[Made] = []
    for name, boxes in objects.items():
        said = SYNONYMS.get(name, (name,))
        if 2 <= len(boxes) <= MOST:
            placed = list(_placed(boxes, (width, height)))
            found += [Made(pattern.format(word), box) for pattern, box in placed for word in said]
            found += _seconds(boxes, said, width)
            for other, others in objects.items():
                if other != name and len(others) == 1:
                    found += _beside(boxes, others[0], said, SYNONYMS.get(other, (other,))[0], width, height)
    alone = [[*boxes] for boxes in objects.values()]
    if (
        all(boxes == alone[0] for boxes in alone[1:]) and 2 <= len(alone[0]) <= MOST
    ):  # "left" says which, and nothing else does
        for side, word in zip(_SIDES, _ONE, strict=False):
            if (box := _extreme(alone[0], _centre(side.axis), side.far, CLEARLY * width)) is not None:
                found += [Made(word, box), Made(f"{word} one", box), Made(f"the one on the {word}", box)]
    meant: dict[str, set[Box]] = {}
    for one in found:
        meant.setdefault(one.text, set()).add(one.box)
    return [one for one in dict.fromkeys(found) if len(meant[one.text]) == 1]  # "closest" is said of two


def persons(said: Sequence[tuple[str, Box]]) -> dict[str, list[Box]]:
    """The people of a picture by what they may be called, from the phrases about each of their boxes.

    All of them are persons; they are men, women, boys and girls too, where the phrases about each say which.
    Boxes that overlap by more than SAME are one person's, since each caption has a box of its own.
    """
    boxes: list[Box] = []
    names: list[set[str]] = []
    for text, box in said:
        words = set(text.lower().split())
        found = {name for name, spelled in PEOPLE.items() if words & spelled}
        place = next((n for n, other in enumerate(boxes) if _iou(box, other) > SAME), len(boxes))
        if place == len(boxes):
            boxes.append(box)
            names.append(set())
        names[place] |= found
    people: dict[str, list[Box]] = {"person": boxes}
    if all(len(each) == 1 for each in names):
        for name in PEOPLE:
            people[name] = [box for box, each in zip(boxes, names, strict=True) if name in each]
    return {name: own for name, own in people.items() if own}


def _placed(boxes: Sequence[Box], size: tuple[int, int]) -> Iterator[tuple[str, Box]]:
    """Patterns with room for a name, and the box that each is true of."""
    for side in _SIDES:
        box = _extreme(boxes, _centre(side.axis), side.far, CLEARLY * size[side.axis])
        if box is not None:
            yield from ((pattern, box) for pattern in side.patterns)
    by_area = sorted(boxes, key=_area)
    if _area(by_area[-1]) >= LARGER * _area(by_area[-2]):
        yield from ((pattern, by_area[-1]) for pattern in _LARGE)
    if _area(by_area[1]) >= LARGER * _area(by_area[0]):
        yield from ((pattern, by_area[0]) for pattern in _SMALL)
    if len(boxes) == 3:
        before, middle, after = sorted(boxes, key=_centre(0))
        gap = CLEARLY * size[0]
        x = [_centre(0)(box) for box in (before, middle, after)]
        if x[1] - x[0] >= gap and x[2] - x[1] >= gap:
            yield from ((pattern, middle) for pattern in _MIDDLE)
    for far_down, down in ((False, "top"), (True, "bottom")):
        for far_along, along in ((False, "left"), (True, "right")):
            first = _extreme(boxes, _centre(1), far_down, CLEARLY * size[1])
            second = _extreme(boxes, _centre(0), far_along, CLEARLY * size[0])
            if first is not None and first == second:
                yield from ((pattern.format("{}", down, along), first) for pattern in _CORNERS)


def _seconds(boxes: Sequence[Box], said: Sequence[str], width: int) -> Iterator[Made]:
    if len(boxes) < 3:
        return
    ordered = sorted(boxes, key=_centre(0))
    for side, row in (("left", ordered), ("right", ordered[::-1])):
        x = [_centre(0)(box) for box in row[:3]]
        if min(abs(x[0] - x[1]), abs(x[1] - x[2])) >= CLEARLY * width:
            yield from (Made(pattern.format(word, side), row[1]) for pattern in _SECOND for word in said[:1])


def _beside(
    boxes: Sequence[Box], other: Box, said: Sequence[str], name: str, width: int, height: int
) -> Iterator[Made]:
    """The box that is clearly nearest to the only object of another category, or alone on one side of it."""

    def distance(box: Box) -> float:
        across = max(other[0] - box[2], box[0] - other[2], 0) / width
        down = max(other[1] - box[3], box[1] - other[3], 0) / height
        return float((across**2 + down**2) ** 0.5)

    near = _extreme(boxes, distance, False, 2 * CLEARLY)
    if near is not None:
        yield from (Made(pattern.format(word, name), near) for pattern in _NEAR for word in said[:1])
    for patterns, sign in zip(_BESIDE, (-1, 1), strict=True):
        beside = [box for box in boxes if sign * (_centre(0)(box) - _centre(0)(other)) > CLEARLY * width]
        if len(beside) == 1:
            yield from (
                Made(pattern.format(word, name), beside[0]) for pattern in patterns for word in said[:1]
            )


def _extreme(boxes: Sequence[Box], key: Callable[[Box], float], far: bool, gap: float) -> Box | None:
    """The box with the smallest key, or with the largest; None where the next one is nearer than the gap."""
    ordered = sorted(boxes, key=key, reverse=far)
    return ordered[0] if abs(key(ordered[0]) - key(ordered[1])) >= gap else None


def _centre(axis: int) -> Callable[[Box], float]:
    return lambda box: (box[axis] + box[axis + 2]) / 2


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _iou(one: Box, other: Box) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    both = max(across, 0) * max(down, 0)
    return both / (_area(one) + _area(other) - both)
