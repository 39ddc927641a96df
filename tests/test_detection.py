"""Training to detect: views that keep boxes on their objects, batches that follow from the step, learning."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_detr import CONFIG
from torch.testing import assert_close

from groundling import checkpoint
from groundling.ask.detector import Detector, detect_all
from groundling.cli.settings import applied
from groundling.data.detection import DetectionSet, ObjectView, Views, cut, fingerprint, mirrored, within
from groundling.data.loader import ThingNames
from groundling.data.sample import Dataset, Thing
from groundling.data.street.draw import render
from groundling.data.street.scenes import scene
from groundling.data.street.words import CATEGORIES
from groundling.losses import OBJECTIVES
from groundling.models import DETR, build
from groundling.models.detr import Detr, DetrConfig
from groundling.pictures.boxes import cxcywh_to_xyxy, pairwise_iou
from groundling.recipes.detr_coco import detr_coco, detr_finetune
from groundling.recipes.detr_street import detr_street
from groundling.training.config import DataConfig
from groundling.training.optimisation import lr_factor, parameter_groups
from groundling.training.train import Run, train

# ---------------------------------------------------------------------------------------------------- views


def view(size: tuple[int, int], *boxes: Sequence[float]) -> ObjectView:
    """A black image with these boxes, in pixels."""
    shares = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4) / torch.tensor([*size, *size])
    return ObjectView(Image.new("RGB", size), shares, torch.arange(len(boxes)))


def test_a_mirrored_box_is_on_the_other_side() -> None:
    found = mirrored(view((100, 50), (10, 5, 30, 25)))
    assert_close(found.boxes_01, torch.tensor([[0.7, 0.1, 0.9, 0.5]]))


def test_a_cut_leaves_out_what_is_not_in_it_and_cuts_what_is() -> None:
    """Seed 0 draws the window (1, 8) to (21, 28) of 40 × 40: the second box ends above it."""
    window = cut(view((40, 40), (0, 0, 40, 40), (10, 0, 20, 4), (11, 18, 31, 38)), 20, 20, random.Random(0))
    assert window.image.size == (20, 20)
    assert window.of.tolist() == [0, 2]
    assert_close(window.boxes_01, torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 1.0, 1.0]]))


def test_what_sticks_out_is_cut_and_what_is_outside_is_gone() -> None:
    found = within(view((100, 100), (-5, 10, 50, 110), (120, 0, 130, 10), (0, 0, 10, 10)))
    assert found.of.tolist() == [0, 2]
    assert_close(found.boxes_01[0], torch.tensor([0.0, 0.1, 0.5, 1.0]))


def blocks(width: int, height: int) -> ObjectView:
    """Three blocks of pure colours on black, apart from each other."""
    pixels = np.zeros((height, width, 3), np.uint8)
    boxes = []
    for n in range(3):
        x, y = width * (1 + 3 * n) // 10, height * (1 + 2 * n) // 10
        w, h = width // 5, height // 3
        pixels[y : y + h, x : x + w, n] = 255
        boxes.append((x, y, x + w, y + h))
    return replace(view((width, height), *boxes), image=Image.fromarray(pixels))


@given(
    st.integers(0, 10_000), st.sampled_from(["none", "mirror", "detr"]), st.sampled_from([(90, 60), (50, 90)])
)
def test_boxes_stay_on_their_objects(seed: int, augment: Any, size: tuple[int, int]) -> None:
    """Whatever was turned, scaled and cut: a block's colour fills its box from edge to edge."""
    seen, shown = Views(80, 133, augment)(blocks(*size), random.Random(seed))
    pixels = seen.pixels
    height, width = pixels.shape[1:]
    for box, colour in zip(shown.boxes_01, shown.of.tolist(), strict=True):
        x1, y1, x2, y2 = (box * torch.tensor([width, height] * 2)).tolist()
        rows, columns = (pixels[colour] > 127).nonzero(as_tuple=True)
        if len(rows) < 20:
            continue  # a sliver
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert max(abs(float(a) - b) for a, b in zip(found, (x1, y1, x2, y2), strict=True)) <= 2.5
    gone = set(range(3)) - set(shown.of.tolist())
    assert all((pixels[colour] > 127).sum() <= 2 * (width + height) for colour in gone)


