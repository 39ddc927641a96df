"""Selections as a table: a row of gates for each expression, a column for each layer, sublayer and filter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from groundling.selection import Selection, Unit, check, layer_of

Part = Literal["backbone", "fusion"]
PARTS: tuple[Part, Part] = ("backbone", "fusion")
Bits = NDArray[np.bool_]
Counts = NDArray[np.int64]


def part_of(unit: Unit) -> Part:
    """Whether a unit belongs to the visual backbone or to the fusion of image and words."""
    return "fusion" if unit.kind in ("attention", "ffn") else "backbone"


@dataclass(frozen=True, eq=False)
class GateTable:
    """Hard gates (E, G) of E expressions; the G columns follow the units and the filters in them."""

    units: tuple[Unit, ...]
    bits: Bits

    def __post_init__(self) -> None:
        wanted = sum(unit.size for unit in self.units)
        if self.bits.ndim != 2 or self.bits.shape[1] != wanted:
            raise ValueError(f"gates have the shape {self.bits.shape}, and these units have {wanted} gates")

    def __len__(self) -> int:
        return len(self.bits)

    def __getitem__(self, name: str) -> Bits:
        """The gates (E, size) of one unit."""
        return self.bits[:, self._columns[name]]

    @cached_property
    def _columns(self) -> dict[str, slice]:
        ends = np.cumsum([0, *(unit.size for unit in self.units)]).tolist()
        return {unit.name: slice(*ends[i : i + 2]) for i, unit in enumerate(self.units)}

    @property
    def filters(self) -> tuple[Unit, ...]:
        """The convolutions whose filters are gated."""
        return tuple(unit for unit in self.units if unit.kind == "filters")

    @property
    def layers(self) -> tuple[Unit, ...]:
        """Layers and sublayers."""
        return tuple(unit for unit in self.units if unit.kind != "filters")

    @cached_property
    def computed(self) -> "GateTable":
        """The same subnets written one way, filters that nothing comes of off (`Selection.canonical`)."""
        bits = self.bits.copy()
        for unit in self.filters:
            layer = layer_of(unit.name)
            for name in (layer, f"{layer}.conv2"):  # off, or without any filter in its 3×3
                if name in self._columns:
                    bits[:, self._columns[unit.name]] &= self[name].any(axis=1, keepdims=True)
        return GateTable(self.units, bits)

    def layers_on(self, part: Part) -> Counts:
        """How many layers or sublayers of a part are on, (E,)."""
        names = [unit.name for unit in self.layers if part_of(unit) == part]
        return sum((self[name][:, 0].astype(np.int64) for name in names), np.zeros(len(self), np.int64))

    @property
    def filters_on(self) -> Counts:
        """How many filters are on, (E,)."""
        return sum((self[u.name].sum(axis=1) for u in self.filters), np.zeros(len(self), np.int64))

    def layers_of(self, part: Part) -> int:
        """How many layers or sublayers a part has that can be left out."""
        return sum(part_of(unit) == part for unit in self.layers)

    def selection(self, row: int) -> Selection:
        """The Selection of one expression."""
        return Selection(tuple((unit.name, tuple(self[unit.name][row].tolist())) for unit in self.units))

    @cached_property
    def distinct(self) -> tuple[Counts, Counts]:
        """Rows of the first expression with each distinct Selection (S,), and which one each row has (E,)."""
        packed = np.packbits(self.bits, axis=1)
        _, first, which = np.unique(packed, axis=0, return_index=True, return_inverse=True)
        return first.astype(np.int64), which.reshape(-1).astype(np.int64)

    @classmethod
    def of(cls, units: Sequence[Unit], selections: Sequence[Selection]) -> "GateTable":
        """A table of Selections; ValueError for one of another supernet."""
        rows = [
            [bit for _, bits in check(selection, units).units for bit in bits] for selection in selections
        ]
        return cls(
            tuple(units), np.array(rows, dtype=np.bool_).reshape(len(rows), sum(u.size for u in units))
        )

    @classmethod
    def of_gates(cls, units: Sequence[Unit], batches: Sequence[Mapping[str, Tensor]]) -> "GateTable":
        """A table of batches of hard gates, each (B, size) by unit; on where a gate is at least 0.5."""
        parts = [np.hstack([(gates[unit.name] >= 0.5).cpu().numpy() for unit in units]) for gates in batches]
        return cls(tuple(units), np.vstack(parts))
