"""Each protocol through a stand-in for a model, whose answers are said here; numbers are worked by hand."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from groundling.data import Answer as TrueAnswer
from groundling.data import Caption as Text
from groundling.data import CaptionSet, Dataset, Phrase, Sample
from groundling.data.coco import Instance, Instances, Picture
from groundling.evaluate import expressions, objects, phrase_masks, phrases, questions
from groundling.evaluate.objects import MOST, NamesWarning, ObjectSet, shared, spoken
from groundling.evaluate.score import Score
from groundling.pictures import masks
from groundling.pictures.masks import decode, encode
from groundling.results import (
    Answer,
    CaptionGrounding,
    Cost,
    Detection,
    Detections,
    PhraseObjects,
    Segmentation,
)

COST = Cost({"all": 40}, 100)
FIRST, SECOND = (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0)
SIX, HALF = (0.0, 0.0, 10.0, 6.0), (0.0, 0.0, 10.0, 5.0)  # IoU 0.6 and exactly 0.5 with the first
AWAY = (50.0, 50.0, 60.0, 60.0)
A, B = Path("a.png"), Path("b.png")


def seen(*boxes: tuple[float, ...], label: str = "it") -> Detections:
    """Boxes, the surest first."""
    found = tuple(Detection(label, box, 1 - place / 1000) for place, box in enumerate(boxes))  # type: ignore[arg-type]
    return Detections(found, COST, 100, 100, 1.0)


def in_time(score: Score) -> dict[str, object]:
    """The JSON line without the time, which was taken."""
    row = json.loads(json.dumps(score.as_dict(), allow_nan=False))
    assert row.pop("milliseconds") > 0
    return row


# Expressions

EXPRESSIONS = Dataset(
    "refcoco",
    "testA",
    (
        Sample("1", B, "left", FIRST),
        Sample("2", A, "right", FIRST),
        Sample("3", B, "the man", FIRST),
        Sample("4", B, "the dog", FIRST),
    ),
)
SAID = {
    "left": seen(FIRST, AWAY),
    "right": seen(AWAY, HALF),
    "the man": seen(*[AWAY] * 6, SIX),
    "the dog": seen(),
}


def test_expressions_are_asked_image_by_image() -> None:
    """Right at place 1, 2 (the border), 7 and never."""
    asked = []

    def ask(image: Path, texts: Sequence[str]) -> list[Detections]:
        asked.append((image, list(texts)))
        return [SAID[text] for text in texts]

    found = expressions.precision(EXPRESSIONS, ask, model="known")
    assert asked == [(A, ["right"]), (B, ["left", "the man", "the dog"])]
    assert in_time(found) == {
        "dataset": "refcoco", "split": "testA", "model": "known", "items": 4, "rule": "iou ≥ 0.5",
        "expressions": 4, "prec@1": 0.25, "prec@5": 0.5, "prec@10": 0.75, "macs": 40, "macs_share": 0.4,
    }  # fmt: skip
    border = expressions.precision(EXPRESSIONS, ask, strict=True).result
    assert (border.prec_at_5, border.prec_at_10) == (0.25, 0.5)  # type: ignore[attr-defined]
    assert expressions.precision(EXPRESSIONS, ask, overlap="giou").as_dict()["rule"] == "giou ≥ 0.5"


def test_what_texts_of_an_image_share_counts_for_each() -> None:
    """A static model cost less a text, the more of an image were asked for; an adaptive one always the same.

    The first costs 40 MACs of 50; the second, by itself, 5 + 35 of 10 + 35.
    """
    costs = [Cost({"stem": 35, "head": 5}, 50), Cost({"head": 5}, 10, shared=35)]
    given = replace(EXPRESSIONS, samples=EXPRESSIONS.samples[:1] + EXPRESSIONS.samples[2:3])

    def ask(image: Path, texts: Sequence[str]) -> list[Detections]:
        return [replace(SAID[text], cost=cost) for text, cost in zip(texts, costs, strict=True)]

    found = expressions.precision(given, ask)
    assert (found.macs, found.macs_share) == (40, (40 / 50 + 40 / 45) / 2)


# Phrases

MEN = "Two men and their hat walk"
CAPTIONS = CaptionSet(
    "flickr30k",
    "test",
    (
        Text(
            "1",
            A,
            MEN,
            (
                Phrase(((0, 7),), (FIRST, SECOND), category="people"),
                Phrase(((12, 17), (18, 21)), (SECOND,), category="people/clothing"),
                Phrase(((22, 26),), ()),
            ),
        ),
        Text("2", A, "It rains"),
        Text("3", B, "A dog", (Phrase(((0, 5),), (FIRST,), category="animals"),)),
    ),
)


def said(
    image: Path, captions: Sequence[str], spans: Sequence[Sequence[tuple[int, int]]]
) -> list[CaptionGrounding]:
    return [told(image, caption, own) for caption, own in zip(captions, spans, strict=True)]


def told(image: Path, caption: str, spans: Sequence[tuple[int, int]]) -> CaptionGrounding:
    """The hat's box is second under "their" and, being surer under "hat", first of both."""
    answers = {
        (0, 7): [Detection("", FIRST, 0.9), Detection("", (0.0, 0.0, 30.0, 10.0), 0.8)],
        (12, 17): [Detection("", AWAY, 0.6), Detection("", SECOND, 0.1)],
        (18, 21): [Detection("", SECOND, 0.7), Detection("", AWAY, 0.2)],
        (22, 26): [Detection("", FIRST, 0.5)],
        (0, 5): [Detection("", AWAY, 0.5)],
    }
    found = tuple(PhraseObjects(caption[b:e], (b, e), tuple(answers[b, e])) for b, e in spans)
    return CaptionGrounding(caption, COST, 100, 100, 1.0, str(image), phrases=found, splitter="given")


