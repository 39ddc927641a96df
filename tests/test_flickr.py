"""Flickr30k Entities: the published files by hand, both protocols, hostile XML, and the official lists."""

from pathlib import Path

import pytest
from PIL import Image

from groundling.data import (
    DataError,
    DataWarning,
    Phrase,
    available,
    flickr,
    open_captions,
    open_dataset,
    xml_rows,
)

SHARED = Path(__file__).parents[2] / "shared" / "data" / "flickr30k_entities"
SENTENCES = """\
[/EN#6/people A man] in [/EN#7/clothing/other an orange hat] looks at [/EN#0/notvisual something] .
[/EN#8/people Two  dogs] sit by [/EN#6/people him] in [/EN#9/scene a park] [sic] .
"""
XML = """\
<annotation>
 <filename>100.jpg</filename>
 <size><width>60</width><height>40</height><depth>3</depth></size>
 <object><name>6</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>21</xmax><ymax>40</ymax></bndbox></object>
 <object><name>7</name><bndbox><xmin>5</xmin><ymin>2</ymin><xmax>11</xmax><ymax>9</ymax></bndbox></object>
 <object><name>8</name><bndbox><xmin>31</xmin><ymin>21</ymin><xmax>41</xmax><ymax>40</ymax></bndbox></object>
 <object><name>8</name><name>10</name>
   <bndbox><xmin>44</xmin><ymin>26</ymin><xmax>60</xmax><ymax>36</ymax></bndbox></object>
 <object><name>9</name><scene>1</scene><nobndbox>0</nobndbox></object>
</annotation>
"""
DOGS = ((30.0, 20.0, 40.0, 39.0), (43.0, 25.0, 59.0, 35.0))


def write(root: Path, sentences: str = SENTENCES, xml: str = XML, name: str = "100") -> Path:
    """A dataset folder of one image of 60x40 pixels."""
    for folder in ("Sentences", "Annotations", "flickr30k-images"):
        (root / folder).mkdir(exist_ok=True)
    (root / "val.txt").write_text(f"{name}\n")
    (root / "Sentences" / f"{name}.txt").write_text(sentences)
    (root / "Annotations" / f"{name}.xml").write_text(xml)
    Image.new("RGB", (60, 40)).save(root / "flickr30k-images" / f"{name}.jpg")
    return root


def test_sentences_lead_to_boxes(tmp_path) -> None:
    """Boxes count from 0, a chain has all of its boxes, and what has none is no phrase."""
    first, second = open_captions(write(tmp_path), "flickr30k", "val").captions
    assert (first.id, first.image) == ("100-0", tmp_path / "flickr30k-images" / "100.jpg")
    assert first.text == "A man in an orange hat looks at something ."
    assert first.phrases == (
        Phrase(((0, 5),), ((0, 1, 20, 39),), category="people"),
        Phrase(((9, 22),), ((4, 1, 10, 8),), category="clothing/other"),
    )
    assert [first.words(phrase) for phrase in first.phrases] == ["A man", "an orange hat"]
    assert second.text == "Two dogs sit by him in a park [sic] ."
    assert second.phrases == (
        Phrase(((0, 8),), DOGS, category="people"),
        Phrase(((16, 19),), ((0, 1, 20, 39),), category="people"),
    )


