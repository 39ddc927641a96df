"""The REFER layout: the official rules, hostile pickles, bad rows, and the real instances files of COCO."""

import gzip
import json
import os
import pickle
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from groundling.data import (
    DataError,
    Dataset,
    DataWarning,
    Thing,
    available,
    open_dataset,
    pickles,
    refer,
    street,
)
from groundling.pictures.images import open_image

SHARED = Path(__file__).parents[2] / "shared" / "data"
IMAGES = "images/mscoco/images/train2014"


def a_ref(ref_id: int, split: str, **changes) -> dict:
    """A ref as refs(unc).p has it: of annotation 100 + ref_id in image 7, with two sentences."""
    sentences = [
        {"sent_id": 10 * ref_id + k, "raw": f"{words}!", "sent": words, "tokens": words.split()}
        for k, words in enumerate(("left dog", "brown dog"))
    ]
    ref = {"ref_id": ref_id, "ann_id": 100 + ref_id, "category_id": 18, "image_id": 7, "split": split}
    ref |= {"file_name": f"COCO_train2014_000000000007_{ref_id}.jpg", "sentences": sentences, "sent_ids": []}
    return ref | changes


def an_annotation(ref_id: int, **changes) -> dict:
    return {"id": 100 + ref_id, "image_id": 7, "category_id": 18, "bbox": [10 * ref_id, 5, 8, 20]} | changes


