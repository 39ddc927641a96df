"""Fine-tuning the packaged model on a user's own expressions, in any layout that `open_dataset` reads.

    groundling train finetune --set data=DIR [--set dataset=jsonl] --out runs/mine

Twenty minutes of one busy CPU core: 96 COCO photos with 554 expressions (examples/refer_from_coco.py) are
learned by heart, Prec@0.5 of 90.8 on what it trained on (docs/results.md).
The packaged weights know colours, sides and sizes already, new words are spelled by their letters. `--init`
starts from another checkpoint.
A handful of pictures will do: where they are fewer than a batch, it holds each of them several times.
"""

from pathlib import Path

from groundling.models import LADS
from groundling.training.train import DataConfig, Run, TrainConfig


def finetune(data: Path, dataset: str = "refcoco", steps: int = 1800) -> tuple[Run, ...]:
    """The packaged LADS fine-tuned on your own expressions; its share of MACs stays where it is."""
    config = TrainConfig(
        model=LADS["lads_street"].model_dump(mode="json"),
        data=DataConfig(path=data, dataset=dataset, repeat=True, held_out=0.15),
        init="lads_street",
        loss={"dense": 0.5, "mi": 0.1, "budget": 5.0, "budget_share": 0.45},
        steps=steps,
        images_per_batch=16,
        expressions_per_image=2,
        lr=5e-4,
        weight_decay=1e-2,
        no_decay=("selector",),
        schedule="cosine",
        warmup=20,
        clip_norm=1.0,
        freeze_norm=True,
        autocast="bf16",
        new_words=4000,
        longest=256,
        evaluate_every=100,
        patience=8,
    )
    return (Run("finetune", config, "grounding"),)
