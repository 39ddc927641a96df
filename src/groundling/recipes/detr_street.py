"""A small DETR on street scenes: every person, animal, car … of a drawn scene in one pass of 112 pixels.

groundling data street street --scenes 40000 --seed 0
groundling train detr_street --set data=street --out runs/detr_street
groundling detect street/images/street_000001.jpg --model runs/detr_street/detr/final
"""

from pathlib import Path

from groundling.data.street_words import CATEGORIES
from groundling.models import DETR
from groundling.train import DataConfig, Run, TrainConfig


def detr_street(data: Path = Path("street"), dataset: str = "refcoco") -> tuple[Run, ...]:
    """One run, from random weights: twenty queries are enough for eight objects."""
    model = DETR["detr_small"].model_copy(update={"categories": tuple(CATEGORIES)})
    config = TrainConfig(
        model=model.model_dump(mode="json"),
        data=DataConfig(path=data, dataset=dataset, things=True, augment="mirror"),
        steps=12_000,
        images_per_batch=32,
        lr=5e-4,
        weight_decay=1e-4,
        schedule="cosine",
        warmup=300,
        clip_norm=0.1,
        ema=0.998,
        autocast="bf16",
    )
    return (Run("detr", config, "detr"),)
