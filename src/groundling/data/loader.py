"""Batches for training: images decoded once and kept in memory, in an order that follows from the seed.

A training step takes one *global* batch of images. Which images, which of their expressions and which are
mirrored depends on (seed, epoch) only; where each expression has a view of its own, an image comes as often
in an epoch as it has expressions; process r of w reads its contiguous slice. So N processes see exactly
what one sees, and a resumed run needs to know nothing but its step.
Shapes: I images, E expressions (each points at its image), L tokens, N things (padded), A attributes.
"""

import hashlib
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from groundling.data.sample import Dataset, Sample, Thing
from groundling.data.transforms import Train, View, flip_words
from groundling.pictures.images import open_image
from groundling.pictures.placement import Framing, Placement, Seen, together

if TYPE_CHECKING:
    from groundling.words.wordpiece import Tokenizer


class OfImage(Protocol):
    """What says something about an image: a sample, a caption."""

    @property
    def image(self) -> Path:
        """Its file."""


S = TypeVar("S", bound=OfImage)
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
            raise ValueError(
                f"{dataset.name} {dataset.split} lists no objects of its images: things need them"
            )
        found = ThingNames.of(dataset.things)
        unknown = [
            *set(found.categories) - set(self.categories),
            *set(found.attributes) - set(self.attributes),
        ]
        if unknown:
            raise ValueError(f"the model knows no thing or attribute {sorted(unknown)[:5]}, the dataset does")


@dataclass(frozen=True)
class ThingTargets:
    """All annotated objects of each image, padded to the image with most: row i holds counts[i] real ones."""

    boxes_cxcywh01: Tensor  # (I, N, 4)
    categories: Tensor  # (I, N) long, -1 is padding
    attributes: Tensor  # (I, N, A) float, 0 or 1
    counts: Tensor  # (I,) long

    def each(self, change: Callable[[Tensor], Tensor]) -> "ThingTargets":
        """The same targets with each tensor changed: moved, pinned."""
        return ThingTargets(
            *map(change, (self.boxes_cxcywh01, self.categories, self.attributes, self.counts))
        )


