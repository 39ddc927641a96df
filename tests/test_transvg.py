"""TransVG's index files: the real ones where they are, both of torch's layouts, and what must not be run."""

import gzip
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from groundling.data import DataError, DataWarning, available, open_dataset, transvg

SHARED = Path(__file__).parents[2] / "shared" / "data" / "refer_val"
NAME = "COCO_train2014_000000000716.jpg"
PARSE = [("r1", ["man"])]
UNC = [(NAME, "225429.pth", [407.6, 133.24, 226.67, 190.33], "man on right", PARSE)]
REFERIT = [("9739.jpg", "9739_7.pth", [322, 303, 359, 372], "right black bag", PARSE)]
FLICKR = [("100652400.jpg", np.array([53, 45, 110, 203], np.float32), "man")]


def save(root: Path, dataset: str, split: str, rows: object, new: bool = False) -> Path:
    """The file as torch wrote it when the index files were published, or as it does now."""
    file = root / "data" / dataset / f"{dataset}_{split}.pth"
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(rows, file, _use_new_zipfile_serialization=new)
    return file


@pytest.mark.parametrize("new", [False, True], ids=["legacy", "zip"])
@pytest.mark.parametrize(
    ("dataset", "rows", "box", "expression"),
    [
        ("unc", UNC, (407.6, 133.24, 407.6 + 226.67, 133.24 + 190.33), "man on right"),
        ("gref_umd", UNC, (407.6, 133.24, 407.6 + 226.67, 133.24 + 190.33), "man on right"),
        ("referit", REFERIT, (322, 303, 359, 372), "right black bag"),
        ("flickr", FLICKR, (53, 45, 110, 203), "man"),
    ],
)
def test_rows_of_each_dataset(tmp_path, new, dataset, rows, box, expression):
    save(tmp_path, dataset, "val", rows, new)
    read = transvg.read(tmp_path, dataset, "val", need_images=False)
    (sample,) = read.samples
    assert (read.name, read.split, dict(read.things)) == (dataset, "val", {})
    assert (sample.id, sample.expression, sample.image.name) == (f"{dataset}_val-0", expression, rows[0][0])
    assert sample.box == pytest.approx(box)
    assert all(type(value) is float for value in sample.box)


@pytest.mark.parametrize("kind", [np.float64, np.int64, np.int32, ">f4"])
def test_boxes_of_any_number_type_and_byte_order(tmp_path, kind):
    save(tmp_path, "flickr", "val", [("1.jpg", np.array([53, 45, 110, 203], kind), "man")])
    (sample,) = transvg.read(tmp_path, "flickr", "val", need_images=False).samples
    assert sample.box == (53, 45, 110, 203)


def test_images_are_found_where_transvg_keeps_them_or_where_told(tmp_path):
    save(tmp_path, "unc", "val", UNC)
    with pytest.raises(FileNotFoundError, match=f"{NAME}; looked in .*ln_data/other/images/mscoco"):
        open_dataset(tmp_path, "unc", "val")
    for folder in ("ln_data/other/images/mscoco/images/train2014", "images", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
        Image.new("RGB", (640, 424)).save(tmp_path / folder / NAME)
    official, told = (
        transvg.read(tmp_path, "unc", "val"),
        transvg.read(tmp_path, "unc", "val", tmp_path / "elsewhere"),
    )
    assert official.samples[0].image.parent.name == "train2014"
    assert told.samples[0].image == tmp_path / "elsewhere" / NAME


def test_trainval_is_both_where_it_has_no_file(tmp_path):
    for split in ("train", "val"):
        save(tmp_path, "unc", split, UNC)
    both = transvg.read(tmp_path, "unc", "trainval", need_images=False)
    assert [sample.id for sample in both.samples] == ["unc_train-0", "unc_val-0"]
    save(tmp_path, "unc", "trainval", UNC)
    own = transvg.read(tmp_path, "unc", "trainval", need_images=False)
    assert [sample.id for sample in own.samples] == ["unc_trainval-0"]


def test_unknown_names_are_answered_with_those_that_exist(tmp_path):
    save(tmp_path, "unc+", "testA", UNC)
    save(tmp_path, "unc+", "val", UNC)
    with pytest.raises(ValueError, match=r"no split 'dev'; it has testA, val"):
        open_dataset(tmp_path, "unc+", "dev")
    with pytest.raises(ValueError, match=r"no split 'trainval'; it has testA, val"):
        open_dataset(tmp_path, "unc+", "trainval")
    with pytest.raises(FileNotFoundError, match="data/flickr"):
        open_dataset(tmp_path, "flickr", "val")
    with pytest.raises(ValueError, match=r"there are unc, unc\+, gref, gref_umd, referit, flickr"):
        transvg.read(tmp_path, "coco", "val")
    assert available(tmp_path) == ["unc+"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((NAME, [1, 2, 3, 4], "man"), "has 3 fields; unc has 5"),
        ((NAME, "x", [1, 2, 0, 4], "man", []), "has no area"),
        ((NAME, "x", [1, 2, 3], "man", []), "is not four numbers"),
        ((NAME, "x", None, "man", []), "is not four numbers"),
        ((NAME, "x", [1, 2, 3, float("inf")], "man", []), "is not finite"),
        ((NAME, "x", [1, 2, 3, 4], "", []), "the expression has no words"),
        ((NAME, "x", [1, 2, 3, 4], 5, []), "should be text"),
        (("../" + NAME, "x", [1, 2, 3, 4], "man", []), "leads out of the image folder"),
        ((), "has 0 fields"),
    ],
)
def test_a_bad_row_is_left_out_and_named(tmp_path, row, reason):
    save(tmp_path, "unc", "val", [*UNC, row])
    with pytest.warns(DataWarning, match=rf"1 of 2 rows left out\. row 1 of unc_val\.pth: .*{reason}"):
        assert len(transvg.read(tmp_path, "unc", "val", need_images=False)) == 1
    save(tmp_path, "unc", "val", [row])
    with pytest.raises(DataError, match="none of 1 rows can be used"):
        transvg.read(tmp_path, "unc", "val", need_images=False)


