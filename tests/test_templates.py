"""Expressions made from objects: each is true of its box, and of no other of the name."""

from hypothesis import given
from hypothesis import strategies as st

from groundling.data.sample import Box
from groundling.data.templates import Made, persons, templates

LEFT, RIGHT, HIGH = (0.0, 50.0, 20.0, 90.0), (70.0, 50.0, 90.0, 90.0), (40.0, 0.0, 48.0, 10.0)


def said(made: list[Made], box: Box) -> set[str]:
    return {one.text for one in made if one.box == box}


def test_two_dogs_have_sides() -> None:
    made = templates({"dog": [LEFT, RIGHT], "cat": [HIGH]}, 100, 100)
    assert {"left dog", "dog on the left", "leftmost dog"} <= said(made, LEFT)
    assert {"right dog", "dog on the right"} <= said(made, RIGHT)
    assert not any("top" in one.text or "largest" in one.text for one in made)  # alike in both
    assert not said(made, HIGH)  # one cat needs no words of place
    assert "left" not in said(made, LEFT)  # of two kinds of things


def test_one_kind_of_thing_is_left_or_right_alone() -> None:
    made = templates({"dog": [LEFT, RIGHT]}, 100, 100)
    assert {"left", "left one", "the one on the left"} <= said(made, LEFT)


def test_three_have_a_middle_a_second_and_the_smallest() -> None:
    middle = (40.0, 60.0, 50.0, 80.0)
    made = templates({"cup": [RIGHT, LEFT, middle]}, 100, 100)
    assert {"middle cup", "smallest cup", "second cup from left", "second cup from right"} <= said(
        made, middle
    )


def test_the_nearest_to_something_and_what_is_beside_it() -> None:
    bench = (60.0, 50.0, 69.0, 90.0)
    made = templates({"person": [LEFT, RIGHT], "bench": [bench]}, 100, 100)
    assert {"person next to the bench", "person right of the bench"} <= said(made, RIGHT)
    assert "person left of the bench" in said(made, LEFT)


def test_a_crowd_and_twins_make_none() -> None:
    assert templates({"bird": [(float(x), 0.0, x + 5.0, 5.0) for x in range(0, 70, 10)]}, 100, 100) == []
    assert templates({"bird": [LEFT, LEFT]}, 100, 100) == []


def test_people_are_who_their_phrases_say() -> None:
    near = (1.0, 50.0, 20.0, 91.0)
    people = persons([("A man", LEFT), ("an old guy", near), ("Two women", RIGHT)])
    assert people == {"person": [LEFT, RIGHT], "man": [LEFT], "woman": [RIGHT]}
    assert set(persons([("A man", LEFT), ("Someone", RIGHT)])) == {"person"}


corner = st.tuples(st.integers(0, 80), st.integers(0, 80), st.integers(5, 20), st.integers(5, 20))


@given(
    st.lists(
        corner.map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])), min_size=2, max_size=6, unique=True
    )
)
def test_sides_are_true(boxes: list[tuple[int, int, int, int]]) -> None:
    own = [(float(a), float(b), float(c), float(d)) for a, b, c, d in boxes]
    for one in templates({"dog": own}, 100, 100):
        others = [box for box in own if box != one.box]
        if one.text in ("left dog", "left"):
            assert all(one.box[0] + one.box[2] < box[0] + box[2] for box in others)
        if one.text == "bottom dog":
            assert all(one.box[1] + one.box[3] > box[1] + box[3] for box in others)
    texts = [one.text for one in templates({"dog": own}, 100, 100)]
    assert len(texts) == len(set(texts))
