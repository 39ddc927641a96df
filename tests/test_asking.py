"""Asking an MDETR: from queries that we say ourselves to phrases, answers and masks of an image's pixels."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scrambled import scrambled
from test_mdetr import CONFIG, SMALL_ANSWERS
from torch import Tensor
from torch.testing import assert_close

from groundling import checkpoint
from groundling.ask import asking
from groundling.ask.asking import (
    answer,
    answer_all,
    captions_of,
    detect_names,
    ground_captions,
    ground_phrases,
    rank_boxes,
    segment,
    segment_all,
)
from groundling.ask.grounder import Grounder
from groundling.ask.reply import Reply
from groundling.models.mdetr import Mdetr, SoftTokens
from groundling.pictures.masks import decode
from groundling.pictures.placement import normalise
from groundling.words.byte_pairs import ByteTokenizer
from groundling.words.phrases import Splitter
from groundling.words.roberta import RobertaTextConfig
from groundling.words.text import normalised

WORDS = {"obj": ("a dog", "a hat"), "many": ("none", "one", "two", "more"), "yes": ("no", "yes")}
NAMED = SMALL_ANSWERS.model_copy(
    update={"kinds": tuple(k.model_copy(update={"words": WORDS[k.name]}) for k in SMALL_ANSWERS.kinds)}
)
TEXT = RobertaTextConfig(vocabulary=300, layers=1, dim=16, heads=2, ffn=32, tokens=24, positions=26)
ASKED = CONFIG.model_copy(update={"text": TEXT, "answers": NAMED, "is_final": False})
CAPTION = "A red car left of two red dogs"
PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8))
BOX = (0.5, 0.5, 0.5, 0.25)  # of the canvas: x 16 to 48, y 24 to 40, where the photo begins at y = 18
PIXELS = (16 * 90 / 64, 6 * 40 / 28, 48 * 90 / 64, 22 * 40 / 28)


def trained() -> ByteTokenizer:
    return ByteTokenizer.train([CAPTION, "is there a dog left of the red car"] * 9, 300, TEXT.tokens)


@pytest.fixture(scope="module")
def tokenizer() -> ByteTokenizer:
    return trained()


def model(**changes: Any) -> Mdetr:
    return scrambled(Mdetr(ASKED.model_copy(update=changes)), 5)


@pytest.fixture
def speaks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Mdetr]:
    """A model whose queries say what they are told: (tokens with their probabilities) of each, and BOX."""

    def make(*queries: dict[int, float], final: Tensor | None = None, **changes: Any) -> Mdetr:
        mdetr = model(**changes)
        p = torch.full((1, ASKED.queries, TEXT.tokens), 1e-9)
        p[..., -1] = 1.0
        for query, likely in enumerate(queries):
            p[0, query, -1] = max(1 - sum(likely.values()), 1e-9)
            for token, value in likely.items():
                p[0, query, token] = value
        boxes = torch.tensor(BOX).expand(1, ASKED.queries, 4)
        told = SoftTokens(p.log(), boxes, final)
        monkeypatch.setattr(mdetr.net, "objects", lambda hidden: told.objects(mdetr.config.overlap))
        return mdetr

    return make


# Of CAPTION: <s> A red car left of two red dogs </s>
A, RED, CAR, TWO, ALSO_RED, DOGS = 1, 2, 3, 6, 7, 8


def test_the_tokens_of_the_caption(tokenizer: ByteTokenizer) -> None:
    words = ["<s>", *CAPTION.replace(" ", " Ġ").split(), "</s>"]
    assert tokenizer.pieces(CAPTION) == words


# ------------------------------------------------------------------------------------------------ phrases


@pytest.mark.parametrize(("own", "kept"), [(0.7, 1), (0.5, 2), (0.2, 3)])
def test_a_model_has_a_threshold_of_its_own(
    tokenizer: ByteTokenizer, speaks: Callable[..., Mdetr], own: float, kept: int
) -> None:
    mdetr = speaks({CAR: 0.9}, {CAR: 0.6}, {CAR: 0.3}, threshold=own)
    found = ground_phrases(mdetr, tokenizer, PHOTO, CAPTION, spans=[(0, 9)])
    assert len(found.phrases[0].objects) == kept
    assert len(segment(mdetr, tokenizer, PHOTO, "red car").objects) == kept
    both = ground_phrases(mdetr, tokenizer, PHOTO, CAPTION, spans=[(0, 9)], threshold=0.5)
    assert len(both.phrases[0].objects) == 2


def test_an_object_that_several_queries_say_is_one(
    tokenizer: ByteTokenizer, speaks: Callable[..., Mdetr]
) -> None:
    """All queries have the same box: 1 − 0.1 · 0.4 that one of the car's is right; a name is an object."""
    queries = ({CAR: 0.9}, {CAR: 0.6}, {DOGS: 0.8}, {ALSO_RED: 0.3})
    mdetr = speaks(*queries, threshold=0.2, overlap=0.7)
    found = ground_phrases(mdetr, tokenizer, PHOTO, CAPTION, split="rules")
    assert [[round(o.score, 3) for o in f.objects] for f in found] == [[0.96], [0.86]]
    said = segment(mdetr, tokenizer, PHOTO, CAPTION)  # a phrase is of one thing, whatever word says it
    assert [(o.label, round(o.score, 4)) for o in said.objects] == [(CAPTION, 1 - 0.1 * 0.4 * 0.2 * 0.7)]
    assert said.cost == mdetr.cost_model.asked(10, masks=1)
    both = speaks(*queries, threshold=0.2)  # 1: all are kept
    found = ground_phrases(both, tokenizer, PHOTO, CAPTION, split="rules")
    assert [len(f.objects) for f in found] == [2, 2]


