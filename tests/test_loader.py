"""Batches: the order follows from the seed, and what a batch says is true of its pixels."""

import random
import time
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from groundling.data import loader
from groundling.data.loader import Example, Plan, ThingNames, TrainingSet, ahead, draw, order, share
from groundling.data.sample import Dataset
from groundling.data.transforms import lads_train
from groundling.pictures.placement import Canvas, Placement
from groundling.words.wordpiece import Tokenizer

SIZE = 32
PLAN = Plan(3, 4, 2)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return tiny.drawn(tmp_path_factory.mktemp("drawn"))


def training_set(dataset: Dataset, plan: Plan = PLAN, **options: object) -> TrainingSet:
    tokenizer = Tokenizer.train([s.expression for s in dataset.samples], 120, 12)
    return TrainingSet(dataset, tokenizer, Canvas(size=SIZE), plan, **options)  # type: ignore[arg-type]


def test_an_epoch_shows_every_image_once(dataset: Dataset) -> None:
    data = training_set(dataset)
    assert data.steps_per_epoch == 6
    shown = [example.image for step in range(6, 12) for example in data.examples(step)]
    assert sorted(shown) == sorted(data.images)


def test_order_follows_from_seed_and_epoch() -> None:
    assert sorted(order(1, 0, 50)) == list(range(50))
    assert order(1, 0, 50) == order(1, 0, 50)
    assert len({order(1, 0, 50), order(1, 1, 50), order(2, 0, 50)}) == 3


def test_a_step_is_the_same_whenever_it_is_asked_for(dataset: Dataset) -> None:
    first, second = training_set(dataset), training_set(dataset)
    for step in range(9):
        first.collate(first.examples(step))
    ours, theirs = first.collate(first.examples(7)), second.collate(second.examples(7))
    assert ours.names == theirs.names
    assert torch.equal(ours.images, theirs.images)
    assert torch.equal(ours.boxes_cxcywh01, theirs.boxes_cxcywh01)


@given(parts=st.integers(1, 8), each=st.integers(1, 4))
def test_processes_share_a_batch_in_order(parts: int, each: int) -> None:
    examples = [Example(Path(str(i)), (), False, "") for i in range(parts * each)]
    joined = [example for rank in range(parts) for example in share(examples, rank, parts)]
    assert joined == examples


def test_a_batch_that_cannot_be_shared_says_so() -> None:
    with pytest.raises(ValueError, match="5 images cannot be cut into 2"):
        share([Example(Path(), (), False, "")] * 5, 0, 2)


@given(have=st.integers(1, 6), want=st.integers(1, 20), seed=st.integers(0, 99))
def test_no_expression_is_drawn_again_before_each_had_its_turn(have: int, want: int, seed: int) -> None:
    drawn = draw(range(have), want, random.Random(seed))
    counts = [drawn.count(i) for i in range(have)]
    assert len(drawn) == want
    assert max(counts) - min(counts) <= 1


def test_boxes_by_literal() -> None:
    """A 60x40 image on a canvas of 32: scale 32/60, 21.33 → 21 rows, 5 rows of padding above."""
    literal = Placement(0.5, 0.5, 0, 6, 64, 40, SIZE, SIZE)
    plain = loader.shares([(8.0, 4.0, 24.0, 20.0)], literal, mirror=False)
    mirrored = loader.shares([(8.0, 4.0, 24.0, 20.0)], literal, mirror=True)
    assert plain.tolist() == [[0.25, 0.375, 0.25, 0.25]]
    assert mirrored.tolist() == [[0.75, 0.375, 0.25, 0.25]]


def test_mirrored_pixels_words_boxes_and_things_agree(dataset: Dataset) -> None:
    """On the mirrored canvas the square named "left" is in the left half, has its colour and faces left."""
    names = ThingNames.of(dataset.things)
    data = training_set(dataset, names=names)
    examples = [
        Example(image, group, True, "") for image, group in zip(data.images, data.groups, strict=True)
    ]
    batch = data.collate(examples)
    expressions = [s.expression for e in examples for s in e.samples]
    assert batch.things is not None
    for row, (words, box) in enumerate(zip(expressions, batch.boxes_cxcywh01, strict=True)):
        original = "left" if "left" in words else "right"
        assert (box[0] < 0.5) == (original == "right")
        shown = data.tokenizer.encode([loader.flip_words(words)]).ids[0]
        assert batch.ids[row, : len(shown)].tolist() == shown.tolist()
        colour = next((c for c in tiny.COLOURS if c in words), None)
        if colour is not None:
            x, y = (box[:2] * SIZE).long().tolist()
            pixel = batch.images[batch.image_index[row], :, y, x].float()
            assert (pixel - torch.tensor(tiny.COLOURS[colour])).abs().max() < 60
    facing = batch.things.attributes.argmax(-1)
    on_left = batch.things.boxes_cxcywh01[..., 0] < 0.5
    assert torch.equal(facing == names.attributes.index("facing:left"), on_left)


