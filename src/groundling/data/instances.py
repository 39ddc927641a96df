"""The rows of COCO's form, which MDETR's files have too: ids that may come twice, and the fields of a box.

A mask, an area, a crowd's mark or an id that cannot be used never costs a box: it is left out, and noted.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

from groundling.data.json_rows import (
    Key,
    Size,
    as_key,
    checked,
    declared_size,
    entries,
    identity,
    number,
    rows,
)
from groundling.data.rejects import Rejects
from groundling.data.sample import DataError

V = TypeVar("V")

LISTS = ("images", "annotations", "categories")
NO_AREA = "areas left out, their boxes kept"
NO_CROWD = "marks of a crowd left out, their boxes kept"
NO_ID = "annotations without an id that can be used, their boxes kept"
TWICE = "its id comes twice"
UNUSED = "entries that cannot be used"
SAME_ID = "annotations that have the id of another, both kept"


class Once(Generic[V]):
    """Values by an id that should come once.

    Of equal ones the second is left out; of different ones it is not known which is meant, so both are.
    """

    def __init__(self, noun: str) -> None:
        self._noun = noun
        self._values: dict[Key, V] = {}
        self._differ: set[Key] = set()

    def put(self, number: Key, value: V) -> None:
        """DataError for an id that is there already."""
        if number not in self._values:
            self._values[number] = value
        elif self._values[number] == value:
            raise DataError(TWICE)
        else:
            self._differ.add(number)
            self.check(number)

    def check(self, number: Key) -> None:
        """DataError for an id without a value, or with two that differ."""
        if number not in self._values:
            raise DataError(f"{self._noun} {number} has no entry")
        if number in self._differ:
            raise DataError(f"{self._noun} {number} has two entries that differ")

    def get(self, number: Key) -> V:
        """The value of an id; DataError as of `check`."""
        self.check(number)
        return self._values[number]

    def find(self, number: Key) -> V | None:
        """The value of an id; None as `get` raises."""
        return None if number in self._differ else self._values.get(number)

    def first(self, number: Key) -> V | None:
        """The first value of an id, whether or not others differ."""
        return self._values.get(number)

    def sound(self) -> dict[Key, V]:
        """All values but those that differ, in the order they came."""
        return {number: value for number, value in self._values.items() if number not in self._differ}

    def __iter__(self) -> Iterator[Key]:
        return iter(self._values)

    def __contains__(self, number: Key) -> bool:
        return number in self._values

    def __len__(self) -> int:
        return len(self._values)


def members(file: Path) -> Iterator[tuple[str, object]]:
    """The images, annotations and categories of a file, each with the list that it is of."""
    for name, value in rows(file):
        if name in LISTS:
            for row in entries(name, value):
                yield name, row


def sizes_of(file: Path, rejects: Rejects) -> dict[str, Size | None]:
    """The declared size of each image of a list, by its id as text; None of one that does not say it.

    An image of two entries that differ has none that can be trusted.
    """
    sizes = Once[Size | None]("image")
    for index, (_, row) in enumerate(rows(file)):
        try:
            sizes.put(identity(row, "image_id"), declared_size(row))
        except DataError as error:
            rejects.add(f"{file.name} row {index}", error)
    return {str(image): sizes.find(image) for image in sizes}


def annotation_id(row: object, position: int, rejects: Rejects) -> Key:
    """The id of an annotation, or a name made of its position."""
    found = as_key(checked(row).get("id"))
    if found is None:
        found = f"at place {position}"
        rejects.note(NO_ID, f"annotation {found}")
    return found


def area_of(row: object, name: str, rejects: Rejects) -> float | None:
    """The pixels of an object as its row counts them, where it does."""
    if checked(row).get("area") is None:
        return None
    try:
        area = number(row, "area")
        if area < 0:
            raise DataError(f"area is {area:g}; it should be 0 or more")
    except DataError as error:
        rejects.note(NO_AREA, name, str(error))
        return None
    return area


def is_crowd(row: object, name: str, rejects: Rejects) -> bool:
    """Whether an annotation is of a region of many objects."""
    mark = checked(row).get("iscrowd")
    if mark in (None, "") or mark in (0, "0", "false"):
        return False
    if mark in (1, "1", "true"):
        return True
    rejects.note(NO_CROWD, name, f"iscrowd is {mark!r}; it should be 0 or 1")
    return False


def row_name(noun: str, row: object) -> str:
    """What a row of an annotation file is called where it is left out."""
    singular = {"images": "image", "categories": "category"}.get(noun, "annotation")
    return f"{singular} {row.get('id') if isinstance(row, dict) else None}"


def lost_from(row: object) -> tuple[Key | None, Key | None]:
    """The image and the category of an annotation that was left out, as far as it says them."""
    values = row if isinstance(row, dict) else {}
    return as_key(values.get("image_id")), as_key(values.get("category_id"))
