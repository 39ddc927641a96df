"""MDETR: detection modulated by words. Image and caption are read together, queries ask for their objects.

    memory  = net.read(images, text, tokens)     # backbone, then encoder over [image, words]
    hidden  = net.decode(memory)                 # of each decoder layer; object queries, then answer queries
    objects = net.objects(hidden[-1])            # soft tokens and boxes
    queries, words = net.align(hidden[-1], memory)
    answers = net.answer(hidden)                 # of a question
    masks   = net.masks(hidden[-1], memory)

Kamath et al., "MDETR - Modulated Detection for End-to-End Multi-Modal Understanding", ICCV 2021.
Shapes: I images of H × W pixels, E captions, L tokens, V = h·w visual tokens, Q object queries, A answer
queries, D channels, C = token slots + 1, the last of which says that there is no object.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from groundling.dynamic.blocks import BlockCache
from groundling.dynamic.cost import SELECTOR, CostModel, Part, backbone_parts, sublayer_parts
from groundling.dynamic.extract import extract
from groundling.dynamic.gates import LanguageGates
from groundling.layers.cutting import ANEW, Cutter
from groundling.layers.decoder import Decoder
from groundling.layers.fused import Linear
from groundling.layers.macs import TEXT, Count
from groundling.layers.mask_head import MaskHead
from groundling.layers.resnet import Gates, units
from groundling.layers.transformer import MLP, Encoder, shown_cells, sine_positions_within
from groundling.models.abilities import Ability
from groundling.models.answers import AnswerHeads, AnswersConfig
from groundling.models.finder import ObjectFinder
from groundling.models.lads import GatingConfig
from groundling.models.objects import Objects
from groundling.models.supernet import Lesson, Network, Prediction, SupernetConfig, words_parts
from groundling.pictures.placement import Framing, Resize
from groundling.results import Cost
from groundling.selection import Selection, Unit
from groundling.words.roberta import RobertaEncoder, RobertaTextConfig
from groundling.words.tokens import Tokens, exporting


class MdetrConfig(SupernetConfig):
    """Sizes of an MDETR; the defaults are the released ResNet-101's.

    Pictures are seen as the released ones are where `resize` says how, otherwise in the centre of a canvas of
    `image_size`; 1067 is the long side of a 4:3 photo whose short side is 800.
    """

    system: Literal["mdetr"] = "mdetr"
    image_size: int = Field(1067, gt=0, le=4096)  # of the canvas, where pictures lie on one
    resize: Resize | None = None
    text: RobertaTextConfig = RobertaTextConfig()
    blocks: tuple[int, ...] = Field((3, 4, 23, 3), min_length=1, max_length=5)
    decoder_layers: int = Field(6, gt=0, le=100)
    queries: int = Field(100, gt=0, le=10_000)
    contrastive: int = Field(64, ge=0, le=8192)  # channels of the alignment; 0, none
    regions: int = Field(0, ge=0, le=8192)  # channels of region-word scores, which only training asks for
    answers: AnswersConfig | None = None
    gating: GatingConfig | None = None  # words choose what of backbone, encoder and decoder runs
    is_final: bool = False  # whether an object is what is asked for, or only mentioned on the way
    masks: bool = False
    threshold: float = Field(0.7, ge=0, le=1)  # score from which an object counts; the published demo's
    # IoU above which two queries are of one object, of which each makes it likelier; as published, 1: never
    overlap: float = Field(1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _regions_have_a_canvas(self) -> "MdetrConfig":
        if self.regions and self.resize is not None:
            raise ValueError("region-word scores are learned on a canvas: regions needs resize=None")
        return self

    @property
    def lesson(self) -> Lesson:
        """It learns from captions."""
        return "captions"

    @property
    def framing(self) -> Framing:
        """As the released MDETR sees pictures, or on a canvas."""
        return super().framing if self.resize is None else self.resize

    @property
    def abilities(self) -> frozenset[Ability]:
        """It finds objects, and with the heads for it answers and segments."""
        able = {Ability.GROUNDS, Ability.FINDS}
        able |= {Ability.ANSWERS} if self.answers is not None else set()
        return frozenset(able | ({Ability.SEGMENTS} if self.masks else set()))

    @property
    def slots(self) -> int:
        """Tokens that an object can be of: the last of a full caption is its end."""
        return self.text.tokens - 1


@dataclass(frozen=True)
class Seen:
    """Images without words: visual tokens (I, V, D), their positions, and which show the image (I, V).

    `grid` is (h, w). For masks: the backbone's stages before its last one, the coarsest first, (I, C, h, w).
    """

    visual: Tensor
    positions: Tensor
    shown: Tensor
    grid: tuple[int, int]
    lower: tuple[Tensor, ...]


@dataclass(frozen=True)
class Memory:
    """What was read: encoded [image, words] (E, V+L, D), where they are, and what may be attended to.

    For masks: the visual tokens before the encoder (E, V, D), their grid, the backbone's earlier stages as in
    Seen, of the images that `image_index` (E,) names (None: its own row). The words' gates go on into the
    decoder.
    """

    encoded: Tensor
    positions: Tensor
    keep: Tensor | None
    visual: Tensor
    grid: tuple[int, int]
    lower: tuple[Tensor, ...]
    image_index: Tensor | None
    gates: Gates | None = None

    @property
    def words(self) -> Tensor:
        """The encoded words (E, L, D)."""
        return self.encoded[:, self.visual.shape[1] :]

    def of(self, rows: Tensor) -> "Memory":
        """What was read with these captions (R,) alone."""
        return Memory(
            self.encoded[rows],
            self.positions[rows],
            None if self.keep is None else self.keep[rows],
            self.visual[rows],
            self.grid,
            self.lower,
            rows if self.image_index is None else self.image_index[rows],
            self.gates and {name: gate[rows] for name, gate in self.gates.items()},
        )


@dataclass(frozen=True)
class SoftTokens:
    """Of each query: soft token logits (E, Q, C), boxes cxcywh01 (E, Q, 4), is-final logits (E, Q) or None.

    The last of the C says that there is no object, and has its part in the softmax.
    """

    logits: Tensor
    boxes_cxcywh01: Tensor
    final: Tensor | None

    def objects(self, overlap: float = 1.0) -> Objects:
        """A thing as sure as 1 − P(no object), times σ(is final) where the model says that."""
        likely = self.logits.softmax(-1)
        there = 1 - likely[..., -1]
        there = there if self.final is None else there * self.final.sigmoid()
        return Objects(self.boxes_cxcywh01, likely[..., :-1], there, "likeliest", overlap)


class RegionWords(nn.Module):
    """GLIP's alignment of regions and words: a scaled product of both, which begins at 1 %."""

    def __init__(self, dim: int, channels: int) -> None:
        super().__init__()
        self.cells, self.words = nn.Linear(dim, channels), nn.Linear(dim, channels)
        self.bias = nn.Parameter(torch.tensor(-math.log(99.0)))

    def forward(self, cells_EVD: Tensor, words_ELD: Tensor) -> Tensor:
        """Logits (E, V, L)."""
        cells = self.cells(cells_EVD)
        found: Tensor = cells @ self.words(words_ELD).transpose(1, 2) * cells.shape[-1] ** -0.5
        return found.float() + self.bias


