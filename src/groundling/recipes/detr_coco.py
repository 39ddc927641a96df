"""DETR on COCO with its published settings (Carion et al. 2020).

    groundling train detr_coco --set data=COCO --set backbone=resnet50.pth --out runs/detr
    groundling import detr-r50-e632da11.pth models/detr-r50 --system detr
    groundling train detr_finetune --set data=DIR --init models/detr-r50 \\
        --set 'model.categories=["ball", "bat"]'

300 epochs of 16 images (2 on each of 8 GPUs, by torchrun), rates divided by 10 after 200, gradients clipped
at 0.1; stem and first stage of the backbone stay as they are. The paper's 500 epochs have an AP of 42.0 on
val2017. That number is the paper's: the run is not repeated here.

`backbone`: a ResNet-50 trained on ImageNet. Fine-tuning is told its own categories, as the data spells them:
their head begins anew.
"""

from pathlib import Path

from groundling.models import DETR
from groundling.training.train import DataConfig, Run, TrainConfig

FROZEN = {"net.backbone.conv1": 0.0, "net.backbone.layer1": 0.0}


def detr_coco(
    data: Path,
    dataset: str = "coco",
    split: str = "train2017",
    backbone: str | None = None,
    download: bool = False,
) -> tuple[Run, ...]:
    """DETR from a backbone trained on ImageNet, as in its paper: 300 epochs, drop at 200."""
    config = TrainConfig(
        model=DETR["detr_r50"].model_dump(mode="json"),
        data=DataConfig(path=data, dataset=dataset, split=split, things=True, augment="detr"),
        epochs=300,
        drops=(200,),
        images_per_batch=16,
        lr=1e-4,
        lr_groups={"net.backbone": 1e-5, **({} if backbone is None else FROZEN)},
        weight_decay=1e-4,
        schedule="step",
        clip_norm=0.1,
        backbone=backbone,
        download=download,
        workers=8,
    )
    return (Run("detr", config, "detr"),)


def detr_finetune(data: Path, dataset: str = "coco", split: str = "train") -> tuple[Run, ...]:
    """DETR for objects of your own, from an imported one given by `--init`: 50 epochs, drop at 40.

    Rates are a tenth of the published ones, since everything but the names is known already.
    """
    config = TrainConfig(
        model=DETR["detr_r50"].model_dump(mode="json"),
        data=DataConfig(path=data, dataset=dataset, split=split, things=True, augment="detr", repeat=True),
        epochs=50,
        drops=(40,),
        images_per_batch=8,
        lr=1e-5,
        lr_groups={"net.backbone": 1e-6, "net.class_embed": 1e-4, **FROZEN},
        weight_decay=1e-4,
        schedule="step",
        clip_norm=0.1,
        needs_init=True,
        fresh=("net.class_embed.",),
        discard=("net.class_embed.",),
        workers=4,
    )
    return (Run("finetune", config, "detr"),)
