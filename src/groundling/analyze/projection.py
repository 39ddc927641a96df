"""Selections as points in the plane: those that select alike lie together (t-SNE; LADS, Fig. 5)."""

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


def selection_map(table: GateTable, texts: Sequence[str], seed: int = 0) -> SelectionMap:
    """Distances between gates in two dimensions; of more than 1,500 distinct Selections, a seeded sample."""
    first, which = table.distinct
    kept = np.sort(np.random.default_rng(seed).permutation(len(first))[:POINTS])
    members: dict[int, list[int]] = {int(number): [] for number in kept}
    for row, number in enumerate(which.tolist()):
        if number in members:
            members[number].append(row)
    rows = tuple(tuple(found) for found in members.values())
    points, method = _project(table.bits[first[kept]].astype(np.float64), seed)
    return SelectionMap(points, rows, _regions(points, rows, texts), method)


def _project(gates: Points, seed: int) -> tuple[Points, str]:
    """t-SNE; its neighbourhoods need a few points, fewer are laid along their principal components."""
    count = len(gates)
    if count < 6:
        u, s, _ = np.linalg.svd(gates - gates.mean(axis=0), full_matrices=False)
        flat = np.zeros((count, 2))
        flat[:, : min(2, len(s))] = (u * s)[:, :2]
        return flat, "principal components"
    from sklearn.manifold import TSNE

    tsne = TSNE(perplexity=min(30.0, (count - 1) / 3), init="pca", random_state=seed)
    return np.asarray(tsne.fit_transform(gates), dtype=np.float64), "t-SNE"


def _regions(points: Points, rows: Sequence[tuple[int, ...]], texts: Sequence[str]) -> tuple[Region, ...]:
    """Neighbourhoods of points in dense places far from each other, each with a few different expressions."""
    distances = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    span = float(distances.max()) or 1.0
    regions = []
    for centre in _centres(distances):
        near: dict[str, tuple[int, float]] = {}
        for point in np.argsort(distances[centre], kind="stable"):
            for row in rows[point]:
                near.setdefault(texts[row], (row, float(distances[centre, point])))
            if len(near) >= EXAMPLES:
                break
        chosen = list(near.values())[:EXAMPLES]
        radius = max(distance for _, distance in chosen) + 0.012 * span
        x, y = points[centre].tolist()
        regions.append(Region(x, y, radius, tuple(row for row, _ in chosen)))
    return tuple(regions)


def _centres(distances: Points) -> list[int]:
    """The point in the densest place, then always the one farthest from those chosen, of the denser half."""
    count = len(distances)
    reach = np.sort(distances, axis=1)[:, min(10, count - 1)]
    dense = reach <= np.median(reach)
    centres = [int(reach.argmin())]
    while len(centres) < min(REGIONS, count // EXAMPLES):
        apart = np.where(dense, distances[centres].min(axis=0), 0.0)
        centres.append(int(apart.argmax()))
    return centres
