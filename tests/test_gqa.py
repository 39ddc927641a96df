"""GQA: words by their numbers, boxes of scene graphs, shards, and questions that cannot be used."""

import json
from pathlib import Path

import pytest
from PIL import Image

from groundling.data import (
    Answer,
    DataError,
    DataWarning,
    Phrase,
    Rejects,
    Thing,
    available,
    gqa,
    open_captions,
)
from groundling.data.gqa import word_span

TEXT = "Is the small dog to the left of the man, who holds a ball?"
SCENE = {
    "width": 60,
    "height": 40,
    "objects": {
        "11": {"name": "dog", "x": 1, "y": 2, "w": 10, "h": 20, "attributes": ["small"], "relations": []},
        "12": {"name": "man", "x": 30, "y": 0, "w": 20, "h": 40, "attributes": [], "relations": []},
    },
}


def question(**changes) -> dict:
    marks = {"question": {"2:4": "11", "9": "12"}, "answer": {"0": "11"}, "fullAnswer": {}}
    row = {"imageId": "77", "question": TEXT, "answer": "yes", "fullAnswer": "Yes.", "isBalanced": True}
    row |= {"types": {"structural": "verify", "semantic": "rel", "detailed": "relVerify"}}
    return row | {"annotations": marks, "semantic": []} | changes


def write(root: Path, split: str = "val_balanced", graphs: object = None, **questions: object) -> Path:
    (root / "images").mkdir(exist_ok=True)
    Image.new("RGB", (60, 40)).save(root / "images" / "77.jpg")
    (root / f"{split}_questions.json").write_text(json.dumps(questions))
    (root / "val_sceneGraphs.json").write_text(json.dumps({"77": SCENE} if graphs is None else graphs))
    return root


def test_a_question_its_words_and_its_answer(tmp_path) -> None:
    root = write(tmp_path, q1=question())
    (caption,) = open_captions(root, "gqa", "val_balanced").captions
    assert (caption.id, caption.image, caption.text) == ("q1", root / "images" / "77.jpg", TEXT)
    assert caption.phrases == (
        Phrase(((7, 16),), ((1, 2, 11, 22),), category="dog"),
        Phrase(((36, 39),), ((30, 0, 50, 40),), category="man"),
    )
    assert [caption.words(phrase) for phrase in caption.phrases] == ["small dog", "man"]
    assert caption.answer == Answer("yes", "rel", ((1, 2, 11, 22),), "relVerify")
    assert available(root) == ["gqa"]


@pytest.mark.parametrize(
    ("words", "meant"),
    [("0", "Is"), ("3", "dog"), ("2:4", "small dog"), ("9", "man"), ("8:10", "the man"), ("13", "ball")],
)
def test_words_by_their_numbers(words, meant) -> None:
    begin, end = word_span(TEXT, words)
    assert TEXT[begin:end] == meant


def test_words_between_many_spaces_and_words_that_come_twice() -> None:
    assert word_span(" the  cat the   cat ?", "2:4") == (10, 19)
    assert word_span("a cat ?", "2") == (6, 7)


@pytest.mark.parametrize("words", ["14", "13:15", "4:4", "5:4", "99:100"])
def test_words_that_a_question_has_not(words) -> None:
    with pytest.raises(DataError, match=f"words '{words}' leave the question of 14 words"):
        word_span(TEXT, words)


@pytest.mark.parametrize("words", ["", "a", "1:", ":", "-1", "1:2:3", "1.0", "²"])
def test_what_names_no_words(words) -> None:
    if words == "1:":
        assert word_span(TEXT, words) == (3, 6)
        return
    with pytest.raises(DataError, match="are not a number or two"):
        word_span(TEXT, words)


def test_a_number_of_5000_digits_is_no_place(tmp_path) -> None:
    """Python reads no int so long, and said so in an error that ended the split and not the row."""
    write(tmp_path, q1=question(), q2=question(annotations={"question": {"1" * 5000: "11"}}))
    with pytest.warns(DataWarning, match=r"question q2: words '1{40}'… are not a number or two"):
        assert len(open_captions(tmp_path, "gqa", "val_balanced")) == 2


