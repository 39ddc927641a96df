"""Weights under our names, and the sizes of a network that they say."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

DIGITS = 3  # of the number of a layer
STAGES = 5


@dataclass(frozen=True)
class Weights:
    """The tensors of a file under our names; `whole` is what it is not, where it lacks one."""

    tensors: Mapping[str, Tensor]
    file: Path
    whole: str

    def size(self, name: str, axis: int = 0) -> int:
        """The length of a weight; ValueError where there is none."""
        if name not in self.tensors or self.tensors[name].dim() <= axis:
            raise ValueError(f"{self.file} has no weight that would be our {name}: it is no {self.whole}")
        if not (length := self.tensors[name].shape[axis]):
            raise ValueError(f"{self.file}: what would be our {name} is empty")
        return length

    def count(self, pattern: str) -> int:
        """One more than the highest number that the pattern's group finds in a name."""
        found = [match[1] for name in self.tensors if (match := re.match(pattern, name))]
        if longest := max((number for number in found if len(number) > DIGITS), default=""):
            raise ValueError(f"{self.file} counts its layers up to {longest[:12]}…: it is no {self.whole}")
        return 1 + max(map(int, found), default=-1)

    def resnet(self, prefix: str) -> dict[str, object]:
        """The fields of a configuration that are the backbone's, whose names begin with `prefix`."""
        first, last = (f"{prefix}layer1.0.conv{number}.weight" for number in (1, 3))
        basic = not any(name.startswith(f"{prefix}layer") and ".conv3." in name for name in self.tensors)
        place, width = re.escape(prefix), self.size(first)
        stages = range(1, self.count(rf"{place}layer(\d+)\."))  # counted from 1
        if len(stages) > STAGES:
            raise ValueError(f"{self.file} has {len(stages)} stages, and a ResNet at most {STAGES}")
        return {
            "blocks": tuple(self.count(rf"{place}layer{stage}\.(\d+)\.") for stage in stages),
            "width": width,
            "block": "basic" if basic else "bottleneck",
            "expansion": 1 if basic else self.size(last) // width,
            "stem_width": self.size(f"{prefix}conv1.weight"),
        }


def renamed(tensors: Mapping[str, Tensor], name_of: Callable[[str], str], file: Path) -> dict[str, Tensor]:
    """The tensors under other names; ValueError where two would get the same one."""
    found = {name_of(name): tensor for name, tensor in tensors.items()}
    if len(found) < len(tensors):
        (twice, _), *_ = Counter(map(name_of, tensors)).most_common()
        raise ValueError(f"{file} has two weights for what is our {twice}")
    return found
