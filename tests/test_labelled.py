"""CSV, YOLO and Pascal VOC: three ways to write the same objects down."""

import json
from pathlib import Path

import pytest
from PIL import Image
from small import Shell

from groundling.data import (
    DataError,
    Dataset,
    DataWarning,
    Thing,
    available,
    jsonl,
    open_captions,
    open_dataset,
)

SHARED = Path(__file__).parents[2] / "shared" / "data" / "raccoon"
WIDE, HIGH = 60, 40
# An image with a dog and two cats, one with a dog, one with nothing.
OBJECTS = {
    "a.jpg": [("dog", (10, 5, 18, 25)), ("cat", (0, 0, 30, 40)), ("cat", (30, 10, 60, 20))],
    "b.jpg": [("dog", (6, 8, 12, 16))],
    "c.jpg": [],
}


def images(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in OBJECTS:
        Image.new("RGB", (WIDE, HIGH)).save(folder / name)


def csv(root: Path, delimiter: str = ",") -> tuple[Path, str]:
    images(root / "images")
    lines = [["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"]]
    for name, objects in OBJECTS.items():
        lines += [[name, WIDE, HIGH, category, *box] for category, box in objects] or [
            [name, "", "", "", *[""] * 4]
        ]
    (root / "val.csv").write_text("\n".join(delimiter.join(map(str, line)) for line in lines))
    return root, "val"


def xml(objects: list, name: str = "a.jpg", size: tuple[int, int] = (WIDE, HIGH)) -> str:
    sides = ("xmin", "ymin", "xmax", "ymax")
    rows = "".join(
        f"<object><name>{category}</name><bndbox>"
        + "".join(f"<{side}>{value}</{side}>" for side, value in zip(sides, box, strict=True))
        + "</bndbox></object>"
        for category, box in objects
    )
    width, height = size
    shape = f"<size><width>{width}</width><height>{height}</height></size>"
    return f"<annotation><filename>{name}</filename>{shape}{rows}</annotation>"


def voc(root: Path) -> tuple[Path, str]:
    images(root / "JPEGImages")
    (root / "Annotations").mkdir()
    for name, objects in OBJECTS.items():
        (root / "Annotations" / f"{Path(name).stem}.xml").write_text(xml(objects, name))
    return root, "all"


def shares(box: tuple[int, ...]) -> str:
    x1, y1, x2, y2 = box
    values = ((x1 + x2) / 2 / WIDE, (y1 + y2) / 2 / HIGH, (x2 - x1) / WIDE, (y2 - y1) / HIGH)
    return " ".join(map(repr, values))


def yolo(root: Path, split: str = "", labels: str = "labels") -> tuple[Path, str]:
    images(root / "images" / split)
    (root / labels / split).mkdir(parents=True)
    for name, objects in OBJECTS.items():
        rows = [f"{('dog', 'cat').index(category)} {shares(box)}" for category, box in objects]
        if rows:
            (root / labels / split / f"{Path(name).stem}.txt").write_text("\n".join(rows) + "\n")
    (root / "classes.txt").write_text("dog\ncat\n")
    return root, split or "all"


FORMATS = {"csv": csv, "voc": voc, "yolo": yolo}


def objects_of(dataset: Dataset) -> dict[str, list]:
    return {
        image.name: [(thing.category, pytest.approx(thing.box)) for thing in things]
        for image, things in dataset.things.items()
    }


@pytest.mark.parametrize("name", FORMATS)
def test_each_says_the_same(tmp_path, name) -> None:
    root, split = FORMATS[name](tmp_path)
    assert available(root) == [name]
    dataset = open_dataset(root, name, split)
    assert objects_of(dataset) == OBJECTS
    assert [(s.image.name, s.expression, s.category) for s in dataset.samples] == [
        ("a.jpg", "dog", "dog"),
        ("b.jpg", "dog", "dog"),
    ]
    two = open_captions(root, name, split).captions[1].phrases[0]
    assert (len(two.boxes), two.category) == (2, "cat")
    with pytest.raises(ValueError, match=r"split 'gone'; it has "):
        open_dataset(root, name, "gone")


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data/raccoon is not here")
def test_the_same_photographs_in_three_formats() -> None:
    found = [
        open_dataset(SHARED, *named).things
        for named in (("csv", "raccoon_labels"), ("voc", "all"), ("coco", "coco"))
    ]
    one, *others = (
        {image.name: sorted((t.category, t.box) for t in things) for image, things in each.items()}
        for each in found
    )
    assert (len(one), sum(map(len, one.values()))) == (200, 217)
    assert others == [one, one]


# --- CSV


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_fields_between_other_signs(tmp_path, delimiter) -> None:
    assert objects_of(open_dataset(*named(csv(tmp_path, delimiter), "csv"))) == OBJECTS


def named(made: tuple[Path, str], name: str) -> tuple[Path, str, str]:
    root, split = made
    return root, name, split


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("image,expression,x1,y1,x2,y2", "a.jpg,the left dog,10,5,18.5,25"),
        ("y2,y1,x2,x1,Expression,note,IMAGE", "25,5,18.5,10,the left dog,?,a.jpg"),
        ("image;expression;box", "a.jpg;the left dog;10 5 18.5 25"),
        ("image,expression,box", 'a.jpg,the left dog,"[10, 5, 18.5, 25]"'),
        ("\ufeffimage,expression,box\r", 'images\\a.jpg,the left dog,"(10,5,18.5,25)"\r'),
    ],
)
def test_expressions_in_a_table(tmp_path, header, row) -> None:
    images(tmp_path / "images")
    (tmp_path / "val.csv").write_text(f"{header}\n{row}\n", encoding="utf-8", newline="")
    for root in (tmp_path, tmp_path / "val.csv"):
        (sample,) = open_dataset(root, "csv", "val").samples
        assert (sample.expression, sample.box) == ("the left dog", (10, 5, 18.5, 25))
        assert (sample.id, sample.image.name) == ("val-2", "a.jpg")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a.jpg,the dog,10,5,18", r"val\.csv:3: box '10 5 18 ' is not four numbers"),
        ("a.jpg,the dog,10,5,5,25", r"val\.csv:3: box .* has no area"),
        ("a.jpg,the dog,70,5,90,25", r"val\.csv:3: box .* lies outside"),
        ("a.jpg,the dog,ten,5,18,25", "is not four numbers"),
        ("gone.jpg,the dog,10,5,18,25", "image gone.jpg is not in"),
        (",the dog,10,5,18,25", "names no image"),
        ("a.jpg,??,10,5,18,25", "has no words"),
    ],
)
def test_bad_rows_of_a_table_are_left_out(tmp_path, row, reason) -> None:
    images(tmp_path)
    good = "a.jpg,the dog,10,5,18,25"
    (tmp_path / "val.csv").write_text(f"image,expression,x1,y1,x2,y2\n{good}\n{row}\n")
    with pytest.warns(DataWarning, match=rf"1 of 2 rows left out\. .*{reason}"):
        assert len(open_dataset(tmp_path, "csv", "val")) == 1


