"""Conversion: any dataset becomes our JSON Lines and is read again as equal values."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import test_coco
import test_flickr
import test_gqa
import test_phrasecut
import test_visual_genome
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from small import Shell

from groundling.data import (
    Answer,
    Caption,
    DataError,
    DataWarning,
    Phrase,
    jsonl,
    open_captions,
    open_dataset,
    stream_captions,
)
from groundling.data.caption import CaptionSet, referring
from groundling.data.convert import Converted, convert
from groundling.data.modulated import fingerprint
from groundling.data.sample import box_from_xywh
from groundling.pictures.masks import Rle

SHARED = Path(__file__).parents[2] / "shared" / "data"
BOX = [1, 2, 30, 35]


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def sources(root: Path) -> dict[str, tuple[Path, str]]:
    """A small dataset of each format, made by the tests of its reader; and their splits."""
    folders = {name: root / name for name in ("flickr30k", "gqa", "phrasecut", "coco", "visual_genome")}
    for folder in folders.values():
        folder.mkdir()
    test_flickr.write(folders["flickr30k"])
    test_gqa.write(folders["gqa"], q1=test_gqa.question(), q2=test_gqa.question(answer="no"))
    one = test_phrasecut.task(
        task_id="77__1", instance_boxes=[[1, 2, 10, 28]], Polygons=[test_phrasecut.LEFT]
    )
    test_phrasecut.write(folders["phrasecut"], test_phrasecut.task(), one)
    test_coco.write(folders["coco"], [test_coco.annotation(1), test_coco.annotation(2, category_id=3)])
    test_visual_genome.write(folders["visual_genome"], test_visual_genome.REGION)
    splits = {"gqa": "val_balanced", "coco": "val2017", "visual_genome": "all"}
    return {name: (folder, splits.get(name, "val")) for name, folder in folders.items()}


def test_captions_of_every_format_are_read_again(tmp_path) -> None:
    for name, (folder, split) in sources(tmp_path).items():
        out = folder / "out.jsonl"
        done = convert(folder, out, name, split, captions=True)
        expected = open_captions(folder, name, split).captions
        assert done == Converted(len(expected), 0)
        assert jsonl.read_captions(out).captions == expected


def test_expressions_of_every_format_are_read_again(tmp_path) -> None:
    for name, (folder, split) in sources(tmp_path).items():
        out = folder / "out.jsonl"
        done = convert(folder, out, name, split)
        expected = open_dataset(folder, name, split).samples
        assert done.written == len(expected) > 0
        assert jsonl.read(out).samples == expected
        phrases = [p for caption in open_captions(folder, name, split).captions for p in caption.phrases]
        assert done.left_out == len(phrases) - len(expected)


def test_mdetrs_json_needs_images(tmp_path, shell) -> None:
    """`--without-images` was taken and did nothing."""
    folder, split = sources(tmp_path)["phrasecut"]
    asked = ("data", "convert", folder, tmp_path / "out.json", "--split", split, "--to", "mdetr")
    said = shell(*asked, "--without-images").complaint()
    assert "MDETR's JSON holds the sizes of images, which are read from their files" in said
    assert not (tmp_path / "out.json").exists()


def test_json_lines_become_mdetrs_and_come_back(tmp_path) -> None:
    folder, split = sources(tmp_path)["phrasecut"]
    convert(folder, folder / "mine.jsonl", "phrasecut", split, captions=True)
    out = folder / "finetune_mine_val.json"
    assert convert(folder / "mine.jsonl", out, "jsonl", "mine", to="mdetr") == Converted(2, 0)
    for ours, back in zip(
        open_captions(folder, "phrasecut", split).captions,
        open_captions(folder, "mdetr", "finetune_mine_val").captions,
        strict=True,
    ):
        assert (back.id, back.image, back.text, back.phrases) == (
            ours.id,
            ours.image,
            ours.text,
            ours.phrases,
        )


def test_expressions_become_captions_and_stay_what_they_are(tmp_path) -> None:
    Image.new("RGB", (50, 50)).save(tmp_path / "a.jpg")
    row = {"image": "a.jpg", "expression": "left dog", "box": BOX, "id": "x7", "category": "dog"}
    (tmp_path / "val.jsonl").write_text(json.dumps(row))
    assert convert(tmp_path, tmp_path / "captions.jsonl", "jsonl", "val", captions=True) == Converted(1, 0)
    (sample,) = jsonl.read(tmp_path / "val.jsonl").samples
    assert jsonl.read_captions(tmp_path / "captions.jsonl").captions == (referring(sample),)
    assert jsonl.read(tmp_path / "captions.jsonl").samples == (sample,)


def test_what_cannot_be_written_leaves_the_old_file(tmp_path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    test_phrasecut.write(folder, test_phrasecut.task())
    out = tmp_path / "out.jsonl"
    out.write_text("old")
    with pytest.raises(DataError, match="no phrase of phrasecut val means exactly one box"):
        convert(folder, out, "phrasecut", "val")
    test_phrasecut.write(folder, test_phrasecut.task(phrase=""))
    with pytest.raises(DataError, match="none of 1 rows can be used"):
        convert(folder, out, "phrasecut", "val", captions=True)
    with pytest.raises(ValueError, match="no format 'coco' to convert to; there are jsonl, mdetr"):
        convert(folder, out, "phrasecut", "val", to="coco")
    with pytest.raises(ValueError, match=r"unknown dataset 'cut'; .* has phrasecut"):
        convert(folder, out, "cut", "val")
    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "out.jsonl"]


def test_a_split_is_read_as_it_is_asked_for(tmp_path) -> None:
    folder, split = sources(tmp_path)["gqa"]
    captions = stream_captions(folder, "gqa", split)
    assert next(captions).id == "q1"
    (folder / "images" / "77.jpg").unlink()
    assert next(captions).id == "q2"


def test_the_verb(tmp_path, shell: Shell) -> None:
    folder, _ = sources(tmp_path)["flickr30k"]
    out = tmp_path / "out" / "flickr.jsonl"
    done = shell("data", "convert", str(folder), str(out))
    why = "left out: 1, 100-1 'Two dogs': means 2 boxes; an expression means one\n"
    assert done == (0, f"3 expressions in {out}; 1 rows and phrases left out\n{why}", "")
    again = shell("data", "convert", str(folder), str(out), "--captions")
    assert (again.code, again.out) == (2, "")
    assert (
        again.err
        == f"groundling: error: {out} exists already; choose another file, or replace it with --replace\n"
    )
    done = shell(
        "data", "convert", str(folder), str(out), "--captions", "--replace", "--dataset", "flickr30k"
    )
    assert done.out == f"2 captions in {out}; 0 rows and phrases left out\n"
    first, second = jsonl.read_captions(out).captions
    assert (first.phrases, second.phrases) == tuple(
        c.phrases for c in open_captions(folder, "flickr30k", "val").captions
    )
    assert first.image.samefile(folder / "flickr30k-images" / "100.jpg")
    again = shell("data", "convert", str(out), str(tmp_path / "final_mine.json"), "--to", "mdetr")
    assert again.out == f"2 captions in {tmp_path / 'final_mine.json'}; 0 rows and phrases left out\n"
    unknown = shell("data", "convert", str(folder), str(tmp_path / "new"), "--to", "coco")
    assert unknown == (2, "", "groundling: error: no format 'coco' to convert to; there are jsonl, mdetr\n")


# --- captions in JSON Lines


CAPTION = {
    "image": "a.jpg",
    "caption": "Two dogs on a sofa",
    "phrases": [{"spans": [[0, 8]], "boxes": [BOX]}],
}


def save(folder: Path, *rows: object) -> Path:
    Image.new("RGB", (50, 50)).save(folder / "a.jpg")
    (folder / "val.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder / "val.jsonl"


def test_rows_by_hand(tmp_path) -> None:
    full = {"spans": [[12, 18], [4, 8]], "boxes": [BOX, BOX], "category": "sofa"}
    full |= {"masks": [[[1, 2, 9, 2, 9, 9]], {"size": [50, 50], "counts": [1, 4, 2495]}]}
    second = CAPTION | {"phrases": [full], "id": "x", "negatives": [[0, 3]], "referring": True}
    second |= {"subsets": ["p_att"]}
    second |= {"answer": {"text": "two", "kind": "global", "boxes": [BOX], "detailed": "howMany"}}
    third = {"image": "a.jpg", "caption": "Is it red?", "answer": "no"}
    expression = {"image": "a.jpg", "expression": "left dog", "box": BOX}
    file = save(tmp_path, CAPTION, second, third, expression)
    image, box, text = tmp_path / "a.jpg", (1, 2, 30, 35), "Two dogs on a sofa"
    masks = (((1, 2, 9, 2, 9, 9),), Rle(50, 50, (1, 4, 2495)))
    phrase = Phrase(((4, 8), (12, 18)), (box, box), masks, "sofa")
    answer = Answer("two", "global", (box,), "howMany")
    assert jsonl.read_captions(file).captions == (
        Caption("val-1", image, text, (Phrase(((0, 8),), (box,)),)),
        Caption("x", image, text, (phrase,), answer, ((0, 3),), referring=True, subsets=("p_att",)),
        Caption("val-3", image, "Is it red?", answer=Answer("no")),
        Caption("val-4", image, "left dog", (Phrase(((0, 8),), (box,)),), referring=True),
    )
    assert [sample.expression for sample in jsonl.read(file).samples] == ["Two dogs", "left dog"]
    assert open_captions(tmp_path, "jsonl", "val").captions == jsonl.read_captions(file).captions


def phrase(**changes) -> dict:
    return CAPTION | {"phrases": [CAPTION["phrases"][0] | changes]}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (phrase(spans=[[0, 19]]), r"span \(0, 19\) leaves the caption of 18 characters"),
        (phrase(spans=[]), "a phrase has no span"),
        (phrase(spans=[0, 8]), "span 0 is not two whole numbers"),
        (phrase(spans=[[3, 4]]), r"span \(3, 4\) of the caption is blank"),
        (phrase(boxes=BOX), "box 1 is not four numbers"),
        (phrase(masks=[[[1, 2, 9, 2, 9, 9]]] * 2), "2 masks for 1 boxes"),
        (phrase(finals=[1]), r"finals are \[1\]; they should be a list of true and false"),
        (phrase(finals=[True] * 2), "2 finals for 1 boxes"),
        (phrase(category=5), "category is 5; it should be text"),
        (CAPTION | {"phrases": {}}, "phrases is {}; it should be a list"),
        (CAPTION | {"phrases": [5]}, "a row is an object, not int"),
        (CAPTION | {"answer": 5}, "answer is 5; it should be text, or an object with one"),
        (CAPTION | {"answer": {"kind": "obj"}}, "has no 'text'"),
        (CAPTION | {"subsets": [3]}, r"subsets are \[3\]; they should be a list of texts"),
        (CAPTION | {"referring": "yes"}, "referring is 'yes'; it should be true or false"),
        (CAPTION | {"phrases": [], "referring": True}, "refers to one object; it has 0 phrases"),
        (CAPTION | {"caption": " "}, "the caption has no words"),
        (CAPTION | {"image": "b.jpg"}, "image not found"),
        ({"caption": "a dog"}, "has no 'image'"),
    ],
)
def test_a_bad_caption_is_an_error_with_its_line(tmp_path, row, reason) -> None:
    with pytest.raises(DataError, match=rf"val\.jsonl:2: .*{reason}"):
        jsonl.read_captions(save(tmp_path, CAPTION, row))


def test_captions_without_an_expression(tmp_path) -> None:
    file = save(tmp_path, {"image": "a.jpg", "caption": "Is it red?"})
    with pytest.raises(DataError, match="has captions, but no phrase of one box in them"):
        jsonl.read(file)


number = st.integers(0, 10**6).map(lambda hundredths: hundredths / 100)
boxes = st.builds(
    lambda x, y, w, h: (x, y, round(x + w + 1, 2), round(y + h + 1, 2)), number, number, number, number
)
masks = st.just(Rle(2, 3, (1, 4, 1))) | st.lists(number, min_size=6, max_size=6).map(lambda p: (tuple(p),))


@st.composite
def captions(draw: st.DrawFn) -> Caption:
    text = draw(st.text(min_size=8).filter(lambda text: all(map(str.isalnum, text[:8]))))
    some = []
    for begin, end in draw(st.lists(st.tuples(st.integers(0, 3), st.integers(4, 8)), max_size=3)):
        several = draw(st.lists(boxes, max_size=2))
        masked = tuple(draw(masks) for _ in several) if draw(st.booleans()) else ()
        finals = tuple(draw(st.booleans()) for _ in several) if draw(st.booleans()) else ()
        some.append(Phrase(((begin, end),), tuple(several), masked, draw(st.none() | st.text()), finals))
    kinds = st.none() | st.text()
    answers = st.builds(Answer, st.text(min_size=1).filter(str.strip), kinds, detailed=kinds)
    refers = len(some) == 1 and draw(st.booleans())
    image, subsets = Path("/data/photos/ü b.jpg"), tuple(draw(st.lists(st.text(), max_size=2)))
    answer = draw(st.none() | answers)
    return Caption(draw(st.text()), image, text, tuple(some), answer, ((1, 2),), refers, subsets)


@given(st.lists(captions(), min_size=1, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much])
def test_what_is_written_is_read_again(tmp_path, rows) -> None:
    assert jsonl.write(tmp_path / "out.jsonl", rows) == len(rows)
    read = jsonl.read_captions(tmp_path / "out.jsonl", need_images=False).captions
    plain = [caption.__dict__ | {"image": None} for caption in rows]
    assert [caption.__dict__ | {"image": None} for caption in read] == plain


@pytest.mark.skipif(not (SHARED / "tiny_coco").is_dir(), reason="../shared/data/tiny_coco is not here")
def test_captions_that_people_wrote(tmp_path) -> None:
    """COCO's captions with the spans that name a category: 413 phrases, of which 286 are singular."""
    rows = json.loads((SHARED / "tiny_coco" / "caption_phrase_boxes.json").read_text())
    written = tuple(
        Caption(
            f"{row['caption_id']}-{n}",
            SHARED / "tiny_coco" / row["file"],
            row["caption"],
            (
                Phrase(
                    (tuple(row["span"]),), tuple(map(box_from_xywh, row["boxes"])), category=row["category"]
                ),
            ),
        )
        for n, row in enumerate(rows)
    )
    jsonl.write(tmp_path / "out.jsonl", written)
    read = jsonl.read_captions(tmp_path / "out.jsonl").captions
    assert [(c.id, c.text, c.phrases) for c in read] == [(c.id, c.text, rounded(c.phrases)) for c in written]
    assert len(read) == 413
    single = [row for row in rows if len(row["boxes"]) == 1]
    assert sum(not row["plural"] for row in single) == 286
    expressions = [sample.expression for sample in jsonl.read(tmp_path / "out.jsonl").samples]
    assert expressions == [row["caption"][slice(*row["span"])] for row in single]


