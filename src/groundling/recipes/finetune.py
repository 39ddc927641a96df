"""Fine-tuning the packaged model on a user's own expressions, in any layout that `open_dataset` reads.

    groundling train finetune --set data=DIR [--set dataset=jsonl] --out runs/mine

Words that the packaged model does not know join its vocabulary, and long expressions raise what it reads.
Where there is no split val, 15 % of the pictures are held out; the run ends when it gets no better on val or
on these, and its best weights are what it leaves. It says so where there are too few pictures, and where they
were learned by heart. `--init` starts from another checkpoint, one that was fine-tuned before too.

258 drawn pictures of another world with 1,755 expressions of up to 36 words: after 350 steps, five minutes of
a CPU core, Prec@0.5 is 73.5 on pictures that it has not seen; it was 20.5 after 800 where new words were
spelled and expressions cut (docs/log.md). All 1,800 steps take twenty minutes and more.
A handful of pictures will do: where they are fewer than a batch, it holds each of them several times.

    groundling train finetune_photo --set data=DIR [--set dataset=jsonl] --out runs/mine

does the same from the packaged model for photographs. Its text encoder stays as it is, since it has read
English; captions with phrases are learned too, and phrases of other pictures teach what is not there.
"""

from pathlib import Path

from groundling.models import LADS, LATE
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


def finetune_photo(data: Path, dataset: str = "jsonl", steps: int = 600) -> tuple[Run, ...]:
    """The packaged LADS for photographs, fine-tuned on your own expressions or captions."""
    config = TrainConfig(
        model=LATE["lads_photo"].model_dump(mode="json"),
        data=DataConfig(path=data, dataset=dataset, repeat=True, held_out=0.15, absent=1),
        init="lads_photo",
        loss={"gates": "chosen"},
        steps=steps,
        images_per_batch=16,
        expressions_per_image=4,
        lr=1e-4,
        lr_groups={"text": 0.0, "selector": 0.0, "net.backbone": 2e-5},
        weight_decay=1e-2,
        decay_vectors=False,
        schedule="cosine",
        warmup=20,
        clip_norm=1.0,
        ema=0.99,
        half=True,
        evaluate_every=100,
        patience=5,
    )
    return (Run("finetune_photo", config, "phrases"),)
