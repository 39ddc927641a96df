"""LADS: words choose the layers and filters of a grounding network before it sees the image.

    tokens = tokenizer.encode(expressions)
    text = model.text(tokens)                          # F_l, (E, L, D)
    relevance = model.selector(text, tokens)           # r of every unit, Eq. 1-3
    selection = Selection.from_gates(hard_gates(relevance))
    subnet = extract(model, selection)                 # a dense GroundingNet
    prediction = subnet(images, text, tokens)

Su et al., "Referring Expression Comprehension Using Language Adaptive Inference", AAAI 2023.
Shapes: I images, E expressions, L tokens, V = height·width visual tokens, D channels.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from groundling.dynamic.cost import CostModel, Part, backbone_parts, sublayer_parts
from groundling.dynamic.gates import Coin, LanguageGates
from groundling.layers.cutting import ANEW, Cutter
from groundling.layers.fused import Linear
from groundling.layers.macs import TEXT, Count
from groundling.layers.resnet import Gates, ResNet, units
from groundling.layers.transformer import MLP, Encoder, sine_positions
from groundling.models.abilities import Ability
from groundling.models.supernet import (
    Frozen,
    FusionNetwork,
    Prediction,
    Supernet,
    SupernetConfig,
    words_parts,
)
from groundling.pictures.boxes import cxcywh_to_xyxy, iou
from groundling.selection import Selection, Unit
from groundling.words.bert import TextEncoder
from groundling.words.tokens import Tokens


class GatingConfig(Frozen):
    """What is gated and how; the defaults are the paper's, `released` options the authors' code's."""

    blocks: Literal["released", "paper", "all"] = "released"
    inner_filters: bool = False  # gate the filters of the first 1×1 too
    hidden: int = Field(32, gt=0)
    trunk: Literal["paper", "released"] = "paper"
    bias: float = 3.0
    coin: Coin = "batch"


class LadsConfig(SupernetConfig):
    """Sizes of a LADS network; `gating=None` is the same network run in full."""

    system: Literal["lads"] = "lads"
    head: Literal["cls", "dense"] = "cls"
    dense_auxiliary: bool = False
    # cells whose boxes overlap by this IoU or more are one answer (`voted`); 1: the best cell answers alone
    vote: float = Field(1.0, gt=0, le=1)
    gating: GatingConfig | None = GatingConfig()
    categories: tuple[str, ...] = ()  # what the detection pre-training head names; none, no head
    attributes: tuple[str, ...] = ()

    @property
    def abilities(self) -> frozenset[Ability]:
        """It finds one box."""
        return frozenset({Ability.GROUNDS})