class Opens:
    """Pickles to a call that creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("new", [False, True], ids=["legacy", "zip"])
def test_a_pickle_that_calls_something_is_refused_and_nothing_runs(tmp_path, new):
    save(tmp_path, "unc", "val", [*UNC, Opens(tmp_path / "ran")], new)
    with pytest.raises(DataError, match=r"unc_val\.pth: the pickle asks for \w*io\.open, which"):
        transvg.read(tmp_path, "unc", "val", need_images=False)
    assert not (tmp_path / "ran").exists()


def test_tensors_and_other_arrays_are_refused(tmp_path):
    for value in (torch.zeros(4), np.zeros((2, 2)), np.array(["a"]), np.array([None] * 4)):
        for new in (False, True):
            file = save(tmp_path, "flickr", "val", [("1.jpg", value, "man")], new)
            with pytest.raises(DataError, match=r"flickr_val\.pth: "):
                transvg.load_rows(file)


def test_damaged_files_name_themselves(tmp_path):
    for new in (False, True):
        whole = save(tmp_path, "unc", "val", UNC * 50, new).read_bytes()
        for cut in range(0, len(whole) - 20, max(1, len(whole) // 60)):
            (tmp_path / "cut.pth").write_bytes(whole[:cut])
            with pytest.raises(DataError, match=r"cut\.pth: not a "):
                transvg.load_rows(tmp_path / "cut.pth")
    for rows in ({"a": 1}, [1, 2], "rows"):
        with pytest.raises(DataError, match="not a list of rows"):
            transvg.load_rows(save(tmp_path, "unc", "val", rows))


def test_a_zip_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("groundling.data.pickles.MAX_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps("a" * 100_000))
    with pytest.raises(DataError, match=r"bomb\.pth: unpacks to 100,\d+ bytes; too large"):
        transvg.load_rows(tmp_path / "bomb.pth")


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data/refer_val is not here")
@pytest.mark.parametrize(
    ("dataset", "published", "rows"),
    [("unc", "refcoco", 10_834), ("referit", "referit", 5_842), ("flickr", "flickr30k_entities", 14_433)],
)
def test_the_published_files_say_what_the_json_lines_say(tmp_path, dataset, published, rows):
    """Expressions and boxes against the same split in another format."""
    file = tmp_path / "data" / dataset / f"{dataset}_val.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(gzip.decompress((SHARED / "transvg_pth" / f"{dataset}_val.pth.gz").read_bytes()))
    samples = transvg.read(tmp_path, dataset, "val", need_images=False).samples
    with gzip.open(SHARED / "jsonl" / f"{published}_val.jsonl.gz", "rt") as lines:
        expected = [json.loads(line) for line in lines]
    assert len(samples) == len(expected) == rows
    for sample, row in zip(samples, expected, strict=True):
        x, y, w, h = row["bbox"]
        assert (sample.image.name, sample.expression) == (row["image"], row["expression"])
        assert sample.box == pytest.approx((x, y, x + w, y + h), abs=1e-3)
