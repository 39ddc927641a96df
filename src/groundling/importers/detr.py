"""A published DETR becomes a checkpoint folder of ours; its sizes follow from its weights.

    import_detr("detr-r50-e632da11.pth", "models/detr-r50")

Two layouts: facebookresearch's `.pth` and what `transformers` saves, with timm's backbone or its own. Every
weight has a place in ours and every place is filled, or an error names what differs.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from groundling import checkpoint
from groundling.importers import resnet_name
from groundling.importers.files import Source, config_beside, read, source_file, whole_number
from groundling.importers.weights import Weights, renamed
from groundling.models import parse_config
from groundling.models.coco_names import COCO_NAMES
from groundling.models.detr import Detr, DetrConfig

HEADS = 8  # of every published DETR; weights do not say it
# Where a part lies in the file → where it lies in ours.
FACEBOOK = {
    "backbone.0.body.": "backbone.",
    "transformer.encoder.": "encoder.",
    "transformer.decoder.": "decoder.",
    "input_proj.": "input_proj.",
    "query_embed.": "query_embed.",
    "class_embed.": "class_embed.",
    "bbox_embed.": "bbox_embed.",
}
TRANSFORMERS = {
    "model.backbone.conv_encoder.model.": "backbone.",
    "model.backbone.model.": "backbone.",
    "model.encoder.": "encoder.",
    "model.decoder.": "decoder.",
    "model.input_projection.": "input_proj.",
    "model.query_position_embeddings.": "query_embed.",
    "class_labels_classifier.": "class_embed.",
    "bbox_predictor.": "bbox_embed.",
}
# Parts of a layer in transformers' layout (older, newer names) → ours.
LAYER = {
    "encoder_attn_layer_norm.": "norm2.",
    "self_attn_layer_norm.": "norm1.",
    "encoder_attn.": "multihead_attn.",
    "o_proj.": "out_proj.",
    "mlp.fc1.": "linear1.",
    "mlp.fc2.": "linear2.",
    "fc1.": "linear1.",
    "fc2.": "linear2.",
}


def import_detr(
    source: Source, out: Path, *, categories: Sequence[str] | None = None, download: bool = False
) -> Path:
    """Write the checkpoint folder `out`, which names the source and its SHA-256; returns it.

    source: a file, a folder with `model.safetensors`, or with `download` a hub id. categories: what the
    classes are called, where neither the file says it nor they are COCO's 91.
    """
    file = source_file(source, download)
    config, (given, arguments) = config_beside(file), read(file)
    check_options(file, config, arguments)
    layout, tensors = as_ours(given, file)
    saved = (
        {"nheads": config["encoder_attention_heads"]} if "encoder_attention_heads" in config else arguments
    )
    heads = whole_number(saved, "nheads", HEADS, file)
    names = _named(config, file) if categories is None else categories
    model = Detr(config_of(tensors, file, heads, names))
    checkpoint.fit(model.net, tensors, file)
    origin = {"file": file.name, "layout": layout, "sha256": checkpoint.sha256(file)}
    return checkpoint.save(out, model, None, training={"imported": origin})


def as_ours(tensors: Mapping[str, Tensor], file: Path) -> tuple[str, dict[str, Tensor]]:
    """The layout of a file, and its tensors under our names; a name without a place in ours stays."""
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith(".num_batches_tracked")}
    if "query_embed.weight" in kept:
        return "facebookresearch", renamed(kept, lambda name: _moved(name, FACEBOOK), file)
    if "model.query_position_embeddings.weight" in kept:
        return "transformers", joined(renamed(kept, from_transformers, file))
    raise ValueError(
        f"{file} is not a DETR of facebookresearch or transformers: it has neither query_embed.weight nor "
        f"model.query_position_embeddings.weight; its keys begin {', '.join(list(tensors)[:3]) or 'nowhere'}"
    )


def from_transformers(name: str) -> str:
    """`model.decoder.layers.0.encoder_attn_layer_norm.bias` → `decoder.layers.0.norm2.bias`."""
    ours = _moved(name, TRANSFORMERS)
    stack, _, rest = ours.partition(".")
    if stack == "backbone":
        return f"backbone.{resnet_name(rest)}"
    if stack not in ("encoder", "decoder"):
        return ours
    rest = re.sub(r"^layernorm\.", "norm.", rest)
    rest = rest.replace("final_layer_norm.", "norm2." if stack == "encoder" else "norm3.")
    for theirs, own in LAYER.items():
        rest = rest.replace(theirs, own)
    return f"{stack}.{rest}"


def joined(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Projections of queries, keys and values, which transformers keeps apart, as one matrix each."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        base, _, kind = name.rpartition("_proj.")
        three = [f"{base[:-1]}{letter}_proj.{kind}" for letter in "qkv"]
        if name not in three or any(other not in tensors for other in three):
            found[name] = tensor
        elif name == three[0]:
            found[f"{base[:-1]}in_proj_{kind}"] = torch.cat([tensors[each] for each in three])
    return found


def config_of(
    tensors: Mapping[str, Tensor], file: Path, heads: int, categories: Sequence[str] | None
) -> DetrConfig:
    """The configuration that weights under our names have; ValueError says what is not there."""
    weights = Weights(tensors, file, "whole DETR")
    classes = weights.size("class_embed.weight") - 1
    if categories is None:
        categories = COCO_NAMES if classes == len(COCO_NAMES) else [str(i) for i in range(classes)]
    if len(categories) != classes:
        raise ValueError(f"{file} has {classes} classes, {len(categories)} names for them are given")
    config = parse_config(
        {
            "system": "detr",
            "categories": tuple(categories),
            "queries": weights.size("query_embed.weight"),
            **weights.resnet("backbone."),
            "dim": weights.size("input_proj.weight"),
            "heads": heads,
            "ffn": weights.size("encoder.layers.0.linear1.weight"),
            "encoder_layers": weights.count(r"encoder\.layers\.(\d+)\."),
            "decoder_layers": weights.count(r"decoder\.layers\.(\d+)\."),
        }
    )
    assert isinstance(config, DetrConfig)
    return config


def check_options(file: Path, config: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """ValueError for what is computed in another way though its weights have the same names."""
    given = {**arguments, **config}
    odd = [name for name in ("dilation", "pre_norm", "downsample_in_bottleneck") if given.get(name)]
    odd += ["dilation"] if "dc5" in file.name.lower() and not odd else []
    kind = given.get("position_embedding_type", given.get("position_embedding", "sine"))
    odd += [] if kind == "sine" else [f"position embedding {kind!r}"]
    if odd:
        raise ValueError(
            f"{file} is a DETR with {', '.join(odd)}; only those with sine positions and stride 32 are read"
        )


def _moved(name: str, table: Mapping[str, str]) -> str:
    for theirs, ours in table.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def _named(config: Mapping[str, Any], file: Path) -> list[str] | None:
    """The class names of transformers' config.json, by number; None where it has none."""
    labels = config.get("id2label")
    if labels is None:
        return None
    numbers = [str(number) for number in range(len(labels))] if isinstance(labels, dict) else []
    if not numbers or set(labels) != set(numbers) or not all(isinstance(labels[n], str) for n in numbers):
        raise ValueError(f"{file.with_name('config.json')}: id2label does not name classes 0, 1, 2, …")
    return [labels[number] for number in numbers]