def test_phrases_are_found_by_their_spans() -> None:
    found = phrases.recall(CAPTIONS, said)
    row = in_time(found)
    assert (row["items"], row["protocol"], row["dropped"]) == (2, "any", 1)
    assert row["all"] == {
        "phrases": 3, "recall@1": 0.6667, "recall@5": 0.6667, "recall@10": 0.6667, "upper_bound": 0.6667,
    }  # fmt: skip
    by_type = {kind: (r["phrases"], r["recall@1"]) for kind, r in row["by_type"].items()}  # type: ignore[attr-defined]
    assert by_type == {"animals": (1, 0), "clothing": (1, 1), "people": (2, 1)}


def test_merged_boxes_want_the_box_around_both_men() -> None:
    row = phrases.recall(CAPTIONS, said, protocol="merged").as_dict()
    everything = row["all"]
    assert isinstance(everything, dict)
    assert (row["protocol"], everything["recall@1"], everything["recall@5"]) == ("merged", 0.3333, 0.6667)


# Questions


def question(number: int, answer: str | None, kind: str | None, detailed: str | None = None) -> Text:
    true = None if answer is None else TrueAnswer(answer, kind, detailed=detailed)
    return Text(str(number), A, f"question {number}", answer=true)


ASKED = CaptionSet(
    "gqa",
    "val_balanced",
    (
        question(1, "yes", "obj", "exist"),
        question(2, "no", "obj"),
        question(3, "left", "rel"),
        question(4, None, None),
    ),
)


def answering(answers: dict[str, tuple[str, str | None]]) -> questions.Ask:
    return lambda image, texts: [
        Answer(
            text, COST, 100, 100, 1.0, str(image), answer=answers[text][0], kind=answers[text][1],
            confidence=0.5, evidence=(),
        )
        for text in texts
    ]  # fmt: skip


