"""Answers print as one line, draw themselves, and go on as rows, COCO results and supervision's values."""

import csv
import io
import json
import pickle
import sys
import warnings
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image, ImageShow
from scrambled import scrambled
from small import WORDS, mdetr_folder, model_folder

import groundling
from groundling import Detection, Detections, Detector, Grounder, Grounding, Selection
from groundling.ask.grounder import load_grounder
from groundling.models.detr import Detr, DetrConfig
from groundling.pictures.masks import Rle, encode
from groundling.results import Answer, CaptionGrounding, Cost, PhraseObjects, Segmentation, Shown
from groundling.words.tokens import UnknownWordWarning

COST = Cost({"text": 10_000_000, "backbone": 35_400_000}, 100_000_000)
LAYERS = Selection((("layer1.0", (True,)), ("layer1.0.conv1", (True, False)), ("encoder.0.ffn", (False,))))
WOMAN, BENCH = Detection("woman", (1, 2, 30, 22.5), 0.75), Detection("bench", (40, 5, 60, 30), 0.5)
OBJECTS = (WOMAN, BENCH, replace(WOMAN, score=0.25))
CAPTION = "A woman near a bench"
MASK = np.zeros((40, 60), bool)
MASK[10:20, 5:25] = True
KNOWN = (CAPTION, COST, 60, 40, 9.06, "")

GROUNDING = Grounding("the cat", (1.25, 2, 30, 22.5), 0.973, COST, LAYERS, 60, 40, 9.06)
DETECTIONS = Detections(OBJECTS, COST, 60, 40, 9.06)
PHRASES = CaptionGrounding(
    *KNOWN, (PhraseObjects("A woman", (0, 7), (WOMAN,)), PhraseObjects("a bench", (13, 20), ())), "rules"
)
ANSWER = Answer("Is it red?", *KNOWN[1:], answer="yes", kind="attr", confidence=0.9, evidence=(BENCH,))
SEGMENTATION = Segmentation("the dog", *KNOWN[1:], mask=encode(MASK), objects=(WOMAN,))
ANSWERS: dict[str, Shown] = {
    "Grounding": GROUNDING,
    "Detections": DETECTIONS,
    "CaptionGrounding": PHRASES,
    "Answer": ANSWER,
    "Segmentation": SEGMENTATION,
}


def photo(width: int = 60, height: int = 40) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def grounder(tmp_path_factory: pytest.TempPathFactory) -> Grounder:
    return load_grounder(model_folder(tmp_path_factory.mktemp("results") / "small"))


@pytest.fixture(scope="module")
def finder(tmp_path_factory: pytest.TempPathFactory) -> Grounder:
    return load_grounder(mdetr_folder(tmp_path_factory.mktemp("results") / "finder"))


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(scrambled(Detr(DetrConfig.model_validate(tiny.DETR.model_dump()))), name="squares")


# ------------------------------------------------------------------------------------------------ one line


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (
            GROUNDING,
            "Grounding('the cat', box=(1.2, 2.0, 30.0, 22.5), score=0.97, 45.4% of the network, 9.1 ms)",
        ),
        (
            replace(GROUNDING, score=None),
            "Grounding('the cat', box=(1.2, 2.0, 30.0, 22.5), 45.4% of the network, 9.1 ms)",
        ),
        (WOMAN, "Detection('woman', box=(1.0, 2.0, 30.0, 22.5), score=0.75)"),
        (DETECTIONS, "Detections(3 objects: 2 × 'woman', 'bench', 45.4 M MACs, 9.1 ms)"),
        (Detections((), COST, 60, 40, 9.06), "Detections(no objects, 45.4 M MACs, 9.1 ms)"),
        (PHRASES, "CaptionGrounding(1 × 'A woman', 0 × 'a bench', 45.4 M MACs, 9.1 ms)"),
        (PHRASES.phrases[0], "PhraseObjects('A woman', 1 object: 'woman')"),
        (
            ANSWER,
            "Answer('Is it red?': 'yes', confidence=0.90, evidence: 1 object: 'bench', 45.4 M MACs, 9.1 ms)",
        ),
        (
            SEGMENTATION,
            "Segmentation('the dog', 8.3% of the picture, 1 object: 'woman', 45.4 M MACs, 9.1 ms)",
        ),
        (LAYERS, "Selection(1 of 2 layers and sublayers, 1 of 2 filters)"),
        (Selection(()), "Selection(everything, of a network with one size)"),
        (COST, "Cost(45.4 M of 100.0 M MACs, 45.4%)"),
        (replace(COST, shared=2_000_000), "Cost(45.4 M of 100.0 M MACs, 45.4%, 2.0 M shared)"),
        (encode(MASK), "Rle(40×60, 200 pixels on, 8.3%)"),
    ],
)
def test_values_print_as_one_short_line(value: object, printed: str) -> None:
    """The repr of a Grounding had 11,318 characters: every filter of its Selection."""
    assert repr(value) == printed