@pytest.mark.parametrize(
    ("annotations", "reason", "boxes"),
    [
        ({"question": {"20": "11", "2": "11"}}, "words '20' leave the question of 14 words", (1, 0)),
        ({"question": {"2": "99"}, "answer": {"0": "11"}}, "object '99' is not in the scene graph", (0, 1)),
        ({"question": {"2": ["11"]}}, r"object \['11'\] is not in the scene graph", (0, 0)),
        ({"answer": {"0": "99"}}, "object '99' is not in the scene graph", (0, 0)),
    ],
)
def test_a_question_outlives_what_its_words_mean(tmp_path, annotations, reason, boxes) -> None:
    """Accuracy is of all official questions, whatever a scene graph lacks."""
    write(tmp_path, q1=question(), q2=question(annotations=annotations))
    with pytest.warns(DataWarning, match=rf"1 of \d rows left out\. question q2: .*{reason}"):
        found = open_captions(tmp_path, "gqa", "val_balanced")
    _, second = found.captions
    assert second.answer is not None
    assert (len(second.phrases), len(second.answer.boxes)) == boxes


def test_train_all_lies_in_shards(tmp_path) -> None:
    write(tmp_path)
    (tmp_path / "val_sceneGraphs.json").rename(tmp_path / "train_sceneGraphs.json")
    folder = tmp_path / "questions1.2" / "train_all_questions"
    folder.mkdir(parents=True)
    for shard in range(11):
        (folder / f"train_all_questions_{shard}.json").write_text(json.dumps({f"q{shard}": question()}))
    captions = open_captions(tmp_path, "gqa", "train_all").captions
    assert [caption.id for caption in captions] == [f"q{shard}" for shard in range(11)]
    with pytest.raises(ValueError, match="no split 'train'; it has train_all, val_balanced"):
        open_captions(tmp_path, "gqa", "train")


def test_splits_without_scene_graphs_have_no_boxes(tmp_path) -> None:
    bare = {key: question()[key] for key in ("imageId", "question")}
    write(tmp_path, "testdev_balanced", q1=question(), q2=bare)
    first, second = open_captions(tmp_path, "gqa", "testdev_balanced").captions
    assert (first.phrases, first.answer) == ((), Answer("yes", "rel", detailed="relVerify"))
    assert (second.phrases, second.answer) == ((), None)
    write(tmp_path, "val_all", q1=question())
    (tmp_path / "val_sceneGraphs.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"found no scene graphs; looked for .*val_sceneGraphs\.json"):
        open_captions(tmp_path, "gqa", "val_all")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"annotations": [1]}, r"annotations is \[1\]; it should be an object"),
        ({"imageId": "78"}, "image 78.jpg is not in"),
        ({"imageId": 77}, "imageId is 77; it should be text"),
        ({"question": " ", "annotations": {}}, "the caption has no words"),
        ({"answer": ""}, "the answer is empty"),
        ({"answer": 5}, "answer is 5; it should be text"),
    ],
)
def test_bad_questions_are_left_out(tmp_path, changes, reason) -> None:
    write(tmp_path, q1=question(), q2=question(**changes))
    with pytest.warns(DataWarning, match=rf"1 of 2 rows left out\. question q2: .*{reason}"):
        captions = open_captions(tmp_path, "gqa", "val_balanced")
    assert (len(captions), captions.left_out) == (1, 1)


def test_scene_graphs(tmp_path) -> None:
    flat = {"name": "cat", "x": 1, "y": 2, "w": 0, "h": 5}
    graphs = {"77": SCENE | {"objects": SCENE["objects"] | {"13": flat}}, "78": {"width": 5}}
    write(tmp_path, graphs=graphs)
    rejects = Rejects()
    scenes = gqa.read_scenes(tmp_path / "val_sceneGraphs.json", rejects)
    dog, man = Thing("dog", (1, 2, 11, 22), ("small",)), Thing("man", (30, 0, 50, 40))
    assert scenes == {"77": gqa.Scene((60, 40), {"11": dog, "12": man})}
    with pytest.warns(
        DataWarning, match="image 77 object 13: box .* no area; .*scene graph 78: has no 'objects'"
    ):
        rejects.report(tmp_path, kept=1)
    write(tmp_path, graphs={"78": SCENE}, q1=question())
    with pytest.raises(
        DataError, match=r"none of 1 rows can be used\. question q1: image 77 has no scene graph"
    ):
        open_captions(tmp_path, "gqa", "val_balanced")
