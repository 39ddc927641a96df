"""What every grounding system here is to those who run, measure and load it: a Supernet.

Shapes: I images, E expressions, L tokens, V = height·width visual tokens, D channels.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from groundling.dynamic.cost import SELECTOR, CostModel, Part
from groundling.dynamic.gates import LanguageGates
from groundling.layers.cutting import ANEW, Cutter
from groundling.layers.macs import Count
from groundling.layers.resnet import BlockKind, Gates, Norm, ResNet
from groundling.layers.transformer import Encoder
from groundling.models.abilities import Ability
from groundling.pictures.placement import Canvas, Framing
from groundling.selection import Selection, Unit
from groundling.words.bert import TextConfig, TextEncoder
from groundling.words.roberta import RobertaEncoder
from groundling.words.tokens import Tokens

Lesson = Literal["expressions", "objects", "captions", "phrases"]  # what a model learns from
COST_MODELS = 256  # sides of inputs whose costs are kept


class Frozen(BaseModel):
    """A configuration that nobody changes and that has no option we do not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EncoderSizes(Frozen):
    """Sizes of the transformer that every network has."""

    dim: int = Field(256, gt=0, le=8192)
    heads: int = Field(8, gt=0, le=256)
    ffn: int = Field(2048, gt=0, le=65_536)
    dropout: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _divides(self) -> "EncoderSizes":
        if self.dim % self.heads or self.dim % 4:
            raise ValueError(f"dim {self.dim} must be a multiple of 4 and of heads, {self.heads}")
        return self

    @property
    def abilities(self) -> frozenset[Ability]:
        """What a model of this configuration can do."""
        raise NotImplementedError

    @property
    def lesson(self) -> Lesson:
        """What a model of this configuration learns from."""
        return "expressions"


class Sizes(EncoderSizes):
    """Those of a ResNet, and of the transformer behind it."""

    blocks: tuple[int, ...] = Field((3, 4, 6, 3), min_length=1, max_length=5)
    width: int = Field(64, gt=0, le=1024)
    block: BlockKind = "bottleneck"
    expansion: int = Field(4, gt=0, le=16)  # of bottlenecks; basic blocks have 1
    stem: Literal["conv7", "conv3"] = "conv7"
    stem_width: int = Field(64, ge=4, le=1024)
    norm: Norm = "frozen"

    @model_validator(mode="after")
    def _residual(self) -> "Sizes":
        if not 1 <= min(self.blocks) <= max(self.blocks) <= 100:
            raise ValueError(f"blocks {self.blocks}: each stage has 1 to 100")
        if self.block == "basic" and self.expansion != 1:
            raise ValueError(f"basic blocks have an expansion of 1, given {self.expansion}")
        return self

    def backbone(self) -> ResNet:
        """The ResNet of these sizes, with fresh weights."""
        return ResNet(
            self.blocks, self.width, self.expansion, self.stem, self.stem_width, self.norm, self.block
        )


class GroundingConfig(EncoderSizes):
    """Sizes that all grounding systems have: BERT, and an encoder over words and image."""

    system: str
    image_size: int = Field(512, gt=0, le=4096)
    text: TextConfig = TextConfig()
    layers: int = Field(6, gt=0, le=100)

    @property
    def framing(self) -> Framing:
        """How it sees pictures, and in which frame its boxes are."""
        return Canvas(size=self.image_size)

    @property
    def grid(self) -> int:
        """Visual tokens along one side."""
        raise NotImplementedError