def test_a_long_text_with_line_breaks_is_one_short_line() -> None:
    shown = repr(replace(GROUNDING, expression="a dog\n" * 1000))
    assert "\n" not in shown
    assert len(shown) < 200


def test_loaded_models_say_what_they_are(grounder: Grounder, detector: Detector) -> None:
    """The repr of a Grounder was an address."""
    weights = sum(p.numel() for p in grounder.model.parameters())
    assert repr(grounder) == f"Grounder(small, lads, {weights:,} parameters, cpu, eager)"
    weights = sum(p.numel() for p in detector.model.parameters())
    assert repr(detector) == f"Detector(squares, detr, {weights:,} parameters, cpu, eager)"


def test_names_are_completed() -> None:
    """`load` comes late, and was not in dir(groundling)."""
    assert set(groundling.__all__) <= set(dir(groundling))


# ------------------------------------------------------------------------------------------------- pictures


def ask_all(finder: Grounder, picture: Any) -> list[Shown]:
    return [
        finder.ground(picture, WORDS[0]),
        *finder.ground(picture, list(WORDS[:2])),
        *finder.ground_batch([(picture, WORDS[0])]),
        finder.detect(picture, ["square"], threshold=0),
        finder.ground_phrases(picture, "a red square on the left", threshold=0),
        finder.answer(picture, "is it red?", threshold=0),
        finder.segment(picture, "red square", threshold=0),
    ]


def test_every_answer_saves_its_picture(finder: Grounder, detector: Detector, tmp_path: Path) -> None:
    photo().save(tmp_path / "photo.png")
    answers = ask_all(finder, tmp_path / "photo.png")
    answers.append(detector.detect(tmp_path / "photo.png", threshold=0))
    for place, answer in enumerate(answers):
        saved = answer.save(tmp_path / f"{place}.png")
        assert saved == tmp_path / f"{place}.png"
        assert np.asarray(Image.open(saved)).tolist() == np.asarray(answer.draw()).tolist()
        assert max(answer.draw().size) >= 400  # a small picture is drawn larger, with labels


def test_a_picture_is_at_hand_while_its_owner_keeps_it(grounder: Grounder) -> None:
    kept, array = photo(), np.asarray(photo())
    assert grounder.ground(kept, "left").draw().size == grounder.ground(array, "left").draw().size
    gone = grounder.ground(photo(), "left")
    with pytest.raises(ValueError, match="no longer at hand"):
        gone.draw()
    assert gone.draw(kept).size == (660, 440)
    data = io.BytesIO()
    photo().save(data, "PNG")
    with pytest.raises(ValueError, match=r"give it once more, as in answer\.save\(path, image\)"):
        grounder.ground(data.getvalue(), "left").draw()
    with pytest.raises(ValueError, match="cannot be drawn on this image of 50x40"):
        gone.draw(photo(50, 40))


def test_an_answer_is_never_saved_over_its_picture(grounder: Grounder, tmp_path: Path) -> None:
    photo().save(tmp_path / "photo.png")
    before = (tmp_path / "photo.png").read_bytes()
    (tmp_path / "link.png").symlink_to(tmp_path / "photo.png")
    answer = grounder.ground(tmp_path / "photo.png", "left")
    for name in ("photo.png", "link.png"):
        with pytest.raises(ValueError, match="would be written over"):
            answer.save(tmp_path / name)
    with pytest.raises(ValueError, match="would be written over"):
        answer.save(tmp_path / "photo.png", tmp_path / "link.png")
    assert (tmp_path / "photo.png").read_bytes() == before


def test_show_opens_the_drawn_picture(grounder: Grounder, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Image.Image] = []

    class Viewer(ImageShow.Viewer):
        def show(self, image: Image.Image, **options: Any) -> int:
            opened.append(image)
            return 1

    kept = photo()
    answer = grounder.ground(kept, "left")
    monkeypatch.setattr(ImageShow, "_viewers", [])
    with pytest.raises(ValueError, match=r"save\(path\) writes the picture"):
        answer.show()
    monkeypatch.setattr(ImageShow, "_viewers", [Viewer()])
    answer.show()
    assert [each.size for each in opened] == [answer.draw().size]


def test_an_answer_made_by_hand_has_no_picture() -> None:
    with pytest.raises(ValueError, match="was not made by a model"):
        GROUNDING.save("x.png")


def test_an_answer_that_was_pickled_finds_its_path_again(grounder: Grounder, tmp_path: Path) -> None:
    kept = photo()
    kept.save(tmp_path / "photo.png")
    again = pickle.loads(pickle.dumps(grounder.ground(tmp_path / "photo.png", "left")))
    assert again.draw().size == (660, 440)
    small = pickle.dumps(grounder.ground(kept, "left"))
    assert len(small) < 10_000  # the image is not in it
    with pytest.raises(ValueError, match="no longer at hand"):
        pickle.loads(small).draw()