@dataclass(frozen=True)
class Batch:
    """Images and the expressions about them; len() is the number of expressions."""

    images: Tensor  # (I, 3, H, W) uint8
    shown: Tensor  # (I, H, W) bool, False is padding
    image_index: Tensor  # (E,) long: which image each expression is about
    ids: Tensor  # (E, L) long
    padding: Tensor  # (E, L) bool, True is padding
    boxes_cxcywh01: Tensor  # (E, 4) in the frame of the model's own boxes
    names: tuple[str, ...]  # sample ids
    things: ThingTargets | None = None

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> "Batch":
        """The same batch in memory that a GPU can copy from while it computes."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        names = ("images", "shown", "image_index", "ids", "padding", "boxes_cxcywh01")
        tensors: dict[str, Any] = {name: change(getattr(self, name)) for name in names}
        return replace(self, **tensors, things=None if self.things is None else self.things.each(change))


@dataclass(frozen=True)
class Example(Generic[S]):
    """One image of a step, with the expressions or captions drawn for it."""

    image: Path
    samples: tuple[S, ...]
    mirror: bool
    seed: str  # of what else is random about it


@dataclass(frozen=True)
class Plan:
    """What the order is made from."""

    seed: int
    images_per_batch: int
    expressions_per_image: int
    mirror: bool = True  # half of the images, with their words
    repeat: bool = False  # images that are fewer than a batch holds come several times


class Ordered(Generic[S]):
    """Groups of samples, each of one image, ready to be asked for the examples of any step.

    Where the plan says `repeat` and a batch holds more than there is, an epoch shows everything several
    times, each time with other samples or mirrored: steps keep the size their learning rate was set for.
    `name` and `noun` say, in an error, what has too few of what.
    """

    def __init__(self, groups: tuple[tuple[S, ...], ...], plan: Plan, name: str, noun: str) -> None:
        if len(groups) < plan.images_per_batch:
            if not groups or not plan.repeat:
                raise ValueError(
                    f"{len(groups)} {noun} in {name}, {plan.images_per_batch} in a "
                    "batch; set images_per_batch to what there is or less, or data.repeat to true"
                )
            groups *= -(-plan.images_per_batch // len(groups))
        self.groups, self.plan = groups, plan
        self.images = tuple(group[0].image for group in groups)
        self.steps_per_epoch = len(groups) // plan.images_per_batch

    def examples(self, step: int) -> list[Example[S]]:
        """The global batch of a step: its images in order, their samples, and which are mirrored."""
        epoch, position = divmod(step, self.steps_per_epoch)
        first = position * self.plan.images_per_batch
        chosen = order(self.plan.seed, epoch, len(self.groups))[first : first + self.plan.images_per_batch]
        return [self._example(epoch, index) for index in chosen]

    def _example(self, epoch: int, index: int) -> Example[S]:
        seed = f"{self.plan.seed}/{epoch}/{index}"
        rng = random.Random(seed)
        samples = draw(self.groups[index], self.plan.expressions_per_image, rng)
        return Example(self.images[index], samples, self.plan.mirror and rng.random() < 0.5, seed)


class TrainingSet(Ordered[Sample]):
    """A dataset ready to be asked for the batch of any step.

    framing: how the model sees pictures. view: draws a random view for each expression; every sample is an
    example of its own then, otherwise every image is one.
    names: set to get things beside the expressions. cache_gib: memory for decoded images; what does not fit
    is decoded again each time.
    """

    def __init__(
        self,
        dataset: Dataset,
        tokenizer: "Tokenizer",
        framing: Framing,
        plan: Plan,
        *,
        view: Train | None = None,
        names: ThingNames | None = None,
        cache_gib: float = 4.0,
    ) -> None:
        groups = tuple((sample,) for sample in dataset.samples) if view else by_image(dataset.samples)
        what = "images" if view is None else "expressions"
        super().__init__(groups, plan, f"{dataset.name} {dataset.split}", what)
        if names is not None:
            names.check(dataset)
        self.dataset, self.tokenizer, self.view, self.names = dataset, tokenizer, view, names
        limit = int(cache_gib * 2**30)
        self.seen = pictures(framing, limit)
        self.originals = Cache(lambda path: np.asarray(open_image(path)), lambda pixels: pixels.nbytes, limit)

    def collate(self, examples: Sequence[Example[Sample]]) -> Batch:
        """Examples as tensors."""
        shown = [self._whole(example) if self.view is None else self._view(example) for example in examples]
        seen, words, boxes = zip(*shown, strict=True)
        batch = together(seen)
        tokens = self.tokenizer.encode([expression for part in words for expression in part])
        return Batch(
            images=batch.pixels,
            shown=batch.shown,
            image_index=torch.tensor([i for i, e in enumerate(examples) for _ in e.samples]),
            ids=tokens.ids,
            padding=tokens.padding,
            boxes_cxcywh01=torch.cat(boxes),
            names=tuple(sample.id for example in examples for sample in example.samples),
            things=None if self.names is None else self._things(examples, self.names),
        )

    def _whole(self, example: Example[Sample]) -> tuple[Seen, list[str], Tensor]:
        """The whole image, the words and boxes of all its expressions; mirrored or not."""
        seen = self.seen.get(example.image)
        words = [flip_words(s.expression) if example.mirror else s.expression for s in example.samples]
        boxes = shares([s.box for s in example.samples], seen.placement, example.mirror)
        return seen.mirrored() if example.mirror else seen, words, boxes

    def _view(self, example: Example[Sample]) -> tuple[Seen, list[str], Tensor]:
        """A random view of the image that keeps the object of its only expression."""
        assert self.view is not None
        (sample,) = example.samples
        image = Image.fromarray(self.originals.get(example.image))
        rng = random.Random(f"{example.seed}/view")
        seen, view = self.view(View(image, sample.box, sample.expression), rng)
        return seen, [view.expression], shares([view.box], seen.placement, mirror=False)

    def _things(self, examples: Sequence[Example[Sample]], names: ThingNames) -> ThingTargets:
        things = [tuple(self.dataset.things.get(example.image, ())) for example in examples]
        most = max(1, *(len(t) for t in things))
        targets = ThingTargets(
            torch.zeros(len(things), most, 4),
            torch.full((len(things), most), -1),
            torch.zeros(len(things), most, len(names.attributes)),
            torch.tensor([len(t) for t in things]),
        )
        for i, (example, own) in enumerate(zip(examples, things, strict=True)):
            placement = self.seen.get(example.image).placement
            targets.boxes_cxcywh01[i, : len(own)] = shares([t.box for t in own], placement, example.mirror)
            for n, thing in enumerate(own):
                targets.categories[i, n] = names.categories.index(thing.category)
                for name in thing.attributes:
                    name = MIRRORED.get(name, name) if example.mirror else name
                    targets.attributes[i, n, names.attributes.index(name)] = 1
        return targets


class Cache(Generic[T]):
    """What `make` gives for an image file, kept until `limit` bytes are used; threads can share one."""

    def __init__(self, make: Callable[[Path], T], nbytes: Callable[[T], int], limit: int) -> None:
        self.make, self.nbytes, self.limit, self.used = make, nbytes, limit, 0
        self.kept: dict[Path, T] = {}
        self.lock = threading.Lock()

    def get(self, path: Path) -> T:
        """Not to be written to: others are given the same."""
        found = self.kept.get(path)
        if found is not None:
            return found
        made = self.make(path)
        with self.lock:
            if path not in self.kept and self.used + self.nbytes(made) <= self.limit:
                self.kept[path] = made
                self.used += self.nbytes(made)
        return made


def pictures(framing: Framing, limit: int) -> Cache[Seen]:
    """Images as a model sees them, uint8, at most `limit` bytes of which are kept."""
    return Cache(lambda path: framing.see(open_image(path)), lambda seen: seen.pixels.nbytes, limit)


def shares(boxes: Sequence[Sequence[float]], placement: Placement, mirror: bool) -> Tensor:
    """Original pixels to a model's boxes (N, 4); a mirrored box has its centre on the other side."""
    boxes_cxcywh01 = placement.shares(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    if mirror:
        boxes_cxcywh01[:, 0] = 1 - boxes_cxcywh01[:, 0]
    return boxes_cxcywh01


def by_image(samples: Sequence[S]) -> tuple[tuple[S, ...], ...]:
    """The samples of each image, in the order in which the images come first."""
    groups: dict[Path, list[S]] = {}
    for sample in samples:
        groups.setdefault(sample.image, []).append(sample)
    return tuple(tuple(group) for group in groups.values())


@lru_cache(maxsize=4)
def order(seed: int, epoch: int, examples: int) -> tuple[int, ...]:
    """The permutation of the examples in an epoch."""
    permutation = list(range(examples))
    random.Random(f"{seed}/{epoch}").shuffle(permutation)
    return tuple(permutation)


def draw(samples: Sequence[T], count: int, rng: random.Random) -> tuple[T, ...]:
    """`count` of an image's expressions, no repetition before each had its turn: batches keep one shape."""
    drawn: list[T] = []
    while len(drawn) < count:
        drawn += rng.sample(list(samples), min(count - len(drawn), len(samples)))
    return tuple(drawn)


def fingerprint(dataset: Dataset) -> str:
    """SHA-256 of what a dataset says, wherever its files lie."""
    digest = hashlib.sha256()
    for sample in dataset.samples:
        digest.update(
            f"{sample.id}\t{sample.image.name}\t{sample.expression}\t{sample.box}\n".encode(
                errors="surrogatepass"
            )
        )
    return digest.hexdigest()


def share(examples: Sequence[T], rank: int, world: int) -> Sequence[T]:
    """The contiguous slice of a global batch that process `rank` of `world` works on."""
    if len(examples) % world:
        raise ValueError(
            f"a batch of {len(examples)} images cannot be cut into {world} equal parts; "
            "set images_per_batch to a multiple of the processes times accumulate"
        )
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
