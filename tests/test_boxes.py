"""Box conversions against literals, IoU and GIoU against cases worked out by hand and DETR's formula."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from groundling.pictures import boxes

XYXY, XYWH, CXCYWH = [10.0, 20.0, 40.0, 80.0], [10.0, 20.0, 30.0, 60.0], [25.0, 50.0, 30.0, 60.0]

side = st.floats(1, 100, width=32)
place = st.floats(-100, 100, width=32)
box = st.builds(lambda x, y, w, h: [x, y, x + w, y + h], place, place, side, side)


@pytest.mark.parametrize(
    ("convert", "given_", "expected"),
    [
        (boxes.xywh_to_xyxy, XYWH, XYXY),
        (boxes.xyxy_to_xywh, XYXY, XYWH),
        (boxes.cxcywh_to_xyxy, CXCYWH, XYXY),
        (boxes.xyxy_to_cxcywh, XYXY, CXCYWH),
    ],
)
def test_conversions_are_these_numbers(convert, given_, expected):
    assert convert(torch.tensor(given_)).tolist() == expected
    many = torch.tensor(given_).repeat(2, 3, 1)  # any leading shape, no box, other dtypes
    assert convert(many).tolist() == torch.tensor(expected).repeat(2, 3, 1).tolist()
    assert convert(torch.zeros(0, 4)).shape == (0, 4)
    assert convert(many.double()).dtype == torch.float64


A = [0.0, 0.0, 10.0, 10.0]


@pytest.mark.parametrize(
    ("other", "iou", "giou"),
    [
        (A, 1, 1),
        ([5.0, 0.0, 15.0, 10.0], 50 / 150, 50 / 150),  # half over each other: the hull is their union
        ([5.0, 5.0, 15.0, 15.0], 25 / 175, 25 / 175 - (225 - 175) / 225),
        ([2.0, 2.0, 4.0, 4.0], 0.04, 0.04),  # inside
        ([10.0, 0.0, 20.0, 10.0], 0, 0),  # side by side
        ([20.0, 0.0, 30.0, 10.0], 0, -1 / 3),  # a gap of the same size
        ([5.0, 5.0, 5.0, 5.0], 0, 0),  # no area
    ],
)
def test_iou_and_giou_of_one_pair(other, iou, giou):
    a, b = torch.tensor(A), torch.tensor(other)
    assert boxes.iou(a, b).item() == pytest.approx(iou)
    assert boxes.giou(a, b).item() == pytest.approx(giou, abs=1e-6)


def test_two_empty_boxes_have_iou_zero_and_a_finite_gradient():
    a = torch.tensor([3.0, 3.0, 3.0, 3.0], requires_grad=True)
    loss = boxes.iou(a, a.detach()) + boxes.giou(a, a.detach())
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(a.grad).all()


@given(st.lists(box, min_size=1, max_size=4), st.lists(box, min_size=1, max_size=4))
def test_pairwise_iou_is_iou_of_every_pair(first, second):
    a, b = torch.tensor(first), torch.tensor(second)
    expected = [[boxes.iou(x, y).item() for y in b] for x in a]
    assert torch.allclose(boxes.pairwise_iou(a, b), torch.tensor(expected))


@given(box, box)
def test_giou_is_symmetric_and_never_above_iou(first, second):
    a, b = torch.tensor(first).double(), torch.tensor(second).double()
    giou, iou = boxes.giou(a, b).item(), boxes.iou(a, b).item()
    assert -1 <= giou <= iou + 1e-9 <= 1 + 2e-9
    assert giou == pytest.approx(boxes.giou(b, a).item())


@given(box, box)
def test_iou_counts_cells(first, second):
    """An independent way: count the unit cells of a grid that lie in both and in either."""
    a, b = ([round(v / 4) for v in values] for values in (first, second))
    cells = [{(x, y) for x in range(v[0], v[2]) for y in range(v[1], v[3])} for v in (a, b)]
    union = len(cells[0] | cells[1])
    expected = len(cells[0] & cells[1]) / union if union else 0
    assert boxes.iou(torch.tensor(a).float(), torch.tensor(b).float()).item() == pytest.approx(expected)


def test_clip_keeps_what_lies_in_the_image():
    outside = torch.tensor([[-5.0, 5.0, 30.0, 90.0], [1.0, 2.0, 3.0, 4.0]])
    assert boxes.clip(outside, width=20, height=50).tolist() == [[0, 5, 20, 50], [1, 2, 3, 4]]


def test_area_of_an_inverted_box_is_zero():
    assert boxes.area(torch.tensor([[10.0, 0.0, 0.0, 10.0], [10.0, 10.0, 0.0, 0.0]])).tolist() == [0, 0]