def write(
    root: Path, refs: list, annotations: list, folder="refcoco", by="unc", images=IMAGES, **instances
) -> Path:
    """A dataset folder with one image, id 7, of 100x50 pixels."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / f"refs({by}).p").write_bytes(pickle.dumps(refs, protocol=2))
    content = {
        "images": [{"id": 7, "file_name": "COCO_train2014_000000000007.jpg", "width": 100, "height": 50}],
        "annotations": annotations,
        "categories": [{"id": 18, "name": "dog", "supercategory": "animal"}],
    }
    (root / folder / "instances.json").write_text(json.dumps(content | instances))
    (root / images).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (100, 50)).save(root / images / "COCO_train2014_000000000007.jpg")
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    splits = ("train", "val", "testA", "testB")
    return write(
        tmp_path, [a_ref(i, split) for i, split in enumerate(splits)], [an_annotation(i) for i in range(4)]
    )


def test_every_sentence_of_a_ref_is_a_sample(root):
    dataset = refer.read(root, "refcoco", "val")
    assert (dataset.name, dataset.split, len(dataset)) == ("refcoco(unc)", "val", 2)
    first, second = dataset.samples
    assert first.image == root / IMAGES / "COCO_train2014_000000000007.jpg"
    assert (first.expression, second.expression) == ("left dog", "brown dog")
    assert first.box == second.box == (10, 5, 18, 25)
    assert (first.id, second.id, first.category) == ("1-10", "1-11", "dog")


def test_things_are_all_objects_of_the_split_s_images(root):
    crowd = an_annotation(5, iscrowd=1)
    elsewhere = an_annotation(6, image_id=8)
    red = an_annotation(4, attributes=["red", "small"])
    write(root, [a_ref(0, "val")], [*map(an_annotation, range(4)), red, crowd, elsewhere])
    ((image, things),) = refer.read(root, "refcoco", "val").things.items()
    assert image.name == "COCO_train2014_000000000007.jpg"
    assert [thing.box[0] for thing in things] == [0, 10, 20, 30, 40]
    assert things[4] == Thing("dog", (40, 5, 48, 25), ("red", "small"))


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", [0]),
        ("val", [1]),
        ("testA", [2, 4]),
        ("testB", [3, 4, 5]),
        ("testC", [5, 6]),
        ("testAB", [4]),
        ("testBC", [5]),
        ("test", [2, 3, 4, 5, 6]),
    ],
)
def test_refclef_combines_its_test_sets_by_the_official_rules(tmp_path, split, expected):
    marks = ("train", "val", "testA", "testB", "testAB", "testBC", "testC")
    refs = [a_ref(i, mark) for i, mark in enumerate(marks)]
    write(tmp_path, refs, [an_annotation(i) for i in range(7)], "refclef", "berkeley", "images/saiapr_tc-12")
    samples = refer.read(tmp_path, "refclef", split).samples
    assert [int(sample.id.split("-")[0]) for sample in samples[::2]] == expected


@pytest.mark.parametrize("images", [IMAGES, "images"])
def test_images_are_found_in_either_place(tmp_path, images):
    write(tmp_path, [a_ref(0, "val")], [an_annotation(0)], images=images)
    (tmp_path / IMAGES).mkdir(parents=True, exist_ok=True)  # an empty official folder does not hide the other
    assert all(sample.image.is_file() for sample in refer.read(tmp_path, "refcoco", "val").samples)


def test_no_image_folder_says_where_it_looked(root):
    shutil.rmtree(root / "images")
    with pytest.raises(FileNotFoundError, match=r"COCO_train2014_000000000007\.jpg; looked in .*train2014"):
        refer.read(root, "refcoco", "val")
    assert len(refer.read(root, "refcoco", "val", need_images=False)) == 2


def test_who_made_the_split(root):
    write(root, [a_ref(9, "train")], [an_annotation(0), an_annotation(9)], by="google")
    with pytest.raises(ValueError, match=r"no split 'val'; it has train"):
        refer.read(root, "refcoco", "val", by="google")
    with pytest.raises(ValueError, match=r"no refs\(umd\)\.p; it has the splits by unc, google"):
        refer.read(root, "refcoco", "val", by="umd")
    assert open_dataset(root, "refcoco(google)", "train").name == "refcoco(google)"
    assert open_dataset(root, "refcoco", "train").name == "refcoco(unc)"
    write(root, [a_ref(9, "val")], [an_annotation(9)], "refcocog", "google")
    assert refer.read(root, "refcocog", "val").name == "refcocog(google)"  # the one that is there


def test_unknown_names_are_answered_with_those_that_exist(root):
    with pytest.raises(ValueError, match=r"no split 'dev'; it has testA, testB, train, val"):
        open_dataset(root, "refcoco", "dev")
    with pytest.raises(ValueError, match=r"no dataset 'refcoco\+' in .*; it has refcoco$"):
        open_dataset(root, "refcoco+", "val")
    with pytest.raises(ValueError, match=r"unknown dataset 'cocoa'; .* has refcoco$"):
        open_dataset(root, "cocoa", "val")
    with pytest.raises(ValueError, match=r"no coco in this folder; .* has refcoco$"):
        open_dataset(root, "coco", "val")
    with pytest.raises(FileNotFoundError, match="dataset folder not found"):
        open_dataset(root / "nowhere", "refcoco", "val")
    assert available(root) == ["refcoco"]


# --- rows ---


@pytest.mark.parametrize(
    ("ref", "annotation", "reason"),
    [
        ({"ann_id": 999}, {}, "annotation 999 has no entry"),
        ({"image_id": 99}, {}, "annotation 101 is of another image, 7"),
        ({}, {"bbox": [5, 5, 0, 9]}, "has no area"),
        ({}, {"bbox": [5, 5, 9, -1]}, "has no area"),
        ({}, {"bbox": [100, 5, 9, 9]}, "lies outside its image of 100x50 pixels"),
        ({}, {"bbox": [5, -20, 9, 9]}, "lies outside"),
        ({}, {"bbox": [5, float("nan"), 9, 9]}, "is not finite"),
        ({}, {"bbox": [5, 5, 9]}, "is not four numbers"),
        ({}, {"bbox": "5555"}, "is not four numbers"),
        ({}, {"bbox": [10**400, 5, 9, 9]}, "too large"),
        ({"sentences": [{"sent_id": 1, "sent": " "}]}, {}, "the expression has no words"),
        ({"sentences": [{"sent_id": 1}]}, {}, "has no 'sent'"),
        ({"sentences": ["left dog"]}, {}, "ref 1 sentence 0"),
        ({"ann_id": [1]}, {}, "ref 1 sentence 0"),
    ],
)
def test_a_bad_row_is_left_out_and_named(tmp_path, ref, annotation, reason):
    refs = [a_ref(0, "val"), a_ref(1, "val", **ref)]
    write(tmp_path, refs, [an_annotation(0), an_annotation(1, **annotation)])
    with pytest.warns(DataWarning) as warned:
        dataset = refer.read(tmp_path, "refcoco", "val")
    assert {sample.id.split("-")[0] for sample in dataset.samples} == {"0"}
    rows = str(warned[0].message)
    assert reason in rows
    assert re.search(r"refs\(unc\)\.p: [12] of [34] rows left out. ref 1 sentence 0: ", rows)


def test_rows_that_share_an_id_and_differ_are_no_truth(tmp_path):
    """An expression got the box of the last of them."""
    rows = [an_annotation(0), an_annotation(0, bbox=[1, 1, 5, 5]), an_annotation(1), an_annotation(1)]
    root = write(tmp_path, [a_ref(0, "val"), a_ref(1, "val")], rows)
    with pytest.warns(DataWarning, match="annotation 100 has two entries that differ"):
        found = refer.read(root, "refcoco", "val")
    assert {sample.id for sample in found.samples} == {"1-10", "1-11"}
    assert found.left_out == 2


def test_ids_that_are_no_numbers_are_said_shortly(tmp_path):
    """Half a page of nested lists took a minute to print."""
    deep: list = []
    for _ in range(40):
        deep = [deep, deep]
    odd = a_ref(1, "val") | {"ref_id": deep}
    root = write(tmp_path, [a_ref(0, "val"), odd], [an_annotation(0), an_annotation(1)])
    with pytest.warns(DataWarning, match="ref_id is .*; it should be a number"):
        assert len(refer.read(root, "refcoco", "val").samples) == 2


def test_an_annotation_of_a_list_of_images_is_left_out(tmp_path):
    rows = [an_annotation(0), an_annotation(1, image_id=[7])]
    with pytest.warns(DataWarning, match=r"annotation 101: image_id is \[7\]"):
        found = refer.read(write(tmp_path, [a_ref(0, "val")], rows), "refcoco", "val")
    assert len(found.samples) == 2


def test_many_bad_rows_are_counted_and_the_first_three_named(tmp_path):
    write(tmp_path, [a_ref(i, "val") for i in range(50)], [an_annotation(0)])
    with pytest.warns(DataWarning, match=r"98 of 100 rows left out\. (ref \d+ sentence \d: [^;]+; ){3}…"):
        refer.read(tmp_path, "refcoco", "val")


def test_only_bad_rows_are_an_error(tmp_path):
    write(tmp_path, [a_ref(i, "val") for i in range(3)], [])
    with pytest.raises(
        DataError, match=r"none of 6 rows can be used\. ref 0 sentence 0: annotation 100 has no"
    ):
        refer.read(tmp_path, "refcoco", "val")


def test_a_box_over_the_border_is_cut_and_counted(tmp_path):
    write(tmp_path, [a_ref(0, "val")], [an_annotation(0, bbox=[90.5, 40, 10.5, 11])])
    with pytest.warns(DataWarning, match=r"boxes cut at the edge of their picture: 1 \(annotation 100"):
        found = refer.read(tmp_path, "refcoco", "val")
    assert found.samples[0].box == (90.5, 40, 100, 50)


def test_an_image_without_entry_goes_by_the_ref_s_file_name_less_its_ending(tmp_path):
    write(tmp_path, [a_ref(0, "val")], [an_annotation(0)], images=IMAGES)
    path = tmp_path / "refcoco" / "instances.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"images": []}))
    assert refer.read(tmp_path, "refcoco", "val").samples[0].image.name == "COCO_train2014_000000000007.jpg"


def test_missing_image_files_and_names_that_lead_out_are_bad_rows(tmp_path):
    images = [{"id": 7, "file_name": "COCO_train2014_000000000007.jpg"}, {"id": 8, "file_name": "gone.jpg"}]
    images.append({"id": 9, "file_name": "../../../../../etc/passwd"})
    refs = [a_ref(i, "val", image_id=7 + i) for i in range(3)]
    root = write(tmp_path, refs, [an_annotation(i, image_id=7 + i) for i in range(3)])
    path = root / "refcoco" / "instances.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"images": images}))
    with pytest.warns(
        DataWarning, match=r"4 of 6 rows left out.*gone\.jpg is not in .*leads out of the image"
    ):
        assert len(refer.read(root, "refcoco", "val")) == 2


# --- files ---


class Shell:
    """Pickles to a call of os.system that leaves a file behind."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_pickle_that_calls_something_is_refused_and_nothing_runs(root):
    mark = root / "ran"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        bomb = pickle.dumps([a_ref(0, "val"), Shell(f"touch {mark}")], protocol=protocol)
        (root / "refcoco" / "refs(unc).p").write_bytes(bomb)
        with pytest.raises(DataError, match=r"refs\(unc\)\.p: the pickle asks for posix\.system, which"):
            refer.read(root, "refcoco", "val")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("code", "asks_for"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"(S'1'\nibuiltins\nexec\n.", "builtins.exec"),
        (b"c_codecs\nlookup\n(S'latin1'\ntR.", "_codecs.lookup"),
        (b"c_codecs\nencode\n(Vab\nVidna\ntR.", "the encoding 'idna'"),
        (b"cnumpy.core.multiarray\nscalar\n.", "numpy.core.multiarray.scalar"),
        (b"\x80\x04\x8c\x05numpy\x8c\x09f2py.main\x93.", "numpy.f2py.main"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n.", "torch._utils._rebuild_tensor_v2"),
    ],
)
def test_other_ways_to_name_a_callable_are_refused(code, asks_for):
    with pytest.raises(DataError, match=re.escape(asks_for)):
        pickles.load(code, Path("x.p"))


