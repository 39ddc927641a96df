"""The sum of what layers cost: MACs by part, of any Selection, and expected ones for gate probabilities.

Layers count their own (`layers.macs`); a model names the parts that it is made of.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from groundling.layers.macs import BackboneMacs, BlockMacs, Count
from groundling.results import Cost
from groundling.selection import Selection

NOTHING = Count()
SELECTOR = "selector"  # the part that runs only where there is a Selection to choose


@dataclass(frozen=True)
class Part:
    """A named part of a network: what always runs, what runs as units say, and residual blocks."""

    name: str
    always: Count = NOTHING
    units: tuple[tuple[str, Count], ...] = ()
    blocks: tuple[BlockMacs, ...] = ()

    def macs(self, selection: Selection | None, tokens: Any) -> Any:
        """MACs of what a Selection keeps (None: everything, without what chooses)."""
        if self.name == SELECTOR and selection is None:
            return 0
        total = self.always.at(tokens)
        for name, macs in self.units:
            if selection is None or selection.on(name):
                total = total + macs.at(tokens)
        return total + sum(block.kept(selection) for block in self.blocks)


def backbone_parts(macs: BackboneMacs) -> tuple[Part, ...]:
    """A backbone's stem, and each of its stages."""
    stages: dict[str, list[BlockMacs]] = {}
    for block in macs.blocks:
        stages.setdefault(block.name.split(".")[0], []).append(block)
    return Part("stem", Count(macs.stem)), *(Part(name, blocks=tuple(each)) for name, each in stages.items())


def sublayer_parts(macs: Mapping[str, Count], names: Mapping[str, str]) -> tuple[Part, ...]:
    """Sublayers by the ends of their units' names: `names` says what each kind is called."""
    return tuple(
        Part(name, units=tuple((unit, count) for unit, count in macs.items() if unit.endswith(f".{kind}")))
        for kind, name in names.items()
    )


@dataclass(frozen=True)
class CostModel:
    """Everything about a network's cost that does not depend on the request."""

    parts: tuple[Part, ...]
    _full: dict[int, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def blocks(self) -> tuple[BlockMacs, ...]:
        """All residual blocks, in order."""
        return tuple(block for part in self.parts for block in part.blocks)

    def part(self, name: str) -> Part:
        """The part of this name."""
        return next(part for part in self.parts if part.name == name)

    def count(self, selection: Selection | None, tokens: int = 0) -> dict[str, int]:
        """MACs per part for a text of so many tokens; None is the static network without selector."""
        return self._count(selection, tokens)

    def _count(self, selection: Selection | None, tokens: Any) -> dict[str, Any]:
        """`count`, also for a tensor of token counts."""
        return {part.name: part.macs(selection, tokens) for part in self.parts}

    def full(self, tokens: int = 0) -> int:
        """MACs of the static network, without selector."""
        if (known := self._full.get(tokens)) is None:
            known = self._full[tokens] = sum(self.count(None, tokens).values())
        return known

    def cost(self, selection: Selection | None = None, tokens: int = 0) -> Cost:
        """Cost of a Selection beside that of the supernet with everything on and the same selector."""
        parts = self.count(selection, tokens)
        return Cost(parts, self.full(tokens) + parts.get(SELECTOR, 0))

    def expected_share(self, on: Mapping[str, Tensor], tokens: int | Tensor) -> Tensor:
        """Expected share (E,) of the supernet's MACs for gates that are on with probabilities (E, size).

        Exact for gates that are independent: MACs are a polynomial in them that is linear in each.
        """
        always = self._count(_nothing(on), tokens)
        full = sum(self._count(None, tokens).values()) + always.get(SELECTOR, 0)
        total = next(iter(on.values())).new_zeros(()) + sum(always.values())
        for part in self.parts:  # of what is not in `on`, `always` holds the MACs
            for block in part.blocks:
                if block.name in on:
                    total = total + on[block.name][:, 0] * _expected_of(block, on)
                elif f"{block.name}.conv2" in on:  # it has no shortcut, and always runs
                    total = total + _expected_of(block, on)
            for name, macs in part.units:
                if name in on:
                    total = total + on[name][:, 0] * macs.at(tokens)
        share: Tensor = total / full
        return share


def _nothing(on: Mapping[str, Tensor]) -> Selection:
    return Selection(tuple((name, (False,) * p.shape[1]) for name, p in on.items()))


def _expected_of(block: BlockMacs, on: Mapping[str, Tensor]) -> Tensor | float:
    """Expected MACs of a block that runs, beside those that always do."""
    inner, any_inner = _expected(on, f"{block.name}.conv1", block.width)
    filters, any_filter = _expected(on, f"{block.name}.conv2", block.width)
    macs = block.first * inner * any_filter + block.middle * inner * filters
    return macs + block.last * filters * any_inner


def _expected(on: Mapping[str, Tensor], name: str, width: int) -> tuple[Tensor | float, Tensor | float]:
    """Expected number of filters that are on, and the probability that there is one."""
    if name not in on:
        return float(width), 1.0
    return on[name].sum(dim=1), 1 - (1 - on[name]).prod(dim=1)