def test_questions_by_type() -> None:
    """The case of `protocols.gqa`: the relation is taken for an attribute, and answered all the same."""
    ask = answering(
        {"question 1": ("yes", "obj"), "question 2": ("yes", "obj"), "question 3": ("left", "attr")}
    )
    assert in_time(questions.accuracy(ASKED, ask)) == {
        "dataset": "gqa", "split": "val_balanced", "model": "", "items": 3, "questions": 3,
        "accuracy": 0.6667,
        "by_type": {"obj": {"questions": 2, "accuracy": 0.5}, "rel": {"questions": 1, "accuracy": 1.0}},
        "accuracy_type": 0.6667, "accuracy_total": 0.3333, "macs": 40, "macs_share": 0.4,
        "by_detailed_type": {"exist": {"questions": 1, "accuracy": 1.0}},
    }  # fmt: skip


def test_questions_of_other_kinds() -> None:
    """Kinds of one's own, or none; a model with one head says no type."""
    own = CaptionSet("mine", "val", (question(1, "yes", "colour"), question(2, "no", None)))
    row = in_time(
        questions.accuracy(own, answering({"question 1": ("no", None), "question 2": ("no", None)}))
    )
    assert row["by_type"] == {
        "colour": {"questions": 1, "accuracy": 0.0},
        "unsorted": {"questions": 1, "accuracy": 1.0},
    }
    assert row["accuracy_type"] is row["accuracy_total"] is None


# Masks

SQUARE = (1.0, 1.0, 2.0, 1.0, 2.0, 2.0, 1.0, 2.0)  # of PhraseCut's pixels 1 and 2: four
BOTTOM = np.zeros((6, 4), dtype=np.bool_)
BOTTOM[2:] = True  # 16 pixels


def mask_set(*masks: tuple) -> CaptionSet:
    """A phrase for each tuple of masks."""
    found = (
        Text(str(n), A, f"phrase {n}", (Phrase(((0, 8),), (FIRST,) * len(several), several),), referring=True)
        for n, several in enumerate(masks)
    )
    return CaptionSet("phrasecut", "test", tuple(found))


def segmenting(answers: dict[str, np.ndarray]) -> phrase_masks.Ask:
    return lambda image, texts: [
        Segmentation(
            text, COST, answers[text].shape[1], answers[text].shape[0], 1.0, str(image),
            mask=encode(answers[text]), objects=(),
        )
        for text in texts
    ]  # fmt: skip


def test_masks_by_hand() -> None:
    """The case of `protocols.phrasecut`: 3 of 4 pixels, and 4 of 16 with 4 others."""
    three = np.zeros((6, 4), dtype=np.bool_)
    three[1, 1:3] = three[2, 1] = True
    four = np.zeros((6, 4), dtype=np.bool_)
    four[1:3] = True
    rle = encode(BOTTOM)
    found = phrase_masks.overlap(
        mask_set(((SQUARE,),), (rle,)), segmenting({"phrase 0": three, "phrase 1": four})
    )
    row = in_time(found)
    assert (row["items"], row["of"]) == (2, "masks")
    assert row["all"] == {
        "phrases": 2, "empty_truths": 0, "mean_iou": 0.475, "cumulative_iou": 0.2917, "pr@0.5": 0.5,
        "pr@0.6": 0.5, "pr@0.7": 0.5, "pr@0.8": 0.0, "pr@0.9": 0.0,
    }  # fmt: skip


def test_subsets_by_hand() -> None:
    """Of an image of 10 × 10 pixels: one of 1, two of 2 and 18 (a fifth), and five, of 21."""
    shapes = [(1,), (2, 18), (21, 1, 1, 1, 1)]
    masks = []
    for sizes in shapes:
        on = [np.arange(100).reshape(10, 10) < size for size in sizes]
        on[-1] = on[-1] if len(on) != 2 else np.roll(on[-1], 2)
        masks.append(tuple(map(encode, on)))
    said = (("p_att", "p_att+"), (), ("p_att",))
    captions = replace(
        mask_set(*masks),
        captions=tuple(replace(c, subsets=s) for c, s in zip(mask_set(*masks).captions, said, strict=True)),
    )
    nothing, first = np.zeros((10, 10), dtype=np.bool_), decode(masks[0][0])
    ask = segmenting({"phrase 0": first, "phrase 1": nothing, "phrase 2": nothing})
    subsets = in_time(phrase_masks.overlap(captions, ask))["subsets"]
    found = {name: (r["phrases"], r["mean_iou"]) for name, r in subsets.items()}  # type: ignore[attr-defined]
    assert found == {
        "i_single": (1, 1.0), "s_small": (1, 1.0), "i_multi": (1, 0.0), "s_mid": (1, 0.0),
        "i_many": (1, 0.0), "s_large": (1, 0.0), "p_att": (2, 0.5), "p_att+": (1, 1.0),
    }  # fmt: skip


