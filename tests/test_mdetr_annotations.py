"""MDETR's annotation JSON: its files of phrases, expressions and questions, read and written."""

import json
from pathlib import Path

import pytest
from PIL import Image

from groundling.data import (
    Answer,
    Caption,
    DataError,
    DataWarning,
    Phrase,
    available,
    mdetr,
    open_captions,
    open_dataset,
)
from groundling.pictures.masks import Rle

TEXT = "A man and his two dogs . He waves ."
MAN, DOGS, HE = [0, 5], [10, 22], [25, 27]


def image(**changes) -> dict:
    row = {"id": 0, "file_name": "7.jpg", "width": 60, "height": 40, "caption": TEXT, "dataset_name": "mixed"}
    return row | {"data_source": "vg", "tokens_negative": [[0, 35]]} | changes


def annotation(number: int, spans: list, bbox: object = (1, 2, 10, 20), **changes) -> dict:
    row = {"id": number, "image_id": 0, "bbox": list(bbox), "area": 200, "iscrowd": 0, "category_id": 1}
    return row | {"tokens_positive": spans} | changes


def write(root: Path, images: list, annotations: list, split="final_mixed_train", folder="VG_100K") -> Path:
    (root / folder).mkdir(exist_ok=True)
    (root / "OpenSource").mkdir(exist_ok=True)
    Image.new("RGB", (60, 40)).save(root / folder / "7.jpg")
    categories = [{"supercategory": "object", "id": 1, "name": "object"}, {"id": 2, "name": "dog"}]
    content = {"info": [], "licenses": [], "images": images, "annotations": annotations}
    (root / "OpenSource" / f"{split}.json").write_text(json.dumps(content | {"categories": categories}))
    return root


def test_annotations_of_the_same_spans_are_a_phrase(tmp_path) -> None:
    dogs = [annotation(n, [DOGS], (20 + n, 5, 8, 9), category_id=2) for n in (2, 3)]
    root = write(tmp_path, [image()], [annotation(1, [HE, MAN]), *dogs])
    (caption,) = open_captions(root, "mdetr", "final_mixed_train").captions
    phrases = (
        Phrase(((0, 5), (25, 27)), ((1, 2, 11, 22),)),
        Phrase(((10, 22),), ((22, 5, 30, 14), (23, 5, 31, 14)), category="dog"),
    )
    assert caption == Caption("0", root / "VG_100K" / "7.jpg", TEXT, phrases, negatives=((0, 35),))
    assert available(root) == ["mdetr"]


def test_flickr_says_which_phrases_there_are(tmp_path) -> None:
    """A box has the spans of all phrases that mean it; sizes are texts, and a phrase may have no box left."""
    flickr = image(dataset_name="flickr", width="60", height="40", original_img_id=7, sentence_id=3)
    flickr |= {"tokens_positive_eval": [[MAN], [DOGS], [HE], [[28, 33]]], "data_source": None}
    annotations = [annotation(1, [MAN, HE]), annotation(2, [DOGS]), annotation(3, [DOGS], (30, 5, 9, 9))]
    split = "final_flickr_separateGT_val"
    root = write(tmp_path, [flickr], annotations, split, "flickr30k-images")
    (caption,) = open_captions(root, "mdetr", split).captions
    assert (caption.id, caption.image) == ("7-3", root / "flickr30k-images" / "7.jpg")
    assert [(caption.words(p), len(p.boxes)) for p in caption.phrases] == [
        ("A man", 1), ("his two dogs", 2), ("He", 1), ("waves", 0),
    ]  # fmt: skip
    assert caption.phrases[0].boxes == caption.phrases[2].boxes == ((1, 2, 11, 22),)


def test_a_box_that_no_listed_phrase_means_is_not_lost(tmp_path) -> None:
    rows = [annotation(1, [MAN]), annotation(2, [DOGS])]
    root = write(tmp_path, [image(tokens_positive_eval=[[MAN, HE], [DOGS]])], rows)
    (caption,) = open_captions(root, "mdetr", "final_mixed_train").captions
    assert [(caption.words(p), len(p.boxes)) for p in caption.phrases] == [
        ("A man He", 0), ("his two dogs", 1), ("A man", 1),
    ]  # fmt: skip


def test_expressions_refer_as_a_whole(tmp_path) -> None:
    """Their spans are of the noun; as an expression that alone would not say which one is meant."""
    row = image(caption="left man in red", dataset_name="refcoco+", data_source=None)
    row |= {"tokens_negative": [[5, 8]], "original_id": 581857}
    root = write(tmp_path, [row], [annotation(1, [[5, 8]])], "finetune_refcoco+_val", "train2014")
    (caption,) = open_captions(root, "mdetr", "finetune_refcoco+_val").captions
    assert caption.phrases[0].spans == ((5, 8),)
    (sample,) = open_dataset(root, "mdetr", "finetune_refcoco+_val").samples
    assert (sample.expression, sample.box) == ("left man in red", (1, 2, 11, 22))


