"""MACs of every preset, part by part, are those in a table that was recorded before layers counted their own.

`python tests/test_macs.py` writes the table anew: only for a network that is meant to cost something else.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from groundling.models import DETR, PRESETS, build
from groundling.models.mdetr import Mdetr
from groundling.models.supernet import Supernet
from groundling.selection import Selection, Unit

TABLE = Path(__file__).with_name("macs.json")
LENGTHS, SIDES = (5, 23), ((480, 640), (333, 500))


def made(name: str) -> Any:
    """The network of a preset, with weights that are nowhere: counting looks at shapes."""
    with torch.device("meta"):
        return build({**PRESETS, **DETR}[name])


def selections(units: tuple[Unit, ...]) -> dict[str, Selection | None]:
    """None, both ends, and what a few seeds draw."""
    found: dict[str, Selection | None] = {"none": None}
    if units:
        found |= {"all on": Selection.all_on(units), "all off": Selection.all_off(units)}
        for seed, share in ((1, 0.3), (2, 0.6), (3, 0.9)):
            rng = random.Random(seed)
            bits = tuple((u.name, tuple(rng.random() < share for _ in range(u.size))) for u in units)
            found[f"seed {seed}"] = Selection(bits)
    return found


def counted(model: Any) -> Iterator[tuple[str, object]]:
    """Everything a model's costs say, under a name each."""
    chosen = selections(model.units())
    if not isinstance(model, Supernet):
        for sides in SIDES:
            for name, selection in chosen.items():
                cost = model.cost_model(*sides).cost(selection)
                yield f"{sides}, {name}", {**cost.parts, "full": cost.full}
        return
    places = [model.config.framing.sides, *(SIDES if isinstance(model, Mdetr) else ())]
    for sides in places:
        costs = model.costs(*sides)
        for tokens in LENGTHS:
            for name, selection in chosen.items():
                cost = costs.cost(selection, tokens)
                yield f"{sides}, {tokens} tokens, {name}", {**cost.parts, "full": cost.full}
        if model.units():
            rng = torch.Generator().manual_seed(0)
            on = {u.name: torch.rand(2, u.size, generator=rng, dtype=torch.float64) for u in model.units()}
            shares = costs.expected_share(on, torch.tensor([7, 19])).tolist()
            yield f"{sides}, expected", [round(share, 9) for share in shares]
        if isinstance(model, Mdetr):
            for seen in (False, True):
                for name, selection in chosen.items():
                    cost = costs.asked(11, selection, answers=seen, masks=3, seen=seen)
                    yield (
                        f"{sides}, asked, {name}, {seen}",
                        {**cost.parts, "full": cost.full, "shared": cost.shared},
                    )


@pytest.mark.parametrize("name", [*PRESETS, *DETR])
def test_macs_are_those_recorded(name: str) -> None:
    recorded = json.loads(TABLE.read_text(encoding="utf-8"))[name]
    found = dict(counted(made(name)))
    assert found.keys() == recorded.keys()
    for case, macs in recorded.items():
        assert found[case] == macs, case


if __name__ == "__main__":
    found = {name: dict(counted(made(name))) for name in (*PRESETS, *DETR)}
    TABLE.write_text(json.dumps(found, indent=0) + "\n", encoding="utf-8")
