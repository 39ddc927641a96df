"""Detecting as a user does: to the network and back to pixels, the command line, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small import Shell, model_folder
from test_detr import CONFIG, model
from test_import_detr import small_file
from torch import Tensor
from torch.testing import assert_close

import groundling
from groundling import checkpoint
from groundling.ask.detector import Detector, Seen, detect_all, load_detector, named, seen_in
from groundling.draw import draw_detections, ink
from groundling.models.detr import Detr, SetPrediction
from groundling.pictures.boxes import cxcywh_to_xyxy
from groundling.pictures.placement import Resize, normalise, scaled, to_tensor, together
from groundling.results import Cost, Detection, Detections
from groundling.selection import Selection

COST = Cost({"all": 40}, 100)
SIDES = {"short_side": 64, "long_side": 96}


def photo(width: int = 90, height: int = 60, seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def detr() -> Detr:
    return model(**SIDES)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint.save(tmp_path_factory.mktemp("models") / "detr", detr(), None)


# ------------------------------------------------------------------------------------- images on their way


@pytest.mark.parametrize(
    ("size", "sides", "expected"),
    [
        ((640, 480), (800, 1333), (1066, 800)),  # COCO's usual photo: 1066.67, cut as the transforms do
        ((480, 640), (800, 1333), (800, 1066)),
        ((1000, 300), (800, 1333), (1333, 400)),  # 1333 · 300/1000 = 399.9
        ((50, 50), (64, 96), (64, 64)),
        ((5000, 1), (800, 1333), (1333, 1)),  # no side of less than a pixel
    ],
)
def test_an_image_is_scaled_by_its_short_side(size: Any, sides: Any, expected: Any) -> None:
    pixels = Resize(short_side=sides[0], long_side=sides[1]).see(photo(*size)).pixels
    assert (pixels.shape[2], pixels.shape[1]) == expected
    assert pixels.dtype == torch.uint8


@pytest.mark.parametrize("size", [(640, 480), (333, 500), (97, 31), (800, 800), (1000, 300), (200, 61)])
def test_sizes_are_those_of_transformers(size: tuple[int, int]) -> None:
    theirs = pytest.importorskip("transformers.models.detr.image_processing_pil_detr")
    width, height = size
    processor = theirs.DetrImageProcessorPil(size={"shortest_edge": 800, "longest_edge": 1333})
    values = processor(photo(width, height), return_tensors="pt")["pixel_values"]
    wide, high = scaled(photo(width, height), 800, 1333).size
    # where the long side is bound they derive it from the unrounded short one, the released code does not
    assert (values.shape[2] - high, values.shape[3] - wide) in ((0, 0), (0, -1), (0, 1))


def test_a_batch_has_each_image_in_its_corner_and_nothing_beside_it() -> None:
    framing = Resize(short_side=20, long_side=99)
    seen = [framing.see(photo(30, 20)), framing.see(photo(20, 40))]
    images, shown = [each.pixels for each in seen], together(seen).shown
    pixels = framing.input(seen).images
    assert pixels.shape == (2, 3, 40, 30)
    for row, image in enumerate(images):
        h, w = image.shape[1:]
        assert_close(pixels[row, :, :h, :w], normalise(image))
        assert shown[row].sum() == h * w
        assert pixels[row].masked_fill(shown[row], 0).abs().sum() == 0


# ---------------------------------------------------------------------------------- from queries to objects


def prediction(p: list[list[list[float]]], boxes: list[list[list[float]]]) -> SetPrediction:
    return SetPrediction(((torch.tensor(p).log(), torch.tensor(boxes)),))


def test_each_query_says_its_best_category_and_pixels_of_the_original() -> None:
    """The best of all but "nothing", even where "nothing" is likelier; what sticks out is cut."""
    found = prediction([[[0.2, 0.7, 0.1], [0.3, 0.1, 0.6]]], [[[0.5, 0.5, 0.5, 1.0], [0.9, 0.25, 0.4, 0.1]]])
    (seen,) = seen_in(found, [Resize().see(photo(200, 80)).placement])
    assert_close(seen.scores, torch.tensor([0.7, 0.3]))
    assert seen.categories.tolist() == [1, 0]
    assert_close(seen.boxes, torch.tensor([[50.0, 0.0, 150.0, 80.0], [140.0, 16.0, 200.0, 24.0]]))


def test_objects_come_by_score_and_not_below_the_threshold() -> None:
    seen = Seen(torch.zeros(3, 4), torch.tensor([0.5, 0.9, 0.499]), torch.tensor([0, 1, 1]))
    assert [(each.label, round(each.score, 3)) for each in named(seen, ("man", "dog"), 0.5)] == [
        ("dog", 0.9),
        ("man", 0.5),
    ]


def expected(detr: Detr, image: Image.Image) -> tuple[Tensor, Tensor]:
    """Boxes and probabilities, said without any of the code that is tested."""
    config = detr.config
    pixels = normalise(to_tensor(scaled(image, config.short_side, config.long_side))[None])
    with torch.no_grad():
        found = detr(pixels)
    boxes = cxcywh_to_xyxy(found.boxes_cxcywh01[0]) * torch.tensor([*image.size, *image.size])
    width, height = image.size
    boxes[:, 0::2], boxes[:, 1::2] = boxes[:, 0::2].clamp(0, width), boxes[:, 1::2].clamp(0, height)
    return boxes, found.logits[0].softmax(-1)[:, :-1].max(-1).values


@pytest.mark.parametrize("size", [(90, 60), (40, 100), (64, 64)])
def test_detecting_is_the_network_on_the_scaled_image(size: tuple[int, int]) -> None:
    image, net = photo(*size), detr()
    boxes, scores = expected(net, image)
    found = Detector(net).detect(image, threshold=0)
    assert len(found) == CONFIG.queries
    assert_close(
        torch.tensor([each.score for each in found]), scores.sort(descending=True).values, atol=1e-4, rtol=0
    )
    order = scores.argsort(descending=True)
    assert_close(torch.tensor([each.box for each in found]), boxes[order], atol=1e-2, rtol=0)
    assert (found.width, found.height) == size
    assert found.cost.share == 1
    middle = float(scores.sort().values[2:4].mean())
    assert len(Detector(net).detect(image, threshold=middle)) == 4


def test_boxes_are_of_the_picture_as_people_see_it(tmp_path: Path) -> None:
    """A photo that lies on its side in the file, and says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(90, 60).save(tmp_path / "turned.png", exif=exif)
    photo(90, 60).transpose(Image.Transpose.ROTATE_270).save(tmp_path / "upright.png")
    detector = Detector(detr())
    turned, upright = (
        detector.detect(tmp_path / name, threshold=0) for name in ("turned.png", "upright.png")
    )
    assert (turned.width, turned.height) == (60, 90)
    assert turned.objects == upright.objects
    assert turned.image == str(tmp_path / "turned.png")