def test_questions_and_masks(tmp_path) -> None:
    ask = image(
        caption="Is it red?", dataset_name="gqa", data_source=None, answer="yes", question_type="attr"
    )
    ask |= {"questionId": "05515938", "tokens_negative": [[0, 10]]}
    cut = image(id=1, caption="two dogs", dataset_name="phrasecut", task_id="7__2", tokens_negative=[])
    whole = {"image_id": 1, "tokens_positive": [[0, 8]]}
    masks = [[[1, 2, 9, 2, 9, 9]], {"size": [40, 60], "counts": [100, 300, 2000]}]
    rows = [annotation(n, [], **whole, segmentation=mask) for n, mask in enumerate(masks)]
    silent = image(id=2, answer=None, question_type=None, data_source=None, dataset_name="gqa")
    root = write(tmp_path, [ask, cut, silent], rows, "finetune_gqa_val_balanced")
    question, phrase, unanswered = open_captions(root, "mdetr", "finetune_gqa_val_balanced").captions
    assert (question.id, question.answer) == ("05515938", Answer("yes", "attr"))
    assert phrase.id == "7__2"
    assert phrase.phrases[0].masks == (((1, 2, 9, 2, 9, 9),), Rle(40, 60, (100, 300, 2000)))
    assert unanswered.answer is None


def test_an_id_that_comes_twice_is_read_once(tmp_path) -> None:
    root = write(tmp_path, [image(), image()], [annotation(1, [MAN]), annotation(1, [DOGS])])
    with pytest.warns(DataWarning) as told:
        (caption,) = open_captions(root, "mdetr", "final_mixed_train").captions
    first, second = (str(warning.message) for warning in told)
    assert "1 of 2 rows left out. image 0: its id comes twice" in first
    assert "annotations that have the id of another, both kept: 1 (annotation 1 of image 0)" in second
    assert [phrase.spans for phrase in caption.phrases] == [((0, 5),), ((10, 22),)]


def test_which_boxes_are_final(tmp_path) -> None:
    """Of the dogs one alone is said to be: it is not known of the phrase."""
    rows = [annotation(1, [MAN], isfinal=0), annotation(2, [DOGS], isfinal=True), annotation(3, [DOGS])]
    for known, finals in (({}, ()), ({"isfinal": False}, (True, False))):
        root = write(tmp_path, [image()], [*rows[:2], rows[2] | known])
        (caption,) = open_captions(root, "mdetr", "final_mixed_train").captions
        assert [phrase.finals for phrase in caption.phrases] == [(False,), finals]


def annotations_with(**changes) -> list[dict]:
    return [annotation(1, [MAN]), annotation(2, [DOGS]) | changes]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tokens_positive": [[10, 36]]}, r"span \(10, 36\) leaves the caption of 35 characters"),
        ({"tokens_positive": []}, "tokens_positive is empty"),
        ({"tokens_positive": [[5, 5]]}, "has no characters"),
        ({"tokens_positive": [[-2, 5]]}, "has no characters"),
        ({"tokens_positive": [5, 9]}, "span 5 is not two whole numbers"),
        ({"tokens_positive": None}, "tokens_positive is None"),
        ({"bbox": [1, 2, 0, 5]}, "has no area"),
        ({"bbox": [1, 2, -4, 5]}, "has no area"),
        ({"bbox": [60, 2, 4, 5]}, "lies outside its image of 60x40"),
        ({"bbox": [1, 2, 4]}, "is not four numbers"),
        ({"image_id": 9}, "image 9 has no entry"),
        ({"image_id": [0]}, r"image_id is \[0\]; it should be a whole number or a text"),
    ],
)
def test_bad_annotations_leave_their_caption(tmp_path, changes, reason) -> None:
    root = write(tmp_path, [image()], annotations_with(**changes))
    with pytest.warns(DataWarning, match=rf"1 of 2 rows left out\. annotation 2: .*{reason}"):
        captions = open_captions(root, "mdetr", "final_mixed_train")
    assert [phrase.spans for phrase in captions.captions[0].phrases] == [((0, 5),)]
    assert captions.left_out == 1


@pytest.mark.parametrize("bbox", [[1, 2, 0, 5], [60, 2, 4, 5]])
def test_a_phrase_that_lost_a_box_is_none(tmp_path, bbox) -> None:
    """It would look like one that means a single thing; or, without any box left, something not there."""
    rows = [annotation(1, [MAN]), annotation(2, [DOGS]), annotation(3, [DOGS], bbox)]
    for extra in ({}, {"tokens_positive_eval": [[MAN], [DOGS]]}):
        with pytest.warns(DataWarning, match="annotation 3"):
            (caption,) = open_captions(
                write(tmp_path, [image(**extra)], rows), "mdetr", "final_mixed_train"
            ).captions
        assert [phrase.spans for phrase in caption.phrases] == [((0, 5),)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"file_name": "8.jpg"}, r"image 8\.jpg is not in"),
        ({"file_name": "../7.jpg"}, "leads out of the image folder"),
        ({"caption": None}, "caption is None"),
        ({"tokens_negative": [[0, 99]]}, r"span \(0, 99\) leaves the caption"),
        ({"tokens_positive_eval": [[[0, 99]]]}, r"span \(0, 99\) leaves the caption"),
        ({"answer": 5}, "answer is 5"),
    ],
)
def test_bad_images_are_left_out(tmp_path, changes, reason) -> None:
    root = write(tmp_path, [image(), image(id=1) | changes], [annotation(1, [MAN])])
    with pytest.warns(DataWarning, match=rf"1 of 2 rows left out\. image 1: .*{reason}"):
        assert len(open_captions(root, "mdetr", "final_mixed_train")) == 1


