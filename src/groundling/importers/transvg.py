"""A released TransVG becomes a checkpoint folder of ours; its sizes follow from its weights.

    import_transvg("TransVG_R50_unc.pth", "models/transvg", text="bert-base-uncased/")

Every weight has a place in ours and every place is filled, or an error names what differs. Left out is
what nothing is computed from: BERT's pooler, and its layers behind those that were read (`bert_enc_num`).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from groundling import checkpoint
from groundling.importers.bert import bert_tokenizer
from groundling.importers.detr import check_options
from groundling.importers.files import Source, read, source_file, whole_number
from groundling.importers.weights import Weights, renamed
from groundling.models import parse_config
from groundling.models.transvg import TransVG, TransVGConfig

HEADS = 8  # of both of its encoders; weights do not say it
HEAD_CHANNELS = 64  # of each of BERT's heads
SIDE = 640  # of its square canvas
# Where a part lies in the file → where it lies in ours.
PLACES = {
    "visumodel.backbone.0.body.": "net.backbone.",
    "visumodel.input_proj.": "net.input_proj.",
    "visumodel.transformer.encoder.": "net.visual_encoder.",
    "textmodel.bert.": "text.bert.",
    "visu_proj.": "net.visual_proj.",
    "text_proj.": "net.text_proj.",
    "reg_token.": "net.reg_token.",
    "vl_pos_embed.": "net.vl_pos_embed.",
    "vl_transformer.encoder.": "net.encoder.",
    "bbox_embed.": "net.box_head.",
}
LEFT_OUT = ("text.bert.pooler.", "text.bert.embeddings.position_ids")


def import_transvg(source: Source, out: Path, *, text: Source, download: bool = False) -> Path:
    """Write the checkpoint folder `out`, which names the source and its SHA-256; returns it.

    source: a file, or with `download` a hub id. text: a folder with the BERT tokenizer that the file does not
    hold (tokenizer.json or vocab.txt), or a hub id.
    """
    file = source_file(source, download)
    given, arguments = read(file)
    check_options(file, {}, arguments)
    tensors = as_ours(given, file)
    config = config_of(tensors, file, arguments)
    tokenizer = bert_tokenizer(text, config.text.tokens, download)
    model = TransVG(config)
    checkpoint.check_tokenizer(model, tokenizer, text)
    layer = re.compile(r"text\.bert\.encoder\.layer\.(\d+)\.")
    read_layers = {
        name: tensor
        for name, tensor in tensors.items()
        if not (found := layer.match(name)) or int(found[1]) < config.text.layers
    }
    checkpoint.fit(model, read_layers, file)
    origin = {"file": file.name, "layout": "transvg", "sha256": checkpoint.sha256(file)}
    about = f"TransVG, imported from {file.name}"
    return checkpoint.save(out, model, tokenizer, training={"about": about, "imported": origin})


def as_ours(tensors: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """The file's tensors under our names; a name without a place in ours stays, what is left out goes."""
    if "vl_pos_embed.weight" not in tensors:
        raise ValueError(
            f"{file} is not a TransVG: it has no vl_pos_embed.weight; "
            f"its keys begin {', '.join(list(tensors)[:3]) or 'nowhere'}"
        )
    found = renamed(tensors, our_name, file)
    return {
        name: tensor
        for name, tensor in found.items()
        if not name.startswith(LEFT_OUT) and not name.endswith(".num_batches_tracked")
    }


def our_name(name: str) -> str:
    """`visumodel.transformer.encoder.layers.0.norm1.bias` → `net.visual_encoder.layers.0.norm1.bias`."""
    for theirs, ours in PLACES.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def config_of(tensors: Mapping[str, Tensor], file: Path, arguments: Mapping[str, Any]) -> TransVGConfig:
    """The configuration that weights under our names have; ValueError says what is not there."""
    weights = Weights(tensors, file, "whole TransVG")
    size, count = weights.size, weights.count
    side = whole_number(arguments, "imsize", SIDE, file)
    places, cells = size("net.vl_pos_embed.weight"), (-(-side // 32)) ** 2
    if (tokens := places - 1 - cells) < 3:
        raise ValueError(f"{file} has {places} positions, too few for words and images of {side} pixels")
    embeddings = "text.bert.embeddings.word_embeddings.weight"
    known = count(r"text\.bert\.encoder\.layer\.(\d+)\.")
    layers = whole_number(arguments, "bert_enc_num", max(1, known), file)
    config = parse_config(
        {
            "system": "transvg",
            "image_size": side,
            "text": {
                "vocabulary": size(embeddings),
                "layers": layers,
                "dim": (dim := size(embeddings, 1)),
                "heads": max(1, dim // HEAD_CHANNELS),
                "ffn": size("text.bert.encoder.layer.0.intermediate.dense.weight"),
                "tokens": tokens,
            },
            **weights.resnet("net.backbone."),
            "dim": size("net.input_proj.weight"),
            "heads": whole_number(arguments, "nheads", HEADS, file),
            "ffn": size("net.encoder.layers.0.linear1.weight"),
            "layers": count(r"net\.encoder\.layers\.(\d+)\."),
            "visual_layers": count(r"net\.visual_encoder\.layers\.(\d+)\."),
        }
    )
    assert isinstance(config, TransVGConfig)
    return config
