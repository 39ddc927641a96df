"""Losses by literals worked out on paper, and their gradients where they must arrive."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import SHAPES, lads, random_tokens
from scrambled import scrambled
from torch import Tensor

from groundling.data.loader import Batch, ThingTargets
from groundling.dynamic.gates import Draw, hard_gates, soft_gates
from groundling.losses import OBJECTIVES
from groundling.losses.box import box_losses
from groundling.losses.dense import cells_of, dense_losses, detection_losses, group_losses, positive_cells
from groundling.losses.grounding import GroundingLoss, gate_losses, prediction_losses
from groundling.losses.information import batch_mean, entropy, mutual_information
from groundling.models.lads import Lads, attribute_groups
from groundling.models.supernet import Prediction
from groundling.pictures.placement import normalise
from groundling.selection import Selection
from groundling.words.tokens import Tokens

LN2, LN3 = math.log(2), math.log(3)


def h(p: float) -> float:
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


# --- mutual information ----------------------------------------------------------------------------


def test_entropy() -> None:
    assert entropy(torch.tensor([0.5, 0.25, 0.9])).tolist() == pytest.approx([LN2, h(0.25), h(0.9)], abs=1e-5)
    ends = torch.tensor([0.0, 1.0], requires_grad=True)
    assert entropy(ends).tolist() == pytest.approx([0, 0], abs=2e-5)
    entropy(ends).sum().backward()
    assert ends.grad is not None
    assert ends.grad.isfinite().all()


@pytest.mark.parametrize(
    ("gates", "conditional", "expected"),
    [
        ([[1.0], [0.0]], 1.0, LN2),  # words decide completely: one bit
        ([[1.0], [1.0]], 1.0, 0.0),  # always the same: none
        ([[0.5], [0.5]], 1.0, 0.0),  # a coin that does not listen: none
        ([[0.9], [0.1]], 1.0, LN2 - h(0.9)),
        ([[0.9], [0.5]], 1.0, h(0.7) - (h(0.9) + LN2) / 2),
        ([[0.9], [0.1]], 0.1, LN2 - 0.1 * h(0.9)),  # as one of the released code's losses
        ([[0.9, 1.0], [0.1, 0.0]], 1.0, (2 * LN2 - h(0.9)) / 2),  # the mean over filters
    ],
)
def test_mutual_information(gates: list[list[float]], conditional: float, expected: float) -> None:
    found = mutual_information({"a": torch.tensor(gates)}, conditional)["a"]
    assert float(found) == pytest.approx(expected, abs=5e-5)


def test_processes_exchange_all_units_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes with the same gates, played by one: as many numbers travel as there are gates, once."""
    travelled: list[int] = []

    def both(x: Tensor) -> Tensor:
        travelled.append(x.numel())
        return 2 * x

    gates = {"a": torch.rand(4, 1), "b": torch.rand(4, 5), "c": torch.rand(4, 2)}
    alone = mutual_information(gates)
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.nn.functional.all_reduce", both)
    together = mutual_information(gates)
    assert travelled == [8]
    assert {n: float(v) for n, v in together.items()} == pytest.approx(
        {n: float(v) for n, v in alone.items()}
    )


