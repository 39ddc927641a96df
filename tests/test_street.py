"""Street scenes: same bytes for a seed, expressions true of one object, tight boxes, the REFER layout."""

from __future__ import annotations

import itertools
import json
import pickle
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from groundling.data import refer, street
from groundling.data.street.draw import SCALE, paint
from groundling.data.street.expressions import KINDS, say
from groundling.data.street.meaning import (
    Coloured,
    Extreme,
    Having,
    Named,
    Ordered,
    Program,
    Related,
    Side,
    answer,
)
from groundling.data.street.reader import matching
from groundling.data.street.scenes import Scene, StreetObject
from groundling.data.street.words import CATEGORIES, COLOURS, NOUNS, PEOPLE, WORDS

SCENES = 2000


@pytest.fixture(scope="module")
def many() -> list[tuple[Scene, tuple[street.Referring, ...]]]:
    scenes = [street.scene(17, index) for index in range(SCENES)]
    return [(scene, street.describe(scene, 6)) for scene in scenes]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("street") / "scenes"
    street.write(folder, scenes=40, seed=3, size=96)
    return folder


def _refs(folder: Path) -> list[dict[str, Any]]:
    refs: list[dict[str, Any]] = pickle.loads((folder / "refcoco" / "refs(unc).p").read_bytes())
    return refs


def _instances(folder: Path) -> dict[str, Any]:
    instances: dict[str, Any] = json.loads((folder / "refcoco" / "instances.json").read_text())
    return instances


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- scenes and pictures


def test_a_scene_depends_on_seed_index_and_size_alone() -> None:
    first = [street.scene(5, index, 128) for index in range(6)]
    again = [street.scene(5, index, 128) for index in reversed(range(6))][::-1]
    assert first == again
    assert [street.render(scene).tobytes() for scene in first] == [
        street.render(scene).tobytes() for scene in again
    ]
    assert [street.describe(scene, 6) for scene in first] == [street.describe(scene, 6) for scene in again]
    assert len({scene.objects for scene in first}) == 6
    assert street.scene(6, 0, 128).objects != first[0].objects


def test_global_random_state_is_neither_read_nor_moved() -> None:
    random.seed(1)
    before = random.getstate()
    scene = street.scene(0, 0)
    street.render(scene)
    street.describe(scene, 6)
    assert random.getstate() == before


@pytest.mark.parametrize("size", [64, 192, 1024])
def test_the_picture_is_rgb_of_the_size_asked_for(size: int) -> None:
    picture = street.render(street.scene(0, 1, size))
    assert (picture.mode, picture.size) == ("RGB", (size, size))


@pytest.mark.parametrize(("seed", "index", "size"), [(-1, 0, 192), (0, -1, 192), (0, 0, 63), (0, 0, 1025)])
def test_bad_numbers_are_refused(seed: int, index: int, size: int) -> None:
    with pytest.raises(ValueError, match="got"):
        street.scene(seed, index, size)


def test_scenes_are_small_crowds_in_the_picture(many: list[tuple[Scene, Any]]) -> None:
    shorts = []
    for scene, _ in many:
        assert 3 <= len(scene.objects) <= 8
        assert len({thing.id for thing in scene.objects}) == len(scene.objects)
        for thing in scene.objects:
            x1, y1, x2, y2 = thing.box
            assert 0 <= x1 < x2 <= scene.size
            assert 0 <= y1 < y2 <= scene.size
            shorts.append(min(x2 - x1, y2 - y1) / scene.size)
    assert min(shorts) >= 0.11
    assert np.quantile(shorts, 0.1) >= 0.12
    assert {thing.category for scene, _ in many for thing in scene.objects} == set(CATEGORIES)
    assert {thing.colour for scene, _ in many for thing in scene.objects} == set(COLOURS)


def _pixels(thing: StreetObject, size: int) -> npt.NDArray[np.bool_]:
    """Where the object, drawn alone on a plain canvas, leaves colour."""
    canvas = Image.new("RGB", (size * SCALE, size * SCALE), (1, 2, 3))
    paint(ImageDraw.Draw(canvas), thing)
    drawn: npt.NDArray[np.bool_] = (np.asarray(canvas) != (1, 2, 3)).any(axis=-1)
    return drawn


def test_boxes_fit_the_drawn_pixels(many: list[tuple[Scene, Any]]) -> None:
    """Each category in each pose and facing, also where the picture's edge cuts it: within 2 pixels."""
    seen = set()
    for scene, thing in [(crowd, thing) for crowd, _ in many[:300] for thing in crowd.objects]:
        look = (thing.category, thing.pose, thing.facing, thing.frame == thing.box, *dict(thing.parts))
        if look in seen:
            continue
        seen.add(look)
        rows, columns = np.nonzero(_pixels(thing, scene.size))
        extent = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        assert np.allclose(np.array(extent) / SCALE, thing.box, atol=2), thing
    assert {category for category, *_ in seen} == set(CATEGORIES)


