"""A Selection: the decision which units of a supernet run, as a frozen value that prints and parses back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["layer", "filters", "attention", "ffn"]


@dataclass(frozen=True)
class Unit:
    """Something that can be left out: a residual layer or sublayer (size 1), or a convolution's filters."""

    name: str
    kind: Kind
    size: int
    group: str  # the layer whose pooled words decide about it


@dataclass(frozen=True)
class Selection:
    """One boolean per unit and filter, in the supernet's order.

    `str(selection)` is `layer1.0=1 layer1.0.conv2=f0:8 …`: `1`/`0` for what is one thing, else the
    filters as hexadecimal (first filter = highest bit) and their number. `Selection.parse` reads it back.
    """

    units: tuple[tuple[str, tuple[bool, ...]], ...]

    @cached_property
    def _by_name(self) -> dict[str, tuple[bool, ...]]:
        return dict(self.units)

    def __getitem__(self, name: str) -> tuple[bool, ...]:
        return self._by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def on(self, name: str) -> bool:
        """Whether a layer or sublayer runs; what is not a unit always does."""
        return self._by_name.get(name, (True,))[0]

    def kept(self, name: str) -> Tensor | None:
        """Boolean (filters,) of a convolution, None when all run."""
        bits = self._by_name.get(name)
        return None if bits is None or all(bits) else torch.tensor(bits, dtype=torch.bool)

    def count(self, name: str, otherwise: int) -> int:
        """How many filters of `name` run; `otherwise` for a convolution that has no gates."""
        return sum(self._by_name[name]) if name in self._by_name else otherwise

    def of_block(self, name: str) -> tuple[bool, tuple[bool, ...] | None, tuple[bool, ...] | None]:
        """What runs of a residual block: itself, filters of its 3×3 and of its first 1×1 (None: all).

        Written one way, as `canonical` says it.
        """
        if not self.on(name):
            return False, None, None
        filters, inner = (self._by_name.get(f"{name}.{conv}") for conv in ("conv2", "conv1"))
        filters = None if filters is None or all(filters) else filters
        if inner is None or all(inner) or (filters is not None and not any(filters)):
            return True, filters, None
        return True, filters, inner

    @property
    def layers(self) -> int:
        """How many layers and sublayers could be left out."""
        return sum(not is_filters(name) for name, _ in self.units)

    @property
    def layers_on(self) -> int:
        """How many of them run."""
        return sum(bits[0] for name, bits in self.units if not is_filters(name))

    @property
    def filters(self) -> int:
        """How many filters could be left out."""
        return sum(len(bits) for name, bits in self.units if is_filters(name))

    @property
    def filters_on(self) -> int:
        """Filters that are computed: those on in layers that are on."""
        return sum(sum(bits) for name, bits in self.canonical().units if is_filters(name))

    def canonical(self) -> "Selection":
        """The same subnet written one way: filters that nothing comes of are off.

        That is all filters of a layer that is off, and those of a first 1×1 whose 3×3 is all off. (The
        3×3 of a 1×1 that is all off still matters: a constant comes out of it.)
        """
        return self._canonical

    @cached_property
    def _canonical(self) -> "Selection":
        units = tuple((name, (False,) * len(bits) if self._idle(name) else bits) for name, bits in self.units)
        return self if units == self.units else Selection(units)

    def _idle(self, name: str) -> bool:
        if not is_filters(name):
            return False
        layer = layer_of(name)
        next_bits = self._by_name.get(f"{layer}.conv2", (True,))
        return not self.on(layer) or not any(next_bits)

    def gates(self, device: torch.device | None = None) -> dict[str, Tensor]:
        """The Selection as gates (1, size) for a masked supernet."""
        return {name: torch.tensor([bits], dtype=torch.float32, device=device) for name, bits in self.units}

    def __repr__(self) -> str:
        """In one short line; `str` has all of it."""
        if not self.units:
            return "Selection(everything, of a network with one size)"
        layers = f"{self.layers_on} of {self.layers} layers and sublayers"
        return f"Selection({layers}, {self.filters_on} of {self.filters} filters)"

    def __str__(self) -> str:
        return " ".join(f"{name}={_print_bits(name, bits)}" for name, bits in self.units)

    @classmethod
    def parse(cls, text: str) -> "Selection":
        """Read what `str` wrote; ValueError names the part that cannot be read."""
        units: dict[str, tuple[bool, ...]] = {}
        for part in text.split():
            name, _, value = part.partition("=")
            if name in units:
                raise ValueError(f"not a Selection at {part!r}: {name} comes twice")
            try:
                units[name] = _parse_bits(name, value)
            except ValueError as error:
                raise ValueError(
                    f"not a Selection at {part!r}: expected NAME=0, NAME=1 or NAME=HEX:COUNT"
                ) from error
        return cls(tuple(units.items()))

    @classmethod
    def all_on(cls, units: Iterable[Unit]) -> "Selection":
        """The whole supernet."""
        return cls(tuple((unit.name, (True,) * unit.size) for unit in units))

    @classmethod
    def all_off(cls, units: Iterable[Unit]) -> "Selection":
        """Only what cannot be left out."""
        return cls(tuple((unit.name, (False,) * unit.size) for unit in units))

    @classmethod
    def from_gates(cls, gates: Mapping[str, Tensor], row: int = 0) -> "Selection":
        """Row `row` of hard gates (B, size); on where a gate is at least 0.5."""
        return cls(tuple((name, tuple((gate[row] >= 0.5).tolist())) for name, gate in gates.items()))


def check(selection: Selection, units: Sequence[Unit]) -> Selection:
    """The Selection itself if it is of these units; ValueError says where it differs."""
    if not isinstance(selection, Selection):
        raise ValueError(
            f"selection must be a Selection, given {type(selection).__name__}; Selection.parse reads a text"
        )
    given, wanted = [(name, len(bits)) for name, bits in selection.units], [(u.name, u.size) for u in units]
    if given != wanted:
        pairs = zip(given, wanted, strict=False)
        odd = next((pair for pair in pairs if pair[0] != pair[1]), (f"{len(given)} units", f"{len(wanted)}"))
        raise ValueError(
            f"this Selection is of another network: it has {odd[0]} where this network has {odd[1]}"
        )
    return selection


def is_filters(name: str) -> bool:
    """Whether a unit is the filters of a convolution, which its name says."""
    return name.endswith((".conv1", ".conv2"))


def layer_of(name: str) -> str:
    """The layer that the convolution `name` is in."""
    return name.rpartition(".")[0]


def _print_bits(name: str, bits: tuple[bool, ...]) -> str:
    if not is_filters(name):
        return str(int(bits[0]))
    padded = "".join("01"[bit] for bit in bits).ljust(-(-len(bits) // 4) * 4, "0")
    return f"{int(padded, 2):0{len(padded) // 4}x}:{len(bits)}"


def _parse_bits(name: str, value: str) -> tuple[bool, ...]:
    digits, _, count = value.partition(":")
    if not is_filters(name):
        if not name or value not in ("0", "1"):
            raise ValueError(value)
        return (value == "1",)
    bits = "".join(f"{int(digit, 16):04b}" for digit in digits)
    if not 0 < int(count) <= len(bits) < int(count) + 4 or "1" in bits[int(count) :]:
        raise ValueError(value)
    return tuple(bit == "1" for bit in bits[: int(count)])
