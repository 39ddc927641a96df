"""Rows of JSON annotation files, larger than memory too, and the fields of a row.

What is wrong with a file is a DataError that names the file; what is wrong with a field is one that names the
field, and whoever reads the rows names the row.
"""

import json
import math
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO, TypeVar

from groundling.data.pickles import read_bytes
from groundling.data.sample import DataError
from groundling.words.text_files import decoded, line_text, open_text, raw_lines

T = TypeVar("T")
Row = Mapping[str, Any]
Key = int | str  # what a row is named by: a whole number, or a text that is none
Size = tuple[int, int]  # width, height

CHUNK = 1 << 22  # characters that are read at a time
MAX_ROW = 1 << 28  # characters; the longest official row is a hundredth of that
_KINDS = {str: "text", int: "a whole number", list: "a list", dict: "an object", bool: "true or false"}
_LONGEST_ID = 40  # digits; Python reads no number of more than 4,300
_SPACE = " \t\n\r"


def load(file: Path) -> Any:
    """All of a file at once."""
    try:
        return json.loads(decoded(read_bytes(file), file))
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file}: not a JSON file, or damaged ({error})") from error


def rows(file: Path) -> Iterator[tuple[str, Any]]:
    """The members of a file's object as (key, value) as they come, or its list's elements as ("", element).

    A member that is a list comes as its elements, each with the member's key: only one row is held at a time.
    """
    if not file.is_file():
        raise FileNotFoundError(f"annotation file not found: {file}")
    key, count = "", 0
    try:
        with open_text(file) as handle:
            text = _Text(handle)
            for key, value in _members(text) if text.peek() == "{" else (("", v) for v in _elements(text)):
                count += 1
                yield key, value
            text.expect("")
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        after = f" after {count:,} rows" if count else ""
        raise DataError(f"{file}: not a JSON file, or damaged{after} ({error})") from error


def lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a JSON Lines file that hold something, each with its number; `row_of` reads one."""
    if not file.is_file():
        raise FileNotFoundError(f"annotation file not found: {file}")
    try:
        for number, line in raw_lines(file, MAX_ROW):
            if line.strip():
                yield number, line
    except ValueError as error:
        raise DataError(str(error)) from error


def row_of(line: bytes) -> Row:
    """The object in a line of JSON Lines."""
    try:
        row = json.loads(line_text(line))
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON ({error})") from error
    return checked(row)


def checked(row: object) -> Row:
    """DataError unless a row is an object."""
    if not isinstance(row, dict):
        raise DataError(f"a row is an object, not {type(row).__name__}")
    return row


def field(row: object, key: str, kind: type[T]) -> T:
    """A field of a row; DataError if the row has none, or one of another kind."""
    value = checked(row).get(key)
    if value is None and key not in checked(row):
        raise DataError(f"has no {key!r}")
    if type(value) is not kind:
        raise DataError(f"{key} is {reprlib.repr(value)}; it should be {_KINDS[kind]}")
    return value


def optional(row: object, key: str, kind: type[T]) -> T | None:
    """A field that a row need not have, or may have as null."""
    return None if checked(row).get(key) is None else field(row, key, kind)


def identity(row: object, key: str) -> str:
    """A field that names something by a number or a text, as text: 7 and 7.0 are "7"."""
    value = checked(row).get(key)
    found = None if isinstance(value, str) else as_key(value)
    return field(row, key, str) if found is None else str(found)


def key(row: object, name: str) -> Key:
    """An id: 7, and the same written as 7.0 or "7"; any other text is an id as it stands."""
    value = checked(row).get(name)
    if name not in checked(row):
        raise DataError(f"has no {name!r}")
    found = as_key(value)
    if found is None:
        raise DataError(f"{name} is {reprlib.repr(value)}; it should be a whole number or a text")
    return found


def as_key(value: object) -> Key | None:
    """A value as an id; None for one that cannot name anything."""
    if isinstance(value, str):
        digits = value.strip()
        return int(digits) if digits.isdecimal() and len(digits) < _LONGEST_ID else digits or None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if isinstance(value, int) or value.is_integer() else None


def entries(name: str, value: object) -> Iterator[object]:
    """The rows of a member that `rows` gave: itself, or those of an object that has them by their ids."""
    if isinstance(value, dict) and value and all(isinstance(row, dict) for row in value.values()):
        yield from ({"id": identity} | row for identity, row in value.items())
    elif name == "categories" and isinstance(value, dict) and _names(value):
        yield from ({"id": identity, "name": text} for identity, text in value.items())
    else:
        yield value


def _names(value: dict[str, object]) -> bool:
    """Whether an object has the names of categories by their ids."""
    ids = all(as_key(key) is not None and str(key).isdecimal() for key in value)
    return bool(value) and ids and all(isinstance(text, str) for text in value.values())


def number(row: object, key: str) -> float:
    """A field that is a finite number."""
    value = checked(row).get(key)
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError:  # a whole number of hundreds of digits
        pass
    raise DataError(f"{key} is {reprlib.repr(value)}; it should be a number")


def declared_size(row: object) -> Size | None:
    """As `size_of`; None for a row that does not say it in a way that can be used."""
    try:
        return size_of(row)
    except DataError:
        return None


def size_of(row: object) -> Size:
    """The width and height in a row; MDETR's scripts write some of them as text."""
    return _side(checked(row).get("width"), "width"), _side(checked(row).get("height"), "height")