def test_objects_stay_visible(many: list[tuple[Scene, Any]]) -> None:
    """Nearer objects hide little: nearly all objects show 60 % of their pixels."""
    shares = []
    for scene, _ in many[:80]:
        masks = [_pixels(thing, scene.size) for thing in scene.objects]
        for place, mask in enumerate(masks):
            hidden = np.logical_or.reduce([*masks[place + 1 :], np.zeros_like(mask)])
            shares.append(1 - (mask & hidden).sum() / mask.sum())
    assert np.mean(np.array(shares) >= 0.6) >= 0.98
    assert np.mean(shares) >= 0.85


# ---- expressions


def test_each_expression_is_true_of_its_object_alone(
    many: list[tuple[Scene, tuple[street.Referring, ...]]],
) -> None:
    """The plain reader, which shares no code with the maker, finds exactly the target."""
    for scene, said in many:
        for referring in said:
            assert matching(scene, referring.expression) == {referring.target}, referring


def test_no_expression_hangs_on_a_hair(many: list[tuple[Scene, tuple[street.Referring, ...]]]) -> None:
    """Boxes may move by 2.5 of 192 pixels and the reader still finds the target."""
    rng = random.Random(0)
    for scene, said in many[:500]:
        moved = []
        for thing in scene.objects:
            dx, dy = rng.uniform(-2.5, 2.5), rng.uniform(-2.5, 2.5)
            x1, y1, x2, y2 = thing.box
            moved.append(replace(thing, box=(x1 + dx, y1 + dy, x2 + dx, y2 + dy)))
        shaken = replace(scene, objects=tuple(moved))
        for referring in said:
            assert matching(shaken, referring.expression) == {referring.target}, referring


def test_the_mix_of_expressions(many: list[tuple[Scene, tuple[street.Referring, ...]]]) -> None:
    kinds: Counter[str] = Counter()
    targets: Counter[str] = Counter()
    crowded = 0
    for scene, said in many:
        categories = Counter(thing.category for thing in scene.objects)
        by_id = {thing.id: thing for thing in scene.objects}
        assert len({referring.expression for referring in said}) == len(said)
        for referring in said:
            category = by_id[referring.target].category
            kinds[referring.kind] += 1
            targets[category] += 1
            crowded += categories[category] > 1
    total = sum(kinds.values())
    assert total >= 5.9 * SCENES
    assert crowded / total >= 0.8
    assert set(targets) == set(CATEGORIES)
    wanted = {
        "colour": 0.32,
        "part": 0.16,
        "position": 0.16,
        "size": 0.08,
        "order": 0.06,
        "relation": 0.17,
        "pose": 0.03,
    }
    assert set(kinds) == {*wanted, "category"} == set(KINDS)
    for kind, share in wanted.items():
        assert kinds[kind] / total == pytest.approx(share, abs=0.04), kind


def test_words_lists_all_words_used(many: list[tuple[Scene, tuple[street.Referring, ...]]]) -> None:
    used = {word for _, said in many for referring in said for word in referring.expression.split()}
    assert used <= set(WORDS)
    assert len(set(WORDS) - used) <= 3
    assert list(WORDS) == sorted(set(WORDS))


def test_only_keeps_targets_to_some_categories() -> None:
    for index in range(20):
        scene = street.scene(2, index)
        people = {thing.id for thing in scene.objects if thing.category in PEOPLE}
        assert {referring.target for referring in street.describe(scene, 6, PEOPLE)} <= people
    assert street.describe(street.scene(2, 0), 0) == ()
    with pytest.raises(ValueError, match="count"):
        street.describe(street.scene(2, 0), -1)


# ---- one scene by hand, for the maker's meaning and for the reader


def _thing(
    number: int, category: str, colour: str, box: tuple[float, float, float, float], **more: Any
) -> StreetObject:
    given = {"parts": (), "pose": "", "facing": "", "variant": 0, "depth": box[3] / 100, **more}
    return StreetObject(number, category, colour, frame=box, box=box, **given)