def test_what_is_written_is_what_mdetr_reads(tmp_path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (60, 40)).save(tmp_path / "photos" / "7.jpg")
    path = tmp_path / "photos" / "7.jpg"
    man = Phrase(((0, 5), (25, 27)), ((1, 2, 11, 22),))
    both = (20, 5, 28, 14), (30, 5, 38, 14)
    dogs = Phrase(((10, 22),), both, (((1, 2, 9, 2, 9, 9),),) * 2, "dog", (True, False))
    captions = (
        Caption("a", path, TEXT, (man, dogs), negatives=((0, 3),)),
        Caption("b", path, "Is it red?", answer=Answer("yes", "attr")),
        Caption("c", path, "left man", (Phrase(((5, 8),), ((1, 2, 11, 22),)),), referring=True),
    )
    file = tmp_path / "final_mine_val.json"
    assert mdetr.write(file, captions, "mine") == 3
    content = json.loads(file.read_text())
    assert content["images"][1] == {
        "file_name": "photos/7.jpg", "height": 40, "width": 60, "id": 1, "caption": "Is it red?",
        "dataset_name": "mine", "tokens_negative": [[0, 10]], "caption_id": "b", "referring": False,
        "answer": "yes", "question_type": "attr", "questionId": "b",
    }  # fmt: skip
    assert content["annotations"][1] == {
        "bbox": [20, 5, 8, 9], "area": 72, "iscrowd": 0, "tokens_positive": [[10, 22]], "image_id": 0,
        "segmentation": [[1, 2, 9, 2, 9, 9]], "isfinal": True, "id": 1, "category_id": 2,
    }  # fmt: skip
    assert [row["name"] for row in content["categories"]] == ["object", "dog"]
    first, second, third = open_captions(tmp_path, "mdetr", "final_mine_val").captions
    assert first == captions[0]
    assert (second.id, second.answer) == ("b", captions[1].answer)
    assert (third.referring, third.phrases) == (True, captions[2].phrases)
    with pytest.raises(DataError, match="gone"):
        mdetr.write(file, [Caption("d", tmp_path / "gone.jpg", "a dog")], "mine")
    assert json.loads(file.read_text()) == content


def test_splits_are_files(tmp_path) -> None:
    root = write(tmp_path, [image()], [annotation(1, [MAN])])
    with pytest.raises(ValueError, match="no split 'val'; it has final_mixed_train"):
        open_captions(root, "mdetr", "val")
    with pytest.raises(FileNotFoundError, match="dataset folder not found"):
        open_captions(root / "gone", "mdetr", "val")


@pytest.mark.parametrize("kind", [str, float, "{:05}".format])
def test_ids_of_any_kind_are_ids(tmp_path, kind) -> None:
    """And lists may be objects that have their rows by id."""
    rows = [annotation(1, [MAN]), annotation(2, [DOGS], category_id=2)]
    plain = open_captions(write(tmp_path, [image()], rows), "mdetr", "final_mixed_train").captions
    other = [row | {key: kind(row[key]) for key in ("id", "image_id", "category_id")} for row in rows]
    without = {str(row["id"]): {k: v for k, v in row.items() if k != "id"} for row in other}
    for lists in (other, without):
        write(tmp_path, [image(id=kind(0))], lists)
        (caption,) = open_captions(tmp_path, "mdetr", "final_mixed_train").captions
        assert caption.phrases == plain[0].phrases


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"segmentation": [[1, 2]]}, "masks left out"),
        ({"segmentation": {"size": [2, 2], "counts": [4]}}, "masks left out"),
        ({"segmentation": "none"}, "masks left out"),
        ({"isfinal": "yes"}, "marks of what is asked for left out"),
        ({"id": None}, "annotations without an id that can be used"),
    ],
)
def test_a_bad_field_never_costs_the_box(tmp_path, changes, what) -> None:
    root = write(tmp_path, [image()], [annotation(1, [MAN]), annotation(2, [DOGS]) | changes])
    with pytest.warns(DataWarning, match=f"{what}, their boxes kept: 1 "):
        captions = open_captions(root, "mdetr", "final_mixed_train")
    assert [len(phrase.boxes) for phrase in captions.captions[0].phrases] == [1, 1]
    assert captions.left_out == 0


def test_a_segmentation_of_nothing_is_none(tmp_path) -> None:
    root = write(tmp_path, [image()], [annotation(1, [MAN], segmentation=[[]])])
    (caption,) = open_captions(root, "mdetr", "final_mixed_train").captions  # a warning would be an error
    assert caption.phrases[0].masks == ()
