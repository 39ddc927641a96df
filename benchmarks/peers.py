"""LADS beside what people would pick instead: picture and words to a box, all in turns on one CPU.

    python benchmarks/peers.py [--threads N] [--rounds N] [--images DIR] [--expressions FILE]
                               [--models NAME,NAME] [--json]

A request is decoding, resizing to what the model was published with, normalising, the network, and its best
box in pixels of the picture. All weights are random, since time does not depend on them; the Selections of
lads_r50 are drawn at the LADS paper's rates, a new one each time. The peers come from `transformers`, eager,
with fused attention where their code has it. Their tokenizers need a download, so they read random ids: one
for each word and each punctuation mark, as their vocabularies spell common words, between the special tokens
of the model and padded as its processor pads.
"""

import argparse
import random
import re
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from groundling.cli import console
from groundling.cli.benchmark import read_requests

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from groundling.benchmark import Request
    from groundling.images import ImageSource
    from groundling.models.supernet import SupernetConfig

ADAPTIVE = "lads_r50"
WARM_UP = 2  # rounds
BERT_WORDS, CLIP_WORDS = range(1996, 30_522), range(512, 49_406)  # ids that are no special tokens
COLUMNS = ("", "input", "M parameters", "ms", "p95", f"× {ADAPTIVE}", "GMACs")


class Answer(NamedTuple):
    """A box, xyxy in pixels of the picture, and the MACs of it where somebody counts them."""

    box: tuple[float, float, float, float]
    macs: int | None


@dataclass(frozen=True)
class Contender:
    """A model that answers; height and width are what it reads."""

    name: str
    height: int
    width: int
    parameters: int
    ask: "Callable[[ImageSource, str], Answer]"


@dataclass(frozen=True)
class Row:
    """What the requests to a model took; `ratio` is that of medians to the adaptive one's."""

    name: str
    height: int
    width: int
    parameters: int
    ms_median: float
    ms_p95: float
    ratio: float | None
    macs: int | None  # mean


