"""What is left out and changed is counted by reason, and the first of each named."""

import warnings

import pytest

from groundling.data import DataError, DataWarning
from groundling.data.rejects import Rejects, kind_of, said


def some() -> Rejects:
    rejects = Rejects()
    for number in range(5):
        rejects.add(f"row {number}", DataError(f"box ({number}, 2.5, 3, 4) has no area"))
    rejects.add("row 9", DataError("image b/c.jpg is not in 'there'"))
    for number in (1, 1, 2):
        rejects.note("masks left out", f"row {number}", "no polygon")
    return rejects


def test_reasons_are_counted_without_what_is_particular_to_a_row() -> None:
    rejects = some()
    assert [reason.count for reason in rejects.left_out.values()] == [5, 1]
    assert (rejects.count, rejects.changed["masks left out"].count) == (6, 2)
    first, second, changed = said(rejects)
    assert first.startswith("left out: 5, such as row 0: box (0, 2.5, 3, 4) has no area; row 1: ")
    assert first.endswith("; …")
    assert second == "left out: 1, row 9: image b/c.jpg is not in 'there'"
    assert changed == "masks left out: 2 (row 1: no polygon; row 2: no polygon)"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("width is 0; it should be", "width is -3; it should be"),
        ("category 'a b' has", "category 'c' has"),
        ("image a/1.jpg is not in /x/y", "image 2.jpg is not in /z"),
    ],
)
def test_one_fault_is_one_kind(one, other) -> None:
    assert kind_of(one) == kind_of(other)


def test_both_are_warned_of() -> None:
    with pytest.warns(DataWarning) as told:
        some().report("file", 2)
    lost, changed = (str(warning.message) for warning in told)
    assert lost.startswith("file: 6 of 8 rows left out. row 0: box (0, 2.5, 3, 4) has no area; row 1: ")
    assert changed == "file: masks left out: 2 (row 1: no polygon; row 2: no polygon)"


def test_nothing_left_says_the_first_reason() -> None:
    with (
        warnings.catch_warnings(action="error"),
        pytest.raises(DataError, match=r"none of 6 rows .* row 0: box"),
    ):
        some().report("file", 0)
    with pytest.raises(DataError, match="file: has no rows"):
        Rejects().report("file", 0)