HAND = Scene(0, 0, 100, 0.4, (
    _thing(1, "car", "red", (5, 40, 25, 50), parts=(("roof", "white"),), facing="left"),
    _thing(2, "car", "blue", (40, 50, 65, 62), parts=(("roof", "red"),), facing="right"),
    _thing(3, "car", "blue", (72, 70, 98, 85), parts=(("roof", "black"),), facing="right"),
    _thing(4, "man", "red", (10, 45, 20, 80), parts=(("pants", "blue"), ("hat", "green"), ("hair", "black"))),
    _thing(5, "boy", "green", (45, 55, 55, 80), parts=(("shorts", "red"), ("hair", "yellow"))),
    _thing(6, "cat", "black", (45, 40, 55, 51), on=2, pose="sitting", facing="left"),
))  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "ids"),
    [
        ("car", {1, 2, 3}),
        ("vehicle", {1, 2, 3}),
        ("person", {4, 5}),
        ("guy", {4, 5}),
        ("red car", {1}),
        ("the car that is blue", {2, 3}),
        ("blue colored car", {2, 3}),
        ("car with a red roof", {2}),
        ("man in red", {4}),
        ("green shirt", {5}),
        ("blue pants", {4}),
        ("red shorts boy", {5}),
        ("guy wearing a green cap", {4}),
        ("person with a hat", {4}),
        ("kid with blonde hair", {5}),
        ("leftmost car", {1}),
        ("car on the left", {1}),
        ("car on the right side", {2, 3}),
        ("left blue car", {2}),
        ("second car from the left", {2}),
        ("car 3rd from right", {1}),
        ("middle car", {2}),
        ("biggest car", {3}),
        ("little car", {1}),
        ("closest car", {3}),
        ("car in the back", {1}),
        ("car facing right", {2, 3}),
        ("sitting cat", {6}),
        ("cat sitting on the blue car", set()),  # which blue car?
        ("cat on top of the red car", set()),
        ("cat on the man", set()),
        ("person left of the cat", {4}),
        ("man in front of the red car", {4}),
        ("red car behind the man", {1}),
        ("car right of the boy", {2, 3}),
        ("cat above the boy", {6}),
    ],
)
def test_the_reader_by_hand(expression: str, ids: set[int]) -> None:
    assert matching(HAND, expression) == ids


def test_the_reader_says_what_it_does_not_understand() -> None:
    with pytest.raises(ValueError, match="unicorn"):
        matching(HAND, "red unicorn")


CAR, BLUE = Named("car"), Coloured(Named("car"), "blue")


@pytest.mark.parametrize(
    ("program", "sure", "maybe"),
    [
        (CAR, {1, 2, 3}, {1, 2, 3}),
        (BLUE, {2, 3}, {2, 3}),
        (Coloured(CAR, "red"), {1}, {1, 2}),  # a blue car with a red roof: somebody may call it red
        (Having(CAR, "roof", "red"), {2}, {2}),
        (Having(Named("guy"), "pants", "red"), set(), {5}),  # shorts: may be taken for pants
        (Having(Named("person"), "hat", None), {4}, {4}),
        (Extreme(CAR, "left"), {1}, {1}),
        (Extreme(CAR, "big"), {3}, {3}),
        (Extreme(Named("person"), "bottom"), {5}, {4, 5}),  # 62.5 and 67.5: too close to tell
        (Extreme(Named("cat"), "near"), set(), {6}),  # on a car, and alone
        (Side(CAR, "left"), {1}, {1, 2}),  # the blue car is near the middle
        (Ordered(CAR, 2, "left"), {2}, {2}),
        (Ordered(BLUE, 2, "left"), set(), {2, 3}),  # "second of two" is nothing that people say
        (Related(Named("person"), "left", Named("cat")), {4}, {4, 5}),
        (Related(Named("cat"), "on", BLUE), set(), {6}),  # which blue car?
        (Related(Named("cat"), "on", Having(CAR, "roof", "red")), {6}, {6}),
    ],
)
def test_meaning_by_hand(program: Program, sure: set[int], maybe: set[int]) -> None:
    found = answer(HAND, program)
    assert (set(found.sure), set(found.maybe)) == (sure, maybe)
    assert found.only == (next(iter(sure)) if sure == maybe and len(sure) == 1 else None)


def _programs() -> Iterator[Program]:
    for noun, which in itertools.product(NOUNS, ("left", "right")):
        yield Related(Extreme(Named(noun), "big"), which, Named("tree"))
        yield Having(Named("person"), "umbrella", "orange")


def test_wordings_have_no_holes_and_right_articles() -> None:
    rng = random.Random(0)
    for program in _programs():
        text = say(program, rng)
        assert not set("{}") & set(text), text
        assert "  " not in text, text
        assert " a o" not in f" {text}", text


# ---- on disk


