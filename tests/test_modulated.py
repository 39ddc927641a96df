"""MDETR's objective is its parts, each layer matched for itself, and a small model learns by it."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from test_mdetr import CONFIG, SMALL_ANSWERS, model, some_images, some_tokens
from torch import Tensor
from torch.testing import assert_close

from groundling.ask.asking import ground_phrases
from groundling.losses import OBJECTIVES
from groundling.losses.alignment import alignment_loss
from groundling.losses.answers import answer_losses
from groundling.losses.box import box_losses
from groundling.losses.dense import positive_cells
from groundling.losses.masks import mask_losses
from groundling.losses.matching import match
from groundling.losses.modulated import ModulatedLoss, Targets, modulated_losses
from groundling.losses.regions import phrase_cell_loss, region_word_loss, wanted_words
from groundling.losses.soft_tokens import soft_token_cost, soft_token_loss
from groundling.models.mdetr import Mdetr, MdetrConfig, Memory
from groundling.pictures.boxes import iou
from groundling.pictures.placement import normalise, to_tensor
from groundling.words.byte_pairs import ByteTokenizer
from groundling.words.phrases import positive_map, tokens_of
from groundling.words.roberta import RobertaTextConfig
from groundling.words.tokens import Tokens

REGIONS = CONFIG.model_copy(update={"regions": 4})


def some_targets(**changes: Any) -> Targets:
    """Two objects, one, and none, over captions of 9, 5 and 3 tokens."""
    generator = torch.Generator().manual_seed(7)
    tokens = torch.zeros(3, 2, 9, dtype=torch.bool)
    tokens[0, 0, 1:3] = tokens[0, 1, 5] = tokens[1, 0, 2] = True
    positive = torch.zeros(3, 2, 12)
    positive[..., :9] = tokens / tokens.sum(-1, keepdim=True).clamp(min=1)
    fields = {
        "boxes_cxcywh01": 0.2 + 0.3 * torch.rand(3, 2, 4, generator=generator),
        "counts": torch.tensor([2, 1, 0]),
        "positive": positive,
        "tokens": tokens,
        "final": torch.tensor([[True, False], [True, False], [False, False]]),
        "masks": torch.rand(3, 2, 64, 64, generator=generator) > 0.5,
        "answers": torch.tensor([1, 0, 3]),
        "types": torch.tensor([1, 0, 2]),
    }
    return Targets(**{**fields, **changes})


def read(mdetr: Mdetr) -> Memory:
    tokens = some_tokens()
    return mdetr.net.read(some_images(), mdetr.text(tokens), tokens)


def test_the_losses_are_the_parts_written_out() -> None:
    """Three boxes in all; the last layer's masks for all queries, as the authors compute them."""
    mdetr, targets, weights = model(), some_targets(), ModulatedLoss(l1=3, alignment=0.5, mask=7, answers=25)
    net, memory, boxes = mdetr.net, read(mdetr), torch.tensor(3.0)
    found = modulated_losses(net, memory, targets, weights)
    hidden = net.decode(memory)
    for layer, suffix in enumerate((".0", ".1", "")):
        objects = net.soft_tokens(hidden[layer])
        cost = soft_token_cost(objects.logits, targets.positive)
        pairs = match(cost, objects.boxes_cxcywh01, targets.boxes_cxcywh01, targets.counts)
        assert sorted(zip(pairs.image.tolist(), pairs.target.tolist(), strict=True)) == [
            (0, 0),
            (0, 1),
            (1, 0),
        ]
        mine = objects.boxes_cxcywh01[pairs.image, pairs.prediction]
        l1, overlap = box_losses(mine, targets.boxes_cxcywh01[pairs.image, pairs.target])
        assert_close(found[f"box_l1{suffix}"], l1.sum())  # weighs 3, over 3 boxes
        assert_close(found[f"box_giou{suffix}"], 2 / 3 * overlap.sum())
        tokens = soft_token_loss(objects.logits, targets.positive, pairs, boxes)
        assert_close(found[f"soft_tokens{suffix}"], tokens)
        near = alignment_loss(*net.align(hidden[layer], memory), targets.tokens, pairs, boxes)
        assert_close(found[f"alignment{suffix}"], 0.5 * near)
    masks = net.masks(hidden[-1][:, : CONFIG.queries], memory)[pairs.image, pairs.prediction]
    assert targets.masks is not None
    focal, dice = mask_losses(masks, targets.masks[pairs.image, pairs.target], boxes)
    assert_close(found["mask"], 7 * focal)
    assert_close(found["dice"], dice)
    said = net.answer(hidden)
    answers = torch.nn.functional.cross_entropy(said["type"], torch.tensor([1, 0, 2]))
    assert_close(found["answer_type"], 25 * answers)
    assert not {name for name in found if name.startswith("answer_type.")}  # the first layer answers
    assert {name for name in found if name.startswith("final")} == {"final.0", "final.1", "final"}
    assert 0 <= found["metric/answer_accuracy"] <= 1


