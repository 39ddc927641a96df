"""Models on datasets from the command line: what is printed is what a user counts by hand, and what fits."""

import json
from pathlib import Path
from typing import Any

import coco_json
import pytest
import torch
from PIL import Image
from scrambled import scrambled
from small import Shell, model_folder
from test_asking import ASKED, WORDS
from test_detr import model as detr

from groundling import Detector, checkpoint
from groundling.ask.asking import ground_phrases, rank_boxes
from groundling.ask.detector import detect_all
from groundling.ask.grounder import Grounder, load_grounder
from groundling.data import Answer, Caption, CaptionSet, Phrase, jsonl, open_captions, street
from groundling.data.street.question import KINDS
from groundling.evaluate.jobs import Source, prepared, task_of
from groundling.models.mdetr import Mdetr
from groundling.pictures.boxes import iou
from groundling.pictures.masks import decode
from groundling.protocols import coco as coco_protocol
from groundling.protocols.detections import Detection
from groundling.protocols.phrasecut import box_overlap, drawn
from groundling.words.byte_pairs import ByteTokenizer

TOKENS = 128
SPLITS = {"refcoco": "val", "flickr30k": "val", "gqa": "val_balanced", "phrasecut": "val"}
BOX = (0.0, 0.0, 9.0, 9.0)
NAMES = ("man", "house", "car")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A handful of street scenes with all tasks, and their objects as COCO and LVIS have them."""
    folder = tmp_path_factory.mktemp("data") / "street"
    street.write(folder, scenes=8, size=64, tasks=("captions", "questions", "masks"))
    content = json.loads((folder / "refcoco" / "instances.json").read_text())
    (folder / "annotations").mkdir()
    (folder / "annotations" / "instances_all.json").write_text(json.dumps(content))
    for row in content["images"]:
        row |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    for row in content["categories"]:
        row["frequency"] = "f"
    (folder / "annotations" / "lvis_v1_all.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def mdetr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MDETR with random weights and all heads."""
    text = ASKED.text.model_copy(update={"tokens": TOKENS, "positions": TOKENS + 2})
    config = ASKED.model_copy(update={"text": text, "layers": 1, "decoder_layers": 1})
    words = [*WORDS["obj"], "the man with the red hat stands left of the blue house", "is there a car?"] * 9
    tokenizer = ByteTokenizer.train(words, 300, TOKENS)
    return checkpoint.save(
        tmp_path_factory.mktemp("models") / "mdetr", scrambled(Mdetr(config), 7), tokenizer
    )


@pytest.fixture(scope="module")
def reader(mdetr: Path) -> Grounder:
    return load_grounder(mdetr)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = detr(categories=NAMES, short_side=64, long_side=96)
    return checkpoint.save(tmp_path_factory.mktemp("models") / "detr", made, None)


@pytest.fixture(scope="module")
def lads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("models") / "lads")


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def line(
    shell: Shell, model: Path, data: Path, dataset: str, *more: object, warned: str | None = None
) -> dict[str, Any]:
    """The JSON line of an evaluation, which must have what every protocol has."""
    split = SPLITS.get(dataset, "all")
    ran = shell("evaluate", model, "--data", data, "--dataset", dataset, "--split", split, "--json", *more)
    assert ran.code == 0, ran
    assert ran.err.splitlines() == ([] if warned is None else [f"groundling: warning: {warned}"])
    row = json.loads(ran.out)
    assert (row["dataset"], row["split"], row["model"]) == (dataset, split, str(model))
    assert row["milliseconds"] > 0
    assert row["macs"] > 0
    return row


def parts(reader: Grounder) -> tuple[Mdetr, ByteTokenizer]:
    assert isinstance(reader.model, Mdetr)
    assert isinstance(reader.tokenizer, ByteTokenizer)
    return reader.model, reader.tokenizer


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return float(iou(torch.tensor(one, dtype=torch.float64), torch.tensor(other, dtype=torch.float64)))


# ------------------------------------------------------------------------------------------ an MDETR on each


