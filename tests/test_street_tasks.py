"""Captions, questions and masks on disk: the readers of the real datasets find what the scenes have."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from groundling.ask.asking import captions_of
from groundling.cli import app
from groundling.data import CaptionSet, available, open_captions, street
from groundling.data.street.captions import MOST, captions, names
from groundling.data.street.cuts import cuts
from groundling.data.street.files import FRAMES, LINES, LIST, OBJECT, GrowingFiles, Row
from groundling.data.street.masks import masks, polygons
from groundling.data.street.question import KINDS
from groundling.data.street.questions import questions
from groundling.data.street.reader import matching
from groundling.data.street.scenes import Scene, StreetObject
from groundling.data.street.tasks import TASKS
from groundling.data.street.words import COLOUR_WORDS, NOUNS
from groundling.words.byte_pairs import ByteTokenizer

SEED, SIZE, COUNT = 3, 96, 24
SPLITS = {"train": 24 - 4, "val": 2, "test": 2}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("street") / "scenes"
    street.write(folder, scenes=COUNT, seed=SEED, size=SIZE, tasks=TASKS)
    return folder


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _scene(image: Path) -> Scene:
    return street.scene(SEED, int(image.stem.split("_")[-1]), SIZE)


def _things(scene: Scene) -> dict[int, StreetObject]:
    return {thing.id: thing for thing in scene.objects}


def _sets(folder: Path, dataset: str, splits: tuple[str, ...]) -> list[CaptionSet]:
    """All splits; nothing of ours may be left out."""
    found = [open_captions(folder, dataset, split) for split in splits]
    assert [each.left_out for each in found] == [0] * len(splits)
    return found


def test_the_folder_is_known_by_its_datasets(written: Path) -> None:
    assert {"refcoco", "flickr30k", "gqa", "phrasecut"} <= set(available(written))


def test_splits_go_by_picture(written: Path) -> None:
    flickr = _sets(written, "flickr30k", ("train", "val", "test"))
    gqa = _sets(written, "gqa", ("train_balanced", "val_balanced", "testdev_balanced"))
    cut = _sets(written, "phrasecut", ("train", "val", "test"))
    for part, name in enumerate(SPLITS):
        images = [{caption.image for caption in found[part].captions} for found in (flickr, gqa, cut)]
        assert images[0] == images[1] == images[2]
        assert len(images[0]) == SPLITS[name]
        assert all(image.is_file() for image in images[0])


def test_captions_are_read_as_flickr30k_entities(written: Path) -> None:
    for found in _sets(written, "flickr30k", ("train", "val", "test")):
        for caption in found.captions:
            scene = _scene(caption.image)
            made = captions(scene)[int(caption.id.rsplit("-", 1)[1])]
            assert caption.text == re.sub(r"([.,])", r" \1", made.text)
            things = _things(scene)
            spans = sorted((span, phrase.objects) for phrase in made.phrases for span in phrase.spans)
            said = sorted(caption.phrases, key=lambda phrase: phrase.spans)
            assert [caption.words(phrase) for phrase in said] == [
                made.text[begin:end] for (begin, end), _ in spans
            ]
            for phrase, (_, ids) in zip(said, spans, strict=True):
                boxes = [things[number].box for number in things if number in ids]
                assert np.allclose(sorted(phrase.boxes), sorted(boxes), atol=1.01)


def test_flickr_coordinates_count_from_one_and_stay_in_the_picture(written: Path) -> None:
    for file in (written / "Annotations").iterdir():
        edges = [int(number) for number in re.findall(r"<[xy]m\w+>(\d+)<", file.read_text())]
        assert min(edges) >= 1
        assert max(edges) <= SIZE


def test_questions_are_read_as_gqa(written: Path) -> None:
    kinds: Counter[str] = Counter()
    for found in _sets(written, "gqa", ("train_balanced", "val_balanced", "testdev_balanced")):
        for caption in found.captions:
            scene = _scene(caption.image)
            (made,) = (question for question in questions(scene) if question.text == caption.text)
            assert caption.answer is not None
            assert (caption.answer.text, caption.answer.kind) == (made.answer, made.semantic)
            kinds[made.kind] += 1
            if found.split.startswith("testdev"):
                assert not caption.phrases  # GQA gives no scene graphs of its test pictures
                continue
            things = _things(scene)
            boxes = [things[evidence.object].box for evidence in made.evidence]
            assert len(caption.phrases) == len(boxes)
            for phrase, box in zip(caption.phrases, boxes, strict=True):
                assert np.allclose(phrase.boxes, [box], atol=0.011)
            shown = [things[made.shown].box] if made.shown is not None else []
            assert np.allclose(caption.answer.boxes, shown, atol=0.011)
            for evidence, phrase in zip(made.evidence, caption.phrases, strict=True):
                if evidence.object != made.shown and made.kind != "existRel":
                    assert matching(scene, caption.words(phrase)) == {evidence.object}
    assert set(kinds) == set(KINDS)


def test_questions_for_attributes_are_files_of_their_own(written: Path) -> None:
    """Of the type that asks for a colour or a pose alone; ids are none of the balanced questions'."""
    asked = Counter[Path]()
    for part in ("train", "val", "testdev"):
        found, balanced = _sets(written, "gqa", (f"{part}_attributes", f"{part}_balanced"))
        assert not {caption.id for caption in found.captions} & {caption.id for caption in balanced.captions}
        assert {caption.image for caption in found.captions} <= {c.image for c in balanced.captions}
        asked += Counter(caption.image for caption in found.captions)
        for caption in found.captions:
            made = questions(_scene(caption.image), 6, only=("queryAttr",))
            (one,) = (question for question in made if question.text == caption.text)
            assert caption.answer is not None
            assert (caption.answer.text, caption.answer.detailed) == (one.answer, "queryAttr")
            assert len(caption.phrases) == (part != "testdev")
    assert set(asked.values()) <= set(range(1, 7))
    assert len(asked) == COUNT