def test_the_view_is_no_part_of_the_value(grounder: Grounder) -> None:
    kept = photo()
    answer = grounder.ground(kept, "left")
    assert answer == answer.seen_by(None)
    assert "view" not in repr(answer)


# ----------------------------------------------------------------------------------------------- notebooks


class Page(HTMLParser):
    """The tags and the texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_notebook_shows_a_picture_or_a_table(finder: Grounder) -> None:
    kept = photo()
    for answer in ask_all(finder, kept):
        page = Page(answer._repr_html_())
        (image,) = [attributes for tag, attributes in page.tags if tag == "img"]
        assert str(image["src"]).startswith("data:image/png;base64,")
    without = Page(finder.ground(photo(), "left")._repr_html_())
    assert not [tag for tag, _ in without.tags if tag == "img"]
    assert any("no longer at hand" in text for text in without.texts)


def test_a_table_has_every_value_of_the_answer() -> None:
    page = Page(DETECTIONS._repr_html_())
    assert [tag for tag, _ in page.tags].count("tr") == 1 + len(OBJECTS)
    assert {"woman", "bench", "0.75", "22.5", "45.4 M MACs, 9.1 ms"} <= set(page.texts)
    assert "nothing found" in Page(Detections((), COST, 60, 40, 9.06)._repr_html_()).texts


@pytest.mark.parametrize("name", ANSWERS)
def test_every_text_is_escaped(name: str) -> None:
    evil = '<script>alert("&amp;")</script>'
    labelled = tuple(replace(each, label=evil) for each in OBJECTS[:1])
    changed: dict[str, Shown] = {
        "Grounding": replace(GROUNDING, expression=evil),
        "Detections": replace(DETECTIONS, objects=labelled),
        "CaptionGrounding": replace(
            PHRASES, text=evil, phrases=(PhraseObjects(evil, (0, len(evil)), labelled),)
        ),
        "Answer": replace(ANSWER, text=evil, answer=evil, evidence=labelled),
        "Segmentation": replace(SEGMENTATION, text=evil, objects=labelled),
    }
    page = Page(changed[name]._repr_html_())
    assert "script" not in {tag for tag, _ in page.tags}
    assert any(evil in text for text in page.texts)


# -------------------------------------------------------------------------------------------- other programs


def test_rows_hold_single_values_only() -> None:
    rows = [GROUNDING.as_row(), *DETECTIONS.rows(), *PHRASES.rows(), ANSWER.as_row(), SEGMENTATION.as_row()]
    for row in rows:
        assert all(value is None or isinstance(value, str | int | float) for value in row.values())
        assert row["image"] == ""
        assert (row["width"], row["height"]) == (60, 40)
    boxes = [tuple(row[key] for key in ("x1", "y1", "x2", "y2")) for row in rows if "x1" in row]
    assert boxes[0] == (1.25, 2, 30, 22.5)
    assert boxes[1:5] == [WOMAN.box, BENCH.box, WOMAN.box, WOMAN.box]
    assert boxes[5] == (None,) * 4  # "a bench" was not found, and is not lost
    assert boxes[6] == (5, 10, 25, 20)


def test_rows_are_what_a_table_is_made_of() -> None:
    rows = DETECTIONS.rows()
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    read = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert [row["label"] for row in read] == ["woman", "bench", "woman"]
    assert [float(row["x2"]) for row in read] == [30, 60, 30]


def test_rows_make_a_data_frame() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(PHRASES.rows())
    assert list(frame.phrase) == ["A woman", "a bench"]
    assert frame.x1.isna().tolist() == [False, True]


def test_coco_results() -> None:
    assert GROUNDING.as_coco(7, 3) == [
        {"image_id": 7, "category_id": 3, "bbox": [1.25, 2, 28.75, 20.5], "score": 0.973}
    ]
    assert replace(GROUNDING, score=None).as_coco(7, {"the cat": 5})[0]["score"] == 1.0
    ids = {"woman": 1, "bench": 15}
    assert [each["category_id"] for each in DETECTIONS.as_coco(7, ids)] == [1, 15, 1]
    (mask,) = SEGMENTATION.as_coco(7, {"the dog": 18})
    assert mask["bbox"] == [5, 10, 20, 10]
    assert mask["segmentation"] == encode(MASK).as_dict()
    empty = replace(SEGMENTATION, mask=Rle(40, 60, (2400,)), objects=())
    assert empty.as_coco(7, 1) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((7, {"woman": 1}), "category_ids has no id for 'bench'; it has 'woman'"),
        ((7, {}), "category_ids has no id for 'woman'; it has none at all"),
        (("7", {}), "image_id must be a whole number, given '7'"),
        ((True, {}), "image_id must be a whole number, given True"),
        ((7, "woman"), "category_ids must be a whole number, given 'woman'"),
        ((7, {"woman": "1", "bench": 2}), "the id of 'woman' must be a whole number, given '1'"),
    ],
)
def test_coco_needs_ids(given: tuple[Any, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DETECTIONS.as_coco(*given)


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_cocos_evaluation_reads_the_results(kind: str) -> None:
    """A perfect answer has an average precision of 1 by COCO's own measure."""
    evaluator = pytest.importorskip("faster_coco_eval")
    answer: Shown = DETECTIONS if kind == "bbox" else SEGMENTATION
    ids = {"woman": 1, "bench": 15, "the dog": 18}
    results = json.loads(json.dumps(answer.as_coco(7, ids)))[:2]
    truth = [
        {
            "id": number,
            "image_id": 7,
            "category_id": each["category_id"],
            "bbox": each["bbox"],
            "area": each["bbox"][2] * each["bbox"][3],
            "iscrowd": 0,
            **({"segmentation": each["segmentation"]} if kind == "segm" else {}),
        }
        for number, each in enumerate(results, 1)
    ]
    coco = evaluator.COCO(
        {
            "images": [{"id": 7, "width": 60, "height": 40}],
            "annotations": truth,
            "categories": [{"id": number, "name": name} for name, number in ids.items()],
        }
    )
    measured = evaluator.COCOeval_faster(coco, coco.loadRes(results), kind)
    measured.evaluate()
    measured.accumulate()
    measured.summarize()
    assert measured.stats[0] == pytest.approx(1)


