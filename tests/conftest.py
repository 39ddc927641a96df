"""What several tests share: small supernets of every shape, random Selections and tokens."""

import pytest
import torch
from hypothesis import settings
from scrambled import scrambled

from groundling.models.lads import GatingConfig, Lads, LadsConfig
from groundling.models.late import LateConfig, LateLads
from groundling.selection import Selection, Unit
from groundling.words.bert import TextConfig
from groundling.words.tokens import Tokens

settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("repeatable")

TEXT = TextConfig(vocabulary=50, layers=1, dim=16, heads=2, ffn=32, tokens=12, dropout=0.3)
_SIZES = {"text": TEXT, "blocks": (2, 2), "width": 8, "stem_width": 12, "dim": 16, "heads": 2, "ffn": 24}


def _shape(**fields: object) -> LadsConfig:
    return LadsConfig.model_validate({**_SIZES, "image_size": 32, "layers": 2, "dropout": 0.3, **fields})


# Every option of the network and of what is gated, at least once and not always together.
SHAPES = {
    "released": _shape(),
    "paper": _shape(norm="batch", head="dense", stem="conv3", gating=GatingConfig(blocks="paper")),
    "all": _shape(head="dense", gating=GatingConfig(blocks="all")),
    "inner": _shape(
        norm="batch", stem="conv3", expansion=2, gating=GatingConfig(blocks="all", inner_filters=True)
    ),
    "auxiliary": _shape(
        norm="batch", dense_auxiliary=True, gating=GatingConfig(blocks="paper", inner_filters=True)
    ),
    "without norms": _shape(norm="none", gating=GatingConfig(inner_filters=True, trunk="released")),
    "basic": _shape(norm="batch", block="basic", expansion=1, gating=GatingConfig(blocks="all")),
    "odd size": _shape(image_size=37, stem="conv3", head="dense", gating=GatingConfig(inner_filters=True)),
}


LATE = LateConfig(
    image_size=64,
    text=TEXT.model_copy(update={"vocabulary": 130, "dropout": 0.0, "bare": True}),
    dim=16,
    heads=2,
    ffn=24,
    layers=2,
    gating=GatingConfig(hidden=8),
)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)  # spinning threads on shared cores take longer than the sums


def lads(shape: str, seed: int = 0) -> Lads:
    """A small supernet in evaluation mode, every weight random, norms too; about half of its gates open."""
    return scrambled(Lads(SHAPES[shape]), seed)


def late(seed: int = 0) -> LateLads:
    """A small supernet for photographs, as `lads` makes one."""
    return scrambled(LateLads(LATE), seed)


def random_selection(units: tuple[Unit, ...], generator: torch.Generator) -> Selection:
    """Each layer on with the same probability, each convolution's filters with one of its own."""
    chances = {unit.name: float(torch.rand((), generator=generator)) ** 0.5 for unit in units}
    return Selection(
        tuple(
            (u.name, tuple((torch.rand(u.size, generator=generator) < chances[u.name]).tolist()))
            for u in units
        )
    )


def random_tokens(rows: int, length: int, vocabulary: int, seed: int = 0, padded: bool = True) -> Tokens:
    """Token ids; each row but the first ends in padding, one token more than the row before."""
    ids = torch.randint(5, vocabulary, (rows, length), generator=torch.Generator().manual_seed(seed))
    padding = torch.zeros(rows, length, dtype=torch.bool)
    if padded:
        padding = torch.arange(length) >= length - torch.arange(rows)[:, None]
    return Tokens(ids.masked_fill(padding, 0), padding)