def _side(value: object, name: str) -> int:
    side = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 9 else value
    if type(side) is not int or side < 1:
        raise DataError(f"{name} is {reprlib.repr(value)}; it should be a whole number over 0")
    return side


class _Text:
    """A file's text, of which only the part is held that is being read."""

    def __init__(self, handle: TextIO) -> None:
        self._handle = handle
        self._held = ""
        self._at = 0
        self._ended = False
        self._decode = json.JSONDecoder().raw_decode

    def peek(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            while self._at < len(self._held) and self._held[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._held) or self._ended:
                return self._held[self._at : self._at + 1]
            self._more()

    def take(self, character: str) -> bool:
        """Step over the next character if it is this one."""
        if found := self.peek() == character:
            self._at += 1
        return found

    def expect(self, character: str) -> None:
        """Step over the next character, which must be this one; "" is the end of the file."""
        if not self.take(character):
            raise ValueError(f"expected {character or 'the end'}, found {self.peek() or 'the end'}")

    def value(self) -> Any:
        """The next value, whatever it is."""
        self.peek()
        while True:
            try:
                value, end = self._decode(self._held, self._at)
            except ValueError:
                if self._ended:
                    raise
            else:
                # A number may go on in what has not been read yet.
                if self._ended or self._held[end : end + 1] not in ("", ".", "e", "E"):
                    self._at = end
                    return value
            self._more()

    def _more(self) -> None:
        if len(self._held) - self._at > MAX_ROW:
            raise ValueError(f"a row of more than {MAX_ROW:,} characters")
        size = max(CHUNK, len(self._held) - self._at)  # doubled: a long row is not tried too often
        new = self._handle.read(size)
        self._held, self._at, self._ended = self._held[self._at :] + new, 0, not new


def _elements(text: _Text) -> Iterator[Any]:
    text.expect("[")
    if text.take("]"):
        return
    while True:
        yield text.value()
        if text.take("]"):
            return
        text.expect(",")


def _members(text: _Text) -> Iterator[tuple[str, Any]]:
    text.expect("{")
    if text.take("}"):
        return
    while True:
        if text.peek() != '"':
            raise ValueError(f"expected a name, found {text.peek() or 'the end'}")
        key = text.value()
        text.expect(":")
        if text.peek() == "[":
            yield from ((key, element) for element in _elements(text))
        else:
            yield key, text.value()
        if text.take("}"):
            return
        text.expect(",")
