"""A scene's captions, questions and masks as rows of the official files of the field's datasets.

    Sentences/street_S_NNNNNN.txt   Annotations/street_S_NNNNNN.xml   {train,val,test}.txt     captions
    {train,val,testdev}_balanced_questions.json   {train,val}_sceneGraphs.json                 questions
    {train,val,testdev}_attributes_questions.json   {train,val}_sceneGraphs.json               attributes
    refer_{train,val,test}.json   image_data_split.json                                        masks
    lists_{train,val,test}.jsonl                                                               lists
    names_{train,val,test}.jsonl                                                               names

Captions are as in Flickr30k Entities, questions as in GQA, masks as in PhraseCut; attributes are questions of
one type, for what a thing and its parts look like, of which balanced questions have few. In our JSON Lines,
lists are captions of all that is there, and names those that `detect` asks with: "woman. red car." Official
files name a picture by its file without .jpg. GQA publishes no scene graphs of its test pictures: there are
none here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from groundling.data.street.captions import StreetCaption, captions, lists, names
from groundling.data.street.cuts import Cut, cuts
from groundling.data.street.files import LINES, LIST, OBJECT, WHOLE, Row
from groundling.data.street.masks import masks, polygons
from groundling.data.street.meaning import RELATIONS
from groundling.data.street.phrases import RELATION_WORDS
from groundling.data.street.question import Question
from groundling.data.street.questions import questions
from groundling.data.street.scenes import Scene, StreetObject
from groundling.data.street.setting import setting
from groundling.data.street.words import CATEGORIES

TASKS = ("captions", "questions", "attributes", "masks", "lists", "names")
TYPES = {"person": "people", "animal": "animals", "vehicle": "vehicles"}  # of Flickr30k Entities; else other
FOLDERS = ("Sentences", "Annotations")
FILES = re.compile(
    r"(Sentences/street_\d+_\d{6,}\.txt|Annotations/street_\d+_\d{6,}\.xml|(train|val|test)\.txt"
    r"|(train|val|testdev)_(balanced|attributes)_questions\.json|(train|val)_sceneGraphs\.json"
    r"|refer_(train|val|test)\.json|image_data_split\.json|(lists|names)_(train|val|test)\.jsonl)"
)
TEST = ("testA", "testB")  # one split for these tasks, since a caption is about people and things alike


@dataclass(frozen=True)
class Picture:
    """A scene as the rows name it: `name` is its file's name without .jpg, `number` its place, from 1."""

    scene: Scene
    name: str
    number: int
    split: str  # train, val, testA or testB


def checked(tasks: Collection[str]) -> tuple[str, ...]:
    """The tasks in their order; ValueError for a name that is none."""
    wrong = sorted(set(tasks) - set(TASKS))
    if wrong:
        raise ValueError(f"unknown tasks {', '.join(wrong)}; there are {', '.join(TASKS)}")
    return tuple(task for task in TASKS if task in tasks)


def rows(picture: Picture, tasks: Collection[str]) -> Iterator[Row]:
    """What the tasks say of a picture."""
    if "captions" in tasks:
        yield from _caption_rows(picture)
    if "questions" in tasks:
        yield from _question_rows(picture, "balanced", questions(picture.scene))
    if "attributes" in tasks:
        asked = questions(picture.scene, 6, only=("queryAttr",))
        yield from _question_rows(picture, "attributes", asked, first=50)
    if ("questions" in tasks or "attributes" in tasks) and picture.split in ("train", "val"):
        row = f'"{picture.name}":{_compact(_graph(picture))}'
        yield Row(f"{picture.split}_sceneGraphs.json", row, OBJECT)
    if "masks" in tasks:
        yield from _mask_rows(picture)
    if "lists" in tasks:
        yield from _lines(picture, "lists", lists(picture.scene))
    if "names" in tasks:
        yield from _lines(picture, "names", names(picture.scene))


def part_of(split: str, test: str = "test") -> str:
    """The split that these tasks put a picture in."""
    return test if split in TEST else split