def test_a_pickle_cannot_change_the_stand_ins():
    """BUILD sets attributes on what lies on the stack; on a plain function it could replace its defaults."""
    for name in (b"c_codecs\nencode\n", b"cnumpy\nndarray\n", b"cnumpy.core.multiarray\n_reconstruct\n"):
        with pytest.raises(DataError, match="damaged"):
            pickles.load(name + b"(N(dS'__doc__'\nS'x'\nstb.", Path("x.p"))


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80", b"not a pickle", b"]", b"\x80\x02]q\x00", b"\x80\x04\x8e" + b"\xff" * 8, b"(" * 10],
)
def test_a_damaged_pickle_names_the_file(data):
    with pytest.raises(DataError, match=r"^x\.p: not a pickle of annotations, or damaged"):
        pickles.load(data, Path("x.p"))


def test_a_huge_memo_index_takes_no_memory():
    """Nine bytes that make the C unpickler reserve 64 GB."""
    assert pickles.load(b"\x80\x02]r\xff\xff\xff\xff.", Path("x.p")) == [[]]


def test_bytes_in_a_python_2_pickle_are_text_and_those_of_python_3_come_back():
    assert pickles.load(b"(lp0\nS'caf\\xe9'\np1\na.", Path("x.p")) == [["café"]]
    assert pickles.load(pickle.dumps([b"caf\xe9"], protocol=2), Path("x.p")) == [[b"caf\xe9"]]