def test_the_folder_is_in_the_refer_layout(written: Path) -> None:
    refs, instances = _refs(written), _instances(written)
    assert (written / "refcoco" / "refs(unc).p").read_bytes()[:2] == b"\x80\x02"  # pickle protocol 2
    assert set(instances) == {"info", "licenses", "images", "annotations", "categories"}
    images = {image["id"]: image for image in instances["images"]}
    annotations = {annotation["id"]: annotation for annotation in instances["annotations"]}
    names = {category["id"]: category["name"] for category in instances["categories"]}
    assert len(images) == 40
    assert list(names.values()) == list(CATEGORIES)
    for image in images.values():
        with Image.open(written / "images" / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"]) == (96, 96)
    for annotation in annotations.values():
        x, y, wide, high = annotation["bbox"]
        assert min(x, y) >= 0
        assert max(x + wide, y + high) <= 96.01
        assert annotation["area"] == pytest.approx(wide * high, rel=0.01)
        assert annotation["attributes"][0] in COLOURS
        assert all(isinstance(word, str) for word in annotation["attributes"])
    for ref in refs:
        annotation = annotations[ref["ann_id"]]
        assert (annotation["image_id"], annotation["category_id"]) == (ref["image_id"], ref["category_id"])
        assert ref["file_name"] == images[ref["image_id"]]["file_name"]
        assert ref["sent_ids"] == [sentence["sent_id"] for sentence in ref["sentences"]] != []
        assert all(sentence["tokens"] == sentence["sent"].split() for sentence in ref["sentences"])
    sentence_ids = [number for ref in refs for number in ref["sent_ids"]]
    assert sentence_ids == list(range(len(sentence_ids)))
    assert [ref["ref_id"] for ref in refs] == list(range(len(refs)))


def test_splits_go_by_scene_and_tests_by_target(written: Path) -> None:
    refs = _refs(written)
    names = {category["id"]: category["name"] for category in _instances(written)["categories"]}
    images = {
        split: {ref["image_id"] for ref in refs if ref["split"] == split}
        for split in ("train", "val", "testA", "testB")
    }
    assert [len(found) for found in images.values()] == [32, 4, 2, 2]
    assert all(not one & two for one, two in itertools.combinations(images.values(), 2))
    assert {names[ref["category_id"]] for ref in refs if ref["split"] == "testA"} <= set(PEOPLE)
    assert not {names[ref["category_id"]] for ref in refs if ref["split"] == "testB"} & set(PEOPLE)


@pytest.mark.parametrize("split", ["train", "val", "testA", "testB"])
def test_our_refer_reader_reads_it(written: Path, split: str) -> None:
    dataset = refer.read(written, "refcoco", split)
    said = sum(len(ref["sentences"]) for ref in _refs(written) if ref["split"] == split)
    assert len(dataset.samples) == said > 0
    assert all(sample.image.is_file() for sample in dataset.samples)


@pytest.mark.parametrize("seed", range(5))
def test_four_scenes_fill_all_splits(tmp_path: Path, seed: int) -> None:
    street.write(tmp_path / "four", scenes=4, seed=seed, size=64)
    splits = {ref["split"] for ref in _refs(tmp_path / "four")}
    assert {"train", "val", "testB"} <= splits


def test_workers_do_not_change_a_byte(tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    street.write(tmp_path / "one", scenes=20, seed=8, size=64, progress=lambda *count: done.append(count))
    street.write(tmp_path / "two", scenes=20, seed=8, size=64, workers=2)
    assert _files(tmp_path / "one") == _files(tmp_path / "two")
    assert done == [(number, 20) for number in range(1, 21)]


def test_a_second_run_replaces_the_first(tmp_path: Path) -> None:
    street.write(tmp_path / "a", scenes=8, seed=1, size=64)
    street.write(tmp_path / "b", scenes=4, seed=2, size=64)
    (tmp_path / "a" / "images" / ".part-left").write_bytes(b"from a run that was stopped")
    with pytest.raises(ValueError, match="holds street scenes; give replace=True"):
        street.write(tmp_path / "a", scenes=4, seed=2, size=64)
    street.write(tmp_path / "a", scenes=4, seed=2, size=64, replace=True)
    assert _files(tmp_path / "a") == _files(tmp_path / "b")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scenes": 3}, "scenes must be 4 or more"),
        ({"size": 63}, "size must be 64 to 1024"),
        ({"size": 1025}, "size must be 64 to 1024"),
        ({"seed": -1}, "seed and index must be 0 or more"),
        ({"workers": 0}, "workers must be 1 or more"),
        ({"splits": {"test": 0.1}}, "val, testA, testB"),
        ({"splits": {"val": 1.5}}, "val, testA, testB"),
        ({"splits": {"val": 0.9, "testA": 0.2}}, "no scene of 8 for train"),
    ],
)
def test_bad_requests_write_nothing(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        street.write(tmp_path / "new", **{"scenes": 8, "size": 64, **wrong})
    assert list(tmp_path.iterdir()) == []


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="not empty"):
        street.write(tmp_path, scenes=4, size=64)
    with pytest.raises(ValueError, match="is a file"):
        street.write(tmp_path / "thesis.txt", scenes=4, size=64)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
