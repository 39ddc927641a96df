"""The object a user holds of a model that detects: an image in, all its objects out.

    model = groundling.load("models/detr-r50")
    for found in model.detect("street.jpg"):
        found.label, found.box, found.score

A request, end to end: image → `open_image`, `Resize.see` → network (or a subnet of it) → of each query its
best category and, as a share of the image, its box → pixels of the original image.
"""

import os
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple, NoReturn, TypeVar

import torch
from torch import Tensor

from groundling import checkpoint
from groundling.ask.asking import share_of_one
from groundling.ask.naming import described
from groundling.device import checked
from groundling.draw.view import View
from groundling.dynamic.blocks import BlockCache
from groundling.models import require
from groundling.models.abilities import Ability
from groundling.models.detecting import CategoryDetector, SetPrediction
from groundling.pictures.images import MAX_PIXELS, ImageSource, name_of, open_image
from groundling.pictures.placement import Placement
from groundling.results import Detection, Detections
from groundling.selection import Selection

Id = TypeVar("Id")

THRESHOLD = 0.7  # of the published demo


class Seen(NamedTuple):
    """What each query says of an image: boxes xyxy (Q, 4) in its pixels, scores and categories (Q,)."""

    boxes: Tensor
    scores: Tensor
    categories: Tensor


class Detector:
    """A detection model ready to answer; `load_detector` makes one."""

    def __init__(
        self,
        model: CategoryDetector,
        *,
        name: str = "",
        device: str = "cpu",
        cache_mib: int = 256,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if not isinstance(cache_mib, int) or cache_mib < 0:
            raise ValueError(
                f"cache_mib must be a whole number of MiB, 0 to keep nothing, given {cache_mib!r}"
            )
        if not isinstance(max_pixels, int) or max_pixels < 1:
            raise ValueError(f"max_pixels must be a whole number, 1 or more, given {max_pixels!r}")
        self.name, self.device = name, torch.device(checked(device))
        self.model, self.max_pixels = model.eval().to(self.device), max_pixels
        self.subnets = BlockCache(self.model, cache_mib * 2**20)

    def __repr__(self) -> str:
        return described("Detector", self.name, self.model, self.device, "eager")

    @torch.inference_mode()
    def detect(
        self, image: ImageSource, *, threshold: float = THRESHOLD, selection: Selection | None = None
    ) -> Detections:
        """The objects of an image that the model is at least `threshold` sure of, in [0, 1].

        image: as in `Grounder.ground`, and boxes are pixels of it as people see it. selection: runs this
        subnet instead of the whole network. `milliseconds` is from pixels to boxes, decoding is not in it.
        Raises ValueError for input that is not accepted, FileNotFoundError
        for a missing file.
        """
        share_of_one(threshold, "threshold")
        config, picture = self.model.config, open_image(image, self.max_pixels)
        placed = config.framing.see(picture)
        pictures = config.framing.input([placed], self.device)
        began = time.perf_counter()
        net = self.subnets.whole() if selection is None else self.subnets.get(selection)
        found: SetPrediction = net(pictures.images)
        (seen,) = seen_in(found, [placed.placement])
        milliseconds = 1000 * (time.perf_counter() - began)
        return Detections(
            objects=tuple(named(seen, config.categories, threshold)),
            cost=self.model.cost_model(*pictures.sides).cost(selection and selection.canonical()),
            width=picture.width,
            height=picture.height,
            milliseconds=milliseconds,
            image=name_of(image),
            view=View(image, self.max_pixels),
        )

    def ground(self, *_: object, **__: object) -> NoReturn:
        """A detector reads no words: ValueError that names models that do."""
        require(self.model.config, Ability.GROUNDS)
        raise AssertionError("a model that grounds is loaded as a Grounder")


def named(seen: Seen, categories: tuple[str, ...], threshold: float) -> Iterator[Detection]:
    """What is seen with a score of at least `threshold`, the surest first."""
    order = seen.scores.argsort(descending=True, stable=True)
    for query in order[seen.scores[order] >= threshold].tolist():
        x1, y1, x2, y2 = seen.boxes[query].tolist()
        label = categories[int(seen.categories[query])]
        yield Detection(label, (x1, y1, x2, y2), float(seen.scores[query]))


def seen_in(found: SetPrediction, placements: Iterable[Placement]) -> list[Seen]:
    """Each image's predictions, on the CPU: the best category of each query that is not "nothing"."""
    scores, categories = found.logits.float().softmax(-1)[..., :-1].max(-1)
    boxes, scores, categories = found.boxes_cxcywh01.float().cpu(), scores.cpu(), categories.cpu()
    return [
        Seen(placement.boxes(boxes[row]), scores[row], categories[row])
        for row, placement in enumerate(placements)
    ]


@torch.inference_mode()
def detect_all(
    model: CategoryDetector, images: Iterable[tuple[Id, ImageSource]], *, batch: int = 1
) -> Iterator[tuple[Id, Seen]]:
    """What every query says of each image, in order: what a measure of detection asks for.

    Images of a batch are padded to the largest, which changes answers a little (as it does in DETR): one by
    one they are those of `Detector.detect`. Runs the model where and as it is; it is put in evaluation mode.
    """
    if batch < 1:
        raise ValueError(f"batch must be 1 image or more, given {batch}")
    model.eval()
    framing, device = model.config.framing, next(model.parameters()).device
    rest = iter(images)
    while part := list(islice(rest, batch)):
        pictures = [framing.see(open_image(source)) for _, source in part]
        given = framing.input(pictures, device)
        found = model(given.images, given.shown)
        seen = seen_in(found, [picture.placement for picture in pictures])
        yield from zip([name for name, _ in part], seen, strict=True)


def load_detector(
    model: str | os.PathLike[str],
    *,
    device: str = "cpu",
    download: bool = False,
    cache_mib: int = 256,
    max_pixels: int = MAX_PIXELS,
) -> Detector:
    """A checkpoint folder of a model that detects, or with `download=True` a hub id ("owner/name")."""
    checked(device)  # before the weights are read
    loaded = checkpoint.load_detector(model, download=download)
    name = loaded.info.path.name
    return Detector(loaded.model, name=name, device=device, cache_mib=cache_mib, max_pixels=max_pixels)
