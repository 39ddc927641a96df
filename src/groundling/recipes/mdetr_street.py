"""A small MDETR on street scenes: phrases, questions and masks learned together, each from its own files.

    groundling data street street --scenes 20000 --seed 0 --tasks captions,questions,masks
    groundling train mdetr_street --set data=street --out runs/mdetr_street
    groundling answer street/images/street_0_000001.jpg "Is it sunny?" --model runs/mdetr_street/mdetr/final

    groundling train mdetr_adaptive --set data=street --init runs/mdetr_street/mdetr/final

Twenty queries over eight objects at 160 pixels. Three captions of a picture share a pass of the backbone,
which begins as the packaged model's, since that knows street scenes; words, encoder, decoder and heads are
new. Not measured yet: neither how long these steps take nor what they reach. The goals are, on scenes of
another seed, 85 % of phrases found at the first box, 85 % of questions answered, and masks with a mean IoU
of 0.7; *mdetr_adaptive*, whose words choose what of backbone, encoder and decoder runs, is to stay within a
point of it at 60 % of its MACs.
"""

from pathlib import Path

from groundling.models import MDETR
from groundling.train import DataConfig, Run, TrainConfig

NEW = (
    "text.",
    "net.input_proj.",
    "net.resizer.",
    "net.encoder.",
    "net.decoder.",
    "net.query_embed.",
    "net.class_embed.",
    "net.bbox_embed.",
    "net.align_queries.",
    "net.align_words.",
    "net.answers.",
    "net.mask_head.",
)
NOT_WANTED = ("text.", "selector.", "net.visual_proj.", "net.text_proj.", "net.dense_head.", "net.encoder.")


def mdetr_street(
    data: Path = Path("street"),
    dataset: str = "flickr30k,gqa,gqa,phrasecut",
    split: str = "train,train_balanced,train_balanced,train",
) -> tuple[Run, ...]:
    """One run over all three tasks; answers weigh more than one box does, as in GQA's fine-tuning."""
    config = TrainConfig(
        model=MDETR["mdetr_street"].model_dump(mode="json"),
        data=DataConfig(path=data, dataset=dataset, split=split, augment="mirror"),
        loss={"answers": 4.0, "mask": 2.0, "dice": 2.0},
        init="lads_street",
        fresh=NEW,
        discard=NOT_WANTED,
        steps=11_000,
        images_per_batch=16,
        expressions_per_image=6,
        lr=5e-4,
        lr_groups={"net.backbone": 2e-4},
        weight_decay=1e-4,
        schedule="cosine",
        warmup=300,
        clip_norm=1.0,
        ema=0.998,
        autocast="bf16",
    )
    return (Run("mdetr", config, "mdetr"),)


def mdetr_adaptive(data: Path = Path("street")) -> tuple[Run, ...]:
    """From a trained mdetr_street given by `--init`: words learn to choose, then the choice is kept."""
    (run,) = mdetr_street(data)
    adapt = {
        "model": MDETR["mdetr_adaptive"].model_dump(mode="json"),
        "loss": {**run.config.loss, "mi": 0.7, "budget": 20.0, "budget_share": 0.5},
        "init": None,
        "needs_init": True,
        "fresh": ("selector.",),
        "discard": (),
        "steps": 4000,
        "warmup": 100,
        "lr": 3e-4,
        "lr_groups": {"net.backbone": 1.5e-4, "selector": 1.5e-3},
        "no_decay": ("selector",),
        "freeze_norm": True,
    }
    frozen = {"net.backbone": 1.5e-4, "selector": 0.0, "text": 0.0}
    polish = {
        **adapt,
        "loss": {**run.config.loss, "gates": "chosen"},
        "fresh": (),
        "lr_groups": frozen,
        "no_decay": (),
        "seed": 1,
    }
    return tuple(
        Run(name, run.config.model_copy(update=update), "mdetr")
        for name, update in (("adapt", adapt), ("polish", polish))
    )
