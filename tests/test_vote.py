"""Cells vote: a case worked by hand, and what holds for any."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from groundling.models.lads import voted

# Four cells: three of one large object (each a little beside the others), one of a small one that is surest.
BOXES = torch.tensor(
    [[[0.50, 0.5, 0.40, 0.4], [0.52, 0.5, 0.40, 0.4], [0.48, 0.5, 0.40, 0.4], [0.9, 0.9, 0.05, 0.05]]]
)
LIKELY = torch.tensor([[0.3, 0.2, 0.1, 0.4]])


def test_several_cells_outvote_the_surest_one() -> None:
    """The IoU of neighbours is 0.38/0.42 = 0.905, that of the outer two 0.36/0.44 = 0.818."""
    alone, score = voted(BOXES, LIKELY, 1.0)
    torch.testing.assert_close((alone[0], score[0]), (BOXES[0, 3], torch.tensor(0.4)))
    box, score = voted(BOXES, LIKELY, 0.6)
    mean = (0.3 * 0.50 + 0.2 * 0.52 + 0.1 * 0.48) / 0.6
    torch.testing.assert_close(box[0], torch.tensor([mean, 0.5, 0.4, 0.4]))
    torch.testing.assert_close(score[0], torch.tensor(0.6))
    box, score = voted(BOXES, LIKELY, 0.85)  # the middle one still has both others, the outer two have not
    torch.testing.assert_close(score[0], torch.tensor(0.6))
    torch.testing.assert_close(box[0], torch.tensor([mean, 0.5, 0.4, 0.4]))


@settings(deadline=None)
@given(st.integers(0, 10_000), st.sampled_from((0.3, 0.6, 0.9)))
def test_what_holds_for_any_cells(seed: int, overlap: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(3, 30, 4, generator=generator) * 0.5 + 0.1
    likely = torch.randn(3, 30, generator=generator).softmax(1)
    box, score = voted(boxes, likely, overlap)
    assert (score >= likely.amax(1) - 1e-6).all()  # never less sure than the surest cell
    assert (score <= 1).all()
    assert (box >= boxes.amin(1) - 1e-6).all()  # a mean of boxes
    assert (box <= boxes.amax(1) + 1e-6).all()
    order = torch.randperm(30, generator=generator)
    again, same = voted(boxes[:, order], likely[:, order], overlap)
    torch.testing.assert_close((again, same), (box, score))
