"""Selections as points in the plane: those that select alike lie together (t-SNE; LADS, Fig. 5)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundling.analyze.table import GateTable

Points = NDArray[np.float64]
POINTS, REGIONS, EXAMPLES = 1500, 8, 4


@dataclass(frozen=True)
class Region:
    """A neighbourhood of the map and the rows of expressions that lie in it."""

    x: float
    y: float
    radius: float
    rows: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class SelectionMap:
    """One point (S, 2) for each distinct Selection that was drawn, the rows that share it, and regions."""

    points: Points
    rows: tuple[tuple[int, ...], ...]
    regions: tuple[Region, ...]
    method: str


def selection_map(
    table: GateTable, texts: Sequence[str], seed: int = 0, categories: Sequence[str | None] | None = None
) -> SelectionMap:
    """Distances between gates in two dimensions; of more than 1,500 distinct Selections, a seeded sample.

    The most frequent categories of the expressions, where they have some, get a region each.
    """
    first, which = table.distinct
    kept = np.sort(np.random.default_rng(seed).permutation(len(first))[:POINTS])
    members: dict[int, list[int]] = {int(number): [] for number in kept}
    for row, number in enumerate(which.tolist()):
        if number in members:
            members[number].append(row)
    rows = tuple(tuple(found) for found in members.values())
    points, method = _project(table.bits[first[kept]].astype(np.float64), seed)
    return SelectionMap(
        points, rows, _regions(points, rows, texts, categories or [None] * len(texts)), method
    )


def _project(gates: Points, seed: int) -> tuple[Points, str]:
    """t-SNE; its neighbourhoods need a few points, fewer are laid along their principal components.

    A perplexity of 30 draws each kind of a few hundred Selections together to a dot: they have a smaller one.
    """
    count = len(gates)
    if count < 6:
        u, s, _ = np.linalg.svd(gates - gates.mean(axis=0), full_matrices=False)
        flat = np.zeros((count, 2))
        flat[:, : min(2, len(s))] = (u * s)[:, :2]
        return flat, "principal components"
    from sklearn.manifold import TSNE

    tsne = TSNE(perplexity=min(30.0, max(2.0, count / 15), (count - 1) / 3), init="pca", random_state=seed)
    return np.asarray(tsne.fit_transform(gates), dtype=np.float64), "t-SNE"


def _regions(
    points: Points, rows: Sequence[tuple[int, ...]], texts: Sequence[str], categories: Sequence[str | None]
) -> tuple[Region, ...]:
    """Neighbourhoods with a few different expressions each, none of which overlaps another."""
    distances = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    span = float(distances.max()) or 1.0
    regions: list[Region] = []
    for centre in _centres(distances, rows, categories):
        near: dict[str, tuple[int, float]] = {}
        for point in np.argsort(distances[centre], kind="stable"):
            for row in rows[point]:
                near.setdefault(texts[row], (row, float(distances[centre, point])))
            if len(near) >= EXAMPLES:
                break
        chosen = list(near.values())[:EXAMPLES]
        radius = max(distance for _, distance in chosen) + 0.008 * span
        x, y = points[centre].tolist()
        if all(np.hypot(x - other.x, y - other.y) >= radius + other.radius for other in regions):
            regions.append(Region(x, y, radius, tuple(row for row, _ in chosen)))
        if len(regions) == min(REGIONS, max(1, len(points) // EXAMPLES)):
            break
    return tuple(regions)


def _centres(
    distances: Points, rows: Sequence[tuple[int, ...]], categories: Sequence[str | None]
) -> list[int]:
    """Points in the order in which they are looked at.

    First, of each category, the most frequent first, the point in its densest place; then always the one
    farthest from those before it, of the denser half.
    """
    count = len(distances)
    reach = np.sort(distances, axis=1)[:, min(10, count - 1)]
    said = Counter(name for name in (categories[row] for own in rows for row in own) if name)
    names = [Counter(categories[row] for row in own).most_common(1)[0][0] for own in rows]
    centres = []
    for name, _ in said.most_common():
        own = [point for point in range(count) if names[point] == name]
        if own:
            centres.append(min(own, key=lambda point: float(reach[point])))
    centres = centres or [int(reach.argmin())]
    dense = reach <= np.median(reach)
    for _ in range(min(count, 4 * REGIONS)):
        apart = np.where(dense, distances[centres].min(axis=0), 0.0)
        centres.append(int(apart.argmax()))
    return centres
