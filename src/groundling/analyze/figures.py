"""The charts: how often layers and filters are selected (LADS, Fig. 4), and how subnets spread."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from groundling.analyze import canvas
from groundling.analyze.decisions import Decisions
from groundling.analyze.spread import Dead, Spread, rate
from groundling.analyze.table import PARTS, GateTable
from groundling.draw import ink
from groundling.selection import Unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"layer": ink.LAYER, "filters": ink.LAYER, "attention": ink.ATTENTION, "ffn": ink.FFN}
PART_COLOURS = {"backbone": ink.LAYER, "fusion": ink.ATTENTION}
MOST_CATEGORIES = 24
NARROW = 0.12  # a share whose number has no room on its part of a bar


def dynamicity_figure(table: GateTable) -> bytes:
    """Four panels: rates of filters and of layers, distributions of the numbers of layers and filters."""
    drawn = canvas.figure((14, 10))
    grid = drawn.add_gridspec(2, 2)
    _filter_rates(drawn.add_subplot(grid[0, 0]), table)
    _layer_rates(drawn.add_subplot(grid[0, 1]), table)
    _layer_counts(drawn.add_subplot(grid[1, 0]), table)
    shown = shown_convolutions(table)
    stack = grid[1, 1].subgridspec(max(1, len(shown)), 1)
    for place, unit in enumerate(shown):
        axes = drawn.add_subplot(stack[place, 0])
        _filter_counts(axes, table, unit)
        if place == 0:
            canvas.titled(axes, "(d) How many filters are selected", y="expressions")
    if shown:
        axes.set_xlabel("filters selected (gates)", fontsize=9, color=ink.QUIET)
    return canvas.png(drawn)


def shown_convolutions(table: GateTable) -> list[Unit]:
    """The last gated 3×3 of each stage, at most four."""
    last: dict[str, Unit] = {}
    for unit in table.filters:
        if unit.name.endswith(".conv2"):
            last[unit.name.partition(".")[0]] = unit
    return list(last.values())[-4:]


def _filter_rates(axes: "Axes", table: GateTable) -> None:
    canvas.titled(axes, "(a) How often each filter is selected", x="filters, most selected first")
    if not table.filters:
        _say(axes, "no filters are gated")
        return
    rows = []
    for unit in table.filters:
        ordered = np.sort(rate(table[unit.name]))[::-1]
        rows.append(ordered[np.arange(512) * unit.size // 512])
    shown = axes.imshow(rows, aspect="auto", cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    labels = [f"{unit.name} · {unit.size}" for unit in table.filters]
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xticks([0, 511], ["0", "all"])
    bar = axes.figure.colorbar(shown, ax=axes, pad=0.01)
    bar.set_label("share of expressions", fontsize=9, color=ink.QUIET)
    bar.ax.tick_params(labelsize=8, colors=ink.QUIET)


def _layer_rates(axes: "Axes", table: GateTable) -> None:
    canvas.titled(axes, "(b) How often each layer and sublayer is selected", y="share of expressions")
    units = table.layers
    heights = [float(rate(table[unit.name])[0]) for unit in units]
    axes.bar(range(len(units)), heights, color=[COLOURS[unit.kind] for unit in units], width=0.8)
    axes.set_xticks(range(len(units)), [unit.name for unit in units], rotation=90)
    axes.set_ylim(0, 1.12)
    letters = min(6.5, 130 / max(1, len(units)))
    for place, height in enumerate(heights):
        axes.text(place, height + 0.01, f"{height:.0%}", ha="center", fontsize=letters, color=ink.INK)
    for kind, name in (("layer", "residual layer"), ("attention", "attention"), ("ffn", "feed-forward")):
        axes.bar([0], [0], color=COLOURS[kind], label=name)
    axes.legend(fontsize=8, frameon=False, ncols=3, loc="upper left")


def _layer_counts(axes: "Axes", table: GateTable) -> None:
    canvas.titled(axes, "(c) How many layers are selected", "layers or sublayers selected", "expressions")
    most = max(table.layers_of(part) for part in PARTS)
    for part, shift in zip(PARTS, (-0.2, 0.2), strict=True):
        of, counts = table.layers_of(part), table.layers_on(part)
        if of:
            heights = np.bincount(counts, minlength=most + 1)
            label = f"{part}: {counts.mean():.1f} of {of} on average, {counts.min()} to {counts.max()}"
            axes.bar(np.arange(most + 1) + shift, heights, 0.4, color=PART_COLOURS[part], label=label)
    axes.set_xticks(range(most + 1))
    axes.set_ylim(0, axes.get_ylim()[1] * 1.15)
    axes.legend(fontsize=8, frameon=False, loc="upper left")


def _filter_counts(axes: "Axes", table: GateTable, unit: Unit) -> None:
    counts = table[unit.name].sum(axis=1)
    width = max(1, unit.size // 64)
    edges = np.arange(-0.5, unit.size + width, width).tolist()
    axes.hist(counts, edges, color=ink.LAYER)
    axes.set_xlim(-0.5, unit.size + 0.5)
    label = f"{unit.name}: {counts.mean():.0f} ± {counts.std():.1f} of {unit.size}"
    axes.text(0.01, 0.8, label, transform=axes.transAxes, fontsize=8.5, color=ink.INK)
    canvas.quiet(axes)


def spread_figure(decisions: Decisions, found: Spread, categories: Mapping[str, tuple[int, float]]) -> bytes:
    """Share of MACs over expressions and by category, and filters that never or always run."""
    drawn = canvas.figure((14, 5.6))
    drawn.suptitle(_headline(found), x=0.01, ha="left", fontsize=11, color=ink.INK)
    left, middle, right = drawn.subplots(1, 3, width_ratios=(5, 4, 5))
    canvas.titled(left, "Computation per expression", "share of the full network's MACs", "expressions")
    left.hist(decisions.shares, np.linspace(0, 1, 51).tolist(), color=ink.LAYER)
    left.axvline(found.macs_share.mean, color=ink.INK, linewidth=1.2)
    note = f"mean {found.macs_share.mean:.0%}, {found.macs_share.least:.0%} to {found.macs_share.most:.0%}"
    left.text(0.02, 0.95, note, transform=left.transAxes, fontsize=9, color=ink.INK, va="top")
    _dead(
        middle,
        [("selected\nby gates", found.filters), ("computed\n(layer on)", found.filters_computed)],
        bool(decisions.gates.filters),
    )
    _categories(right, categories)
    return canvas.png(drawn)


def _headline(found: Spread) -> str:
    return (
        f"{found.expressions:,} expressions · {found.selections:,} distinct Selections · "
        f"{found.subnets:,} distinct subnets · two expressions differ in {found.hamming:.0f} of "
        f"{found.gates:,} gates on average"
    )


def _dead(axes: "Axes", rows: Sequence[tuple[str, Dead]], gated: bool) -> None:
    canvas.titled(axes, "Filters over all expressions", x="share of the gated filters")
    if not gated:
        _say(axes, "no filters are gated")
        return
    for place, (_, row) in enumerate(rows):
        left = 0.0
        shares = {
            "never": (row.never, ink.OFF),
            "sometimes": (1 - row.never - row.always, ink.LAYER),
            "always": (row.always, ink.INK),
        }
        for name, (share, colour) in shares.items():
            axes.barh(place, share, 0.5, left=left, color=colour, label=name if place == 0 else None)
            _share(axes, left, share, place, ink.on(colour))
            left += share
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.set_xlim(0, 1)
    axes.set_ylim(len(rows) - 0.5, -0.8)
    axes.legend(fontsize=8, frameon=False, ncols=3, loc="upper left")


def _share(axes: "Axes", left: float, share: float, place: int, colour: str) -> None:
    """A part's share in its middle, or above it where it is too narrow; never over the axis' ends."""
    if share >= NARROW:
        axes.text(left + share / 2, place, f"{share:.0%}", ha="center", va="center", fontsize=9, color=colour)
    elif share >= 0.005:
        right = left + share / 2 > 0.5
        x, side = (left + share, "right") if right else (left, "left")
        axes.text(x, place - 0.27, f"{share:.0%}", ha=side, va="bottom", fontsize=9, color=ink.INK)


def _categories(axes: "Axes", categories: Mapping[str, tuple[int, float]]) -> None:
    shown = dict(sorted(list(categories.items())[:MOST_CATEGORIES], key=lambda item: item[1][1]))
    title = "Computation by category"
    if len(categories) > len(shown):
        title += f" (the {len(shown)} most frequent of {len(categories)})"
    canvas.titled(axes, title, x="mean share of the full network's MACs")
    shares = [share for _, share in shown.values()]
    axes.barh(range(len(shown)), shares, 0.75, color=ink.LAYER)
    labels = [
        f"{canvas.literal(canvas.shortened(name, 24))} · {count:,}" for name, (count, _) in shown.items()
    ]
    axes.set_yticks(range(len(shown)), labels)
    axes.set_xlim(0, min(1.0, 1.25 * max(shares)))
    for place, share in enumerate(shares):
        axes.text(share, place, f" {share:.1%}", va="center", fontsize=7.5, color=ink.INK)


def _say(axes: "Axes", words: str) -> None:
    axes.text(0.5, 0.5, words, ha="center", va="center", transform=axes.transAxes, color=ink.QUIET)
    axes.set_xticks([])
    axes.set_yticks([])
