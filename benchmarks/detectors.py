"""Open-vocabulary detectors of `transformers` at the sizes they were published with, weights random.

    detector = DETECTORS["owlv2_base"]
    network = detector.build(detector.size).eval()
    box = detector.find(network, picture, "red car")

They are eager, with fused attention where their code has it. Their tokenizers need a download, so they read
random ids: one for each word and each punctuation mark, as their vocabularies spell common words, between the
special tokens of the model and padded as its processor pads.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

BERT_WORDS, CLIP_WORDS = range(1996, 30_522), range(512, 49_406)  # ids that are no special tokens
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Size:
    """What a detector reads and how large it is: channels, layers and queries are divided by `shrink`."""

    height: int
    width: int
    shrink: int = 1

    def of(self, published: int) -> int:
        """What is left of a published number."""
        return max(1, published // self.shrink)


@dataclass(frozen=True)
class Detector:
    """How to build a network, what it reads and where its answer is."""

    build: "Callable[[Size], nn.Module]"
    text: "Callable[[str], dict[str, Tensor]]"
    outputs: tuple[str, str]  # logits (1, Q, C) and boxes_cxcywh01 (1, Q, 4)
    padded: bool  # to a square; else the picture is stretched
    size: Size

    def find(self, network: "nn.Module", picture: "Image", expression: str) -> Box:
        """The best box, xyxy in pixels of the RGB picture."""
        import torch

        from groundling.pictures.boxes import clip, cxcywh_to_xyxy
        from groundling.pictures.placement import normalise

        with torch.inference_mode():
            pixels, undo = self._fitted(picture)
            outputs = network(pixel_values=normalise(pixels[None]), **self.text(expression))
            logits, boxes = (outputs[output][0] for output in self.outputs)
            best = boxes[logits.amax(dim=1).argmax()]
            x1, y1, x2, y2 = clip(undo(cxcywh_to_xyxy(best)), *picture.size).tolist()
        return x1, y1, x2, y2

    def _fitted(self, picture: "Image") -> "tuple[Tensor, Callable[[Tensor], Tensor]]":
        """uint8 (3, H, W) as the network reads it, and what turns boxes_01 into pixels of the picture."""
        import torch
        from PIL import Image

        from groundling.pictures.placement import letterbox, to_tensor

        height, width = self.size.height, self.size.width
        if self.padded:
            seen = letterbox(picture, width)
            return seen.pixels, lambda boxes: seen.placement.undo(boxes * width)
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
    network: nn.Module = GroundingDinoForObjectDetection(config)
    return network


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
    network: nn.Module = Owlv2ForObjectDetection(config)
    return network


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
    network: nn.Module = OmDetTurboForObjectDetection(config)

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
DETECTORS = {
    "grounding_dino_tiny": Detector(
        grounding_dino, grounding_dino_text, ("logits", "pred_boxes"), False, Size(800, 1066)
    ),
    "owlv2_base": Detector(owlv2, owlv2_text, ("logits", "pred_boxes"), True, Size(960, 960)),
    "omdet_turbo_tiny": Detector(
        omdet_turbo,
        omdet_turbo_text,
        ("decoder_class_logits", "decoder_coord_logits"),
        False,
        Size(640, 640),
    ),
}