def test_the_released_target_is_a_one_at_each_token() -> None:
    """In the loss and in the matching: a phrase of two tokens counts twice."""
    mdetr, targets = model(), some_targets()
    ones = replace(targets, positive=(targets.positive > 0).float())
    memory = read(mdetr)
    found, paper = (
        modulated_losses(mdetr.net, memory, targets, ModulatedLoss(target=target))
        for target in ("released", "paper")
    )
    assert_close(found, modulated_losses(mdetr.net, memory, ones, ModulatedLoss()))
    assert found["soft_tokens"] > paper["soft_tokens"] + 0.1
    with pytest.raises(ValueError, match="loss target: Input should be 'paper' or 'released'"):
        OBJECTIVES["mdetr"]({"target": "multi-hot"})


def test_layers_before_the_one_that_answers_learn_to() -> None:
    last = SMALL_ANSWERS.model_copy(update={"layer": "last"})
    net = (mdetr := model(CONFIG.model_copy(update={"answers": last}))).net
    memory = read(mdetr)
    found = modulated_losses(net, memory, some_targets(), ModulatedLoss(answers=3))
    assert net.answers is not None
    for hidden, suffix in zip(net.decode(memory), (".0", ".1", ""), strict=True):
        said = net.answers(hidden[:, CONFIG.queries :])
        wanted = torch.nn.functional.cross_entropy(said["type"], torch.tensor([1, 0, 2]))
        assert_close(found[f"answer_type{suffix}"], 3 * wanted)
    alone = modulated_losses(net, memory, some_targets(), ModulatedLoss(answers=3, auxiliary=False))
    assert {name for name in alone if name.startswith("answer_type")} == {"answer_type"}


def test_the_one_object_that_a_question_is_about_learns_to_answer_it() -> None:
    """The second caption has one object, the first two, and the third is of an answer without one."""
    mdetr, targets = model(), some_targets()
    memory = read(mdetr)
    found = modulated_losses(mdetr.net, memory, targets, ModulatedLoss(evidence=3))
    assert mdetr.net.answers is not None
    kind = SMALL_ANSWERS.types[0]
    for hidden, suffix in zip(mdetr.net.decode(memory), (".0", ".1", ""), strict=True):
        objects = mdetr.net.soft_tokens(hidden)
        cost = soft_token_cost(objects.logits, targets.positive)
        pairs = match(cost, objects.boxes_cxcywh01, targets.boxes_cxcywh01, targets.counts)
        (query,) = pairs.prediction[pairs.image == 1].tolist()
        logits = mdetr.net.answers.heads[f"{kind}_head"](hidden[1, query])
        no = (1 - logits.sigmoid())[0] if len(logits) == 1 else logits.softmax(0)[0]
        assert_close(found[f"evidence{suffix}"], -3 * no.log())
    cells = positive_cells(targets.boxes_cxcywh01[1:2, 0], CONFIG.grid)[0].bool()
    visual = memory.encoded[1, : memory.visual.shape[1]]
    logits = mdetr.net.answers.heads[f"{kind}_head"](visual[cells].mean(0))
    no = (1 - logits.sigmoid())[0] if len(logits) == 1 else logits.softmax(0)[0]
    assert_close(found["evidence_cells"], -3 * no.log())
    nobody = replace(targets, answers=torch.tensor([-1] * 3), types=torch.tensor([-1] * 3))
    assert not modulated_losses(mdetr.net, memory, nobody, ModulatedLoss(evidence=3))["evidence"].any()
    assert not modulated_losses(mdetr.net, memory, nobody, ModulatedLoss(evidence=3))["evidence_cells"].any()
    assert "evidence" not in modulated_losses(mdetr.net, memory, targets, ModulatedLoss())


