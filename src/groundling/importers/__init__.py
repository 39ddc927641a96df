"""Published weights come in: ResNets, BERT and DETR's encoder, under whichever names they were saved.

    tokenizer = initialise(model, detr="detr-r50.pth", text="bert-base-uncased/")

A file is data only: safetensors, or what `torch.load` reads with `weights_only=True`. Every key is
accounted for on both sides: copied, left out by name here, or an error that names it.
"""

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from groundling.checkpoint import fit, locate, read_json, read_tensors
from groundling.layers.resnet import ResNet
from groundling.models.detecting import CategoryDetector
from groundling.models.supernet import Supernet
from groundling.models.transvg import TransVG, TransVGNet
from groundling.words.bert import TextEncoder
from groundling.words.wordpiece import Tokenizer

Source = str | os.PathLike[str]

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
TOKENIZERS = ("tokenizer.json", "vocab.txt")
_PICKLES = (".pth", ".pt", ".bin")
_DETR_HEADS = ("query_embed.", "class_embed.", "bbox_embed.")
_DETR_BODY = "backbone.0.body."


def initialise(
    model: Supernet | CategoryDetector,
    *,
    backbone: Source | None = None,
    text: Source | None = None,
    detr: Source | None = None,
    download: bool = False,
) -> Tokenizer | None:
    """Published weights into the parts they fit; the rest stays as it is. Returns the tokenizer of `text`.

    `backbone` is a ResNet, `text` a BERT, `detr` a DETR: its backbone and, into a TransVG, its encoder.
    Each is a local file or folder or, with `download`, a Hugging Face hub id.
    """
    if backbone is None and text is None and detr is None:
        raise ValueError("there is nothing to start from; give backbone, text or detr")
    if backbone is not None and detr is not None:
        raise ValueError("backbone and detr both hold a ResNet; give one of them")
    if isinstance(model, CategoryDetector) and (detr is not None or text is not None):
        raise ValueError(
            "a detr reads no words and begins with a backbone; `groundling import` makes a whole DETR an init"
        )
    if (body := backbone if detr is None else detr) is not None:
        load_resnet(model.net.backbone, body, download=download)
    if detr is not None and isinstance(model, TransVG):
        load_detr_encoder(model.net, detr, download=download)
    if text is None or isinstance(model, CategoryDetector):
        return None
    if not isinstance(model.text, TextEncoder):
        raise ValueError("text is a BERT, and this model reads with RoBERTa; import its whole checkpoint")
    return load_bert(model.text, text, download=download)


def load_resnet(resnet: ResNet, source: Source, *, download: bool = False) -> None:
    """A ResNet of torchvision, timm, DETR or transformers; which one is seen by its keys.

    The stride has to be in the 3×3 convolution (v1.5), as in all of these but an old transformers option.
    """
    file = source_file(source, download)
    if config_beside(file).get("downsample_in_bottleneck"):
        raise ValueError(
            f"{file} is a ResNet with the stride in its first 1×1 convolution, ours is in the 3×3"
        )
    tensors, discard = _as_torchvision(read(file)[0], file)
    counters = {k: t for k, t in resnet.state_dict().items() if _is_counter(k)}
    kept = {k: t for k, t in tensors.items() if not _is_counter(k)}
    fit(resnet, {**kept, **counters}, file, discard=discard)


def load_bert(text: TextEncoder, source: Source, *, download: bool = False) -> Tokenizer:
    """The first layers of a BERT from a folder as `transformers` saves them; returns the tokenizer in it.

    ValueError where its sizes are not those of the text encoder, naming both.
    """
    folder = locate(
        source, download=download, files=("config.json", *WEIGHTS, "tokenizer_config.json", *TOKENIZERS)
    )
    file = source_file(folder, download=False)
    _check_sizes(text, folder / "config.json")
    tokenizer = bert_tokenizer(folder, text.config.tokens)
    if len(tokenizer) > text.config.vocabulary:
        raise ValueError(
            f"{folder} has {len(tokenizer)} word pieces, and the model room for {text.config.vocabulary}"
        )
    tensors = {_bert_name(name): tensor for name, tensor in read(file)[0].items()}
    depths = {int(found[1]) for name in tensors if (found := re.match(r"encoder\.layer\.(\d+)\.", name))}
    deeper = [f"encoder.layer.{depth}." for depth in depths if depth >= text.config.layers]
    fit(text.bert, tensors, file, discard=("pooler.", "cls.", "embeddings.position_ids", *deeper))
    return tokenizer


