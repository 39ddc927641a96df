"""Language gates: words → relevance of every unit → soft or hard gates (LADS Eq. 1-5).

Shapes: E expressions, L tokens, D text channels, G layers that pool words for themselves, K hidden.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundling.layers.fused import Packs
from groundling.layers.macs import Count
from groundling.selection import Selection, Unit
from groundling.words.tokens import Tokens

Relevance = dict[str, Tensor]  # unit name → (E, size) scores r, on where r ≥ 0
Coin = Literal["batch", "element"]


@dataclass(frozen=True)
class Draw:
    """Which part of which step's global batch is looked at: expressions [first, first + count) of `total`.

    Gate noise is a function of it alone, so a batch cut over processes or micro-batches sees the noise
    that one process would have seen.
    """

    seed: int
    step: int
    first: int
    count: int
    total: int

    def generator(self) -> torch.Generator:
        """A generator of this step's random numbers, the same on every process."""
        return torch.Generator().manual_seed((self.seed * 1_000_003 + self.step) & 0x7FFF_FFFF_FFFF)


class LanguageGates(nn.Module, Packs):
    """The gating network: each layer pools the words it cares for and scores its units.

    `trunk="paper"` is Eq. 3: r = W₂ GELU(W₁ h). `trunk="released"` is the deeper trunk of the authors'
    code (BN → GELU → 768→32 → BN → GELU → 32→64 → BN → GELU, the 64 split between the layer's two heads).
    Biases of the last maps start at `bias`, so that the network starts nearly open.
    """

    packed: tuple[Tensor, ...] = ()  # all heads side by side, and which of their outputs are units

    def __init__(
        self,
        units: Sequence[Unit],
        dim: int,
        hidden: int = 32,
        trunk: Literal["paper", "released"] = "paper",
        bias: float = 3.0,
    ) -> None:
        super().__init__()
        self.units, self.trunk = tuple(units), trunk
        self.groups = tuple(dict.fromkeys(unit.group for unit in units))
        groups = len(self.groups)
        self.pool = nn.Linear(dim, groups)  # e_i of Eq. 1 as rows; a bias cancels in the softmax over words
        self.heads_of = {g: [u for u in units if u.group == g] for g in self.groups}
        if trunk == "released":
            self.parts = max(len(members) for members in self.heads_of.values())
            self.norms = nn.ModuleList(
                nn.BatchNorm1d(groups * width) for width in (dim, hidden, hidden * self.parts)
            )
            self.first = nn.Conv1d(groups * dim, groups * hidden, 1, groups=groups)
            self.second = nn.Conv1d(groups * hidden, groups * hidden * self.parts, 1, groups=groups)
            nn.init.xavier_uniform_(self.first.weight)
            nn.init.xavier_uniform_(self.second.weight)
        else:
            self.first_weight = nn.Parameter(torch.empty(groups, dim, hidden))
            self.first_bias = nn.Parameter(torch.zeros(groups, hidden))
            for weight in self.first_weight:
                nn.init.xavier_uniform_(weight)
        self.heads = nn.ModuleDict({_key(unit.name): nn.Linear(hidden, unit.size) for unit in units})
        nn.init.xavier_uniform_(self.pool.weight)
        for head in self.heads.values():
            assert isinstance(head, nn.Linear)
            nn.init.xavier_uniform_(head.weight)
            nn.init.constant_(head.bias, bias)

    def attend(self, text_ELD: Tensor, tokens: Tokens) -> Tensor:
        """α of Eq. 1: how much each layer listens to each token, (E, L, G), 0 at padding."""
        scores_ELG = self.pool(text_ELD).masked_fill(tokens.padding[:, :, None], float("-inf"))
        return torch.softmax(scores_ELG, dim=1)

    def forward(self, text_ELD: Tensor, tokens: Tokens) -> Relevance:
        """Scores r of every unit for every expression, Eq. 1-3."""
        pooled_EGD = self.attend(text_ELD, tokens).transpose(1, 2) @ text_ELD  # Eq. 2
        hidden_EPK = self._hidden(pooled_EGD).flatten(1, 2)
        if self.packed and not torch.is_grad_enabled():
            return self._at_once(hidden_EPK)
        relevance = {}
        for unit in self.units:
            relevance[unit.name] = self._head(unit)(hidden_EPK[:, self._place(unit)]).float()
        return relevance

    def pack(self) -> None:
        """All heads as one product: dozens of them take ten times as long one by one."""
        members: dict[int, list[Unit]] = {}
        for unit in self.units:
            members.setdefault(self._place(unit), []).append(unit)
        places = len(self.groups) * (self.parts if self.trunk == "released" else 1)
        widest = max(sum(unit.size for unit in units) for units in members.values())
        like = self._head(self.units[0]).weight.detach()
        weight_PKM = like.new_zeros(places, like.shape[1], widest)
        bias_P1M, first = like.new_zeros(places, 1, widest), {}
        for place, units in members.items():
            begin = 0
            for unit in units:
                head, end = self._head(unit), begin + unit.size
                weight_PKM[place, :, begin:end] = head.weight.detach().T
                bias_P1M[place, 0, begin:end] = head.bias.detach()
                first[unit.name], begin = place * widest + begin, end
        order = [first[unit.name] + index for unit in self.units for index in range(unit.size)]
        self.packed = (weight_PKM, bias_P1M, torch.tensor(order, device=like.device))

    def _at_once(self, hidden_EPK: Tensor) -> Relevance:
        weight_PKM, bias_P1M, order = self.packed
        scores_PEM = torch.baddbmm(bias_P1M, hidden_EPK.transpose(0, 1), weight_PKM)
        scores = scores_PEM.transpose(0, 1).flatten(1)[:, order].float()
        each = torch.split(scores, [unit.size for unit in self.units], dim=1)
        return {unit.name: score for unit, score in zip(self.units, each, strict=True)}

    def _head(self, unit: Unit) -> nn.Linear:
        head = self.heads[_key(unit.name)]
        assert isinstance(head, nn.Linear)
        return head

    def _place(self, unit: Unit) -> int:
        """Which of the hidden maps a unit is scored by."""
        group = self.groups.index(unit.group)
        if self.trunk == "paper":
            return group
        return group * self.parts + self.heads_of[unit.group].index(unit)

    def macs(self) -> Count:
        """MACs of a text: pooling its words, and mapping what was pooled."""
        weights = {name: p.numel() for name, p in self.named_parameters() if "weight" in name}
        maps = sum(count for name, count in weights.items() if not name.startswith(("pool.", "norms.")))
        return Count(maps, 2 * weights["pool.weight"])

    def _hidden(self, pooled_EGD: Tensor) -> Tensor:
        """(E, G, parts, K): one hidden map per layer, or one per unit of it (released)."""
        expressions, groups, _ = pooled_EGD.shape
        if self.trunk == "paper":
            bias_G1K, pooled_GED = self.first_bias[:, None], pooled_EGD.transpose(0, 1)
            hidden_GEK = torch.baddbmm(bias_G1K, pooled_GED, self.first_weight)
            return F.gelu(hidden_GEK).transpose(0, 1)[:, :, None]
        x = F.gelu(self.norms[0](pooled_EGD.reshape(expressions, -1, 1)))
        x = F.gelu(self.norms[1](self.first(x)))
        x = F.gelu(self.norms[2](self.second(x)))
        return x.view(expressions, groups, self.parts, -1)