def test_what_a_batch_does_not_teach_has_no_loss() -> None:
    nothing = {"final": None, "masks": None, "answers": None, "types": None}
    mdetr = model()
    found = modulated_losses(mdetr.net, read(mdetr), some_targets(**nothing), ModulatedLoss(auxiliary=False))
    assert set(found) == {"soft_tokens", "box_l1", "box_giou", "alignment"}
    bare = model(CONFIG.model_copy(update={"masks": False, "contrastive": 0}))
    with pytest.raises(ValueError, match="targets have masks, and the model has no head for them"):
        modulated_losses(bare.net, read(bare), some_targets(), ModulatedLoss())
    found = modulated_losses(bare.net, read(bare), some_targets(**nothing), ModulatedLoss())
    assert not {name for name in found if "alignment" in name}


def test_targets_without_a_mask_and_captions_without_a_question_teach_the_rest() -> None:
    """One mask of three, and one question: as if the others were not in the batch, over the same boxes."""
    mdetr, targets = model(), some_targets(final=None)
    masked = torch.tensor([[False, True], [False, False], [False, False]])
    none = {"answers": torch.tensor([-1, 0, -1]), "types": torch.tensor([-1, 0, -1])}
    found = modulated_losses(mdetr.net, read(mdetr), replace(targets, masked=masked, **none), ModulatedLoss())
    everything = modulated_losses(mdetr.net, read(mdetr), targets, ModulatedLoss())
    same = [name for name in found if not name.startswith(("mask", "dice", "answer", "metric"))]
    assert len(same) == 12
    assert_close({name: found[name] for name in same}, {name: everything[name] for name in same})
    memory = read(mdetr)
    hidden = mdetr.net.decode(memory)
    objects = mdetr.net.soft_tokens(hidden[-1])
    cost = soft_token_cost(objects.logits, targets.positive)
    pairs = match(cost, objects.boxes_cxcywh01, targets.boxes_cxcywh01, targets.counts)
    ((query,),) = [pairs.prediction[(pairs.image == 0) & (pairs.target == 1)].tolist()]
    logits = mdetr.net.masks(hidden[-1][:, : CONFIG.queries], memory)[:1, query]
    assert targets.masks is not None
    focal, dice = mask_losses(logits, targets.masks[:1, 1], torch.tensor(3.0))
    assert_close((found["mask"], found["dice"]), (focal, dice))
    said = {name: logits[1:2] for name, logits in mdetr.net.answer(hidden).items()}
    alone = answer_losses(said, torch.tensor([0]), torch.tensor([0]), SMALL_ANSWERS.types)
    assert_close({name: found[name] for name in alone}, alone)
    nobody = replace(
        targets, masked=masked & False, answers=none["answers"] * 0 - 1, types=none["types"] * 0 - 1
    )
    found = modulated_losses(mdetr.net, read(mdetr), nobody, ModulatedLoss())
    assert not any(bool(found[name]) for name in ("mask", "dice", "answer_type", "answer_obj"))
    assert float(found["metric/answer_accuracy"]) == 1


def test_visual_tokens_learn_the_words_of_their_objects() -> None:
    """Of three captions, the last without any object, all of them with padding."""
    mdetr, targets = model(REGIONS), some_targets()
    memory = read(mdetr)
    found = modulated_losses(mdetr.net, memory, targets, ModulatedLoss(regions=3))
    wanted = wanted_words(targets.boxes_cxcywh01, targets.tokens, CONFIG.grid)
    assert memory.keep is not None
    cells = CONFIG.grid**2
    keep = memory.keep[:, :cells, None] & memory.keep[:, None, cells:]
    assert not bool(keep.all())
    assert_close(found["regions"], 3 * region_word_loss(mdetr.net.regions(memory), wanted, keep))
    where = phrase_cell_loss(mdetr.net.regions(memory), targets.boxes_cxcywh01, targets.tokens, CONFIG.grid)
    assert_close(found["cells"], where)
    none = modulated_losses(mdetr.net, memory, targets, ModulatedLoss(regions=0, cells=0))
    assert not {"regions", "cells"} & none.keys()
    with pytest.raises(ValueError, match="its configuration says regions=0"):
        model().net.regions(memory)


def test_training_reaches_every_parameter() -> None:
    mdetr = model(REGIONS).train()
    losses = modulated_losses(mdetr.net, read(mdetr), some_targets(), ModulatedLoss())
    sum(loss for name, loss in losses.items() if not name.startswith("metric/")).backward()  # type: ignore[union-attr]
    untouched = {name for name, p in mdetr.named_parameters() if p.grad is None or not bool(p.grad.any())}
    assert {name for name in untouched if not name.endswith(("key.bias", "k_linear.bias"))} == set()