class MdetrNet(Network):
    """What sees: backbone, encoder over image and words, decoder over queries, heads."""

    masked = True

    def __init__(self, config: MdetrConfig) -> None:
        super().__init__()
        dim, sizes = config.dim, (config.dim, config.heads, config.ffn, config.dropout)
        self.config = config
        self.backbone = config.backbone()
        self.input_proj = Linear(self.backbone.channels, dim)  # a 1×1 convolution
        self.resizer = nn.Sequential(
            Linear(config.text.dim, dim), nn.LayerNorm(dim, eps=1e-12), nn.Dropout(config.dropout)
        )
        self.encoder = Encoder(config.layers, *sizes)
        self.decoder = Decoder(config.decoder_layers, *sizes)
        self.query_embed = nn.Embedding(config.queries, dim)
        self.class_embed = Linear(dim, config.slots + 1)
        self.bbox_embed = MLP(dim, dim, 4, 3)
        self.final_embed = Linear(dim, 1) if config.is_final else None
        self.align_queries = nn.Linear(dim, config.contrastive) if config.contrastive else None
        self.align_words = nn.Linear(dim, config.contrastive) if config.contrastive else None
        self.region_words = RegionWords(dim, config.regions) if config.regions else None
        self.answers = AnswerHeads(config.answers, dim) if config.answers is not None else None
        self.mask_head = MaskHead(dim, config.heads, _lower_channels(config)) if config.masks else None
        for part in (self.encoder, self.decoder, self.resizer):
            for parameter in part.parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)

    def read(
        self,
        images: Tensor,
        text_ELD: Tensor,
        tokens: Tokens,
        image_index: Tensor | None = None,
        gates: Gates | None = None,
        shown: Tensor | None = None,
    ) -> Memory:
        """Normalised images (I, 3, H, W) and the words' features, through the encoder.

        `image_index` (E,) says which image each caption is about (None: its own row), `shown` (I, H, W) which
        pixels are no padding (None: all). With gates (E, size) the backbone sees the image of each caption
        for itself.
        """
        if gates and image_index is not None:
            shown = None if shown is None else shown[image_index]
            images, image_index = images[image_index], None
        return self.join(self.see(images, gates, shown), text_ELD, tokens, image_index, gates)

    def see(self, images: Tensor, gates: Gates | None = None, shown: Tensor | None = None) -> Seen:
        """Normalised images (I, 3, H, W) through the backbone; words change it by gates (I, size) alone."""
        lower: tuple[Tensor, ...] = ()
        if self.mask_head is None:
            last = self.backbone(images, gates)
        else:
            *earlier, last = self.backbone.each_stage(images, gates)
            lower = tuple(earlier[::-1][:3])
        cells = shown_cells(shown, last)
        positions, grid = sine_positions_within(cells, self.config.dim), (last.shape[2], last.shape[3])
        visual = self.input_proj(last.flatten(2).transpose(1, 2))
        return Seen(visual, positions, cells.flatten(1), grid, lower)

    def join(
        self,
        seen: Seen,
        text_ELD: Tensor,
        tokens: Tokens,
        image_index: Tensor | None = None,
        gates: Gates | None = None,
    ) -> Memory:
        """Image and words through the encoder; arguments as those of `read`."""
        visual, places, shown = seen.visual, seen.positions, seen.shown
        if image_index is not None:
            visual, places, shown = visual[image_index], places[image_index], shown[image_index]
        words = self.resizer(text_ELD)
        x = torch.cat((visual.to(words.dtype), words), dim=1)
        positions = torch.cat((places.to(x.dtype), torch.zeros_like(words)), dim=1)
        keep = torch.cat((shown, ~tokens.padding), dim=1)
        attended = keep if exporting() or not bool(keep.all()) else None
        encoded = self.encoder(x, positions, attended, gates)[-1]
        return Memory(encoded, positions, attended, visual, seen.grid, seen.lower, image_index, gates)

    def decode(self, memory: Memory) -> list[Tensor]:
        """Each decoder layer's output (E, Q + A, D): what queries that begin with nothing came to hold."""
        queries = self.query_embed.weight
        if self.answers is not None:
            queries = torch.cat((queries, self.answers.embed.weight))
        places = queries.expand(len(memory.encoded), -1, -1)
        nothing = torch.zeros_like(places)
        read = (memory.encoded, memory.positions, memory.keep, memory.gates)
        hidden: list[Tensor] = self.decoder(nothing, places, *read)
        return hidden

    def objects(self, hidden_EQD: Tensor) -> Objects:
        """What each query found: its box, its tokens, and how sure it is that it is a thing."""
        return self.soft_tokens(hidden_EQD).objects(self.config.overlap)

    def soft_tokens(self, hidden_EQD: Tensor) -> "SoftTokens":
        """The same as logits, which losses read."""
        hidden = hidden_EQD[:, : self.config.queries]
        boxes = self.bbox_embed(hidden).float().sigmoid()
        final = None if self.final_embed is None else self.final_embed(hidden)[..., 0].float()
        return SoftTokens(self.class_embed(hidden).float(), boxes, final)

    def align(self, hidden_EQD: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Queries (E, Q, P) and words (E, L, P) in one space, of length 1."""
        if self.align_queries is None or self.align_words is None:
            raise ValueError("this MDETR has no contrastive alignment: its configuration says contrastive=0")
        queries = self.align_queries(hidden_EQD[:, : self.config.queries])
        return F.normalize(queries.float(), dim=-1), F.normalize(
            self.align_words(memory.words).float(), dim=-1
        )

    def regions(self, memory: Memory) -> Tensor:
        """Logits (E, V, L) of whether each visual token is of what each word is about."""
        if self.region_words is None:
            raise ValueError("this MDETR has no region-word scores: its configuration says regions=0")
        visual = memory.visual.shape[1]
        found: Tensor = self.region_words(memory.encoded[:, :visual], memory.words)
        return found

    def answer(self, hidden: list[Tensor]) -> dict[str, Tensor]:
        """Logits of the question's type and of each type's answers, from the layer that answers."""
        return self.answer_each(hidden)[-1]

    def answer_each(self, hidden: list[Tensor]) -> list[dict[str, Tensor]]:
        """The same from each decoder layer up to the one that answers."""
        if self.answers is None:
            raise ValueError("this MDETR has no answer heads: its configuration says answers=None")
        asked = hidden[:1] if self.answers.config.layer == "first" else hidden
        return [self.answers(layer[:, self.config.queries :]) for layer in asked]

    def masks(self, hidden_EQD: Tensor, memory: Memory) -> Tensor:
        """Mask logits (E, Q, h, w) of the queries given, at a quarter of the input's sides."""
        if self.mask_head is None:
            raise ValueError("this MDETR has no mask head: its configuration says masks=False")
        visual = memory.visual.shape[1]
        lower, index = memory.lower, memory.image_index
        if index is not None:
            lower = tuple(stage[index] for stage in lower)
        keep = None if memory.keep is None else memory.keep[:, :visual]
        found: Tensor = self.mask_head(
            hidden_EQD, memory.visual, memory.encoded[:, :visual], keep, lower, memory.grid
        )
        return found.float()

    def forward(
        self,
        images: Tensor,
        text_ELD: Tensor,
        tokens: Tokens,
        gates: Gates | None = None,
        image_index: Tensor | None = None,
        shown: Tensor | None = None,
    ) -> Prediction:
        """The object that each expression as a whole is about: the query with the best (joined) score."""
        memory = self.read(images, text_ELD, tokens, image_index, gates, shown)
        return Prediction(*self.objects(self.decode(memory)[-1]).surest())

    def extract(self, selection: Selection, cutter: Cutter = ANEW) -> "MdetrNet":
        """The dense network that holds only what the Selection keeps, its batch norms folded."""
        parts = {
            "backbone": self.backbone.extract(selection, cutter),
            "encoder": self.encoder.extract(selection, cutter),
            "decoder": self.decoder.extract(selection, cutter),
        }
        part = cutter.around(self, parts)
        return part.eval() if self.training else part


def _lower_channels(config: MdetrConfig) -> list[int]:
    """Channels of the (at most three) stages before the last one, the coarsest first."""
    first = config.width * config.expansion
    return [first * 2**stage for stage in reversed(range(len(config.blocks) - 1))][:3]


@dataclass(frozen=True)
class MdetrCost(CostModel):
    """A CostModel of an MDETR, with what questions and masks take.

    `of_image`: what of the projection is the image's; `masks`: of an image, and of each query.
    """

    of_image: int
    answers: int
    masks: tuple[int, int]

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
        less = self.full(tokens) + parts[SELECTOR] - alone
        if seen:
            image = {"stem", *(part.name for part in self.parts if part.blocks)}
            parts = {name: macs for name, macs in parts.items() if name not in image}
            parts["projection"] -= self.of_image
        shared = alone - sum(parts.values())
        if answers:
            parts["answers"] = self.answers
        if masks:
            parts["masks"] = self.masks[0] + masks * self.masks[1]
        return Cost(parts, sum(parts.values()) + less, shared)


class Mdetr(ObjectFinder):
    """RoBERTa, the network that sees and, with gating, what chooses by the words how much of it runs."""

    config: MdetrConfig
    text: RobertaEncoder
    net: MdetrNet
    kept: BlockCache[Any] | None

    def __init__(self, config: MdetrConfig) -> None:
        super().__init__()
        self.config, self.kept = config, None
        self.text = RobertaEncoder(config.text)
        self.net = MdetrNet(config)
        self.selector = None
        if (gating := config.gating) is not None:
            self.selector = LanguageGates(
                self.units(), config.text.dim, gating.hidden, gating.trunk, gating.bias
            )

    def units(self) -> tuple[Unit, ...]:
        """Everything that can be left out, in network order; empty for a static network."""
        gating, net = self.config.gating, self.net
        if gating is None:
            return ()
        found = units(net.backbone, gating.blocks, gating.inner_filters)
        return (*found, *net.encoder.units(), *net.decoder.units())

    def cut(self, selection: Selection) -> MdetrNet:
        """The subnet of a Selection, out of the cache that a Grounder gives its model."""
        found: MdetrNet = extract(self, selection) if self.kept is None else self.kept.get(selection)
        return found

    def _costs(self, height: int, width: int) -> MdetrCost:
        config, net, seen = self.config, self.net, self.net.backbone.macs(height, width)
        cells, words = Count(seen.cells), net.resizer[0]
        assert isinstance(words, Linear)
        queries, memory = Count(config.queries), cells + TEXT
        asking = queries + Count(0 if config.answers is None else config.answers.queries)
        heads = [net.class_embed.macs(queries), queries * net.bbox_embed.macs()]
        heads += [] if net.final_embed is None else [net.final_embed.macs(queries)]
        decoder = net.decoder.macs(asking, memory)
        parts = (
            *words_parts(self.text, self.selector),
            *backbone_parts(seen),
            Part("projection", net.input_proj.macs(cells) + words.macs(TEXT)),
            *sublayer_parts(net.encoder.macs(memory), {"attention": "attention", "ffn": "ffn"}),
            Part("head", sum(heads, Count())),
            Part("decoder", units=tuple(decoder.items())),
        )
        return MdetrCost(
            parts,
            of_image=net.input_proj.macs(cells).once,
            answers=0 if net.answers is None else net.answers.macs(),
            masks=(0, 0) if net.mask_head is None else net.mask_head.macs(_stages(config, height, width)),
        )


def _stages(config: MdetrConfig, height: int, width: int) -> list[tuple[int, int]]:
    """Sides of the last stage and of those (at most three) before it."""
    halved = [(height, width)]
    for _ in range(len(config.blocks) + 1):
        halved.append((-(-halved[-1][0] // 2), -(-halved[-1][1] // 2)))
    return halved[2:][::-1][: 1 + len(_lower_channels(config))]
