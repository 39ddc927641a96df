"""TransVG: the static baseline. A [REG] token reads words and image through one encoder and becomes the box.

    visual = visual_proj(DETR encoder(ResNet(image)))        # per image
    words  = text_proj(BERT(expression))
    box    = MLP(encoder([REG], words, visual)[REG])

Deng et al., "TransVG: End-to-End Visual Grounding with Transformers", ICCV 2021.
Shapes: I images of side S, E expressions, L tokens, V = grid² visual tokens, D channels.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from groundling.dynamic.cost import CostModel
from groundling.layers.cutting import ANEW, Cutter
from groundling.layers.fused import Linear
from groundling.layers.resnet import Gates
from groundling.layers.transformer import MLP, Encoder, sine_positions_within
from groundling.models.abilities import Ability
from groundling.models.supernet import Network, Prediction, Supernet, SupernetConfig, resnet_cost
from groundling.pictures.images import PADDING, normalise
from groundling.selection import Selection, Unit
from groundling.words.bert import TextConfig, TextEncoder
from groundling.words.tokens import Tokens, exporting


class TransVGConfig(SupernetConfig):
    """Sizes of a TransVG; the defaults are the paper's with ResNet-50.

    The paper reads 20 tokens, 40 on RefCOCOg. The learned positions depend on that number and on
    `image_size`, so weights belong to one of each.
    """

    system: Literal["transvg"] = "transvg"
    image_size: int = 640
    text: TextConfig = TextConfig(layers=12, tokens=20)
    visual_layers: int = 6  # of the DETR encoder over visual tokens

    @property
    def abilities(self) -> frozenset[Ability]:
        """It finds one box."""
        return frozenset({Ability.GROUNDS})


class TransVGNet(Network):
    """What sees: backbone, DETR encoder, fusion of [REG], words and image, box head."""

    padding_colour: Tensor

    def __init__(self, config: TransVGConfig) -> None:
        super().__init__()
        dim, sizes = config.dim, (config.dim, config.heads, config.ffn, config.dropout)
        self.config = config
        self.backbone = config.backbone()
        self.input_proj = Linear(self.backbone.channels, dim)  # DETR's 1×1 convolution
        self.visual_encoder = Encoder(config.visual_layers, *sizes)
        self.visual_proj, self.text_proj = Linear(dim, dim), Linear(config.text.dim, dim)
        self.reg_token = nn.Embedding(1, dim)
        self.vl_pos_embed = nn.Embedding(1 + config.text.tokens + config.grid**2, dim)
        self.encoder = Encoder(config.layers, *sizes)
        self.box_head = MLP(dim, dim, 4, 3)
        colour = normalise(torch.tensor(PADDING, dtype=torch.uint8).view(3, 1, 1))
        self.register_buffer("padding_colour", colour, persistent=False)
        for encoder in (self.visual_encoder, self.encoder):
            for parameter in encoder.parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)

    def see(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (I, 3, S, S) → visual tokens (I, V, D), and where they show the image (I, V)."""
        cells = image_cells(images, self.padding_colour, self.config.grid)
        positions, keep = sine_positions_within(cells, self.config.dim), cells.flatten(1)
        features = self.input_proj(self.backbone(images).flatten(2).transpose(1, 2))
        encoded = self.visual_encoder(features, positions.to(features.dtype), _mask(keep))
        return self.visual_proj(encoded[-1]), keep

    def forward(
        self,
        images: Tensor,
        text_ELD: Tensor,
        tokens: Tokens,
        gates: Gates | None = None,
        image_index: Tensor | None = None,
    ) -> Prediction:
        """`image_index` (E,) says which image each expression is about (None: its own row)."""
        if gates:
            raise ValueError(f"TransVG is static: it has no units to gate, given {len(gates)} gates")
        visual, shown = self.see(images)
        if image_index is not None:
            visual, shown = visual[image_index], shown[image_index]
        words = self.text_proj(text_ELD)
        reg = self.reg_token.weight.expand(len(words), 1, -1)
        x = torch.cat((reg, words, visual.to(words.dtype)), dim=1)
        keep = torch.cat((shown.new_ones(len(words), 1), ~tokens.padding, shown), dim=1)
        outputs = self.encoder(x, self._places(words.shape[1]), _mask(keep))
        return Prediction(self.box_head(outputs[-1][:, 0]).float().sigmoid(), scores=None)

    def _places(self, words: int) -> Tensor:
        """Learned positions (1+L+V, D); those of visual tokens do not depend on how many words there are."""
        places = self.vl_pos_embed.weight
        return torch.cat((places[: 1 + words], places[1 + self.config.text.tokens :]))

    def extract(self, selection: Selection, cutter: Cutter = ANEW) -> "TransVGNet":
        """The same network with its batch norms folded; there is nothing to leave out."""
        parts: dict[str, nn.Module | None] = {
            "backbone": self.backbone.extract(selection, cutter),
            "visual_encoder": self.visual_encoder.extract(selection, cutter, "visual_encoder"),
            "encoder": self.encoder.extract(selection, cutter),
        }
        part = cutter.around(self, parts)
        return part.eval() if self.training else part


