"""A small DETR on street scenes: every person, animal, car … of a drawn scene in one pass of 112 pixels.

    groundling data street street --scenes 40000 --seed 0
    groundling train detr_street --set data=street --out runs/detr_street
    groundling detect street/images/street_000001.jpg --model runs/detr_street/detr/final

As the paper's begins with a backbone that knows ImageNet, this one begins with the packaged model's, which
knows street scenes; encoder, decoder and heads are new. Ten minutes on one CPU core. Reached on 1,000 scenes
of another seed: AP 62.4, AP50 91.4 (docs/results.md).
"""

from pathlib import Path

from groundling.data.street.words import CATEGORIES
from groundling.models import DETR
from groundling.training.train import DataConfig, Run, TrainConfig

NEW = (
    "net.input_proj.",
    "net.query_embed.",
    "net.encoder.",
    "net.decoder.",
    "net.class_embed.",
    "net.bbox_embed.",
)
NOT_WANTED = ("text.", "selector.", "net.visual_proj.", "net.text_proj.", "net.dense_head.", "net.encoder.")


def detr_street(data: Path = Path("street"), dataset: str = "refcoco") -> tuple[Run, ...]:
    """A small DETR for street scenes; twenty queries are enough for eight objects."""
    model = DETR["detr_small"].model_copy(update={"categories": tuple(CATEGORIES)})
    config = TrainConfig(
        model=model.model_dump(mode="json"),
        data=DataConfig(path=data, dataset=dataset, things=True, augment="mirror"),
        init="lads_street",
        fresh=NEW,
        discard=NOT_WANTED,
        steps=3000,
        images_per_batch=32,
        lr=5e-4,
        lr_groups={"net.backbone": 2e-4},
        weight_decay=1e-4,
        schedule="cosine",
        warmup=100,
        clip_norm=0.1,
        ema=0.998,
        autocast="bf16",
    )
    return (Run("detr", config, "detr"),)
