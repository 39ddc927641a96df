"""DETR: a set of queries reads the image and becomes the set of its objects, all at once.

    memory  = encoder(input_proj(backbone(image)))
    found   = decoder(queries, memory)
    answers = class_embed(found), bbox_embed(found)

Carion et al., "End-to-End Object Detection with Transformers", ECCV 2020. Names of weights are those of the
published checkpoints, without `transformer.` and with `backbone.` for `backbone.0.body.`.
Shapes: B images of H × W pixels, V = h·w visual tokens, Q queries, C categories, D channels.
"""

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from groundling.dynamic.cost import CostModel, Part, backbone_parts, sublayer_parts
from groundling.layers.cutting import ANEW, Cutter
from groundling.layers.decoder import SUBLAYERS, Decoder
from groundling.layers.fused import Linear
from groundling.layers.macs import Count, linear_map
from groundling.layers.resnet import Gates, units
from groundling.layers.transformer import (
    MLP,
    Encoder,
    shown_cells,
    sine_positions,
    sine_positions_within,
)
from groundling.models.abilities import Ability
from groundling.models.coco_names import COCO_NAMES
from groundling.models.detecting import CategoryDetector, SetPrediction
from groundling.models.supernet import Lesson, Sizes
from groundling.pictures.placement import Framing, Resize, check_sides
from groundling.selection import Selection, Unit
from groundling.words.tokens import exporting


class DetrConfig(Sizes):
    """Sizes of a DETR; the defaults are the paper's with ResNet-50 on COCO."""

    system: Literal["detr"] = "detr"
    categories: tuple[str, ...] = Field(COCO_NAMES, min_length=1, max_length=65_536)
    queries: int = Field(100, gt=0, le=10_000)
    encoder_layers: int = Field(6, gt=0, le=100)
    decoder_layers: int = Field(6, gt=0, le=100)
    short_side: int = Field(800, gt=0, le=8192)  # pixels that an image's short side is scaled to,
    long_side: int = Field(1333, gt=0, le=8192)  # or less, where its long side would be longer than this

    @model_validator(mode="after")
    def _sides(self) -> "DetrConfig":
        check_sides(self.short_side, self.long_side)
        return self

    @property
    def lesson(self) -> Lesson:
        """It learns from objects."""
        return "objects"

    @property
    def framing(self) -> Framing:
        """As the released DETR sees pictures."""
        return Resize(short_side=self.short_side, long_side=self.long_side)

    @property
    def abilities(self) -> frozenset[Ability]:
        """It detects, and reads no words."""
        return frozenset({Ability.DETECTS})


class DetrNet(nn.Module):
    """Backbone, encoder, decoder and heads: the supernet's network and its extracted subnets alike."""

    def __init__(self, config: DetrConfig) -> None:
        super().__init__()
        sizes = (config.dim, config.heads, config.ffn, config.dropout)
        self.backbone = config.backbone()
        self.input_proj = nn.Conv2d(self.backbone.channels, config.dim, 1)
        self.encoder = Encoder(config.encoder_layers, *sizes)
        self.query_embed = nn.Embedding(config.queries, config.dim)
        self.decoder = Decoder(config.decoder_layers, *sizes)
        self.class_embed = Linear(config.dim, len(config.categories) + 1)
        self.bbox_embed = MLP(config.dim, config.dim, 4, 3)
        for part in (self.encoder, self.decoder):
            for parameter in part.parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)

    def forward(
        self, images_B3HW: Tensor, shown_BHW: Tensor | None = None, gates: Gates | None = None
    ) -> SetPrediction:
        """Normalised images, which of their pixels are no padding (None: all), and gates (B, size) if any."""
        features = self.backbone(images_B3HW, gates)
        positions, keep = places(features, shown_BHW, self.query_embed.embedding_dim)
        x = self.input_proj(features).flatten(2).transpose(1, 2)
        memory = self.encoder(x, positions, keep, gates)[-1]
        queries = self.query_embed.weight
        nothing = queries.new_zeros(len(x), *queries.shape)
        found = self.decoder(nothing, queries, memory, positions, keep, gates)
        layers = found if self.training else found[-1:]
        return SetPrediction(tuple((_full(self.class_embed(x)), self.boxes(x)) for x in layers))

    def boxes(self, found_BQD: Tensor) -> Tensor:
        """The box of each query, cxcywh01 (B, Q, 4)."""
        return _full(self.bbox_embed(found_BQD)).sigmoid()

    def extract(self, selection: Selection, cutter: Cutter = ANEW) -> "DetrNet":
        """The dense network that holds only what the Selection keeps; unsliced weights are shared."""
        parts = {
            "backbone": self.backbone.extract(selection, cutter),
            "encoder": self.encoder.extract(selection, cutter),
            "decoder": self.decoder.extract(selection, cutter),
        }
        part = cutter.around(self, parts)
        return part.eval() if self.training else part


def places(features_BCHW: Tensor, shown_BHW: Tensor | None, dim: int) -> tuple[Tensor, Tensor | None]:
    """Positions of the cells, (V, D) or (B, V, D), and which of them show the image (B, V), None for all."""
    height, width = features_BCHW.shape[2:]
    if shown_BHW is None or (not exporting() and bool(shown_BHW.all())):
        return sine_positions(height, width, dim).to(features_BCHW), None
    cells = shown_cells(shown_BHW, features_BCHW)
    return sine_positions_within(cells, dim).to(features_BCHW.dtype), cells.flatten(1)


def _full(x: Tensor) -> Tensor:
    """Heads answer in full precision also where autocast computes in half."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class Detr(CategoryDetector):
    """The network, and its units: residual layers and filters of the backbone, sublayers of both stacks.

    Nothing decides about them here; a Selection can (`dynamic.extract`).
    """

    config: DetrConfig
    net: DetrNet

    def __init__(self, config: DetrConfig) -> None:
        super().__init__()
        self.config = config
        self.net = DetrNet(config)

    def units(self) -> tuple[Unit, ...]:
        """Everything that can be left out, in network order."""
        net = self.net
        return units(net.backbone, "all", inner=False) + net.encoder.units() + net.decoder.units()

    def forward(
        self, images_B3HW: Tensor, shown_BHW: Tensor | None = None, gates: Gates | None = None
    ) -> SetPrediction:
        """The whole network, masked where gates are given."""
        prediction: SetPrediction = self.net(images_B3HW, shown_BHW, gates)
        return prediction

    def cost_model(self, height: int, width: int) -> CostModel:
        """What each part of this network costs for one image of these sides, as the network is given it."""
        net, seen = self.net, self.net.backbone.macs(height, width)
        cells, queries = Count(seen.cells), Count(self.config.queries)
        encoder = {kind: f"encoder {kind}" for kind in ("attention", "ffn")}
        decoder = {kind: f"decoder {kind.replace('_', ' ')}" for kind in SUBLAYERS}
        return CostModel(
            (
                *backbone_parts(seen),
                Part("projection", linear_map(cells, net.backbone.channels, self.config.dim)),
                *sublayer_parts(net.encoder.macs(cells), encoder),
                *sublayer_parts(net.decoder.macs(queries, cells), decoder),
                Part("head", net.class_embed.macs(queries) + queries * net.bbox_embed.macs()),
            )
        )
