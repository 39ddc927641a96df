"""A Cost: what an answer took, in multiply-accumulates."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Cost:
    """MACs (multiply-accumulates) per part of what ran, and of the full network for the same words.

    `shared` ran for an earlier text of the same request and count there, in neither `parts` nor `full`: by
    itself this text costs `macs` + `shared`.
    """

    parts: Mapping[str, int]
    full: int
    shared: int = 0

    def __post_init__(self) -> None:
        if min(self.parts.values(), default=0) < 0 or not 0 < self.macs <= self.full:
            raise ValueError(
                f"a cost must lie between 1 MAC and the full network's {self.full}, given {self.macs}"
            )
        if self.shared < 0:
            raise ValueError(f"shared MACs must be 0 or more, given {self.shared}")
        object.__setattr__(self, "parts", MappingProxyType(dict(self.parts)))

    def __repr__(self) -> str:
        shared = f", {millions(self.shared)} shared" if self.shared else ""
        return f"Cost({millions(self.macs)} of {millions(self.full)} MACs, {self.share:.1%}{shared})"

    def __reduce__(self) -> tuple[object, ...]:
        return Cost, (dict(self.parts), self.full, self.shared)  # a mapping proxy cannot be pickled

    @property
    def macs(self) -> int:
        """MACs of all parts."""
        return sum(self.parts.values())

    @property
    def share(self) -> float:
        """What ran, as a share of the full network, in (0, 1]."""
        return self.macs / self.full


def millions(macs: int) -> str:
    """MACs as people read them: 89.1 M."""
    return f"{macs / 1e6:,.1f} M"
