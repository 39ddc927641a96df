"""Whatever stands in an annotation file: it is read, left out by name or refused, never another error."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import test_coco
import test_gqa
import test_mdetr_annotations
import test_narratives
import test_phrasecut
import test_visual_genome
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groundling.data import Caption, DataError, DataWarning, open_captions

junk = st.recursive(
    st.sampled_from(
        [None, True, 0, -1, 1, 7, 10**400, 0.5, float("nan"), float("inf"), -5e300, "", "7", "\0", "../7"]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "x", "size"]), inner),
    max_leaves=4,
)


def places(value: Any, at: tuple = ()) -> list[tuple]:
    """The way to every value in a JSON document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, child in inner for place in places(child, (*at, key)))]


def replaced(value: Any, place: tuple, new: object) -> Any:
    if not place:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = replaced(value[place[0]], place[1:], new)
    return copy


def gqa(root: Path) -> list[Path]:
    test_gqa.write(root, q1=test_gqa.question())
    return [root / "val_balanced_questions.json", root / "val_sceneGraphs.json"]


def phrasecut(root: Path) -> list[Path]:
    test_phrasecut.write(root, test_phrasecut.task())
    return [root / "refer_val.json", root / "image_data_split.json"]


def coco(root: Path) -> list[Path]:
    crowd = test_coco.annotation(2, category_id=1, segmentation={"size": [2, 3], "counts": "141"})
    test_coco.write(root, [test_coco.annotation(1), crowd], image={"coco_url": "a/val2017/000000000007.jpg"})
    return [root / "annotations" / "instances_val2017.json"]


def visual_genome(root: Path) -> list[Path]:
    test_visual_genome.write(root, test_visual_genome.REGION)
    return [root / "region_descriptions.json", root / "image_data.json"]


def mdetr(root: Path) -> list[Path]:
    image = test_mdetr_annotations.image(tokens_positive_eval=[[[0, 5]]], answer="no", question_type="obj")
    test_mdetr_annotations.write(root, [image], [test_mdetr_annotations.annotation(1, [[0, 5]])])
    return [root / "OpenSource" / "final_mixed_train.json"]


def narratives(root: Path) -> list[Path]:
    test_narratives.write(root, test_narratives.narrative())
    return [root / "coco_val_localized_narratives.jsonl"]


SPLITS = {gqa: "val_balanced", phrasecut: "val", coco: "val2017", visual_genome: "all"}
SPLITS |= {mdetr: "final_mixed_train", narratives: "coco_val"}


@pytest.mark.parametrize("write", SPLITS, ids=lambda write: write.__name__)
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
def test_anything_anywhere(tmp_path, write: Callable[[Path], list[Path]], data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(write(tmp_path)))
    content = json.loads(file.read_text())
    place = data.draw(st.sampled_from(places(content)))
    file.write_text(json.dumps(replaced(content, place, data.draw(junk))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DataWarning)
        captions: tuple[Caption, ...] = ()
        complaint = None
        try:
            captions = open_captions(tmp_path, write.__name__, SPLITS[write]).captions
        except DataError as error:
            complaint = str(error)
    assert all(caption.image.is_file() for caption in captions)
    assert captions if complaint is None else str(tmp_path) in complaint
