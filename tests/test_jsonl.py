"""JSON Lines: what is written is read again, and every bad line is named by its number."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from groundling.data import DataError, Sample, available, jsonl, open_dataset

SHARED = Path(__file__).parents[2] / "shared" / "data" / "refer_val" / "jsonl"
GOOD = {"image": "a.jpg", "expression": "left dog", "box": [1, 2, 30.5, 40]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (50, 50)).save(tmp_path / "a.jpg")
    return tmp_path


def save(folder: Path, *rows: object, name: str = "val.jsonl") -> Path:
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_row_is_a_sample(folder):
    file = save(folder, GOOD, "", GOOD | {"id": "x7", "category": "dog", "other": [1]})
    dataset = jsonl.read(file)
    first, second = dataset.samples
    assert first == Sample("val-1", folder / "a.jpg", "left dog", (1, 2, 30.5, 40))
    assert second == Sample("x7", folder / "a.jpg", "left dog", (1, 2, 30.5, 40), "dog")
    assert (dataset.name, dataset.split, dict(dataset.things)) == ("val", "val", {})


def test_a_folder_has_its_splits_as_files(folder):
    save(folder, GOOD, name="val.jsonl")
    save(folder, GOOD, GOOD, name="train.jsonl")
    assert len(open_dataset(folder, "jsonl", "train")) == 2
    assert len(open_dataset(folder / "val.jsonl", "jsonl", "val")) == 1
    assert available(folder) == ["jsonl"]
    with pytest.raises(ValueError, match="no split 'test'; it has train, val"):
        open_dataset(folder, "jsonl", "test")
    with pytest.raises(FileNotFoundError, match=r"test\.jsonl"):
        jsonl.read(folder / "test.jsonl")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{", "not JSON"),
        ("\x00", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "a row is an object, not list"),
        ({"image": "a.jpg", "box": [1, 2, 3, 4]}, "has no 'expression'"),
        ({"image": "a.jpg", "expression": "dog", "bbox": [1, 2, 3, 4]}, "has no 'box'; 'bbox' is not read"),
        (GOOD | {"expression": "  "}, "the expression is empty"),
        (GOOD | {"expression": 5}, "expression is 5; it should be text"),
        (GOOD | {"image": None}, "image is None; it should be text"),
        (GOOD | {"image": "gone.jpg"}, "image not found: .*gone.jpg"),
        (GOOD | {"id": 5}, "id is 5"),
        (GOOD | {"box": [1, 2, 3]}, "is not four numbers"),
        (GOOD | {"box": "1234"}, "is not four numbers"),
        (GOOD | {"box": {"x": 1}}, "is not four numbers"),
        (GOOD | {"box": [True, 2, 3, 4]}, "is not four numbers"),
        (GOOD | {"box": ["1", 2, 3, 4]}, "is not four numbers"),
        (GOOD | {"box": [10, 2, 3, 4]}, "has no area"),
        (GOOD | {"box": [1, 2, 1, 4]}, "has no area"),
        (GOOD | {"box": [float("nan"), 2, 3, 4]}, "is not finite"),
        (GOOD | {"box": [1, 2, float("inf"), 4]}, "is not finite"),
        ('{"image": "a.jpg", "expression": "dog", "box": [1, 2, 1e999, 4]}', "is not finite"),
        (GOOD | {"box": [1, 2, 10**400, 4]}, "too large"),
    ],
)
def test_a_bad_line_is_an_error_with_its_number(folder, row, reason):
    file = save(folder, GOOD, "", row, GOOD)
    with pytest.raises(DataError, match=rf"val\.jsonl:3: .*{reason}"):
        jsonl.read(file)


def test_other_encodings_and_empty_files(folder):
    (folder / "latin.jsonl").write_bytes('{"image": "a.jpg", "expression": "café"}'.encode("latin1"))
    with pytest.raises(DataError, match=r"latin\.jsonl:1: not JSON"):
        jsonl.read(folder / "latin.jsonl")
    (folder / "windows.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n")
    assert len(jsonl.read(folder / "windows.jsonl")) == 1
    (folder / "empty.jsonl").write_bytes(b"\n\n")
    with pytest.raises(DataError, match="has no rows"):
        jsonl.read(folder / "empty.jsonl")


def test_an_image_above_or_beside_the_file(folder):
    (folder / "sub").mkdir()
    file = save(folder / "sub", GOOD | {"image": "../a.jpg"}, GOOD | {"image": str(folder / "a.jpg")})
    first, second = jsonl.read(file).samples
    assert first.image.samefile(second.image)


number = st.floats(0, 1e6, allow_nan=False)
box = st.builds(lambda x, y, w, h: (x, y, x + w + 1, y + h + 1), number, number, number, number)
samples = st.lists(
    st.builds(
        Sample,
        id=st.text(min_size=1),
        image=st.just(Path("/data/photos/ü b.jpg")),
        expression=st.text(min_size=1).filter(str.strip),
        box=box,
        category=st.none() | st.text(),
    ),
    min_size=1,
    max_size=5,
)


@given(samples)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_again(tmp_path, samples):
    """Any text, line breaks too, and boxes to the last bit."""
    file = tmp_path / "out.jsonl"
    jsonl.write(file, samples)
    read = jsonl.read(file, need_images=False).samples
    assert [(s.id, s.expression, s.box, s.category) for s in read] == [
        (s.id, s.expression, s.box, s.category) for s in samples
    ]
    assert {s.image.resolve() for s in read} == {Path("/data/photos/ü b.jpg")}


def test_a_failed_write_leaves_the_old_file(folder):
    file = save(folder, GOOD)
    with pytest.raises(AttributeError):
        jsonl.write(file, [Sample("1", folder / "a.jpg", "dog", (0, 0, 1, 1)), None])
    assert len(jsonl.read(file)) == 1


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data/refer_val is not here")
@pytest.mark.parametrize(
    ("name", "expressions"),
    [
        ("refcoco", 10_834),
        ("refcoco+", 10_758),
        ("refcocog_umd", 4_896),
        ("referit", 5_842),
        ("flickr30k_entities", 14_433),
    ],
)
def test_human_expressions_written_and_read(tmp_path, name, expressions):
    with gzip.open(SHARED / f"{name}_val.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    samples = tuple(
        Sample(str(i), tmp_path / row["image"], row["expression"], (x, y, x + w, y + h))
        for i, row in enumerate(rows)
        for x, y, w, h in [row["bbox"]]
    )
    jsonl.write(tmp_path / "val.jsonl", samples)
    assert jsonl.read(tmp_path / "val.jsonl", need_images=False).samples == samples
    assert len(samples) == expressions