def test_mean_over_one_process_is_the_mean() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 6.0]], requires_grad=True)
    assert batch_mean(x).tolist() == [2, 4]
    batch_mean(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_gate_losses_weigh_kinds_equally() -> None:
    """−λ times the sum over kinds of the mean over a kind's units, and the budget's square."""
    model = lads("inner")
    tokens, text = random_tokens(5, 6, 50), torch.randn(5, 6, 16)
    soft = soft_gates(model.selector(text, tokens), Draw(0, 0, 0, 5, 5))
    found = gate_losses(model, soft, 6, GroundingLoss(mi=0.3, budget=2.0, budget_share=0.2))
    information, total = mutual_information(soft), 0.0
    for kind in ("layer", "filters", "attention", "ffn"):
        mine = [float(information[u.name].detach()) for u in model.units() if u.kind == kind]
        total += sum(mine) / len(mine)
    share = float(model.cost_model.expected_share(soft, 6).mean().detach())
    assert found["mi"].item() == pytest.approx(-0.3 * total, rel=1e-4)
    assert float(found["metric/mi"]) == pytest.approx(total, rel=1e-4)
    assert found["budget"].item() == pytest.approx(2 * (share - 0.2) ** 2, rel=1e-4)
    assert "budget" not in gate_losses(model, soft, 6, GroundingLoss())


def test_a_budget_of_each_text_is_not_met_by_their_mean() -> None:
    """One text with everything on and one with everything off: half the MACs between are the batch's mean."""
    model = lads("inner")
    soft = {u.name: torch.tensor([1.0, 0.0])[:, None].expand(2, u.size) for u in model.units()}
    low, high = sorted(model.cost_model.expected_share(soft, 6).tolist())
    weights = GroundingLoss(budget=8.0, budget_share=(low + high) / 2)
    assert gate_losses(model, soft, 6, weights)["budget"].item() == pytest.approx(0, abs=1e-6)
    each = weights.model_copy(update={"budget_of": "text"})
    assert gate_losses(model, soft, 6, each)["budget"].item() == pytest.approx(
        2 * (high - low) ** 2, rel=1e-4
    )


def test_budget_loss_closes_every_gate() -> None:
    """Where the expected share is above the budget, the loss grows with every gate."""
    model = lads("inner")
    soft = {u.name: torch.full((3, u.size), 0.6, requires_grad=True) for u in model.units()}
    gate_losses(model, soft, 6, GroundingLoss(mi=0.0, budget=1.0, budget_share=0.1))["budget"].backward()
    for name, gate in soft.items():
        assert gate.grad is not None
        assert (gate.grad > 0).all(), name


# --- boxes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("predicted", "target", "l1", "one_minus_giou"),
    [
        ((0.5, 0.5, 0.5, 0.5), (0.5, 0.5, 0.5, 0.5), 0.0, 0.0),
        ((0.5, 0.5, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0), 1.0, 0.75),  # IoU 1/4, nothing else in the hull
        ((0.25, 0.25, 0.5, 0.5), (0.75, 0.75, 0.5, 0.5), 1.0, 1.5),  # touch: IoU 0, half of the hull empty
        ((0.25, 0.5, 0.5, 1.0), (0.75, 0.5, 0.5, 1.0), 0.5, 1.0),  # halves: IoU 0, the hull is full
    ],
)
def test_box_losses(predicted: Any, target: Any, l1: float, one_minus_giou: float) -> None:
    found = box_losses(torch.tensor([predicted]), torch.tensor([target]))
    assert [float(x) for x in found] == pytest.approx([l1, one_minus_giou], abs=1e-6)


def test_cells() -> None:
    """A 4×4 grid, rows first; a centre on the border belongs to the last cell."""
    boxes = torch.tensor(
        [[0.1, 0.1, 0.1, 0.1], [0.9, 0.1, 0, 0], [0.13, 0.9, 0, 0], [1.0, 1.0, 0, 0], [0.5, 0.5, 1, 1]]
    )
    assert cells_of(boxes, 4).tolist() == [0, 3, 12, 15, 10]


def test_positive_cells() -> None:
    """The middle half of a box as large as the image holds 4 of 16 cells; a small box has its own cell."""
    found = positive_cells(
        torch.tensor([[0.5, 0.5, 1.0, 1.0], [0.13, 0.9, 0.01, 0.02], [0.5, 0.1, 1.0, 0.1]]), 4
    )
    assert [row.nonzero()[:, 0].tolist() for row in found] == [[5, 6, 9, 10], [12], [1, 2]]


