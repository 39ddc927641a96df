"""Which files are meant by a path, a folder or a pattern; what is left out of a folder is counted by kind.

A folder's pictures are what `open_image` reads: files of such a name, or that begin as such a picture does.
"""

import fnmatch
import glob
import importlib.util
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from groundling.files import Given, found, same_file
from groundling.pictures.images import begins_like_a_picture, other_format, suffixes

VIDEOS = frozenset(
    (
        ".mp4",
        ".m4v",
        ".mov",
        ".avi",
        ".mkv",
        ".webm",
        ".mpg",
        ".mpeg",
        ".3gp",
        ".mts",
        ".m2ts",
        ".wmv",
        ".flv",
    )
)
NEEDS_AV = "videos need the package av; pip install 'groundling[video]' brings it"
# What systems and programs leave beside pictures, as hidden files do.
_THEIRS = ("__macosx", "@eadir", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin")
_URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
_NOUNS = {
    "broken link": ("broken link", "broken links"),
    "pipe or device": ("pipe or device", "pipes or devices"),
    "video": (f"video ({NEEDS_AV})", f"videos ({NEEDS_AV})"),
}
_KINDS = 6  # of files left out that are named; the rest is a number


@dataclass(frozen=True)
class Entry:
    """A picture or video; `below` is its path in the folder that was named, of a file its name."""

    path: Path
    below: Path


class Sources:
    """The pictures and videos that these paths, folders (with their subfolders) and patterns mean.

    In the order of the sources, inside a folder or pattern in the order of names. Linked folders are
    followed; each real folder and file comes once. without: a file or folder that is written to, and so not
    read. ValueError where there is nothing to read, FileNotFoundError where there is no such file.
    """

    def __init__(self, sources: Sequence[str], without: Sequence[Given] = ()) -> None:
        self.named, self.entries = tuple(sources), list[Entry]()
        self._without = without
        self._folders, self._files = set[str](), dict[str, str]()
        self._left, self._formats = Counter[str](), Counter[str]()
        for source in sources:
            self._take(source)
        if not self.entries:
            left = f"; left out: {self._kinds()}" if self.left else ""
            raise ValueError(f"no picture or video that can be read in {self._named()}{left}")

    @property
    def left(self) -> int:
        """How many files and folders are left out."""
        return self._left.total() + self._formats.total()

    def told(self) -> str:
        """What is left out, in one line; nothing where all is taken."""
        if not self.left:
            return ""
        files = "1 file" if self.left == 1 else f"{self.left} files"
        return f"{self._named()}: {files} left out: {self._kinds()}"

    def _named(self) -> str:
        return " ".join(self.named[:3]) + (" …" if len(self.named) > 3 else "")

    def _kinds(self) -> str:
        """What is left out: formats of pictures that are not supported, then other kinds, most first."""
        formats = [f"{number} {name}" for name, number in sorted(self._formats.items())]
        alone = f"format{'s' if len(formats) > 1 else ''} not supported"
        kinds = [f"{' and '.join(formats)} ({alone})"] if formats else []
        kinds += [f"{number} {_of(name, number)}" for name, number in self._left.most_common(_KINDS)]
        others = self._left.total() - sum(number for _, number in self._left.most_common(_KINDS))
        return ", ".join([*kinds, *([f"{others} of other kinds"] if others else [])])

    def _take(self, source: str) -> None:
        first, pattern = len(self.entries), is_pattern(source)
        for path in located(source):
            if pattern and self._is_written(path):
                self._leave_written(path)
            elif self._is_written(path):
                raise ValueError(f"{path} is read here, and would be written over; choose another place")
            elif path.is_dir():
                self._walk(path)
            elif pattern:
                self._offer(Entry(path, Path(path.name)))
            else:  # it was named: whoever opens it says what is wrong with it
                self._add(Entry(path, Path(path.name)))
        self.entries[first:] = sorted(self.entries[first:], key=lambda entry: entry.path)

    def _walk(self, top: Path) -> None:
        """All of a folder; real files and folders before links, so that what has two names keeps its own."""
        folders, linked_folders, linked = [top], list[Path](), list[Path]()
        while folders or linked_folders:
            folder = folders.pop() if folders else linked_folders.pop(0)
            if (real := os.path.realpath(folder)) in self._folders:
                continue
            self._folders.add(real)
            try:
                inside = sorted(os.scandir(folder), key=lambda each: each.name)
            except OSError as error:
                if folder == top:
                    raise ValueError(f"{top}: cannot be read ({error.strerror})") from error
                self._left["unreadable"] += 1
                continue
            for each in inside:
                path = folder / each.name
                if self._is_written(path):
                    self._leave_written(path)
                elif is_hidden(each.name):
                    self._left["hidden"] += 1
                elif each.is_dir():
                    (linked_folders if each.is_symlink() else folders).append(path)
                elif each.is_symlink():
                    linked.append(path)
                else:
                    self._offer(Entry(path, path.relative_to(top)))
        for path in linked:
            self._offer(Entry(path, path.relative_to(top)))

    def _offer(self, entry: Entry) -> None:
        """Take a file if it can be read, else count it."""
        path = entry.path
        if not path.is_file():  # a pipe would keep us waiting
            self._left["broken link" if path.is_symlink() else "pipe or device"] += 1
        elif is_video(path) and importlib.util.find_spec("av") is None:
            self._left["video"] += 1
        elif is_picture(path) or is_video(path):
            self._add(entry)
        else:
            self._leave(path)

    def _leave(self, path: Path) -> None:
        try:
            kind = other_format(_start(path))
        except OSError:
            self._left["unreadable"] += 1
            return
        if kind and kind != "MP4":  # which is also what parts of videos begin with
            self._formats[kind] += 1
        else:
            self._left[path.suffix.lower() or "without an ending"] += 1

    def _add(self, entry: Entry) -> None:
        real, path = os.path.realpath(entry.path), os.path.abspath(entry.path)
        if real not in self._files:
            self._files[real] = path
            self.entries.append(entry)
        elif self._files[real] != path:
            self._left["read already under another name"] += 1

    def _is_written(self, path: Path) -> bool:
        return any(same_file(path, each) for each in self._without)

    def _leave_written(self, path: Path) -> None:
        """A folder of earlier answers is counted; a file of them needs no word."""
        if path.is_dir():
            self._left[f"in {path}, which is written to"] += sum(len(names) for _, _, names in os.walk(path))


def _of(kind: str, number: int) -> str:
    """A kind of files, of so many."""
    one, many = _NOUNS.get(kind, (kind, kind))
    return one if number == 1 else many


def is_many(source: str) -> bool:
    """Whether this names several pictures: a folder, a video or a pattern."""
    return os.path.isdir(found(source)) or is_video(source) or is_pattern(source)


def is_video(path: Given) -> bool:
    """Whether a file is a video, by its name."""
    return Path(path).suffix.lower() in VIDEOS


def is_picture(path: Given) -> bool:
    """Whether a file is a picture that can be read, by its name or by how it begins."""
    if Path(path).suffix.lower() in suffixes():
        return True
    try:
        return begins_like_a_picture(_start(Path(path)))
    except OSError:
        return False


def is_pattern(source: str) -> bool:
    """Whether this is a pattern; the name of what exists is none, whatever its letters."""
    return glob.has_magic(source) and not os.path.exists(found(source))


def is_url(source: str) -> bool:
    """Whether this begins as an address of the web does."""
    return _URL.match(source) is not None


def is_hidden(name: str) -> bool:
    """Whether a file or folder is none of its owner's pictures: hidden, or left there by a system."""
    return name.startswith(".") or name.lower() in _THEIRS


def located(source: str) -> list[Path]:
    """The files and folders that a path or pattern means; FileNotFoundError if there are none.

    ValueError for a URL, and for an empty name, as of a variable of a shell that is not set.
    """
    if not source:
        raise ValueError("an empty name is given where a picture, a folder or a video should be")
    path = found(source)
    if not os.path.exists(path) and source.startswith("~"):
        path = found(os.path.expanduser(source))
    if os.path.exists(path):
        return [path]
    if is_url(source):
        raise ValueError(f"{source}: URLs are not fetched; download the picture and give its path")
    if os.path.islink(path):
        raise FileNotFoundError(f"not found: {source} (a link to {os.readlink(path)}, which is not there)")
    if not glob.has_magic(source):
        raise FileNotFoundError(f"not found: {source}")
    matches = list(_expanded(path))
    if not matches:
        raise FileNotFoundError(f"not found: {source} (no file or folder has a name of this pattern)")
    return matches


def _expanded(pattern: Path) -> Iterator[Path]:
    """What a shell makes of a pattern, but for parts that exist as they are written: they are no pattern."""
    parts = pattern.parts[1:] if pattern.anchor else pattern.parts
    once = [part for part, before in zip(parts, ("", *parts), strict=False) if not part == before == "**"]
    yield from _matches(Path(pattern.anchor), once)


def _matches(place: Path, parts: Sequence[str]) -> Iterator[Path]:
    if not parts:
        yield place
        return
    name, rest = parts[0], parts[1:]
    if name == "**":
        for folder in _tree(place):
            yield from _matches(folder, rest or ("*",))
        return
    literal = found(place / name)
    if os.path.lexists(literal):
        yield from _matches(literal, rest)
    elif glob.has_magic(name):
        wanted = unicodedata.normalize("NFC", name)
        for own in _names(place):
            if fnmatch.fnmatchcase(unicodedata.normalize("NFC", own), wanted) and _shown(own, name):
                yield from _matches(place / own, rest)


def _shown(name: str, pattern: str) -> bool:
    return not is_hidden(name) or (name.startswith(".") and pattern.startswith("."))


def _tree(top: Path) -> Iterator[Path]:
    """A folder and all below it, each real one once."""
    seen, folders = set[str](), [top]
    while folders:
        folder = folders.pop(0)
        if (real := os.path.realpath(folder)) not in seen:
            seen.add(real)
            yield folder
            folders += [folder / n for n in _names(folder) if not is_hidden(n) and (folder / n).is_dir()]


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _start(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(16)
