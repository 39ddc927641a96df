"""Localized Narratives: words, times and traces as they are published, in one file or in shards."""

import json
from pathlib import Path

import pytest
from PIL import Image

from groundling.data import (
    Caption,
    DataError,
    DataWarning,
    Rejects,
    available,
    narratives,
    open_captions,
    open_dataset,
)

TRACES = [
    [{"x": 0.2086, "y": -0.0533, "t": 0.022}, {"x": 0.5, "y": 0.5, "t": 0.5}],
    [{"x": 1.02, "y": 1, "t": 2.0}],
]


def narrative(**changes) -> dict:
    timed = [("In this", 0.0, 0.4), ("image", 0.4, 0.9), ("cows", 1.5, 2.0)]
    words = [{"utterance": text, "start_time": start, "end_time": end} for text, start, end in timed]
    row = {"dataset_id": "mscoco_val2017", "image_id": "137576", "annotator_id": 93}
    row |= {"caption": "In this image there are cows.", "timed_caption": words, "traces": TRACES}
    return row | {"voice_recording": "coco_val/coco_val_137576_93.ogg"} | changes


def write(root: Path, *rows: object, name: str = "coco_val_localized_narratives.jsonl") -> Path:
    (root / "val2017").mkdir(exist_ok=True)
    Image.new("RGB", (60, 40)).save(root / "val2017" / "000000137576.jpg")
    (root / name).write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return root


def test_a_narrative(tmp_path) -> None:
    """Points may leave the image: they are kept as they are."""
    root = write(tmp_path, narrative())
    (found,) = narratives.read(root, "coco_val", Rejects())
    image = root / "val2017" / "000000137576.jpg"
    assert found.caption == Caption("137576-93", image, "In this image there are cows.")
    assert found.utterances[1] == narratives.Utterance("image", 0.4, 0.9)
    assert found.traces01 == (((0.2086, -0.0533, 0.022), (0.5, 0.5, 0.5)), ((1.02, 1, 2.0),))
    pointed = [found.pointed01(utterance) for utterance in found.utterances]
    assert pointed == [((0.2086, -0.0533, 0.022),), ((0.5, 0.5, 0.5),), ((1.02, 1, 2.0),)]


def test_captions_have_no_phrases(tmp_path) -> None:
    root = write(tmp_path, narrative())
    assert [caption.phrases for caption in open_captions(root, "narratives", "coco_val").captions] == [()]
    with pytest.raises(DataError, match="no phrase of narratives coco_val means exactly one box"):
        open_dataset(root, "narratives", "coco_val")
    assert available(root) == ["narratives"]
    (root / "mine.jsonl").write_text("{}")
    assert available(root) == ["narratives", "jsonl"]


def test_shards_in_their_order(tmp_path) -> None:
    for shard in (1, 0):
        rows = [narrative(annotator_id=2 * shard + n) for n in (0, 1)]
        write(tmp_path, *rows, name=f"coco_train_localized_narratives-0000{shard}-of-00002.jsonl")
    write(tmp_path, narrative())
    captions = open_captions(tmp_path, "narratives", "coco_train").captions
    assert [caption.id for caption in captions] == [f"137576-{n}" for n in range(4)]
    assert narratives.splits(tmp_path) == ["coco_train", "coco_val"]
    with pytest.raises(ValueError, match="no split 'coco'; it has coco_train, coco_val"):
        open_captions(tmp_path, "narratives", "coco")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{", "not JSON"),
        ("[1]", "a row is an object, not list"),
        (narrative(caption=""), "the caption has no words"),
        (narrative(image_id="5"), r"image 000000000005\.jpg is not in"),
        (narrative(dataset_id="Flick30k_test"), r"image 137576\.jpg is not in"),
        (narrative(image_id="../1", dataset_id="ADE20k_train"), "leads out of the image folder"),
        (narrative(annotator_id="x"), "annotator_id is 'x'"),
    ],
)
def test_bad_lines_are_left_out(tmp_path, row, reason) -> None:
    with pytest.warns(DataWarning, match=rf"1 of 2 rows left out\. coco_val.*jsonl:2: .*{reason}"):
        captions = open_captions(write(tmp_path, narrative(), row), "narratives", "coco_val")
    assert (len(captions), captions.left_out) == (1, 1)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (narrative(traces=[5]), "a trace segment is a list of points, not int"),
        (narrative(traces=[[{"x": 1, "y": None, "t": 0}]]), "y is None; it should be a number"),
        (narrative(traces=[[{"x": float("nan"), "y": 0, "t": 0}]]), "x is nan; it should be a number"),
        (
            narrative(timed_caption=[{"utterance": "a", "start_time": 2, "end_time": 1}]),
            "ends at 1.0 s, before",
        ),
        (narrative(timed_caption=None), "timed_caption is None"),
    ],
)
def test_a_bad_trace_is_of_no_narrative_and_leaves_its_caption(tmp_path, row, reason) -> None:
    """Captions were left out for what nobody asked."""
    root = write(tmp_path, narrative(), row | {"annotator_id": 94})
    assert len(open_captions(root, "narratives", "coco_val")) == 2
    rejects = Rejects()
    assert len(list(narratives.read(root, "coco_val", rejects))) == 1
    with pytest.warns(DataWarning, match=rf"1 of 2 rows left out\. coco_val.*jsonl:2: .*{reason}"):
        rejects.report("coco_val", 1)
