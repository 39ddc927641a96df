"""Annotation files that grow row by row while scenes are drawn, and are whole or not there."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TextIO

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
        self._folder = folder
        self._growing: dict[str, tuple[Path, TextIO, str]] = {}  # by name: hidden path, handle, what ends it

    def add(self, row: Row) -> None:
        """Append a row to its file."""
        start, between, end = FRAMES[row.form]
        if row.file in self._growing:
            self._growing[row.file][1].write(between + row.text)
            return
        number, hidden = tempfile.mkstemp(dir=self._folder, prefix=PART)
        handle = os.fdopen(number, "w", encoding="utf-8")
        self._growing[row.file] = Path(hidden), handle, end
        handle.write(start + row.text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for name, (hidden, handle, end) in self._growing.items():
            with handle:
                handle.write(end)
            if kind is None:
                hidden.chmod(0o644)
                hidden.replace(self._folder / name)
            else:
                hidden.unlink(missing_ok=True)