def test_files_over_the_limit_are_not_read(tmp_path):
    (tmp_path / "x.p").write_bytes(b"12345")
    assert pickles.read_bytes(tmp_path / "x.p", max_bytes=5) == b"12345"
    with pytest.raises(DataError, match="5 bytes; annotation files larger than 4 are refused"):
        pickles.read_bytes(tmp_path / "x.p", max_bytes=4)


@pytest.mark.parametrize("refs", [{}, 5, [1], [{"split": "val"}], [{"split": 3, "sentences": []}], ["val"]])
def test_a_pickle_of_something_else(root, refs):
    (root / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(refs))
    with pytest.raises(DataError, match="not a list of refs"):
        refer.read(root, "refcoco", "val")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"images": [1]}', '{"images": 3}', "[" * 100_000, "\xff"]
)
def test_a_bad_instances_file(root, text):
    (root / "refcoco" / "instances.json").write_bytes(text.encode("latin1"))
    with pytest.raises(DataError, match=r"instances\.json: not a "):
        refer.read(root, "refcoco", "val")


def test_missing_files(root):
    (root / "refcoco" / "instances.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"instances\.json"):
        refer.read(root, "refcoco", "val")
    (root / "refcoco" / "refs(unc).p").unlink()
    with pytest.raises(FileNotFoundError, match=r"expected refs\(unc\)\.p"):
        refer.read(root, "refcoco", "val")


def test_a_dataset_is_a_value_and_travels_to_workers(root):
    dataset = refer.read(root, "refcoco", "val")
    copy: Dataset = pickle.loads(pickle.dumps(dataset))
    assert copy == dataset


# --- street scenes ---


def test_street_scenes_read_back(tmp_path):
    """Every ref, sentence, box and attribute that the generator wrote, with its image there."""
    street.write(tmp_path, scenes=40, seed=3, size=64, splits={"val": 0.2, "testA": 0.1, "testB": 0.1})
    refs = pickle.loads((tmp_path / "refcoco" / "refs(unc).p").read_bytes())
    instances = json.loads((tmp_path / "refcoco" / "instances.json").read_text())
    annotations = {row["id"]: row for row in instances["annotations"]}
    assert available(tmp_path) == ["refcoco"]
    for split in ("train", "val", "testA", "testB"):
        dataset = open_dataset(tmp_path, "refcoco", split)
        written = [(ref, sentence) for ref in refs if ref["split"] == split for sentence in ref["sentences"]]
        assert [sample.expression for sample in dataset.samples] == [
            sentence["sent"] for _, sentence in written
        ]
        for sample, (ref, _) in zip(dataset.samples, written, strict=True):
            x, y, w, h = annotations[ref["ann_id"]]["bbox"]
            assert sample.box == (x, y, x + w, y + h)
            assert sample.box in [thing.box for thing in dataset.things[sample.image]]
            assert open_image(sample.image).size == (64, 64)
        assert any(thing.attributes for things in dataset.things.values() for thing in things)


# --- real annotations ---


@pytest.mark.skipif(not (SHARED / "tiny_coco").is_dir(), reason="../shared/data/tiny_coco is not here")
@pytest.mark.parametrize("part", ["train2017", "val2017"])
def test_the_official_instances_file_of_coco(tmp_path, part):
    """A ref for each object of 50 photos: all are read, on the official photos."""
    source = SHARED / "tiny_coco"
    (tmp_path / "refcoco").mkdir()
    (tmp_path / "images").symlink_to(source / part)
    shutil.copy(source / "annotations" / f"instances_{part}.json", tmp_path / "refcoco" / "instances.json")
    content = json.loads((tmp_path / "refcoco" / "instances.json").read_text())
    refs = [
        a_ref(i, "val", ann_id=row["id"], image_id=row["image_id"])
        for i, row in enumerate(content["annotations"])
    ]
    (tmp_path / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(refs))
    dataset = refer.read(tmp_path, "refcoco", "val")
    assert len(dataset) == 2 * len(refs)
    single = [row for row in content["annotations"] if not row["iscrowd"]]
    assert sum(map(len, dataset.things.values())) == len(single)
    x, y, w, h = single[0]["bbox"]
    assert any(thing.box == (x, y, x + w, y + h) for things in dataset.things.values() for thing in things)
    assert all(Image.open(path).size for path in dataset.things)


@pytest.mark.skipif(not (SHARED / "refer_val").is_dir(), reason="../shared/data/refer_val is not here")
@pytest.mark.parametrize(
    ("name", "folder", "by", "expressions"),
    [
        ("refcoco", "refcoco", "unc", 10_834),
        ("refcoco+", "refcoco+", "unc", 10_758),
        ("refcocog_umd", "refcocog", "umd", 4_896),
        ("referit", "refclef", "berkeley", 5_842),
    ],
)
def test_human_expressions_in_the_refer_layout(tmp_path, name, folder, by, expressions):
    """The official val splits, put back into refs and instances: every expression and box comes out again."""
    with gzip.open(SHARED / "refer_val" / "jsonl" / f"{name}_val.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    ids = {image: i for i, image in enumerate({row["image"] for row in rows})}
    refs = [
        a_ref(
            i,
            "val",
            ann_id=100 + i,
            image_id=ids[row["image"]],
            sentences=[{"sent_id": i, "sent": row["expression"]}],
        )
        for i, row in enumerate(rows)
    ]
    annotations = [
        an_annotation(i, image_id=ids[row["image"]], bbox=row["bbox"]) for i, row in enumerate(rows)
    ]
    write(tmp_path, refs, annotations, folder, by)
    path = tmp_path / folder / "instances.json"
    images = [{"id": i, "file_name": image} for image, i in ids.items()]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"images": images}))
    dataset = refer.read(tmp_path, folder, "val", need_images=False)
    assert len(dataset) == expressions
    for sample, row in zip(dataset.samples, rows, strict=True):
        x, y, w, h = row["bbox"]
        assert (sample.image.name, sample.expression) == (row["image"], row["expression"])
        assert sample.box == (x, y, x + w, y + h)