def load_detr_encoder(net: TransVGNet, source: Source, *, download: bool = False) -> None:
    """DETR's encoder and the projection before it into a TransVG; its other parts stay out."""
    file = source_file(source, download)
    tensors = {k.removeprefix("transformer."): t for k, t in read(file)[0].items()}
    parts = nn.ModuleDict({"input_proj": net.input_proj, "encoder": net.visual_encoder})
    fit(parts, tensors, file, discard=("backbone.", "decoder.", *_DETR_HEADS))


def read(
    file: Path, wrappers: Sequence[str] = ("model", "state_dict")
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a .safetensors, or of a .pth, .pt or .bin that holds nothing but data; and its `args`.

    What trainings put around the tensors (`model` as DETR, `state_dict`) is taken off, the first there is.
    `args` is the command line that DETR's trainings kept in their file; empty where there is none.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no weight file at {file}")
    if file.suffix == ".safetensors":
        return read_tensors(file), {}
    held = _read_pickle(file)
    arguments = held.get("args") if isinstance(held, Mapping) else None
    for wrapper in wrappers:
        if isinstance(held, Mapping) and isinstance(held.get(wrapper), Mapping):
            held = held[wrapper]
    if not isinstance(held, Mapping) or not all(isinstance(value, Tensor) for value in held.values()):
        raise ValueError(
            f"{file} holds no weights: no tensors by name, bare or under {' or '.join(map(repr, wrappers))}"
        )
    said = vars(arguments) if isinstance(arguments, argparse.Namespace) else arguments or {}
    if not isinstance(said, Mapping):
        raise ValueError(f"{file}: args are no command line but a {type(said).__name__}")
    tensors = {str(name): _data(str(name), tensor, file) for name, tensor in held.items()}
    return tensors, {str(name): value if _plain(value) else repr(type(value)) for name, value in said.items()}


def whole_number(arguments: Mapping[str, Any], name: str, default: int, file: Path) -> int:
    """A whole number of 1 or more that a file was trained with."""
    value = arguments.get(name, default)
    if type(value) is not int or value < 1:
        raise ValueError(f"{file}: {name} is {value!r}; it should be a whole number, 1 or more")
    return value


def _plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _data(name: str, tensor: Tensor, file: Path) -> Tensor:
    """The tensor, if the file holds its numbers: a small file can name a tensor of any size."""
    stored = tensor.layout is torch.strided and not tensor.is_meta
    if not stored or tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        raise ValueError(f"{file}: {name} is not stored number by number, as weights are")
    return tensor


def _read_pickle(file: Path) -> Any:
    if file.suffix not in _PICKLES:
        raise ValueError(f"{file} is not a weight file; give one of .safetensors, {', '.join(_PICKLES)}")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # DETR's `args`: plain values
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and EOF errors have no common class
        raise ValueError(
            f"{file} is damaged, or holds more than tensors: for safety nothing else is loaded"
        ) from error


def source_file(source: Source, download: bool) -> Path:
    """The weight file that is meant by a file, a folder or a hub id."""
    path = Path(source)
    if path.is_file() or path.suffix in (".safetensors", *_PICKLES):
        return path
    folder = locate(source, download=download, files=("config.json", *WEIGHTS))
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"no weights in {folder}; it should hold {' or '.join(WEIGHTS)}")


def config_beside(file: Path) -> dict[str, Any]:
    """What a config.json in the folder of a weight file says; nothing where there is none."""
    config = file.parent / "config.json"
    return read_json(config) if config.is_file() else {}


