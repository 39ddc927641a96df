"""Post-norm transformer decoder: queries ask one another and a memory; each sublayer can be left out (DETR).

Key layout is DETR's (`self_attn.in_proj_weight`, `multihead_attn.out_proj`, `linear1`, `norm1` to `norm3`).
Shapes: B rows, Q queries, S tokens of the memory, D channels.
"""

from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn

from groundling.layers.cutting import ANEW, Cutter
from groundling.layers.fused import Linear
from groundling.layers.macs import Count, linear_map
from groundling.layers.sharing import share
from groundling.layers.transformer import Attention, SelfAttention, gated
from groundling.selection import Selection, Unit

# A sublayer's unit is named after its layer and this; both attentions are of the kind "attention".
SUBLAYERS = ("attention", "cross_attention", "ffn")


class CrossAttention(Attention):
    """Queries ask a memory, whose positions are added to its keys and not to its values (DETR)."""

    PROJECTIONS = ((0, 1), (1, 2), (2, 3))

    def forward(
        self,
        x_BQD: Tensor,
        places_QD: Tensor,
        memory_BSD: Tensor,
        positions_SD: Tensor,
        keep_BS: Tensor | None,
    ) -> Tensor:
        """`keep_BS` is True where the memory may be attended to (None: everywhere)."""
        query, key = self.project(x_BQD + places_QD, 0, 1), self.project(memory_BSD + positions_SD, 1, 2)
        return self.attend(query, key, self.project(memory_BSD, 2, 3), keep_BS)


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention, ffn: after each x = norm(x + sublayer(x)·g); the norms always run."""

    self_attn: SelfAttention | None
    multihead_attn: CrossAttention | None
    linear1: Linear | None
    linear2: Linear | None

    def __init__(self, dim: int, heads: int, ffn: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = SelfAttention(dim, heads, dropout)
        self.multihead_attn = CrossAttention(dim, heads, dropout)
        self.linear1, self.linear2 = Linear(dim, ffn), Linear(ffn, dim)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x_BQD: Tensor,
        places_QD: Tensor,
        memory_BSD: Tensor,
        positions_SD: Tensor,
        keep_BS: Tensor | None = None,
        attention: Tensor | None = None,
        cross_attention: Tensor | None = None,
        ffn: Tensor | None = None,
    ) -> Tensor:
        """Gates are (B, 1), None where nothing is gated; both positions may be (B, ·, D) too."""
        x = x_BQD
        if self.self_attn is not None:
            x = x + gated(self.dropout(self.self_attn(x, places_QD, None)), attention)
        x = self.norm1(x)
        if self.multihead_attn is not None:
            seen = self.multihead_attn(x, places_QD, memory_BSD, positions_SD, keep_BS)
            x = x + gated(self.dropout(seen), cross_attention)
        x = self.norm2(x)
        if self.linear1 is not None and self.linear2 is not None:
            x = x + gated(self.dropout(self.linear2(self.dropout(self.linear1(x, relu=True)))), ffn)
        return self.norm3(x)  # type: ignore[no-any-return]

    def macs(self, queries: Count, memory: Count) -> dict[str, Count]:
        """MACs of each sublayer for so many queries and tokens of the memory."""
        assert self.self_attn is not None
        assert self.multihead_attn is not None
        assert self.linear1 is not None
        dim, ffn = self.linear1.in_features, self.linear1.out_features
        return {
            "attention": self.self_attn.macs(queries, queries),
            "cross_attention": self.multihead_attn.macs(queries, memory),
            "ffn": linear_map(queries, dim, 2 * ffn),
        }

    def extract(self, attention: bool, cross_attention: bool, ffn: bool) -> "DecoderLayer":
        """The same layer without the sublayers that are off; the weights of what stays are shared."""
        off = [] if attention else ["self_attn"]
        off += [] if cross_attention else ["multihead_attn"]
        off += [] if ffn else ["linear1", "linear2"]
        return share(self, dict.fromkeys(off))


class Decoder(nn.Module):
    """A stack of decoder layers; returns each layer's output under one final norm, the last one last."""

    def __init__(self, layers: int, dim: int, heads: int, ffn: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(dim, heads, ffn, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(
        self,
        x_BQD: Tensor,
        places_QD: Tensor,
        memory_BSD: Tensor,
        positions_SD: Tensor,
        keep_BS: Tensor | None = None,
        gates: Mapping[str, Tensor] | None = None,
        prefix: str = "decoder",
    ) -> list[Tensor]:
        """Gates are (B, 1) by unit name; arguments as those of a layer. DETR begins with x = 0."""
        gates, outputs = gates or {}, []
        for index, layer in enumerate(self.layers):
            own = (gates.get(f"{prefix}.{index}.{kind}") for kind in SUBLAYERS)
            x_BQD = layer(x_BQD, places_QD, memory_BSD, positions_SD, keep_BS, *own)
            outputs.append(self.norm(x_BQD))
        return outputs

    def extract(self, selection: Selection, cutter: Cutter = ANEW, prefix: str = "decoder") -> "Decoder":
        """The decoder that a Selection keeps; `prefix` is its name in the network."""
        layers: dict[str, nn.Module | None] = {}
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, DecoderLayer)
            on = tuple(selection.on(f"{prefix}.{i}.{kind}") for kind in SUBLAYERS)
            layers[str(i)] = cutter.part((f"{prefix}.{i}", *on), partial(layer.extract, *on))
        return cutter.around(self, {"layers": cutter.around(self.layers, layers)})

    def macs(self, queries: Count, memory: Count, prefix: str = "decoder") -> dict[str, Count]:
        """MACs of each sublayer by its unit's name, for so many queries and tokens of the memory."""
        found: dict[str, Count] = {}
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, DecoderLayer)
            found |= {f"{prefix}.{i}.{kind}": macs for kind, macs in layer.macs(queries, memory).items()}
        return found

    def units(self, prefix: str = "decoder") -> tuple[Unit, ...]:
        """All three sublayers of every layer."""
        return tuple(
            Unit(f"{prefix}.{i}.{name}", "ffn" if name == "ffn" else "attention", 1, f"{prefix}.{i}")
            for i in range(len(self.layers))
            for name in SUBLAYERS
        )
