"""The arguments of a verb that asks about pictures: pictures first, then words, as shells expand patterns.

    groundling ground photos/*.jpg "the man" "the dog"

A picture that is not there, or that comes after the words, is an error before anything else is looked at.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

STDIN = "-"


class Given(NamedTuple):
    """Pictures (paths, folders, patterns, videos, `-`), and the words to ask about each."""

    pictures: list[str]
    words: list[str]


def parted(arguments: Sequence[str], needs_words: Callable[[], bool] = lambda: True) -> Given:
    """Which arguments are pictures and which are words.

    The first is a picture, and so are those after it that are files, folders, videos or patterns of files. A
    folder or pattern at the end is words nevertheless, if words are needed and there are no others: a folder
    may be called as a thing is. ValueError and FileNotFoundError for pictures that are not there or come
    after the words.
    """
    _check_first(arguments)
    end = 1
    while end < len(arguments) and _is_picture(arguments[end]):
        end += 1
    if 1 < end == len(arguments) and _may_be_words(arguments[-1]) and needs_words():
        end -= 1
    pictures, words = list(arguments[:end]), list(arguments[end:])
    if pictures.count(STDIN) > 1:
        raise ValueError("a picture can be read from stdin once: give - once")
    for word in words:
        _check_words(word)
    return Given(pictures, words)


def one_text(given: Given, what: str) -> str:
    """The one text, the last argument; ValueError that names what it should be (a question) otherwise."""
    if not given.words:
        raise ValueError(f"say {what} after the pictures, in quotes")
    if len(given.words) > 1:
        listed = ", ".join(map(repr, given.words[:3])) + (", …" if len(given.words) > 3 else "")
        raise ValueError(f"give {what} as one text in quotes, after the pictures; given {listed}")
    return given.words[0]


def files(*files: Path | None) -> list[Path]:
    """Those of the files that are given, and are not stdin."""
    return [file for file in files if file is not None and str(file) != STDIN]


def read_file(file: Path | None, given: Given) -> list[str]:
    """Texts of a file if one is given, one a line, or of stdin; errors as of `read_expressions`."""
    from groundling.words.text_files import expressions_in, read_expressions

    if file is None:
        return []
    if str(file) != STDIN:
        return read_expressions(file)
    if STDIN in given.pictures:
        raise ValueError("stdin holds a picture or texts, not both: give - once")
    return expressions_in(read_stdin(), Path("stdin"))


def read_stdin() -> bytes:
    """All of stdin; ValueError where nobody pipes anything into it."""
    if sys.stdin is None or sys.stdin.isatty():
        raise ValueError("- reads stdin, and nothing is piped into it")
    return sys.stdin.buffer.read()


def _check_first(arguments: Sequence[str]) -> None:
    from groundling.runtime.sources import located

    if arguments[0] == STDIN:
        return
    try:
        located(arguments[0])
    except FileNotFoundError as error:
        if any(_is_file(each) for each in arguments[1:]):
            raise FileNotFoundError(f"{error}; pictures come first, then the words") from error
        raise


def _is_picture(argument: str) -> bool:
    """Whether an argument after the first names pictures that are there."""
    from groundling.files import found
    from groundling.runtime.sources import is_pattern, located

    if argument == STDIN or _is_file(argument) or (argument and os.path.isdir(found(argument))):
        return True
    if not is_pattern(argument):
        return False
    try:
        return bool(located(argument))
    except (ValueError, FileNotFoundError):
        return False


def _is_file(argument: str) -> bool:
    """Whether this is the path of a file; a bare word is none if the file of this name is no picture."""
    from groundling.files import found
    from groundling.runtime.sources import is_picture

    path = found(argument)
    return os.path.isfile(path) and (os.sep in argument or bool(path.suffix) or is_picture(path))


def _may_be_words(argument: str) -> bool:
    """Whether somebody may have meant these words, though a folder or file is called so."""
    from groundling.files import found

    return not os.path.isfile(found(argument)) and argument != STDIN and not _looks_like_a_path(argument)


def _looks_like_a_path(text: str) -> bool:
    from groundling.pictures.images import suffixes
    from groundling.runtime.sources import VIDEOS

    in_a_folder = os.sep in text and os.path.isdir(os.path.dirname(text))
    return in_a_folder or text.endswith(os.sep) or Path(text).suffix.lower() in suffixes() | VIDEOS


def _check_words(text: str) -> None:
    """An error where words are the path of a picture: it would be looked for as if it were a thing."""
    from groundling.files import found
    from groundling.runtime.sources import is_url, located

    if _is_file(text) or text == STDIN:
        raise ValueError(f"{text} is a file: pictures come before the words")
    if os.sep in text and os.path.isdir(found(text)):
        raise ValueError(f"{text} is a folder: pictures come before the words")
    if _looks_like_a_path(text) or (is_url(text) and " " not in text):
        located(text)
        raise ValueError(f"{text} names pictures: they come before the words")