def test_a_subnet_answers_with_its_cost() -> None:
    detector = Detector(detr())
    off = Selection.all_off(detector.model.units())
    found = detector.detect(photo(), threshold=0, selection=off)
    assert found.cost.share < 0.8  # the stem is most of this little network
    whole = detector.detect(photo(), threshold=0)
    assert found.objects != whole.objects
    assert found.cost.full == whole.cost.macs
    with pytest.raises(ValueError, match="of another network"):
        detector.detect(photo(), selection=Selection(()))


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_all_images_of_a_measurement_come_in_order(batch: int) -> None:
    """One by one exactly what `detect` says; together, padded ones differ a little and others do not."""
    images = [("a", photo(90, 60, 1)), (7, photo(60, 90, 2)), ("c", photo(64, 64, 3))]
    net = detr()
    found = list(detect_all(net.train(), iter(images), batch=batch))
    assert [name for name, _ in found] == ["a", 7, "c"]
    for (_, seen), (_, image) in zip(found, images, strict=True):
        boxes, scores = expected(net.eval(), image)
        near = 1e-4 if batch == 1 else 0.2
        assert_close(seen.scores, scores, rtol=0, atol=near)
        assert seen.boxes.shape == boxes.shape == (CONFIG.queries, 4)
    with pytest.raises(ValueError, match="batch must be 1 image or more, given 0"):
        list(detect_all(net, images, batch=0))