def test_dense_losses() -> None:
    target = torch.tensor([[0.5, 0.5, 1.0, 1.0], [0.125, 0.125, 0.1, 0.1]])
    boxes = target[:, None].expand(-1, 16, -1).clone()
    boxes[0, 5] = torch.tensor([0.5, 0.5, 0.5, 0.5])  # one of four positive cells is off
    boxes[0, 0] = 0.3  # no positive cell
    logits = torch.zeros(2, 16)
    logits[1, 0] = LN3
    choose, l1, overlap = dense_losses(logits, boxes, target, 4)
    assert choose.tolist() == pytest.approx([math.log(16), math.log(18 / 3)])
    assert l1.tolist() == pytest.approx([0.25, 0], abs=1e-6)
    assert overlap.tolist() == pytest.approx([0.75 / 4, 0], abs=1e-6)


def things(counts: tuple[int, ...]) -> dict[str, Tensor]:
    """Two images with up to two objects in the same cell; the second one has category 0."""
    categories = torch.full((2, 2), -1)
    for image, count in enumerate(counts):
        categories[image, :count] = torch.tensor([1, 0])[:count]
    boxes = torch.tensor([[0.2, 0.2, 0.1, 0.1], [0.25, 0.25, 0.5, 0.4]]).expand(2, 2, 4)
    attributes = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]).expand(2, 2, 3)
    groups = torch.tensor([[0, 1], [2, -1]])
    return {
        "categories_IN": categories,
        "attribute_hot_INA": attributes,
        "target_IN4": boxes,
        "groups_GM": groups,
    }


def test_detection_losses() -> None:
    """Two objects in one cell: the later wins. Cells without an object weigh 0.2; the mean is over images."""
    classes, boxes = torch.zeros(2, 4, 3), torch.tensor([0.25, 0.25, 0.5, 0.5]).expand(2, 4, 4)
    classes[0, 0, 0] = LN2
    found = detection_losses(classes, torch.zeros(2, 4, 3), boxes, **things((2, 0)), grid=2)
    assert found["category"].item() == pytest.approx(((LN2 + 3 * 0.2 * LN3) / (1 + 3 * 0.2) + LN3) / 2)
    assert float(found["box_l1"]) == pytest.approx(0.1 / 2)
    assert float(found["box_giou"]) == pytest.approx(0.2 / 2)
    assert float(found["attributes"]) == pytest.approx(0.5 * (LN3 + LN2) / 2)
    assert float(found["metric/category_accuracy"]) == 1.0


def test_group_losses() -> None:
    """A group's attributes and "none of them" (logit 0) share probability 1; padding has none."""
    logits = torch.tensor([[LN2, 0.0, LN3], [0.0, LN2, 0.0]])
    hot = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    found = group_losses(logits, hot, torch.tensor([[0, 1], [2, -1]]))
    by_hand = [[-math.log(2 / 4), -math.log(1 / 4)], [-(math.log(1 / 4) + math.log(2 / 4)) / 2, LN2]]
    assert found.flatten().tolist() == pytest.approx([value for row in by_hand for value in row])


def test_group_losses_have_finite_gradients() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    group_losses(logits, torch.zeros(4, 3), torch.tensor([[0, 1], [2, -1]])).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (logits.grad > 0).all()  # none of them: every logit has to fall


def test_attribute_groups() -> None:
    names = ("hat:blue", "red", "hat:red", "green", "pose:up")
    assert attribute_groups(names).tolist() == [[0, 2], [1, 3], [4, -1]]
    assert attribute_groups(()).shape == (0, 0)


def test_detection_losses_of_a_batch_are_the_mean_of_its_images() -> None:
    """However the objects are spread: a batch may be cut between any two images."""
    generator = torch.Generator().manual_seed(4)
    categories = torch.tensor([[0, 1, 1, 0], [1, -1, -1, -1], [-1] * 4])
    given = (
        torch.randn(3, 9, 3, generator=generator),
        torch.randn(3, 9, 2, generator=generator),
        torch.rand(3, 9, 4, generator=generator),
        categories,
        torch.randint(0, 2, (3, 4, 2), generator=generator).float(),
        torch.rand(3, 4, 4, generator=generator),
    )
    options = {"grid": 3, "groups_GM": torch.tensor([[0], [1]])}
    whole = detection_losses(*given, **options)
    images = [detection_losses(*(part[i : i + 1] for part in given), **options) for i in range(3)]
    for name, loss in whole.items():
        assert float(loss) == pytest.approx(sum(float(image[name]) for image in images) / 3, rel=1e-5), name


