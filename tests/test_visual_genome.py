"""Visual Genome's regions: a text and its box, cut at the edge of its image; bad rows counted."""

import json
from pathlib import Path

import pytest
from PIL import Image

from groundling.data import DataError, DataWarning, Sample, available, open_captions, open_dataset

REGION = {"region_id": 1382, "image_id": 1, "x": 10, "y": 5, "width": 20, "height": 30}
REGION |= {"phrase": "the clock is green", "synsets": []}


def write(root: Path, *regions: object, images: object = None) -> Path:
    """Two images of 60x40 pixels, one in each folder; the regions are of the first."""
    default = [{"image_id": n, "width": 60, "height": 40, "url": "", "coco_id": None} for n in (1, 2)]
    (root / "image_data.json").write_text(json.dumps(default if images is None else images))
    rows = [
        {"id": 1, "regions": list(regions)},
        {"id": 2, "regions": [REGION | {"region_id": 9, "image_id": 2}]},
    ]
    (root / "region_descriptions.json").write_text(json.dumps(rows))
    for number, folder in ((1, "VG_100K"), (2, "VG_100K_2")):
        (root / folder).mkdir(exist_ok=True)
        Image.new("RGB", (60, 40)).save(root / folder / f"{number}.jpg")
    return root


def test_a_region_is_an_expression(tmp_path) -> None:
    root = write(tmp_path, REGION)
    assert open_dataset(root, "visual_genome", "all").samples == (
        Sample("1382", root / "VG_100K" / "1.jpg", "the clock is green", (10, 5, 30, 35)),
        Sample("9", root / "VG_100K_2" / "2.jpg", "the clock is green", (10, 5, 30, 35)),
    )
    assert available(root) == ["visual_genome"]


def test_boxes_are_cut_at_the_edge_and_counted(tmp_path) -> None:
    root = write(tmp_path, REGION | {"x": -5, "y": -1}, REGION | {"x": 50, "y": 20, "region_id": 7})
    with pytest.warns(DataWarning, match="boxes cut at the edge of their picture: 2"):
        captions = open_captions(root, "visual_genome", "all")
    assert [caption.phrases[0].boxes for caption in captions.captions[:2]] == [
        ((0, 0, 15, 29),),
        ((50, 20, 60, 40),),
    ]
    assert captions.left_out == 0


@pytest.mark.parametrize(
    ("region", "reason"),
    [
        (REGION | {"width": 0}, "image 1 region 1382: box .* has no area"),
        (REGION | {"height": -3}, "has no area"),
        (REGION | {"x": 70}, "lies outside its image of 60x40"),
        (REGION | {"x": None}, "x is None; it should be a number"),
        (REGION | {"phrase": " "}, "the caption has no words"),
        (REGION | {"phrase": 5}, "phrase is 5; it should be text"),
        (REGION | {"image_id": 7}, "image 7 has no entry in image_data.json"),
        ([1], "image 1 region 1: has no 'region_id'"),
    ],
)
def test_bad_regions_are_left_out(tmp_path, region, reason) -> None:
    with pytest.warns(DataWarning, match=rf"1 of 3 rows left out\. .*({reason})"):
        captions = open_captions(write(tmp_path, REGION, region), "visual_genome", "all")
    assert (len(captions), captions.left_out) == (2, 1)


def test_bad_images_and_entries(tmp_path) -> None:
    images = [{"image_id": 1, "width": 60, "height": 40}, {"image_id": 2, "width": 0, "height": 40}]
    with pytest.warns(DataWarning, match="1 of 2 rows left out. image 2 region 9: image 2 has no entry"):
        assert len(open_captions(write(tmp_path, REGION, images=images[:1]), "visual_genome", "all")) == 1
    assert len(open_captions(write(tmp_path, REGION, images=images), "visual_genome", "all")) == 2
    (tmp_path / "region_descriptions.json").write_text('[{"id": 1}, 5]')
    with pytest.raises(
        DataError, match=r"none of 2 rows .*entry 0: has no 'regions'; entry 1: a row is an object"
    ):
        open_captions(tmp_path, "visual_genome", "all")
    with pytest.raises(ValueError, match="has one split, 'all', not 'val'"):
        open_captions(tmp_path, "visual_genome", "val")
    (tmp_path / "VG_100K" / "1.jpg").unlink()
    with pytest.warns(DataWarning, match="image 1.jpg is not in .*VG_100K or .*VG_100K_2"):
        assert len(open_captions(write_only_rows(tmp_path), "visual_genome", "all")) == 1


def write_only_rows(root: Path) -> Path:
    write(root, REGION)
    (root / "VG_100K" / "1.jpg").unlink()
    return root
