"""The packaged model: LADS on street scenes, from random weights to a subnet per expression.

    groundling data street street --scenes 40000 --seed 0
    groundling train lads_street --set data=street --out runs/lads_street
    groundling train lads_street_static --set data=street --out runs/lads_street_static

Four runs. *detect*: the backbone learns to name and box all objects of a scene (the paper's backbone
comes from COCO detection). *ground*: the supernet learns to ground with everything on, several
expressions sharing one pass of the backbone. *adapt*: words choose; statistics of the norms are frozen,
as in the paper. *spread*: as `adapt`, with twenty times the weight on mutual information. The static
twin trains as many steps with everything on.

85 minutes on two CPU cores with `OMP_NUM_THREADS=1 torchrun --nproc_per_node 2 -m groundling train …`.
Reached on scenes of another seed: Prec@0.5 of 79.9 / 79.0 / 80.2 on val / testA / testB with 45.7 / 51.4
/ 43.4 % of the MACs (docs/results.md); the goal is 90 with at most 50 %.
"""

from pathlib import Path

from groundling.data.street_words import CATEGORIES, COLOURS
from groundling.models import LADS
from groundling.models.lads import LadsConfig
from groundling.train import DataConfig, Run, TrainConfig


def lads_street(data: Path = Path("street")) -> tuple[Run, ...]:
    """The runs of the packaged model."""
    return (*_warm_up(data), *_adapt(data, LADS["lads_street"]))


def lads_street_static(data: Path = Path("street")) -> tuple[Run, ...]:
    """The static twin: the same warm-up, and as many steps more with everything on."""
    return (*_warm_up(data), *_adapt(data, LADS["lads_street_static"]))


def _warm_up(data: Path) -> tuple[Run, Run]:
    model = LADS["lads_street"].model_copy(
        update={"categories": tuple(CATEGORIES), "attributes": attributes()}
    )
    detect = TrainConfig(
        model=model.model_dump(mode="json"),
        data=DataConfig(path=data, dataset="refcoco", things=True),
        steps=1600,
        images_per_batch=64,
        lr=1.5e-3,
        weight_decay=1e-2,
        schedule="cosine",
        lr_floor=0.1,
        warmup=200,
        clip_norm=5.0,
        autocast="bf16",
    )
    ground = TrainConfig(
        model=model.model_dump(mode="json"),
        data=DataConfig(path=data, dataset="refcoco", things=True),
        loss={"dense": 0.5, "detection": 0.5, "gates_open": True},
        steps=1400,
        images_per_batch=64,
        expressions_per_image=4,
        lr=8e-4,
        lr_groups={"net.backbone": 4e-4},
        weight_decay=1e-2,
        schedule="cosine",
        lr_floor=0.3,
        warmup=150,
        clip_norm=1.0,
        ema=0.995,
        autocast="bf16",
        fresh=("text.", "net.text_proj.", "net.encoder.", "net.dense_head.", "selector."),
    )
    return Run("detect", detect, "detection"), Run("ground", ground, "grounding")


def _adapt(data: Path, model: LadsConfig) -> tuple[Run, Run]:
    """Words choose: first towards the budget, then so that gates differ between expressions."""
    adaptive = model.gating is not None
    rates = {"net.backbone": 3e-4, "selector": 1e-3} if adaptive else {"net.backbone": 3e-4}
    adapt = TrainConfig(
        model=model.model_dump(mode="json"),
        data=DataConfig(path=data, dataset="refcoco"),
        loss={"dense": 0.5, "mi": 0.1, "budget": 10.0 if adaptive else 0.0, "budget_share": 0.45},
        steps=2400,
        images_per_batch=64,
        expressions_per_image=2,
        lr=5e-4,
        lr_groups=rates,
        weight_decay=1e-2,
        no_decay=("selector",),
        schedule="cosine",
        warmup=100,
        clip_norm=1.0,
        ema=0.998,
        freeze_norm=True,
        autocast="bf16",
        discard=("detector.",) if adaptive else ("detector.", "selector."),
    )
    spread = adapt.model_copy(
        update={
            "loss": {**adapt.loss, "mi": 2.0},
            "steps": 900,
            "lr_groups": {**rates, "selector": 2e-3} if adaptive else rates,
            "discard": (),
            "seed": 1,
        }
    )
    return Run("adapt", adapt, "grounding"), Run("spread", spread, "grounding")


def attributes() -> tuple[str, ...]:
    """Every attribute that a street scene can give to an object."""
    names = {"facing:left", "facing:right", *(f"shirt:{colour}" for colour in COLOURS)}
    for category in CATEGORIES.values():
        names |= set(category.colours) | {f"pose:{pose}" for pose in category.poses}
        names |= {f"{part}:{colour}" for part, colours in category.parts.items() for colour in colours}
        names |= {f"{part}:{colour}" for part in category.extras for colour in COLOURS}
    return tuple(sorted(names))