def test_a_table_of_another_form_is_none(tmp_path) -> None:
    (tmp_path / "val.csv").write_text("a.jpg,1,2,3,4,dog\n")
    assert available(tmp_path) == []
    with pytest.raises(ValueError, match="no csv in this folder"):
        open_dataset(tmp_path, "csv", "val")


# --- Pascal VOC


def test_splits_of_voc_are_lists(tmp_path) -> None:
    root, _ = voc(tmp_path)
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Main" / "val.txt").write_text("b\nc\ngone\n")
    (root / "ImageSets" / "Main" / "dog_val.txt").write_text("b 1\n")
    with pytest.warns(DataWarning, match=r"1 of 3 rows left out. val.txt:3: .*gone.xml is not there"):
        dataset = open_dataset(root, "voc", "val")
    assert sorted(image.name for image in dataset.things) == ["b.jpg", "c.jpg"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<annotation>", "d.xml: .*not an XML file, or damaged"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "it has a document type"),
        ("<other/>", "it is a 'other', not an annotation"),
        (xml([], "gone.jpg"), "image gone.jpg is not in"),
        (xml([("dog", (9, 9, 5, 5))]), "d.xml object 1: box .* has no area"),
        (xml([("dog", ("nan", 0, 5, 5))]), "d.xml object 1: box .* is not finite"),
        (xml([("dog", ("", 0, 5, 5))]), "bndbox/xmin is '', not a number"),
        (xml([(" ", (1, 2, 3, 4))]), "its category is blank"),
    ],
)
def test_bad_files_of_voc_are_left_out(tmp_path, text, reason) -> None:
    root, _ = voc(tmp_path)
    (root / "Annotations" / "d.xml").write_text(text)
    with pytest.warns(DataWarning, match=rf"1 of \d rows left out\. .*{reason}"):
        assert len(open_dataset(root, "voc", "all").things) == 3


def test_a_category_that_lost_an_object_is_no_expression(tmp_path) -> None:
    root, _ = voc(tmp_path)
    rows = [("dog", (1, 2, 9, 9)), ("dog", (70, 2, 90, 9)), ("cat", (1, 2, 9, 9))]
    (root / "Annotations" / "a.xml").write_text(xml(rows))
    with pytest.warns(DataWarning, match="a.xml object 2: box .* lies outside"):
        samples = open_dataset(root, "voc", "all").samples
    assert [(s.image.name, s.expression) for s in samples] == [("a.jpg", "cat"), ("b.jpg", "dog")]


# --- YOLO


