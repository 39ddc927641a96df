"""Pictures of subnets: what of the supernet runs for an expression (LADS, Fig. 6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from groundling.analyze import canvas
from groundling.analyze.decisions import Decisions
from groundling.draw import ink
from groundling.dynamic.cost import CostModel
from groundling.selection import Selection

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STEP, BREAK = 1.0, 0.55  # width of a block, and of the gap between stages


@dataclass(frozen=True)
class Structure:
    """The supernet as it is drawn: residual blocks (name, filters) in order, and fusion layers."""

    blocks: tuple[tuple[str, int], ...]
    fusion: int

    @classmethod
    def of(cls, cost: CostModel) -> "Structure":
        """The structure of a network whose costs are known, gated or not."""
        return cls(
            tuple((block.name, block.width) for block in cost.blocks), len(cost.part("attention").units)
        )

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the backbone's stages."""
        return tuple(dict.fromkeys(_stage(name) for name, _ in self.blocks))


def examples(decisions: Decisions, count: int = 6) -> list[int]:
    """Rows of expressions with different Selections, from the cheapest subnet to the dearest."""
    first, _ = decisions.gates.distinct
    ordered = first[np.argsort(decisions.shares[first], kind="stable")]
    places = np.linspace(0, len(ordered) - 1, min(count, len(ordered))).round().astype(int)
    return [int(row) for row in ordered[places]]


def subnets_figure(decisions: Decisions, structure: Structure, rows: Sequence[int]) -> bytes:
    """One line for each expression."""
    drawn = canvas.figure((15, 0.9 + 1.45 * len(rows)))
    drawn.suptitle(
        "The subnet of each expression", x=0.01, ha="left", fontsize=13, color=ink.INK, weight="bold"
    )
    for axes, row in zip(drawn.subplots(len(rows), 1, squeeze=False)[:, 0], rows, strict=True):
        selection, share = decisions.gates.selection(row), decisions.shares[row]
        expression = canvas.literal(canvas.shortened(decisions.samples[row].expression, 110))
        axes.set_title(
            f"{expression}   ·   {share:.0%} of the MACs", loc="left", fontsize=10.5, color=ink.INK
        )
        _draw(axes, structure, selection)
    _legend(axes, structure, selection)
    return canvas.png(drawn)


def _draw(axes: "Axes", structure: Structure, selection: Selection) -> None:
    x, stage = 0.0, structure.stages[0]
    starts = {stage: x}
    for name, _ in structure.blocks:
        if _stage(name) != stage:
            stage, x = _stage(name), x + BREAK
            starts[stage] = x
        _block(axes, x, 0.55 + 0.15 * structure.stages.index(stage), name, selection)
        x += STEP
    for stage, start in starts.items():
        filters = next(width for name, width in structure.blocks if _stage(name) == stage)
        axes.text(start, -0.08, f"{stage} · {filters} filters", fontsize=7.5, color=ink.QUIET, va="top")
    x += 2 * BREAK
    axes.text(x, -0.08, "fusion: attention (top), feed-forward", fontsize=7.5, color=ink.QUIET, va="top")
    for index in range(structure.fusion):
        for kind, bottom, colour in (("attention", 0.52, ink.ATTENTION), ("ffn", 0.0, ink.FFN)):
            _box(axes, x, bottom, 0.42, 1.0 if selection.on(f"encoder.{index}.{kind}") else None, colour)
        x += STEP
    axes.set_xlim(-0.1, x + 0.1)
    axes.set_ylim(-0.2, 1.02)
    axes.set_axis_off()


def _block(axes: "Axes", x: float, high: float, name: str, selection: Selection) -> None:
    """A residual layer: a column for each convolution with gated filters, filled by the share of them on."""
    gated = [f"{name}.{conv}" for conv in ("conv1", "conv2") if f"{name}.{conv}" in selection]
    if not selection.on(name):
        _box(axes, x, 0, high, None, ink.LAYER)
        return
    if not gated:
        _box(axes, x, 0, high, 1.0, ink.INK if name not in selection else ink.LAYER)
        return
    wide = 0.86 / len(gated)
    for column, conv in enumerate(gated):
        bits = selection[conv]
        _box(axes, x + column * wide, 0, high, sum(bits) / len(bits), ink.LAYER, wide * 0.96)
        middle = x + (column + 0.48) * wide
        axes.text(middle, high + 0.03, str(sum(bits)), ha="center", fontsize=6.5, color=ink.INK)


def _box(
    axes: "Axes", x: float, y: float, high: float, share: float | None, colour: str, wide: float = 0.86
) -> None:
    """A box filled from the bottom by `share`; grey and hatched for None: left out."""
    from matplotlib.patches import Rectangle

    if share is None:
        axes.add_patch(
            Rectangle((x, y), wide, high, facecolor="#eef0f3", edgecolor=ink.OFF, hatch="////", linewidth=0)
        )
        return
    axes.add_patch(Rectangle((x, y), wide, high, facecolor=ink.pale(colour), linewidth=0))
    axes.add_patch(Rectangle((x, y), wide, high * share, facecolor=colour, linewidth=0))


def _legend(axes: "Axes", structure: Structure, selection: Selection) -> None:
    from matplotlib.patches import Patch

    names = [name for name, _ in structure.blocks]
    inner = any(f"{name}.conv1" in selection for name in names)
    numbers = "numbers: of the first 1×1 and the 3×3" if inner else "number: of the 3×3"
    entries = [
        Patch(facecolor=ink.LAYER, label=f"residual layer, filled by the filters that run ({numbers})"),
        Patch(facecolor=ink.ATTENTION, label="attention"),
        Patch(facecolor=ink.FFN, label="feed-forward"),
        Patch(facecolor="#eef0f3", edgecolor=ink.OFF, hatch="////", linewidth=0, label="left out"),
    ]
    if any(name not in selection for name in names):
        entries.append(Patch(facecolor=ink.INK, label="always runs"))
    axes.figure.legend(handles=entries, loc="outside lower left", ncols=5, fontsize=8.5, frameon=False)


def _stage(name: str) -> str:
    return name.partition(".")[0]