def test_merged_boxes(tmp_path) -> None:
    """The other protocol: one box a phrase, so that each is an expression."""
    write(tmp_path)
    merged = open_captions(tmp_path, "flickr30k(merged)", "val").captions
    assert merged[1].phrases[0].boxes == ((30, 20, 59, 39),)
    expressions = [sample.expression for sample in open_dataset(tmp_path, "flickr30k(merged)", "val").samples]
    assert expressions == ["A man", "an orange hat", "Two dogs", "him"]
    assert len(open_dataset(tmp_path, "flickr30k", "val")) == 3
    assert available(tmp_path) == ["flickr30k"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[/EN#6/people A man in a hat .", "sentence 100-1: phrase 6 is not closed"),
        ("[/XX#6/people A man] .", "opens no phrase"),
        ("[/EN#/people A man] .", "opens no phrase"),
        ("[/EN#6/people ] walks .", r"span \(0, 0\) has no characters"),
    ],
)
def test_a_bad_sentence_is_left_out(tmp_path, line, reason) -> None:
    write(tmp_path, f"[/EN#6/people A man] .\n{line}\n")
    with pytest.warns(DataWarning, match=rf"1 of 2 rows left out\. .*{reason}"):
        captions = open_captions(tmp_path, "flickr30k", "val")
    assert (len(captions), captions.left_out) == (1, 1)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("<xmin>5</xmin>", "<xmin>11</xmin>", r"100\.xml object 1: box .* has no area"),
        ("<xmin>5</xmin>", "<xmin>19</xmin>", "has no area"),
        ("<xmin>5</xmin>", "<xmin>five</xmin>", "bndbox/xmin is 'five', not a number"),
        ("<xmin>5</xmin>", "", "bndbox/xmin is None"),
        ("<xmin>5</xmin>", "<xmin>nan</xmin>", "is not finite"),
    ],
)
def test_a_bad_box_is_left_out(tmp_path, old, new, reason) -> None:
    write(tmp_path, xml=XML.replace(old, new))
    with pytest.warns(DataWarning, match=f"1 of 3 rows left out.*{reason}"):
        first, _ = open_captions(tmp_path, "flickr30k", "val").captions
    assert [first.words(phrase) for phrase in first.phrases] == ["A man"]


def test_a_chain_that_lost_a_box_is_no_phrase(tmp_path) -> None:
    """It would look like the only dog: an expression of one box."""
    write(tmp_path, xml=XML.replace("<xmin>31</xmin>", "<xmin>41</xmin>"))
    with pytest.warns(DataWarning, match=r"1 of 3 rows left out. 100\.xml object 2: box .* has no area"):
        _, second = open_captions(tmp_path, "flickr30k", "val").captions
    assert [second.words(phrase) for phrase in second.phrases] == ["him"]


LAUGHS = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>' + XML.replace(">6<", ">&b;<")
FOREIGN = '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + XML.replace(">6<", ">&a;<")


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        (LAUGHS, "it has a document type"),
        (FOREIGN, "it has a document type"),
        ("<annotation>", "not an XML file, or damaged"),
        ("", "not an XML file, or damaged"),
        (XML.replace("</annotation>", " " * xml_rows.MAX_BYTES + "</annotation>"), "are refused"),
    ],
)
def test_hostile_xml_costs_its_image_only(tmp_path, xml, reason) -> None:
    write(tmp_path, xml=xml)
    write(tmp_path, name="101")
    (tmp_path / "val.txt").write_text("100\n101\n")
    with pytest.warns(DataWarning, match=f"1 of 3 rows left out. image 100: .*{reason}"):
        captions = open_captions(tmp_path, "flickr30k", "val")
    assert {caption.id for caption in captions.captions} == {"101-0", "101-1"}


def test_deep_xml_is_no_box(tmp_path) -> None:
    write(tmp_path, xml=f"<annotation>{'<a>' * 50_000}{'</a>' * 50_000}</annotation>")
    assert all(not caption.phrases for caption in open_captions(tmp_path, "flickr30k", "val").captions)


@pytest.mark.parametrize("name", ["gone", "../secret", "/etc/passwd"])
def test_images_that_are_not_there_or_elsewhere(tmp_path, name) -> None:
    write(tmp_path)
    (tmp_path / "val.txt").write_text(f"100\n{name}\n")
    with pytest.warns(DataWarning, match=f"image {name}: image"):
        assert len(open_captions(tmp_path, "flickr30k", "val")) == 2


def test_splits_are_named(tmp_path) -> None:
    with pytest.raises(ValueError, match="no split 'test'; it has val"):
        open_captions(write(tmp_path), "flickr30k", "test")
    with pytest.raises(FileNotFoundError, match="dataset folder not found"):
        open_captions(tmp_path / "gone", "flickr30k", "val")
    (tmp_path / "Sentences" / "100.txt").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"none of 1 rows can be used\. image 100: .*not text in UTF-8"):
        open_captions(tmp_path, "flickr30k", "val")


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data/flickr30k_entities is not here")
@pytest.mark.parametrize(("split", "images"), [("train", 29_783), ("val", 1_000), ("test", 1_000)])
def test_the_official_lists(split, images) -> None:
    assert len((SHARED / f"{split}.txt").read_text().split()) == images
    assert len(flickr._text(SHARED / f"{split}.txt").split()) == images