@pytest.mark.parametrize(
    "names", ["[dog, cat]", "\n  0: dog\n  1: cat", "\n- dog\n- cat", '{"0": dog, "1": cat}']
)
def test_names_of_classes_in_yaml(tmp_path, names) -> None:
    root, split = yolo(tmp_path, "val")
    (root / "classes.txt").unlink()
    (root / "data.yaml").write_text(f"train: images/train\nnames: {names}\nnc: 2\n")
    assert objects_of(open_dataset(root, "yolo", split)) == OBJECTS


def test_a_split_may_hold_images_and_labels(tmp_path) -> None:
    root, _ = yolo(tmp_path / "valid")
    (root / "classes.txt").rename(tmp_path / "classes.txt")
    assert objects_of(open_dataset(tmp_path, "yolo", "valid")) == OBJECTS


def test_an_outline_is_a_box_and_a_mask(tmp_path) -> None:
    root, split = yolo(tmp_path)
    (root / "labels" / "b.txt").write_text("1 0.1 0.2 0.5 0.2 0.5 0.9\n")
    (caption,) = (c for c in open_captions(root, "yolo", split).captions if c.image.name == "b.jpg")
    (phrase,) = caption.phrases
    assert phrase.boxes == (pytest.approx((6, 8, 30, 36)),)
    assert phrase.masks == ((pytest.approx((6, 8, 30, 8, 30, 36)),),)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("7 0.5 0.5 0.1 0.1", r"b\.txt:1: class '7' has no name"),
        ("dog 0.5 0.5 0.1 0.1", "class 'dog' has no name"),
        ("0 0.5 0.5 0.1", "has 3 numbers after its class"),
        ("0 0.5 0.5 0.1 0.1 0.9", "has 5 numbers after its class"),
        ("0 30 20 10 10", "30 is not a share of the image"),
        ("0 0.5 0.5 0 0.1", "has no area"),
        ("0 1.5 0.5 0.1 0.1", "lies outside"),
        ("0 x 0.5 0.1 0.1", "'x' is not a number"),
    ],
)
def test_bad_lines_of_yolo_are_left_out(tmp_path, line, reason) -> None:
    root, split = yolo(tmp_path)
    (root / "labels" / "b.txt").write_text(line)
    with pytest.warns(DataWarning, match=rf"1 of 4 rows left out\. .*{reason}"):
        found = open_dataset(root, "yolo", split)
    assert objects_of(found) == OBJECTS | {"b.jpg": []}


def test_labels_without_an_image_and_classes_without_names(tmp_path) -> None:
    root, split = yolo(tmp_path)
    (root / "labels" / "z.txt").write_text("0 0.5 0.5 0.1 0.1")
    with pytest.warns(DataWarning, match=r"z\.txt: .*images has no image of this name"):
        open_dataset(root, "yolo", split)
    with pytest.raises(ValueError, match="its file is needed for its size"):
        open_dataset(root, "yolo", split, need_images=False)
    (root / "classes.txt").write_text("")
    with pytest.raises(DataError, match=r"no data\.yaml or classes\.txt with the names of its classes"):
        open_dataset(root, "yolo", split)


def test_things_of_three_formats_are_those_of_coco(tmp_path) -> None:
    """What a detector learns from does not depend on how it was written down."""
    found = []
    for name, write in FORMATS.items():
        root, split = write(tmp_path / name)
        found.append(objects_of(open_dataset(root, name, split)))
    numbers = {"dog": 1, "cat": 2}
    rows = [(image, *each) for image, objects in OBJECTS.items() for each in objects]
    annotations = [
        {"id": n, "image_id": ord(image[0]), "category_id": numbers[name], "bbox": [a, b, c - a, d - b]}
        for n, (image, name, (a, b, c, d)) in enumerate(rows)
    ]
    content = {
        "images": [
            {"id": ord(name[0]), "file_name": name, "width": WIDE, "height": HIGH} for name in OBJECTS
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in numbers.items()],
    }
    images(tmp_path / "coco" / "images")
    (tmp_path / "coco" / "instances_val.json").write_text(json.dumps(content))
    found.append(objects_of(open_dataset(tmp_path / "coco", "coco", "val")))
    assert found == [{image: [(n, b) for n, b in objects] for image, objects in OBJECTS.items()}] * 4
    assert isinstance(next(iter(open_dataset(tmp_path / "coco", "coco", "val").things.values()))[0], Thing)


@pytest.mark.parametrize("name", FORMATS)
def test_each_becomes_json_lines(tmp_path, name, capsys) -> None:
    """The only split there is needs no name."""
    root, _ = FORMATS[name](tmp_path / "own")
    out = tmp_path / "out.jsonl"
    done = Shell(capsys)("data", "convert", root, out)
    assert done.out.splitlines()[0] == f"2 expressions in {out}; 1 rows and phrases left out"
    found = jsonl.read(out).samples
    assert [(s.expression, s.box) for s in found] == [("dog", (10, 5, 18, 25)), ("dog", (6, 8, 12, 16))]