def test_boxes_of_phrases_by_hand() -> None:
    """Half of one true box; the phrase of two masks has two boxes, both found, in the other order."""
    high = np.zeros((100, 100), dtype=np.bool_)
    high[:30] = True
    first, second = mask_set((encode(high),), (encode(high), encode(~high))).captions
    both = replace(second.phrases[0], boxes=(FIRST, SECOND))
    captions = CaptionSet("phrasecut", "test", (first, replace(second, phrases=(both,))))
    heard = []

    def ask(image: Path, texts: Sequence[str]) -> list[Detections]:
        heard.append((image, list(texts)))
        return [seen(HALF), seen(SECOND, FIRST)]

    row = in_time(phrase_masks.box_overlap(captions, ask, model="known"))
    assert heard == [(A, ["phrase 0", "phrase 1"])]
    assert (row["items"], row["of"], row["model"], row["macs"]) == (2, "boxes", "known", 40)
    assert row["all"]["mean_iou"] == 0.75  # type: ignore[index]
    assert row["all"]["cumulative_iou"] == round(250 / 300, 4)  # type: ignore[index]
    found = {name: (r["phrases"], r["mean_iou"]) for name, r in row["subsets"].items()}  # type: ignore[attr-defined]
    assert found == {"i_single": (1, 0.5), "i_multi": (1, 1.0), "s_large": (2, 0.75)}


def test_a_true_mask_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded, rle = [], encode(BOTTOM)
    monkeypatch.setattr(masks, "decode", lambda given: [decoded.append(given), decode(given)][1])
    phrase_masks.overlap(mask_set((rle,)), segmenting({"phrase 0": ~BOTTOM}))
    assert decoded.count(rle) == 1


def test_all_that_a_phrase_means_is_one_mask() -> None:
    both = BOTTOM.copy()
    both[1, 1:3] = True
    rle = encode(BOTTOM)
    found = phrase_masks.overlap(mask_set(((SQUARE,), rle)), segmenting({"phrase 0": both}))
    assert found.as_dict()["all"]["mean_iou"] == 1.0  # type: ignore[index]


def test_words_that_are_asked_are_those_of_the_phrase() -> None:
    (one,) = mask_set(((SQUARE,),)).captions
    heard = []
    answer = segmenting({"phrase": BOTTOM})

    def ask(image: Path, texts: Sequence[str]) -> Sequence[Segmentation]:
        heard.extend(texts)
        return answer(image, ["phrase"])

    plain = CaptionSet("mine", "val", (replace(one, text="phrase 0 walks", referring=False),))
    phrase_masks.overlap(plain, ask)
    phrase_masks.overlap(CaptionSet("mine", "val", (replace(one, text="phrase 0 walks"),)), ask)
    assert heard == ["phrase 0", "phrase 0 walks"]


# Objects


def object_set(name: str, picture: Picture, **fields) -> ObjectSet:
    categories = {18: "dog", 17: "cat", 3: "hat_(head)"}
    return ObjectSet(name, "val", Instances(categories, (picture,), **fields))


DOGS = Picture(7, A, (100, 100), (Instance(1, 18, FIRST, area=10.0), Instance(2, 18, AWAY, area=10.0)))


