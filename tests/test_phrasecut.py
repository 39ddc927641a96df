"""PhraseCut: a phrase, all boxes it means, and every polygon of each."""

import json
from pathlib import Path

import pytest
from PIL import Image

from groundling.data import Caption, DataError, DataWarning, Phrase, available, open_captions, open_dataset

LEFT = [[[1, 2], [11, 2], [11, 12]], [[3, 20], [6, 20], [6, 30], [3, 30]]]
RIGHT = [[[40, 5], [50.5, 5], [50.5, 25]]]


def task(**changes) -> dict:
    structure = {"name": "dogs", "attributes": ["small"], "relation_descriptions": [], "type": "attribute"}
    row = {"task_id": "77__0", "image_id": 77, "ann_ids": [1, 2], "phrase": "small dogs"}
    row |= {"phrase_structure": structure, "instance_boxes": [[1, 2, 10, 28], [40, 5, 10.5, 20]]}
    return row | {"Polygons": [LEFT, RIGHT]} | changes


def write(root: Path, *tasks: object) -> Path:
    (root / "images").mkdir(exist_ok=True)
    Image.new("RGB", (60, 40)).save(root / "images" / "77.jpg")
    (root / "refer_val.json").write_text(json.dumps(tasks))
    (root / "image_data_split.json").write_text(json.dumps([{"image_id": 77, "width": 60, "height": 40}]))
    return root


def test_all_boxes_and_all_polygons(tmp_path) -> None:
    """An instance in two pieces has both: MDETR's converter kept the last."""
    root = write(tmp_path, task())
    masks = (
        ((1, 2, 11, 2, 11, 12), (3, 20, 6, 20, 6, 30, 3, 30)),
        ((40, 5, 50.5, 5, 50.5, 25),),
    )
    phrase = Phrase(((0, 10),), ((1, 2, 11, 30), (40, 5, 50.5, 25)), masks, "dogs")
    image, subsets = root / "images" / "77.jpg", ("p_att", "p_att+")
    expected = Caption("77__0", image, "small dogs", (phrase,), referring=True, subsets=subsets)
    assert open_captions(root, "phrasecut", "val").captions == (expected,)
    assert available(root) == ["phrasecut"]


def test_a_phrase_of_one_instance_is_an_expression(tmp_path) -> None:
    one = task(task_id="77__1", instance_boxes=[[1, 2, 10, 28]], Polygons=[LEFT])
    (sample,) = open_dataset(write(tmp_path, task(), one), "phrasecut", "val").samples
    assert (sample.id, sample.expression, sample.box) == ("77__1", "small dogs", (1, 2, 11, 30))
    with pytest.raises(DataError, match="no phrase of phrasecut val means exactly one box"):
        open_dataset(write(tmp_path, task()), "phrasecut", "val")


@pytest.mark.parametrize(
    ("structure", "subsets"),
    [
        (None, ()),
        ({"name": "dogs"}, ()),
        ({"attributes": [], "relation_descriptions": [], "type": "name"}, ("p_name",)),
        ({"attributes": ["a", "b"], "type": "verbose"}, ("p_att", "p_attm", "p_verbose")),
        ({"relation_descriptions": [["on", "mat"]], "type": "relation"}, ("p_rel", "p_rel+")),
        (
            {"attributes": ["a"], "relation_descriptions": [["on", "mat"], ["by", "cat"]], "type": "odd"},
            ("p_att", "p_rel", "p_relm", "p_att_rel"),
        ),
    ],
)
def test_subsets_of_a_structure(tmp_path, structure, subsets) -> None:
    (caption,) = open_captions(write(tmp_path, task(phrase_structure=structure)), "phrasecut", "val").captions
    assert caption.subsets == subsets


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"instance_boxes": []}, "instance_boxes is empty"),
        ({"instance_boxes": [[1, 2, 0, 28], [40, 5, 10, 20]]}, "has no area"),
        ({"instance_boxes": [[1, 2, 10], [40, 5, 10, 20]]}, "is not four numbers"),
        ({"instance_boxes": [[61, 2, 10, 9], [40, 5, 10, 20]]}, "lies outside its image of 60x40"),
        ({"image_id": 78}, "image 78 has no entry in image_data_split.json"),
        ({"phrase_structure": {"attributes": "red"}}, "attributes is 'red'; it should be a list"),
        ({"phrase": ""}, r"span \(0, 0\) has no characters"),
        ({"phrase": " "}, "the caption has no words"),
        ({"task_id": None}, "task_id is None"),
    ],
)
def test_bad_rows_are_left_out(tmp_path, changes, reason) -> None:
    with pytest.warns(DataWarning, match=rf"1 of 2 rows left out\. row 1: .*{reason}"):
        captions = open_captions(write(tmp_path, task(), task(**changes)), "phrasecut", "val")
    assert (len(captions), captions.left_out) == (1, 1)


def test_files_and_images_that_are_missing(tmp_path) -> None:
    write(tmp_path, task())
    with pytest.raises(ValueError, match="no split 'miniv'; it has val"):
        open_captions(tmp_path, "phrasecut", "miniv")
    (tmp_path / "images" / "77.jpg").unlink()
    with pytest.raises(DataError, match=r"none of 1 rows .*image 77\.jpg is not in"):
        open_captions(tmp_path, "phrasecut", "val")
    assert len(open_captions(tmp_path, "phrasecut", "val", need_images=False)) == 1
    (tmp_path / "images").rmdir()
    with pytest.raises(FileNotFoundError, match=r"found no folder of images; looked for .*VG_100K"):
        open_captions(tmp_path, "phrasecut", "val")
    (tmp_path / "image_data_split.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"image_data_split\.json"):
        open_captions(tmp_path, "phrasecut", "val", need_images=False)


@pytest.mark.parametrize(
    ("polygons", "reason"),
    [
        ([LEFT], "Polygons is not a list of as many instances as boxes"),
        ([LEFT, []], "an instance has no polygon that can be used"),
        ([LEFT, [[[1, 1], [2, 2]]]], "a polygon of 4 numbers"),
        ([LEFT, [[[1, 1, 1]]]], "a polygon is not a list of numbers"),
        ([LEFT, 5], "a mask is neither a list of polygons nor run lengths"),
        ([LEFT, [[["1", "1"]] * 3]], "a polygon is not a list of numbers"),
        (None, "Polygons is not a list"),
    ],
)
def test_a_bad_mask_never_costs_its_boxes(tmp_path, polygons, reason) -> None:
    with pytest.warns(DataWarning, match=rf"masks left out, their boxes kept: 1 \(task 77__0: {reason}"):
        captions = open_captions(write(tmp_path, task(Polygons=polygons)), "phrasecut", "val")
    (phrase,) = captions.captions[0].phrases
    assert (len(phrase.boxes), phrase.masks, captions.left_out) == (2, (), 0)