def test_expressions(shell: Shell, mdetr: Path, reader: Grounder, scenes: Path) -> None:
    """Prec@1 is that of what `Grounder.ground` answers."""
    samples = open_captions(scenes, "refcoco", "val").samples().samples
    ious = [overlap(tuple(reader.ground(s.image, s.expression)), s.box) for s in samples]
    row = line(shell, mdetr, scenes, "refcoco")
    assert row["items"] == row["expressions"] == len(samples)
    assert row["prec@1"] == pytest.approx(sum(value >= 0.5 for value in ious) / len(ious), abs=1e-4)
    ranked = [rank_boxes(*parts(reader), s.image, [s.expression])[0] for s in samples]
    best = [max(overlap(each.box, s.box) for each in found) for found, s in zip(ranked, samples, strict=True)]
    assert row["prec@5"] == pytest.approx(sum(value >= 0.5 for value in best) / len(best), abs=1e-4)
    assert line(shell, mdetr, scenes, "refcoco", "--limit", 3)["items"] == 3
    assert line(shell, mdetr, scenes, "refcoco", "--protocol", "giou")["rule"] == "giou ≥ 0.5"
    assert line(shell, mdetr, scenes, "refcoco", "--protocol", "strict")["rule"] == "iou > 0.5"


def test_all_boxes_of_expressions_come_at_once(reader: Grounder, scenes: Path) -> None:
    """One by one or together: all queries, the first is what `ground` says, and the image is seen once."""
    net, tokenizer = parts(reader)
    image, texts = scenes / "images" / "street_0_000000.jpg", ["the man", "a house on the left"]
    together = rank_boxes(net, tokenizer, image, texts)
    assert [len(found) for found in together] == [net.config.queries] * 2
    for text, found in zip(texts, together, strict=True):
        assert found[0].box == pytest.approx(tuple(reader.ground(image, text)), abs=1e-3)
        assert found.objects == rank_boxes(net, tokenizer, image, [text])[0].objects
    assert together[1].cost.macs < rank_boxes(net, tokenizer, image, texts[1:])[0].cost.macs
    with pytest.raises(ValueError, match="expressions must be a list of one text or more, given 'man'"):
        rank_boxes(net, tokenizer, image, "man")


@pytest.mark.parametrize("protocol", ["any", "merged"])
def test_phrases(shell: Shell, mdetr: Path, reader: Grounder, scenes: Path, protocol: str) -> None:
    hits = []
    captions = open_captions(
        scenes, "flickr30k" if protocol == "any" else "flickr30k(merged)", "val"
    ).captions
    for caption in captions:
        for phrase in caption.phrases:
            found = ground_phrases(
                *parts(reader), caption.image, caption.text, spans=phrase.spans, score="token", threshold=0
            )
            boxes = [each.box for each in found.phrases[0].objects]
            hits.append([any(overlap(box, true) >= 0.5 for true in phrase.boxes) for box in boxes])
    row = line(shell, mdetr, scenes, "flickr30k", "--protocol", protocol)
    assert (row["items"], row["protocol"], row["all"]["phrases"]) == (len(captions), protocol, len(hits))
    assert row["all"]["recall@1"] == pytest.approx(sum(h[0] for h in hits) / len(hits), abs=1e-4)
    assert row["all"]["upper_bound"] == pytest.approx(sum(map(any, hits)) / len(hits), abs=1e-4)
    assert sum(r["phrases"] for r in row["by_type"].values()) == len(hits)


def test_questions(shell: Shell, mdetr: Path, reader: Grounder, scenes: Path) -> None:
    asked = open_captions(scenes, "gqa", "val_balanced").captions
    alone = [reader.answer(c.image, c.text) for c in asked]
    right = [found.answer == c.answer.text for found, c in zip(alone, asked, strict=True) if c.answer]
    row = line(shell, mdetr, scenes, "gqa")
    assert len(asked) > len({c.image for c in asked})  # some share what the backbone sees, and cost as alone
    assert row["macs"] == round(sum(found.cost.macs for found in alone) / len(alone))
    assert row["items"] == row["questions"] == len(right)
    assert row["accuracy"] == pytest.approx(sum(right) / len(right), abs=1e-4)
    assert set(row["by_type"]) == {c.answer.kind for c in asked if c.answer}
    finer = {
        kind: [hit for c, hit in zip(asked, right, strict=True) if c.answer.detailed == kind]
        for kind in KINDS
    }
    assert {kind: (r["questions"], r["accuracy"]) for kind, r in row["by_detailed_type"].items()} == {
        kind: (len(hits), round(sum(hits) / len(hits), 4)) for kind, hits in finer.items() if hits
    }
    assert 0 <= row["accuracy_total"] <= row["accuracy_type"] <= 1