# ---------------------------------------------------------------------------------------------- it learns

COLOURS = {"red": (220, 40, 40), "blue": (40, 60, 220)}
TINY = MdetrConfig(
    image_size=32,
    text=RobertaTextConfig(
        vocabulary=280, layers=1, dim=32, heads=2, ffn=64, tokens=12, positions=14, dropout=0.0
    ),
    blocks=(1, 1),
    width=8,
    expansion=2,
    stem="conv3",
    stem_width=16,
    norm="batch",
    dim=32,
    heads=2,
    ffn=64,
    layers=1,
    decoder_layers=2,
    queries=4,
    dropout=0.0,
    contrastive=8,
)


def squares(seed: int) -> tuple[Any, dict[str, tuple[float, ...]]]:
    """A grey image with a red square in one half and a blue one in the other, and their boxes."""
    from PIL import Image

    generator = torch.Generator().manual_seed(seed)
    image, boxes = Image.new("RGB", (32, 32), (128, 128, 128)), {}
    for place, colour in enumerate(("red", "blue") if seed % 2 else ("blue", "red")):
        x, y = (int(v) for v in torch.randint(1, 6, (2,), generator=generator))
        box = (16 * place + x, 2 * y, 16 * place + x + 9, 2 * y + 9)
        image.paste(COLOURS[colour], box)
        boxes[colour] = box
    return image, boxes


BOTH = "a blue square and a red square"


def batch(seeds: range, tokenizer: ByteTokenizer) -> tuple[Tensor, Tokens, Targets, Tensor]:
    """Of each image two captions: one names both squares, the other the red one alone."""
    images, captions, rows = [], [], []
    for seed in seeds:
        image, boxes = squares(seed)
        images.append(to_tensor(image))
        captions += [BOTH, "a red square"]
        rows += [[(boxes["blue"], (0, 13)), (boxes["red"], (18, 30))], [(boxes["red"], (0, 12))]]
    tokens = tokenizer.encode(captions)
    boxes_BN4, positive = torch.zeros(len(rows), 2, 4), torch.zeros(len(rows), 2, 12)
    chosen = torch.zeros(len(rows), 2, tokens.ids.shape[1], dtype=torch.bool)
    for i, (caption, found) in enumerate(zip(captions, rows, strict=True)):
        offsets = tokenizer.offsets(caption)
        positive[i, : len(found)] = positive_map([[span] for _, span in found], offsets, 12)
        for n, ((x1, y1, x2, y2), span) in enumerate(found):
            boxes_BN4[i, n] = torch.tensor(((x1 + x2) / 64, (y1 + y2) / 64, (x2 - x1) / 32, (y2 - y1) / 32))
            chosen[i, n, list(tokens_of([span], offsets))] = True
    counts = torch.tensor([len(found) for found in rows])
    index = torch.arange(len(images)).repeat_interleave(2)
    return normalise(torch.stack(images)), tokens, Targets(boxes_BN4, counts, positive, chosen), index


def test_a_small_model_learns_which_square_is_which() -> None:
    """After some steps on eight images each phrase's best box is its square's, and few boxes are too many."""
    torch.manual_seed(0)
    tokenizer = ByteTokenizer.train([BOTH] * 9, 280, 12)
    mdetr = Mdetr(TINY).train()
    images, tokens, targets, index = batch(range(8), tokenizer)
    optimiser, steps = torch.optim.AdamW(mdetr.parameters(), lr=2e-3), 220
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 2e-3 * min(1, 1.5 * (1 - step / steps))
        memory = mdetr.net.read(images, mdetr.text(tokens), tokens, index)
        losses = modulated_losses(mdetr.net, memory, targets, ModulatedLoss())
        optimiser.zero_grad()
        sum(losses.values()).backward()  # type: ignore[union-attr]
        torch.nn.utils.clip_grad_norm_(mdetr.parameters(), 1.0)
        optimiser.step()
    mdetr.eval()
    right = counted = 0
    for seed in range(8):
        image, boxes = squares(seed)
        for phrase in ground_phrases(mdetr, tokenizer, image, BOTH, split="rules", threshold=0.5):
            expected = torch.tensor(boxes[phrase.phrase.split()[1]], dtype=torch.float32)
            counted += len(phrase.objects)
            right += any(float(iou(torch.tensor(o.box), expected)) > 0.5 for o in phrase.objects[:1])
    assert right >= 15  # of 16
    assert counted <= 24  # 16 to 18 on an Intel processor, 21 on an AMD one: training is chaotic