def rounded(phrases: tuple[Phrase, ...]) -> tuple[Phrase, ...]:
    boxes = [tuple(tuple(round(v, 2) for v in box) for box in phrase.boxes) for phrase in phrases]
    return tuple(replace(phrase, boxes=several) for phrase, several in zip(phrases, boxes, strict=True))


def test_a_file_name_that_is_no_text_is_written_as_it_came(tmp_path) -> None:
    """A JSON escape can say it, and UTF-8 cannot: the file used to be cut off there."""
    caption = Caption("1", tmp_path / "\udcff.jpg", "a dog")
    jsonl.write(tmp_path / "out.jsonl", [caption])
    (read,) = jsonl.read_captions(tmp_path / "out.jsonl", need_images=False).captions
    assert (read.image, read.text) == (caption.image, caption.text)
    assert len(fingerprint(CaptionSet("own", "out", (read,)))) == 64


def test_warnings_of_a_reader_are_told_once(tmp_path) -> None:
    test_phrasecut.write(tmp_path, test_phrasecut.task(), test_phrasecut.task(phrase=""))
    with pytest.warns(DataWarning) as told:
        assert convert(tmp_path, tmp_path / "o.jsonl", "phrasecut", "val", captions=True) == Converted(1, 1)
    assert len(told) == 1


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (5, "a mask is neither"),
        ([[1, 2]], "a polygon of 2 numbers"),
        ({"size": [2, 3], "counts": [1, 4, 1]}, "run lengths of 3x2 pixels in an image of 50x50"),
    ],
)
def test_a_bad_mask_never_costs_the_boxes_of_its_phrase(tmp_path, mask, reason) -> None:
    file = save(tmp_path, phrase(masks=[mask]), phrase(masks=[[[]]]))
    with pytest.warns(DataWarning, match=rf"masks left out, their boxes kept: 1 \(val\.jsonl:1: {reason}"):
        captions = jsonl.read_captions(file).captions
    assert [(len(c.phrases[0].boxes), c.phrases[0].masks) for c in captions] == [(1, ()), (1, ())]