def test_questions_for_attributes_bring_their_scene_graphs(tmp_path: Path) -> None:
    street.write(tmp_path / "new", scenes=4, seed=SEED, size=64, tasks=["attributes"])
    (found,) = _sets(tmp_path / "new", "gqa", ("train_attributes",))
    assert all(caption.phrases for caption in found.captions)


def test_questions_have_all_that_gqa_publishes(written: Path) -> None:
    rows: dict[str, dict[str, Any]] = json.loads((written / "train_balanced_questions.json").read_text())
    graphs = json.loads((written / "train_sceneGraphs.json").read_text())
    for number, row in rows.items():
        assert set(row) == {
            "semantic", "entailed", "equivalent", "question", "imageId", "isBalanced", "groups", "answer",
            "semanticStr", "annotations", "types", "fullAnswer",
        }  # fmt: skip
        assert row["equivalent"] == [number]
        assert set(row["types"]) == {"detailed", "semantic", "structural"}
        objects = graphs[row["imageId"]]["objects"]
        for place, step in enumerate(row["semantic"]):
            assert all(0 <= before < place for before in step["dependencies"])
            selected = re.search(r"\((\d+)\)$", step["argument"])
            assert selected is None or selected[1] in objects
        if row["types"]["detailed"] in ("logicOr", "logicAnd"):
            assert [step["dependencies"] for step in row["semantic"]] == [[], [0], [], [2], [1, 3]]
    for graph in graphs.values():
        for thing in graph["objects"].values():
            assert {"name", "x", "y", "w", "h", "attributes", "relations"} == set(thing)
            assert all(relation["object"] in graph["objects"] for relation in thing["relations"])


def test_masks_are_read_as_phrasecut(written: Path) -> None:
    several = 0
    for found in _sets(written, "phrasecut", ("train", "val", "test")):
        for caption in found.captions:
            scene = _scene(caption.image)
            (made,) = (cut for cut in cuts(scene) if cut.text == caption.text)
            things = [thing for thing in scene.objects if thing.id in made.objects]
            (phrase,) = caption.phrases
            assert np.allclose(phrase.boxes, [thing.box for thing in things], atol=0.011)
            shapes = masks(scene)
            outlines = [
                tuple(
                    tuple(float(n) for corner in polygon for n in corner)
                    for polygon in polygons(shapes[thing.id])
                )
                for thing in things
            ]
            assert list(phrase.masks) == outlines
            several += len(things) > 1
    assert several > 20


def test_lists_are_captions_of_all_that_is_there(written: Path) -> None:
    """Each phrase is of one object, none comes twice, and boxes are the scene's."""
    found = _sets(written, "jsonl", ("lists_train", "lists_val", "lists_test"))
    assert [len({caption.image for caption in each.captions}) for each in found] == list(SPLITS.values())
    for caption in (caption for each in found for caption in each.captions):
        boxes = {thing.box for thing in _scene(caption.image).objects}
        named = [phrase.boxes for phrase in caption.phrases]
        assert all(len(of) == 1 and of[0] in boxes for of in named)
        assert len(set(named)) == len(named) <= MOST
    longest = max(len(caption.phrases) for each in found for caption in each.captions)
    assert longest > 3  # captions name three at most