@pytest.mark.parametrize("kind", [str, float])
def test_ids_of_any_kind_are_ids(tmp_path, kind):
    """Refs have numbers, and some copies of instances.json texts."""
    root = write(tmp_path, [a_ref(0, "val")], [an_annotation(0), an_annotation(1)])
    plain = refer.read(root, "refcoco", "val")
    file = root / "refcoco" / "instances.json"
    content = json.loads(file.read_text())
    for name in ("images", "annotations", "categories"):
        content[name] = [
            row | {key: kind(row[key]) for key in ("id", "image_id", "category_id") if key in row}
            for row in content[name]
        ]
    for annotations in (content["annotations"], {row["id"]: row for row in content["annotations"]}):
        file.write_text(json.dumps(content | {"annotations": annotations}))
        found = refer.read(root, "refcoco", "val")
        assert (found.samples, found.things) == (plain.samples, plain.things)


def test_boxes_are_held_against_the_picture_itself(tmp_path):
    """instances.json said 1920x1080 of a picture of 100x50, and was believed."""
    root = write(tmp_path, [a_ref(0, "val")], [an_annotation(0, bbox=[10, 5, 800, 20])])
    file = root / "refcoco" / "instances.json"
    content = json.loads(file.read_text())
    content["images"][0] |= {"width": 1920, "height": 1080}
    file.write_text(json.dumps(content))
    with pytest.warns(DataWarning) as told:
        found = refer.read(root, "refcoco", "val")
    assert [sample.box for sample in found.samples] == [(10, 5, 100, 25)] * 2
    resized, cut = (str(warning.message) for warning in told)
    assert "1920x1080 declared, 100x50 is its size" in resized
    assert "cut at the edge of their picture: 1 (annotation 100" in cut