def is_ours(file: str) -> bool:
    """Whether a file of the folder, by its path in it, is one that `rows` fills."""
    return FILES.fullmatch(file) is not None


# ---- captions


def _caption_rows(picture: Picture) -> Iterator[Row]:
    said = captions(picture.scene)
    groups = {phrase.objects: 0 for caption in said for phrase in caption.phrases}
    chains = {ids: picture.number * 100 + place for place, ids in enumerate(groups, 1)}
    lines = [_marked(caption, chains, picture.scene) for caption in said]
    yield Row(f"Sentences/{picture.name}.txt", "\n".join(lines), WHOLE)
    yield Row(f"Annotations/{picture.name}.xml", _annotation(picture, chains), WHOLE)
    yield Row(f"{part_of(picture.split)}.txt", picture.name, LINES)


def _marked(caption: StreetCaption, chains: dict[frozenset[int], int], scene: Scene) -> str:
    """The caption with its phrases marked and its punctuation apart, as in [/EN#101/people A man] sits ."""
    kinds = {thing.id: CATEGORIES[thing.category].supercategory for thing in scene.objects}
    text = caption.text
    marks = [(span, phrase.objects) for phrase in caption.phrases for span in phrase.spans]
    for (begin, end), ids in sorted(marks, key=lambda mark: mark[0], reverse=True):
        (kind,) = {TYPES.get(kinds[number], "other") for number in ids}
        text = f"{text[:begin]}[/EN#{chains[ids]}/{kind} {text[begin:end]}]{text[end:]}"
    return re.sub(r"([.,])", r" \1", text)


def _annotation(picture: Picture, chains: dict[frozenset[int], int]) -> str:
    """The boxes of all chains; edges are whole pixels, counted from 1."""
    size = picture.scene.size
    objects = ""
    for thing in picture.scene.objects:
        names = "".join(f"<name>{chain}</name>" for ids, chain in chains.items() if thing.id in ids)
        edges = zip(("xmin", "ymin", "xmax", "ymax"), thing.box, strict=True)
        box = "".join(f"<{edge}>{min(size, round(value) + 1)}</{edge}>" for edge, value in edges)
        objects += f"<object>{names}<bndbox>{box}</bndbox></object>\n" * bool(names)
    shape = f"<width>{size}</width><height>{size}</height><depth>3</depth>"
    file = f"<filename>{escape(picture.name)}.jpg</filename>"
    return f"<annotation>\n{file}\n<size>{shape}</size>\n{objects}</annotation>\n"


# ---- lists and names


def _lines(picture: Picture, task: str, said: Sequence[StreetCaption]) -> Iterator[Row]:
    boxes = {thing.id: thing.box for thing in picture.scene.objects}
    for place, caption in enumerate(said):
        phrases = [
            {"spans": phrase.spans, "boxes": [boxes[number] for number in sorted(phrase.objects)]}
            for phrase in caption.phrases
        ]
        row = {"image": f"images/{picture.name}.jpg", "caption": caption.text, "phrases": phrases}
        row["id"] = f"{picture.name}_{place}"
        yield Row(f"{task}_{part_of(picture.split)}.jsonl", _compact(row), LINES)


# ---- questions


def _question_rows(picture: Picture, name: str, said: Sequence[Question], first: int = 0) -> Iterator[Row]:
    for place, question in enumerate(said, first):
        number = str(picture.number * 100 + place)
        row = f'"{number}":{_compact(_question(question, picture, number))}'
        yield Row(f"{part_of(picture.split, 'testdev')}_{name}_questions.json", row, OBJECT)


