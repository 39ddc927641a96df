"""The map of Selections with expressions around it (LADS, Fig. 5)."""

import textwrap
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from groundling.analyze import canvas
from groundling.analyze.decisions import Decisions
from groundling.analyze.projection import Region, SelectionMap
from groundling.draw import ink

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED = 14  # categories that get a colour of their own
LEFT, WIDTH, BOTTOM, HEIGHT = 0.27, 0.46, 0.12, 0.78


def map_figure(decisions: Decisions, found: SelectionMap) -> bytes:
    """Points are distinct Selections, larger where more expressions share one; regions are read out."""
    drawn = canvas.figure((15, 9), constrained=False)
    axes = drawn.add_axes((LEFT, BOTTOM, WIDTH, HEIGHT))
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(ink.OFF)
    count = f"{found.method}, {len(found.points):,} Selections"
    title = f"Subnets that words select, by likeness of their gates ({count})"
    drawn.text(0.5, 0.94, title, ha="center", fontsize=13, color=ink.INK, fontweight="bold")
    _scatter(axes, decisions, found)
    ordered = sorted(found.regions, key=lambda region: region.x)
    half = (len(ordered) + 1) // 2
    _read_out(axes, decisions, ordered[:half], left=True)
    _read_out(axes, decisions, ordered[half:], left=False)
    return canvas.png(drawn)


def _scatter(axes: "Axes", decisions: Decisions, found: SelectionMap) -> None:
    """Coloured by category where samples have one, else by share of MACs."""
    sizes = np.array([20 + 14 * np.sqrt(len(rows) - 1) for rows in found.rows])
    names = [_category(decisions, rows) for rows in found.rows]
    common = [name for name, _ in Counter(name for name in names if name).most_common(NAMED)]
    if not common:
        shares = [float(decisions.shares[list(rows)].mean()) for rows in found.rows]
        shown = axes.scatter(
            found.points[:, 0], found.points[:, 1], s=sizes, c=shares, cmap="viridis", alpha=0.8, linewidths=0
        )
        bar = axes.figure.colorbar(shown, ax=axes, orientation="horizontal", fraction=0.04, pad=0.03)
        bar.set_label("share of the full network's MACs", fontsize=9, color=ink.QUIET)
        return
    for name in [None, *common]:
        chosen = np.array([(other if other in common else None) == name for other in names])
        colour = ink.OFF if name is None else ink.CATEGORIES[common.index(name)]
        label = "other" if name is None else canvas.literal(canvas.shortened(name, 20))
        if chosen.any():
            x, y = found.points[chosen].T
            axes.scatter(x, y, s=sizes[chosen], color=colour, label=label, alpha=0.85, linewidths=0)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=5, fontsize=9, frameon=False)


def _category(decisions: Decisions, rows: tuple[int, ...]) -> str | None:
    """The most frequent category of the expressions at a point."""
    return Counter(decisions.samples[row].category for row in rows).most_common(1)[0][0]


def _read_out(axes: "Axes", decisions: Decisions, regions: list[Region], *, left: bool) -> None:
    """Circle regions, and write their expressions on one side of the map, from top to bottom."""
    from matplotlib.patches import Circle

    for place, region in enumerate(sorted(regions, key=lambda region: -region.y)):
        axes.add_patch(Circle((region.x, region.y), region.radius, fill=False, color=ink.INK, linewidth=1.1))
        expressions = [decisions.samples[row].expression for row in region.rows]
        lines = [
            textwrap.fill(canvas.shortened(text, 68), 36, subsequent_indent="   ") for text in expressions
        ]
        height = 1 - (place + 0.5) / len(regions)
        axes.annotate(
            "\n".join(line.replace("$", r"\$") for line in lines),
            (region.x + (-region.radius if left else region.radius), region.y),
            (-0.04 if left else 1.04, height),
            textcoords="axes fraction",
            va="center",
            ha="right" if left else "left",
            multialignment="left",
            fontsize=9,
            color=ink.INK,
            bbox={"boxstyle": "round,pad=0.5", "facecolor": "#f3f5f7", "edgecolor": ink.OFF},
            arrowprops={
                "arrowstyle": "-",
                "color": ink.QUIET,
                "linewidth": 0.8,
                "relpos": (1.0 if left else 0.0, 0.5),
            },
            annotation_clip=False,
        )
    axes.set_aspect("equal", adjustable="datalim")
