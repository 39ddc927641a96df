"""Reading a text file: UTF-8, with or without a byte order mark; only \\n and \\r\\n end a line.

Whatever else Python's own readers take for the end of a line (U+2028, \\x0b, \\x85, a lone \\r) is a
character of it, as it is in the text editors that people count lines with.
"""

import codecs
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from groundling.words.text import normalised, read_words

_MARKS = {  # the longer ones first: UTF-32 begins as UTF-16 does
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
LONGEST = 1 << 28  # bytes of a line


def read_text(file: Path) -> str:
    """All of a text file; errors as those of `read_lines`."""
    return decoded(file.read_bytes(), file)


def read_lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file without their ends, each with its number from 1; one is held at a time.

    ValueError, FILE:LINE, for a line that is not UTF-8; one that names the file's encoding for a file in
    UTF-16 or UTF-32. FileNotFoundError for no file.
    """
    for number, line in raw_lines(file):
        yield number, line_text(line, f"{file}:{number}: ")


def read_expressions(file: Path) -> list[str]:
    """The expressions of a text file, one a line; lines that are blank are none.

    ValueError, FILE:LINE, for a line without words, and for a file without expressions.
    """
    return _expressions(read_lines(file), file)


def expressions_in(data: bytes, file: Path) -> list[str]:
    """As `read_expressions`, of bytes that were read already."""
    return _expressions(enumerate(split_lines(decoded(data, file)), 1), file)


def _expressions(lines: Iterable[tuple[int, str]], file: Path) -> list[str]:
    found = []
    for number, line in lines:
        try:
            if normalised(line).text:
                found.append(read_words(line).original.strip())
        except ValueError as error:
            raise ValueError(f"{file}:{number}: {error}") from error
    if not found:
        raise ValueError(f"{file} holds no expressions; write one a line")
    return found


def raw_lines(file: Path, longest: int = LONGEST) -> Iterator[tuple[int, bytes]]:
    """As `read_lines`, in bytes, for those whose one bad line costs no other: `line_text` reads each."""
    with open(file, "rb") as handle:
        _skip_mark(handle, file)
        number = 0
        while line := handle.readline(longest + 1):
            number += 1
            if len(line) > longest:
                raise ValueError(f"{file}:{number}: a line of more than {longest:,} bytes")
            yield number, line


def line_text(line: bytes, place: str = "") -> str:
    """A line without its end; ValueError, after `place`, for what is not UTF-8."""
    return _without_end(_decoded(line, place))


def open_text(file: Path) -> TextIO:
    """A text file for a reader of its own, such as csv's; ends of lines are as they stand in it.

    ValueError for a file in UTF-16 or UTF-32; UnicodeDecodeError, a ValueError, for what is not UTF-8, when
    it is read.
    """
    handle = open(file, "rb")  # noqa: SIM115  # closed with what is returned
    try:
        _skip_mark(handle, file)
    except BaseException:
        handle.close()
        raise
    return io.TextIOWrapper(handle, encoding="utf-8", newline="\n")


def decoded(data: bytes, file: Path) -> str:
    """The text of a file whose bytes were read already; errors as those of `read_lines`."""
    handle = io.BytesIO(data)
    _skip_mark(handle, file)
    return "".join(_decoded(line, f"{file}:{number}: ") for number, line in enumerate(handle, 1))


def split_lines(text: str) -> list[str]:
    """The lines of a text by the same rule, without their ends."""
    return [_without_end(line) for line in re.findall(r"[^\n]*\n|[^\n]+", text)]


def _skip_mark(handle: BinaryIO, file: Path) -> None:
    """Go behind a byte order mark of UTF-8; ValueError for one of another encoding."""
    start = handle.read(4)
    for mark, encoding in _MARKS.items():
        if start.startswith(mark):
            raise ValueError(f"{file} is in {encoding}; save it in UTF-8")
    if b"\0" in start:  # no text begins so, but letters of two bytes do
        raise ValueError(f"{file} is not text in UTF-8 but perhaps in UTF-16; save it in UTF-8")
    handle.seek(len(codecs.BOM_UTF8) if start.startswith(codecs.BOM_UTF8) else 0)


def _decoded(line: bytes, place: str) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        wrong = line[error.start]
        raise ValueError(f"{place}not text in UTF-8 (byte 0x{wrong:02x}); save the file in UTF-8") from error


def _without_end(line: str) -> str:
    return line[:-2] if line.endswith("\r\n") else line.removesuffix("\n")
