"""Batches of phrases and their boxes, for models that ground a phrase or say that it is absent.

A phrase of a caption may mean several boxes, any of which is right. To those that a picture's captions say
come expressions of place that are made from its objects (`templates`), and phrases of other pictures, of
which nothing is there. As in `loader`, the batch of a step follows from the seed alone.
Shapes: I images, E phrases (each points at its image), L tokens, M boxes (padded to the phrase with most).
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from groundling.data.caption import Caption, CaptionSet
from groundling.data.features import Features
from groundling.data.image_folder import Sizes
from groundling.data.loader import Example, Ordered, Plan, by_image, pictures, shares
from groundling.data.sample import Box
from groundling.data.templates import persons, templates
from groundling.data.transforms import flip_words
from groundling.pictures.placement import Framing, Placement, together
from groundling.words.tokens import Tokens

if TYPE_CHECKING:
    from groundling.words.wordpiece import Tokenizer

PEOPLE = "people"  # Flickr30k Entities' types
OF_PEOPLE = ("clothing", "bodyparts")
NEVER = (
    "scene",
    "notvisual",
)  # nearly every picture has a sky or a ground, whether its captions say so or not
TRIES = 20  # phrases of other pictures that are looked at for one that is absent


@dataclass(frozen=True)
class Asked:
    """A phrase about an image, all boxes that it means (none: it is not there), and where it is from."""

    id: str
    image: Path
    text: str
    boxes: tuple[Box, ...]
    category: str | None = None
    kind: Literal["said", "name", "made"] = "said"  # in a caption, of a category, or in a template

    def is_of(self, *types: str) -> bool:
        """Whether it is of one of these types."""
        return any(each in types for each in (self.category or "").split("/"))


@dataclass(frozen=True)
class PhraseBatch:
    """Images, or what a frozen backbone says of them, and phrases about them; len() counts the phrases."""

    images: Tensor | None  # (I, 3, H, W) uint8; None where there are maps
    maps: tuple[Tensor, ...] | None  # of each level, (I, C, H, W)
    image_index: Tensor  # (E,) long: which image each phrase is about
    ids: Tensor  # (E, L) long
    padding: Tensor  # (E, L) bool, True is padding
    text: Tensor | None  # (E, L, D) what a frozen text encoder says
    boxes_cxcywh01: Tensor  # (E, M, 4) in the frame of the model's own boxes
    counts: Tensor  # (E,) long: how many of them are real; 0 for what is not there
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device | str) -> "PhraseBatch":
        """The same batch on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> "PhraseBatch":
        """The same batch in memory that a GPU can copy from while it computes."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "PhraseBatch":
        changed: dict[str, Any] = {
            name: change(getattr(self, name))
            for name in ("image_index", "ids", "padding", "boxes_cxcywh01", "counts")
        }
        return replace(
            self,
            **changed,
            images=None if self.images is None else change(self.images),
            maps=None if self.maps is None else tuple(map(change, self.maps)),
            text=None if self.text is None else change(self.text),
        )


class FrozenWords:
    """What a frozen text encoder says of phrases; each is read once."""

    def __init__(self, encoder: Callable[[Tokens], Tensor]) -> None:
        self.encoder = encoder
        self.known: dict[tuple[int, ...], Tensor] = {}

    @torch.no_grad()
    def of(self, tokens: Tokens) -> Tensor:
        """Features (E, L, D), 0 at padding."""
        rows = [
            tuple(ids[~padding].tolist()) for ids, padding in zip(tokens.ids, tokens.padding, strict=True)
        ]
        for row in dict.fromkeys(rows):
            if row not in self.known:
                ids = torch.tensor([row])
                self.known[row] = self.encoder(Tokens(ids, torch.zeros_like(ids, dtype=torch.bool)))[0].half()
        found = torch.zeros(*tokens.ids.shape, self.known[rows[0]].shape[1])
        for place, row in enumerate(rows):
            found[place, : len(row)] = self.known[row].float()
        return found


class PhraseTrainingSet(Ordered[Asked]):
    """Captions ready to be asked for the phrases of any step.

    framing: how the model sees pictures. absent: so many of the phrases of each image are those of other
    pictures. made: share of expressions from templates, in images whose objects allow some. features: what
    the frozen backbone says, instead of the pictures. words: what the frozen text encoder says.
    """

    def __init__(
        self,
        captions: CaptionSet,
        tokenizer: "Tokenizer",
        framing: Framing,
        plan: Plan,
        *,
        absent: int = 0,
        made: float = 0.0,
        features: Features | None = None,
        words: FrozenWords | None = None,
        cache_gib: float = 4.0,
    ) -> None:
        groups = by_image(phrases(captions, made > 0))
        super().__init__(groups, plan, f"{captions.name} {captions.split}", "images")
        self.tokenizer, self.absent, self.made = tokenizer, absent, made
        self.features, self.words, self.framing = features, words, framing
        self.seen, self.sizes = pictures(framing, int(cache_gib * 2**30)), Sizes()
        self.pool = Absent(groups)

    def _example(self, epoch: int, index: int) -> Example[Asked]:
        seed = f"{self.plan.seed}/{epoch}/{index}"
        rng = random.Random(seed)
        group = self.groups[index]
        said = [one for one in group if one.kind != "made"]
        made = [one for one in group if one.kind == "made"]
        count = self.plan.expressions_per_image
        gone = self.pool.of(group[0].image, self.absent, rng)
        count -= len(gone)
        placed = sum(rng.random() < self.made for _ in range(count)) if made else 0
        drawn = [*_drawn(made, placed, rng), *_drawn(said, count - placed, rng), *gone]
        return Example(self.images[index], tuple(drawn), self.plan.mirror and rng.random() < 0.5, seed)

    def collate(self, examples: Sequence[Example[Asked]]) -> PhraseBatch:
        """Examples as tensors."""
        asked = [one for example in examples for one in example.samples]
        texts, boxes = [], []
        for example in examples:
            placement = self.placement(example.image)
            for one in example.samples:
                texts.append(flip_words(one.text) if example.mirror else one.text)
                boxes.append(shares(one.boxes, placement, example.mirror))
        tokens = self.tokenizer.encode(texts)
        most = max(1, *map(len, boxes))
        padded = torch.zeros(len(boxes), most, 4)
        for row, own in enumerate(boxes):
            padded[row, : len(own)] = own
        views = [(example.image, example.mirror) for example in examples]
        return PhraseBatch(
            images=None if self.features else self._pictures(views),
            maps=self.features.of(views) if self.features else None,
            image_index=torch.tensor([i for i, e in enumerate(examples) for _ in e.samples]),
            ids=tokens.ids,
            padding=tokens.padding,
            text=self.words.of(tokens) if self.words else None,
            boxes_cxcywh01=padded,
            counts=torch.tensor([*map(len, boxes)]),
            names=tuple(one.id for one in asked),
        )

    def placement(self, image: Path) -> Placement:
        """Where a picture lies in the network's input."""
        if self.features is None:
            return self.seen.get(image).placement
        return self.framing.place(*self.sizes.of(image))

    def _pictures(self, views: Sequence[tuple[Path, bool]]) -> Tensor:
        seen = [self.seen.get(image) for image, _ in views]
        return together(
            [each.mirrored() if v[1] else each for each, v in zip(seen, views, strict=True)]
        ).pixels


