"""JSON Lines: what is written is read again, and every bad line is named by its number."""

import gzip
import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from groundling.data import DataError, DataWarning, Sample, available, image_folder, jsonl, open_dataset
from groundling.data.image_folder import ImageFolder

SHARED = Path(__file__).parents[2] / "shared" / "data" / "refer_val" / "jsonl"
GOOD = {"image": "a.jpg", "expression": "left dog", "box": [1, 2, 30.5, 40]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (50, 50)).save(tmp_path / "a.jpg")
    (tmp_path / "notes.txt").write_text("a dog on a sofa")
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
        (GOOD | {"expression": "  "}, "the expression has no words"),
        (GOOD | {"expression": 5}, "expression is 5; it should be text"),
        (GOOD | {"image": None}, "image is None; it should be text"),
        (GOOD | {"image": "gone.jpg"}, "image not found: .*gone.jpg"),
        (GOOD | {"id": [5]}, r"id is \[5\]"),
        (GOOD | {"box": [1, 2, 3]}, "is not four numbers"),
        (GOOD | {"box": "1234"}, "is not four numbers"),
        (GOOD | {"box": {"x": 1}}, "is not four numbers"),
        (GOOD | {"box": [True, 2, 3, 4]}, "is not four numbers"),
        (GOOD | {"box": ["1", 2, 3, 4]}, "is not four numbers"),
        (GOOD | {"box": [1, 2, 10**400, 4]}, "too large"),
        (GOOD | {"image": "notes.txt"}, "notes.txt: not an image"),
    ],
)
def test_a_bad_line_is_an_error_with_its_number(folder, row, reason):
    file = save(folder, GOOD, "", row, GOOD)
    with pytest.raises(DataError, match=rf"val\.jsonl:3: .*{reason}"):
        jsonl.read(file)


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([10, 2, 3, 4], "has no area"),
        ([1, 2, 1, 4], "has no area"),
        ([float("nan"), 2, 3, 4], "is not finite"),
        ([1, 2, float("inf"), 4], "is not finite"),
        ([60, 2, 70, 4], "lies outside its image of 50x50 pixels"),
        ([-9, 2, 0, 4], "lies outside its image of 50x50 pixels"),
    ],
)
def test_a_row_without_a_box_in_its_picture_is_left_out(folder, box, reason):
    file = save(folder, GOOD, GOOD | {"box": box})
    with pytest.warns(DataWarning, match=rf"1 of 2 rows left out\. val\.jsonl:2: box .*{reason}"):
        found = jsonl.read(file)
    assert (len(found), found.left_out) == (1, 1)
    with pytest.raises(DataError, match=rf"none of 1 rows can be used\. val\.jsonl:1: box .*{reason}"):
        jsonl.read(save(folder, GOOD | {"box": box}))


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ([-1, -0.5, 51, 50], (0, 0, 50, 50)),
        ([10, 20, 30, 6e9], (10, 20, 30, 50)),
        ([0, -3, 9, 9], (0, 0, 9, 9)),
    ],
)
def test_what_sticks_out_is_cut_and_counted(folder, box, kept):
    file = save(folder, GOOD | {"box": box})
    with pytest.warns(DataWarning, match=r"boxes cut at the edge of their picture: 1 \(val\.jsonl:1: "):
        found = jsonl.read(file)
    assert (found.samples[0].box, found.left_out) == (kept, 0)


def test_a_cut_within_rounding_is_not_worth_a_word(folder):
    found = jsonl.read(save(folder, GOOD | {"box": [-0.004, 0, 50.004, 50]}))  # a warning would be an error
    assert found.samples[0].box == (0, 0, 50, 50)


def test_boxes_that_are_shares_are_refused_with_a_word(folder):
    """They were taken as pixels: Prec@0.5 was 0 without a word, and training learnt the corner."""
    rows = [GOOD | {"box": [0.55, 0.37, 0.72, 0.54]}, GOOD | {"box": [0.5, 0.5, 0.25, 1.001]}]
    with pytest.raises(
        DataError, match=r"such as \(0\.55, .* look like shares .* multiply x by the picture's"
    ):
        jsonl.read(save(folder, *rows))
    assert len(jsonl.read(save(folder, rows[0], GOOD))) == 2  # one of pixels: so all are


