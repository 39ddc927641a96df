"""A small MDETR on street scenes: phrases, questions and masks learned together, each from its own files.

    groundling data street street --scenes 20000 --tasks captions,questions,attributes,masks,lists,names
    groundling train mdetr_street --set data=street --out runs/mdetr_street
    groundling answer street/images/street_0_000001.jpg "Is it sunny?" --model runs/mdetr_street/words/final

    groundling train mdetr_adaptive --set data=street --init runs/mdetr_street/words/final

*attributes*: the backbone, which begins as that of `lads_street`, learns to name, colour and box all objects
from its last cells, six times as many pictures a second as with words: colours are learned here.
*detect*: encoder, decoder and boxes learn all objects of a scene as a DETR, which takes minutes; as MDETR's
authors trained theirs on CLEVR, and without it boxes hardly come while words mean nothing yet.
*words*: captions, lists of all that is there, names, expressions, questions and masks are learned together,
six texts of a picture sharing one pass of the backbone. Twice as many questions ask for a colour or a pose
as for all else: among thirteen types they were too few for the colours of parts. Queries that match nothing
weigh ten times as in MDETR, which is as much as others: what tells two cats apart is learned from the one
that is not meant. Visual tokens learn which words are about them (GLIP), and compete for a phrase (LADS). The
object that a question is about learns to answer it, in its cells and its query: answer queries find nothing
that nobody carries.

Less than two hours on two cores, by the speed of its runs:
`OMP_NUM_THREADS=1 torchrun --nproc_per_node 2 -m groundling train …`.
Reached on scenes of another seed: 88 % of phrases found at the first box, 91 % of questions answered and 80
of those of any type, masks with a mean IoU of 0.79 (docs/results.md); the goals are 85, 85, 60 and 0.7.
*mdetr_adaptive*, whose words choose what of backbone, encoder and decoder runs, is to stay within a point of
it at 60 % of its MACs; at 54 to 63 % it is one to three points below, after another two hours. Its budget is
each text's: that of a batch was met by expressions alone.
"""

from pathlib import Path

from groundling.models import MDETR
from groundling.models.detr import DetrConfig
from groundling.models.supernet import Sizes
from groundling.recipes.detr_street import detr_street
from groundling.recipes.lads_street import lads_street
from groundling.training.train import DataConfig, Run, TrainConfig

BEYOND_BOXES = (
    "text.",
    "net.resizer.",
    "net.class_embed.",
    "net.align_queries.",
    "net.align_words.",
    "net.region_words.",
    "net.answers.",
    "net.mask_head.",
)


def mdetr_street(data: Path = Path("street")) -> tuple[Run, ...]:
    """The packaged MDETR for street scenes, from random weights: phrases, answers and masks."""
    words = TrainConfig(
        model=MDETR["mdetr_street"].model_dump(mode="json"),
        data=DataConfig(
            path=data,
            dataset="flickr30k,jsonl,jsonl,refcoco,gqa,gqa,gqa,phrasecut",
            split="train,lists_train,names_train,train,train_balanced,train_attributes,train_attributes,train",
            augment="mirror",
        ),
        loss={"nothing": 1.0, "regions": 5.0, "cells": 2.0, "answers": 3.0, "evidence": 4.0},
        fresh=BEYOND_BOXES,
        discard=("text.", "net.class_embed."),
        steps=10_500,
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
    return (_attributes(data), _detect(data), Run("words", words, "mdetr"))


def _attributes(data: Path) -> Run:
    """The finer detection run of `lads_street`, from where that model came to."""
    detect = {run.name: run for run in lads_street(data)}["detect"]
    update = {
        "init": "lads_street",
        "fresh": ("detector.",),
        "steps": 3400,
        "lr": 8e-4,
        "lr_floor": 0.02,
        "warmup": 150,
        "ema": 0.998,
    }
    return Run("attributes", detect.config.model_copy(update=update), detect.objective)


def _detect(data: Path) -> Run:
    """`detr_street` in the sizes of the MDETR, for fewer steps; pictures of 112 pixels are faster."""
    (run,) = detr_street(data)
    street = MDETR["mdetr_street"]
    model = DetrConfig(
        **street.model_dump(include=set(Sizes.model_fields)),
        categories=run.config.model["categories"],
        queries=street.queries,
        encoder_layers=street.layers,
        decoder_layers=street.decoder_layers,
        short_side=112,
        long_side=street.image_size,
    )
    update = {
        "model": model.model_dump(mode="json"),
        "init": None,
        "discard": (*run.config.discard, "detector."),
        "steps": 2000,
    }
    return Run("detect", run.config.model_copy(update=update), run.objective)


def mdetr_adaptive(data: Path = Path("street")) -> tuple[Run, ...]:
    """The packaged MDETR whose words choose what runs, from a trained mdetr_street given by `--init`."""
    *_, run = mdetr_street(data)
    mixture = {
        "dataset": "flickr30k,jsonl,refcoco,gqa,gqa,phrasecut",
        "split": "train,names_train,train,train_balanced,train_attributes,train",
    }
    adapt = {
        "model": MDETR["mdetr_adaptive"].model_dump(mode="json"),
        "data": run.config.data.model_copy(update=mixture),
        "loss": {**run.config.loss, "mi": 1.5, "budget": 100.0, "budget_share": 0.49, "budget_of": "text"},
        "init": None,
        "needs_init": True,
        "fresh": ("selector.",),
        "discard": (),
        "steps": 4500,
        "expressions_per_image": 2,  # each sees its image for itself
        "warmup": 100,
        "lr": 3e-4,
        "lr_groups": {"net.backbone": 1.5e-4, "selector": 2e-3},
        "no_decay": ("selector",),
        "freeze_norm": True,
    }
    frozen = {"net.backbone": 2e-4, "selector": 0.0, "text": 0.0}
    polish = {
        **adapt,
        "loss": {**run.config.loss, "gates": "chosen"},
        "fresh": (),
        "steps": 13_800,
        "lr": 4e-4,
        "lr_groups": frozen,
        "no_decay": (),
        "seed": 1,
    }
    return tuple(
        Run(name, run.config.model_copy(update=update), "mdetr")
        for name, update in (("adapt", adapt), ("polish", polish))
    )
