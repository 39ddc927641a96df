"""Post-norm transformer encoder layers whose attention and feed-forward sublayers can be left out.

Key layout is DETR's (`self_attn.in_proj_weight`, `linear1`, `norm1` …). Shapes: B rows, T tokens, D channels.
"""

import math
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundling.layers.cutting import ANEW, Cutter
from groundling.layers.fused import Linear, Packs, linear, pack
from groundling.layers.macs import Count, attention, linear_map
from groundling.layers.sharing import share
from groundling.selection import Selection, Unit


class Attention(nn.Module, Packs):
    """A multi-head attention's weights under torch's and DETR's names, and what follows its projections."""

    PROJECTIONS: ClassVar[tuple[tuple[int, int], ...]]  # those of (query, key, value) made by one product

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = Linear(dim, dim)
        self.packed: dict[tuple[int, int], Tensor | None] = {}
        nn.init.xavier_uniform_(self.in_proj_weight)

    def attend(self, query_BTD: Tensor, key_BSD: Tensor, value_BSD: Tensor, keep_BS: Tensor | None) -> Tensor:
        """Projected queries ask projected keys: (B, T, D); `keep_BS` is True where S may be attended to."""
        batch, tokens, dim = query_BTD.shape
        query, key, value = (
            part.view(batch, part.shape[1], self.heads, -1).transpose(1, 2)
            for part in (query_BTD, key_BSD, value_BSD)
        )
        dropout = self.dropout if self.training else 0.0
        mask = None if keep_BS is None else keep_BS[:, None, None, :]
        if query.device.type == "cpu" and torch.is_grad_enabled():
            out = _attend(query, key, value, mask, dropout)
        else:
            mask = None if mask is None else mask.expand(-1, -1, tokens, -1)
            out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        return self.out_proj(out.transpose(1, 2).reshape(batch, tokens, dim))  # type: ignore[no-any-return]

    def macs(self, queries: Count, keys: Count) -> Count:
        """MACs of so many queries that ask so many keys, with all four projections."""
        dim = self.in_proj_weight.shape[1]
        return (
            linear_map(queries, dim, 2 * dim) + linear_map(keys, dim, 2 * dim) + attention(queries, keys, dim)
        )

    def pack(self) -> None:
        """As `layers.fused.Packs` says."""
        self.packed = {place: pack(self.in_proj_weight[self._rows(*place)]) for place in self.PROJECTIONS}

    def project(self, x: Tensor, first: int, last: int) -> Tensor:
        """Of the three projections (query, key, value) those from `first` up to `last`, side by side."""
        rows = self._rows(first, last)
        return linear(x, self.in_proj_weight[rows], self.in_proj_bias[rows], self.packed.get((first, last)))

    def _rows(self, first: int, last: int) -> slice:
        dim = self.in_proj_weight.shape[1]
        return slice(first * dim, last * dim)


class SelfAttention(Attention):
    """Tokens ask one another; positions are added to queries and keys, not to values (DETR)."""

    PROJECTIONS = ((0, 2), (2, 3))

    def forward(self, x_BTD: Tensor, positions_TD: Tensor, keep_BT: Tensor | None) -> Tensor:
        """`keep_BT` is True where a token may be attended to (None: everywhere); positions: (B, T, D) too."""
        query, key = self.project(x_BTD + positions_TD, 0, 2).chunk(2, -1)
        return self.attend(query, key, self.project(x_BTD, 2, 3), keep_BT)


