"""What is held out of the data: whole pictures, by a draw that is the same wherever it is made."""

from pathlib import Path

import pytest
import tiny

from groundling import checkpoint
from groundling.data import jsonl, open_dataset
from groundling.data.caption import CaptionSet, referring
from groundling.data.sample import Dataset
from groundling.evaluate.one_box import evaluate
from groundling.evaluate.validation import of_captions, of_expressions
from groundling.training import verdict
from groundling.training.batches import Kind, learned
from groundling.training.config import DataConfig
from groundling.training.holding import images, parted
from groundling.training.train import Run, train


def place(path: Path, **changes: object) -> DataConfig:
    return DataConfig(path=path, **{"dataset": "jsonl", "held_out": 0.25, **changes})  # type: ignore[arg-type]


def none(split: str) -> object:
    raise ValueError(f"no split {split}")


def test_pictures_are_held_out_with_all_that_is_said_of_them(tmp_path: Path) -> None:
    """Expressions of pictures that were learned from said 87 % where new pictures would have said 0."""
    data = tiny.drawn(tmp_path)
    kept, held = parted(data, place(tmp_path), 0, none)
    assert held is not None
    assert isinstance(kept, Dataset)
    assert isinstance(held, Dataset)
    assert (len(images(held)), len(images(kept))) == (6, 18)
    assert not set(images(held)) & set(images(kept))
    assert set(kept.samples) | set(held.samples) == set(data.samples)
    assert set(held.things) == set(images(held))
    captions = CaptionSet("own", "train", tuple(map(referring, data.samples)))
    assert images(parted(captions, place(tmp_path), 0, none)[1]) == images(held)  # type: ignore[arg-type]
    assert images(parted(data, place(tmp_path), 1, none)[1]) != images(held)  # type: ignore[arg-type]


def test_the_draw_does_not_depend_on_where_the_files_lie(tmp_path: Path) -> None:
    names = []
    for folder in ("here", "there"):
        held = parted(tiny.drawn(tmp_path / folder), place(tmp_path), 3, none)[1]
        assert held is not None
        names.append([image.name for image in images(held)])
    assert names[0] == names[1]


@pytest.mark.parametrize(("pictures", "held"), [(24, 6), (9, 2), (8, 2), (7, 0), (1, 0)])
def test_of_a_handful_nothing_is_held_out(tmp_path: Path, pictures: int, held: int) -> None:
    kept, found = parted(tiny.drawn(tmp_path, pictures), place(tmp_path), 0, none)
    assert (0 if found is None else len(images(found))) == held
    assert len(images(kept)) == pictures - held


def test_a_split_beside_is_enough(tmp_path: Path) -> None:
    data = tiny.drawn(tmp_path)
    assert parted(data, place(tmp_path), 0, lambda split: split) == (data, None)
    assert parted(data, place(tmp_path, held_out=0.0), 0, none) == (data, None)


def test_a_run_learns_from_the_rest_and_is_measured_on_what_is_held_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jsonl.write(tmp_path / "train.jsonl", tiny.drawn(tmp_path / "images").samples)
    config = tiny.config(data=place(tmp_path), steps=2, log_every=1)
    told, held = learned(config, "expressions", None)
    assert isinstance(held, Dataset)
    score = of_expressions(config, 500)
    assert score is not None
    final = train(Run("tiny", config, "grounding"), tmp_path / "run", evaluate=score)
    out = capsys.readouterr().out
    assert "tiny: 6 pictures with 24 texts are held out to measure on, 18 learned from" in out
    assert "tiny: too few pictures: 18 to learn from, 6 held out. Expect it to know these by heart" in out
    loaded = checkpoint.load(final)
    expected = evaluate(loaded.model, loaded.tokenizer, held)
    assert loaded.info.training["scores"]["eval/mean_iou"] == pytest.approx(expected.mean_iou)
    assert not set(images(held)) & set(images(told))
    jsonl.write(tmp_path / "val.jsonl", open_dataset(tmp_path, "jsonl", "train").samples[:4])
    assert learned(config, "expressions", None)[1] is None


def test_verdicts() -> None:
    scores = {"eval/prec@0.5": 0.3, "eval/mean_iou": 0.5, "eval/macs_share": 0.9, "eval/layers_on": 12.0}
    assert verdict.merit(scores) == pytest.approx(0.4)
    assert verdict.merit({"eval/macs_share": 0.9}) == 0.0
    (line,) = verdict.after(scores, 0.96, 0, 100)
    assert line.startswith("96% right on what it trains on, 30% on what it has not seen")
    assert verdict.after(scores, 0.45, 0, 100) == ()
    assert verdict.after({}, 0.96, 100, 100) == ()
    assert verdict.after({}, 0.0, 40, 100) == ("no better after step 40, whose weights are kept",)
    assert verdict.before(100, 9) is None
    few = verdict.before(25, 0)
    assert few is not None
    assert few.startswith("too few pictures: 25 to learn from. Expect")


def test_captions_that_are_held_out_are_measured_on(tmp_path: Path) -> None:
    told = tuple(map(referring, tiny.drawn(tmp_path / "images").samples))
    jsonl.write(tmp_path / "train.jsonl", told)
    config = tiny.config(model=tiny.MDETR, data=place(tmp_path))
    assert of_captions(config, 9) is not None
    assert of_captions(tiny.config(model=tiny.MDETR, data=place(tmp_path, held_out=0.0)), 9) is None
    _, held = learned(config, "captions", None)
    assert isinstance(held, CaptionSet)
    assert len(images(held)) == 6


@pytest.mark.parametrize(
    ("kind", "changes"),
    [("objects", {}), ("captions", {"dataset": "gqa,jsonl"}), ("captions", {"split": "a,b"})],
)
def test_what_cannot_be_held_out_of_is_refused(tmp_path: Path, kind: Kind, changes: dict[str, str]) -> None:
    config = tiny.config(data=place(tmp_path, **changes))
    with pytest.raises(ValueError, match="held_out is for expressions or captions of one dataset"):
        learned(config, kind, None)