def _question(question: Question, picture: Picture, number: str) -> dict[str, Any]:
    marks = {_words(*evidence.words): _object_id(evidence.object, picture) for evidence in question.evidence}
    shown = {} if question.shown is None else {"0": _object_id(question.shown, picture)}
    semantic = _operations(question, picture)
    return {
        "semantic": semantic,
        "entailed": [],
        "equivalent": [number],
        "question": question.text,
        "imageId": picture.name,
        "isBalanced": True,
        "groups": {"global": None, "local": question.kind},
        "answer": question.answer,
        "semanticStr": "->".join(f"{step['operation']}: {step['argument']}".strip() for step in semantic),
        "annotations": {"answer": shown, "question": marks, "fullAnswer": {}},
        "types": {
            "detailed": question.kind,
            "semantic": question.semantic,
            "structural": question.structural,
        },
        "fullAnswer": question.full_answer,
    }


def _words(begin: int, end: int) -> str:
    """GQA's name for words of a question: "4" for one, "2:4" for the third and fourth."""
    return str(begin) if end == begin + 1 else f"{begin}:{end}"


def _object_id(number: int, picture: Picture) -> str:
    return str(picture.number * 1000 + number)


def _operations(question: Question, picture: Picture) -> list[dict[str, Any]]:
    """Each step after the one before it; a second selection starts anew, and and/or join both ends."""
    operations: list[dict[str, Any]] = []
    starts: list[int] = []
    for place, (operation, argument) in enumerate(question.steps):
        starts += [place] * (operation == "select")
        two = operation in ("and", "or") and len(starts) == 2
        before = [starts[1] - 1, place - 1] if two else [place - 1]
        argument = re.sub(r"\((\d+)\)$", lambda found: f"({_object_id(int(found[1]), picture)})", argument)
        after = [] if operation == "select" else before
        operations.append({"operation": operation, "argument": argument, "dependencies": after})
    return operations


def _graph(picture: Picture) -> dict[str, Any]:
    scene = picture.scene
    here = setting(scene)
    objects = {_object_id(thing.id, picture): _graph_object(thing, picture) for thing in scene.objects}
    return {
        "width": scene.size,
        "height": scene.size,
        "location": here.ground,
        "weather": here.weather,
        "objects": objects,
    }


def _graph_object(thing: StreetObject, picture: Picture) -> dict[str, Any]:
    x, y, wide, high = _xywh(thing)
    size = picture.scene.size
    relations = [
        {"name": RELATION_WORDS[name][-1], "object": _object_id(other.id, picture)}
        for other in picture.scene.objects
        for name, (sure, _) in RELATIONS.items()
        if other is not thing and sure(thing, other, size)
    ]
    return {
        "name": thing.category,
        "x": x,
        "y": y,
        "w": wide,
        "h": high,
        "attributes": list(thing.attributes),
        "relations": relations,
    }


def _xywh(thing: StreetObject) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = thing.box
    return x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)


# ---- masks


def _mask_rows(picture: Picture) -> Iterator[Row]:
    part, size = part_of(picture.split), picture.scene.size
    things = {thing.id: thing for thing in picture.scene.objects}
    outlines = {number: polygons(mask) for number, mask in masks(picture.scene).items()}
    for place, cut in enumerate(cuts(picture.scene)):
        chosen = [number for number in things if number in cut.objects]
        row = _refer(cut, f"{picture.name}__{place}", picture, chosen)
        boxes = [_xywh(things[number]) for number in chosen]
        row |= {"instance_boxes": boxes, "Polygons": [outlines[number] for number in chosen]}
        yield Row(f"refer_{part}.json", _compact(row), LIST)
    image = {"image_id": picture.name, "width": size, "height": size, "split": part}
    row = image | {"coco_id": None, "flickr_id": None, "url": ""}
    yield Row("image_data_split.json", _compact(row), LIST)


def _refer(cut: Cut, task: str, picture: Picture, chosen: Sequence[int]) -> dict[str, Any]:
    return {
        "task_id": task,
        "image_id": picture.name,
        "ann_ids": [int(_object_id(number, picture)) for number in chosen],
        "phrase": cut.text,
        "phrase_structure": {
            "name": cut.name,
            "attributes": list(cut.attributes),
            "relation_descriptions": [list(pair) for pair in cut.relations],
            "type": cut.kind,
        },
    }


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