def test_images_without_objects() -> None:
    """The mean over no boxes was NaN, which stops a training."""
    classes = torch.zeros(2, 4, 3, requires_grad=True)
    found = detection_losses(classes, torch.zeros(2, 4, 3), torch.rand(2, 4, 4), **things((0, 0)), grid=2)
    assert found["category"].item() == pytest.approx(LN3)
    assert all(bool(loss.isfinite()) for loss in found.values())
    sum(found.values()).backward()
    assert classes.grad is not None
    assert classes.grad.isfinite().all()


def test_prediction_losses() -> None:
    """The [CLS] head's answer has weights 1; dense losses of a layer that does not answer have `dense`."""
    target = torch.tensor([[0.5, 0.5, 1.0, 1.0], [0.5, 0.5, 0.5, 0.5]])
    boxes = torch.tensor([[0.5, 0.5, 0.5, 0.5]]).expand(2, -1)  # IoU 1/4 and 1
    dense = (torch.zeros(2, 16),), (target[:, None].expand(-1, 16, -1),)
    weights = GroundingLoss(l1=2.0, giou=3.0, dense=0.5)
    found = prediction_losses(Prediction(boxes, None, *dense), target, 4, weights)
    values = {name: float(value) for name, value in found.items()}
    assert values == pytest.approx(
        {
            "l1": 2 * 0.5,
            "giou": 3 * 0.375,
            "cell.0": 0.5 * math.log(16),
            "l1.0": 0,
            "giou.0": 0,
            "metric/prec@0.5": 0.5,
        },
        abs=1e-6,
    )
    answering = prediction_losses(Prediction(boxes, torch.ones(2), *dense), target, 4, weights)
    assert "l1" not in answering
    assert float(answering["cell.0"]) == pytest.approx(math.log(16))
    assert set(prediction_losses(Prediction(boxes, None, *dense), target, 4, GroundingLoss())) == {
        "l1", "giou", "metric/prec@0.5",
    }  # fmt: skip


# --- objectives ------------------------------------------------------------------------------------


