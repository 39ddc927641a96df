"""What layers cost in MACs (multiply-accumulates): convolutions, linear maps and attention.

Counted is what `torch.utils.flop_counter` counts, halved (on a CPU it misses fused attention): not norms and
activations.
"""

from dataclasses import dataclass
from typing import Any, Union

from groundling.selection import Selection


@dataclass(frozen=True)
class Count:
    """once + each·t + pairs·t² for a text of t tokens: how long a sequence is, or the MACs over it."""

    once: int = 0
    each: int = 0
    pairs: int = 0

    def at(self, tokens: Any) -> Any:
        """The number for so many tokens; of a tensor of such numbers a tensor."""
        return self.once + self.each * tokens + self.pairs * tokens**2

    def __add__(self, other: "Count") -> "Count":
        return Count(self.once + other.once, self.each + other.each, self.pairs + other.pairs)

    def __mul__(self, other: Union["Count", int]) -> "Count":
        if isinstance(other, int):
            return Count(self.once * other, self.each * other, self.pairs * other)
        assert self.pairs == other.pairs == 0, "nothing grows faster than with the square of a text"
        across = self.once * other.each + self.each * other.once
        return Count(self.once * other.once, across, self.each * other.each)


TEXT = Count(each=1)  # the length of the text itself
Sides = tuple[int, int]


def linear_map(rows: Count, inputs: int, outputs: int) -> Count:
    """A linear map of so many rows."""
    return rows * (inputs * outputs)


def attention(queries: Count, keys: Count, dim: int) -> Count:
    """Queries that ask keys, and the values they get: two products, without any projection."""
    return queries * keys * (2 * dim)


def halved(sides: Sides, stride: int) -> Sides:
    """What a stride leaves of the sides of a map."""
    return -(-sides[0] // stride), -(-sides[1] // stride)


@dataclass(frozen=True)
class BlockMacs:
    """MACs of a residual block: `first`·inner + `middle`·inner·filters + `last`·filters + always."""

    name: str
    first: int
    middle: int
    last: int
    always: int
    width: int

    def of(self, inner: int, filters: int) -> int:
        """MACs with so many filters of the first 1×1 and of the 3×3; without any, a constant is left."""
        if not inner or not filters:
            return 0
        return self.first * inner + self.middle * inner * filters + self.last * filters

    def kept(self, selection: Selection | None) -> int:
        """MACs of what a Selection keeps (None: everything)."""
        if selection is None:
            return self.always + self.of(self.width, self.width)
        if not selection.on(self.name):
            return self.always
        inner, filters = (selection.count(f"{self.name}.{conv}", self.width) for conv in ("conv1", "conv2"))
        return self.always + self.of(inner, filters)


@dataclass(frozen=True)
class BackboneMacs:
    """MACs of a backbone's stem and of its blocks, and the sides of the map that comes out."""

    stem: int
    blocks: tuple[BlockMacs, ...]
    sides: Sides

    @property
    def cells(self) -> int:
        """Visual tokens that come out."""
        return self.sides[0] * self.sides[1]
