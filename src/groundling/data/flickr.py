"""Flickr30k Entities as it is published: captions whose phrases lead to the boxes of chains.

    ROOT/Sentences/1000092795.txt   ROOT/Annotations/1000092795.xml   ROOT/{train,val,test}.txt
    ROOT/flickr30k-images/1000092795.jpg, or flickr30k_images, or simply images

A sentence marks its phrases, `[/EN#6/people A man] in [/EN#7/clothing a hat] .`; an XML file has the boxes of
each number, counted from 1 and made to count from 0 here. Phrases without a box (what cannot be seen, scenes)
are left out of a caption, as they are in the field's evaluation. Source of the rules:
BryanPlummer/flickr30k_entities.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from groundling.data import xml_rows
from groundling.data.caption import Caption, Phrase
from groundling.data.fitting import Fitting
from groundling.data.image_folder import ImageFolder
from groundling.data.pickles import read_bytes
from groundling.data.rejects import Rejects
from groundling.data.sample import Box, DataError, check_split
from groundling.words.text_files import decoded, split_lines

Boxes = Mapping[str, Sequence[Box]]


def stream(
    root: Path, split: str, rejects: Rejects, need_images: bool = True, merged: bool = False
) -> Iterator[Caption]:
    """The captions of a split, image by image.

    A phrase has all boxes of its chain (evaluated as ANY-BOX), or with `merged` the one that holds them all
    (MERGED-BOXES). Raises FileNotFoundError, or ValueError for an unknown split.
    """
    names = _names(root, split)
    places = [root / name for name in ("flickr30k-images", "flickr30k_images", "images")]
    folder, fitting = ImageFolder.among(places, look=need_images), Fitting(rejects, need_images)
    for name in names:
        try:
            image = folder.path(f"{name}.jpg")
            sentences = split_lines(_text(root / "Sentences" / f"{name}.txt"))
            boxes = _boxes(root / "Annotations" / f"{name}.xml", image, fitting, rejects)
        except (DataError, FileNotFoundError) as error:
            rejects.add(f"image {name}", error)
            continue
        chains = {chain: [_hull(several)] for chain, several in boxes.items()} if merged else boxes
        rows = ((f"{name}-{n}", line) for n, line in enumerate(sentences) if line.strip())
        for identity, line in rows:
            try:
                yield _caption(identity, image, line, chains)
            except DataError as error:
                rejects.add(f"sentence {identity}", error)


def splits(root: Path) -> list[str]:
    """The splits that there are."""
    if not (root / "Sentences").is_dir():
        return []
    return [name for name in ("train", "val", "test") if (root / f"{name}.txt").is_file()]


def _names(root: Path, split: str) -> list[str]:
    check_split(root, split, splits, "no Flickr30k Entities")
    return _text(root / f"{split}.txt").split()


def _text(file: Path) -> str:
    try:
        return decoded(read_bytes(file, xml_rows.MAX_BYTES), file)
    except ValueError as error:
        raise DataError(str(error)) from error


def _caption(identity: str, image: Path, line: str, chains: Boxes) -> Caption:
    text, marks = _parsed(line)
    phrases = (
        Phrase(((begin, end),), tuple(chains[chain]), category=category)
        for begin, end, chain, category in marks
        if chain in chains
    )
    return Caption(identity, image, text, tuple(phrases))


def _parsed(line: str) -> tuple[str, list[tuple[int, int, str, str | None]]]:
    """The text of a marked sentence; begin, end, chain and category of its phrases."""
    text, marks = "", list[tuple[int, int, str, str | None]]()
    chain: str | None = None
    begin, category = 0, None
    for token in line.split():
        if chain is None and token.startswith("[/"):
            chain, category = _mark(token)
            begin = len(text) + bool(text)
            continue
        closes = chain is not None and token.endswith("]")
        text += " " * bool(text) + token.removesuffix("]" * closes)
        if closes:
            marks.append((begin, len(text), str(chain), category))
            chain = None
    if chain is not None:
        raise DataError(f"phrase {chain} is not closed")
    return text, marks


def _mark(token: str) -> tuple[str, str | None]:
    """Chain and category of what opens a phrase, [/EN#283585/people or [/EN#0/notvisual."""
    _, name, *kinds = [*token.split("/"), ""]
    if not name.startswith("EN#") or not name[3:].isalnum():
        raise DataError(f"{token!r} opens no phrase; [/EN#NUMBER/CATEGORY would")
    return name[3:], "/".join(filter(None, kinds)) or None


def _boxes(file: Path, image: Path, fitting: Fitting, rejects: Rejects) -> Boxes:
    """The boxes of each chain of an image; none of a chain of which one cannot be used.

    A chain that has lost one of two boxes would look like one that means a single thing.
    """
    found: dict[str, list[Box]] = {}
    broken: set[str] = set()
    content = xml_rows.read(file)
    size = xml_rows.declared_size(content)
    for number, element in enumerate(content.iterfind("object")):
        if element.find("bndbox") is None:
            continue
        chains = [(name.text or "").strip() for name in element.iterfind("name")]
        try:
            box = fitting.box(_box(element), image, size, f"{file.name} object {number}")
        except DataError as error:
            rejects.add(f"{file.name} object {number}", error)
            broken.update(chains)
            continue
        for chain in chains:
            found.setdefault(chain, []).append(box)
    return {chain: boxes for chain, boxes in found.items() if chain not in broken}


def _box(element: Element) -> Box:
    x1, y1, x2, y2 = xml_rows.box_of(element)
    return x1 - 1, y1 - 1, x2 - 1, y2 - 1


def _hull(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds them all."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)
