"""COCO and LVIS: images and their objects by hand, and the official files where they are."""

import json
from pathlib import Path

import pytest
from PIL import Image

from groundling.cli.datasets import opened
from groundling.data import (
    Caption,
    DataError,
    DataWarning,
    Phrase,
    Rejects,
    Sample,
    Thing,
    available,
    coco,
    open_captions,
    open_dataset,
)
from groundling.data.loader import Plan, TrainingSet
from groundling.pictures.masks import Rle
from groundling.words.wordpiece import Tokenizer

SHARED = Path(__file__).parents[2] / "shared" / "data"
TRIANGLE = [10, 5, 18, 5, 18, 25]
RUNS = {"size": [40, 60], "counts": [100, 200, 2100]}


def annotation(number: int, **changes) -> dict:
    row = {"id": number, "image_id": 7, "category_id": 18, "bbox": [10, 5, 8, 20], "area": 160, "iscrowd": 0}
    return row | {"segmentation": [TRIANGLE]} | changes


def write(root: Path, annotations: list, name="instances_val2017", image: object = None, **changes) -> Path:
    """One image, id 7, of 60x40 pixels."""
    (root / "val2017").mkdir(exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    Image.new("RGB", (60, 40)).save(root / "val2017" / "000000000007.jpg")
    content = {
        "info": {"year": 2017},
        "images": [{"id": 7, "width": 60, "height": 40} | (image or {"file_name": "000000000007.jpg"})],
        "annotations": annotations,
        "categories": [
            {"id": 18, "name": "dog"},
            {"id": 1, "name": "person"},
            {"id": 3, "name": "dish_(bowl)"},
        ],
    }
    (root / "annotations" / f"{name}.json").write_text(json.dumps(content | changes))
    return root


def test_an_id_that_comes_twice_is_counted_once(tmp_path) -> None:
    """Objects listed twice were two objects, and halved the AP."""
    rejects = Rejects()
    root = write(tmp_path, [annotation(1), annotation(1), annotation(2)])
    (picture,) = coco.load(root, "coco", "val2017", rejects).pictures
    assert [each.id for each in picture.instances] == [1, 2]
    with pytest.warns(DataWarning, match="1 of 2 rows left out. annotation 1: its id comes twice"):
        rejects.report("file", 1)


def test_images_and_their_objects(tmp_path) -> None:
    crowd = annotation(2, iscrowd=1, category_id=1, segmentation=RUNS)
    root = write(tmp_path, [annotation(1), crowd, annotation(3, segmentation=[])])
    content = coco.load(root, "coco", "val2017", Rejects())
    assert content.categories == {18: "dog", 1: "person", 3: "dish_(bowl)"}
    (picture,) = content.pictures
    assert (picture.id, picture.image, picture.size) == (7, root / "val2017" / "000000000007.jpg", (60, 40))
    box = (10, 5, 18, 25)
    assert picture.instances == (
        coco.Instance(1, 18, box, (tuple(TRIANGLE),), area=160),
        coco.Instance(2, 1, box, Rle(40, 60, (100, 200, 2100)), crowd=True, area=160),
        coco.Instance(3, 18, box, area=160),
    )


def test_a_caption_for_each_category(tmp_path) -> None:
    """All boxes of it, with their masks if all have one; not where there is a crowd of it."""
    root = write(
        tmp_path,
        [
            annotation(1),
            annotation(2, bbox=[30, 1, 2, 3]),
            annotation(3, category_id=3),
            annotation(4, category_id=1),
            annotation(5, category_id=1, iscrowd=1, segmentation=RUNS),
        ],
    )
    mask = (tuple(map(float, TRIANGLE)),)
    image = root / "val2017" / "000000000007.jpg"
    dogs = Phrase(((0, 3),), ((10, 5, 18, 25), (30, 1, 32, 4)), (mask, mask), "dog")
    dish = Phrase(((0, 4),), ((10, 5, 18, 25),), (mask,), "dish_(bowl)")
    assert open_captions(root, "coco", "val2017").captions == (
        Caption("7-18", image, "dog", (dogs,), referring=True),
        Caption("7-3", image, "dish", (dish,), referring=True),
    )


def test_expressions_and_things(tmp_path) -> None:
    crowd = annotation(5, category_id=1, iscrowd=1, segmentation=RUNS)
    root = write(tmp_path, [annotation(1), annotation(2), annotation(3, category_id=3), crowd])
    dataset = open_dataset(root, "coco", "val2017")
    image, box = root / "val2017" / "000000000007.jpg", (10, 5, 18, 25)
    assert dataset.samples == (Sample("7-3", image, "dish", box, "dish_(bowl)"),)
    assert dataset.things == {image: (Thing("dog", box), Thing("dog", box), Thing("dish_(bowl)", box))}


def test_objects_need_no_expressions(tmp_path) -> None:
    """Detectors could not be taught by a split of which no image has exactly one object of a category."""
    dataset = open_dataset(write(tmp_path, [annotation(1), annotation(2)]), "coco", "val2017")
    assert (dataset.samples, [len(things) for things in dataset.things.values()]) == ((), [2])
    with pytest.raises(ValueError, match="0 images in coco val2017, 1 in a batch"):
        TrainingSet(dataset, Tokenizer.train(["a dog"], 120, 12), 64, Plan(0, 1, 1))
    with pytest.raises(DataError, match="no phrase of coco val2017 means exactly one box: no expression"):
        opened(tmp_path, "coco", "val2017")


def test_lvis_says_what_is_not_there_and_what_is_not_all(tmp_path) -> None:
    image = {"coco_url": "http://images.cocodataset.org/val2017/000000000007.jpg"}
    image |= {"neg_category_ids": [1, 99], "not_exhaustive_category_ids": [18]}
    root = write(tmp_path, [annotation(1), annotation(2, category_id=3)], "lvis_v1_val", image)
    (picture,) = coco.load(root, "lvis", "val", Rejects()).pictures
    assert (picture.negative, picture.not_exhaustive) == ((1, 99), (18,))
    assert picture.image == root / "val2017" / "000000000007.jpg"
    captions = open_captions(root, "lvis", "val").captions
    assert [(c.text, len(c.phrases[0].boxes)) for c in captions] == [("person", 0), ("dish", 1)]
    assert available(root) == ["lvis"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bbox": [10, 5, 0, 20]}, "annotation 2: box .* has no area"),
        ({"bbox": [10, 5, -3, 20]}, "has no area"),
        ({"bbox": [10, 5, 3]}, "is not four numbers"),
        ({"bbox": None}, "bbox is None; it should be a list"),
        ({"bbox": [61, 5, 8, 20]}, "lies outside its image of 60x40 pixels"),
        ({"image_id": 8}, "annotation 2: image 8 has no entry"),
        ({"category_id": 99}, "category 99 has no entry"),
    ],
)
def test_bad_annotations_are_left_out(tmp_path, changes, reason) -> None:
    root = write(tmp_path, [annotation(1), annotation(2, **({"category_id": 3} | changes))])
    with pytest.warns(DataWarning, match=rf"1 of 2 rows left out\. .*{reason}"):
        dataset = open_dataset(root, "coco", "val2017")
    assert (len(dataset), dataset.left_out) == (1, 1)


