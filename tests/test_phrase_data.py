"""Phrases for training: what is drawn, what is absent, what a mirror makes of it; features that are kept."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.testing import assert_close

from groundling.data import features
from groundling.data.caption import Caption, CaptionSet, Phrase, whole
from groundling.data.loader import Plan, by_image
from groundling.data.phrases import Absent, FrozenWords, PhraseTrainingSet, phrases
from groundling.pictures.placement import Square
from groundling.words.tokens import Tokens
from groundling.words.wordpiece import Tokenizer

FRAMING = Square(size=32)


def painted(folder: Path, name: str, seed: int) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 80, 3), dtype=np.uint8)
    path = folder / "images" / name
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def captions(tmp_path: Path) -> CaptionSet:
    first, second, third = (painted(tmp_path, f"{n}.png", n) for n in range(3))
    told = Caption(
        "a",
        first,
        "Two men left of a red car",
        (
            Phrase(((0, 7),), ((0, 0, 20, 40), (30, 0, 50, 40)), category="people"),
            Phrase(((16, 25),), ((60, 10, 80, 30),), category="vehicles"),
        ),
    )
    other = Caption(
        "b",
        second,
        "A woman in a scarf under the sky",
        (
            Phrase(((0, 7),), ((5, 5, 25, 35),), category="people"),
            Phrase(((11, 18),), ((10, 10, 20, 20),), category="clothing"),
            Phrase(((25, 32),), ((0, 0, 80, 10),), category="scene"),
        ),
    )
    named = [
        Caption(
            "c-1",
            third,
            "dog",
            (whole("dog", [(0, 0, 10, 10), (60, 0, 70, 10)], category="dog"),),
            referring=True,
        ),
        Caption("c-2", third, "cat", (whole("cat", [(20, 20, 40, 40)], category="cat"),), referring=True),
    ]
    return CaptionSet("mine", "train", (told, other, *named))


def tokenizer() -> Tokenizer:
    return Tokenizer.train(["two men left of a red car", "dog cat woman scarf"], 200, 20)


def test_every_phrase_with_its_boxes_and_names_make_expressions(captions: CaptionSet) -> None:
    said = phrases(captions)
    assert [(one.text, len(one.boxes), one.kind) for one in said] == [
        ("Two men", 2, "said"), ("a red car", 1, "said"), ("A woman", 1, "said"), ("a scarf", 1, "said"),
        ("the sky", 1, "said"), ("dog", 2, "name"), ("cat", 1, "name"),
    ]  # fmt: skip
    made = {one.text: one.boxes for one in phrases(captions, made=True) if one.kind == "made"}
    assert made["left dog"] == ((0, 0, 10, 10),)
    assert made["man on the right"] == ((30, 0, 50, 40),)
    assert "left cat" not in made


def test_what_is_absent_is_of_other_pictures_and_may_not_be_there(captions: CaptionSet) -> None:
    groups = by_image(phrases(captions))
    pool, rng = Absent(groups), random.Random(0)
    first, second, third = (group[0].image for group in groups)
    absent = {image: {one.text for one in pool.of(image, 3, rng)} for image in (first, second, third)}
    assert absent[second] == {"a red car"}  # people and clothes may be there though nobody said so
    assert absent[first] == set()  # women and scarfs may be there, and a sky always is
    assert absent[third] == set()  # all of its categories are known, and there are no others
    assert all(one.boxes == () for one in pool.of(second, 3, rng))


def test_a_batch_is_what_its_step_says(captions: CaptionSet) -> None:
    plan = Plan(7, 3, 4, mirror=True)
    data = PhraseTrainingSet(captions, tokenizer(), FRAMING, plan, absent=1, made=0.5)
    assert data.examples(5) == data.examples(5)
    batch = data.collate(data.examples(5))
    assert len(batch) == 12
    assert batch.image_index.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert batch.images is not None
    assert tuple(batch.images.shape) == (3, 3, 32, 32)
    assert batch.boxes_cxcywh01.shape == (12, int(batch.counts.max()), 4)
    absent = [name for name, count in zip(batch.names, batch.counts.tolist(), strict=True) if count == 0]
    assert len(absent) == 1
    assert "not in" in absent[0]


def test_a_mirror_swaps_sides_and_boxes(captions: CaptionSet) -> None:
    data = PhraseTrainingSet(captions, tokenizer(), FRAMING, Plan(0, 3, 40, mirror=True), made=1.0)
    seen = set()
    for step in range(6):
        for example in data.examples(step):
            batch = data.collate([example])
            for row, one in enumerate(example.samples):
                if one.text != "left dog":
                    continue
                centre = float(batch.boxes_cxcywh01[row, 0, 0])
                assert centre == pytest.approx(1 - 5 / 80 if example.mirror else 5 / 80)
                words = data.tokenizer.pieces("right dog" if example.mirror else "left dog")
                ids = batch.ids[row][~batch.padding[row]].tolist()
                assert len(ids) == len(words)
                seen.add(example.mirror)
    assert seen == {True, False}


def maps(images: Tensor) -> list[Tensor]:
    return [images[:, :, ::8, ::8], images.mean((2, 3), keepdim=True)]


def test_features_are_kept_and_made_anew_for_others(tmp_path: Path) -> None:
    pictures = [painted(tmp_path, f"{n}.png", n) for n in range(11)]
    asked = []

    def counted(images: Tensor) -> list[Tensor]:
        asked.append(len(images))
        return maps(images)

    folder = tmp_path / "kept"
    found = features.kept(folder, pictures, counted, FRAMING, ["a", "b"])
    assert sum(asked) == 22  # each picture, and its mirror image
    again = features.kept(folder, pictures[3:7], counted, FRAMING, ["a", "b"])
    first = features.kept(folder, pictures, counted, FRAMING, ["a"])
    assert sum(asked) == 22  # fewer pictures are there too, and fewer levels
    assert len(first.of([(pictures[0], True)])) == 1
    for mirror in (False, True):
        pixels = FRAMING.see(Image.open(pictures[4])).pixels
        expected = maps(FRAMING.normalise(pixels.flip(-1) if mirror else pixels)[None])
        for each in (found, again):
            for ours, theirs in zip(each.of([(pictures[4], mirror)]), expected, strict=True):
                assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
    features.kept(folder, pictures, counted, FRAMING, ["a", "other"])
    assert sum(asked) == 44
    features.kept(folder, [*pictures, painted(tmp_path, "new.png", 99)], counted, FRAMING, ["a", "other"])
    assert sum(asked) == 44 + 24


def test_a_cache_that_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    pictures = [painted(tmp_path, f"{n}.png", n) for n in range(9)]
    folder = tmp_path / "kept"

    def broken(images: Tensor) -> list[Tensor]:
        if len(images) == 1:
            raise KeyboardInterrupt
        return maps(images)

    with pytest.raises(KeyboardInterrupt):
        features.kept(folder, pictures, broken, FRAMING, ["a", "b"])
    found = features.kept(folder, pictures, maps, FRAMING, ["a", "b"])
    assert bool(found.of([(pictures[8], False)])[0].abs().sum() > 0)


def test_words_are_read_once() -> None:
    read = []

    def encoder(tokens: Tokens) -> Tensor:
        read.append(tokens.ids.tolist()[0])
        return tokens.ids[..., None].float() * torch.tensor([1.0, 2.0])

    words = FrozenWords(encoder)
    tokens = tokenizer().encode(["dog", "two men", "dog"])
    found = words.of(tokens)
    assert len(read) == 2
    expected = tokens.ids[..., None] * torch.tensor([1.0, 2.0]) * ~tokens.padding[..., None]
    assert_close(found, expected)
    words.of(tokens)
    assert len(read) == 2
