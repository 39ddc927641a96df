"""MDETR's losses against numbers worked by hand, and against the formulas written out with loops."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from groundling.losses.alignment import alignment_loss
from groundling.losses.answers import answer_losses, final_loss
from groundling.losses.masks import dice_loss, focal_loss, mask_losses
from groundling.losses.matching import Matching
from groundling.losses.regions import phrase_cell_loss, region_word_loss, wanted_words
from groundling.losses.soft_tokens import soft_token_cost, soft_token_loss, wanted


def pairs(*found: tuple[int, int, int]) -> Matching:
    """(image, query, target) of each match."""
    return Matching(*(torch.tensor(side, dtype=torch.long) for side in zip(*found, strict=True)))


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


ONE = torch.tensor(1.0)

# ------------------------------------------------------------------------------------------- soft tokens


def log_softmax_of(p: list[float]) -> list[float]:
    return [math.log(value) for value in p]


def test_soft_tokens_by_hand() -> None:
    """Two queries over two tokens and "no object"; the first is of both tokens, the second of nothing."""
    logits = torch.tensor([[log_softmax_of([0.5, 0.25, 0.25]), log_softmax_of([0.25, 0.25, 0.5])]])
    paper, released = torch.tensor([[[0.5, 0.5, 0.0]]]), torch.tensor([[[1.0, 1.0, 0.0]]])
    matching = pairs((0, 0, 0))
    ln2 = math.log(2)
    nothing = 0.1 * ln2
    # −(0.5·ln 0.5 + 0.5·ln 0.25) = 1.5 ln 2; the released code's ones make it twice that
    assert soft_token_loss(logits, paper, matching, ONE).item() == pytest.approx(1.5 * ln2 + nothing)
    assert soft_token_loss(logits, released, matching, ONE).item() == pytest.approx(3 * ln2 + nothing)
    two = torch.tensor(2.0)
    assert soft_token_loss(logits, paper, matching, two, 1.0).item() == pytest.approx(1.25 * ln2)
    assert_close(soft_token_cost(logits, paper), torch.tensor([[[-0.375], [-0.25]]]))
    assert_close(soft_token_cost(logits, released), torch.tensor([[[-0.75], [-0.5]]]))


def test_what_soft_tokens_want_by_hand() -> None:
    """A phrase of two tokens, one of one, and padding."""
    paper = torch.tensor([[[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]])
    assert wanted(paper, "paper") is paper
    assert_close(wanted(paper, "released"), torch.tensor([[[1.0, 1, 0], [0, 1, 0], [0, 0, 0]]]))


def test_soft_tokens_of_a_batch_are_those_of_its_images() -> None:
    logits, positive = noise(2, 4, 6), noise(2, 3, 6).softmax(-1)
    both = pairs((0, 1, 0), (0, 3, 2), (1, 1, 1))
    apart = [
        soft_token_loss(logits[:1], positive[:1], pairs((0, 1, 0), (0, 3, 2)), ONE),
        soft_token_loss(logits[1:], positive[1:], pairs((0, 1, 1)), ONE),
    ]
    assert_close(soft_token_loss(logits, positive, both, ONE), apart[0] + apart[1])


def test_images_without_objects_teach_that_there_is_nothing() -> None:
    logits = torch.zeros(1, 3, 4, requires_grad=True)
    nobody = Matching(*(torch.zeros(0, dtype=torch.long) for _ in range(3)))
    loss = soft_token_loss(logits, torch.zeros(1, 0, 4), nobody, ONE)
    assert loss.item() == pytest.approx(3 * 0.1 * math.log(4))


# --------------------------------------------------------------------------------------------- alignment


def looped(queries: Tensor, words: Tensor, tokens: Tensor, matched: list[tuple[int, int, int]]) -> Tensor:
    """The formula of the paper's Eq. 1 and 2 with loops, over all of an image's tokens and queries."""
    total = torch.zeros(())
    for image in range(len(queries)):
        similar = queries[image] @ words[image].T / 0.07
        positives = {
            (q, token)
            for b, q, n in matched
            if b == image
            for token in tokens[image, n].nonzero()[:, 0].tolist()
        }
        for q in {q for q, _ in positives}:
            own = [similar[q, token] for p, token in positives if p == q]
            total = total - torch.stack(own).mean() + similar[q].exp().sum().log()
        for token in {token for _, token in positives}:
            own = [similar[q, token] for q, t in positives if t == token]
            total = total - torch.stack(own).mean() + similar[:, token].exp().sum().log()
    return total / 2


def test_alignment_by_hand() -> None:
    """One query along the first of two tokens: S = [1/τ, 0]; back, one query is all there is: 0."""
    queries, words = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    tokens = torch.tensor([[[True, False]]])
    loss = alignment_loss(queries, words, tokens, pairs((0, 0, 0)), ONE, temperature=0.5)
    assert loss.item() == pytest.approx((math.log(math.exp(2) + 1) - 2) / 2)


def test_alignment_is_the_formula_and_each_caption_has_its_own_tokens() -> None:
    """The released code looks an odd span up in the first caption of the batch; here each row has its own."""
    queries = torch.nn.functional.normalize(noise(2, 5, 4), dim=-1)
    words = torch.nn.functional.normalize(noise(2, 7, 4), dim=-1)
    tokens = noise(2, 3, 7) > 0.5
    matched = [(0, 4, 0), (0, 1, 2), (1, 0, 1), (1, 3, 0)]
    found = alignment_loss(queries, words, tokens, pairs(*matched), torch.tensor(4.0))
    assert_close(found, looped(queries, words, tokens, matched) / 4)
    swapped = alignment_loss(queries, words, tokens.flip(0), pairs(*matched), torch.tensor(4.0))
    assert abs(swapped - found) > 1e-2


def test_a_target_without_a_phrase_has_no_alignment() -> None:
    loss = alignment_loss(noise(1, 2, 4), noise(1, 3, 4), torch.zeros(1, 1, 3).bool(), pairs((0, 1, 0)), ONE)
    assert loss.item() == 0


# ----------------------------------------------------------------------------------------- region-word scores


def test_words_of_cells_by_hand() -> None:
    """Of a 2×2 grid an object fills the left half, one lies in the lower right cell; the third is padding."""
    boxes = torch.tensor([[[0.25, 0.5, 0.5, 1.0], [0.75, 0.75, 0.5, 0.5], [0.0, 0.0, 0.0, 0.0]]])
    tokens = torch.tensor([[[True, False, False], [False, True, False], [False, False, False]]])
    found = wanted_words(boxes, tokens, grid=2)
    # rows: upper left, upper right, lower left, lower right; both left cells have their centre in the middle
    assert_close(found, torch.tensor([[[1.0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0]]]))


def test_region_words_by_hand() -> None:
    """p = ½ everywhere: 1 positive of ¼·¼·ln 2 and 3 others of ¾·¼·ln 2; padding leaves one of these out."""
    logits, wanted_ = torch.zeros(1, 2, 2), torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    assert region_word_loss(logits, wanted_).item() == pytest.approx((1 + 9) / 16 * math.log(2))
    keep = torch.tensor([[[True, True], [True, False]]])
    assert region_word_loss(logits, wanted_, keep).item() == pytest.approx((1 + 6) / 16 * math.log(2))
    two = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])  # over two positives, and the mean with the caption above
    both = region_word_loss(logits.expand(2, -1, -1), torch.cat((wanted_, two)))
    assert both.item() == pytest.approx((10 / 16 + 8 / 32) / 2 * math.log(2))
    assert region_word_loss(logits, torch.zeros(1, 2, 2)).item() == pytest.approx(12 / 16 * math.log(2))


def test_cells_of_phrases_by_hand() -> None:
    """The objects above under one phrase, then each under its own; a 2×2 grid of equal scores is ln 4."""
    boxes = torch.tensor([[[0.25, 0.5, 0.5, 1.0], [0.75, 0.75, 0.5, 0.5], [0.0, 0.0, 0.0, 0.0]]])
    one = torch.tensor([[[True, True, False], [True, True, False], [False, False, False]]])
    two = torch.tensor([[[True, False, False], [False, True, False], [False, False, False]]])
    even = torch.zeros(1, 4, 3)
    assert phrase_cell_loss(even, boxes, one, 2).item() == pytest.approx(math.log(4))
    found = even.clone()
    found[0, [0, 2, 3], 0] = 200.0  # half of it is the phrase's mean: three cells share it
    assert phrase_cell_loss(found, boxes, one, 2).item() == pytest.approx(math.log(3))
    # of the first phrase two of those three are right: −½·2·ln ⅓; the second's word says nothing: ln 4
    assert phrase_cell_loss(found, boxes, two, 2).item() == pytest.approx((math.log(3) + math.log(4)) / 2)
    assert phrase_cell_loss(even, boxes, torch.zeros_like(one), 2).item() == 0


# ------------------------------------------------------------------------------------------------- masks


def test_masks_by_hand() -> None:
    """p = ½ at four pixels, one of them true: focal ¼·(¼ + 3·¾)·ln 2/4 = 0.15625 ln 2, dice 1 − 2/4."""
    logits, target = torch.zeros(1, 4), torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    assert focal_loss(logits, target).mean().item() == pytest.approx(0.15625 * math.log(2))
    assert dice_loss(logits, target).item() == pytest.approx(1 - (2 * 0.5 + 1) / (2 + 1 + 1))
    sure = torch.tensor([[math.log(3), -40.0]])  # p = 3/4 of a true pixel, a false one is sure
    assert focal_loss(sure, torch.tensor([[1.0, 0.0]])).mean().item() == pytest.approx(
        0.25 * (1 / 16) * math.log(4 / 3) / 2
    )


def test_masks_are_scaled_up_to_their_targets() -> None:
    logits = torch.full((2, 2, 2), 30.0)
    logits[1] = -30.0
    targets = torch.stack((torch.ones(6, 8), torch.zeros(6, 8)))
    focal, dice = mask_losses(logits, targets, torch.tensor(2.0))
    assert focal.item() == pytest.approx(0, abs=1e-6)
    assert dice.item() == pytest.approx(0, abs=1e-6)
    swapped, apart = mask_losses(logits, targets.flip(0), torch.tensor(2.0))
    assert swapped.item() == pytest.approx((0.25 * 30 + 0.75 * 30) / 2, rel=1e-4)
    assert apart.item() == pytest.approx(1 - 1 / 49, rel=1e-4)
    none, empty = mask_losses(torch.zeros(0, 2, 2), torch.zeros(0, 6, 8), ONE)
    assert (none.item(), empty.item()) == (0, 0)


# ----------------------------------------------------------------------------------------------- answers

LN2, LN3 = math.log(2), math.log(3)
TYPES = ("yes", "obj")


def test_answers_by_hand() -> None:
    """Three questions: two of the type "yes", one of "obj"; every logit even, so each loss is a logarithm."""
    found = {"type": torch.zeros(3, 2), "yes": torch.zeros(3, 1), "obj": torch.zeros(3, 3)}
    losses = answer_losses(found, torch.tensor([0, 1, 2]), torch.tensor([0, 0, 1]), TYPES)
    wanted = {
        "answer_type": LN2,
        "answer_yes": LN2,
        "answer_obj": LN3,
        "metric/yes_accuracy": 0.5,  # a logit of 0 is a no
        "metric/obj_accuracy": 0.0,  # the first of equals is 0
        "metric/type_accuracy": 2 / 3,
        "metric/answer_accuracy": 1 / 3,
    }
    assert {name: pytest.approx(value.item()) for name, value in losses.items()} == wanted


def test_an_answer_teaches_the_head_of_its_type_alone() -> None:
    found = {
        "type": torch.zeros(2, 2, requires_grad=True),
        "yes": torch.zeros(2, 1, requires_grad=True),
        "obj": torch.zeros(2, 3, requires_grad=True),
    }
    losses = answer_losses(found, torch.tensor([1, 2]), torch.tensor([0, 1]), TYPES)
    sum(loss for name, loss in losses.items() if name.startswith("answer")).backward()  # type: ignore[union-attr]
    assert_close(found["yes"].grad, torch.tensor([[-0.5], [0.0]]))
    third = 1 / 3
    assert_close(found["obj"].grad, torch.tensor([[0.0, 0, 0], [third, third, third - 1]]))


def test_a_type_that_no_question_has_costs_nothing() -> None:
    found = {"type": torch.zeros(1, 2), "yes": torch.full((1, 1), 9.0), "obj": torch.zeros(1, 3)}
    losses = answer_losses(found, torch.tensor([2]), torch.tensor([1]), TYPES)
    assert losses["answer_yes"].item() == 0
    assert "metric/yes_accuracy" not in losses


@pytest.mark.parametrize("kind", ["answer", "colour"])
def test_one_head_for_all_answers(kind: str) -> None:
    """Its accuracy has the name that is logged, whatever the head is called."""
    logits = torch.tensor([[0.0, 0.0, 0.0], [0.0, 9.0, 0.0]])
    losses = answer_losses({kind: logits}, torch.tensor([2, 1]), None, ())
    expected = (LN3 + math.log(1 + 2 * math.exp(-9))) / 2
    assert {name: pytest.approx(value.item()) for name, value in losses.items()} == {
        f"answer_{kind}": expected,
        "metric/answer_accuracy": 0.5,
    }


def test_what_is_final_by_hand() -> None:
    """Matched queries alone: logits 0 and ln 3 for a final one and one on the way, over two boxes."""
    logits = torch.tensor([[7.0, 0.0, LN3]])
    loss = final_loss(logits, torch.tensor([[False, True]]), pairs((0, 1, 1), (0, 2, 0)), torch.tensor(2.0))
    assert loss.item() == pytest.approx((LN2 + math.log(4)) / 2)
