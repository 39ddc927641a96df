"""What measures a run: the splits that go with its own, each dataset once, with the numbers of `evaluate`."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from scrambled import scrambled
from test_asking import ASKED, WORDS

from groundling import checkpoint
from groundling.ask.detector import Detector
from groundling.ask.grounder import Grounder
from groundling.cli.train import scorer
from groundling.data import CaptionSet, DataError, jsonl, open_captions, open_dataset, street
from groundling.data.street.words import CATEGORIES
from groundling.evaluate import evaluate, validation
from groundling.evaluate.jobs import Source, prepared
from groundling.evaluate.validation import UnmeasuredWarning, of_captions, of_expressions, of_objects
from groundling.models import build
from groundling.models.answers import STREET
from groundling.models.detr import Detr, DetrConfig
from groundling.models.mdetr import Mdetr, MdetrConfig
from groundling.training.holding import beside
from groundling.training.train import DataConfig, Run, TrainConfig, train_all
from groundling.words.byte_pairs import ByteTokenizer
from groundling.words.wordpiece import Tokenizer as WordPieces

TOKENS = 128
TEXT = ASKED.text.model_copy(update={"tokens": TOKENS, "positions": TOKENS + 2})
MODEL = ASKED.model_copy(update={"text": TEXT, "layers": 1, "decoder_layers": 1})
BARE = MODEL.model_copy(update={"answers": None, "masks": False})
MIXED = "flickr30k,gqa,gqa,phrasecut,refcoco"
SPLITS = "train,train_balanced,train_balanced,train,train"
DETR = tiny.DETR.model_copy(update={"categories": tuple(CATEGORIES)})


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen street scenes with all tasks; as COCO all of them are in train and in val."""
    folder = tmp_path_factory.mktemp("data") / "street"
    street.write(folder, scenes=12, size=64, tasks=("captions", "questions", "masks"))
    (folder / "annotations").mkdir()
    content = (folder / "refcoco" / "instances.json").read_text()
    for split in ("train2017", "val2017"):
        (folder / "annotations" / f"instances_{split}.json").write_text(content)
    return folder


@pytest.fixture(scope="module")
def tokenizer() -> ByteTokenizer:
    words = [*WORDS["obj"], "the man with the red hat stands left of the blue house", "is there a car?"] * 9
    return ByteTokenizer.train(words, 300, TOKENS)


def config(
    model: MdetrConfig | DetrConfig, path: Path, dataset: str, split: str = "train", **more: Any
) -> TrainConfig:
    data = DataConfig(path=path, dataset=dataset, split=split, augment="none")
    return tiny.config(model=model, data=data, expressions_per_image=1, **more)


# ---------------------------------------------------------------------------------------------- expressions


def test_a_model_of_one_box_is_measured_on_the_split_beside(scenes: Path, tmp_path: Path) -> None:
    """It was measured on val, whatever the name of the split of its training."""
    samples = open_dataset(scenes, "refcoco", "val").samples[:4]
    jsonl.write(tmp_path / "small_val.jsonl", samples)
    model = scrambled(build(tiny.STILL), 3)
    words = WordPieces.train([sample.expression for sample in samples], 120, tiny.STILL.text.tokens)
    given = tiny.config(data=DataConfig(path=tmp_path, dataset="jsonl", split="small_train"))
    score = of_expressions(given, 3)
    assert score is not None
    found = score(model, words)
    metrics = evaluate(model, words, open_dataset(tmp_path, "jsonl", "small_val").limited(3))
    assert found == {
        "prec@0.5": metrics.prec_at_05, "mean_iou": metrics.mean_iou, "macs_share": metrics.macs_share,
        "layers_on": metrics.layers_on,
    }  # fmt: skip
    whole = given.model_copy(update={"data": DataConfig(path=tmp_path, dataset="jsonl", split="all")})
    assert of_expressions(whole, 3) is None


# ------------------------------------------------------------------------------------------------- captions


def test_each_dataset_of_a_mixture_is_measured_once(scenes: Path, tokenizer: ByteTokenizer) -> None:
    model = scrambled(Mdetr(MODEL), 7)
    score = of_captions(config(MODEL, scenes, MIXED, SPLITS), 5)
    assert score is not None
    found = score(model, tokenizer)
    grounder = Grounder(model, tokenizer)

    def row(dataset: str, split: str) -> dict[str, Any]:
        return prepared(grounder, Source(scenes, dataset, split, 5))().as_dict()

    assert found == pytest.approx(
        {
            "recall@1": row("flickr30k", "val")["all"]["recall@1"],
            "answer_accuracy": row("gqa", "val_balanced")["accuracy"],
            "mask_mean_iou": row("phrasecut", "val")["all"]["mean_iou"],
            "prec@1": row("refcoco", "val")["prec@1"],
        },
        abs=1e-3,
    )


