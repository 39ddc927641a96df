"""The one module that counts MACs: of any Selection, and expected ones for gate probabilities.

A MAC is one multiply-accumulate. Counted are convolutions, linear maps and attention products (what
`torch.utils.flop_counter` counts, halved; on a CPU it misses fused attention), not norms and activations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from groundling.results import Cost
from groundling.selection import Selection


@dataclass(frozen=True)
class BlockCost:
    """MACs of a residual layer: `first`·inner + `middle`·inner·filters + `last`·filters + always."""

    name: str
    first: int
    middle: int
    last: int
    always: int
    width: int

    def of(self, inner: int, filters: int) -> int:
        """MACs with so many filters of the first 1×1 and of the 3×3; without any, a constant is left."""
        if not inner or not filters:
            return 0
        return self.first * inner + self.middle * inner * filters + self.last * filters


def stage_costs(blocks: Sequence[BlockCost], selection: Selection | None) -> dict[str, int]:
    """MACs of each stage of a backbone, with what a Selection keeps of its blocks (None: everything)."""
    parts: dict[str, int] = {}
    for block in blocks:
        stage = block.name.split(".")[0]
        parts[stage] = parts.get(stage, 0) + block.always
        if _on(selection, block.name):
            inner, filters = block.width, block.width
            if selection is not None:
                inner = selection.count(f"{block.name}.conv1", block.width)
                filters = selection.count(f"{block.name}.conv2", block.width)
            parts[stage] += block.of(inner, filters)
    return parts


@dataclass(frozen=True)
class CostModel:
    """Everything about a network's cost that does not depend on the request (MACs, or sizes).

    `text` is (layers, channels, ffn); `fusion` (layers, channels, ffn); `selector` MACs (per token, once).
    """

    text: tuple[int, int, int]
    stem: int
    blocks: tuple[BlockCost, ...]
    visual: int  # visual tokens
    channels: int  # of the backbone's output
    fusion: tuple[int, int, int]
    head: int
    selector: tuple[int, int]

    def count(self, selection: Selection | None, tokens: int) -> dict[str, int]:
        """MACs per part for an expression of `tokens` tokens; None is the static network without selector."""
        return self._count(selection, tokens)

    def _count(self, selection: Selection | None, tokens: Any) -> dict[str, Any]:
        """`count`, also for a tensor of token counts."""
        parts: dict[str, Any] = {"text": self._text(tokens), "selector": 0, "stem": self.stem}
        if selection is not None:
            parts["selector"] = self.selector[0] * tokens + self.selector[1]
        parts |= stage_costs(self.blocks, selection)
        attention, ffn = self._sublayers(tokens)
        layers = range(self.fusion[0])
        parts["projection"] = self._projection(tokens)
        parts["attention"] = attention * sum(_on(selection, f"encoder.{i}.attention") for i in layers)
        parts["ffn"] = ffn * sum(_on(selection, f"encoder.{i}.ffn") for i in layers)
        parts["head"] = self.head
        return parts

    def cost(self, selection: Selection | None, tokens: int) -> Cost:
        """Cost of a Selection beside that of the supernet with everything on and the same selector."""
        parts = self.count(selection, tokens)
        return Cost(parts, sum(self.count(None, tokens).values()) + parts["selector"])

    def expected_share(self, on: Mapping[str, Tensor], tokens: int | Tensor) -> Tensor:
        """Expected share (E,) of the supernet's MACs for gates that are on with probabilities (E, size).

        Exact for gates that are independent: MACs are a polynomial in them that is linear in each.
        """
        always = self._count(_nothing(on), tokens)
        full = sum(self._count(None, tokens).values()) + always["selector"]
        total = next(iter(on.values())).new_zeros(()) + sum(always.values())
        for block in self.blocks:
            if block.name in on:  # else `always` holds its MACs
                inner, any_inner = _expected(on, f"{block.name}.conv1", block.width)
                filters, any_filter = _expected(on, f"{block.name}.conv2", block.width)
                macs = block.first * inner * any_filter + block.middle * inner * filters
                total = total + on[block.name][:, 0] * (macs + block.last * filters * any_inner)
        for name, p in on.items():
            total = total + p[:, 0] * self.sublayer(name, tokens)
        share: Tensor = total / full
        return share

    def sublayer(self, name: str, tokens: Any) -> Any:
        """MACs of the sublayer of this name, 0 for another name."""
        if not name.startswith("encoder."):
            return 0
        attention, ffn = self._sublayers(tokens)
        return attention if name.endswith("attention") else ffn

    def _text(self, tokens: Any) -> Any:
        layers, dim, ffn = self.text
        return layers * (tokens * (4 * dim**2 + 2 * dim * ffn) + 2 * tokens**2 * dim)

    def _sublayers(self, tokens: Any) -> tuple[Any, Any]:
        (_, dim, ffn), count = self.fusion, tokens + self.visual
        return count * 4 * dim**2 + 2 * count**2 * dim, count * 2 * dim * ffn

    def _projection(self, tokens: Any) -> Any:
        return (self.visual * self.channels + tokens * self.text[1]) * self.fusion[1]


@dataclass(frozen=True)
class MdetrCost(CostModel):
    """A CostModel of an MDETR: with a decoder behind the encoder, and what questions and masks take."""

    decoder: tuple[int, int]  # layers, queries with those for answers
    answers: int
    masks: tuple[int, int]  # of an image, of each query

    def _count(self, selection: Selection | None, tokens: Any) -> dict[str, Any]:
        """MACs per part for finding objects."""
        parts = super()._count(selection, tokens)
        parts["decoder"] = sum(
            macs * sum(_on(selection, f"decoder.{layer}.{kind}") for layer in range(self.decoder[0]))
            for kind, macs in self._decoder(tokens).items()
        )
        return parts

    def sublayer(self, name: str, tokens: Any) -> Any:
        """MACs of the sublayer of this name, 0 for another name."""
        if not name.startswith("decoder."):
            return super().sublayer(name, tokens)
        return self._decoder(tokens)[name.rpartition(".")[2]]

    def _decoder(self, tokens: Any) -> dict[str, Any]:
        """MACs of each sublayer of a decoder layer."""
        (_, dim, ffn), queries = self.fusion, self.decoder[1]
        return decoder_costs(queries, tokens + self.visual, dim, ffn)

    def asked(
        self,
        tokens: int,
        selection: Selection | None = None,
        *,
        answers: bool = False,
        masks: int = 0,
        seen: bool = False,
    ) -> Cost:
        """Cost of a caption of so many tokens, with a question's answers or with masks of so many queries.

        `selection`: the subnet that its words chose, of a network whose words choose. `seen`: another
        caption's request has the image through the backbone already, whose MACs are `shared` then.
        """
        parts = self.count(selection or Selection(()), tokens)
        alone = sum(parts.values())
        less = sum(self.count(None, tokens).values()) + parts["selector"] - alone
        if seen:
            stages = {block.name.split(".")[0] for block in self.blocks}
            parts = {name: macs for name, macs in parts.items() if name not in {"stem", *stages}}
            parts["projection"] -= self.visual * self.channels * self.fusion[1]
        shared = alone - sum(parts.values())
        if answers:
            parts["answers"] = self.answers
        if masks:
            parts["masks"] = self.masks[0] + masks * self.masks[1]
        return Cost(parts, sum(parts.values()) + less, shared)


@dataclass(frozen=True)
class DetectionCost:
    """A detector's cost for one image: sizes, and MACs of what does not depend on a Selection.

    `layers` are those of the encoder over `visual` tokens and of the decoder of `queries`.
    """

    stem: int
    blocks: tuple[BlockCost, ...]
    visual: int
    channels: int  # of the backbone's output
    queries: int
    dim: int
    ffn: int
    layers: tuple[int, int]
    head: int

    def count(self, selection: Selection | None = None) -> dict[str, int]:
        """MACs per part; None is the whole network."""
        dim, seen = self.dim, self.visual
        sublayers = {
            "encoder": {"attention": 4 * seen * dim**2 + 2 * seen**2 * dim, "ffn": 2 * seen * dim * self.ffn},
            "decoder": decoder_costs(self.queries, seen, dim, self.ffn),
        }
        parts = {"stem": self.stem, **stage_costs(self.blocks, selection)}
        parts["projection"] = seen * self.channels * dim
        for (stack, kinds), layers in zip(sublayers.items(), self.layers, strict=True):
            for kind, macs in kinds.items():
                on = sum(_on(selection, f"{stack}.{i}.{kind}") for i in range(layers))
                parts[f"{stack} {kind.replace('_', ' ')}"] = on * macs
        return {**parts, "head": self.head}

    def cost(self, selection: Selection | None = None) -> Cost:
        """Cost of a Selection beside that of the whole network."""
        return Cost(self.count(selection), sum(self.count().values()))


def decoder_costs(queries: int, memory: Any, dim: int, ffn: int) -> dict[str, int]:
    """MACs of each sublayer of one decoder layer, whose queries ask so many tokens of a memory."""
    return {
        "attention": 4 * queries * dim**2 + 2 * queries**2 * dim,
        "cross_attention": 2 * (queries + memory) * dim**2 + 2 * queries * memory * dim,
        "ffn": 2 * queries * dim * ffn,
    }


def _on(selection: Selection | None, name: str) -> bool:
    return selection is None or selection.on(name)


def _nothing(on: Mapping[str, Tensor]) -> Selection:
    return Selection(tuple((name, (False,) * p.shape[1]) for name, p in on.items()))


def _expected(on: Mapping[str, Tensor], name: str, width: int) -> tuple[Tensor | float, Tensor | float]:
    """Expected number of filters that are on, and the probability that there is one."""
    if name not in on:
        return float(width), 1.0
    return on[name].sum(dim=1), 1 - (1 - on[name]).prod(dim=1)
