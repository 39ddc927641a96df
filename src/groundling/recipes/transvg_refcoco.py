"""TransVG, the static baseline, with its published settings (Deng et al. 2021).

    groundling train transvg_refcoco --set data=DIR --set detr=detr-r50.pth --set text=bert-base-uncased/

90 epochs of 64 expressions, rates divided by 10 after 60; RefCOCO+ takes 180 and 120. The authors used
8 GPUs; their released weights have Prec@0.5 of 80.5 / 83.2 / 75.2 on RefCOCO val / testA / testB. These
numbers are theirs: the runs are not repeated here.

`detr`: a DETR checkpoint, trained on COCO without the images of the val and test splits. `text`: a folder
with BERT base, uncased. `dataset`: of REFER's layout or of TransVG's (unc, unc+, gref, gref_umd, referit).
"""

from pathlib import Path

from groundling.models.transvg import TransVGConfig
from groundling.training.train import DataConfig, Run, TrainConfig

PRETRAINED = {"net.backbone": 1e-5, "net.input_proj": 1e-5, "net.visual_encoder": 1e-5, "text": 1e-5}
FROZEN = {"net.backbone.conv1": 0.0, "net.backbone.layer1": 0.0}  # as DETR has them


def transvg_refcoco(
    data: Path,
    dataset: str = "refcoco",
    detr: str | None = None,
    text: str | None = None,
    download: bool = False,
) -> tuple[Run, ...]:
    """TransVG, as in its paper; 40 tokens on RefCOCOg, whose expressions are long, else 20."""
    slow = dataset.startswith(("refcoco+", "unc+"))
    model = TransVGConfig()
    if dataset.startswith(("refcocog", "gref")):
        model = model.model_copy(update={"text": model.text.model_copy(update={"tokens": 40})})
    config = TrainConfig(
        model=model.model_dump(mode="json"),
        data=DataConfig(path=data, dataset=dataset, augment="transvg"),
        loss={"l1": 1.0, "giou": 1.0},
        epochs=180 if slow else 90,
        drops=(120 if slow else 60,),
        images_per_batch=64,
        lr=1e-4,
        lr_groups=PRETRAINED if detr is None else {**PRETRAINED, **FROZEN},
        weight_decay=1e-4,
        schedule="step",
        clip_norm=None,
        detr=detr,
        text=text,
        download=download,
    )
    return (Run("transvg", config, "grounding"),)
