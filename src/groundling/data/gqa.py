"""GQA: questions about images, with an answer, and the boxes of what the words of both mean.

    ROOT/val_balanced_questions.json   ROOT/train_all_questions/train_all_questions_0.json … _9.json
    ROOT/train_sceneGraphs.json   ROOT/val_sceneGraphs.json   ROOT/images/2405722.jpg

Questions may lie in ROOT/questions1.2 or ROOT/questions, scene graphs in ROOT/sceneGraphs. A split has the
name of its file: train_all, val_balanced, testdev_balanced, …. Boxes come from scene graphs, which only train
and val have; the questions of other splits have no phrases. Source: cs.stanford.edu/people/dorarad/gqa.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from groundling.data.caption import Answer, Caption, Phrase, Span
from groundling.data.image_folder import ImageFolder
from groundling.data.json_rows import field, number, optional, rows, size_of
from groundling.data.sample import Box, DataError, Rejects, Thing, box_from_xywh, check_box, check_split

_QUESTIONS = "_questions"
_LONGEST = 40  # characters of two numbers; Python reads none of more than 4,300 digits
Scene = Mapping[str, Thing]  # the objects of an image by their ids


def stream(root: Path, split: str, rejects: Rejects, need_images: bool = True) -> Iterator[Caption]:
    """The questions of a split, one after the other; only the scene graphs are in memory."""
    files = _files(root, split)
    graphs = _scene_file(root, split)
    folder = ImageFolder.among([root / "images"], look=need_images)
    scenes = None if graphs is None else read_scenes(graphs, rejects)

    def made(row: tuple[str, object]) -> Caption:
        return _question(*row, scenes, folder, rejects)

    for file in files:
        yield from rejects.usable(((f"question {row[0]}", row) for row in rows(file)), made)


def splits(root: Path) -> list[str]:
    """The splits that there are."""
    found = [*_places(root, f"*{_QUESTIONS}.json"), *_places(root, f"*{_QUESTIONS}/*{_QUESTIONS}_*.json")]
    stems = {file.parent.name if file.parent.name.endswith(_QUESTIONS) else file.stem for file in found}
    return sorted(stem.removesuffix(_QUESTIONS) for stem in stems)


def read_scenes(file: Path, rejects: Rejects) -> dict[str, Scene]:
    """The scene graphs of a file by image; an object without an area is left out."""
    graphs = ((f"scene graph {image}", (image, row)) for image, row in rows(file))
    return dict(rejects.usable(graphs, lambda graph: _scene(*graph, rejects)))


def _scene(image: str, row: object, rejects: Rejects) -> tuple[str, Scene]:
    size = size_of(row)
    things = field(row, "objects", dict).items()
    named = ((f"image {image} object {name}", (name, thing, size)) for name, thing in things)
    return image, dict(rejects.usable(named, _object))


def _object(row: tuple[str, object, tuple[int, int]]) -> tuple[str, Thing]:
    name, thing, size = row
    attributes = tuple(map(str, optional(thing, "attributes", list) or []))
    category = field(thing, "name", str)
    box = box_from_xywh([number(thing, key) for key in "xywh"])
    check_box(box, size)
    return name, Thing(category, box, attributes)


def _question(
    identity: str, row: object, scenes: Mapping[str, Scene] | None, folder: ImageFolder, rejects: Rejects
) -> Caption:
    """A question with what its words mean; what cannot be used of that is left out, and not the question."""
    name = field(row, "imageId", str)
    text = field(row, "question", str)
    image = folder.path(f"{name}.jpg")
    annotations = optional(row, "annotations", dict) or {}
    if scenes is not None and name not in scenes:
        raise DataError(f"image {name} has no scene graph")
    scene = None if scenes is None else scenes[name]

    def phrase(mark: tuple[str, object]) -> Phrase:
        words, name = mark
        thing = _thing(scene, name)
        return Phrase((word_span(text, words),), (thing.box,), category=thing.category)

    def marks(key: str) -> Iterator[tuple[str, tuple[str, object]]]:
        given = {} if scene is None else optional(annotations, key, dict) or {}
        return ((f"question {identity}", (words, name)) for words, name in given.items())

    phrases = tuple(rejects.usable(marks("question"), phrase))
    boxes = dict.fromkeys(rejects.usable(marks("answer"), lambda mark: _thing(scene, mark[1]).box))
    return Caption(identity, image, text, phrases, _answer(row, tuple(boxes)))


def _answer(row: object, boxes: tuple[Box, ...]) -> Answer | None:
    text = optional(row, "answer", str)
    if text is None:
        return None
    types = optional(row, "types", dict) or {}
    return Answer(text, optional(types, "semantic", str), boxes, optional(types, "detailed", str))


def _thing(scene: Scene | None, name: object) -> Thing:
    if scene is None or not isinstance(name, str) or name not in scene:
        raise DataError(f"object {name!r} is not in the scene graph of its image")
    return scene[name]


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