def test_objects_by_hand() -> None:
    """The case of `protocols.coco`: one of two is found. What the dataset has no name for counts nowhere."""
    pytest.importorskip("faster_coco_eval", reason="AP needs the extra `eval`")
    found = (
        Detection("dog", FIRST, 0.9),
        Detection("unicorn", AWAY, 0.8),
        Detection("dog", SECOND, 0.7),
    )
    answer = Detections(found, COST, 100, 100, 1.0)
    opened = object_set("coco", DOGS)
    with pytest.warns(
        NamesWarning, match=r"no name for 2 of 3 categories of coco val, .*: cat, hat_\(head\)$"
    ):
        row = in_time(objects.average_precision(opened, lambda image: answer, {"dog": 18}))
    assert (row["items"], row["objects"], row["detections"], row["of"]) == (1, 2, 2, "boxes")
    assert (row["AP"], row["AR100"], row["APs"], row["APm"]) == (
        round(51 / 101, 4),
        0.5,
        round(51 / 101, 4),
        None,
    )


def test_lvis_counts_only_what_was_looked_for() -> None:
    """The case of `protocols.lvis`: a hat that nobody looked for, and cats of which not all are marked."""
    pytest.importorskip("faster_coco_eval", reason="AP needs the extra `eval`")
    often = {18: "f", 17: "r", 3: "c"}
    found = (Detection("hat", AWAY, 0.9), Detection("cat", SECOND, 0.8), Detection("cat", FIRST, 0.7))
    answer = Detections(found, COST, 100, 100, 1.0)
    labels = spoken(object_set("lvis", DOGS).content.categories)
    cat = Picture(7, A, (100, 100), (Instance(1, 17, FIRST),), negative=(18, 99))

    def scored(picture: Picture) -> dict[str, object]:
        opened = object_set("lvis", picture, frequencies=often)
        return in_time(objects.average_precision(opened, lambda image: answer, labels))

    row = scored(cat)
    assert (row["AP"], row["APr"], row["APf"]) == (0.5, 0.5, None)
    assert scored(replace(cat, not_exhaustive=(17, 98)))["AP"] == 1.0
    with pytest.raises(ValueError, match="how frequent a category is; here it does not of 'dog'"):
        objects.average_precision(object_set("lvis", cat), lambda image: answer, labels)


def test_the_best_of_an_image_are_kept() -> None:
    pytest.importorskip("faster_coco_eval", reason="AP needs the extra `eval`")
    answer = seen(*[SECOND] * MOST, FIRST, label="dog")
    opened = object_set("coco", DOGS)
    labels = {"dog": 18, "cat": 17, "hat": 3}
    assert in_time(objects.average_precision(opened, lambda image: answer, labels))["detections"] == MOST


def test_names_of_categories() -> None:
    lvis = {1: "bow_(weapon)", 2: "bow_(ribbon)", 3: "dish_(bowl)", 4: "traffic_light"}
    assert spoken(lvis) == {"bow (weapon)": 1, "bow (ribbon)": 2, "dish": 3, "traffic light": 4}
    assert shared({1: "person", 9: "boat"}, ("boat", "car")) == {"boat": 9}


# Nothing to measure


def test_what_has_nothing_to_measure_says_so() -> None:
    def ask(*_: object) -> None:
        raise AssertionError("nothing is asked")

    for measure, data, message in (
        (expressions.precision, Dataset("mine", "val", ()), "mine val has no expressions"),
        (phrases.recall, replace(ASKED, name="mine"), "mine val_balanced has no phrases with boxes"),
        (questions.accuracy, CAPTIONS, "flickr30k test has no questions whose answers are known"),
        (phrase_masks.overlap, CAPTIONS, "flickr30k test has no masks: PhraseCut has"),
        (phrase_masks.box_overlap, CAPTIONS, "flickr30k test has no masks: PhraseCut has"),
    ):
        with pytest.raises(ValueError, match=message):
            measure(data, ask)  # type: ignore[arg-type, operator]
    with pytest.raises(ValueError, match="a name for none of the 3 categories of coco val"):
        objects.average_precision(object_set("coco", DOGS), ask, {})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a limit of 0 images leaves none"):
        object_set("coco", DOGS).limited(0)