class Absent:
    """Phrases of other pictures that are not in a picture, as far as its own captions can tell."""

    def __init__(self, groups: Sequence[Sequence[Asked]]) -> None:
        self.said: dict[Path, set[str]] = {}
        self.people: set[Path] = set()
        self.pools: dict[str, dict[str, Asked]] = {"name": {}, "said": {}}  # by text
        self.named: set[Path] = set()  # pictures of which all objects of the named categories are known
        for group in groups:
            image = group[0].image
            told = [one for one in group if one.kind != "made"]
            self.said[image] = {word for one in told for word in _words(one.text)}
            if all(one.kind == "name" for one in told):
                self.named.add(image)
            if any(one.is_of(PEOPLE, *OF_PEOPLE) for one in told):
                self.people.add(image)
            for one in told:
                if not one.is_of(*NEVER):
                    self.pools[one.kind].setdefault(one.text, one)
        self.lists = {kind: [*pool.values()] for kind, pool in self.pools.items()}

    def of(self, image: Path, count: int, rng: random.Random) -> list[Asked]:
        """So many of them, or fewer where most phrases may be true of the picture."""
        pool = self.lists["name" if image in self.named else "said"]
        found: list[Asked] = []
        for _ in range(TRIES * count if pool else 0):
            if len(found) == count:
                break
            one = rng.choice(pool)
            if not self._may_be_there(image, one):
                found.append(replace(one, image=image, boxes=(), id=f"{one.id} not in {image.stem}"))
        return found

    def _may_be_there(self, image: Path, one: Asked) -> bool:
        words = _words(one.text)
        if not words or words[-1] in self.said[image]:
            return True
        return one.is_of(PEOPLE, *OF_PEOPLE) and image in self.people


def phrases(captions: CaptionSet, made: bool = False) -> list[Asked]:
    """All phrases of captions that mean a box, and with `made` the expressions made from named objects."""
    found: list[Asked] = []
    for caption in captions.captions:
        for number, phrase in enumerate(caption.phrases):
            if not phrase.boxes:
                continue
            text = caption.said(phrase)
            name = f"{caption.id}-{number}"
            kind: Literal["said", "name"] = "name" if _is_name(caption) else "said"
            found.append(Asked(name, caption.image, text, phrase.boxes, phrase.category, kind))
    return [*found, *_made(found)] if made else found


def _made(asked: Sequence[Asked]) -> Iterator[Asked]:
    """Expressions from the objects of categories, and from the people that captions tell of."""
    named: dict[Path, dict[str, Sequence[Box]]] = {}
    people: dict[Path, list[tuple[str, Box]]] = {}
    for one in asked:
        if one.kind == "name":
            named.setdefault(one.image, {})[one.text] = one.boxes
        elif one.is_of(PEOPLE):
            people.setdefault(one.image, []).extend((one.text, box) for box in one.boxes)
    sizes = Sizes()
    for image, said in people.items():
        named.setdefault(image, {}).update(persons(said))
    for image, objects in named.items():
        for number, made in enumerate(templates(objects, *sizes.of(image))):
            yield Asked(f"{image.stem}-made-{number}", image, made.text, (made.box,), kind="made")


def _is_name(caption: Caption) -> bool:
    """Whether a caption is the name of a category, of which all objects in the image are known."""
    return caption.referring and caption.phrases[0].category == caption.text


def _drawn(asked: Sequence[Asked], count: int, rng: random.Random) -> list[Asked]:
    """`count` of them, no repetition before each had its turn; none of none."""
    drawn: list[Asked] = []
    while asked and len(drawn) < count:
        drawn += rng.sample(list(asked), min(count - len(drawn), len(asked)))
    return drawn


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def texts(captions: CaptionSet) -> tuple[str, ...]:
    """Every different phrase, and every different expression that can be made, in order."""
    return tuple(dict.fromkeys(one.text for one in phrases(captions, made=True)))
