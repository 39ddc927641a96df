"""The matching by hand, against every permutation, and against transformers' matcher."""

from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from groundling.losses.matching import MatchCost, Matching, category_cost, match, total_cost


def some(seed: int, images: int = 2, queries: int = 5, targets: int = 3) -> tuple[Tensor, ...]:
    """Logits of four categories and nothing, boxes, and padded targets of 0 to `targets` things an image."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, queries, 5, generator=generator)
    boxes = torch.rand(images, queries, 4, generator=generator)
    counts = torch.randint(0, targets + 1, (images,), generator=generator)
    wanted = torch.rand(images, targets, 4, generator=generator)
    categories = torch.randint(0, 4, (images, targets), generator=generator)
    padding = torch.arange(targets) >= counts[:, None]
    return logits, boxes, categories.masked_fill(padding, -1), wanted, counts


def test_the_cost_by_hand() -> None:
    """p(c) of 0.75, a box half as wide as its target: L1 = 0.25 + 0.5 = 0.75, IoU = GIoU = 0.5."""
    logits = torch.tensor([0.75, 0.25]).log().view(1, 1, 2)
    boxes, targets = torch.tensor([[[0.25, 0.5, 0.5, 1.0]]]), torch.tensor([[[0.5, 0.5, 1.0, 1.0]]])
    unlikely = category_cost(logits, torch.tensor([[0]]))
    assert_close(total_cost(unlikely, boxes, targets, MatchCost()), torch.tensor([[[-0.75 + 3.75 - 1.0]]]))
    assert_close(total_cost(unlikely, boxes, targets, MatchCost(2, 0, 0)), torch.tensor([[[-1.5]]]))


def test_no_prediction_is_given_twice() -> None:
    """Both targets are nearest to prediction 1; the one that loses least takes its second best."""
    boxes = torch.tensor([[[0.9, 0.9, 0.1, 0.1], [0.5, 0.5, 0.2, 0.2], [0.4, 0.5, 0.2, 0.2]]])
    targets = torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.48, 0.5, 0.2, 0.2]]])
    found = match(torch.zeros(1, 3, 2), boxes, targets, torch.tensor([2]))
    assert dict(zip(found.prediction.tolist(), found.target.tolist(), strict=True)) == {1: 0, 2: 1}


@given(st.integers(0, 10_000))
def test_no_other_matching_is_cheaper(seed: int) -> None:
    logits, boxes, categories, targets, counts = some(seed)
    unlikely = category_cost(logits, categories)
    whole = total_cost(unlikely, boxes, targets, MatchCost())
    found = match(unlikely, boxes, targets, counts)
    for image, count in enumerate(counts.tolist()):
        mine = found.image == image
        assert sorted(found.target[mine].tolist()) == list(range(count))  # every target, no padding
        cost = whole[image, found.prediction[mine], found.target[mine]].sum()
        others = (whole[image, list(q), range(count)].sum() for q in permutations(range(5), count))
        assert cost <= min(others) + 1e-5


@given(st.integers(0, 10_000))
def test_the_matching_is_that_of_transformers(seed: int) -> None:
    theirs = pytest.importorskip("transformers.loss.loss_for_object_detection")
    logits, boxes, categories, targets, counts = some(seed, images=3)
    listed = [
        {"class_labels": c[:n], "boxes": b[:n]} for c, b, n in zip(categories, targets, counts, strict=True)
    ]
    matcher = theirs.HungarianMatcher(class_cost=1, bbox_cost=5, giou_cost=2)
    expected = matcher({"logits": logits, "pred_boxes": boxes}, listed)
    found = match(category_cost(logits, categories), boxes, targets, counts)
    for image, (predictions, wanted) in enumerate(expected):
        mine = found.image == image
        assert found.prediction[mine].tolist() == predictions.tolist()
        assert found.target[mine].tolist() == wanted.tolist()


def test_what_lies_in_padding_changes_nothing() -> None:
    logits, boxes, categories, targets, _ = some(3)
    counts = torch.tensor([2, 1])
    found = match(category_cost(logits, categories), boxes, targets, counts)
    targets[0, 2:], targets[1, 1:] = float("nan"), boxes[1, :2]
    again = match(category_cost(logits, categories), boxes, targets, counts)
    assert [t.tolist() for t in (found.image, found.prediction, found.target)] == [
        t.tolist() for t in (again.image, again.prediction, again.target)
    ]


def test_more_targets_than_predictions_and_none_at_all() -> None:
    logits, boxes, categories, targets, _ = some(4, queries=2, targets=4)
    found = match(category_cost(logits, categories), boxes, targets, torch.tensor([4, 0]))
    assert found.image.tolist() == [0, 0]
    assert sorted(found.prediction.tolist()) == [0, 1]
    assert len(set(found.target.tolist())) == 2
    none = match(category_cost(logits, categories), boxes, targets, torch.tensor([0, 0]))
    assert [len(t) for t in (none.image, none.prediction, none.target)] == [0, 0, 0]


def test_a_prediction_that_is_not_finite_comes_last() -> None:
    """The matching goes on, so that the loss can say what is broken."""
    boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.1, 0.1, 0.1, 0.1], [float("nan")] * 4]])
    targets = torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.9, 0.9, 0.1, 0.1]]])
    found = match(torch.zeros(1, 3, 2), boxes, targets, torch.tensor([2]))
    assert found.prediction.tolist() == [0, 1]


def test_pairs_pick_from_predictions_and_targets() -> None:
    found = Matching(torch.tensor([0, 1, 1]), torch.tensor([2, 0, 1]), torch.tensor([0, 1, 0]))
    predictions, targets = torch.arange(6).view(2, 3), torch.arange(4).view(2, 2)
    assert found.of_predictions(predictions).tolist() == [2, 3, 4]
    assert found.of_targets(targets).tolist() == [0, 3, 2]
