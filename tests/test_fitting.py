"""The one rule for boxes against pictures: cut, left out, or said."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from groundling.data import DataError, DataWarning, fitting
from groundling.data.fitting import CUT, RESIZED, Fitting
from groundling.data.rejects import Rejects
from groundling.data.sample import BoxError


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.new("RGB", (60, 40)).save(tmp_path / "a.jpg")
    return tmp_path / "a.jpg"


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ((1, 2, 30, 35), (1, 2, 30, 35)),
        ((-5, -5, 90, 90), (0, 0, 60, 40)),
        ((59, 39, 1e9, 1e9), (59, 39, 60, 40)),
        ((-1e300, 0, 1e300, 1), (0, 0, 60, 1)),
    ],
)
def test_what_lies_in_the_picture_is_kept(image, box, kept) -> None:
    rejects = Rejects()
    assert Fitting(rejects).box(box, image, row="row 1") == kept
    assert (CUT in rejects.changed) == (box != kept)


@pytest.mark.parametrize(
    "box",
    [
        (60, 0, 90, 9),
        (0, 40, 9, 50),
        (-9, 0, 0, 9),
        (5, 5, 5, 9),
        (9, 9, 5, 5),
        (float("nan"), 0, 9, 9),
        (0, 0, float("inf"), 9),
    ],
)
def test_what_does_not_is_an_error(image, box) -> None:
    with pytest.raises(BoxError):
        Fitting(Rejects()).box(box, image)


numbers = st.floats(allow_nan=True) | st.integers(-100, 200).map(float)


@given(st.tuples(numbers, numbers, numbers, numbers))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_box_that_is_kept_lies_in_its_picture_and_stays(image, box) -> None:
    rule = Fitting(Rejects())
    try:
        x1, y1, x2, y2 = kept = rule.box(box, image)
    except BoxError:
        return
    assert 0 <= x1 < x2 <= 60
    assert 0 <= y1 < y2 <= 40
    assert rule.box(kept, image) == kept


def test_the_size_of_the_file_counts_and_another_is_said(image) -> None:
    rejects = Rejects()
    rule = Fitting(rejects)
    assert rule.size(image, (1920, 1080)) == rule.size(image) == (60, 40)
    with pytest.warns(DataWarning, match="1 \\(a.jpg: 1920x1080 declared, 60x40 is its size\\)"):
        rejects.report("file", 1)
    assert rejects.changed[RESIZED].count == 1


def test_without_files_the_declared_size_counts() -> None:
    rule = Fitting(Rejects(), look=False)
    assert rule.box((0, 0, 900, 900), Path("gone.jpg"), (60, 40)) == (0, 0, 60, 40)
    assert rule.box((0, 0, 900, 900), Path("other.jpg")) == (0, 0, 900, 900)


def test_a_picture_that_cannot_be_read_is_an_error(tmp_path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match="not an image"):
        Fitting(Rejects()).box((0, 0, 9, 9), tmp_path / "a.jpg")


def test_after_many_as_declared_one_in_ten_is_looked_at(tmp_path, monkeypatch) -> None:
    """Until one differs: then all that follow are."""
    monkeypatch.setattr(fitting, "BELIEVED", 9)
    rejects = Rejects()
    rule = Fitting(rejects)
    for number in range(60):
        Image.new("RGB", (60, 40) if number < 40 else (30, 20)).save(tmp_path / f"{number}.jpg")
    looked = [rule.size(tmp_path / f"{number}.jpg", (60, 40)) for number in range(60)]
    assert looked[:40] == [(60, 40)] * 40
    assert looked[50:] == [(30, 20)] * 10
    assert len(rule._sizes._known) < 40


@pytest.mark.parametrize("boxes", [[(0.1, 0.2, 0.5, 1.0)], [(0.1, 0.2, 0.5, 1.0), (0.5, 0.5, 0.2, 0.2)]])
def test_boxes_that_are_all_shares_are_refused(image, boxes) -> None:
    """cxcywh too, of which some would have no area as xyxy: the shares are said, not that."""
    rejects = Rejects()
    rule = Fitting(rejects)
    list(rejects.usable([("row", box) for box in boxes], lambda box: rule.box(box, image)))
    with pytest.raises(
        DataError, match=r"file: no box is larger than a pixel, such as \(0\.1, .* look like shares"
    ):
        rejects.report("file", 1)


def test_a_picture_of_one_pixel_has_such_boxes(tmp_path) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "a.png")
    rejects = Rejects()
    assert Fitting(rejects).box((0, 0, 1, 1), tmp_path / "a.png") == (0, 0, 1, 1)
    rejects.report("file", 1)