# ------------------------------------------------------------------------------------------------- loading


def test_load_gives_what_the_folder_holds(folder: Path, tmp_path: Path) -> None:
    detector = groundling.load(folder)
    assert isinstance(detector, Detector)
    assert (
        detector.detect(photo(), threshold=0).objects == Detector(detr()).detect(photo(), threshold=0).objects
    )
    assert isinstance(groundling.load(model_folder(tmp_path / "lads")), groundling.Grounder)
    assert isinstance(groundling.load(folder, runtime="auto"), Detector)  # what is best here is the eager one
    with pytest.raises(ValueError, match="with runtime='eager' only, given 'openvino'"):
        groundling.load(folder, runtime="openvino")


def test_what_a_model_cannot_do_is_refused_and_what_can_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"\(detr\) cannot ground an expression; it can detect .* lads_street"
    ):
        groundling.load(folder).ground(photo(), "the dog")
    grounder = groundling.load(model_folder(tmp_path / "lads"))
    with pytest.raises(ValueError, match=r"\(lads\) cannot find all objects of a text; .* mdetr_street"):
        grounder.detect(photo())


@pytest.mark.parametrize("threshold", [-0.1, 1.1, "0.5", True, float("nan")])
def test_a_threshold_is_a_score(folder: Path, threshold: Any) -> None:
    with pytest.raises(ValueError, match=r"must be a number from 0 to 1, given"):
        load_detector(folder).detect(photo(), threshold=threshold)


@pytest.mark.parametrize("options", [{"cache_mib": -1}, {"max_pixels": 0}, {"device": "tpu"}])
def test_options_are_checked(folder: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"given -1|max_pixels must be .* given 0|device 'tpu'"):
        load_detector(folder, **options)


# ------------------------------------------------------------------------------------------------- results


def found(*scores: float, box: tuple[float, float, float, float] = (10, 10, 40, 30)) -> Detections:
    return Detections(tuple(Detection("dog", box, score) for score in scores), COST, 90, 60, 4.0, "a.png")


def test_detections_are_checked_values() -> None:
    assert [each.score for each in found(0.9, 0.5)] == [0.9, 0.5]
    assert (len(found(0.9)), found(0.9)[0].label) == (1, "dog")
    with pytest.raises(ValueError, match="the highest first"):
        found(0.5, 0.9)
    with pytest.raises(ValueError, match="lies outside its image of 90×60"):
        found(0.9, box=(10, 10, 40, 61))
    for score in (1.5, float("nan")):
        with pytest.raises(ValueError, match=r"from 0 to 1"):
            found(score)
    assert found(0.9).as_dict() == {
        "image": "a.png",
        "width": 90,
        "height": 60,
        "objects": [{"label": "dog", "box": [10, 10, 40, 30], "score": 0.9}],
        "macs": 40,
        "full_macs": 100,
        "share": 0.4,
        "milliseconds": 4.0,
    }


def test_objects_are_drawn_with_a_colour_for_each_category() -> None:
    objects = (
        Detection("dog", (10, 110, 140, 130), 0.9),
        Detection("cat", (250, 110, 260, 230), 0.8),
        Detection("dog", (370, 230, 385, 350), 0.7),
    )
    drawn = draw_detections(Image.new("RGB", (400, 400)), Detections(objects, COST, 400, 400, 1.0))
    colours = [tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in ink.BOXES[:2]]
    edges = [drawn.getpixel((int(each.box[2]), int(each.box[3]) - 2)) for each in objects]
    assert edges == [colours[0], colours[1], colours[0]]
    with pytest.raises(
        ValueError, match="detections of an image of 90x60 cannot be drawn on this image of 60x90"
    ):
        draw_detections(photo(60, 90), found(0.9))