def test_detrs_views_have_its_sizes() -> None:
    sides = {min(Views(800, 1333)(blocks(640, 480), random.Random(n))[0].pixels.shape[1:]) for n in range(40)}
    assert sides <= set(range(480, 801, 32))
    assert len(sides) > 6
    assert {
        min(Views(112, 160)(blocks(64, 64), random.Random(n))[0].pixels.shape[1:]) for n in range(40)
    } <= {round(side * 112 / 800) for side in range(480, 801, 32)}


# -------------------------------------------------------------------------------------------------- batches

NAMES = ThingNames(("circle", "square"), ())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two dozen images with 0, 1 or 2 squares."""
    return tiny.thinned(tiny.drawn(tmp_path_factory.mktemp("drawn")))


def batches(dataset: Dataset, **options: Any) -> DetectionSet:
    given: dict[str, Any] = {"seed": 3, "images_per_batch": 4, **options}
    return DetectionSet(dataset, NAMES, Views(32, 64, given.pop("augment", "mirror")), **given)


def test_a_batch_has_each_image_with_its_objects(drawn: Dataset) -> None:
    data = batches(drawn, augment="none")
    examples = data.examples(0)
    batch = data.collate(examples)
    assert len(batch) == len(batch.names) == 4
    for row, example in enumerate(examples):
        things, count = drawn.things[example.image], int(batch.things.counts[row])
        assert count == len(things)
        assert batch.things.categories[row].tolist() == [1] * count + [-1] * (
            batch.things.categories.shape[1] - count
        )
        with Image.open(example.image) as image:
            size = torch.tensor([*image.size, *image.size])
        boxes = cxcywh_to_xyxy(batch.things.boxes_cxcywh01[row, :count]) * size
        assert_close(boxes, torch.tensor([thing.box for thing in things]).reshape(-1, 4))
        high, wide = batch.shown[row].any(1).sum(), batch.shown[row].any(0).sum()
        assert min(high, wide) == 32
        assert batch.images[row, :, ~batch.shown[row]].sum() == 0


def test_an_epoch_shows_every_image_once_also_those_without_objects(drawn: Dataset) -> None:
    data = batches(drawn, images_per_batch=6)
    assert data.steps_per_epoch == 4
    for epoch in (0, 1):
        seen = [example.image for step in range(4) for example in data.examples(4 * epoch + step)]
        assert sorted(seen) == sorted(drawn.things)
    assert data.examples(0) != data.examples(4)
    assert any(not things for things in drawn.things.values())


def test_a_step_is_the_same_whoever_asks_and_cut_in_any_way(drawn: Dataset) -> None:
    data, again = batches(drawn, augment="detr"), batches(drawn, augment="detr")
    whole = data.collate(data.examples(5))
    halves = [again.collate(again.examples(5)[i : i + 2]) for i in (0, 2)]
    for row in range(4):
        part, place = halves[row // 2], row % 2
        count = int(whole.things.counts[row])
        assert int(part.things.counts[place]) == count
        assert_close(part.things.boxes_cxcywh01[place, :count], whole.things.boxes_cxcywh01[row, :count])
        assert_close(part.images[place, :, part.shown[place]], whole.images[row, :, whole.shown[row]])


def test_what_is_wrong_with_the_data_is_said(drawn: Dataset) -> None:
    with pytest.raises(ValueError, match="24 images in drawn train, 25 in a batch"):
        batches(drawn, images_per_batch=25)
    assert batches(drawn, images_per_batch=25, repeat=True).steps_per_epoch == 1
    with pytest.raises(ValueError, match=r"knows no thing or attribute \['square'\]"):
        DetectionSet(drawn, ThingNames(("circle",), ()), Views(32, 64), seed=0, images_per_batch=4)
    with pytest.raises(ValueError, match="lists no objects"):
        batches(replace(drawn, things={}))


def test_a_fingerprint_is_of_objects_and_not_of_folders(drawn: Dataset) -> None:
    moved = {Path("/elsewhere") / path.name: things for path, things in drawn.things.items()}
    assert fingerprint(replace(drawn, things=moved)) == fingerprint(drawn)
    first, *_ = drawn.things
    other = {**drawn.things, first: (Thing("circle", (0.0, 0.0, 5.0, 5.0)),)}
    assert fingerprint(replace(drawn, things=other)) != fingerprint(drawn)


# ------------------------------------------------------------------------------------------------- training

SMALL = CONFIG.model_copy(
    update={"categories": ("circle", "square"), "short_side": 32, "long_side": 64, "norm": "batch"}
)


def run(objective: str = "detr", **changes: Any) -> Run:
    data = DataConfig(path=Path("."), dataset="drawn", things=True, augment="detr")
    given = {"model": SMALL, "data": data, "expressions_per_image": 1, **changes}
    return Run("detr", tiny.config(**given), objective)


def test_a_training_that_goes_on_ends_with_the_same_weights(tmp_path: Path, drawn: Dataset) -> None:
    settings = {"schedule": "constant", "checkpoint_every": 3}
    train(run(steps=3, **settings), tmp_path / "halves", dataset=drawn)
    resumed = train(run(steps=6, **settings), tmp_path / "halves", resume=True, dataset=drawn)
    straight = train(run(steps=6, **settings), tmp_path / "straight", dataset=drawn)
    one, other = (checkpoint.read_tensors(folder / checkpoint.WEIGHTS) for folder in (resumed, straight))
    assert_close(one, other, rtol=0, atol=0)
    detr, info = checkpoint.load_detector(resumed)
    assert isinstance(detr, Detr)
    assert info.training["objective"] == "detr"
    assert info.training["data_sha256"] == fingerprint(drawn)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (run("grounding"), "objective grounding cannot train a detr"),
        (run("detection"), "objective detection cannot train a detr"),
        (run(model=tiny.MODEL), "objective detr cannot train a lads"),
        (run(loss={"eos": 1}), "loss eos: Extra inputs"),
        (run(expressions_per_image=2), "expressions_per_image is 1, given 2"),
        (run(text="bert"), "a detr reads no words"),
        (run(data=DataConfig(path=Path("."), dataset="drawn", augment="lads")), "none, mirror or detr"),
    ],
)  # fmt: skip
def test_runs_that_make_no_sense_are_refused(
    tmp_path: Path, drawn: Dataset, given: Run, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        train(given, tmp_path / "run", dataset=drawn)


def test_an_expression_has_no_view_of_all_objects(tmp_path: Path, drawn: Dataset) -> None:
    odd = Run(
        "odd", tiny.config(data=DataConfig(path=Path("."), dataset="drawn", augment="detr")), "grounding"
    )
    with pytest.raises(ValueError, match=r"augment 'detr' .* is for the objective detr"):
        train(odd, tmp_path / "run", dataset=tiny.drawn(tmp_path / "images"))


def test_fine_tuning_has_its_own_names_and_keeps_the_rest(tmp_path: Path, drawn: Dataset) -> None:
    """The head begins anew, though the checkpoint has one of another size."""
    known = checkpoint.save(
        tmp_path / "known", build(SMALL.model_copy(update={"categories": ("a", "b", "c")})), None
    )
    head = ("net.class_embed.",)
    given = run(fresh=head, discard=head, lr_groups={"net.backbone": 0.0, "net.encoder": 0.0}, steps=2)
    final = train(given, tmp_path / "run", init=known, dataset=drawn)
    before, after = (checkpoint.read_tensors(folder / checkpoint.WEIGHTS) for folder in (known, final))
    assert after["net.class_embed.bias"].shape == (3,)
    frozen = [name for name in before if name.startswith("net.encoder.")]
    assert_close({k: after[k] for k in frozen}, {k: before[k] for k in frozen}, rtol=0, atol=0)
    with pytest.raises(checkpoint.CheckpointError, match=r"class_embed\.bias|class_embed\.weight"):
        train(run(steps=2), tmp_path / "other", init=known, dataset=drawn)


# ------------------------------------------------------------------------------------------------- learning


def streets(folder: Path, count: int) -> Dataset:
    """Drawn street scenes of 64 pixels with all their objects."""
    things = {}
    for index in range(count):
        street = scene(7, index, 64)
        path = folder / f"{index}.png"
        render(street).save(path)
        things[path] = tuple(Thing(each.category, each.box) for each in street.objects)
    return Dataset("street", "train", (), things)


def test_a_handful_of_street_scenes_is_learned_by_heart(tmp_path: Path) -> None:
    dataset = streets(tmp_path, 3)
    torch.manual_seed(0)
    detr = Detr(
        DetrConfig(
            categories=tuple(CATEGORIES),
            queries=12,
            blocks=(1, 1),
            width=16,
            expansion=2,
            stem="conv3",
            stem_width=32,
            norm="batch",
            dim=64,
            heads=4,
            ffn=128,
            encoder_layers=1,
            decoder_layers=2,
            dropout=0.0,
            short_side=64,
            long_side=64,
        )
    )
    data = DetectionSet(
        dataset, ThingNames(tuple(CATEGORIES), ()), Views(64, 64, "none"), seed=0, images_per_batch=3
    )
    batch, objective = data.collate(data.examples(0)), OBJECTIVES["detr"]({})
    optimizer = torch.optim.AdamW(detr.parameters(), lr=1e-3)
    detr.train()
    for step in range(250):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * lr_factor(step, 250, "cosine", warmup=10)
        losses = objective(detr, batch, None)  # type: ignore[arg-type]  # no gates, no noise
        sum(loss for name, loss in losses.items() if not name.startswith("metric/")).backward()
        torch.nn.utils.clip_grad_norm_(detr.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    right = 0
    for image, seen in detect_all(detr, ((path, path) for path in dataset.things)):
        things = dataset.things[image]
        overlap = pairwise_iou(seen.boxes, torch.tensor([thing.box for thing in things]))
        for n, thing in enumerate(things):
            good = (overlap[:, n] >= 0.5) & (seen.scores >= 0.5)
            right += any(tuple(CATEGORIES)[int(seen.categories[q])] == thing.category for q in good.nonzero())
    total = sum(map(len, dataset.things.values()))
    assert right >= 0.9 * total, (right, total)
    shown = Detector(detr).detect(next(iter(dataset.things)), threshold=0.5)
    assert 0 < len(shown) <= 12


# -------------------------------------------------------------------------------------------------- recipes


def test_the_published_schedule(tmp_path: Path) -> None:
    """COCO's 118,287 images of train2017 in batches of 16."""
    (run,) = detr_coco(tmp_path, backbone="resnet50.pth")
    config, per_epoch = run.config, 118_287 // 16
    assert config.length(per_epoch) == 300 * 7392
    rates = [
        lr_factor(e * per_epoch, 300 * per_epoch, "step", config.warmup, [200 * per_epoch])
        for e in (0, 199, 200)
    ]
    assert rates == pytest.approx([1.0, 1.0, 0.1])
    with torch.device("meta"):
        model = build(config.model)
    groups = parameter_groups(
        model, config.lr, config.weight_decay, config.lr_groups, (), config.decay_vectors
    )
    assert {(group["lr"], group["weight_decay"]) for group in groups} == {(1e-4, 1e-4), (1e-5, 1e-4)}
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert {name.split(".")[2] for name in frozen} == {"conv1", "layer1"}


def test_recipes_fit_their_models(tmp_path: Path) -> None:
    for (run,) in (detr_coco(tmp_path), detr_street(tmp_path), detr_finetune(tmp_path)):
        config = run.config
        with torch.device("meta"):
            model = build(config.model)
        assert isinstance(model, Detr)
        assert run.objective in OBJECTIVES
        OBJECTIVES[run.objective](config.loss)
        parameter_groups(model, config.lr, config.weight_decay, config.lr_groups, config.no_decay, True)
    assert detr_street(tmp_path)[0].config.model["categories"] == list(CATEGORIES)
    (tuned,) = applied(
        detr_finetune, {"data": "x", "model.categories": '["ball", "bat"]', "loss.nothing": "0.2"}
    )
    with torch.device("meta"):
        assert build(tuned.config.model).net.class_embed.out_features == 3
    assert set(DETR) == {"detr_r50", "detr_small"}