def turned(file: Path, **options: object) -> None:
    """A picture that is stored 40x20 and seen 20x40."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(file, exif=exif, **options)


def test_a_box_is_in_the_picture_as_it_is_seen(folder):
    turned(folder / "b.jpg")
    assert len(jsonl.read(save(folder, GOOD | {"image": "b.jpg", "box": [2, 30, 18, 40]}))) == 1
    with pytest.raises(DataError, match=r"val\.jsonl:1: box .* lies outside its image of 20x40"):
        jsonl.read(save(folder, GOOD | {"image": "b.jpg", "box": [30, 2, 40, 18]}))


def test_a_picture_that_says_late_how_it_is_turned(folder):
    """A PNG's EXIF may stand behind its pixels: it is looked for before a box is refused."""
    turned(folder / "b.png")
    data = (folder / "b.png").read_bytes()
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4])
    late = data[:start] + data[end:-12] + data[start:end] + data[-12:]
    (folder / "b.png").write_bytes(late)
    row = GOOD | {"image": "b.png", "box": [2, 30, 18, 40]}
    assert len(jsonl.read(save(folder, row, row))) == 2


def test_headers_are_read_once_and_pixels_never(folder, monkeypatch):
    looked = []
    plain = image_folder.upright_size
    monkeypatch.setattr(image_folder, "upright_size", lambda path: (looked.append(path), plain(path))[1])
    monkeypatch.setattr(image_folder, "open_image", None)
    Image.new("RGB", (90, 90)).save(folder / "b.jpg")
    jsonl.read(save(folder, GOOD, GOOD | {"image": "b.jpg"}, GOOD, GOOD | {"box": [0, 0, 50, 50]}))
    assert looked == [folder / "a.jpg", folder / "b.jpg"]
    jsonl.read(save(folder, GOOD | {"box": [0, 0, 500, 500]}), need_images=False)
    assert len(looked) == 2


def test_a_file_is_the_split_of_its_name(folder):
    """Another one used to be read all the same: training was measured on what it had trained on."""
    file = save(folder, GOOD, name="mine.jsonl")
    assert jsonl.read(file).split == jsonl.read(file, "mine").split == "mine"
    with pytest.raises(ValueError, match=r"mine\.jsonl is the split 'mine', not 'val'; ask for 'mine'"):
        open_dataset(file, "jsonl", "val")


def test_other_encodings_and_empty_files(folder):
    (folder / "latin.jsonl").write_bytes('{"image": "a.jpg", "expression": "café"}'.encode("latin1"))
    with pytest.raises(DataError, match=r"latin\.jsonl:1: not JSON"):
        jsonl.read(folder / "latin.jsonl")
    (folder / "windows.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n")
    assert len(jsonl.read(folder / "windows.jsonl")) == 1
    (folder / "empty.jsonl").write_bytes(b"\n\n")
    with pytest.raises(DataError, match="has no rows"):
        jsonl.read(folder / "empty.jsonl")


@pytest.mark.parametrize(("written", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_in_another_unicode_form_is_found(folder, written, on_disk):
    """Archives made on a Mac have é as two characters; ls showed the very name that was 'not found'."""
    place = folder / unicodedata.normalize(on_disk, "été")
    place.mkdir()
    image = place / unicodedata.normalize(on_disk, "café.jpg")
    Image.new("RGB", (50, 50)).save(image)
    name = unicodedata.normalize(written, "été/café.jpg")
    assert jsonl.read(save(folder, GOOD | {"image": name})).samples[0].image.samefile(image)
    assert ImageFolder(folder).path(name).samefile(image)


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
        expression=st.text(min_size=1).map("a {}".format),
        box=box,
        category=st.none() | st.text(),
    ),
    min_size=1,
    max_size=5,
)


@given(samples)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_again(tmp_path, samples):
    """Any text, line breaks too, and boxes to a hundredth of a pixel."""
    file = tmp_path / "out.jsonl"
    jsonl.write(file, samples)
    read = jsonl.read(file, need_images=False).samples
    assert [(s.id, s.expression, s.category) for s in read] == [
        (s.id, s.expression, s.category) for s in samples
    ]
    assert [s.box for s in read] == [pytest.approx(s.box, abs=0.0051) for s in samples]
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
        Sample(
            str(i),
            tmp_path / row["image"],
            row["expression"],
            (round(x, 2), round(y, 2), round(x + w, 2), round(y + h, 2)),
        )
        for i, row in enumerate(rows)
        for x, y, w, h in [row["bbox"]]
    )
    jsonl.write(tmp_path / "val.jsonl", samples)
    assert jsonl.read(tmp_path / "val.jsonl", need_images=False).samples == samples
    assert len(samples) == expressions