@pytest.mark.parametrize("bbox", [[10, 5, 0, 20], [61, 5, 8, 20]])
def test_one_object_that_is_left_of_two_is_no_expression(tmp_path, bbox) -> None:
    """It would look like the only one of its category."""
    root = write(tmp_path, [annotation(1), annotation(2, bbox=bbox), annotation(3, category_id=3)])
    with pytest.warns(DataWarning, match="annotation 2"):
        dataset = open_dataset(root, "coco", "val2017")
    assert [sample.expression for sample in dataset.samples] == ["dish"]
    assert len(next(iter(dataset.things.values()))) == 2


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ({"file_name": "gone.jpg"}, "image gone.jpg is not in"),
        ({"file_name": "../7.jpg"}, "leads out of the image folder"),
        ({}, "has no 'coco_url'"),
        (
            {"file_name": "000000000007.jpg", "neg_category_ids": [[1]]},
            "neg_category_ids is not a list of ids",
        ),
    ],
)
def test_images_that_cannot_be_used(tmp_path, image, reason) -> None:
    root = write(tmp_path, [annotation(1)], image={"id": 7} | image)
    with pytest.raises(DataError, match=f"none of (1 rows|its images) can be used. image 7: .*{reason}"):
        open_captions(root, "coco", "val2017")