def batch(model: Lads, rows: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(1)
    size, tokens = model.config.image_size, random_tokens(rows, 7, 50)
    images = torch.randint(0, 256, (3, 3, size, size), generator=generator, dtype=torch.uint8)
    boxes = 0.2 + 0.6 * torch.rand(rows, 4, generator=generator)
    index = torch.arange(rows) % 3
    shown = torch.ones(3, size, size, dtype=torch.bool)
    return Batch(images, shown, index, tokens.ids, tokens.padding, boxes, tuple("abcdef"[:rows]))


def total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack([loss for name, loss in losses.items() if not name.startswith("metric/")]).sum()


@pytest.mark.parametrize("coin", ["batch", "element"])
@pytest.mark.parametrize(
    "settings",
    [{"mi": 0.0}, {"mi": 1.0, "l1": 0.0, "giou": 0.0}, {"mi": 0.0, "budget": 9.0, "l1": 0, "giou": 0}],
)
@pytest.mark.parametrize("trunk", ["paper", "released"])
def test_gradients_reach_all_of_the_selector(coin: str, settings: dict[str, float], trunk: str) -> None:
    """From boxes alone, from mutual information alone, from the budget alone; with soft and hard gates."""
    config = SHAPES["inner"]
    gating = config.gating.model_copy(update={"coin": coin, "trunk": trunk})
    model = scrambled(Lads(config.model_copy(update={"gating": gating})))
    objective = OBJECTIVES["grounding"](settings)
    for step in range(4):  # in a step of hard gates, a layer that is off is silent about its filters
        total(objective(model, batch(model), Draw(0, step, 0, 6, 6))).backward()
    for name, parameter in model.selector.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if name != "pool.bias":  # it cancels in the softmax over words
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("shape", SHAPES)
def test_every_weight_of_the_network_learns(shape: str) -> None:
    """Fresh weights, training mode, dense and box losses: no parameter is out of the graph."""
    torch.manual_seed(0)
    model = Lads(SHAPES[shape]).train()
    objective = OBJECTIVES["grounding"]({"dense": 1.0, "budget": 1.0})
    total(objective(model, batch(model), Draw(0, 0, 0, 6, 6))).backward()
    silent = {name for name, p in model.named_parameters() if p.grad is None}
    assert silent == set()


def test_open_gates_train_the_supernet_alone() -> None:
    model = lads("paper")
    losses = OBJECTIVES["grounding"]({"gates": "open"})(model, batch(model), Draw(0, 0, 0, 6, 6))
    assert not any("mi" in name or "share" in name for name in losses)
    total(losses).backward()
    assert all(parameter.grad is None for parameter in model.selector.parameters())


def test_chosen_gates_train_the_subnets_that_evaluation_runs() -> None:
    """No noise, no coin: the loss is that of the masked supernet under hard gates, and no selector learns."""
    model = scrambled(Lads(SHAPES["released"]))
    given = batch(model)
    objective = OBJECTIVES["grounding"]({"gates": "chosen"})
    losses = [objective(model, given, Draw(seed, 0, 0, 6, 6)) for seed in (0, 1)]
    assert losses[0]["l1"] == losses[1]["l1"]
    assert not any("mi" in name for name in losses[0])
    tokens = Tokens(given.ids, given.padding)
    text = model.text(tokens)
    gates = hard_gates(model.selector(text, tokens))
    found = model.net(normalise(given.images), text, tokens, gates, given.image_index).boxes_cxcywh01
    l1, _ = box_losses(found, given.boxes_cxcywh01)
    torch.testing.assert_close(losses[0]["l1"], l1.mean())
    total(losses[0]).backward()
    assert all(parameter.grad is None for parameter in model.selector.parameters())
    shares = [
        model.cost_model.cost(Selection.from_gates(gates, row), int((~tokens.padding[row]).sum())).share
        for row in range(6)
    ]
    assert float(losses[0]["metric/share"]) == pytest.approx(sum(shares) / 6, rel=1e-5)


def test_static_twin_has_no_gate_losses() -> None:
    model = scrambled(Lads(SHAPES["paper"].model_copy(update={"gating": None})))
    losses = OBJECTIVES["grounding"]({"budget": 1.0})(model, batch(model), Draw(0, 0, 0, 6, 6))
    assert not any("mi" in name or "budget" in name for name in losses)


def test_detection_objective() -> None:
    config = SHAPES["paper"].model_copy(update={"categories": ("a", "b"), "attributes": ("x", "y", "z")})
    model = scrambled(Lads(config))
    generator, given = torch.Generator().manual_seed(2), batch(model)
    objects = ThingTargets(
        torch.rand(3, 4, 4, generator=generator),
        torch.tensor([[0, 1, -1, -1], [1, 1, 0, 0], [-1] * 4]),
        torch.ones(3, 4, 3),
        torch.tensor([2, 4, 0]),
    )
    draw, detection = Draw(0, 0, 0, 6, 6), OBJECTIVES["detection"]({})
    total(detection(model, replace(given, things=objects), draw)).backward()
    for name, parameter in [*model.detector.named_parameters(), *model.net.backbone.named_parameters()]:
        assert parameter.grad is not None, name
    with pytest.raises(ValueError, match="annotated objects"):
        detection(model, given, draw)
    with pytest.raises(ValueError, match="categories"):
        detection(lads("paper"), replace(given, things=objects), draw)


@pytest.mark.parametrize(
    ("name", "settings", "problem"),
    [
        ("grounding", {"mutual": 1}, "loss mutual"),
        ("grounding", {"mi": "much"}, "loss mi"),
        ("detection", {"mi": 1}, "no options, given mi"),
    ],
)
def test_options_that_are_none(name: str, settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        OBJECTIVES[name](settings)
