"""A released MDETR becomes a checkpoint folder of ours; its sizes and heads follow from its weights.

    import_mdetr("refcoco_resnet101_checkpoint.pth", "models/mdetr-refcoco", text="roberta-base/")

Pre-trained, RefCOCO/+/g, GQA (split heads or one), PhraseCut, and CLEVR (ResNet-18 and DistilRoBERTa). Of a
file that holds both, the moving average of the weights (`model_ema`) is taken, which the published numbers
are of. Every weight has a place in ours and every place is filled, or an error names what differs.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from groundling import checkpoint
from groundling.importers.files import Source, read, source_file, whole_number
from groundling.importers.weights import Weights, renamed
from groundling.models import parse_config
from groundling.models.answers import CLEVR, GQA, GQA_SINGLE, AnswerKind, AnswersConfig
from groundling.models.mdetr import Mdetr, MdetrConfig
from groundling.pictures.placement import Resize
from groundling.words.byte_pairs import ByteTokenizer

HEADS = 8  # of every released MDETR; weights do not say it
HEAD_CHANNELS = 64  # of each of RoBERTa's heads
CLEVR_SIDES = Resize(short_side=320, long_side=480)  # of its images, which its weights saw as they are
TOKENIZERS = ("tokenizer.json", "vocab.json")
WRAPPERS = ("model_ema", "model")
# Where a part lies in the file → where it lies in ours; the first that fits.
PLACES = {
    "backbone.0.body.": "net.backbone.",
    "input_proj.": "net.input_proj.",
    "query_embed.": "net.query_embed.",
    "transformer.encoder.": "net.encoder.",
    "transformer.decoder.": "net.decoder.",
    "transformer.text_encoder.": "text.roberta.",
    "transformer.resizer.fc.": "net.resizer.0.",
    "transformer.resizer.layer_norm.": "net.resizer.1.",
    "class_embed.": "net.class_embed.",
    "bbox_embed.": "net.bbox_embed.",
    "isfinal_embed.": "net.final_embed.",
    "contrastive_align_projection_image.": "net.align_queries.",
    "contrastive_align_projection_text.": "net.align_words.",
    "qa_embed.": "net.answers.embed.",
    "bbox_attention.": "net.mask_head.attention.",
    "mask_head.out_lay.": "net.mask_head.out.",
}
# Parts of a decoder layer in the file → ours: theirs has no second norm, which an older attention had.
DECODER = {"cross_attn_image.": "multihead_attn.", "norm3.": "norm2.", "norm4.": "norm3."}
MASK_HEAD = {"lay": "convolutions", "gn": "norms", "adapter": "adapters"}  # counted from 1 there
# What nothing is computed from: RoBERTa's list of positions (older transformers saved it), and its pooler.
LEFT_OUT = (
    "transformer.text_encoder.embeddings.position_ids",
    "transformer.text_encoder.pooler.dense.weight",
    "transformer.text_encoder.pooler.dense.bias",
)


def import_mdetr(
    source: Source,
    out: Path,
    *,
    text: Source,
    answers: Path | None = None,
    resize: Resize | None = None,
    download: bool = False,
) -> Path:
    """Write the checkpoint folder `out`, which names the source and its SHA-256; returns it.

    source: a file, or with `download` a hub id. text: a folder with the RoBERTa tokenizer that the file does
    not hold (tokenizer.json, or vocab.json and merges.txt), or a hub id. answers: gqa_answer2id_by_type.json,
    or gqa_answer2id.json for the model with one head; without it the model knows its answers by number only.
    resize: how its training saw pictures; None, as the released ones: a short side of 800 and a long one of
    at most 1333 pixels, and CLEVR's pictures as they are.
    """
    file = source_file(source, download)
    given, arguments = read(file, WRAPPERS)
    check_options(file, arguments)
    tensors = as_ours(given, file)
    config = config_of(
        tensors, file, whole_number(arguments, "nheads", HEADS, file), words_of(answers), resize
    )
    tokenizer = _tokenizer(text, config.text.tokens, download)
    model = Mdetr(config)
    checkpoint.check_tokenizer(model, tokenizer, text)
    checkpoint.fit(model, tensors, file)
    origin = {"file": file.name, "layout": "mdetr", "sha256": checkpoint.sha256(file)}
    return checkpoint.save(
        out, model, tokenizer, training={"about": f"MDETR, imported from {file.name}", "imported": origin}
    )


def as_ours(tensors: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """The file's tensors under our names; a name without a place in ours stays, what is left out goes."""
    kept = renamed(tensors, lambda name: name.removeprefix("detr."), file)  # PhraseCut's wrapper
    if any(name.startswith(("backbone.0.body.conv_stem.", "backbone.0.body.blocks.")) for name in kept):
        raise ValueError(
            f"{file} is an MDETR on an EfficientNet, which is not built here; those on ResNet-101 are read "
            "(pretrained_resnet101_checkpoint.pth and what was fine-tuned from it)"
        )
    if "transformer.resizer.fc.weight" not in kept:
        raise ValueError(
            f"{file} is not an MDETR: it has no transformer.resizer.fc.weight; "
            f"its keys begin {', '.join(list(kept)[:3]) or 'nowhere'}"
        )
    used = {
        name: tensor
        for name, tensor in kept.items()
        if name not in LEFT_OUT and not name.endswith(".num_batches_tracked")
    }
    found = renamed(used, our_name, file)
    if (projection := found.get("net.input_proj.weight")) is not None:
        found["net.input_proj.weight"] = projection.flatten(1)  # a 1×1 convolution
    return found


