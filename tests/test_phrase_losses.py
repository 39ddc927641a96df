"""What a model learns of phrases: by hand, on a grid of two by two cells."""

import math

import pytest
import torch
from torch import Tensor

from groundling.losses.phrases import PhraseLoss, found_losses, owners
from groundling.models.supernet import Prediction

# Of the first phrase two boxes, the upper left and the lower right quarter; the second means nothing.
TARGETS = torch.tensor([[[0.25, 0.25, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]], [[0.0, 0.0, 0.0, 0.0]] * 2])
COUNTS = torch.tensor([2, 0])


def prediction(logits: list[float], boxes: Tensor, present: tuple[float, float]) -> Prediction:
    rows = torch.tensor([logits, [0.0] * 4])
    both = torch.stack((boxes, boxes))
    return Prediction(both[:, 0], rows.softmax(1).amax(1), (rows,), (both,), present=torch.tensor(present))


CELLS = torch.tensor(
    [[0.25, 0.25, 0.5, 0.5], [0.75, 0.25, 0.5, 0.5], [0.25, 0.75, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]]
)


def test_any_box_is_right() -> None:
    """The two quarters together have (e + 1) / (e + 3) of the probability; both boxes are perfect."""
    losses = found_losses(
        prediction([1.0, 0.0, 0.0, 0.0], CELLS, (2.0, -2.0)), TARGETS, COUNTS, 2, PhraseLoss()
    )
    e = math.e
    assert float(losses["cell"]) == pytest.approx(-math.log((e + 1) / (e + 3)), rel=1e-5)
    good = -(math.log(e / (e + 3)) + math.log(1 / (e + 3))) / 2  # both fit alike
    assert float(losses["good"]) == pytest.approx(good, rel=1e-5)
    assert float(losses["l1"]) == pytest.approx(0, abs=1e-6)
    assert float(losses["giou"]) == pytest.approx(0, abs=1e-6)
    assert float(losses["present"]) == pytest.approx(0.5 * math.log1p(math.exp(-2)), rel=1e-5)
    assert float(losses["metric/any-box"]) == 1
    assert float(losses["metric/present"]) == 1


def test_boxes_are_learned_where_a_phrase_has_some() -> None:
    moved = CELLS.clone()
    moved[3, 0] -= 0.1  # of the second box
    moved[1:3] = 0.9  # of none
    losses = found_losses(
        prediction([0.0] * 4, moved, (0.0, 0.0)), TARGETS, COUNTS, 2, PhraseLoss(l1=1, giou=1)
    )
    assert float(losses["l1"]) == pytest.approx(0.05)  # the mean of 0 and 0.1
    assert float(losses["giou"]) == pytest.approx((1 - 0.4 / 0.6) / 2)


def test_rows_can_weigh_differently() -> None:
    targets, counts = TARGETS[:1].expand(2, -1, -1), torch.tensor([1, 2])
    found = prediction([3.0, 0.0, 0.0, 0.0], CELLS, (0.0, 0.0))

    def cell(weights: list[float] | None) -> float:
        rows = None if weights is None else torch.tensor(weights)
        return float(found_losses(found, targets, counts, 2, PhraseLoss(), rows)["cell"])

    first, second = cell([1.0, 0.0]), cell([0.0, 1.0])
    assert first != pytest.approx(second)
    assert cell(None) == pytest.approx((first + second) / 2)
    assert cell([1.0, 0.25]) == pytest.approx((first + 0.25 * second) / 1.25)


def test_the_smaller_box_owns_a_cell_of_both() -> None:
    targets = torch.tensor([[[0.5, 0.5, 1.0, 1.0], [0.25, 0.25, 0.5, 0.5]]])
    assert owners(targets, torch.tensor([[True, True]]), 2).tolist() == [[1, 0, 0, 0]]
    assert owners(targets, torch.tensor([[True, False]]), 2).tolist() == [[0, 0, 0, 0]]


def test_a_batch_where_nothing_is_there_teaches_that_alone() -> None:
    found = prediction([0.0] * 4, CELLS.clone().requires_grad_(), (0.0, 0.0))
    losses = found_losses(found, TARGETS, torch.tensor([0, 0]), 2, PhraseLoss())
    assert all(bool(term.isfinite()) for term in losses.values())
    assert float(losses["present"]) > 0
    assert float(sum(v for k, v in losses.items() if k in ("cell", "good", "l1", "giou"))) == 0