def test_files_that_are_something_else(tmp_path) -> None:
    root = write(tmp_path, [annotation(1)])
    with pytest.raises(ValueError, match="no coco split 'train2017'; it has val2017"):
        open_captions(root, "coco", "train2017")
    write(tmp_path, [], categories=[])
    with pytest.raises(DataError, match="not a COCO instances file: it has no categories"):
        open_captions(root, "coco", "val2017")
    write(tmp_path, [annotation(1), 5], categories=[{"id": 18, "name": "dog"}, {"id": [1]}, {"id": 2}])
    with pytest.warns(
        DataWarning, match="3 of 4 rows left out. annotation None: a row .*category \[1\]: id is \[1\]"
    ):
        open_captions(root, "coco", "val2017")


@pytest.mark.parametrize("name", ["", " "])
def test_a_category_without_a_name_is_left_out(tmp_path, name) -> None:
    """Its captions would have no text: one such category used to end the reading of the whole file."""
    categories = [{"id": 18, "name": "dog"}, {"id": 3, "name": name}]
    root = write(tmp_path, [annotation(1), annotation(2, category_id=3)], categories=categories)
    with pytest.warns(
        DataWarning, match="category 3: its name is blank; annotation 2: category 3 has no entry"
    ):
        assert [caption.text for caption in open_captions(root, "coco", "val2017").captions] == ["dog"]


@pytest.mark.parametrize(
    ("name", "plain"), [("dish_(container)", "dish"), ("teddy_bear", "teddy bear"), ("(odd)", "(odd)")]
)
def test_names_as_people_write_them(name, plain) -> None:
    assert coco.clean_name(name) == plain


@pytest.mark.skipif(not (SHARED / "tiny_coco").is_dir(), reason="../shared/data/tiny_coco is not here")
@pytest.mark.parametrize(("split", "objects"), [("train2017", 470), ("val2017", 382)])
def test_the_official_files_of_coco(split, objects) -> None:
    root = SHARED / "tiny_coco"
    content = coco.load(root, "coco", split, rejects := Rejects())
    assert (len(content.categories), len(content.pictures), rejects.count) == (80, 50, 0)
    rows = json.loads((root / "annotations" / f"instances_{split}.json").read_text())["annotations"]
    found = {each.id: each for picture in content.pictures for each in picture.instances}
    assert len(found) == len(rows) == objects
    for row in rows:
        x, y, w, h = row["bbox"]
        assert found[row["id"]].box == (x, y, x + w, y + h)
        assert found[row["id"]].crowd == bool(row["iscrowd"])
    single = [c for c in open_captions(root, "coco", split).captions if len(c.phrases[0].boxes) == 1]
    assert [caption.text for caption in single] == [
        s.expression for s in open_dataset(root, "coco", split).samples
    ]


@pytest.mark.skipif(not (SHARED / "lvis_val_100").is_dir(), reason="../shared/data/lvis_val_100 is not here")
def test_an_official_file_of_lvis() -> None:
    rejects = Rejects()
    content = coco.load(SHARED / "lvis_val_100", "lvis", "val_100", rejects, need_images=False)
    assert (len(content.categories), len(content.pictures), rejects.count) == (1_230, 100, 0)
    assert sum(len(picture.instances) for picture in content.pictures) == 977
    first = content.pictures[0]
    assert (first.id, first.negative[:2], first.size) == (266409, (284, 53), (640, 480))
    captions = open_captions(SHARED / "lvis_val_100", "lvis", "val_100", need_images=False).captions
    negative = sum(not caption.phrases[0].boxes for caption in captions)
    assert 0 < negative <= sum(len(picture.negative) for picture in content.pictures)


# --- what people reported of other tools: rows that are a little wrong never cost what is right in them


def load(root: Path) -> tuple[tuple[coco.Picture, ...], Rejects]:
    rejects = Rejects()
    return coco.load(root, "coco", "val2017", rejects).pictures, rejects