def test_a_model_without_heads_is_measured_on_boxes(scenes: Path, tokenizer: ByteTokenizer) -> None:
    """Then questions give the same number as captions, and both have their names."""
    score = of_captions(config(BARE, scenes, MIXED, SPLITS), 5)
    assert score is not None
    found = score(scrambled(Mdetr(BARE), 7), tokenizer)
    assert list(found) == ["flickr30k/recall@1", "gqa/recall@1", "box_mean_iou", "prec@1"]
    assert all(0 <= value <= 1 for value in found.values())


def test_what_is_too_long_to_read_is_left_out_as_in_training(
    scenes: Path, tokenizer: ByteTokenizer, tmp_path: Path
) -> None:
    """It ended a run of many hours at its last step."""
    model, asked = scrambled(Mdetr(MODEL), 7), open_captions(scenes, "gqa", "val_balanced").captions[:2]
    long = replace(asked[0], text=asked[0].text + " in this very long street" * 20)
    jsonl.write(tmp_path / "val.jsonl", [long, asked[1]])
    score = of_captions(config(MODEL, tmp_path, "jsonl"), 5)
    assert score is not None
    right = Grounder(model, tokenizer).answer(asked[1].image, asked[1].text).answer
    assert asked[1].answer
    assert score(model, tokenizer) == {"answer_accuracy": float(right == asked[1].answer.text)}
    jsonl.write(tmp_path / "val.jsonl", [long])
    score = of_captions(config(MODEL, tmp_path, "jsonl"), 5)
    assert score is not None
    assert score(model, tokenizer) == {}


def test_what_is_left_to_read_says_what_is_measured(
    scenes: Path, tokenizer: ByteTokenizer, tmp_path: Path
) -> None:
    """The one question among captions was too long: then there was no question to measure answers by."""
    told = open_captions(scenes, "flickr30k", "val").captions[:2]
    asked = open_captions(scenes, "gqa", "val_balanced").captions[0]
    long = replace(asked, text=asked.text + " in this very long street" * 20)
    jsonl.write(tmp_path / "val.jsonl", [*told, long])
    score = of_captions(config(MODEL, tmp_path, "jsonl"), 5)
    assert score is not None
    assert list(score(scrambled(Mdetr(MODEL), 7), tokenizer)) == ["recall@1"]


def test_files_of_ones_own_have_their_splits_names(
    scenes: Path, tokenizer: ByteTokenizer, tmp_path: Path
) -> None:
    """Both were called jsonl, and the second's number stood in the place of the first's."""
    told = open_captions(scenes, "flickr30k", "val").captions
    for name, captions in (("gqa_val", told[:2]), ("streets_val", told[2:4])):
        jsonl.write(tmp_path / f"{name}.jsonl", captions)
    score = of_captions(config(MODEL, tmp_path, "jsonl,jsonl", "gqa_train,streets_train"), 5)
    assert score is not None
    found = score(scrambled(Mdetr(MODEL), 7), tokenizer)
    assert list(found) == ["gqa_val/recall@1", "streets_val/recall@1"]