def _attend(query: Tensor, key: Tensor, value: Tensor, keep: Tensor | None, dropout: float) -> Tensor:
    """Attention spelled out: on a CPU the fused backward takes 3-5 times as long (75 tokens, bf16)."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if keep is not None:
        scores = scores.masked_fill(~keep, float("-inf"))
    return F.dropout(scores.softmax(-1), dropout) @ value


class EncoderLayer(nn.Module):
    """x = norm1(x + attention(x)·g); x = norm2(x + ffn(x)·g): the norms always run (LADS, DETR post-norm)."""

    self_attn: SelfAttention | None
    linear1: Linear | None
    linear2: Linear | None

    def __init__(self, dim: int, heads: int, ffn: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = SelfAttention(dim, heads, dropout)
        self.linear1, self.linear2 = Linear(dim, ffn), Linear(ffn, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x_BTD: Tensor,
        positions_TD: Tensor,
        keep_BT: Tensor | None = None,
        attention: Tensor | None = None,
        ffn: Tensor | None = None,
    ) -> Tensor:
        """Gates are (B, 1), None where nothing is gated."""
        x = x_BTD
        if self.self_attn is not None:
            x = x + gated(self.dropout(self.self_attn(x, positions_TD, keep_BT)), attention)
        x = self.norm1(x)
        if self.linear1 is not None and self.linear2 is not None:
            x = x + gated(self.dropout(self.linear2(self.dropout(self.linear1(x, relu=True)))), ffn)
        return self.norm2(x)  # type: ignore[no-any-return]

    def macs(self, tokens: Count) -> dict[str, Count]:
        """MACs of each sublayer over so many tokens."""
        assert self.self_attn is not None
        assert self.linear1 is not None
        dim, ffn = self.linear1.in_features, self.linear1.out_features
        return {"attention": self.self_attn.macs(tokens, tokens), "ffn": linear_map(tokens, dim, 2 * ffn)}

    def extract(self, attention: bool, ffn: bool) -> "EncoderLayer":
        """The same layer without the sublayers that are off; the weights of what stays are shared."""
        off = ([] if attention else ["self_attn"]) + ([] if ffn else ["linear1", "linear2"])
        return share(self, dict.fromkeys(off))


class Encoder(nn.Module):
    """A stack of encoder layers; returns every layer's output, the last one last."""

    def __init__(self, layers: int, dim: int, heads: int, ffn: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(dim, heads, ffn, dropout) for _ in range(layers))

    def forward(
        self,
        x_BTD: Tensor,
        positions_TD: Tensor,
        keep_BT: Tensor | None = None,
        gates: Mapping[str, Tensor] | None = None,
        prefix: str = "encoder",
    ) -> list[Tensor]:
        """Gates are (B, 1) by unit name; arguments as those of a layer."""
        gates, outputs = gates or {}, []
        for index, layer in enumerate(self.layers):
            name = f"{prefix}.{index}"
            x_BTD = layer(
                x_BTD, positions_TD, keep_BT, gates.get(f"{name}.attention"), gates.get(f"{name}.ffn")
            )
            outputs.append(x_BTD)
        return outputs

    def extract(self, selection: Selection, cutter: Cutter = ANEW, prefix: str = "encoder") -> "Encoder":
        """The encoder that a Selection keeps; `prefix` is its name in the network."""
        layers: dict[str, nn.Module | None] = {}
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, EncoderLayer)
            on = tuple(selection.on(f"{prefix}.{i}.{kind}") for kind in ("attention", "ffn"))
            layers[str(i)] = cutter.part((f"{prefix}.{i}", *on), partial(layer.extract, *on))
        return cutter.around(self, {"layers": cutter.around(self.layers, layers)})

    def macs(self, tokens: Count, prefix: str = "encoder") -> dict[str, Count]:
        """MACs of each sublayer by its unit's name, over so many tokens."""
        found: dict[str, Count] = {}
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, EncoderLayer)
            found |= {f"{prefix}.{i}.{kind}": macs for kind, macs in layer.macs(tokens).items()}
        return found

    def units(self, prefix: str = "encoder") -> tuple[Unit, ...]:
        """Both sublayers of every layer."""
        return tuple(
            Unit(f"{prefix}.{i}.{kind}", kind, 1, f"{prefix}.{i}")
            for i in range(len(self.layers))
            for kind in ("attention", "ffn")
        )


def gated(x_BTD: Tensor, gate: Tensor | None) -> Tensor:
    """x (B, T, D) times a gate (B, 1); no gate, no multiplication."""
    return x_BTD if gate is None else x_BTD * gate[:, :, None].to(x_BTD.dtype)


class MLP(nn.Module):
    """Linear layers with ReLU between (DETR's `bbox_embed`)."""

    def __init__(self, inputs: int, hidden: int, outputs: int, layers: int) -> None:
        super().__init__()
        sizes = [inputs, *[hidden] * (layers - 1), outputs]
        self.layers = nn.ModuleList(Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        """(…, inputs) → (…, outputs)."""
        for layer in self.layers[:-1]:
            x = layer(x, relu=True)
        return self.layers[-1](x)  # type: ignore[no-any-return]

    def macs(self) -> int:
        """MACs of one row."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.dim() > 1)


def sine_positions(height: int, width: int, dim: int, temperature: float = 10_000.0) -> Tensor:
    """Normalised 2-D sine positions (height·width, dim), rows first, of an image without padding."""
    return sine_positions_within(torch.ones(1, height, width, dtype=torch.bool), dim, temperature)[0]


def shown_cells(shown_BHW: Tensor | None, maps_BCHW: Tensor) -> Tensor:
    """Which cells of the maps show the image, (B, h, w) bool; None says that everything does.

    As in DETR and TransVG a cell is what its first pixel is (nearest interpolation). An image too thin to
    hold any cell's first pixel is attended to everywhere.
    """
    height, width = maps_BCHW.shape[2:]
    if shown_BHW is None:
        return torch.ones(len(maps_BCHW), height, width, dtype=torch.bool, device=maps_BCHW.device)
    cells = F.interpolate(shown_BHW[None].float(), size=(height, width))[0] > 0.5
    return cells | ~cells.any(dim=(1, 2), keepdim=True)


def sine_positions_within(keep_BHW: Tensor, dim: int, temperature: float = 10_000.0) -> Tensor:
    """Positions (B, H·W, dim) that run from 0 to 1 over the cells of each image that are kept, not padding.

    DETR's `PositionEmbeddingSine` with normalize=True; the first half of the channels is y.
    """
    half = dim // 2
    steps = temperature ** (2 * (torch.arange(half, device=keep_BHW.device) // 2) / half)

    def one_axis(axis: int) -> Tensor:
        count = keep_BHW.cumsum(axis, dtype=torch.float32)
        place = count / (count.narrow(axis, -1, 1) + 1e-6) * 2 * math.pi
        angle = place[..., None] / steps
        return torch.stack((angle[..., 0::2].sin(), angle[..., 1::2].cos()), dim=-1).flatten(-2)

    return torch.cat((one_axis(1), one_axis(2)), dim=-1).flatten(1, 2)