def test_boxes_that_overlap_a_little_are_of_two_objects(
    tokenizer: ByteTokenizer, speaks: Callable[..., Mdetr], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Widths of 0.5 a quarter apart have an IoU of a third; `most` counts what is kept."""
    mdetr = speaks({CAR: 0.9}, {CAR: 0.8}, {CAR: 0.7}, threshold=0.2, overlap=0.3)
    boxes = torch.tensor(BOX).repeat(1, ASKED.queries, 1)
    boxes[0, 2, 0] = 0.75
    said = mdetr.net.objects(torch.zeros(1))
    moved = replace(said, boxes_cxcywh01=boxes)
    monkeypatch.setattr(mdetr.net, "objects", lambda hidden: replace(moved, overlap=mdetr.config.overlap))
    for overlap, kept in ((0.3, [0.994]), (0.4, [0.98, 0.7])):
        mdetr.config = mdetr.config.model_copy(update={"overlap": overlap})
        found = ground_phrases(mdetr, tokenizer, PHOTO, CAPTION, spans=[(0, 9)], most=2)
        assert [round(o.score, 3) for o in found.phrases[0].objects] == kept


@pytest.mark.parametrize("overlap", [1.0, 0.6, 0.3, 0.1])
def test_the_first_box_of_an_expression_is_the_object_that_ground_answers_with(
    tokenizer: ByteTokenizer, overlap: float
) -> None:
    mdetr = model(overlap=overlap, queries=12)
    ground = Grounder(mdetr, tokenizer)
    for text in ("red car", "two red dogs", CAPTION):
        (ranked,) = rank_boxes(mdetr, tokenizer, PHOTO, [text])
        first = ranked.objects[0]
        answer = ground.ground(PHOTO, text)
        assert_close(torch.tensor(first.box), torch.tensor(answer.box), rtol=1e-4, atol=1e-3)
        assert first.score == pytest.approx(answer.score, abs=1e-5)
        scores = [each.score for each in ranked.objects]
        assert scores == sorted(scores, reverse=True)
        assert (len(scores) == 12) == (overlap == 1)


def test_queries_become_phrases_by_their_tokens(
    tokenizer: ByteTokenizer, speaks: Callable[..., Mdetr]
) -> None:
    """The second "red" is the dogs'; a query that is surer that it is of a word in no phrase is nobody's."""
    mdetr = speaks({CAR: 0.5, RED: 0.4}, {ALSO_RED: 0.8}, {DOGS: 0.95}, {4: 0.9}, {CAR: 0.3})
    found = ground_phrases(mdetr, tokenizer, PHOTO, CAPTION, split="rules")
    assert [(f.phrase, f.span) for f in found] == [("A red car", (0, 9)), ("two red dogs", (18, 30))]
    assert [[round(o.score, 3) for o in f.objects] for f in found] == [[0.9], [0.95, 0.8]]
    assert found.phrases[0].objects[0].label == "A red car"
    assert_close(torch.tensor(found.phrases[0].objects[0].box), torch.tensor(PIXELS))
    assert (found.width, found.height, found.splitter) == (90, 40, "rules")
    assert found.cost == mdetr.cost_model.asked(10)
    assert json.loads(json.dumps(found.as_dict()))["phrases"][1]["span"] == [18, 30]


def test_the_score_of_flickr_is_the_likeliest_token_of_the_phrase(
    tokenizer: ByteTokenizer, speaks: Callable[..., Mdetr]
) -> None:
    mdetr = speaks({CAR: 0.5, RED: 0.4}, {A: 0.2, DOGS: 0.6})
    found = ground_phrases(
        mdetr, tokenizer, PHOTO, CAPTION, split="rules", score="token", threshold=0, most=2
    )
    assert [[round(o.score, 3) for o in f.objects] for f in found] == [[0.5, 0.2], [0.6, 0.0]]


def test_what_is_only_mentioned_on_the_way_scores_less(
    tokenizer: ByteTokenizer, speaks: Callable[..., Mdetr]
) -> None:
    final = torch.tensor([[0.0, 40.0, 0, 0, 0]])
    mdetr = speaks({CAR: 0.9}, {DOGS: 0.8}, final=final)
    found = ground_phrases(mdetr, tokenizer, PHOTO, CAPTION, split="rules", threshold=0.1)
    assert [[round(o.score, 3) for o in f.objects] for f in found] == [[0.45], [0.8]]


def test_spans_may_be_given(tokenizer: ByteTokenizer, speaks: Callable[..., Mdetr]) -> None:
    mdetr = speaks({RED: 0.9}, {ALSO_RED: 0.8})
    found = ground_phrases(mdetr, tokenizer, PHOTO, CAPTION, spans=[(22, 25), (2, 5)])
    assert [(f.phrase, round(f.objects[0].score, 3)) for f in found] == [("red", 0.8), ("red", 0.9)]
    assert found.splitter == "given"


def test_it_is_the_networks_answer(tokenizer: ByteTokenizer, tmp_path: Path) -> None:
    """Unchanged network, through a checkpoint folder and an image file, against a forward by hand."""
    folder = checkpoint.save(tmp_path / "mdetr", model(), tokenizer)
    PHOTO.save(tmp_path / "photo.png")
    loaded = checkpoint.load(folder)
    mdetr, reader = loaded.model, loaded.tokenizer
    assert isinstance(mdetr, Mdetr)
    assert isinstance(reader, ByteTokenizer)
    found = ground_phrases(
        mdetr, reader, tmp_path / "photo.png", CAPTION, split="rules", score="token", threshold=0
    )
    grounder = Grounder(mdetr, reader)
    one = grounder.ground(tmp_path / "photo.png", CAPTION)
    seen = grounder._seen(tmp_path / "photo.png")
    pixels, shown = seen.pixels, seen.placement.shown()[None]
    tokens = reader.encode([CAPTION])
    with torch.no_grad():
        net = mdetr.net
        objects = net.soft_tokens(
            net.decode(net.read(normalise(pixels[None]), mdetr.text(tokens), tokens, shown=shown))[-1]
        )
    likely = objects.logits.softmax(-1)[0]
    expected = likely[:, [TWO, ALSO_RED, DOGS]].amax(1).sort(descending=True).values
    assert_close(torch.tensor([o.score for o in found.phrases[1].objects]), expected)
    assert one.score == pytest.approx(float(objects.objects().objectness.max()), rel=1e-4)
    assert found.image.endswith("photo.png")


def test_a_file_for_another_runtime_answers_as_the_network(tokenizer: ByteTokenizer, tmp_path: Path) -> None:
    """Of a whole expression; the file keeps the byte-level tokenizer."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="exports need the extra `export`")
    from groundling.runtime import ExportedGrounder, export

    mdetr = model(is_final=True, layers=1, decoder_layers=1)
    export(mdetr, tokenizer, tmp_path / "mdetr.onnx", name="small")
    exported = ExportedGrounder(tmp_path / "mdetr.onnx", threads=1)
    for text in (CAPTION, "a dog"):
        (found,), expected = exported.ground(PHOTO, [text]), Grounder(mdetr, tokenizer).ground(PHOTO, text)
        assert_close(torch.tensor(found.box), torch.tensor(expected.box), rtol=1e-3, atol=1e-2)
        assert found.score == pytest.approx(expected.score, rel=1e-3)


def test_a_caption_that_is_too_long_is_not_split(
    tokenizer: ByteTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caption without bound went through the splitter before anybody looked at its length."""
    split = []
    monkeypatch.setattr(
        asking, "splitter", lambda kind: Splitter(kind, lambda text: (split.append(text), ())[1])
    )
    with pytest.raises(ValueError, match=r"a text of \d+ tokens is too long for a model that reads 24"):
        ground_phrases(model(), tokenizer, PHOTO, "it is there " * 30, split="rules")
    assert not split


@pytest.mark.parametrize(
    ("caption", "options", "message"),
    [
        ("it is there", {}, r"no noun phrase was found in 'it is there' \(by rules\); give its spans"),
        ("a dog " * 30, {}, r"a text of \d+ tokens is too long for a model that reads 24"),
        (
            CAPTION,
            {"spans": [(3, 99)]},
            r"span \(3, 99\) must begin before it ends, within the 30 characters",
        ),
        (
            CAPTION,
            {"spans": [(0.5, 2)]},
            r"a span must be \(begin, end\) in whole characters, given \(0.5, 2\)",
        ),
        (CAPTION, {"spans": [3]}, "a span must be .* given 3"),  # these two were TypeErrors
        (CAPTION, {"spans": [(1, 2, 3)]}, r"a span must be .* given \(1, 2, 3\)"),
        (None, {}, "a caption is a text, given None"),
        (CAPTION, {"threshold": 1.2}, "threshold must be a number from 0 to 1"),
        (CAPTION, {"score": "mean"}, "score must be object or token, given 'mean'"),
        ("  ", {"spans": []}, "has no words"),
    ],
)
def test_captions_that_do_not_fit_are_named(
    tokenizer: ByteTokenizer, caption: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ground_phrases(model(), tokenizer, PHOTO, caption, split="rules", **options)
    with pytest.raises(FileNotFoundError, match="image file not found"):
        ground_phrases(model(), tokenizer, "gone.png", CAPTION)


# -------------------------------------------------------------------------------------------------- names


def test_names_are_one_caption(tokenizer: ByteTokenizer, speaks: Callable[..., Mdetr]) -> None:
    """<s> r ed . Ġdog s . — whatever the pieces are, each name's objects come under its name."""
    text = "red car. dogs."
    offsets = tokenizer.offsets(text)
    car, dogs = (
        [i for i, (b, e) in enumerate(offsets) if b < end and begin < e] for begin, end in ((0, 7), (9, 13))
    )
    mdetr = speaks({dogs[0]: 0.8}, {car[-1]: 0.9}, {car[0]: 0.75})
    found = detect_names(mdetr, tokenizer, PHOTO, ["red car", "dogs"])
    assert [(o.label, round(o.score, 3)) for o in found] == [
        ("red car", 0.9),
        ("dogs", 0.8),
        ("red car", 0.75),
    ]


def test_five_hundred_names_are_read_in_captions_that_fit(tokenizer: ByteTokenizer) -> None:
    names = [f"dog {number}" for number in range(500)]
    captions = captions_of(names, tokenizer)
    assert [caption[b:e] for caption, spans in captions for b, e in spans] == names
    assert len(captions) > 50
    assert all(len(tokenizer.offsets(caption)) <= 24 for caption, _ in captions)


def test_captions_of_names_share_what_was_seen(tokenizer: ByteTokenizer) -> None:
    """Each caption answers as it would alone; the backbone runs, and counts, once."""
    mdetr, names = model(), [f"dog {number}" for number in range(9)]
    captions = captions_of(names, tokenizer)
    assert len(captions) > 1
    found = detect_names(mdetr, tokenizer, PHOTO, names, threshold=0.0)
    alone = [
        each
        for caption, spans in captions
        for phrase in ground_phrases(mdetr, tokenizer, PHOTO, caption, spans=spans, threshold=0.0)
        for each in phrase.objects
    ]
    assert found.objects == tuple(sorted(alone, key=lambda each: -each.score))
    lengths = [len(tokenizer.offsets(caption)) for caption, _ in captions]
    each = [mdetr.cost_model.asked(length) for length in lengths]
    vision = sum(each[0].parts[part] for part in ("stem", "layer1", "layer2", "layer3"))
    cells = mdetr.net.backbone.macs(*mdetr.config.framing.sides).cells
    projected = cells * mdetr.net.backbone.channels * ASKED.dim
    saved = (len(captions) - 1) * (vision + projected)
    assert found.cost.macs == sum(cost.macs for cost in each) - saved


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "names must be a list of one text or more, given"),
        ("dog", "names must be a list of one text"),
        (["dog", "dog"], "names must differ"),
        (["dog", "do\u00adg"], "names must differ"),
        (["dog", " "], "name ' ' has no words"),
        ([["dog"]], "a name is a text, given"),  # was a TypeError: no list can be hashed
        (["a very long name of many words that are not known to it"], "is too long for a model"),
    ],
)
def test_names_that_do_not_fit_are_named(tokenizer: ByteTokenizer, names: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        detect_names(model(), tokenizer, PHOTO, names)


# ------------------------------------------------------------------------------------------------ answers


def logits(*p: float) -> Tensor:
    return torch.tensor([p]).log()


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ((0.1, 0.8, 0.1), ("a hat", "obj", 0.8 * 0.7)),
        ((0.2, 0.2, 0.6), ("two", "many", 0.6 * 0.4)),
        ((0.9, 0.05, 0.05), ("no", "yes", 0.9 * 0.75)),
    ],
)
def test_an_answer_is_the_likeliest_of_the_likeliest_type(
    tokenizer: ByteTokenizer,
    speaks: Callable[..., Mdetr],
    monkeypatch: pytest.MonkeyPatch,
    types: tuple[float, ...],
    expected: tuple[str, str, float],
) -> None:
    """Types are yes, obj, many; the evidence is named after the words that its tokens are."""
    mdetr = speaks({5: 0.15, DOGS: 0.8}, {CAR: 0.6})
    said = {
        "type": logits(*types),
        "obj": logits(0.3, 0.7),
        "many": logits(0.3, 0.2, 0.4, 0.1),
        "yes": torch.tensor([[-np.log(3.0)]]),  # p = 1/4
    }
    monkeypatch.setattr(mdetr.net, "answer", lambda hidden: said)
    found = answer(mdetr, tokenizer, PHOTO, CAPTION)
    assert (found.answer, found.kind, found.confidence) == (*expected[:2], pytest.approx(expected[2]))
    assert [(o.label, round(o.score, 2)) for o in found.evidence] == [("of two red dogs", 0.95)]
    assert found.cost == mdetr.cost_model.asked(10, answers=True)
    assert json.loads(json.dumps(found.as_dict()))["answer"] == expected[0]


