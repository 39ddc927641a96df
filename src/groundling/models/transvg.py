"""TransVG: the static baseline. A [REG] token reads words and image through one encoder and becomes the box.

    visual = visual_proj(DETR encoder(ResNet(image)))        # per image
    words  = text_proj(BERT(expression))
    box    = MLP(encoder([REG], words, visual)[REG])

Deng et al., "TransVG: End-to-End Visual Grounding with Transformers", ICCV 2021.
Shapes: I images of side S, E expressions, L tokens, V = grid² visual tokens, D channels.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from groundling.dynamic.cost import CostModel, Part, backbone_parts, sublayer_parts
from groundling.layers.cutting import ANEW, Cutter
from groundling.layers.fused import Linear
from groundling.layers.macs import TEXT, Count
from groundling.layers.resnet import Gates
from groundling.layers.transformer import MLP, Encoder, shown_cells, sine_positions_within
from groundling.models.abilities import Ability
from groundling.models.supernet import Network, Prediction, Supernet, SupernetConfig, words_parts
from groundling.pictures.placement import Canvas, Framing
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
    def framing(self) -> Framing:
        """The centre of a canvas that is zero beside the picture, as in the released code."""
        return Canvas(size=self.image_size, beside="zero")

    @property
    def abilities(self) -> frozenset[Ability]:
        """It finds one box."""
        return frozenset({Ability.GROUNDS})


class TransVGNet(Network):
    """What sees: backbone, DETR encoder, fusion of [REG], words and image, box head."""

    masked = True

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
        for encoder in (self.visual_encoder, self.encoder):
            for parameter in encoder.parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)

    def see(self, images: Tensor, shown: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Normalised images (I, 3, S, S) → visual tokens (I, V, D), and where they show the image (I, V)."""
        maps = self.backbone(images)
        cells = shown_cells(shown, maps)
        positions, keep = sine_positions_within(cells, self.config.dim), cells.flatten(1)
        features = self.input_proj(maps.flatten(2).transpose(1, 2))
        encoded = self.visual_encoder(features, positions.to(features.dtype), _mask(keep))
        return self.visual_proj(encoded[-1]), keep

    def forward(
        self,
        images: Tensor,
        text_ELD: Tensor,
        tokens: Tokens,
        gates: Gates | None = None,
        image_index: Tensor | None = None,
        shown: Tensor | None = None,
    ) -> Prediction:
        """Arguments as those of every Network; padding is not attended to."""
        if gates:
            raise ValueError(f"TransVG is static: it has no units to gate, given {len(gates)} gates")
        visual, cells = self.see(images, shown)
        if image_index is not None:
            visual, cells = visual[image_index], cells[image_index]
        words = self.text_proj(text_ELD)
        reg = self.reg_token.weight.expand(len(words), 1, -1)
        x = torch.cat((reg, words, visual.to(words.dtype)), dim=1)
        keep = torch.cat((cells.new_ones(len(words), 1), ~tokens.padding, cells), dim=1)
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


def _mask(keep: Tensor) -> Tensor | None:
    return keep if exporting() or not bool(keep.all()) else None


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

    def _costs(self, height: int, width: int) -> CostModel:
        net, seen = self.net, self.net.backbone.macs(height, width)
        cells, words = Count(seen.cells), net.text_proj
        assert isinstance(words, Linear)
        fused = TEXT + Count(seen.cells + 1)  # with [REG]
        visual = net.visual_encoder.macs(cells, "visual_encoder")
        return CostModel(
            (
                *words_parts(self.text, None),
                *backbone_parts(seen),
                Part(
                    "projection", net.input_proj.macs(cells) + net.visual_proj.macs(cells) + words.macs(TEXT)
                ),
                *sublayer_parts(net.encoder.macs(fused), {"attention": "attention", "ffn": "ffn"}),
                Part("head", Count(net.box_head.macs())),
                Part("visual_encoder", units=tuple(visual.items())),
            )
        )