@pytest.mark.parametrize("nothing", [[[]], [[], []], [], {}, None])
def test_a_segmentation_of_nothing_is_none(tmp_path, nothing) -> None:
    (picture,), rejects = load(write(tmp_path, [annotation(1, segmentation=nothing)]))
    assert [each.mask for each in picture.instances] == [None]
    assert (rejects.count, rejects.changed) == (0, {})


@pytest.mark.parametrize(
    "bad",
    [
        [[10, 20, 50, 70]],
        [10, 5, 18, 5, 18, 25],
        [[1, 2, 3]],
        [["1", "2", "3", "4", "5", "6"]],
        [[float("nan"), 1, 2, 3, 4, 5]],
        {"size": [2, 2], "counts": [1]},
        {"size": [2, 2]},
        "polygon",
        7,
    ],
)
def test_a_bad_mask_never_costs_the_box(tmp_path, bad) -> None:
    """Objects were left out of training and evaluation, which need no mask, for the mask's sake."""
    (picture,), rejects = load(write(tmp_path, [annotation(1, segmentation=bad), annotation(2)]))
    assert [(each.box, each.mask is None) for each in picture.instances] == [
        ((10, 5, 18, 25), True),
        ((10, 5, 18, 25), False),
    ]
    assert rejects.count == 0
    assert rejects.changed["masks left out, their boxes kept"].count == 1


def test_a_stray_point_goes_and_its_polygon_stays(tmp_path) -> None:
    (picture,), rejects = load(write(tmp_path, [annotation(1, segmentation=[TRIANGLE, [1, 1]])]))
    assert picture.instances[0].mask == (tuple(map(float, TRIANGLE)),)
    assert [reason.count for reason in rejects.changed.values()] == [1]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"area": -1}, "areas left out, their boxes kept"),
        ({"area": "large"}, "areas left out, their boxes kept"),
        ({"iscrowd": "perhaps"}, "marks of a crowd left out, their boxes kept"),
        ({"iscrowd": [1]}, "marks of a crowd left out, their boxes kept"),
        ({"id": None}, "annotations without an id that can be used, their boxes kept"),
        ({"id": [3]}, "annotations without an id that can be used, their boxes kept"),
    ],
)
def test_a_bad_field_never_costs_the_box(tmp_path, changes, what) -> None:
    (picture,), rejects = load(write(tmp_path, [annotation(1), annotation(2) | changes]))
    assert (len(picture.instances), rejects.count) == (2, 0)
    assert rejects.changed[what].count == 1


def as_ids(content: dict, kind) -> dict:
    """The same file with ids of another kind."""
    keys = ("id", "image_id", "category_id")
    return {
        name: [{k: kind(v) if k in keys else v for k, v in row.items()} for row in content[name]]
        for name in ("images", "annotations", "categories")
    }


@pytest.mark.parametrize("kind", [float, str, "{:012}".format, "n{}".format])
def test_ids_of_any_kind_are_ids(tmp_path, kind) -> None:
    """Of text ids it was said that the file had no images; the reason was found and thrown away."""
    write(tmp_path, [annotation(1), annotation(2, category_id=3)])
    file = tmp_path / "annotations" / "instances_val2017.json"
    plain = open_dataset(tmp_path, "coco", "val2017")
    file.write_text(json.dumps(as_ids(json.loads(file.read_text()), kind)))
    found = open_dataset(tmp_path, "coco", "val2017")
    assert [(s.expression, s.box) for s in found.samples] == [(s.expression, s.box) for s in plain.samples]
    assert found.things == plain.things


@pytest.mark.parametrize("bad", [True, 1.5, [1], {}, " "])
def test_an_id_that_is_none_is_named_first(tmp_path, bad) -> None:
    with pytest.raises(
        DataError, match=r"none of its images can be used\. image .*id is .* whole number or a text"
    ):
        open_dataset(
            write(tmp_path, [annotation(1)], image={"id": bad, "file_name": "a.jpg"}), "coco", "val2017"
        )