def _key(name: str) -> str:
    return name.replace(".", "_")  # module names hold no dots


def soft_gates(relevance: Relevance, draw: Draw | None = None) -> Relevance:
    """g_s = σ(r + ε) of Eq. 4; ε ~ Logistic(0, 1) drawn by `draw`, no noise without one."""
    if draw is None:
        return {name: r.sigmoid() for name, r in relevance.items()}
    generator, soft = draw.generator(), {}
    for name, r in relevance.items():
        uniform = torch.rand(draw.total, r.shape[1], generator=generator).clamp(1e-6, 1 - 1e-6)
        noise = (uniform.log() - (-uniform).log1p())[draw.first : draw.first + draw.count]
        soft[name] = (r + noise.to(r.device)).sigmoid()
    return soft


def tossed_gates(soft: Relevance, draw: Draw, coin: Coin = "batch") -> Relevance:
    """g of Eq. 5: soft or hard gates by a fair coin, tossed once per batch (paper) or per element (released).

    Hard gates pass the soft gates' gradient (Improved Semantic Hashing).
    """
    generator, rows = draw.generator(), slice(draw.first, draw.first + draw.count)
    generator.manual_seed(generator.initial_seed() ^ 0x5EED)
    batch_is_soft = bool(torch.rand((), generator=generator) >= 0.5)
    gates = {}
    for name, s in soft.items():
        hard = (s >= 0.5).to(s.dtype) + s - s.detach()
        if coin == "element":
            toss = torch.rand(draw.total, s.shape[1], generator=generator)[rows]
            gates[name] = torch.where(toss.to(s.device) >= 0.5, s, hard)
        else:
            gates[name] = s if batch_is_soft else hard
    return gates


def hard_gates(relevance: Mapping[str, Tensor]) -> Relevance:
    """Evaluation: no noise, on where r ≥ 0."""
    return {name: (r >= 0).to(r.dtype) for name, r in relevance.items()}


def decided(relevance: Mapping[str, Tensor]) -> list[Selection]:
    """What runs for each expression: the units with r ≥ 0."""
    sizes = [score.shape[1] for score in relevance.values()]
    rows: list[list[bool]] = (torch.cat([*relevance.values()], dim=1) >= 0).tolist()
    ends = [*accumulate(sizes)]
    places = [(name, end - size, end) for name, size, end in zip(relevance, sizes, ends, strict=True)]
    return [Selection(tuple((name, tuple(row[a:b])) for name, a, b in places)) for row in rows]
