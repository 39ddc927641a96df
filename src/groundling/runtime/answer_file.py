"""Answers about many pictures as JSON Lines, in a file that grows line by line and can be taken up again."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from groundling.files import Given, check_place, write


class Told(Protocol):
    """An answer that can be a line: a Grounding, Detections, an Answer, …"""

    def as_dict(self) -> dict[str, object]:
        """Plain values of JSON, with `image`, and `expression` or `text` where it was asked one."""


class AnswerFile:
    """A JSON Lines file of answers.

    `made_by` says what gives the answers (verb, model, budget); it stands in a hidden file beside them, and a
    file that something else made is refused with ValueError. A last line that an interruption cut off is
    dropped. `inputs` are never written over.
    """

    def __init__(self, path: Path, made_by: Mapping[str, object], inputs: Iterable[Given] = ()) -> None:
        if path.is_dir():
            raise ValueError(f"{path} is a folder; give the name of a file")
        check_place(path, inputs)
        self.path, beside = path, path.with_name(f".{path.name}.made_by")
        self.done: set[tuple[str, str]] = set()
        if path.exists() and path.stat().st_size:
            self._check_made_by(beside, made_by)
            self._take_up()
        write(beside, json.dumps(dict(made_by), sort_keys=True).encode(), inputs=inputs)
        self._file = path.open("a", encoding="utf-8")

    def _check_made_by(self, beside: Path, made_by: Mapping[str, object]) -> None:
        try:
            before = json.loads(beside.read_text())
        except (OSError, ValueError):
            before = None
        if not isinstance(before, dict):
            raise ValueError(
                f"{self.path} is not a file of answers that can be continued; choose another file"
            )
        other = sorted(key for key in before.keys() | made_by.keys() if before.get(key) != made_by.get(key))
        if other:
            raise ValueError(
                f"{self.path} holds answers of another {' and another '.join(other)}; choose another file"
            )

    def _take_up(self) -> None:
        whole = self.path.read_bytes()
        kept = whole[: whole.rfind(b"\n") + 1]
        for number, line in enumerate(kept.splitlines(), 1):
            try:
                self.done.add(_key(json.loads(line)))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{self.path}:{number}: not an answer of groundling") from error
        if len(kept) < len(whole):
            write(self.path, kept)

    def add(self, answer: Told) -> None:
        """Write one answer, unless it is there; it is in the file when this returns."""
        row = answer.as_dict()
        if (key := _key(row)) in self.done:
            return
        self.done.add(key)
        self._file.write(json.dumps(row, allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """No more answers."""
        self._file.close()


def _key(row: Mapping[str, Any]) -> tuple[str, str]:
    """What an answer is about: the picture's name and the text, which is empty where none was asked."""
    return str(row["image"]), str(row.get("expression", row.get("text", "")))