def test_an_object_is_named_by_words(tokenizer: ByteTokenizer, speaks: Callable[..., Mdetr]) -> None:
    """Whole ones: a query of a piece of a word, or of a mark beside it, was named "og" or "?"."""
    question = "is there a dogcar, a red dog?"
    pieces = tokenizer.pieces(question)
    mark = pieces.index("?")
    inside = 1 + pieces.index("Ġdog")  # the letters behind it
    assert pieces[inside].isalnum()
    mdetr = speaks({mark: 0.9, mark - 1: 0.05}, {inside: 0.8}, threshold=0.5)
    labels = [each.label for each in answer(mdetr, tokenizer, PHOTO, question).evidence]
    assert labels == ["dog", "dogcar"]


def test_one_head_has_no_type(tokenizer: ByteTokenizer) -> None:
    single = NAMED.model_copy(update={"kinds": NAMED.kinds[:1], "types": ()})
    found = answer(model(answers=single), tokenizer, PHOTO, "is there a dog")
    assert found.answer in WORDS["obj"]
    assert found.kind is None
    assert 0.5 <= found.confidence <= 1


def test_who_cannot_answer_says_who_can(tokenizer: ByteTokenizer) -> None:
    with pytest.raises(ValueError, match=r"cannot answer questions; .* mdetr_r101_gqa, .*mdetr_street"):
        answer(model(answers=None), tokenizer, PHOTO, "is there a dog")
    with pytest.raises(ValueError, match="answers of obj, many, yes by number only: import it with answers="):
        answer(model(answers=SMALL_ANSWERS), tokenizer, PHOTO, "is there a dog")