# -------------------------------------------------------------------------------------------- command line


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    photo().save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_detect_prints_and_draws(shell: Shell, folder: Path, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "drawn.png"
    told = shell("detect", picture, "--model", folder, "--threshold", 0, "--json", "--out", out)
    assert (told.code, told.err.strip()) == (0, str(out))  # stdout carries JSON
    answer = json.loads(told.out)
    assert len(answer["objects"]) == CONFIG.queries
    assert answer["image"] == str(picture)
    assert Image.open(out).size == (8 * 90, 8 * 60)
    table = shell("detect", picture, "--model", folder, "--threshold", 0)
    assert answer["objects"][0]["label"] in table.out
    assert f"{CONFIG.queries} objects" in table.out


def test_the_wrong_kind_of_model_is_one_line(shell: Shell, folder: Path, picture: Path) -> None:
    said = shell("detect", picture, "--model", "lads_street").complaint()
    assert "(lads) cannot find all objects of a text; it can ground an expression" in said
    said = shell("detect", picture, "cup", "--model", folder).complaint()  # it said that `detect` runs it
    assert "finds the objects of its own categories: give no names" in said
    said = shell("ground", picture, "the dog", "--model", folder).complaint()
    assert "(detr) cannot ground an expression; it can detect objects" in said
    assert "lads_street" in said
    assert "threshold" in shell("detect", picture, "--model", folder, "--threshold", 2).complaint()


def test_import_writes_what_detect_runs(shell: Shell, picture: Path, tmp_path: Path) -> None:
    source, out = small_file(tmp_path / "detr.pth"), tmp_path / "imported"
    names = tmp_path / "names.txt"
    names.write_text("man\ndog\ncar\n")
    told = shell("import", source, out, "--system", "detr", "--categories", names)
    assert (told.code, told.out) == (0, f"{out}\n")
    answer = json.loads(shell("detect", picture, "--model", out, "--threshold", 0, "--json").out)
    assert {each["label"] for each in answer["objects"]} <= {"man", "dog", "car"}
    assert "exists already" in shell("import", source, out, "--system", "detr").complaint()
    assert shell("import", source, out, "--system", "detr", "--replace").code == 0
    assert checkpoint.load_detector(out).model.config.categories == ("0", "1", "2")
    assert "there is one for detr" in shell("import", source, out, "--system", "yolo").complaint()
    missing = shell("import", tmp_path / "no.pth", tmp_path / "x", "--system", "detr").complaint()
    assert "no weight file at" in missing


def test_info_says_what_a_detector_is(shell: Shell, folder: Path, tmp_path: Path) -> None:
    preset = json.loads(shell("info", "detr_r50", "--json").out)
    assert (preset["weights"], preset["queries"], len(preset["categories"])) == (False, 100, 91)
    assert preset["image"] == [1066, 800]
    assert sum(preset["macs"].values()) == preset["full_macs"]
    assert "up to 100 objects of 80 categories" in shell("info", "detr_r50").out
    held = json.loads(shell("info", folder, "--json").out)
    assert held["sha256"] == checkpoint.sha256(folder / checkpoint.WEIGHTS)
    assert held["categories"] == list(CONFIG.categories)
    shell("import", small_file(tmp_path / "detr.pth"), tmp_path / "imported", "--system", "detr")
    told = shell("info", tmp_path / "imported")
    assert told.code == 0
    assert f"detr.pth, SHA-256 {checkpoint.sha256(tmp_path / 'detr.pth')[:16]}" in told.out
    assert "detr_r50" in shell("info", "detr_r51").complaint()
