"""The set loss by hand, against transformers', and over two processes."""

from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given
from hypothesis import strategies as st
from test_matching import some
from torch import Tensor
from torch.testing import assert_close

from groundling.losses.matching import Matching
from groundling.losses.sets import SetLoss, category_loss, number_of_boxes, set_losses


def one_image() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Three predictions, one of them of the only target: a quarter to its left, and as likely as not."""
    logits = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    boxes = torch.tensor([[[0.25, 0.5, 0.5, 1.0], [0.9, 0.9, 0.1, 0.1], [0.1, 0.1, 0.1, 0.1]]])
    targets = torch.tensor([[[0.5, 0.5, 1.0, 1.0]]])
    return logits, boxes, torch.tensor([[1]]), targets, torch.tensor([1])


def test_the_losses_by_hand() -> None:
    """Equal logits: −log 1/3 whatever the weights; L1 0.75 · 5; 1 − GIoU 0.5 · 2; two objects too many."""
    logits, boxes, categories, targets, counts = one_image()
    losses = set_losses([(logits, boxes)], categories, targets, counts, SetLoss())
    assert_close(losses["category"], torch.tensor(3.0).log())
    assert_close(losses["box_l1"], torch.tensor(3.75))
    assert_close(losses["box_giou"], torch.tensor(1.0))
    assert losses["metric/category_accuracy"] == 0  # all say the first category
    assert losses["metric/count_error"] == 2  # 3 predictions that are something, 1 target
    assert len(losses) == 5


def test_nothing_weighs_a_tenth() -> None:
    """−log p of the matched one is log 2, of the two others log 4: (log 2 + 0.2 · log 4) / 1.2."""
    p = torch.tensor([[[0.25, 0.5, 0.25], [0.5, 0.25, 0.25], [0.25, 0.5, 0.25]]])
    matching = Matching(torch.tensor([0]), torch.tensor([0]), torch.tensor([0]))
    loss = category_loss(p.log(), torch.tensor([[1]]), matching, 0.1)
    assert_close(loss, torch.tensor(2.0).log() * 1.4 / 1.2)


@given(st.integers(0, 10_000))
def test_the_losses_are_those_of_transformers(seed: int) -> None:
    """With three decoder layers, images without objects, and boxes of any size."""
    theirs = pytest.importorskip("transformers.loss.loss_for_object_detection")
    layers = [some(seed + 1000 * layer, images=3)[:2] for layer in range(3)]
    _, _, categories, targets, counts = some(seed, images=3)
    listed = [
        {"class_labels": c[:n], "boxes": b[:n]} for c, b, n in zip(categories, targets, counts, strict=True)
    ]
    criterion = theirs.ImageLoss(
        theirs.HungarianMatcher(class_cost=1, bbox_cost=5, giou_cost=2), 4, 0.1, ["labels", "boxes"]
    )
    outputs: dict[str, Any] = {"logits": layers[-1][0], "pred_boxes": layers[-1][1]}
    outputs["auxiliary_outputs"] = [{"logits": a, "pred_boxes": b} for a, b in layers[:-1]]
    expected = criterion(outputs, listed)
    found = set_losses(layers, categories, targets, counts, SetLoss())
    for name, (weight, ours) in {
        "loss_ce": (1, "category"), "loss_bbox": (5, "box_l1"), "loss_giou": (2, "box_giou"),
    }.items():  # fmt: skip
        for end, suffix in (("", ""), ("_0", ".0"), ("_1", ".1")):
            assert_close(found[ours + suffix], weight * expected[name + end], msg=f"{name}{end}")
    assert len(found) == 9 + 2


def test_auxiliary_losses_can_be_left_out() -> None:
    logits, boxes, categories, targets, counts = some(1)
    both = [(logits, boxes), (logits.flip(1), boxes.flip(1))]
    alone = set_losses(both, categories, targets, counts, SetLoss(auxiliary=False))
    assert {name: v for name, v in alone.items() if "." in name} == {}
    assert_close(alone["category"], set_losses(both, categories, targets, counts, SetLoss())["category"])


def test_images_without_objects_have_gradients_and_no_boxes() -> None:
    logits, boxes, categories, targets, _ = some(2)
    logits.requires_grad_(), boxes.requires_grad_()
    losses = set_losses([(logits, boxes)], categories, targets, torch.tensor([0, 0]), SetLoss())
    assert losses["box_l1"] == losses["box_giou"] == 0
    assert losses["metric/category_accuracy"] == 1
    sum(v for k, v in losses.items() if not k.startswith("metric/")).backward()
    assert logits.grad.abs().sum() > 0
    assert boxes.grad.abs().sum() == 0


def test_numbers_that_broke_are_in_the_loss() -> None:
    logits, boxes, categories, targets, counts = one_image()
    boxes[0, 0, 0] = float("nan")
    found = set_losses([(logits, boxes * float("nan"))], categories, targets, counts, SetLoss())
    assert not found["box_l1"].isfinite()


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="eos"):
        SetLoss.model_validate({"eos": 0.1})
    with pytest.raises(ValueError, match="greater than 0"):
        SetLoss(nothing=-1)


def _process(rank: int, address: str, out: Any) -> None:
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    out.put((rank, float(number_of_boxes(torch.tensor([[3, 2], [0, 0]][rank])))))
    dist.destroy_process_group()


def test_boxes_are_counted_over_all_processes(tmp_path: Any) -> None:
    """Five here and none there are 2.5 for each: their summed gradients are those of one process."""
    context = mp.get_context("spawn")
    out = context.Queue()
    address = f"file://{tmp_path}/group"
    both = [context.Process(target=_process, args=(rank, address, out)) for rank in (0, 1)]
    for process in both:
        process.start()
    found = dict(out.get(timeout=120) for _ in both)
    for process in both:
        process.join()
    assert found == {0: 2.5, 1: 2.5}
    assert number_of_boxes(torch.tensor([0, 0])) == 1
    assert number_of_boxes(torch.tensor([2, 1])) == 3
