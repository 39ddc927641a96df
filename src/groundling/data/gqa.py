"""GQA: questions about images, with an answer, and the boxes of what the words of both mean.

    ROOT/val_balanced_questions.json   ROOT/train_all_questions/train_all_questions_0.json … _9.json
    ROOT/train_sceneGraphs.json   ROOT/val_sceneGraphs.json   ROOT/images/2405722.jpg

Questions may lie in ROOT/questions1.2 or ROOT/questions, scene graphs in ROOT/sceneGraphs. A split has the
name of its file: train_all, val_balanced, testdev_balanced, …. Boxes come from scene graphs, which only train
and val have; the questions of other splits have no phrases. Source: cs.stanford.edu/people/dorarad/gqa.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from groundling.data.caption import Answer, Caption, Phrase, Span
from groundling.data.fitting import Fitting
from groundling.data.image_folder import ImageFolder
from groundling.data.instances import Once
from groundling.data.json_rows import Size, declared_size, field, number, optional, rows
from groundling.data.rejects import Rejects
from groundling.data.sample import Box, DataError, Thing, box_from_xywh, check_split

_QUESTIONS = "_questions"
_LONGEST = 40  # characters of two numbers; Python reads none of more than 4,300 digits


@dataclass(frozen=True)
class Scene:
    """The objects of an image by their ids, as they are annotated, and the size that it is said to have."""

    size: Size | None
    things: Mapping[str, Thing]


def stream(root: Path, split: str, rejects: Rejects, need_images: bool = True) -> Iterator[Caption]:
    """The questions of a split, one after the other; only the scene graphs are in memory."""
    files = _files(root, split)
    graphs = _scene_file(root, split)
    folder = ImageFolder.among([root / "images"], look=need_images)
    scenes = None if graphs is None else read_scenes(graphs, rejects)
    questions = _Questions(scenes, folder, Fitting(rejects, need_images), rejects)
    for file in files:
        yield from rejects.usable(((f"question {row[0]}", row) for row in rows(file)), questions.caption)


def splits(root: Path) -> list[str]:
    """The splits that there are."""
    found = [*_places(root, f"*{_QUESTIONS}.json"), *_places(root, f"*{_QUESTIONS}/*{_QUESTIONS}_*.json")]
    stems = {file.parent.name if file.parent.name.endswith(_QUESTIONS) else file.stem for file in found}
    return sorted(stem.removesuffix(_QUESTIONS) for stem in stems)


def read_scenes(file: Path, rejects: Rejects) -> dict[str, Scene]:
    """The scene graphs of a file by image; an object whose box is none is left out."""
    graphs = ((f"scene graph {image}", (image, row)) for image, row in rows(file))
    scenes = Once[Scene]("scene graph")
    for image, scene in rejects.usable(graphs, lambda graph: _scene(*graph, rejects)):
        try:
            scenes.put(image, scene)
        except DataError as error:
            rejects.add(f"scene graph {image}", error)
    return {str(image): scene for image, scene in scenes.sound().items()}


def _scene(image: str, row: object, rejects: Rejects) -> tuple[str, Scene]:
    things = field(row, "objects", dict).items()
    named = ((f"image {image} object {name}", (name, thing)) for name, thing in things)
    return image, Scene(declared_size(row), dict(rejects.usable(named, lambda named: _object(*named))))


def _object(name: str, thing: object) -> tuple[str, Thing]:
    attributes = tuple(map(str, optional(thing, "attributes", list) or []))
    box = box_from_xywh([number(thing, key) for key in "xywh"])
    return name, Thing(field(thing, "name", str), box, attributes)


class _Questions:
    """Makes captions of questions: needs scene graphs and where images lie."""

    def __init__(
        self, scenes: Mapping[str, Scene] | None, folder: ImageFolder, fitting: Fitting, rejects: Rejects
    ) -> None:
        self._scenes, self._folder, self._fitting, self._rejects = scenes, folder, fitting, rejects

    def caption(self, named: tuple[str, object]) -> Caption:
        """A question with what its words mean; what cannot be used of that is left out, not the question."""
        name, row = named
        image, text = field(row, "imageId", str), field(row, "question", str)
        path = self._folder.path(f"{image}.jpg")
        if self._scenes is not None and image not in self._scenes:
            raise DataError(f"image {image} has no scene graph")

        def phrase(mark: tuple[str, object]) -> Phrase:
            words, identity = mark
            found = self._thing(image, path, identity)
            return Phrase((word_span(text, words),), (found.box,), category=found.category)

        marks = [
            [(f"question {name}", mark) for mark in self._marks(row, part)] for part in ("question", "answer")
        ]
        phrases = tuple(self._rejects.usable(marks[0], phrase))
        boxes = self._rejects.usable(marks[1], lambda mark: self._thing(image, path, mark[1]).box)
        return Caption(name, path, text, phrases, _answer(row, tuple(dict.fromkeys(boxes))))

    def _marks(self, row: object, part: str) -> list[tuple[str, object]]:
        """Which words of the question, or of its answer, mean which object."""
        if self._scenes is None:
            return []
        annotations = optional(row, "annotations", dict) or {}
        return list((optional(annotations, part, dict) or {}).items())

    def _thing(self, image: str, path: Path, name: object) -> Thing:
        scene = (self._scenes or {}).get(image)
        if scene is None or not isinstance(name, str) or name not in scene.things:
            raise DataError(f"object {name!r} is not in the scene graph of its image")
        thing = scene.things[name]
        return replace(thing, box=self._fitting.box(thing.box, path, scene.size, f"object {name}"))


def _answer(row: object, boxes: tuple[Box, ...]) -> Answer | None:
    text = optional(row, "answer", str)
    if text is None:
        return None
    types = optional(row, "types", dict) or {}
    return Answer(text, optional(types, "semantic", str), boxes, optional(types, "detailed", str))


def word_span(text: str, words: str) -> Span:
    """The characters of the words that GQA names "4" (the fifth) or "2:4" (the third and fourth).

    Words lie between spaces; the punctuation behind the last one is not part of it.
    """
    first, _, last = words.partition(":")
    if len(words) > _LONGEST or not first.isdecimal() or not (last or "0").isdecimal():
        given = repr(words) if len(words) <= _LONGEST else f"{words[:_LONGEST]!r}…"
        raise DataError(f"words {given} are not a number or two, such as '4' or '2:4'")
    begin, end = int(first), int(last) if last else int(first) + 1
    spans = _word_spans(text)
    if not begin < end <= len(spans):
        raise DataError(f"words {words!r} leave the question of {len(spans)} words")
    start, stop = spans[begin][0], spans[end - 1][1]
    bare = text[start:stop].rstrip(",.;:?!")
    return (start, start + len(bare)) if bare else (start, stop)


def _word_spans(text: str) -> list[Span]:
    spans, at = list[Span](), 0
    for word in text.split():
        begin = text.index(word, at)
        at = begin + len(word)
        spans.append((begin, at))
    return spans


def _files(root: Path, split: str) -> list[Path]:
    check_split(root, split, splits, "no questions")
    name = split + _QUESTIONS
    whole = _places(root, f"{name}.json")
    return whole[:1] or sorted(
        _places(root, f"{name}/{name}_*.json"), key=lambda file: (len(file.name), file)
    )


def _places(root: Path, pattern: str) -> list[Path]:
    return [
        file for place in (root, root / "questions1.2", root / "questions") for file in place.glob(pattern)
    ]


def _scene_file(root: Path, split: str) -> Path | None:
    part = split.split("_")[0]
    if part not in ("train", "val"):
        return None
    files = [place / f"{part}_sceneGraphs.json" for place in (root, root / "sceneGraphs")]
    found = [file for file in files if file.is_file()]
    if not found:
        raise FileNotFoundError(f"found no scene graphs; looked for {', '.join(map(str, files))}")
    return found[0]