def image_cells(images_I3SS: Tensor, padding_311: Tensor, grid: int) -> Tensor:
    """Which cells of the grid show the image, (I, grid, grid) bool; the rest is the letterbox's padding.

    Padding is what `images.letterbox` leaves around the image: border rows and columns that are exactly
    its colour. As in TransVG and DETR, a cell is what its first pixel is (nearest interpolation of the
    mask); an image too thin to hold any cell's first pixel is attended to everywhere.
    """
    rows, columns = (_image_lines(images_I3SS, padding_311, across) for across in (3, 2))
    size = images_I3SS.shape[-1]
    first = torch.arange(grid, device=rows.device) * size // grid
    cells = rows[:, first, None] & columns[:, None, first]
    return cells | ~cells.any(dim=(1, 2), keepdim=True)


def _image_lines(images_I3SS: Tensor, padding_311: Tensor, across: int) -> Tensor:
    """(I, S) True from the first to the last row (column) that is not all padding."""
    least, most = images_I3SS.aminmax(dim=across, keepdim=True)
    furthest = torch.maximum((least - padding_311).abs(), (most - padding_311).abs())
    lines = (furthest > 4e-3).any(dim=1).flatten(1)  # one grey level is 17e-3
    return (lines.cumsum(1) > 0) & (lines.flip(1).cumsum(1).flip(1) > 0)


def _mask(keep: Tensor) -> Tensor | None:
    return keep if exporting() or not bool(keep.all()) else None


@dataclass(frozen=True)
class TransVGCost(CostModel):
    """A CostModel with an encoder over visual tokens before the fusion, and a [REG] token in it."""

    visual_layers: int

    def count(self, selection: Selection | None, tokens: int) -> dict[str, int]:
        """MACs per part; `visual_encoder` is the DETR encoder."""
        parts = super().count(selection, tokens)
        attention, ffn = super()._sublayers(0)
        parts["visual_encoder"] = self.visual_layers * (attention + ffn)
        parts["projection"] += self.visual * self.fusion[1] ** 2
        return parts

    def _sublayers(self, tokens: int) -> tuple[int, int]:
        return super()._sublayers(tokens + 1)


class TransVG(Supernet):
    """The static baseline: no units, no selector."""

    config: TransVGConfig
    net: TransVGNet

    def __init__(self, config: TransVGConfig) -> None:
        super().__init__()
        self.config = config
        self.text = TextEncoder(config.text)
        self.net = TransVGNet(config)
        self.selector = None

    def units(self) -> tuple[Unit, ...]:
        """Nothing can be left out."""
        return ()

    @cached_property
    def cost_model(self) -> CostModel:
        """What each part of this network costs."""
        config = self.config
        side = config.image_size
        stem, blocks, visual = resnet_cost(self.net.backbone, side, side)
        return TransVGCost(
            text=(config.text.layers, config.text.dim, config.text.ffn),
            stem=stem,
            blocks=blocks,
            visual=visual,
            channels=self.net.backbone.channels,
            fusion=(config.layers, config.dim, config.ffn),
            head=config.dim * (2 * config.dim + 4),
            selector=(0, 0),
            visual_layers=config.visual_layers,
        )