def test_splits_of_one_dataset_have_their_names_too(
    scenes: Path, tokenizer: ByteTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def renamed(root: Path, dataset: str, split: str) -> CaptionSet:
        return replace(open_captions(root, dataset, "val_balanced"), split=split)

    monkeypatch.setattr(validation, "open_captions", renamed)
    score = of_captions(config(MODEL, scenes, "gqa,gqa", "train_balanced,train_all"), 2)
    assert score is not None
    found = score(scrambled(Mdetr(MODEL), 7), tokenizer)
    assert list(found) == ["gqa val_balanced/answer_accuracy", "gqa val_all/answer_accuracy"]


@pytest.mark.parametrize(
    ("split", "tried"),
    [
        ("train", ["val", "validation"]),
        ("train_balanced", ["val_balanced", "validation_balanced"]),
        ("train2017", ["val2017", "validation2017"]),
        ("final_train_of_train", ["final_train_of_val", "final_train_of_validation"]),
        ("all", []),
    ],
)
def test_names_of_splits_beside(split: str, tried: list[str], tmp_path: Path) -> None:
    asked = list[str]()

    def read(name: str) -> str:
        asked.append(name)
        raise ValueError("no such split")

    assert beside(tmp_path, split, read) is None
    assert asked == tried
    assert beside(tmp_path, split, lambda name: name) == (tried[0] if tried else None)
    assert beside(tmp_path / "none", split, lambda name: name) is None


@pytest.mark.parametrize("error", [DataError, FileNotFoundError])
def test_a_split_that_cannot_be_read_is_a_warning(error: type[Exception], tmp_path: Path) -> None:
    def read(name: str) -> str:
        raise error("its images are not here")

    with pytest.warns(UnmeasuredWarning, match="val cannot be read, and is not measured on: its images are"):
        assert beside(tmp_path, "train", read) is None


def test_a_split_that_is_not_there_is_not_measured(scenes: Path, tmp_path: Path) -> None:
    told = open_captions(scenes, "flickr30k", "val").captions[:2]
    jsonl.write(tmp_path / "train.jsonl", told)
    given = config(MODEL, tmp_path, "jsonl")
    assert of_captions(given, 5) is None
    (tmp_path / "val.jsonl").write_text("half a row")
    with pytest.warns(UnmeasuredWarning, match=r"val cannot be read, and is not measured on: .*val\.jsonl"):
        assert of_captions(given, 5) is None
    jsonl.write(tmp_path / "val.jsonl", [replace(each, phrases=()) for each in told])
    assert of_captions(given, 5) is None


# -------------------------------------------------------------------------------------------------- objects


@pytest.mark.parametrize(("dataset", "split"), [("coco", "train2017"), ("refcoco", "train")])
def test_a_detector_is_measured_on_objects(scenes: Path, dataset: str, split: str) -> None:
    pytest.importorskip("faster_coco_eval", reason="AP needs the extra `eval`")
    model = scrambled(Detr(DETR), 3)
    score = of_objects(config(DETR, scenes, dataset, split), 100)
    assert score is not None
    found = score(model, None)
    assert list(found) == ["AP", "AP50"]
    if dataset == "coco":
        row = prepared(Detector(model), Source(scenes, "coco", "val2017"))().as_dict()
        assert found == {name: row[name] for name in found}


def test_objects_of_expressions_are_those_of_the_official_file(scenes: Path) -> None:
    found = validation._objects(DataConfig(path=scenes, dataset="refcoco"), 100, "val")
    assert found is not None
    content = json.loads((scenes / "refcoco" / "instances.json").read_text())
    files = {row["id"]: row["file_name"] for row in content["images"]}
    names = {row["id"]: row["name"] for row in content["categories"]}
    shown = {picture.image.name for picture in found.content.pictures}
    true = sorted(
        (files[row["image_id"]], names[row["category_id"]], *(round(v) for v in row["bbox"][:2]))
        for row in content["annotations"]
        if files[row["image_id"]] in shown
    )
    assert true == sorted(
        (picture.image.name, found.content.categories[each.category], *(round(v) for v in each.box[:2]))
        for picture in found.content.pictures
        for each in picture.instances
    )
    assert {picture.size for picture in found.content.pictures} == {(64, 64)}


def test_without_the_evaluator_a_detector_is_not_measured(
    scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is read for it: the objects of a large dataset take minutes."""

    def missing() -> None:
        raise ValueError("AP needs faster-coco-eval")

    monkeypatch.setattr(validation, "require_evaluator", missing)
    monkeypatch.setattr(validation, "_objects", lambda *_: pytest.fail("the split was read"))
    with pytest.warns(UnmeasuredWarning, match="this run is not measured: AP needs faster-coco-eval"):
        assert of_objects(config(DETR, scenes, "refcoco"), 5) is None


def test_a_split_without_its_images_does_not_end_a_run(scenes: Path, tmp_path: Path) -> None:
    """COCO with the images of train alone: nobody asked for val, and no step was made."""
    pytest.importorskip("faster_coco_eval", reason="AP needs the extra `eval`")
    (tmp_path / "annotations").symlink_to(scenes / "annotations")
    with pytest.warns(UnmeasuredWarning, match="val2017 cannot be read, .*none of 12 rows can be used"):
        assert of_objects(config(DETR, tmp_path, "coco", "train2017"), 5) is None


def test_a_detector_without_a_name_or_a_split_is_not_measured(scenes: Path) -> None:
    pytest.importorskip("faster_coco_eval", reason="AP needs the extra `eval`")
    other = DETR.model_copy(update={"categories": ("dinosaur",)})
    assert of_objects(config(other, scenes, "refcoco"), 5) is None
    assert of_objects(config(DETR, scenes, "refcoco", "testA"), 5) is None


# ----------------------------------------------------------------------------------------------------- runs


def mdetr_run(scenes: Path) -> Run:
    model = MODEL.model_copy(update={"answers": STREET})
    return Run("mdetr", config(model, scenes, MIXED, SPLITS, steps=2, evaluate_every=1), "mdetr")


def detr_run(scenes: Path) -> Run:
    return Run("detr", config(DETR, scenes, "refcoco", steps=2, evaluate_every=1), "detr")


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (mdetr_run, {"eval/recall@1", "eval/answer_accuracy", "eval/mask_mean_iou", "eval/prec@1"}),
        (detr_run, {"eval/AP", "eval/AP50"}),
    ],
)
def test_a_run_is_measured_in_between_and_at_its_end(
    scenes: Path, tmp_path: Path, make: Callable[[Path], Run], names: set[str]
) -> None:
    """The step after a measurement learns as if there had been none."""
    if make is detr_run:
        pytest.importorskip("faster_coco_eval", reason="AP needs the extra `eval`")
    run = make(scenes)
    final = train_all([run], tmp_path / "measured", evaluate=scorer)
    info = json.loads((final / checkpoint.CONFIG).read_text())
    assert set(info["training"]["scores"]) == names
    plain = train_all([run], tmp_path / "plain")
    one, other = (checkpoint.read_tensors(folder / checkpoint.WEIGHTS) for folder in (final, plain))
    assert all((one[name] == other[name]).all() for name in one)
