"""JSON annotation files, row by row: as Python reads them, wherever the text is cut; and their fields."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groundling.data import DataError, json_rows
from groundling.data.json_rows import field, identity, number, optional, size_of

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def expected(value: object) -> list[tuple[str, object]]:
    if isinstance(value, list):
        return [("", element) for element in value]
    assert isinstance(value, dict)
    return [(k, e) for k, member in value.items() for e in (member if isinstance(member, list) else [member])]


@given(
    value=st.lists(values) | st.dictionaries(st.text(), values), chunk=st.integers(1, 9), indent=st.booleans()
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_are_what_python_reads(tmp_path, value, chunk, indent) -> None:
    """Also where numbers, names and escapes are cut in two."""
    file = tmp_path / "some.json"
    file.write_text(json.dumps(value, indent=2 if indent else None), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_rows, "CHUNK", chunk)
        assert list(json_rows.rows(file)) == expected(value)
    assert json_rows.load(file) == value


def test_numbers_that_go_on_in_the_next_chunk(tmp_path, monkeypatch) -> None:
    file = tmp_path / "some.json"
    file.write_text('{"a": [-1.5e3, 12, 1.0, 2E-2, true], "b": 31.25, "c": -7}')
    whole = [("a", -1500), ("a", 12), ("a", 1), ("a", 0.02), ("a", True), ("b", 31.25), ("c", -7)]
    for chunk in range(1, 60):
        monkeypatch.setattr(json_rows, "CHUNK", chunk)
        assert list(json_rows.rows(file)) == whole


def test_only_a_part_of_a_file_is_held(tmp_path, monkeypatch) -> None:
    file = tmp_path / "some.json"
    file.write_text(json.dumps({"rows": list(range(10_000))}))
    monkeypatch.setattr(json_rows, "CHUNK", 64)
    held = []
    more = json_rows._Text._more

    def watched(text: json_rows._Text) -> None:
        more(text)
        held.append(len(text._held))

    monkeypatch.setattr(json_rows._Text, "_more", watched)
    assert [row for _, row in json_rows.rows(file)] == list(range(10_000))
    assert max(held) < 200


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("", ""),
        ("5", ""),
        ("[1, 2", " after 2 rows"),
        ("[1, 2] 3", " after 2 rows"),
        ("[1,, 2]", " after 1 rows"),
        ("[1 2]", " after 1 rows"),
        ('{"a": [1, 2], }', " after 2 rows"),
        ('{"a": [1, {"b": 2]}', " after 1 rows"),
        ("{a: 1}", ""),
        ('{"a" 1}', ""),
        ('{"a": ', ""),
        ("[" * 100_000, ""),
        ('{"a": {"b": ' * 100_000, ""),
        ('["\xff"]', ""),
    ],
)
def test_damaged_files(tmp_path, text, after) -> None:
    file = tmp_path / "some.json"
    file.write_bytes(text.encode("latin1"))
    with pytest.raises(DataError, match=rf"some\.json: not a JSON file, or damaged{after} \("):
        list(json_rows.rows(file))


def test_files_that_are_not_there_and_rows_without_end(tmp_path, monkeypatch) -> None:
    for read in (json_rows.rows, json_rows.lines):
        with pytest.raises(FileNotFoundError, match=r"annotation file not found: .*gone"):
            list(read(tmp_path / "gone"))
    monkeypatch.setattr(json_rows, "CHUNK", 16)
    monkeypatch.setattr(json_rows, "MAX_ROW", 100)
    (tmp_path / "long.json").write_text('["' + "a" * 300)
    with pytest.raises(DataError, match=r"long\.json: .*a row of more than 100 characters"):
        list(json_rows.rows(tmp_path / "long.json"))
    (tmp_path / "long.jsonl").write_text("{}\n" + "a" * 300)
    with pytest.raises(DataError, match=r"long\.jsonl:2: a line of more than 100 bytes"):
        list(json_rows.lines(tmp_path / "long.jsonl"))


def test_lines_have_their_numbers(tmp_path) -> None:
    (tmp_path / "some.jsonl").write_bytes(b"{}\n\n \r\n[1]\n5")
    assert list(json_rows.lines(tmp_path / "some.jsonl")) == [(1, b"{}\n"), (4, b"[1]\n"), (5, b"5")]


def test_fields_are_what_they_should_be() -> None:
    row = {"name": "dog", "id": 5, "share": 0.5, "none": None, "yes": True, "width": 40, "height": "30"}
    assert field(row, "name", str) == "dog"
    assert optional(row, "none", str) is optional(row, "other", int) is None
    assert optional(row, "yes", bool) is True
    assert (identity(row, "id"), identity(row, "name")) == ("5", "dog")
    assert (number(row, "share"), number(row, "id")) == (0.5, 5.0)
    assert size_of(row) == (40, 30)


@pytest.mark.parametrize(
    ("look", "reason"),
    [
        (lambda row: field(row, "other", str), "has no 'other'"),
        (lambda row: field(row, "id", str), "id is 5; it should be text"),
        (lambda row: field(row, "none", str), "none is None; it should be text"),
        (lambda row: field(row, "yes", int), "yes is True; it should be a whole number"),
        (lambda row: field(row, "long", list), r"long is 'aaa.*\.\.\..*aaa'; it should be a list"),
        (lambda row: optional(row, "id", dict), "id is 5; it should be an object"),
        (lambda row: identity(row, "share"), "share is 0.5; it should be text"),
        (lambda row: identity(row, "other"), "has no 'other'"),
        (lambda row: number(row, "yes"), "yes is True; it should be a number"),
        (lambda row: number(row, "far"), "far is inf; it should be a number"),
        (lambda row: number(row, "huge"), "huge is 1000.*; it should be a number"),
        (lambda row: size_of(row), "width is None; it should be a whole number over 0"),
        (lambda row: size_of({"width": 5, "height": "-3"}), "height is '-3'"),
        (lambda row: size_of({"width": 0, "height": 3}), "width is 0"),
        (lambda _: field([1], "id", int), "a row is an object, not list"),
        (lambda _: number(None, "id"), "a row is an object, not NoneType"),
    ],
)
def test_fields_that_are_not(look, reason) -> None:
    row = {"id": 5, "share": 0.5, "none": None, "yes": True, "long": "a" * 10_000}
    row |= {"far": float("inf"), "huge": 10**400}
    with pytest.raises(DataError, match=reason) as raised:
        look(row)
    assert len(str(raised.value)) < 200