@dataclass(frozen=True)
class Size:
    """What a peer reads and how large it is: channels, layers and queries are divided by `shrink`."""

    height: int
    width: int
    shrink: int = 1

    def of(self, published: int) -> int:
        """What is left of a published number."""
        return max(1, published // self.shrink)


@dataclass(frozen=True)
class Peer:
    """A detector of `transformers`: how to build it, what it reads and where its answer is."""

    build: "Callable[[Size], nn.Module]"
    text: "Callable[[str], dict[str, Tensor]]"
    outputs: tuple[str, str]  # logits (1, Q, C) and boxes_cxcywh01 (1, Q, 4)
    padded: bool  # to a square; else the picture is stretched
    size: Size


def compare(
    contenders: Sequence[Contender],
    requests: "Sequence[Request]",
    rounds: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Row, ...]:
    """Time every contender on the same requests, `rounds` times each, in turns."""
    from groundling.benchmark import in_turns

    def timed(contender: Contender) -> Callable[[int], tuple[float, int | None]]:
        def run(turn: int) -> tuple[float, int | None]:
            began = time.perf_counter()
            answer = contender.ask(*requests[turn % len(requests)])
            return 1000 * (time.perf_counter() - began), answer.macs

        return run

    ways = {contender.name: timed(contender) for contender in contenders}
    for _ in in_turns(ways, WARM_UP):
        pass
    times: dict[str, list[float]] = defaultdict(list)
    macs: dict[str, list[int]] = defaultdict(list)
    for name, (milliseconds, counted) in in_turns(ways, rounds, progress):
        times[name].append(milliseconds)
        macs[name] += [] if counted is None else [counted]
    return tuple(_row(contender, times, macs[contender.name]) for contender in contenders)


def _row(contender: Contender, times: Mapping[str, Sequence[float]], macs: Sequence[int]) -> Row:
    from groundling.benchmark import p95

    median = statistics.median(times[contender.name])
    adaptive = statistics.median(times[ADAPTIVE]) if ADAPTIVE in times else None
    return Row(
        name=contender.name,
        height=contender.height,
        width=contender.width,
        parameters=contender.parameters,
        ms_median=round(median, 3),
        ms_p95=round(p95(times[contender.name]), 3),
        ratio=None if adaptive is None else round(median / adaptive, 3),
        macs=round(statistics.mean(macs)) if macs else None,
    )


def ours(name: str, config: "SupernetConfig", words: Sequence[str]) -> Contender:
    """A model of this project that reads these words; one with a selector runs a new Selection each time."""
    import torch

    from groundling.benchmark import Choosing, drawn_like_the_paper
    from groundling.language import Tokenizer
    from groundling.models import build

    torch.manual_seed(0)
    model, rng = build(config), random.Random(0)
    tokenizer = Tokenizer.train(words, config.text.vocabulary, config.text.tokens)
    if model.selector is None:
        grounder = Choosing(model, tokenizer)
    else:
        grounder = Choosing(model, tokenizer, cache_mib=0)
        grounder.choose = lambda: drawn_like_the_paper(model.units(), rng)

    def ask(image: "ImageSource", expression: str) -> Answer:
        found = grounder.ground(image, expression)
        return Answer(found.box, found.cost.macs)

    return Contender(name, config.image_size, config.image_size, _parameters(model), ask)


def theirs(name: str, peer: Peer) -> Contender:
    """A peer with random weights."""
    import torch

    from groundling.boxes import clip, cxcywh_to_xyxy
    from groundling.images import normalise, open_image

    torch.manual_seed(0)
    network = peer.build(peer.size).eval()

    @torch.inference_mode()
    def ask(image: "ImageSource", expression: str) -> Answer:
        picture = open_image(image)
        pixels, undo = _fitted(picture, peer)
        outputs = network(pixel_values=normalise(pixels[None]), **peer.text(expression))
        logits, boxes = (outputs[output][0] for output in peer.outputs)
        best = boxes[logits.amax(dim=1).argmax()]
        x1, y1, x2, y2 = clip(undo(cxcywh_to_xyxy(best)), *picture.size).tolist()
        return Answer((x1, y1, x2, y2), None)

    return Contender(name, peer.size.height, peer.size.width, _parameters(network), ask)


def _parameters(network: "nn.Module") -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _fitted(picture: "Image", peer: Peer) -> "tuple[Tensor, Callable[[Tensor], Tensor]]":
    """uint8 (3, H, W) as the peer reads it, and what makes its boxes, of 0 to 1, pixels of the picture."""
    import torch
    from PIL import Image

    from groundling.images import letterbox, to_tensor

    height, width = peer.size.height, peer.size.width
    if peer.padded:
        canvas, placement = letterbox(picture, width)
        return canvas, lambda boxes: placement.undo(boxes * width)
    pixels = to_tensor(picture.resize((width, height), Image.Resampling.BILINEAR))
    return pixels, lambda boxes: boxes * torch.tensor(picture.size * 2)


def grounding_dino(size: Size) -> "nn.Module":
    """Grounding DINO tiny: Swin-T, BERT-base, 900 queries (Liu et al. 2023)."""
    from transformers import BertConfig, GroundingDinoConfig, GroundingDinoForObjectDetection

    text = BertConfig(
        hidden_size=size.of(768), num_hidden_layers=size.of(12), intermediate_size=size.of(3072)
    )
    config = GroundingDinoConfig(
        backbone_config=_swin_tiny(size),
        text_config=text,
        num_queries=size.of(900),
        d_model=size.of(256),
        encoder_layers=size.of(6),
        encoder_ffn_dim=size.of(2048),
        decoder_layers=max(2, size.of(6)),  # they share a head, and one alone cannot
        decoder_ffn_dim=size.of(2048),
    )
    return GroundingDinoForObjectDetection(config)


def owlv2(size: Size) -> "nn.Module":
    """OWLv2 base: ViT-B/16 and CLIP's text encoder (Minderer et al. 2023)."""
    from transformers import Owlv2Config, Owlv2ForObjectDetection, Owlv2TextConfig, Owlv2VisionConfig

    text = Owlv2TextConfig(
        hidden_size=size.of(512), num_hidden_layers=size.of(12), intermediate_size=size.of(2048)
    )
    vision = Owlv2VisionConfig(
        image_size=size.width,
        hidden_size=size.of(768),
        num_hidden_layers=size.of(12),
        intermediate_size=size.of(3072),
    )
    config = Owlv2Config(text_config=text, vision_config=vision, projection_dim=size.of(512))
    return Owlv2ForObjectDetection(config)


def omdet_turbo(size: Size) -> "nn.Module":
    """OmDet-Turbo tiny: Swin-T, CLIP's text encoder, 900 queries (Zhao et al. 2024)."""
    from transformers import CLIPTextConfig, OmDetTurboConfig, OmDetTurboForObjectDetection
    from transformers.models.omdet_turbo.modeling_omdet_turbo import OmDetTurboLRUCache

    text = CLIPTextConfig(
        hidden_size=size.of(512), num_hidden_layers=size.of(12), intermediate_size=size.of(2048)
    )
    config = OmDetTurboConfig(
        text_config=text,
        backbone_config=_swin_tiny(size),
        apply_layernorm_after_vision_backbone=False,  # this Swin has these norms itself
        image_size=size.width,
        num_queries=size.of(900),
        text_projection_in_dim=size.of(512),
        text_projection_out_dim=size.of(512),
        task_encoder_hidden_dim=size.of(1024),
        class_embed_dim=size.of(512),
        encoder_hidden_dim=size.of(256),
        encoder_dim_feedforward=size.of(2048),
        encoder_in_channels=tuple(map(size.of, (192, 384, 768))),
        vision_features_channels=(size.of(256),) * 3,
        decoder_hidden_dim=size.of(256),
        decoder_dim_feedforward=size.of(2048),
        decoder_num_layers=size.of(6),
    )
    network = OmDetTurboForObjectDetection(config)

    def forget(network: "nn.Module", _: object) -> None:  # every request is about new words, as for LADS
        network.language_cache_class = OmDetTurboLRUCache(1)
        network.language_cache_prompt = OmDetTurboLRUCache(1)

    network.register_forward_pre_hook(forget)
    return network


def _swin_tiny(size: Size) -> object:
    from transformers import SwinConfig

    depths = tuple(map(size.of, (2, 2, 6, 2)))
    return SwinConfig(embed_dim=size.of(96), depths=depths, out_indices=[2, 3, 4])


def grounding_dino_text(expression: str) -> "dict[str, Tensor]":
    """[CLS] words . [SEP], unpadded."""
    import torch

    return {"input_ids": torch.tensor([[101, *_ids(expression, BERT_WORDS, 253), 1012, 102]])}


def owlv2_text(expression: str) -> "dict[str, Tensor]":
    """The expression, padded to 16 tokens."""
    ids, mask = _clip_text(expression, 16, padding=0)
    return {"input_ids": ids, "attention_mask": mask}


def omdet_turbo_text(expression: str) -> "dict[str, Tensor]":
    """The expression as a class, and a task, "Detect {expression}."; both padded to 77 tokens."""
    import torch

    classes, classes_mask = _clip_text(expression, 77, padding=49_407)
    tasks, tasks_mask = _clip_text(f"Detect {expression}.", 77, padding=49_407)
    return {
        "classes_input_ids": classes,
        "classes_attention_mask": classes_mask,
        "tasks_input_ids": tasks,
        "tasks_attention_mask": tasks_mask,
        "classes_structure": torch.tensor([1]),
    }


def _clip_text(expression: str, length: int, padding: int) -> "tuple[Tensor, Tensor]":
    """Ids and mask (1, length) of [start] words [end]."""
    import torch

    ids = [49_406, *_ids(expression, CLIP_WORDS, length - 2), 49_407]
    left = length - len(ids)
    return torch.tensor([ids + [padding] * left]), torch.tensor([[1] * len(ids) + [0] * left])


def _ids(expression: str, vocabulary: range, limit: int) -> list[int]:
    """A random id a word or punctuation mark, the same for the same expression."""
    rng = random.Random(expression)
    return [rng.choice(vocabulary) for _ in re.findall(r"\w+|[^\w\s]", expression)][:limit]


# Where a published size is a rule for the shorter side, it is what a 4:3 picture gets, for every picture.
PEERS = {
    "grounding_dino_tiny": Peer(
        grounding_dino, grounding_dino_text, ("logits", "pred_boxes"), False, Size(800, 1066)
    ),
    "owlv2_base": Peer(owlv2, owlv2_text, ("logits", "pred_boxes"), True, Size(960, 960)),
    "omdet_turbo_tiny": Peer(
        omdet_turbo,
        omdet_turbo_text,
        ("decoder_class_logits", "decoder_coord_logits"),
        False,
        Size(640, 640),
    ),
}
OURS = (ADAPTIVE, "lads_r50_static", "transvg_r50")


class Arguments(argparse.ArgumentParser):
    """What is wrong is one line, as everywhere here, not a page of usage."""

    def error(self, message: str) -> NoReturn:
        """Raise what `main` prints."""
        raise ValueError(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 2 and one line on stderr for what cannot be measured."""
    try:
        with console.warnings_shown():
            _measure(_arguments(arguments))
    except (ValueError, OSError) as error:
        console.complain(f"error: {error}")
        return 2
    return 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    assert __doc__ is not None
    parser = Arguments(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 leaves their number to it")
    parser.add_argument("--rounds", type=int, default=10, help="how often each model answers")
    parser.add_argument("--images", type=Path, help="a folder of pictures; street scenes without it")
    parser.add_argument("--expressions", type=Path, help="a text file, one expression a line")
    parser.add_argument("--models", default=",".join((*OURS, *PEERS)), help="%(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON document, on the last line")
    asked = parser.parse_args(arguments)
    asked.models = list(dict.fromkeys(name.strip() for name in asked.models.split(",")))
    if asked.threads < 0 or asked.rounds < 1:
        raise ValueError(
            f"threads must be 0 or more and rounds 1 or more, given {asked.threads} and {asked.rounds}"
        )
    if unknown := [name for name in asked.models if name not in (*OURS, *PEERS)]:
        raise ValueError(f"no model {unknown[0]!r}; there are {', '.join((*OURS, *PEERS))}")
    return asked


def _measure(asked: argparse.Namespace) -> None:
    import torch

    from groundling.models import PRESETS

    if asked.threads:
        torch.set_num_threads(asked.threads)
    requests = read_requests(asked.images, asked.expressions)
    words = [expression for _, expression in requests]
    contenders = [
        theirs(name, PEERS[name]) if name in PEERS else ours(name, PRESETS[name], words)
        for name in asked.models
    ]
    with console.counted("measuring") as progress:
        rows = compare(contenders, requests, asked.rounds, progress)
    facts = {"device": "cpu", "threads": torch.get_num_threads(), "rounds": asked.rounds}
    how = {"weights": "random", "selections": "drawn at the LADS paper's rates"}
    if asked.json:
        console.print_json({**facts, **how, "rows": [asdict(row) for row in rows]})
        return
    console.print_table(COLUMNS, map(_shown, rows))
    print(
        f"cpu, {facts['threads']} threads, {asked.rounds} rounds, picture and words to box; "
        f"weights {how['weights']}, Selections of {ADAPTIVE} {how['selections']}"
    )


def _shown(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        f"{row.height}×{row.width}",
        f"{row.parameters / 1e6:.1f}",
        f"{row.ms_median:.1f}",
        f"{row.ms_p95:.1f}",
        "" if row.ratio is None else f"{row.ratio:.2f}",
        "" if row.macs is None else f"{row.macs / 1e9:.2f}",
    )


if __name__ == "__main__":
    sys.exit(main())
