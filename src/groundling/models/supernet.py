"""What every grounding system here is to those who run, measure and load it: a Supernet.

Shapes: I images, E expressions, L tokens, V = height·width visual tokens, D channels.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from groundling.dynamic.cost import BlockCost, CostModel
from groundling.dynamic.gates import LanguageGates
from groundling.language import TextConfig, TextEncoder, Tokens
from groundling.layers.resnet import Bottleneck, Gates, Norm, ResNet
from groundling.roberta import RobertaEncoder
from groundling.selection import Selection, Unit


class Frozen(BaseModel):
    """A configuration that nobody changes and that has no option we do not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SupernetConfig(Frozen):
    """Sizes that all systems have: BERT, a bottleneck ResNet, and an encoder over words and image."""

    system: str
    image_size: int = Field(512, gt=0, le=4096)
    text: TextConfig = TextConfig()
    blocks: tuple[int, ...] = Field((3, 4, 6, 3), min_length=1, max_length=5)
    width: int = Field(64, gt=0, le=1024)
    expansion: int = Field(4, gt=0, le=16)
    stem: Literal["conv7", "conv3"] = "conv7"
    stem_width: int = Field(64, ge=4, le=1024)
    norm: Norm = "frozen"
    dim: int = Field(256, gt=0, le=8192)
    heads: int = Field(8, gt=0, le=256)
    ffn: int = Field(2048, gt=0, le=65_536)
    layers: int = Field(6, gt=0, le=100)
    dropout: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _divides(self) -> "SupernetConfig":
        if self.dim % self.heads or self.dim % 4:
            raise ValueError(f"dim {self.dim} must be a multiple of 4 and of heads, {self.heads}")
        if not 1 <= min(self.blocks) <= max(self.blocks) <= 100:
            raise ValueError(f"blocks {self.blocks}: each stage has 1 to 100")
        return self

    @property
    def grid(self) -> int:
        """Visual tokens along one side."""
        stride: int = 2 ** (len(self.blocks) + 1)
        return -(-self.image_size // stride)

    def backbone(self) -> ResNet:
        """The ResNet of these sizes, with fresh weights."""
        return ResNet(self.blocks, self.width, self.expansion, self.stem, self.stem_width, self.norm)


@dataclass(frozen=True)
class Prediction:
    """Boxes (E, 4) cxcywh in [0, 1] of the canvas and scores (E,), None where one box is regressed.

    For losses: `dense_logits` (E, V) and `dense_boxes` (E, V, 4) of every encoder layer, and the visual
    tokens before fusion, (I, V, D) or with gates (E, V, D).
    """

    boxes_cxcywh01: Tensor
    scores: Tensor | None
    dense_logits: tuple[Tensor, ...] = ()
    dense_boxes_cxcywh01: tuple[Tensor, ...] = ()
    visual: Tensor | None = None


class Network(nn.Module, ABC):
    """What sees, given the words' features: a supernet's network and its extracted subnets alike."""

    backbone: ResNet

    @abstractmethod
    def forward(
        self,
        images: Tensor,
        text_ELD: Tensor,
        tokens: Tokens,
        gates: Gates | None = None,
        image_index: Tensor | None = None,
    ) -> Prediction:
        """Normalised images (I, 3, S, S) → one box per expression.

        `image_index` (E,) says which image each expression is about (None: its own row).
        """

    @abstractmethod
    def extract(self, selection: Selection) -> "Network":
        """The dense network that holds only what the Selection keeps; unsliced weights are shared."""


class Supernet(nn.Module, ABC):
    """A text encoder, a network that sees, the units that can be left out, and what decides about them."""

    config: SupernetConfig
    text: TextEncoder | RobertaEncoder
    net: Network
    selector: LanguageGates | None

    @abstractmethod
    def units(self) -> tuple[Unit, ...]:
        """Everything that can be left out, in network order; empty for a static network."""

    @property
    @abstractmethod
    def cost_model(self) -> CostModel:
        """What each part of this network costs."""

    def forward(
        self, images: Tensor, tokens: Tokens, gates: Gates | None = None, image_index: Tensor | None = None
    ) -> Prediction:
        """The supernet, masked where gates are given."""
        prediction: Prediction = self.net(images, self.text(tokens), tokens, gates, image_index)
        return prediction


def resnet_cost(resnet: ResNet, image_size: int) -> tuple[int, tuple[BlockCost, ...], int]:
    """MACs of the stem, of each block, and the side of what comes out."""
    stem, side = _stem_cost(resnet, image_size)
    blocks = []
    for name, block in resnet.named_blocks():
        cost, side = _block_cost(name, block, side)
        blocks.append(cost)
    return stem, tuple(blocks), side


def _conv_cost(conv: nn.Conv2d, side: int) -> tuple[int, int]:
    out = -(-side // conv.stride[0])
    return conv.in_channels * conv.out_channels * conv.kernel_size[0] ** 2 * out**2, out


def _stem_cost(resnet: ResNet, side: int) -> tuple[int, int]:
    """MACs of the stem, and the side of what comes out."""
    macs, side = _conv_cost(resnet.conv1, side)
    if resnet.stem == "conv7":
        return macs, -(-side // 2)
    second, side = _conv_cost(resnet.conv2, side)
    return macs + second, side


def _block_cost(name: str, block: Bottleneck, side: int) -> tuple[BlockCost, int]:
    out = -(-side // block.stride)
    always = block.inputs * block.outputs * out**2 if block.downsample is not None else 0
    first, middle, last = block.inputs * side**2, 9 * out**2, block.outputs * out**2
    return BlockCost(name, first, middle, last, always, block.width), out