def test_things_are_padded(dataset: Dataset) -> None:
    first, *_ = dataset.things
    fewer = Dataset("drawn", "train", dataset.samples, {**dataset.things, first: dataset.things[first][:1]})
    data = training_set(fewer, names=ThingNames.of(fewer.things))
    things = data.collate(
        [Example(i, g, False, "") for i, g in zip(data.images, data.groups, strict=True)]
    ).things
    assert things is not None
    row = data.images.index(first)
    assert things.counts.tolist() == [1 if i == row else 2 for i in range(len(data.images))]
    assert things.categories[row].tolist() == [0, -1]
    assert things.boxes_cxcywh01[row, 1].tolist() == [0, 0, 0, 0]


def test_things_that_are_not_there_or_not_known(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="lists no objects"):
        training_set(Dataset("bare", "train", dataset.samples), names=ThingNames(("square",), ()))
    with pytest.raises(ValueError, match="knows no thing or attribute"):
        training_set(dataset, names=ThingNames(("circle",), ("facing:left", "facing:right")))


def test_each_image_is_decoded_once(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    plain = loader.open_image
    monkeypatch.setattr(loader, "open_image", lambda path: (opened.append(path), plain(path))[1])
    data = training_set(dataset)
    for step in range(3 * data.steps_per_epoch):
        data.collate(data.examples(step))
    assert sorted(opened) == sorted(data.images)


def test_the_cache_keeps_its_limit(dataset: Dataset) -> None:
    room = 5 * 3 * SIZE * SIZE
    data = training_set(dataset, cache_gib=room / 2**30)
    for step in range(data.steps_per_epoch):
        data.collate(data.examples(step))
    assert len(data.seen.kept) == 5
    assert data.seen.used <= room


def test_a_random_view_keeps_its_object(dataset: Dataset) -> None:
    data = training_set(dataset, Plan(0, 8, 1, mirror=False), view=lads_train(SIZE))
    batch, again = (data.collate(data.examples(1)) for _ in range(2))
    assert torch.equal(batch.images, again.images)
    centre, half = batch.boxes_cxcywh01[:, :2], batch.boxes_cxcywh01[:, 2:] / 2
    assert bool(((centre - half > -1e-6) & (centre + half < 1 + 1e-6)).all())
    other = data.collate(data.examples(1 + data.steps_per_epoch))
    assert not torch.equal(batch.boxes_cxcywh01, other.boxes_cxcywh01)


def test_an_epoch_of_views_shows_every_expression_once(dataset: Dataset) -> None:
    data = training_set(dataset, Plan(0, 8, 1, mirror=False), view=lads_train(SIZE))
    assert data.steps_per_epoch == len(dataset) // 8 == 12
    shown = [s.id for step in range(12, 24) for example in data.examples(step) for s in example.samples]
    assert sorted(shown) == sorted(sample.id for sample in dataset.samples)
    with pytest.raises(ValueError, match="96 expressions in drawn train, 97 in a batch"):
        training_set(dataset, Plan(0, 97, 1), view=lads_train(SIZE))


@settings(deadline=None, max_examples=20)
@given(workers=st.integers(0, 4), count=st.integers(0, 12))
def test_working_ahead_keeps_the_order(workers: int, count: int) -> None:
    def make(step: int) -> int:
        time.sleep(0.002 * (step % 3))
        return step

    assert list(ahead(make, range(count), workers)) == list(range(count))


def test_working_ahead_raises_where_it_failed() -> None:
    def make(step: int) -> int:
        if step == 2:
            raise ValueError("image 2 is broken")
        return step

    batches = ahead(make, range(5), 2)
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(ValueError, match="image 2 is broken"):
        next(batches)


def test_too_few_images(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match=r"24 images in drawn train, 25 in a batch; .* or data\.repeat"):
        training_set(dataset, Plan(0, 25, 1))


def test_few_images_fill_a_batch_together(dataset: Dataset) -> None:
    """Five pictures used to be too few for a batch of sixteen."""
    five = Dataset("five", "train", dataset.samples[:20])
    plan = Plan(3, 16, 2, repeat=True)
    data, again = training_set(five, plan), training_set(five, plan)
    assert data.steps_per_epoch == 1
    for step in (0, 1, 7):
        examples = data.examples(step)
        assert examples == again.examples(step)
        assert len(examples) == 16
        assert {example.image for example in examples} == {sample.image for sample in five.samples}
        assert len({(e.image, e.samples, e.mirror) for e in examples}) > 10  # hardly the same twice
        assert [*share(examples, 0, 2), *share(examples, 1, 2)] == examples
    assert data.examples(0) != data.examples(1)
    assert data.collate(data.examples(0)).images.shape == (16, 3, SIZE, SIZE)


def test_enough_images_are_not_repeated(dataset: Dataset) -> None:
    plain, repeating = training_set(dataset), training_set(dataset, replace(PLAN, repeat=True))
    assert [plain.examples(step) for step in range(8)] == [repeating.examples(step) for step in range(8)]
    with pytest.raises(ValueError, match="0 images in none train, 4 in a batch"):
        training_set(Dataset("none", "train", ()), replace(PLAN, repeat=True))


def test_a_fingerprint_is_of_what_the_data_says(dataset: Dataset, tmp_path: Path) -> None:
    elsewhere = tiny.drawn(tmp_path / "elsewhere")
    assert loader.fingerprint(elsewhere) == loader.fingerprint(dataset)
    fewer = Dataset("drawn", "train", dataset.samples[1:], dataset.things)
    assert loader.fingerprint(fewer) != loader.fingerprint(dataset)