class GroundingNet(FusionNetwork):
    """What sees: backbone, fusion of image and words, box head. Supernet and extracted subnets alike."""

    backbone: ResNet
    positions: Tensor
    prior: Tensor

    def __init__(self, config: LadsConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = config.backbone()
        self.visual_proj = Linear(self.backbone.channels, config.dim)
        self.text_proj = nn.Sequential(Linear(config.text.dim, config.dim), nn.LayerNorm(config.dim))
        self.encoder = Encoder(config.layers, config.dim, config.heads, config.ffn, config.dropout)
        self.box_head = MLP(config.dim, config.dim, 4, 3) if config.head == "cls" else None
        dense = config.head == "dense" or config.dense_auxiliary
        self.dense_head = MLP(config.dim, config.dim, 5, 3) if dense else None
        self._buffers_of(config)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2 and "norm" not in name:
                nn.init.xavier_uniform_(parameter)

    def _buffers_of(self, config: LadsConfig) -> None:
        """Constants of the image size; not saved, since the configuration determines them."""
        grid = config.grid
        self.register_buffer("positions", sine_positions(grid, grid, config.dim), persistent=False)
        centres = (torch.arange(grid) + 0.5) / grid
        prior = torch.stack((centres.repeat(grid), centres.repeat_interleave(grid)), dim=1)
        prior = torch.cat((prior.logit(), torch.full_like(prior, -1.0)), dim=1)
        self.register_buffer("prior", prior, persistent=False)

    def see(self, images: Tensor, gates: Gates | None = None) -> Tensor:
        """Normalised images (I, 3, S, S) → visual tokens (I, V, D)."""
        return self.cells([self.backbone(images, gates)])

    def cells(self, maps: Sequence[Tensor]) -> Tensor:
        """Visual tokens (I, V, D) of the backbone's last map."""
        features: Tensor = self.visual_proj(maps[-1].flatten(2).transpose(1, 2))
        return features

    def forward(
        self,
        images: Tensor,
        text_ELD: Tensor,
        tokens: Tokens,
        gates: Gates | None = None,
        image_index: Tensor | None = None,
        shown: Tensor | None = None,
    ) -> Prediction:
        """`image_index` (E,) says which image each expression is about (None: its own row).

        Padding is attended to as everything else, so `shown` is not read.
        """
        if image_index is not None and gates is not None:
            images, image_index = images[image_index], None
        visual = seen = self.see(images, gates)
        if image_index is not None:
            visual = visual[image_index]
        x, positions, keep = self.joined(visual, text_ELD, tokens)
        outputs = self.encoder(x, positions, keep, gates)
        return self.predict(outputs, text_ELD, tokens, seen if self.training else None)

    def joined(
        self, visual_EVD: Tensor, text_ELD: Tensor, tokens: Tokens
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """What the encoder reads: (E, L+V, D), the positions of all tokens, and which may be attended to."""
        words = self.text_proj(text_ELD)
        x = torch.cat((words, visual_EVD.to(words.dtype)), dim=1)
        nowhere = self.positions.new_zeros(words.shape[1], x.shape[2])
        positions = torch.cat((nowhere, self.positions)).to(x.dtype)
        return x, positions, self._keep(tokens, visual_EVD.shape[1])

    @staticmethod
    def _keep(tokens: Tokens, visual: int) -> Tensor | None:
        if not tokens.padded:
            return None
        return torch.cat((~tokens.padding, tokens.padding.new_ones(len(tokens.padding), visual)), dim=1)

    def predict(
        self, outputs: list[Tensor], text_ELD: Tensor, tokens: Tokens, seen: Tensor | None = None
    ) -> Prediction:
        """The heads on the encoder's outputs, of which the first tokens are words."""
        words, logits, boxes = text_ELD.shape[1], [], []
        if self.dense_head is not None:
            for output in outputs if self.training else outputs[-1:]:
                dense = self.dense_head(output[:, words:]).float()
                logits.append(dense[..., 0])
                boxes.append((dense[..., 1:] + self.prior).sigmoid())
        if self.box_head is not None:
            answer = self.box_head(outputs[-1][:, 0]).float().sigmoid()
            return Prediction(answer, None, tuple(logits), tuple(boxes), seen)
        answer, scores = voted(boxes[-1], logits[-1].softmax(dim=1), self.config.vote)
        return Prediction(answer, scores, tuple(logits), tuple(boxes), seen)

    def extract(self, selection: Selection, cutter: Cutter = ANEW) -> "GroundingNet":
        """The dense network that holds only what the Selection keeps; unsliced weights are shared."""
        parts: dict[str, nn.Module | None] = {
            "backbone": self.backbone.extract(selection, cutter),
            "encoder": self.encoder.extract(selection, cutter),
        }
        if self.config.head != "dense":  # then it only helped to train
            parts["dense_head"] = None
        part = cutter.around(self, parts)
        return part.eval() if self.training else part  # setting the mode takes longer than sharing


def voted(boxes_EV4: Tensor, likely_EV: Tensor, overlap: float) -> tuple[Tensor, Tensor]:
    """The box (E, 4) that most of the cells' probability is for, and how much that is (E,).

    A softmax spreads a large object over its cells, so the best single cell favours small objects. A cell's
    box gathers the probability of all cells whose boxes overlap it by an IoU of at least `overlap`; the one
    that gathers most answers, with the mean of those boxes, weighed by their probability. With an overlap of
    1 the best cell answers alone. Boxes are cxcywh in [0, 1].
    """
    rows = torch.arange(len(boxes_EV4), device=boxes_EV4.device)
    if overlap == 1:
        scores, best = likely_EV.max(dim=1)
        return boxes_EV4[rows, best], scores
    corners = cxcywh_to_xyxy(boxes_EV4)
    near_EVV = (iou(corners[:, :, None], corners[:, None]) >= overlap).to(likely_EV.dtype)
    scores, best = (near_EVV @ likely_EV[..., None])[..., 0].max(dim=1)
    weights_EV = near_EVV[rows, best] * likely_EV
    answer = (weights_EV[..., None] * boxes_EV4).sum(1) / weights_EV.sum(1, keepdim=True).clamp(min=1e-12)
    return answer, scores.clamp(max=1)


class Detector(nn.Module):
    """A training-only head on the visual tokens: category (last = nothing), attributes, box of each cell."""

    groups: Tensor  # as `attribute_groups` gives them

    def __init__(self, config: LadsConfig) -> None:
        super().__init__()
        self.categories, self.attributes = len(config.categories), len(config.attributes)
        self.head = MLP(config.dim, config.dim, self.categories + 1 + self.attributes + 4, 2)
        last = self.head.layers[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():  # an attribute is rare: start there, or its loss drowns the others
            last.bias[self.categories + 1 : -4] = -4.0
        self.register_buffer("groups", attribute_groups(config.attributes), persistent=False)

    def forward(self, visual_IVD: Tensor, prior_V4: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """→ class logits (I, V, C+1), attribute logits (I, V, A), boxes cxcywh01 (I, V, 4)."""
        out = self.head(visual_IVD).float()
        classes, attributes, boxes = out.split((self.categories + 1, self.attributes, 4), dim=-1)
        return classes, attributes, (boxes + prior_V4).sigmoid()


def attribute_groups(names: Sequence[str]) -> Tensor:
    """(G, M) indices of the attributes that exclude one another, −1 where a group is smaller.

    `hat:red` and `hat:blue` are of one group; all names without a colon are of another.
    """
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        groups.setdefault(name.rpartition(":")[0], []).append(index)
    most = max(map(len, groups.values()), default=0)
    rows = [group + [-1] * (most - len(group)) for group in groups.values()]
    return torch.tensor(rows, dtype=torch.long).view(len(rows), most)


class Lads(Supernet):
    """Supernet and selector."""

    config: LadsConfig
    net: GroundingNet

    def __init__(self, config: LadsConfig) -> None:
        super().__init__()
        self.config = config
        self.text = TextEncoder(config.text)
        self.net = GroundingNet(config)
        self.selector = None
        if (gating := config.gating) is not None:
            self.selector = LanguageGates(
                self.units(), config.text.dim, gating.hidden, gating.trunk, gating.bias
            )
        self.detector = Detector(config) if config.categories else None

    def units(self) -> tuple[Unit, ...]:
        """Everything that can be left out, in network order; empty for a network that always runs in full."""
        gating = self.config.gating
        if gating is None:
            return ()
        return units(self.net.backbone, gating.blocks, gating.inner_filters) + self.net.encoder.units()

    def _costs(self, height: int, width: int) -> CostModel:
        net, seen = self.net, self.net.backbone.macs(height, width)
        cells, words = Count(seen.cells), net.text_proj[0]
        assert isinstance(words, Linear)
        if self.config.head == "dense":
            assert net.dense_head is not None
            head = cells * net.dense_head.macs()
        else:
            assert net.box_head is not None
            head = Count(net.box_head.macs())
        return CostModel(
            (
                *words_parts(self.text, self.selector),
                *backbone_parts(seen),
                Part("projection", net.visual_proj.macs(cells) + words.macs(TEXT)),
                *sublayer_parts(net.encoder.macs(TEXT + cells), {"attention": "attention", "ffn": "ffn"}),
                Part("head", head),
            )
        )