# -------------------------------------------------------------------------------------------------- masks


def test_a_mask_is_the_union_of_those_kept(
    tokenizer: ByteTokenizer, speaks: Callable[..., Mdetr], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three queries are kept: the left half of the canvas of 90 pixels, and its right quarter."""
    mdetr = speaks({CAR: 0.9}, {CAR: 0.2}, {DOGS: 0.8})
    given = []

    def masks(hidden: Tensor, memory: Any) -> Tensor:
        given.append(hidden.shape[1])
        found = torch.full((1, 2, 16, 16), -1.0)
        found[0, 0, :, :8] = 1
        found[0, 1, :, 12:] = 1
        return found

    monkeypatch.setattr(mdetr.net, "masks", masks)
    found = segment(mdetr, tokenizer, PHOTO, CAPTION)
    on = decode(found.mask)
    assert on.shape == (40, 90)
    assert on.all(axis=0).tolist() == [x < 45 or x >= 67.5 for x in range(90)]
    assert (on.any(axis=0) == on.all(axis=0)).all()
    assert [round(o.score, 2) for o in found.objects] == [0.9, 0.8]
    assert given == [2]
    assert found.cost == mdetr.cost_model.asked(10, masks=2)
    assert json.loads(json.dumps(found.as_dict()))["mask"]["size"] == [40, 90]


def test_nothing_kept_is_an_empty_mask(tokenizer: ByteTokenizer, speaks: Callable[..., Mdetr]) -> None:
    found = segment(speaks({CAR: 0.6}), tokenizer, PHOTO, CAPTION)
    assert (found.mask.area, found.objects) == (0, ())
    assert "masks" not in found.cost.parts


@pytest.mark.parametrize("size", [(90, 40), (40, 90), (200, 7), (3, 50), (64, 64)])
def test_a_mask_has_the_images_size(tokenizer: ByteTokenizer, size: tuple[int, int]) -> None:
    found = segment(model(), tokenizer, PHOTO.resize(size), CAPTION, threshold=0)
    assert (found.mask.width, found.mask.height) == size
    assert len(found.objects) == ASKED.queries


def test_who_cannot_segment_says_who_can(tokenizer: ByteTokenizer) -> None:
    with pytest.raises(ValueError, match=r"cannot segment; .* mdetr_r101_phrasecut, mdetr_street"):
        segment(model(masks=False), tokenizer, PHOTO, CAPTION)


# --------------------------------------------------------------------------------- many texts of one image

TEXTS = ("a red car", "is there a dog left of the red car", "two red dogs")
Many = Callable[[Mdetr, ByteTokenizer, Sequence[str]], Sequence[Any]]
MANY: dict[str, Many] = {
    "captions": lambda net, words, texts: ground_captions(
        net, words, PHOTO, texts, spans=[[(0, 5)] for _ in texts], threshold=0.0
    ),
    "questions": lambda net, words, texts: answer_all(net, words, PHOTO, texts, threshold=0.0),
    "phrases": lambda net, words, texts: segment_all(net, words, PHOTO, texts, threshold=0.1),
    "expressions": lambda net, words, texts: rank_boxes(net, words, PHOTO, texts),
}


@pytest.mark.parametrize("what", MANY)
def test_many_texts_are_answered_as_each_alone(
    tokenizer: ByteTokenizer, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The very same answers, from an image that the backbone saw once; the first alone has the cost of it."""
    mdetr, ask = model(), MANY[what]
    alone = [ask(mdetr, tokenizer, [text])[0] for text in TEXTS]
    see, saw = mdetr.net.see, list[tuple[int, ...]]()

    def watched(images: Tensor, shown: Tensor) -> Any:
        saw.append(tuple(images.shape))
        return see(images, shown=shown)

    monkeypatch.setattr(mdetr.net, "see", watched)
    found = ask(mdetr, tokenizer, TEXTS)
    assert saw == [(1, 3, 64, 64)]
    for one, many in zip(alone, found, strict=True):
        assert replace(many, milliseconds=one.milliseconds, cost=one.cost) == one
    assert found[0].cost == alone[0].cost
    vision = sum(alone[0].cost.parts[part] for part in ("stem", "layer1", "layer2", "layer3"))
    cells = mdetr.net.backbone.macs(*mdetr.config.framing.sides).cells
    projected = cells * mdetr.net.backbone.channels * ASKED.dim
    for one, many in zip(alone[1:], found[1:], strict=True):
        assert one.cost.macs - many.cost.macs == many.cost.shared == vision + projected
        assert one.cost.full == many.cost.full + many.cost.shared
        assert one.cost.shared == 0
    for wrong in ((), "a red car"):
        with pytest.raises(ValueError, match=f"{what} must be a list of one text or more, given {wrong!r}"):
            ask(mdetr, tokenizer, wrong)
    with pytest.raises(ValueError, match=f"an? {what[:-1]} is a text, given 3"):
        ask(mdetr, tokenizer, ["a red car", 3])  # type: ignore[list-item]


def test_the_clock_stops_at_the_answer(tokenizer: ByteTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Boxes of expressions and evidence of answers were made behind it."""
    slow, made = Reply.objects, 0.05

    def objects(*given: Any, **options: Any) -> Any:
        time.sleep(made)
        return slow(*given, **options)

    monkeypatch.setattr(Reply, "objects", objects)
    for name, ask in MANY.items():
        (found,) = ask(model(), tokenizer, TEXTS[:1])
        assert found.milliseconds > 1000 * made, name


def test_one_question_is_the_first_of_many(tokenizer: ByteTokenizer) -> None:
    mdetr = model()
    pairs = (
        (answer(mdetr, tokenizer, PHOTO, CAPTION), answer_all(mdetr, tokenizer, PHOTO, [CAPTION])),
        (segment(mdetr, tokenizer, PHOTO, CAPTION), segment_all(mdetr, tokenizer, PHOTO, [CAPTION])),
    )
    for one, (first,) in pairs:
        assert replace(one, milliseconds=first.milliseconds) == first


def test_captions_have_spans_each(tokenizer: ByteTokenizer) -> None:
    mdetr, texts = model(), ["a red car", "two dogs"]
    with pytest.raises(ValueError, match="spans must be a list for each of 2 captions, given 1 lists"):
        ground_captions(mdetr, tokenizer, PHOTO, texts, spans=[[(0, 5)]])
    with pytest.raises(
        ValueError, match=r"span \(0, 9\) must begin .* within the 8 characters of 'two dogs'"
    ):
        ground_captions(mdetr, tokenizer, PHOTO, texts, spans=[[(0, 9)], [(0, 9)]])
    found = ground_captions(mdetr, tokenizer, PHOTO, texts, split="rules")
    assert [[phrase.phrase for phrase in one] for one in found] == [["a red car"], ["two dogs"]]


# ------------------------------------------------------------------------------------------------- texts

ODD = "\ufeffA  re\u00add\u00a0car left\nof two\u2028red do\u200bgs "  # CAPTION for whoever looks at it
QUESTION, ODD_QUESTION = (
    "is there a dog left of the red car",
    "is\u00a0there a  do\u00adg left\u2009of the red\ncar",
)


def test_what_a_text_is_made_of_changes_no_answer(tokenizer: ByteTokenizer) -> None:
    """A soft hyphen made two phrases of one, a line break an unknown word, a no-break space lost a phrase."""
    mdetr = model(masks=True)
    plain, odd = (
        ground_phrases(mdetr, tokenizer, PHOTO, text, score="token", threshold=0.0) for text in (CAPTION, ODD)
    )
    assert [p.phrase for p in odd] == ["A  re\u00add\u00a0car", "two\u2028red do\u200bgs"]
    assert [ODD[slice(*p.span)] for p in odd] == [p.phrase for p in odd]
    for here, there in zip(plain, odd, strict=True):
        assert [(o.box, o.score) for o in here.objects] == [(o.box, o.score) for o in there.objects]
        assert {o.label for o in there.objects} == {there.phrase}
    first, second = (answer(mdetr, tokenizer, PHOTO, q, threshold=0.0) for q in (QUESTION, ODD_QUESTION))
    assert (first.answer, first.confidence) == (second.answer, second.confidence)
    assert [(e.box, normalised(e.label).text) for e in first.evidence] == [
        (e.box, normalised(e.label).text) for e in second.evidence
    ]
    assert all(each.label in ODD_QUESTION for each in second.evidence)
    here, there = (segment(mdetr, tokenizer, PHOTO, text, threshold=0.0) for text in (CAPTION, ODD))
    assert np.array_equal(decode(here.mask), decode(there.mask))
    assert there.text == ODD
    names, odd_names = ["red car", "dogs"], [" red\u00a0car", "do\u00adgs"]
    found = detect_names(mdetr, tokenizer, PHOTO, names, threshold=0.0)
    same = detect_names(mdetr, tokenizer, PHOTO, odd_names, threshold=0.0)
    assert [(o.box, o.score, odd_names[names.index(o.label)]) for o in found] == [
        (o.box, o.score, o.label) for o in same
    ]


def test_spans_of_the_user_are_those_of_the_text_given(tokenizer: ByteTokenizer) -> None:
    mdetr = model()
    plain = ground_phrases(mdetr, tokenizer, PHOTO, CAPTION, spans=[(2, 9)], threshold=0.0)
    begin = ODD.index("re\u00add")
    odd = ground_phrases(mdetr, tokenizer, PHOTO, ODD, spans=[(begin, begin + 8)], threshold=0.0)
    assert odd.phrases[0].phrase == "re\u00add\u00a0car"
    assert [o.box for o in odd.phrases[0].objects] == [o.box for o in plain.phrases[0].objects]


@pytest.mark.parametrize("text", ["???", "\u200b", "🐕", ""])
def test_a_text_without_words_is_refused_by_every_verb(tokenizer: ByteTokenizer, text: str) -> None:
    mdetr = model(masks=True)
    for what, ask in {
        "caption": lambda: ground_phrases(mdetr, tokenizer, PHOTO, text),
        "question": lambda: answer(mdetr, tokenizer, PHOTO, text),
        "phrase": lambda: segment(mdetr, tokenizer, PHOTO, text),
        "expression": lambda: rank_boxes(mdetr, tokenizer, PHOTO, [text]),
        "name": lambda: detect_names(mdetr, tokenizer, PHOTO, ["dog", text]),
    }.items():
        with pytest.raises(ValueError, match=rf"^{what} '.*' has no words; say what to look for$"):
            ask()
