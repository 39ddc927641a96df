"""Boxes of any kind, in every format: what `convert` writes of them, reading takes back, and says nothing.

Each writer below makes a small dataset whose annotations are the boxes it is given, xyxy in pixels of a
picture of 60x40 pixels, or 100x50 in REFER's.
"""

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import test_coco
import test_flickr
import test_gqa
import test_labelled
import test_mdetr_annotations
import test_openimages
import test_phrasecut
import test_refer
import test_transvg
import test_visual_genome
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from groundling.data import DataError, DataWarning, jsonl, open_captions
from groundling.data.check import check
from groundling.data.convert import convert

Box = tuple[float, float, float, float]
Boxes = Sequence[Box]
Named = tuple[str, str]  # dataset and split
WIDE, HIGH = 60, 40


def xywh(box: Box) -> list[float]:
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]


def write_jsonl(root: Path, boxes: Boxes) -> Named:
    Image.new("RGB", (WIDE, HIGH)).save(root / "a.jpg")
    rows = [{"image": "a.jpg", "expression": f"dog {n}", "box": box} for n, box in enumerate(boxes)]
    phrases = [{"spans": [[0, 3]], "boxes": list(boxes)}, {"spans": [[8, 11]], "boxes": list(boxes[:1])}]
    rows.append({"image": "a.jpg", "caption": "two and one", "phrases": phrases})
    (root / "val.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return "jsonl", "val"


def write_coco(root: Path, boxes: Boxes) -> Named:
    numbers = (1, 18, 3)
    rows = [
        test_coco.annotation(n, bbox=xywh(box), category_id=numbers[n % 3], segmentation=[])
        for n, box in enumerate(boxes)
    ]
    test_coco.write(root, rows)
    return "coco", "val2017"


def write_lvis(root: Path, boxes: Boxes) -> Named:
    write_coco(root, boxes)
    (root / "annotations" / "instances_val2017.json").rename(root / "annotations" / "lvis_v1_val.json")
    (root / "val2017").rename(root / "images")
    return "lvis", "val"


def write_refer(root: Path, boxes: Boxes) -> Named:
    refs = [test_refer.a_ref(n, "val") for n in range(len(boxes))]
    rows = [test_refer.an_annotation(n, bbox=xywh(box)) for n, box in enumerate(boxes)]
    test_refer.write(root, refs, rows)
    return "refcoco", "val"


def write_transvg(root: Path, boxes: Boxes) -> Named:
    rows = [("1.jpg", "m.pth", xywh(box), f"dog {n}", []) for n, box in enumerate(boxes)]
    test_transvg.save(root, "unc", "val", rows)
    (root / "images").mkdir()
    Image.new("RGB", (WIDE, HIGH)).save(root / "images" / "1.jpg")
    return "unc", "val"


def write_flickr(root: Path, boxes: Boxes) -> Named:
    """Counted from one; two boxes a chain."""
    marked = " and ".join(f"[/EN#{n // 2}/people thing {n // 2}]" for n in range(0, len(boxes), 2))
    shifted = [(f"{n // 2}", tuple(value + 1 for value in box)) for n, box in enumerate(boxes)]
    test_flickr.write(root, marked, test_labelled.xml(shifted, "100.jpg"))
    return "flickr30k", "val"


def write_visual_genome(root: Path, boxes: Boxes) -> Named:
    regions = [
        test_visual_genome.REGION
        | dict(zip(("x", "y", "width", "height"), xywh(box), strict=True))
        | {"region_id": n}
        for n, box in enumerate(boxes)
    ]
    test_visual_genome.write(root, *regions)
    return "visual_genome", "all"


def write_gqa(root: Path, boxes: Boxes) -> Named:
    things = {
        str(n): {"name": "dog", "attributes": []} | dict(zip("xywh", xywh(box), strict=True))
        for n, box in enumerate(boxes)
    }
    marks = {"question": {str(n): str(n) for n in range(len(boxes))}, "answer": {"0": "0"}}
    scene = {"width": WIDE, "height": HIGH, "objects": things}
    test_gqa.write(root, graphs={"77": scene}, q1=test_gqa.question(annotations=marks))
    return "gqa", "val_balanced"


def write_phrasecut(root: Path, boxes: Boxes) -> Named:
    tasks = [
        test_phrasecut.task(
            task_id=f"77__{n}",
            instance_boxes=[xywh(box) for box in boxes[n : n + 2]],
            Polygons=[test_phrasecut.LEFT] * len(boxes[n : n + 2]),
        )
        for n in range(len(boxes))
    ]
    test_phrasecut.write(root, *tasks)
    return "phrasecut", "val"


def write_mdetr(root: Path, boxes: Boxes) -> Named:
    rows = [
        test_mdetr_annotations.annotation(n, [[2 * (n // 2), 2 * (n // 2) + 1]], xywh(box))
        for n, box in enumerate(boxes)
    ]
    image = test_mdetr_annotations.image(caption="a b c d e f", tokens_negative=[[0, 11]])
    test_mdetr_annotations.write(root, [image], rows)
    return "mdetr", "final_mixed_train"


def write_open_images(root: Path, boxes: Boxes) -> Named:
    rows = [
        test_openimages.row(
            label=(test_openimages.DOG, test_openimages.TREE)[n % 2],
            sides=f"{x1 / WIDE},{x2 / WIDE},{y1 / HIGH},{y2 / HIGH}",
        )
        for n, (x1, y1, x2, y2) in enumerate(boxes)
    ]
    test_openimages.write(root, *rows)
    return "open_images", "validation"


def write_csv(root: Path, boxes: Boxes) -> Named:
    Image.new("RGB", (WIDE, HIGH)).save(root / "a.jpg")
    lines = [",".join(map(str, ("a.jpg", f"dog {n % 2}", *box))) for n, box in enumerate(boxes)]
    (root / "val.csv").write_text("\n".join(["image,class,xmin,ymin,xmax,ymax", *lines]))
    return "csv", "val"


def write_expressions(root: Path, boxes: Boxes) -> Named:
    write_csv(root, boxes)
    text = (root / "val.csv").read_text()
    (root / "val.csv").write_text(text.replace("image,class", "image,expression"))
    return "csv", "val"


def write_voc(root: Path, boxes: Boxes) -> Named:
    test_labelled.images(root / "JPEGImages")
    (root / "Annotations").mkdir()
    objects = [(f"dog {n % 2}", box) for n, box in enumerate(boxes)]
    (root / "Annotations" / "a.xml").write_text(test_labelled.xml(objects))
    return "voc", "all"


def write_yolo(root: Path, boxes: Boxes) -> Named:
    test_labelled.yolo(root)
    lines = [f"{n % 2} {test_labelled.shares(box)}" for n, box in enumerate(boxes)]
    (root / "labels" / "a.txt").write_text("\n".join(lines))
    return "yolo", "all"


WRITERS: dict[str, Callable[[Path, Boxes], Named]] = {
    name.removeprefix("write_"): value for name, value in globals().items() if name.startswith("write_")
}

sides = (
    st.integers(-20, 90).map(float)
    | st.floats(-5, 70, allow_nan=False)
    | st.sampled_from([0.0, 0.4, 1.0, 40.0, 60.0, 59.999, 5000.0, -5000.0, 1e300, float("nan"), float("inf")])
)
nasty = st.lists(st.tuples(sides, sides, sides, sides), min_size=1, max_size=5)


def rounded(value: float) -> object:
    return pytest.approx(value, abs=0.0051)


@pytest.mark.parametrize("name", WRITERS)
@given(boxes=nasty)
@settings(max_examples=25)
def test_what_is_converted_is_read_again(name: str, boxes: Boxes) -> None:
    """Of a file that cannot be read at all, there is no other; a second reading has nothing to say."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        dataset, split = WRITERS[name](root, boxes)
        for to in ("jsonl", "mdetr"):
            out = root / ("out.jsonl" if to == "jsonl" else "final_out.json")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DataWarning)
                try:
                    expected = open_captions(root, dataset, split).captions
                except DataError:
                    with pytest.raises(DataError):
                        convert(root, out, dataset, split, captions=True, to=to)
                    assert not out.exists()
                    continue
                convert(root, out, dataset, split, captions=True, to=to)
            # DataWarnings are errors from here on.
            if to == "jsonl":
                read = jsonl.read_captions(out).captions
            else:
                (root / "images").mkdir(exist_ok=True)
                read = open_captions(root, "mdetr", "final_out").captions
            assert [(c.id, c.text, c.image.name) for c in read] == [
                (c.id, c.text, c.image.name) for c in expected
            ]
            for ours, theirs in zip(read, expected, strict=True):
                kept = [phrase for phrase in theirs.phrases if phrase.boxes]
                assert [p.spans for p in ours.phrases] == [p.spans for p in kept]
                for one, other in zip(ours.phrases, kept, strict=True):
                    assert [tuple(map(rounded, box)) for box in other.boxes] == list(one.boxes)
                    wide, high = (100, 50) if name == "refer" else (WIDE, HIGH)
                    for x1, y1, x2, y2 in one.boxes:
                        assert 0 <= x1 < x2 <= wide
                        assert 0 <= y1 < y2 <= high


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_says_what_it_does_to_boxes(tmp_path, name) -> None:
    """One rule: cut and counted, or left out and counted."""
    good, out_of_it, beside, flat = (1, 2, 30, 35), (40, 20, 90, 60), (70, 50, 80, 60), (5, 5, 5, 9)
    dataset, split = WRITERS[name](tmp_path, [good, beside, out_of_it, flat, good, good])
    (found,) = check(tmp_path, dataset, split)
    assert found.error is None
    reasons = " ".join(found.rejects.left_out)
    assert "lies outside its image" in reasons
    assert "has no area" in reasons
    assert found.rejects.changed["boxes cut at the edge of their picture"].count >= 1
