"""The rows of CSV files by their header; what is wrong with a file is a DataError that names it."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from groundling.data.sample import DataError
from groundling.words.text_files import open_text

Row = Mapping[str, str]


def rows(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, Row]]:
    """The rows of a file, each with its line; DataError if its header lacks a column."""
    read = lines(file)
    _, header = next(read, (0, []))
    missing = [column for column in columns if column not in header]
    if missing:
        raise DataError(f"{file}: has no column {', '.join(missing)}; its first line is its header")
    for number, line in read:
        yield f"line {number}", dict(zip(header, [*line, *[""] * len(header)], strict=False))


def lines(file: Path, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """The lines of a file that hold something, each with its number."""
    try:
        handle = open_text(file)
    except ValueError as error:
        raise DataError(str(error)) from error
    with handle:
        reader = csv.reader(handle, delimiter=delimiter)
        try:
            for line in reader:
                if line:
                    yield reader.line_num, line
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{file}:{reader.line_num}: not CSV, or damaged ({error})") from error
