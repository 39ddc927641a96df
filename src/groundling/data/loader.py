"""Batches for training: images decoded once and kept as bytes in memory, in an order that follows from the seed alone.

A training step takes one *global* batch of images. Which images, which of their expressions and which are mirrored
depends on (seed, epoch) only; process r of w reads its contiguous slice. So N processes see exactly what one sees,
and a resumed run needs to know nothing but its step.
Shapes: I images, E expressions (each points at its image), L tokens, N things (padded), A attributes.
"""

import random
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from groundling.boxes import xyxy_to_cxcywh
from groundling.data.sample import Dataset, Sample, Thing
from groundling.images import Placement, letterbox, open_image

if TYPE_CHECKING:
    from groundling.language import Tokenizer

T = TypeVar("T")
MIRRORED = {"facing:left": "facing:right", "facing:right": "facing:left"}


@dataclass(frozen=True)
class ThingNames:
    """What the indices in ThingTargets mean."""

    categories: tuple[str, ...]
    attributes: tuple[str, ...]

    @classmethod
    def of(cls, things: Mapping[Path, Sequence[Thing]]) -> "ThingNames":
        """All names that occur, in alphabetical order."""
        every = [thing for image in things.values() for thing in image]
        categories = {thing.category for thing in every}
        attributes = {name for thing in every for name in thing.attributes}
        attributes |= {MIRRORED[name] for name in attributes & MIRRORED.keys()}
        return cls(tuple(sorted(categories)), tuple(sorted(attributes)))

    def check(self, dataset: Dataset) -> None:
        """ValueError where the dataset has no things, or names some that are not listed here."""
        if not any(dataset.things.values()):
            raise ValueError(f"{dataset.name} {dataset.split} lists no objects of its images: things need them")
        found = ThingNames.of(dataset.things)
        unknown = [*set(found.categories) - set(self.categories), *set(found.attributes) - set(self.attributes)]
        if unknown:
            raise ValueError(f"the model knows no thing or attribute {sorted(unknown)[:5]}, the dataset does")


@dataclass(frozen=True)
class ThingTargets:
    """All annotated objects of each image, padded to the image with most: row i holds counts[i] real ones."""

    boxes_cxcywh01: Tensor  # (I, N, 4)
    categories: Tensor  # (I, N) long, -1 is padding
    attributes: Tensor  # (I, N, A) float, 0 or 1
    counts: Tensor  # (I,) long

    def to(self, device: torch.device | str) -> "ThingTargets":
        """The same targets on another device."""
        fields = (self.boxes_cxcywh01, self.categories, self.attributes, self.counts)
        return ThingTargets(*(tensor.to(device, non_blocking=True) for tensor in fields))


@dataclass(frozen=True)
class Batch:
    """Images and the expressions about them; len() is the number of expressions."""

    images: Tensor  # (I, 3, S, S) uint8
    image_index: Tensor  # (E,) long: which image each expression is about
    ids: Tensor  # (E, L) long
    padding: Tensor  # (E, L) bool, True is padding
    boxes_cxcywh01: Tensor  # (E, 4) of the canvas
    names: tuple[str, ...]  # sample ids
    things: ThingTargets | None = None

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        tensors = {
            name: getattr(self, name).to(device, non_blocking=True)
            for name in ("images", "image_index", "ids", "padding", "boxes_cxcywh01")
        }
        return replace(self, **tensors, things=None if self.things is None else self.things.to(device))


@dataclass(frozen=True)
class Example:
    """One image of a step, with the expressions drawn for it."""

    image: Path
    samples: tuple[Sample, ...]
    mirror: bool


@dataclass(frozen=True)
class Plan:
    """What the order is made from."""

    seed: int
    images_per_batch: int
    expressions_per_image: int
    mirror: bool = True  # half of the images, with their words