class SupernetConfig(GroundingConfig, Sizes):
    """The same with a ResNet that sees."""

    @property
    def grid(self) -> int:
        """Visual tokens along one side."""
        stride: int = 2 ** (len(self.blocks) + 1)
        return -(-self.image_size // stride)


@dataclass(frozen=True)
class Prediction:
    """Boxes (E, 4) cxcywh in [0, 1] and scores (E,), None where one box is regressed.

    Boxes are shares of what the configuration's `framing` says: of the canvas, or of the image.

    `present` (E,) is the logit of the thing being in the picture at all; None where the network cannot tell.

    For losses: `dense_logits` (E, V) and `dense_boxes` (E, V, 4) of every encoder layer, and the visual
    tokens before fusion, (I, V, D) or with gates (E, V, D).
    """

    boxes_cxcywh01: Tensor
    scores: Tensor | None
    dense_logits: tuple[Tensor, ...] = ()
    dense_boxes_cxcywh01: tuple[Tensor, ...] = ()
    visual: Tensor | None = None
    present: Tensor | None = None


class Network(nn.Module, ABC):
    """What sees, given the words' features: a supernet's network and its extracted subnets alike."""

    backbone: Any  # a ResNet or an MbConvNet
    masked: bool = False  # whether it reads `shown`, and attends to no padding

    @abstractmethod
    def forward(
        self,
        images: Tensor,
        text_ELD: Tensor,
        tokens: Tokens,
        gates: Gates | None = None,
        image_index: Tensor | None = None,
        shown: Tensor | None = None,
    ) -> Prediction:
        """Normalised images (I, 3, H, W) → one box per expression.

        `image_index` (E,) says which image each expression is about (None: its own row), `shown` (I, H, W)
        which pixels are no padding (None: all).
        """

    @abstractmethod
    def extract(self, selection: Selection, cutter: Cutter = ANEW) -> "Network":
        """The dense network that holds only what the Selection keeps; unsliced weights are shared."""


class FusionNetwork(Network):
    """A network whose rows can run together though each has a Selection of its own (`runtime.batched`).

    Backbone, `cells` of the maps of its levels, then an encoder over what `joined` puts together, then the
    heads of `predict`.
    """

    encoder: Encoder

    @abstractmethod
    def cells(self, maps: Sequence[Tensor]) -> Tensor:
        """Visual tokens (I, V, D) of what the backbone's `levels` give, each (I, C, H, W)."""

    @abstractmethod
    def joined(
        self, visual_EVD: Tensor, text_ELD: Tensor, tokens: Tokens
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """What the encoder reads: (E, L+V, D), the positions of all tokens, and which may be attended to."""

    @abstractmethod
    def predict(
        self, outputs: list[Tensor], text_ELD: Tensor, tokens: Tokens, seen: Tensor | None = None
    ) -> Prediction:
        """The heads on the encoder's outputs (E, T, D), given the words' features."""


class Supernet(nn.Module, ABC):
    """A text encoder, a network that sees, the units that can be left out, and what decides about them."""

    config: GroundingConfig
    text: TextEncoder | RobertaEncoder
    net: Network
    selector: LanguageGates | None

    @abstractmethod
    def units(self) -> tuple[Unit, ...]:
        """Everything that can be left out, in network order; empty for a static network."""

    @abstractmethod
    def _costs(self, height: int, width: int) -> CostModel:
        """What each part of this network costs for an input of these sides."""

    def costs(self, height: int, width: int) -> CostModel:
        """What each part of this network costs for an input of these sides; of a few sides it is kept."""
        kept: dict[tuple[int, int], CostModel] = self.__dict__.setdefault("_cost_models", {})
        if (found := kept.get((height, width))) is None:
            if len(kept) >= COST_MODELS:
                kept.clear()
            found = kept[height, width] = self._costs(height, width)
        return found

    @property
    def cost_model(self) -> CostModel:
        """What each part of this network costs for the input that its configuration names."""
        return self.costs(*self.config.framing.sides)

    def forward(
        self,
        images: Tensor,
        tokens: Tokens,
        gates: Gates | None = None,
        image_index: Tensor | None = None,
        shown: Tensor | None = None,
    ) -> Prediction:
        """The supernet, masked where gates are given."""
        prediction: Prediction = self.net(images, self.text(tokens), tokens, gates, image_index, shown)
        return prediction


def words_parts(text: TextEncoder | RobertaEncoder, selector: LanguageGates | None) -> tuple[Part, ...]:
    """What the words cost: the text encoder, and what they choose by."""
    return Part("text", text.macs()), Part(SELECTOR, Count() if selector is None else selector.macs())