def test_names_are_what_detect_asks_with(written: Path) -> None:
    """A phrase is of all objects that its name may denote; names without one mean nothing that is there."""
    absent, coloured, tokenizer = 0, 0, ByteTokenizer.train(["a name."], 300, 999)
    for caption in (
        caption
        for found in _sets(written, "jsonl", ("names_train", "names_val", "names_test"))
        for caption in found.captions
    ):
        asked = caption.text.removesuffix(".").split(". ")
        assert captions_of(asked, tokenizer)[0][0] == caption.text
        of = {caption.text[slice(*phrase.spans[0])]: phrase.boxes for phrase in caption.phrases}
        for name in asked:
            colour, _, noun = name.partition(" ") if name not in NOUNS else ("", "", name)
            colours = {known for known, words in COLOUR_WORDS.items() if colour in words}
            things = [
                thing
                for thing in _scene(caption.image).objects
                if thing.category in NOUNS[noun].denotes and (not colour or thing.colour in colours)
            ]
            absent, coloured = absent + (not things), coloured + bool(colour)
            assert sorted(of.get(name, ())) == sorted(thing.box for thing in things), (caption.text, name)
    assert min(absent, coloured) > 5


def test_no_names_of_an_empty_request() -> None:
    assert names(street.scene(SEED, 0, SIZE), 0) == ()
    with pytest.raises(ValueError, match="count must be 0 or more"):
        names(street.scene(SEED, 0, SIZE), -1)


def test_tasks_change_nothing_else(written: Path, tmp_path: Path) -> None:
    """Pictures and expressions are byte for byte those of a run without tasks."""
    street.write(tmp_path / "bare", scenes=COUNT, seed=SEED, size=SIZE)
    bare, full = _files(tmp_path / "bare"), _files(written)
    assert {name: full[name] for name in bare} == bare
    assert len(full) == len(bare) + 2 * COUNT + 3 + 3 + 2 + 3 + 4 + 3 + 3


def test_workers_do_not_change_a_byte(written: Path, tmp_path: Path) -> None:
    street.write(tmp_path / "two", scenes=COUNT, seed=SEED, size=SIZE, workers=2, tasks=TASKS[::-1])
    assert _files(tmp_path / "two") == _files(written)


def test_a_run_with_fewer_tasks_removes_the_rest(tmp_path: Path) -> None:
    folder = tmp_path / "street"
    street.write(folder, scenes=4, size=64, tasks=TASKS)
    (folder / "Sentences" / "thesis.txt").write_text("years of work")
    street.write(folder, scenes=4, size=64, tasks=["masks"], replace=True)
    left = {name for name in _files(folder) if not name.startswith(("images", "refcoco"))}
    assert left == {
        ".street", "Sentences/thesis.txt", "image_data_split.json", "refer_train.json", "refer_val.json",
        "refer_test.json",
    }  # fmt: skip


def test_unknown_tasks_write_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown tasks video; there are .*lists, names"):
        street.write(tmp_path / "new", scenes=4, size=64, tasks=["masks", "video"])
    assert not (tmp_path / "new").exists()


def test_the_command_says_how_to_read_them(tmp_path: Path) -> None:
    options = ["--scenes", "4", "--size", "64", "--tasks", "captions, questions"]
    done = CliRunner().invoke(app, ["data", "street", str(tmp_path / "new"), *options])
    assert done.exit_code == 0, done.output
    assert "questions: the dataset gqa: train_balanced" in done.output
    assert "phrasecut" not in done.output
    assert len(open_captions(tmp_path / "new", "flickr30k", "train").captions) == 5


# ---- files that grow


def test_growing_files_are_whole_or_not_there(tmp_path: Path) -> None:
    with GrowingFiles(tmp_path) as growing:
        for number in range(2):
            growing.add(Row("a.txt", f"line {number}", LINES))
            growing.add(Row("b.json", str(number), LIST))
            growing.add(Row("c.json", f'"{number}":{number}', OBJECT))
        assert all(path.name.startswith(".part-") for path in tmp_path.iterdir())
    assert (tmp_path / "a.txt").read_text() == "line 0\nline 1\n"
    assert json.loads((tmp_path / "b.json").read_text()) == [0, 1]
    assert json.loads((tmp_path / "c.json").read_text()) == {"0": 0, "1": 1}
    with pytest.raises(KeyError):
        _stopped(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.json", "c.json"]


def _stopped(folder: Path) -> None:
    with GrowingFiles(folder) as growing:
        growing.add(Row("d.txt", "line", LINES))
        raise KeyError


def test_an_error_at_the_end_of_one_file_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends one file could not be written: those before it had names, those after it stayed hidden."""
    monkeypatch.setitem(FRAMES, "odd", ("", "", "\ud800"))  # no UTF-8
    growing = GrowingFiles(tmp_path)
    for name, form in (("a", LINES), ("b", "odd"), ("c", LINES)):
        growing.add(Row(f"{name}.txt", "line", form))
    with pytest.raises(UnicodeEncodeError), growing:
        pass
    assert not list(tmp_path.iterdir())