class TrainingSet:
    """A dataset ready to be asked for the batch of any step.

    size: side of the square canvas. names: set to get things beside the expressions.
    cache_gib: memory for decoded images; what does not fit is decoded again each time.
    """

    def __init__(
        self,
        dataset: Dataset,
        tokenizer: "Tokenizer",
        size: int,
        plan: Plan,
        *,
        names: ThingNames | None = None,
        cache_gib: float = 4.0,
    ) -> None:
        groups: dict[Path, list[Sample]] = {}
        for sample in dataset.samples:
            groups.setdefault(sample.image, []).append(sample)
        if len(groups) < plan.images_per_batch:
            raise ValueError(
                f"{dataset.name} {dataset.split} has {len(groups)} images, images_per_batch is {plan.images_per_batch}"
            )
        if names is not None:
            names.check(dataset)
        self.dataset, self.tokenizer, self.size, self.plan, self.names = dataset, tokenizer, size, plan, names
        self.images = tuple(groups)
        self.groups = tuple(tuple(group) for group in groups.values())
        self.steps_per_epoch = len(self.images) // plan.images_per_batch
        self.cache = ImageCache(size, int(cache_gib * 2**30))

    def examples(self, step: int) -> list[Example]:
        """The global batch of a step: its images in order, their expressions, and which are mirrored."""
        epoch, position = divmod(step, self.steps_per_epoch)
        first = position * self.plan.images_per_batch
        chosen = order(self.plan.seed, epoch, len(self.images))[first : first + self.plan.images_per_batch]
        return [self._example(epoch, index) for index in chosen]

    def _example(self, epoch: int, index: int) -> Example:
        rng = random.Random(f"{self.plan.seed}/{epoch}/{index}")
        samples = draw(self.groups[index], self.plan.expressions_per_image, rng)
        return Example(self.images[index], samples, self.plan.mirror and rng.random() < 0.5)

    def collate(self, examples: Sequence[Example]) -> Batch:
        """Examples as tensors."""
        placed = [self.cache.get(example.image) for example in examples]
        canvases = [c.flip(-1) if e.mirror else c for e, (c, _) in zip(examples, placed, strict=True)]
        samples = [sample for example in examples for sample in example.samples]
        tokens = self.tokenizer.encode([words(s.expression, e.mirror) for e in examples for s in e.samples])
        boxes = [
            self._boxes([s.box for s in e.samples], placement, e.mirror)
            for e, (_, placement) in zip(examples, placed, strict=True)
        ]
        return Batch(
            images=torch.stack(canvases),
            image_index=torch.tensor([i for i, e in enumerate(examples) for _ in e.samples]),
            ids=tokens.ids,
            padding=tokens.padding,
            boxes_cxcywh01=torch.cat(boxes),
            names=tuple(sample.id for sample in samples),
            things=None if self.names is None else self._things(examples, [p for _, p in placed], self.names),
        )

    def _boxes(self, boxes: Sequence[Sequence[float]], placement: Placement, mirror: bool) -> Tensor:
        """Original pixels to the canvas, as shares of its side; a mirrored box has its centre on the other side."""
        xyxy = placement.apply(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
        boxes_cxcywh01 = xyxy_to_cxcywh(xyxy) / self.size
        if mirror:
            boxes_cxcywh01[:, 0] = 1 - boxes_cxcywh01[:, 0]
        return boxes_cxcywh01

    def _things(
        self, examples: Sequence[Example], placements: Sequence[Placement], names: ThingNames
    ) -> ThingTargets:
        things = [tuple(self.dataset.things.get(example.image, ())) for example in examples]
        most = max(1, *(len(t) for t in things))
        targets = ThingTargets(
            torch.zeros(len(things), most, 4),
            torch.full((len(things), most), -1),
            torch.zeros(len(things), most, len(names.attributes)),
            torch.tensor([len(t) for t in things]),
        )
        for i, (example, placement, own) in enumerate(zip(examples, placements, things, strict=True)):
            targets.boxes_cxcywh01[i, : len(own)] = self._boxes([t.box for t in own], placement, example.mirror)
            for n, thing in enumerate(own):
                targets.categories[i, n] = names.categories.index(thing.category)
                for name in thing.attributes:
                    name = MIRRORED.get(name, name) if example.mirror else name
                    targets.attributes[i, n, names.attributes.index(name)] = 1
        return targets


@dataclass
class ImageCache:
    """Letterboxed images as bytes, filled until `limit` bytes; safe to ask from several threads."""

    size: int
    limit: int
    used: int = 0
    kept: dict[Path, tuple[Tensor, Placement]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, path: Path) -> tuple[Tensor, Placement]:
        """The canvas (3, S, S) uint8, not to be written to, and where the image lies on it."""
        found = self.kept.get(path)
        if found is not None:
            return found
        canvas, placement = letterbox(open_image(path), self.size)
        with self.lock:
            if path not in self.kept and self.used + canvas.nbytes <= self.limit:
                self.kept[path] = canvas, placement
                self.used += canvas.nbytes
        return canvas, placement


@lru_cache(maxsize=4)
def order(seed: int, epoch: int, images: int) -> tuple[int, ...]:
    """The permutation of the images in an epoch."""
    permutation = list(range(images))
    random.Random(f"{seed}/{epoch}").shuffle(permutation)
    return tuple(permutation)


def draw(samples: Sequence[Sample], count: int, rng: random.Random) -> tuple[Sample, ...]:
    """`count` of an image's expressions, no repetition before each had its turn: batches keep one shape."""
    drawn: list[Sample] = []
    while len(drawn) < count:
        drawn += rng.sample(list(samples), min(count - len(drawn), len(samples)))
    return tuple(drawn)


def words(expression: str, mirror: bool) -> str:
    """The expression that is true of the image as shown."""
    if not mirror:
        return expression
    from groundling.data.transforms import flip_words

    return flip_words(expression)


def share(examples: Sequence[Example], rank: int, world: int) -> Sequence[Example]:
    """The contiguous slice of a global batch that process `rank` of `world` works on."""
    if len(examples) % world:
        raise ValueError(f"a batch of {len(examples)} images cannot be cut into {world} equal parts")
    each = len(examples) // world
    return examples[rank * each : (rank + 1) * each]


def ahead(make: Callable[[int], T], steps: Sequence[int], workers: int) -> Iterator[T]:
    """make(step) for each step in order, with up to `workers` of them being made in threads meanwhile."""
    if workers == 0:
        yield from map(make, steps)
        return
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="loader")
    try:
        for step in steps:
            waiting.append(pool.submit(make, step))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
