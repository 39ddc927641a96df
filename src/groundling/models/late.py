"""LADS for photographs: the cells of a picture are encoded without words, and words read them afterwards.

    text = model.text(tokens)                          # (E, L, 2·D)
    selection = Selection.from_gates(hard_gates(model.selector(text, tokens)))
    prediction = extract(model, selection)(images, text, tokens)

As in LADS the words alone choose, before the picture is seen, which blocks and channels of the backbone and
which sublayers of the encoder run for them. Different from LADS words meet the picture behind the encoder, so
that with everything on any number of phrases share one encoded picture: in training that is twenty times
cheaper. The backbone is an EfficientNet-Lite, whose maps of strides 8, 16 and 32 are joined at stride 16.
Shapes: I images, E expressions, L tokens, V = grid² cells, D channels.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from groundling.dynamic.cost import CostModel, Part, backbone_parts, sublayer_parts
from groundling.dynamic.gates import LanguageGates
from groundling.layers.cutting import ANEW, Cutter
from groundling.layers.decoder import CrossAttention
from groundling.layers.fused import Linear
from groundling.layers.macs import TEXT, Count, linear_map
from groundling.layers.mbconv import MbConvNet, efficientnet_lite
from groundling.layers.resnet import Gates, Norm
from groundling.layers.transformer import MLP, Encoder, sine_positions
from groundling.models.abilities import Ability
from groundling.models.lads import GatingConfig, voted
from groundling.models.supernet import (
    FusionNetwork,
    GroundingConfig,
    Lesson,
    Prediction,
    Supernet,
    words_parts,
)
from groundling.pictures.placement import Framing, Square
from groundling.selection import Selection, Unit
from groundling.words.bert import TextConfig, TextEncoder
from groundling.words.tokens import Tokens

STRIDE = 16  # pixels of a cell's side


class LateConfig(GroundingConfig):
    """Sizes of the network; `gating=None` is the same network run in full."""

    system: Literal["lads_late"] = "lads_late"
    image_size: int = Field(224, ge=32, le=4096)
    backbone: Literal[0, 1, 2, 3, 4] = 0  # EfficientNet-Lite's number
    norm: Norm = "none"  # published norms are folded into the convolutions
    # Blocks that always run: they see edges and colours, which all words need. Those up to the first level.
    always: int = Field(5, ge=0)
    text: TextConfig = TextConfig(dim=384, ffn=1536, bare=True, dropout=0.0)  # MiniLM's
    dim: int = Field(192, gt=0, le=8192)
    heads: int = Field(6, gt=0, le=256)
    ffn: int = Field(768, gt=0, le=65_536)
    layers: int = Field(3, gt=0, le=100)
    dropout: float = Field(0.0, ge=0, lt=1)
    vote: float = Field(0.6, gt=0, le=1)  # as `lads.voted`
    gating: GatingConfig | None = GatingConfig()

    @model_validator(mode="after")
    def _whole_cells(self) -> "LateConfig":
        if self.image_size % 32:
            raise ValueError(f"image_size {self.image_size} must be a multiple of 32")
        return self

    @property
    def abilities(self) -> frozenset[Ability]:
        """It finds one box, and says whether the thing is there."""
        return frozenset({Ability.GROUNDS, Ability.MISSES})

    @property
    def lesson(self) -> Lesson:
        """It learns from phrases."""
        return "phrases"

    @property
    def framing(self) -> Framing:
        """Pictures are stretched to a square; boxes are shares of the picture."""
        return Square(size=self.image_size)

    @property
    def grid(self) -> int:
        """Cells along one side."""
        return self.image_size // STRIDE


class Join(nn.Module):
    """Maps of strides 8, 16 and 32 as one of stride 16, normed."""

    def __init__(self, channels: Sequence[int], dim: int) -> None:
        super().__init__()
        fine, middle, coarse = channels
        self.fine = nn.Conv2d(fine, dim, 3, 2, 1)
        self.middle, self.coarse = nn.Conv2d(middle, dim, 1), nn.Conv2d(coarse, dim, 1)
        self.norm = nn.LayerNorm(dim)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """(B, C, 2H, 2W), (B, C', H, W), (B, C'', ⌈H/2⌉, ⌈W/2⌉) → (B, H·W, D)."""
        fine, middle, coarse = maps
        coarse = F.interpolate(self.coarse(coarse), size=middle.shape[2:])
        x = self.fine(fine) + self.middle(middle) + coarse
        return self.norm(x.flatten(2).transpose(1, 2))  # type: ignore[no-any-return]

    def macs(self, grid: int) -> int:
        """MACs for so many cells along one side."""
        cells = grid * grid
        coarse = (-(-grid // 2)) ** 2
        weights = (self.fine.weight.numel(), self.middle.weight.numel(), self.coarse.weight.numel())
        return cells * (weights[0] + weights[1]) + coarse * weights[2]


class Reader(nn.Module):
    """Words look at the cells of their picture; then each cell reads the words, and is scaled by them all."""

    def __init__(self, config: LateConfig) -> None:
        super().__init__()
        dim, heads = config.dim, config.heads
        self.look, self.read = (CrossAttention(dim, heads, config.dropout) for _ in range(2))
        self.linear1, self.linear2 = Linear(dim, 2 * dim), Linear(2 * dim, dim)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))
        self.modulate = Linear(dim, 2 * dim)

    def forward(
        self,
        cells_IVD: Tensor,
        positions_VD: Tensor,
        words_ELD: Tensor,
        tokens: Tokens,
        image_index: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Cells (E, V, D) as the words see them, and all words as one (E, D).

        `image_index` (E,) says which picture each expression is about (None: its own row); what does not
        depend on words is computed once for each picture.
        """

        def each(x: Tensor) -> Tensor:
            return x if image_index is None else x[image_index]

        look, read, placed = self.look, self.read, cells_IVD + positions_VD
        key, value = each(look.project(placed, 1, 2)), each(look.project(cells_IVD, 2, 3))
        words = self.norm1(words_ELD + look.attend(look.project(words_ELD, 0, 1), key, value, None))
        words = self.norm2(words + self.linear2(self.linear1(words, relu=True)))
        keep = ~tokens.padding
        query = each(read.project(placed, 0, 1))
        said = read.attend(
            query, read.project(words, 1, 2), read.project(words, 2, 3), keep if tokens.padded else None
        )
        shown = keep[:, :, None].to(words.dtype)
        whole = (words * shown).sum(1) / shown.sum(1)
        scale, shift = self.modulate(whole)[:, None].chunk(2, -1)
        return self.norm3(each(cells_IVD) + said) * (1 + scale) + shift, whole

    def macs(self, cells: Count) -> Count:
        """MACs of a text over so many cells."""
        dim = self.norm1.normalized_shape[0]
        words = linear_map(TEXT, dim, 4 * dim) + Count(self.modulate.weight.numel())
        return self.look.macs(TEXT, cells) + self.read.macs(cells, TEXT) + words


class LateNet(FusionNetwork):
    """What sees and reads: backbone, encoder of cells, reader, heads. Supernet and subnets alike."""

    backbone: MbConvNet
    positions: Tensor
    prior: Tensor

    def __init__(self, config: LateConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = MbConvNet(efficientnet_lite(config.backbone), config.norm)
        self.join = Join(self.backbone.level_channels, config.dim)
        self.text_proj = nn.Sequential(Linear(config.text.features, config.dim), nn.LayerNorm(config.dim))
        self.encoder = Encoder(config.layers, config.dim, config.heads, config.ffn, config.dropout)
        self.reader = Reader(config)
        self.dense_head = MLP(config.dim, config.dim, 5, 3)
        self.present_head = MLP(2 * config.dim, config.dim, 1, 2)
        grid = config.grid
        self.register_buffer("positions", sine_positions(grid, grid, config.dim), persistent=False)
        centres = (torch.arange(grid) + 0.5) / grid
        prior = torch.stack((centres.repeat(grid), centres.repeat_interleave(grid)), dim=1)
        prior = torch.cat((prior.logit(), torch.full_like(prior, -1.0)), dim=1)
        self.register_buffer("prior", prior, persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2 and "norm" not in name:
                nn.init.xavier_uniform_(parameter)
        nn.init.zeros_(self.reader.modulate.weight)

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

        A picture fills its square, so `shown` is not read.
        """
        if image_index is not None and gates is not None:
            images, image_index = images[image_index], None
        maps = self.backbone(images, gates)
        return self.answer(maps, text_ELD, tokens, gates, image_index)

    def resumed(self, maps: Sequence[Tensor], gates: Gates | None) -> list[Tensor]:
        """All levels anew, from the first one on, which no gate changes; gates have a row for each image."""
        first = 1 + int(self.backbone.levels[0].rpartition(".")[2])
        return [maps[0], *self.backbone.levels_from(maps[0], first, gates)]

    def answer(
        self,
        maps: Sequence[Tensor],
        text_ELD: Tensor,
        tokens: Tokens,
        gates: Gates | None = None,
        image_index: Tensor | None = None,
    ) -> Prediction:
        """What follows the backbone, whose maps are given (I, C, H, W)."""
        outputs = self.encoder(self.cells(maps), self.positions, None, gates)
        return self._predict(outputs[-1], text_ELD, tokens, image_index)

    def cells(self, maps: Sequence[Tensor]) -> Tensor:
        """Visual tokens (I, V, D), which know where they are."""
        found: Tensor = self.join(maps) + self.positions
        return found

    def joined(
        self, visual_EVD: Tensor, text_ELD: Tensor, tokens: Tokens
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The encoder reads cells alone."""
        return visual_EVD, self.positions.to(visual_EVD.dtype), None

    def predict(
        self, outputs: list[Tensor], text_ELD: Tensor, tokens: Tokens, seen: Tensor | None = None
    ) -> Prediction:
        """Words read the encoder's last output."""
        return self._predict(outputs[-1], text_ELD, tokens, None)

    def _predict(
        self, cells_IVD: Tensor, text_ELD: Tensor, tokens: Tokens, image_index: Tensor | None
    ) -> Prediction:
        words = self.text_proj(text_ELD)
        positions = self.positions.to(cells_IVD.dtype)
        read_EVD, whole_ED = self.reader(cells_IVD, positions, words, tokens, image_index)
        dense = self.dense_head(read_EVD).float()
        logits, boxes = dense[..., 0], (dense[..., 1:] + self.prior).sigmoid()
        likely = logits.softmax(dim=1)
        there = (likely[:, None].to(read_EVD.dtype) @ read_EVD)[:, 0]
        present = self.present_head(torch.cat((there, whole_ED), dim=1))[:, 0].float()
        # all overlaps of all cells take as long as the heads: a training step does without
        answer, scores = voted(boxes, likely, 1.0 if self.training else self.config.vote)
        return Prediction(answer, scores, (logits,), (boxes,), present=present)

    def extract(self, selection: Selection, cutter: Cutter = ANEW) -> "LateNet":
        """The dense network that holds only what the Selection keeps; unsliced weights are shared."""
        parts: dict[str, nn.Module | None] = {
            "backbone": self.backbone.extract(selection, cutter),
            "encoder": self.encoder.extract(selection, cutter),
        }
        part = cutter.around(self, parts)
        return part.eval() if self.training else part


class LateLads(Supernet):
    """Supernet and selector."""

    config: LateConfig
    net: LateNet

    def __init__(self, config: LateConfig) -> None:
        super().__init__()
        self.config = config
        self.text = TextEncoder(config.text)
        self.net = LateNet(config)
        self.selector = None
        if (gating := config.gating) is not None:
            self.selector = LanguageGates(
                self.units(), config.text.features, gating.hidden, gating.trunk, gating.bias
            )

    def units(self) -> tuple[Unit, ...]:
        """Everything that can be left out, in network order; empty for a network that always runs in full."""
        if self.config.gating is None:
            return ()
        return self.net.backbone.units(self.config.always) + self.net.encoder.units()

    def _costs(self, height: int, width: int) -> CostModel:
        net, seen = self.net, self.net.backbone.macs(height, width)
        cells = Count(self.config.grid**2)
        words = net.text_proj[0]
        assert isinstance(words, Linear)
        heads = cells * net.dense_head.macs() + Count(net.present_head.macs() + cells.once * self.config.dim)
        return CostModel(
            (
                *words_parts(self.text, self.selector),
                *backbone_parts(seen),
                Part("projection", Count(net.join.macs(self.config.grid)) + words.macs(TEXT)),
                *sublayer_parts(net.encoder.macs(cells), {"attention": "attention", "ffn": "ffn"}),
                Part("reader", net.reader.macs(cells)),
                Part("head", heads),
            )
        )
