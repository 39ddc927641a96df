"""Mutual information between gates and words, I(G; F) = H(G) − H(G|F) (LADS Eq. 8)."""

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor


def entropy(p: Tensor) -> Tensor:
    """−p log p − (1−p) log(1−p) in nats, 0 at p = 0 and 1."""
    on: Tensor = torch.special.entr(p.clamp(1e-6, 1 - 1e-6))
    off: Tensor = torch.special.entr((1 - p).clamp(1e-6, 1 - 1e-6))
    return on + off


def mutual_information(soft: Mapping[str, Tensor], conditional: float = 1.0) -> dict[str, Tensor]:
    """I(G; F) of each unit, the mean over its gates; soft gates g_s are (E, size).

    p(g) is the mean over the batch, over all processes where there are several. `conditional` weighs
    H(G|F) (1 in the paper; the released code has 0.1 in one of its losses).
    """
    gates = torch.cat(list(soft.values()), dim=1)  # of all units, for one exchange between processes
    information = entropy(batch_mean(gates)) - conditional * entropy(gates).mean(0)
    parts = information.split_with_sizes([g.shape[1] for g in soft.values()])
    return {name: part.mean() for name, part in zip(soft, parts, strict=True)}


def batch_mean(x: Tensor) -> Tensor:
    """Mean over the first axis and over all processes, with gradient (equal counts on each)."""
    mean = x.mean(0)
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        from torch.distributed.nn.functional import all_reduce

        mean = all_reduce(mean) / dist.get_world_size()  # type: ignore[no-untyped-call]
    return mean