def _as_torchvision(tensors: dict[str, Tensor], file: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors under torchvision's names, and the prefixes of those that are no part of the ResNet."""
    if f"{_DETR_BODY}conv1.weight" in tensors:
        discard = ("transformer.", "input_proj.", *_DETR_HEADS)
        return {name.removeprefix(_DETR_BODY): tensor for name, tensor in tensors.items()}, discard
    if any(name.endswith("embedder.embedder.convolution.weight") for name in tensors):
        renamed = {resnet_name(name.removeprefix("resnet.")): t for name, t in tensors.items()}
        return renamed, ("classifier.",)
    if "conv1.weight" in tensors:  # timm has torchvision's names
        return tensors, ("fc.",)
    begin = ", ".join(list(tensors)[:3]) or "nowhere: it is empty"
    raise ValueError(
        f"{file} is not a ResNet of torchvision, timm, DETR or transformers; its keys begin {begin}"
    )


def _is_counter(name: str) -> bool:
    return name.endswith(".num_batches_tracked")


def resnet_name(name: str) -> str:
    """`encoder.stages.1.layers.0.layer.2.normalization.bias` → `layer2.0.bn3.bias`."""
    kind = {"convolution": "conv", "normalization": "bn"}
    if found := re.fullmatch(r"embedder\.embedder\.(convolution|normalization)\.(\w+)", name):
        return f"{kind[found[1]]}1.{found[2]}"
    block = (
        r"encoder\.stages\.(\d+)\.layers\.(\d+)\.(shortcut|layer\.\d+)\.(convolution|normalization)\.(\w+)"
    )
    if not (found := re.fullmatch(block, name)):
        return name
    stage, index, place, what, tensor = found.groups()
    if place == "shortcut":
        part = f"downsample.{0 if what == 'convolution' else 1}"
    else:
        part = f"{kind[what]}{int(place.rpartition('.')[2]) + 1}"
    return f"layer{int(stage) + 1}.{index}.{part}.{tensor}"


def _bert_name(name: str) -> str:
    """Without the `bert.` of task models; TensorFlow's gamma and beta of a norm are weight and bias."""
    name = name.removeprefix("bert.")
    return re.sub(
        r"LayerNorm\.(gamma|beta)$", lambda m: f"LayerNorm.{'weight' if m[1] == 'gamma' else 'bias'}", name
    )


def _check_sizes(text: TextEncoder, file: Path) -> None:
    given, own, bert = read_json(file), text.config, text.bert.config
    wanted = {
        "model_type": ("", "bert"),
        "hidden_size": ("dim=", own.dim),
        "num_attention_heads": ("heads=", own.heads),
        "intermediate_size": ("ffn=", own.ffn),
        "vocab_size": ("vocabulary=", own.vocabulary),
        "max_position_embeddings": ("", bert.max_position_embeddings),
        "hidden_act": ("", bert.hidden_act),
        "layer_norm_eps": ("", bert.layer_norm_eps),
    }
    odd = [
        f"{name} {given[name]} where the text encoder has {option}{value}"
        for name, (option, value) in wanted.items()
        if name in given and given[name] != value
    ]
    if given.get("num_hidden_layers", own.layers) < own.layers:
        odd.append(
            f"num_hidden_layers {given['num_hidden_layers']} where the text encoder has layers={own.layers}"
        )
    if odd:
        raise ValueError(f"{file} holds the weights of another model: {'; '.join(odd)}")


def bert_tokenizer(source: Source, limit: int, download: bool = False) -> Tokenizer:
    """The tokenizer of a BERT, from a folder as `transformers` saves them or a hub id."""
    folder = Path(source)
    if not folder.is_dir():
        try:
            folder = locate(source, download=download, files=("tokenizer_config.json", *TOKENIZERS))
        except FileNotFoundError:
            raise FileNotFoundError(
                f"no tokenizer at {source}; give a folder, or a hub id with download=True"
            ) from None
    for name in TOKENIZERS:
        if (folder / name).is_file():
            break
    else:
        raise FileNotFoundError(f"no tokenizer in {folder}; it should hold {' or '.join(TOKENIZERS)}")
    settings = folder / "tokenizer_config.json"
    if name == "vocab.txt" and settings.is_file() and not read_json(settings).get("do_lower_case", True):
        raise ValueError(
            f"{folder} has a cased vocab.txt, which would be read in lower case; give a tokenizer.json"
        )
    return Tokenizer.load(folder / name, limit)
