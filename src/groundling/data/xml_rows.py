"""Pascal VOC's annotation XML, which Flickr30k Entities has too: a size, and objects with a box.

A file with a document type is refused: its entities could fill the memory, and annotations need none.
"""

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from groundling.data.json_rows import Size
from groundling.data.pickles import read_bytes
from groundling.data.sample import Box, DataError

MAX_BYTES = 1 << 20  # the largest official file has a fiftieth of it
_SIDES = ("xmin", "ymin", "xmax", "ymax")


def read(file: Path) -> Element:
    """The root of an XML file."""
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(read_bytes(file, MAX_BYTES), True)
    except (expat.ExpatError, ValueError) as error:
        raise DataError(f"{file}: not an XML file, or damaged ({error})") from error
    return builder.close()


def declared_size(root: Element) -> Size | None:
    """The width and height that a file declares, where it does; some tools write 0 for unknown."""
    texts = [(root.findtext(f"size/{side}") or "").strip() for side in ("width", "height")]
    width, height = (int(text) if text.isdecimal() and len(text) < 9 else 0 for text in texts)
    return (width, height) if width and height else None


def box_of(element: Element) -> Box:
    """The box of an object, in the numbers of the file."""
    x1, y1, x2, y2 = (number(element, f"bndbox/{side}") for side in _SIDES)
    return x1, y1, x2, y2


def number(element: Element, path: str) -> float:
    """A number in an element; DataError for anything else."""
    text = element.findtext(path)
    try:
        return float(text or "")
    except ValueError:
        raise DataError(f"{path} is {text!r}, not a number") from None


def _refuse(*_: object) -> None:
    raise DataError("it has a document type, which annotations do not need")