def our_name(name: str) -> str:
    """`transformer.decoder.layers.0.norm4.bias` → `net.decoder.layers.0.norm3.bias`."""
    if found := re.fullmatch(r"mask_head\.(lay|gn|adapter)(\d)\.(\w+)", name):
        return f"net.mask_head.{MASK_HEAD[found[1]]}.{int(found[2]) - 1}.{found[3]}"
    if found := re.fullmatch(r"answer_((?:\w+_)?head\..+)", name):
        own = found[1] if not found[1].startswith("head.") else f"answer_{found[1]}"
        return f"net.answers.heads.{own}"
    for theirs, ours in PLACES.items():
        if name.startswith(theirs):
            rest = name.removeprefix(theirs)
            if ours == "net.decoder." and (layer := re.fullmatch(r"(layers\.\d+\.)(\w+\.)(.+)", rest)):
                rest = f"{layer[1]}{DECODER.get(layer[2], layer[2])}{layer[3]}"
            return ours + rest
    return name


def config_of(
    tensors: Mapping[str, Tensor],
    file: Path,
    heads: int,
    words: Mapping[str, tuple[str, ...]],
    resize: Resize | None = None,
) -> MdetrConfig:
    """The configuration that weights under our names have; ValueError says what is not there."""
    weights = Weights(tensors, file, "whole MDETR")
    size, count = weights.size, weights.count
    embeddings = "text.roberta.embeddings"
    config = parse_config(
        {
            "system": "mdetr",
            "text": {
                "vocabulary": size(f"{embeddings}.word_embeddings.weight"),
                "layers": count(r"text\.roberta\.encoder\.layer\.(\d+)\."),
                "dim": (dim := size(f"{embeddings}.word_embeddings.weight", 1)),
                "heads": max(1, dim // HEAD_CHANNELS),
                "ffn": size("text.roberta.encoder.layer.0.intermediate.dense.weight"),
                "tokens": size("net.class_embed.weight"),
                "positions": size(f"{embeddings}.position_embeddings.weight"),
            },
            **weights.resnet("net.backbone."),
            "dim": size("net.input_proj.weight"),
            "heads": heads,
            "ffn": size("net.encoder.layers.0.linear1.weight"),
            "layers": count(r"net\.encoder\.layers\.(\d+)\."),
            "decoder_layers": count(r"net\.decoder\.layers\.(\d+)\."),
            "queries": size("net.query_embed.weight"),
            "contrastive": size("net.align_queries.weight") if "net.align_queries.weight" in tensors else 0,
            "answers": (answers := answers_of(tensors, file, words)),
            "resize": resize or (CLEVR_SIDES if answers and answers.types == CLEVR.types else Resize()),
            "is_final": "net.final_embed.weight" in tensors,
            "masks": "net.mask_head.out.weight" in tensors,
        }
    )
    assert isinstance(config, MdetrConfig)
    return config


def answers_of(
    tensors: Mapping[str, Tensor], file: Path, words: Mapping[str, tuple[str, ...]]
) -> AnswersConfig | None:
    """Which of the released answer heads there are, with their sizes and, where given, their words."""
    pattern = r"net\.answers\.heads\.(\w+)_head\.(?:layers\.\d+\.)?weight"
    found = (match for name in sorted(tensors) if (match := re.fullmatch(pattern, name)))
    sizes = {match[1]: tensors[match[0]].shape[0] for match in found}  # of a deep head the last layer's
    if not sizes:
        if words:
            raise ValueError(f"{file} answers no questions, so it takes no answers=")
        return None
    known = next((each for each in (GQA, CLEVR, GQA_SINGLE) if _heads(each) == sizes.keys()), None)
    if known is None:
        raise ValueError(
            f"{file} answers {', '.join(sorted(sizes))}: these are neither GQA's heads nor CLEVR's"
        )
    names = [kind.name for kind in known.kinds]
    if words and words.keys() != set(names):
        raise ValueError(f"{file}: answers of {', '.join(words)} are given, and it has {', '.join(names)}")
    kinds = tuple(_kind(kind, sizes[kind.name], words, file) for kind in known.kinds)
    return known.model_copy(update={"kinds": kinds})


def _heads(answers: AnswersConfig) -> set[str]:
    return {kind.name for kind in answers.kinds} | ({"type"} if answers.types else set())


def _kind(known: AnswerKind, outputs: int, words: Mapping[str, tuple[str, ...]], file: Path) -> AnswerKind:
    """A kind of so many outputs, with the words given, or its own where it has as many."""
    own = words.get(known.name, known.words if outputs == known.outputs else ())
    if words and len(own) != max(2, outputs):
        raise ValueError(f"{file}: {len(own)} words for the {outputs} answers of {known.name} are given")
    return AnswerKind(name=known.name, outputs=outputs, layers=known.layers, words=own)


def check_options(file: Path, arguments: Mapping[str, Any]) -> None:
    """ValueError for what is computed in another way though its weights have the same names."""
    usual = {"dilation": False, "pre_norm": False, "pass_pos_and_query": True}
    odd = [
        f"{name}={arguments[name]}" for name, value in usual.items() if arguments.get(name, value) != value
    ]
    if odd:
        raise ValueError(f"{file} was trained with {', '.join(odd)}, which is not built here")


def words_of(file: Path | None) -> dict[str, tuple[str, ...]]:
    """The answers of each kind in the order of their ids, of a JSON file as MDETR's annotations have it."""
    if file is None:
        return {}
    held = checkpoint.read_json(file)
    if not held:
        raise ValueError(f"{file} holds no answers")
    by_kind = held if all(isinstance(ids, dict) for ids in held.values()) else {"answer": held}
    found = {}
    for kind, ids in by_kind.items():
        if sorted(ids.values(), key=str) != sorted(range(len(ids)), key=str):
            raise ValueError(f"{file}: the ids of {kind} are not 0 to {len(ids) - 1}, each once")
        found[kind.removeprefix("answer_")] = tuple(sorted(ids, key=ids.__getitem__))
    return found


def _tokenizer(source: Source, limit: int, download: bool) -> ByteTokenizer:
    path = Path(source)
    if not path.is_file():
        try:
            path = checkpoint.locate(source, download=download, files=(*TOKENIZERS, "merges.txt"))
        except FileNotFoundError:
            raise FileNotFoundError(
                f"no tokenizer at {source}; give a folder, or a hub id with download=True"
            ) from None
        names = [name for name in TOKENIZERS if (path / name).is_file()]
        if not names:
            raise FileNotFoundError(f"no tokenizer in {path}; it should hold {' or '.join(TOKENIZERS)}")
        path = path / names[0]
    return ByteTokenizer.load(path, limit)
