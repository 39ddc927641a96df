"""LADS with the paper's settings on RefCOCO, RefCOCO+, RefCOCOg and RefCLEF (Su et al. 2023).

    groundling train lads_refcoco --set data=DIR --set backbone=detr-r50.pth --set text=bert-base-uncased/

From scratch: 120 epochs of 256 expressions, rates divided by 10 after 90. Pre-training: 40 epochs of 512
on all expressions at hand, after 30; fine-tuning: 20 epochs of 256, after 10. The paper used A100 GPUs
and reports Prec@0.5 of 82.85 / 86.67 / 78.57 on RefCOCO val / testA / testB, 87.80 / 91.23 / 84.03 with
pre-training. These numbers are the paper's: the runs are not repeated here.

`backbone`: a ResNet-50 or DETR checkpoint (the paper's comes from COCO detection without the images of
the val and test splits). `text`: a folder with BERT base, uncased.
"""

from pathlib import Path

from groundling.models import LADS
from groundling.training.train import DataConfig, Run, TrainConfig

FROZEN = {"net.backbone.conv1": 0.0, "net.backbone.layer1": 0.0}  # where they hold weights worth keeping


def lads_refcoco(
    data: Path,
    dataset: str = "refcoco",
    backbone: str | None = None,
    text: str | None = None,
    download: bool = False,
) -> tuple[Run, ...]:
    """LADS from scratch, as in its paper: 120 epochs, batch 256, drop at 90."""
    config = _paper(data, dataset, epochs=120, batch=256, drop=90)
    return (_starting_from(config, "refcoco", backbone, text, download),)


def lads_pretrain(
    data: Path,
    dataset: str = "jsonl",
    backbone: str | None = None,
    text: str | None = None,
    download: bool = False,
) -> tuple[Run, ...]:
    """LADS pre-trained on a large collection: 40 epochs, batch 512, drop at 30."""
    config = _paper(data, dataset, epochs=40, batch=512, drop=30)
    return (_starting_from(config, "pretrain", backbone, text, download),)


def lads_finetune(data: Path, dataset: str = "refcoco") -> tuple[Run, ...]:
    """LADS fine-tuned from pre-trained weights, given by `--init`: 20 epochs, batch 256, drop at 10."""
    config = _paper(data, dataset, epochs=20, batch=256, drop=10, warmup=500)
    given = {"needs_init": True, "lr_groups": {**config.lr_groups, **FROZEN}}
    return (Run("finetune", config.model_copy(update=given), "grounding"),)


def _paper(data: Path, dataset: str, epochs: int, batch: int, drop: int, warmup: int = 8000) -> TrainConfig:
    return TrainConfig(
        model=LADS["lads_r50"].model_dump(mode="json"),
        data=DataConfig(path=data, dataset=dataset, augment="lads"),
        loss={"l1": 1.0, "giou": 1.0, "mi": 0.1},
        epochs=epochs,
        images_per_batch=batch,
        lr=1e-4,
        lr_groups={"net.backbone": 1e-5, "text": 1e-5},
        weight_decay=1e-4,
        no_decay=("selector",),
        schedule="step",
        drops=(drop,),
        warmup=warmup,
        clip_norm=0.15,
        autocast="bf16",
    )


def _starting_from(
    config: TrainConfig, name: str, backbone: str | None, text: str | None, download: bool
) -> Run:
    rates = config.lr_groups if backbone is None else {**config.lr_groups, **FROZEN}
    parts = {"backbone": backbone, "text": text, "download": download, "lr_groups": rates}
    return Run(name, config.model_copy(update=parts), "grounding")