def test_a_phrase_that_lost_a_box_is_left_out_and_not_its_caption(tmp_path) -> None:
    """It would look like one that means a single thing."""
    both = CAPTION["phrases"] + [{"spans": [[12, 18]], "boxes": [BOX, [60, 2, 70, 9]]}]
    with pytest.warns(DataWarning, match=r"val\.jsonl:1 phrase: box .* lies outside"):
        (caption,) = jsonl.read_captions(save(tmp_path, CAPTION | {"phrases": both})).captions
    assert [phrase.spans for phrase in caption.phrases] == [((0, 8),)]
    referring = CAPTION | {"referring": True, "phrases": both[1:]}
    with pytest.warns(DataWarning, match=r"1 of 2 rows left out\. val\.jsonl:2: box .* lies outside"):
        assert len(jsonl.read_captions(save(tmp_path, CAPTION, referring))) == 1


def test_captions_that_come_twice_are_counted(tmp_path) -> None:
    test_phrasecut.write(
        tmp_path, test_phrasecut.task(), test_phrasecut.task(), test_phrasecut.task(phrase="a dog")
    )
    with pytest.warns(DataWarning) as told:
        captions = open_captions(tmp_path, "phrasecut", "val")
    first, second = (str(warning.message) for warning in told)
    assert ([c.text for c in captions.captions], captions.left_out) == (["small dogs", "a dog"], 1)
    assert "1 of 3 rows left out. caption 77__0: it comes twice" in first
    assert "captions that have the id of another, both kept: 1 (caption 77__0: 'a dog')" in second


@pytest.mark.parametrize("to", ["jsonl", "mdetr"])
def test_convert_never_writes_over_what_it_reads(tmp_path, shell, to) -> None:
    """A file, a picture, or either under another name; with --replace too."""
    file = save(tmp_path / "", CAPTION)
    (tmp_path / "link.jsonl").symlink_to(file)
    (tmp_path / "hard.jpg").hardlink_to(tmp_path / "a.jpg")
    before = {name: (tmp_path / name).read_bytes() for name in ("val.jsonl", "a.jpg")}
    for out in ("val.jsonl", "link.jsonl", "a.jpg", "hard.jpg"):
        ran = shell("data", "convert", file, tmp_path / out, "--captions", "--to", to, "--replace")
        assert "would be written over" in ran.complaint()
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
