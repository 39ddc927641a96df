"""Annotation files that grow row by row while scenes are drawn, and are saved whole at the end."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from groundling.files import writing

PART = ".part-"  # starts the name of a file that is not yet whole
WHOLE, LINES, LIST, OBJECT = "whole", "lines", "list", "object"
FRAMES = {LINES: ("", "\n", "\n"), LIST: ("[\n", ",\n", "\n]\n"), OBJECT: ("{\n", ",\n", "\n}\n")}


@dataclass(frozen=True)
class Row:
    """Text for a file: the WHOLE of it, one of its LINES, or one member of the JSON LIST or OBJECT in it."""

    file: str  # path in the folder
    text: str
    form: str


class GrowingFiles:
    """Rows go into hidden files, which get their names when the `with` block ends well and else are gone."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._stack = folder, ExitStack()
        self._growing: dict[str, tuple[BinaryIO, str]] = {}  # by name: the file, what ends it

    def add(self, row: Row) -> None:
        """Append a row to its file."""
        begin, between, end = FRAMES[row.form]
        if row.file not in self._growing:
            file = self._stack.enter_context(writing(self._folder / row.file, PART))
            self._growing[row.file], between = (file, end), begin
        self._growing[row.file][0].write(f"{between}{row.text}".encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._stack.callback(self._end)  # the last is called first: if it fails, no file gets its name
        self._stack.__exit__(kind, error, trace)

    def _end(self) -> None:
        for file, end in self._growing.values():
            file.write(end.encode())
            file.flush()
