"""Open Images: shares in the file's own order become boxes in pixels; bad lines are left out."""

from pathlib import Path

import pytest
from PIL import Image

from groundling.data import Caption, DataError, DataWarning, Phrase, available, open_captions, open_dataset

HEADER = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,"
    "IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
)
DOG, TREE = "/m/0bt9lr", "/m/07j7r"


def row(image="0a", label=DOG, sides="0.1,0.6,0.25,0.75", group=0) -> str:
    return f"{image},xclick,{label},1,{sides},0,0,{group},0,0"


def write(root: Path, *rows: str, header: str = HEADER, name="validation-annotations-bbox.csv") -> Path:
    """Two images of 60x40 pixels."""
    (root / "validation").mkdir(exist_ok=True)
    for image in ("0a", "0b"):
        Image.new("RGB", (60, 40)).save(root / "validation" / f"{image}.jpg")
    (root / name).write_text("\n".join([header, *rows]) + "\n")
    (root / "class-descriptions-boxable.csv").write_text(f'{DOG},Dog\n{TREE},"Tree, large"\n')
    return root


def test_boxes_by_image_and_class(tmp_path) -> None:
    """XMin, XMax, YMin, YMax: 0.1 and 0.6 of 60 pixels, 0.25 and 0.75 of 40."""
    root = write(
        tmp_path, row(), row(label=TREE), row(sides="0,1,0,0.5"), row("0b", TREE, group=1), row("0b")
    )
    image = root / "validation"
    dogs = Phrase(((0, 3),), ((6, 10, 36, 30), (0, 0, 60, 20)), category="Dog")
    tree = Phrase(((0, 11),), ((6, 10, 36, 30),), category="Tree, large")
    dog = Phrase(((0, 3),), ((6, 10, 36, 30),), category="Dog")
    assert open_captions(root, "open_images", "validation").captions == (
        Caption("0a-Dog", image / "0a.jpg", "Dog", (dogs,), referring=True),
        Caption("0a-Tree, large", image / "0a.jpg", "Tree, large", (tree,), referring=True),
        Caption("0b-Dog", image / "0b.jpg", "Dog", (dog,), referring=True),
    )
    expressions = [sample.id for sample in open_dataset(root, "open_images", "validation").samples]
    assert expressions == ["0a-Tree, large", "0b-Dog"]
    assert available(root) == ["open_images"]


def test_names_of_later_versions(tmp_path) -> None:
    columns = HEADER + ",XClick1X,XClick2X"
    root = write(tmp_path, row() + ",0.1,0.2", header=columns, name="oidv6-train-annotations-bbox.csv")
    (root / "class-descriptions-boxable.csv").rename(root / "oidv7-class-descriptions.csv")
    text = (root / "oidv7-class-descriptions.csv").read_text()
    (root / "oidv7-class-descriptions.csv").write_text(f"LabelName,DisplayName\n{text}")
    (root / "validation").rename(root / "train")
    assert len(open_captions(root, "open_images", "train")) == 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row(sides="0.6,0.1,0.25,0.75"), "box .* has no area"),
        (row(sides="0.1,0.1,0.25,0.75"), "has no area"),
        (row(sides="0.1,2.5,0.25,0.75"), "XMax is 2.5; it is a share of the image, 0 to 1"),
        (row(sides="-1.1,0.5,0.25,0.75"), "XMin is -1.1; it is a share"),
        (row(sides="nan,0.5,0.25,0.75"), "XMin is nan; it is a share"),
        (row(sides="left,0.5,0.25,0.75"), "XMin is 'left', not a number"),
        (row(label="/m/none"), "class '/m/none' has no description"),
        (row("gone"), r"image gone\.jpg is not in"),
        (row("../0a"), "leads out of the image folder"),
        ("0a,xclick", "class '' has no description"),
    ],
)
def test_bad_lines_are_left_out(tmp_path, bad, reason) -> None:
    """With the other boxes of their class in that image, which would look like all of it."""
    with pytest.warns(DataWarning, match=rf"1 of [23] rows left out\. line 3: .*{reason}"):
        captions = open_captions(write(tmp_path, row(), bad, row("0b")), "open_images", "validation")
    lost = bad.startswith(f"0a,xclick,{DOG}")
    assert [caption.id for caption in captions.captions] == ["0a-Dog", "0b-Dog"][lost:]
    assert captions.left_out == 1


def test_two_files_of_a_split(tmp_path) -> None:
    """The order in which the system lists a folder decided which of them was read."""
    root = write(tmp_path, row(), name="oidv6-validation-annotations-bbox.csv")
    write(root, row())
    with pytest.raises(
        ValueError,
        match=r"two files of validation: oidv6-validation.*bbox\.csv, validation-annotations-bbox\.csv",
    ):
        open_captions(root, "open_images", "validation")


def test_the_first_of_two_files_of_classes(tmp_path, monkeypatch) -> None:
    """The order in which the system lists a folder decided which of them was read."""
    root = write(tmp_path, row())
    (root / "class-descriptions-boxable.csv").rename(root / "a-class-descriptions.csv")
    (root / "b-class-descriptions.csv").write_text(f"{DOG},Hound\n")
    listed = Path.glob
    for turned in (False, True):
        monkeypatch.setattr(Path, "glob", lambda *given, t=turned: sorted(listed(*given), reverse=t))
        (caption,) = open_captions(root, "open_images", "validation").captions
        assert caption.text == "Dog"


def test_an_image_that_comes_back(tmp_path) -> None:
    with pytest.warns(DataWarning, match="image 0a: its rows do not stand together"):
        captions = open_captions(write(tmp_path, row(), row("0b"), row()), "open_images", "validation")
    assert len(captions) == 2


def test_files_that_cannot_be_used(tmp_path) -> None:
    root = write(tmp_path, row())
    with pytest.raises(ValueError, match="its file is needed for its size"):
        open_captions(root, "open_images", "validation", need_images=False)
    with pytest.raises(ValueError, match="no split 'test'; it has validation"):
        open_captions(root, "open_images", "test")
    write(root, row(), header=HEADER.replace("XMax", "Right"))
    with pytest.raises(DataError, match=r"bbox\.csv: has no column XMax; its first line is its header"):
        open_captions(root, "open_images", "validation")
    write(root, row("a" * 200_000))
    with pytest.raises(DataError, match=r"bbox\.csv:\d: not CSV, or damaged \(field larger"):
        open_captions(root, "open_images", "validation")
    (root / "class-descriptions-boxable.csv").write_bytes(b"/m/1,caf\xe9\n")
    with pytest.raises(DataError, match=r"boxable\.csv:\d: not CSV, or damaged"):
        open_captions(root, "open_images", "validation")
    (root / "class-descriptions-boxable.csv").write_text("/m/1\n")
    with pytest.raises(DataError, match="not rows of a label and its name"):
        open_captions(root, "open_images", "validation")
    (root / "class-descriptions-boxable.csv").unlink()
    with pytest.raises(FileNotFoundError, match="has no class-descriptions-boxable"):
        open_captions(root, "open_images", "validation")