def test_what_cannot_be_asked_or_measured_is_left_out_before_all_else_is(
    shell: Shell, mdetr: Path, tmp_path: Path
) -> None:
    """One text that is too long, or one mask of another picture, lost the whole evaluation at its end."""
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    phrase = {
        "spans": [[0, 3]],
        "boxes": [[1, 1, 9, 9]],
        "masks": [{"size": [30, 40], "counts": [9, 9, 1182]}],
    }
    row = {"image": "a.png", "caption": "man", "phrases": [phrase], "id": "good"}
    wrong = phrase | {"masks": [{"size": [3, 4], "counts": [12]}]}
    rows = [row, row | {"id": "long", "caption": "man " * 999}, row | {"id": "wrong", "phrases": [wrong]}]
    (tmp_path / "all.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = ("evaluate", mdetr, "--data", tmp_path, "--dataset", "jsonl", "--split", "all", "--json")
    ran = shell(*asked)
    assert ran.code == 0, ran
    assert json.loads(ran.out)["items"] == 1
    assert "1 of 3 captions left out. caption long: a text of" in ran.err
    assert (
        "masks left out, their boxes kept: 1 (all.jsonl:3: run lengths of 4x3 pixels in an image" in ran.err
    )


def test_masks(shell: Shell, mdetr: Path, reader: Grounder, scenes: Path) -> None:
    ious = []
    for caption in open_captions(scenes, "phrasecut", "val").captions:
        found = decode(reader.segment(caption.image, caption.text).mask)
        outlines = [
            list(zip(p[::2], p[1::2], strict=True)) for mask in caption.phrases[0].masks for p in mask
        ]
        true = drawn(outlines, *found.shape)
        ious.append((found & true).sum() / (found | true).sum())
    row = line(shell, mdetr, scenes, "phrasecut")
    assert row["items"] == row["all"]["phrases"] == len(ious)
    assert row["all"]["mean_iou"] == pytest.approx(sum(ious) / len(ious), abs=1e-4)
    counted = {name: part["phrases"] for name, part in row["subsets"].items()}
    sizes = ("i_single", "i_multi", "i_many"), ("s_small", "s_mid", "s_large")
    assert all(sum(counted.get(name, 0) for name in names) == len(ious) for names in sizes)


def test_boxes_of_phrases_with_masks(shell: Shell, headless: Path, scenes: Path) -> None:
    """A model without masks too: boxes from the threshold that masks are taken from, and the same subsets."""
    net, tokenizer = parts(load_grounder(headless))
    captions = open_captions(scenes, "phrasecut", "val").captions
    found = [rank_boxes(net, tokenizer, c.image, [c.text], threshold=0.7)[0] for c in captions]
    boxes = [[each.box for each in objects] for objects in found]
    expected = box_overlap(boxes, [c.phrases[0].boxes for c in captions]).as_dict()
    row = line(shell, headless, scenes, "phrasecut", "--protocol", "boxes")
    assert (row["of"], row["all"]) == ("boxes", pytest.approx(expected["all"], abs=1e-3))
    assert {"i_single", "p_att"} <= set(row["subsets"])
    assert sum(map(len, boxes)) > 0


@pytest.mark.parametrize("dataset", ["coco", "lvis"])
def test_objects_by_their_names(shell: Shell, mdetr: Path, scenes: Path, dataset: str) -> None:
    pytest.importorskip("faster_coco_eval", reason="AP needs the extra `eval`")
    row = line(shell, mdetr, scenes, dataset, "--limit", 2)
    content = json.loads((scenes / "annotations" / "instances_all.json").read_text())
    assert row["items"] == 2
    assert 0 < row["objects"] < len(content["annotations"])
    queries, names = ASKED.queries, len(content["categories"])
    assert row["detections"] == 2 * min(queries * names, 300)
    assert ("APr" in row) == (dataset == "lvis")
    assert 0 <= row["AP"] <= 1


# ---------------------------------------------------------------------------------------- a DETR, and a LADS


def test_a_detector(shell: Shell, detector: Path, scenes: Path) -> None:
    """As the official JSON and `detect_all` say, on another way to the same protocol."""
    pytest.importorskip("faster_coco_eval", reason="AP needs the extra `eval`")
    content = json.loads((scenes / "annotations" / "instances_all.json").read_text())
    numbers = {row["name"]: row["id"] for row in content["categories"]}
    images = [(row["id"], scenes / "images" / row["file_name"]) for row in content["images"]]
    net = checkpoint.load_detector(detector).model
    found = [
        Detection(image, numbers[NAMES[int(category)]], float(score), tuple(box.tolist()))
        for image, seen in detect_all(net, images)
        for box, score, category in zip(*seen, strict=True)
    ]
    expected = coco_protocol.average_precision(
        coco_json.truths(content), found, images=[number for number, _ in images]
    )
    unnamed = (
        "this model has no name for 17 of 20 categories of coco all, which count as never found: "
        "woman, boy, girl, …"
    )
    row = line(shell, detector, scenes, "coco", warned=unnamed)
    assert {key: row[key] for key in expected.as_dict()} == expected.as_dict()
    assert row["items"] == len(images)


def test_what_is_printed_of_one_box(shell: Shell, lads: Path, scenes: Path) -> None:
    fields = [
        "dataset", "split", "expressions", "prec@0.5", "mean_iou", "macs_share", "layers_on", "filters_on",
        "milliseconds",
    ]  # fmt: skip
    for dataset in ("refcoco", "phrasecut"):
        ran = shell("evaluate", lads, "--data", scenes, "--dataset", dataset, "--json")
        assert list(json.loads(ran.out)) == fields
    ran = shell("evaluate", lads, "--data", scenes, "--dataset", "flickr30k", "--json")
    row = json.loads(ran.out)  # of a phrase any box is right
    assert row["items"] == row["all"]["phrases"] > row["all"]["recall@1"] >= 0
    assert row["all"]["recall@1"] == row["all"]["recall@10"]
    chosen = ("--protocol", "iou", "--limit", 2, "--json")
    ran = shell("evaluate", lads, "--data", scenes, "--dataset", "refcoco", *chosen)
    assert json.loads(ran.out)["expressions"] == 2


# ------------------------------------------------------------------------------------------------ tables


def test_a_table_has_a_row_for_each_part(shell: Shell, mdetr: Path, scenes: Path) -> None:
    ran = shell(
        "evaluate", mdetr, "--data", scenes, "--dataset", "flickr30k", "--split", "val", "--split", "test"
    )
    assert (ran.code, ran.err) == (0, "")
    lines = [text for text in ran.out.splitlines() if text.strip() and "─" not in text]
    header, *rows = map(str.split, lines[:-1])
    assert lines[-1] == "protocol any · rule iou ≥ 0.5"
    assert header[:3] == ["dataset", "split", "part"]
    assert {"recall@1", "upper_bound"} <= set(header)
    assert header[-4:] == ["M", "MACs", "MACs", "ms"]
    assert [row[1] for row in rows if row[2] == "all"] == ["val", "test"]
    assert any(row[2] == "people" for row in rows)


def test_a_table_of_questions_has_both_kinds_of_types(shell: Shell, mdetr: Path, scenes: Path) -> None:
    data = ("--data", scenes, "--dataset", "gqa", "--split", "val_balanced")
    ran = shell("evaluate", mdetr, *data)
    row = json.loads(shell("evaluate", mdetr, *data, "--json").out)
    shown = [text.split()[2] for text in ran.out.splitlines() if text.startswith(" gqa")]
    assert shown == ["all", *row["by_type"], *row["by_detailed_type"]]
    assert {"attr", "queryAttr"} <= set(shown)


def test_a_table_without_parts(shell: Shell, detector: Path, scenes: Path) -> None:
    pytest.importorskip("faster_coco_eval", reason="AP needs the extra `eval`")
    ran = shell("evaluate", detector, "--data", scenes, "--dataset", "coco", "--split", "all")
    assert "AP50" in ran.out
    assert ran.out.endswith("of boxes\n")
    assert "–" in ran.out  # street scenes of 64 pixels have no large objects


# ------------------------------------------------------------------------------------------------ what fits


def caption(phrase: Phrase | None = None, **fields: Any) -> Caption:
    return Caption("1", Path("a.png"), "a dog", () if phrase is None else (phrase,), **fields)


DOG = Phrase(((0, 5),), (BOX,))
DOGS = Phrase(((0, 5),), (BOX, BOX))
CUT = Phrase(((0, 5),), (BOX,), (((0.0, 0.0, 1.0, 0.0, 1.0, 1.0),),))


@pytest.mark.parametrize(
    ("name", "found", "task"),
    [
        ("gqa", caption(), "questions"),
        ("mine", caption(DOG, answer=Answer("yes")), "questions"),
        ("phrasecut", caption(DOG), "masks"),
        ("mine", caption(CUT, referring=True), "masks"),
        ("refcoco", caption(DOG, referring=True), "expressions"),
        ("mine", caption(DOGS, referring=True), "phrases"),
        ("flickr30k", caption(DOG), "phrases"),
        ("mine", caption(), "phrases"),
    ],
)
def test_what_captions_ask_for(name: str, found: Caption, task: str) -> None:
    assert task_of(CaptionSet(name, "val", (found,))) == task


def test_a_file_of_ones_own_is_what_it_holds(shell: Shell, mdetr: Path, scenes: Path, tmp_path: Path) -> None:
    cut = open_captions(scenes, "phrasecut", "val").captions[:2]
    jsonl.write(tmp_path / "cut.jsonl", cut)
    jsonl.write(tmp_path / "told.jsonl", open_captions(scenes, "flickr30k", "val").captions[:2])
    jsonl.write(tmp_path / "asked.jsonl", open_captions(scenes, "gqa", "val_balanced").captions[:2])
    for name, key in (("cut", "subsets"), ("told", "dropped"), ("asked", "accuracy")):
        ran = shell("evaluate", mdetr, "--data", tmp_path / f"{name}.jsonl", "--json")
        row = json.loads(ran.out)
        assert key in row
        assert (row["dataset"], row["items"]) == (name, 2)


WRONG = {
    "a LADS on questions": (
        "LADS",
        "gqa",
        (),
        "(lads) cannot answer questions; it can ground an expression",
    ),
    "a LADS with many boxes": ("LADS", "refcoco", ("--protocol", "giou"), "or released, not giou"),
    "a DETR on words": (
        "DETR",
        "refcoco",
        (),
        "datasets of objects, coco, lvis, csv, voc and yolo; refcoco is for",
    ),
    "a DETR with a choice": (
        "DETR",
        "coco",
        ("--protocol", "iou"),
        "no protocol iou for coco: there is only",
    ),
    "a DETR without LVIS": ("DETR", "lvis", ("--split", "val"), "has no lvis split 'val'; it has all"),
    "an MDETR on merged": (
        "MDETR",
        "refcoco",
        ("--protocol", "any"),
        "iou and strict and giou and released fit",
    ),
    "phrases by IoU": ("MDETR", "flickr30k", ("--protocol", "iou"), "any and merged fit"),
    "merged by any": ("MDETR", "flickr30k(merged)", ("--protocol", "any"), "merged fit"),
    "masks by IoU": (
        "MDETR",
        "phrasecut",
        ("--protocol", "iou"),
        "of phrasecut: masks and boxes and drawn",
    ),
    "objects by IoU": ("MDETR", "coco", ("--protocol", "any"), "for coco: there is only one"),
    "a limit of nothing": ("MDETR", "refcoco", ("--limit", 0), "a limit of 0"),
    "none of these images": ("MDETR", "coco", ("--split", "all", "--limit", 0), "a limit of 0 images"),
    "no boxes": ("MDETR", "narratives", (), "no narratives in this folder"),
    "headless on questions": (
        "HEADLESS",
        "gqa",
        ("--split", "val_balanced"),
        "cannot answer questions; it can",
    ),
    "headless on masks": ("HEADLESS", "phrasecut", (), "cannot segment; it can"),
}


@pytest.fixture(scope="module")
def headless(tmp_path_factory: pytest.TempPathFactory, reader: Grounder) -> Path:
    net, tokenizer = parts(reader)
    bare = Mdetr(net.config.model_copy(update={"answers": None, "masks": False}))
    return checkpoint.save(tmp_path_factory.mktemp("models") / "bare", scrambled(bare, 1), tokenizer)


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_one_line(
    case: str, shell: Shell, lads: Path, detector: Path, mdetr: Path, headless: Path, scenes: Path
) -> None:
    model, dataset, more, message = WRONG[case]
    folder = {"LADS": lads, "DETR": detector, "MDETR": mdetr, "HEADLESS": headless}[model]
    assert message in shell("evaluate", folder, "--data", scenes, "--dataset", dataset, *more).complaint()


def test_a_detector_without_a_name_in_common(scenes: Path) -> None:
    pytest.importorskip("faster_coco_eval", reason="AP needs the extra `eval`")
    made = Detector(detr(categories=("boat", "dinosaur"), short_side=64, long_side=96))
    with pytest.raises(ValueError, match="a name for none of the 20 categories of coco all"):
        prepared(made, Source(scenes, "coco", "all"))()
