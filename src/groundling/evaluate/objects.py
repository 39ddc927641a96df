"""All objects of images: average precision, as COCO and LVIS count it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from groundling import callers
from groundling.data import coco, load_objects
from groundling.data.rejects import Rejects
from groundling.data.sample import spread
from groundling.evaluate.score import Result, Score, Watch, collect, unwatched
from groundling.protocols import coco as coco_protocol
from groundling.protocols import lvis as lvis_protocol
from groundling.protocols.detections import Detection, Id, Truth, Verified, require_evaluator
from groundling.results import Detections

Ask = Callable[[Path], Detections]  # an image


class NamesWarning(UserWarning):
    """Categories of a dataset that a model has no name for."""


MOST = 300  # detections of an image that are kept, the best over all categories: LVIS' limit


@dataclass(frozen=True)
class ObjectSet:
    """The images of one split with all their objects; `name` is lvis for its own protocol."""

    name: str
    split: str
    content: coco.Instances

    def __len__(self) -> int:
        return len(self.content.pictures)

    def limited(self, limit: int | None) -> "ObjectSet":
        """At most `limit` images, evenly spread over all."""
        pictures = spread(self.content.pictures, limit, "images")
        return replace(self, content=replace(self.content, pictures=pictures))


def open_objects(root: Path, dataset: str, split: str) -> ObjectSet:
    """A split of a dataset of objects; also images without an object, which detections can be wrong in."""
    rejects = Rejects()
    content = load_objects(root, dataset, split, rejects)
    rejects.report(root, kept=len(content.pictures))
    return ObjectSet(dataset, split, content)


def average_precision(
    objects: ObjectSet,
    ask: Ask,
    labels: Mapping[str, Id],
    *,
    model: str = "",
    watch: Watch = unwatched,
) -> Score:
    """AP of what `ask` sees in each image; `labels` are its names of the dataset's categories.

    Detections under other names are left out: no category of the dataset is meant by them. Warns of
    categories without a name, which count as never found. ValueError where all are, and where
    faster-coco-eval (extra `eval`) is not installed.
    """
    require_evaluator()  # before hours of detection
    _check_names(objects, labels)
    if objects.name == "lvis":
        _check_frequencies(objects.content)
    pictures = objects.content.pictures
    answers = collect((_best(ask(each.image)) for each in pictures), len(pictures), objects.split, watch)
    detections = [
        Detection(picture.id, labels[each.label], each.score, each.box)
        for picture, found in zip(pictures, answers.found, strict=True)
        for each in found
        if each.label in labels
    ]
    return answers.score(objects.name, objects.split, model, _result(objects, detections))


def shared(categories: Mapping[Id, str], known: Sequence[str]) -> dict[str, Id]:
    """The categories of a dataset that a model has the same name for, by that name."""
    return {name: number for number, name in categories.items() if name in known}


def spoken(categories: Mapping[Id, str]) -> dict[str, Id]:
    """The categories of a dataset by names to ask for; of those that sound alike, all that is written."""
    clean = Counter(map(coco.clean_name, categories.values()))
    found: dict[str, Id] = {}
    for number, name in categories.items():
        said = coco.clean_name(name)
        found.setdefault(said if clean[said] == 1 else name.replace("_", " "), number)
    return found


def _best(found: Detections) -> Detections:
    """What is kept of an image: an MDETR that is asked for 1,203 names says a hundred boxes of each."""
    return replace(found, objects=found.objects[:MOST])


def _check_frequencies(content: coco.Instances) -> None:
    for number, name in content.categories.items():
        if number not in content.frequencies:
            raise ValueError(f"LVIS says how frequent a category is; here it does not of {name!r}")


def _check_names(objects: ObjectSet, labels: Mapping[str, Id]) -> None:
    categories, what = objects.content.categories, f"{objects.name} {objects.split}"
    unnamed = [name for number, name in categories.items() if number not in labels.values()]
    if len(unnamed) == len(categories):
        raise ValueError(f"this model has a name for none of the {len(categories)} categories of {what}")
    if unnamed:
        some = ", ".join(unnamed[:3]) + ", …" * (len(unnamed) > 3)
        callers.warn(
            f"this model has no name for {len(unnamed)} of {len(categories)} categories of {what}, which "
            f"count as never found: {some}",
            NamesWarning,
        )


def _result(objects: ObjectSet, detections: Sequence[Detection]) -> Result:
    truths = list(_truths(objects.content))
    if objects.name != "lvis":
        images = {picture.id for picture in objects.content.pictures}
        return coco_protocol.average_precision(truths, detections, images=images)
    categories = objects.content.categories
    frequencies: dict[Id, str] = dict(objects.content.frequencies.items())
    verified: dict[Id, Verified] = {
        picture.id: Verified(
            frozenset(number for number in picture.negative if number in categories),
            frozenset(number for number in picture.not_exhaustive if number in categories),
        )
        for picture in objects.content.pictures
    }
    return lvis_protocol.average_precision(truths, detections, images=verified, frequencies=frequencies)


def _truths(content: coco.Instances) -> Iterator[Truth]:
    for picture in content.pictures:
        for each in picture.instances:
            yield Truth(picture.id, each.category, each.box, each.area, each.crowd)