def test_supervision_takes_the_boxes() -> None:
    supervision = pytest.importorskip("supervision")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = DETECTIONS.to_supervision()
    assert isinstance(found, supervision.Detections)
    assert found.xyxy.tolist() == [list(each.box) for each in OBJECTS]
    assert found.confidence.tolist() == [0.75, 0.5, 0.25]
    assert found.class_id.tolist() == [0, 1, 0]
    assert found["class_name"].tolist() == ["woman", "bench", "woman"]
    assert replace(GROUNDING, score=None).to_supervision().confidence is None
    masked = SEGMENTATION.to_supervision()
    assert masked.mask.tolist() == [MASK.tolist()]
    assert masked.area.tolist() == [200]
    assert len(Detections((), COST, 60, 40, 9.06).to_supervision()) == 0


def test_without_supervision_an_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ValueError, match=r"pip install 'groundling\[draw\]'"):
        GROUNDING.to_supervision()


# --------------------------------------------------------------------------------------------------- misuse


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([("x.jpg",)], r"number 0 is \('x.jpg',\)"),
        ([("x.jpg", "a", "b")], "number 0 is"),
        ([("x.jpg", "the cat"), "x.jpg"], "number 1 is 'x.jpg'"),
        ([("x.jpg", ["the cat", "a dog"])], "number 0 is"),
        ([None], "number 0 is None"),
        ("x.jpg", "takes a list of requests, given str"),
        ({"x.jpg": "the cat"}, "takes a list of requests, given dict"),
        (7, "takes a list of requests, given int"),
    ],
)
def test_a_batch_says_what_a_request_is(grounder: Grounder, requests: Any, message: str) -> None:
    """[("x.jpg",)] said: not enough values to unpack."""
    with pytest.raises(ValueError, match=message) as error:
        grounder.ground_batch(requests)
    assert '("street.jpg", "the cat")' in str(error.value)


def test_a_batch_takes_what_can_be_read_once(grounder: Grounder) -> None:
    kept = photo()
    once = grounder.ground_batch((kept, words) for words in WORDS)  # type: ignore[arg-type]
    listed = grounder.ground_batch([(kept, words) for words in WORDS])
    for one, other in zip(once, listed, strict=True):
        assert one.box == pytest.approx(other.box, abs=1e-3)


def test_warnings_point_at_the_callers_line(grounder: Grounder, finder: Grounder) -> None:
    """They pointed into grounder.py, or into torch, as deep as the method happened to be."""
    picture = photo()
    calls = [
        lambda: grounder.ground(picture, "the zeppelin"),
        lambda: grounder.ground(picture, ["the zeppelin"]),
        lambda: grounder.ground_batch([(picture, "the zeppelin")]),
        lambda: grounder.select("the zeppelin"),
        lambda: grounder.ground(picture, "left " * 40),  # cut: it is longer than the model reads
    ]
    for call in calls:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            call()
        assert seen
        for warning in seen:
            assert warning.filename == __file__
            assert warning.lineno == call.__code__.co_firstlineno
    assert issubclass(UnknownWordWarning, UserWarning)
