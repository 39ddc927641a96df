"""Masks of what queries found: where each looks in the image, and a convolutional way up to stride 4 (DETR).

Shapes: E rows, Q queries, V = height·width visual tokens, D channels; `lower` are the backbone's earlier
stages, the coarsest first, (E, C, h, w) each.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AttentionMap(nn.Module):
    """How much each query looks at each cell, for each head: attention without values.

    The softmax is over the cells of one head, as MDETR has it (DETR's is over all heads' cells at once).
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_linear, self.k_linear = nn.Linear(dim, dim), nn.Linear(dim, dim)
        for linear in (self.q_linear, self.k_linear):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, queries_EQD: Tensor, memory_EVD: Tensor, keep_EV: Tensor | None) -> Tensor:
        """(E, Q, heads, V); cells where `keep_EV` is False get 0."""
        query, key = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.q_linear(queries_EQD), self.k_linear(memory_EVD))
        )
        scores_EHQV = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        if keep_EV is not None:
            scores_EHQV = scores_EHQV.masked_fill(~keep_EV[:, None, None], float("-inf"))
        looks: Tensor = scores_EHQV.softmax(-1).transpose(1, 2)
        return looks


class MaskHead(nn.Module):
    """MDETR's small convolutional head: 3×3, group norm, ReLU, twice, then once more on each finer stage."""

    def __init__(self, dim: int, heads: int, lower: Sequence[int]) -> None:
        super().__init__()
        self.attention = AttentionMap(dim, heads)
        self.lower = tuple(lower)
        widths = [dim + heads, dim + heads, *(dim // 2 ** (step + 1) for step in range(len(self.lower) + 1))]
        steps = range(len(widths) - 1)
        self.convolutions = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 3, padding=1) for i in steps)
        self.norms = nn.ModuleList(nn.GroupNorm(math.gcd(8, widths[i + 1]), widths[i + 1]) for i in steps)
        self.adapters = nn.ModuleList(
            nn.Conv2d(channels, width, 1) for channels, width in zip(self.lower, widths[2:-1], strict=True)
        )
        self.out = nn.Conv2d(widths[-1], 1, 3, padding=1)
        for part in (*self.convolutions, *self.adapters, self.out):
            assert isinstance(part, nn.Conv2d)
            assert part.bias is not None
            nn.init.kaiming_uniform_(part.weight, a=1)
            nn.init.zeros_(part.bias)

    def forward(
        self,
        queries_EQD: Tensor,
        visual_EVD: Tensor,
        memory_EVD: Tensor,
        keep_EV: Tensor | None,
        lower: Sequence[Tensor],
        shape: tuple[int, int],
    ) -> Tensor:
        """Logits (E, Q, h, w) at the finest stage's size.

        `visual_EVD` are the tokens before the encoder, `memory_EVD` those after it, of a grid of `shape`.
        """
        rows, queries = queries_EQD.shape[:2]
        attended: Tensor = self.attention(queries_EQD, memory_EVD, keep_EV)
        looks = attended.unflatten(-1, shape).flatten(0, 1)  # type: ignore[no-untyped-call]
        x = visual_EVD.transpose(1, 2).unflatten(-1, shape)  # type: ignore[no-untyped-call]
        x = x.repeat_interleave(queries, dim=0)
        x = self._step(1, self._step(0, torch.cat((x, looks), dim=1)))
        for index, (adapter, finer) in enumerate(zip(self.adapters, lower, strict=True)):
            finer = adapter(finer).repeat_interleave(queries, dim=0)
            x = self._step(index + 2, finer + F.interpolate(x, size=finer.shape[-2:], mode="nearest"))
        return self.out(x).view(rows, queries, *x.shape[-2:])  # type: ignore[no-any-return]

    def _step(self, index: int, x: Tensor) -> Tensor:
        return F.relu(self.norms[index](self.convolutions[index](x)))

    def macs(self, sides: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """MACs (of an image, of each query) for grids of these sides: the tokens', then each `lower`'s."""
        cells, *finer = (height * width for height, width in sides)
        dim = self.attention.k_linear.in_features
        once = cells * dim**2 + sum(map(_macs, self.adapters, finer))
        each = dim**2 + cells * dim + self.out.weight.numel() * (finer or [cells])[-1]
        steps = (cells, cells, *finer)
        return once, each + sum(map(_macs, self.convolutions, steps))


def _macs(convolution: nn.Module, cells: int) -> int:
    assert isinstance(convolution, nn.Conv2d)
    return convolution.weight.numel() * cells
