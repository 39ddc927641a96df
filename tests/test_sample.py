"""Samples and boxes: what every dataset format becomes, and what cannot be one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundling.data import Dataset, Sample, Thing

THINGS = {Path("a.jpg"): (Thing("dog", (0, 0, 1, 1)),)}


def numbered(count: int) -> Dataset:
    samples = (Sample(str(n), Path("a.jpg"), "left", (0, 0, 1, 1)) for n in range(count))
    return Dataset("some", "val", tuple(samples), THINGS)


def test_a_limit_spreads_over_the_dataset() -> None:
    ten = numbered(10)
    limited = ten.limited(4)
    assert [sample.id for sample in limited.samples] == ["0", "2", "5", "7"]
    assert (limited.name, limited.split, limited.things) == ("some", "val", THINGS)
    assert ten.limited(10) == ten.limited(1000) == ten.limited(None) == ten
    assert len(numbered(0).limited(3)) == 0
    for limit in (0, -1):
        with pytest.raises(ValueError, match=f"a limit of {limit} expressions leaves none; give 1 or more"):
            ten.limited(limit)


@given(count=st.integers(1, 60), limit=st.integers(1, 80))
def test_a_limited_dataset_keeps_its_order_and_nothing_twice(count: int, limit: int) -> None:
    ids = [int(sample.id) for sample in numbered(count).limited(limit).samples]
    assert len(ids) == min(count, limit)
    assert ids == sorted(set(ids))
    gaps = [after - before for before, after in zip(ids, [*ids[1:], count], strict=True)]
    assert max(gaps) - min(gaps) <= 1