def test_annotations_as_an_object_are_its_values(tmp_path) -> None:
    root = write(tmp_path, [])
    file = tmp_path / "annotations" / "instances_val2017.json"
    content = json.loads(file.read_text())
    without = {key: value for key, value in annotation(2).items() if key != "id"}
    content |= {"annotations": {"1": annotation(1), "2": without}, "images": {"7": content["images"][0]}}
    content |= {"categories": {"18": "dog", "3": "dish"}}
    file.write_text(json.dumps(content))
    (picture,), rejects = load(root)
    assert [(each.id, each.box) for each in picture.instances] == [(1, (10, 5, 18, 25)), (2, (10, 5, 18, 25))]
    assert (rejects.count, rejects.changed) == (0, {})


def test_a_picture_of_two_entries_is_one(tmp_path) -> None:
    """'The cat' was written twice of it with other boxes, and of three objects one was left to learn from."""
    both = [{"id": number, "file_name": "000000000007.jpg", "width": 60, "height": 40} for number in (7, 8)]
    rows = [annotation(1), annotation(2, image_id=8, bbox=[1, 1, 5, 5]), annotation(3, image_id=8)]
    root = write(tmp_path, [*rows, annotation(4, category_id=3)], images=both)
    with pytest.warns(DataWarning) as told:
        found = open_dataset(root, "coco", "val2017")
    first, second = (str(warning.message) for warning in told)
    assert "1 of 2 rows left out. annotation 3: it is annotation 1 of another entry of its image" in first
    assert "objects were put together: 1 (000000000007.jpg: images 7, 8)" in second
    assert [sample.expression for sample in found.samples] == ["dish"]
    assert [len(things) for things in found.things.values()] == [3]


def test_one_image_id_for_two_pictures_is_nobodys(tmp_path) -> None:
    """Annotations of it may be of either."""
    Image.new("RGB", (60, 40)).save(write(tmp_path, []) / "val2017" / "b.jpg")
    names = ("000000000007.jpg", "b.jpg")
    both = [{"id": 7, "file_name": name, "width": 60, "height": 40} for name in names]
    with pytest.raises(DataError, match="image 7: image 7 has two entries that differ"):
        load_told(write(tmp_path, [annotation(1)], images=both))


def load_told(root: Path) -> None:
    open_dataset(root, "coco", "val2017")


def test_a_category_is_asked_for_by_its_name(tmp_path) -> None:
    """Two ids of one name made two objects each 'the dog'."""
    names = [{"id": 18, "name": "dog"}, {"id": 19, "name": "dog"}, {"id": 3, "name": "dish_(bowl)"}]
    names += [{"id": 4, "name": "dish_(plate)"}]
    rows = [annotation(1), annotation(2, category_id=19), annotation(3, category_id=3)]
    root = write(tmp_path, [*rows, annotation(4, category_id=4)], categories=names)
    with pytest.warns(DataWarning, match=r"categories of several ids, read as one: 1 \(dog: ids 18, 19\)"):
        dogs, dishes = open_captions(root, "coco", "val2017").captions
    assert (dogs.text, dishes.text) == ("dog", "dish")
    assert [len(caption.phrases[0].boxes) for caption in (dogs, dishes)] == [2, 2]


def test_boxes_are_held_against_the_picture_itself(tmp_path) -> None:
    """Its file said 1920x1080 and was believed; what was written so could not be read again."""
    image = {"file_name": "000000000007.jpg", "width": 90, "height": 60}
    rows = [annotation(1, bbox=[0, 0, 5000, 5000]), annotation(2, category_id=3, bbox=[70, 50, 9, 9])]
    root = write(tmp_path, rows, image=image)
    with pytest.warns(DataWarning) as told:
        (sample,) = open_dataset(root, "coco", "val2017").samples
    lost, resized, cut = (str(warning.message) for warning in told)
    assert sample.box == (0, 0, 60, 40)
    assert "annotation 2: box (70.0, 50.0, 79.0, 59.0) lies outside its image of 60x40" in lost
    assert "not of the size their annotations declare" in resized
    assert "1 (000000000007.jpg: 90x60 declared, 60x40 is its size)" in resized
    assert "cut at the edge of their picture: 1 (annotation 1: (0, 0, 5000, 5000) in 60x40 pixels)" in cut
