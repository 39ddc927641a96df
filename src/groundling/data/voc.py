"""Pascal VOC: an XML file an image, with a size and the boxes of its objects.

    ROOT/Annotations/000005.xml   ROOT/JPEGImages/000005.jpg   ROOT/ImageSets/Main/val.txt
or ROOT/annotations/*.xml and ROOT/images/*.jpg, as labelImg's users have them, or all of them in ROOT.
Without ImageSets/Main there is one split, "all". Boxes are the numbers of the file: the official VOC counts
pixels from 1 and other tools from 0, which no file says. Source: host.robots.ox.ac.uk/pascal/VOC, development
kit.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from xml.etree.ElementTree import Element

from groundling.data import xml_rows
from groundling.data.caption import Caption
from groundling.data.coco import Instances, captions_of
from groundling.data.fitting import Fitting
from groundling.data.image_folder import ImageFolder
from groundling.data.labelled import Entry, Labelled, gathered
from groundling.data.rejects import Rejects
from groundling.data.sample import Box, DataError, check_split
from groundling.words.text_files import read_lines

ALL = "all"
_FOLDERS = ("Annotations", "annotations", ".")
_IMAGES = ("JPEGImages", "images", "Images", ".")


def load(root: Path, split: str, rejects: Rejects, need_images: bool = True) -> Instances:
    """All images of a split, also those without objects; a file that cannot be read is left out."""
    check_split(root, split, splits, "no Pascal VOC")
    folder = ImageFolder.among([root / name for name in _IMAGES], look=need_images)
    named = ((file.name, file) for file in _files(root, split, rejects))
    entries = rejects.usable(named, lambda file: _entry(file, folder))
    return gathered(entries, Fitting(rejects, need_images), rejects)


def stream(root: Path, split: str, rejects: Rejects, need_images: bool = True) -> Iterator[Caption]:
    """A caption for each image and category, as of COCO."""
    return captions_of(load(root, split, rejects, need_images))


def splits(root: Path) -> list[str]:
    """The splits that there are."""
    if (root / "Sentences").is_dir() or not _annotations(root):
        return []  # the first is Flickr30k Entities, whose annotations have the same form
    return sorted(file.stem for file in _lists(root)) or [ALL]


def _annotations(root: Path) -> Path | None:
    """The folder of the XML files."""
    places = (root / name for name in _FOLDERS)
    return next((place for place in places if _holds_some(place)), None)


def _holds_some(folder: Path) -> bool:
    """Whether a folder has such files, judged by its first XML file."""
    try:
        first = next(iter(sorted(folder.glob("*.xml"))), None)
        return first is not None and (folder.name in _FOLDERS or xml_rows.read(first).tag == "annotation")
    except DataError:
        return False


def _lists(root: Path) -> list[Path]:
    """The files that say which images are of which split; "cat_val.txt" and its like are of one category."""
    files = (root / "ImageSets" / "Main").glob("*.txt")
    return [file for file in files if "_" not in file.stem]


def _files(root: Path, split: str, rejects: Rejects) -> Iterator[Path]:
    folder = _annotations(root)
    assert folder is not None  # or there would be no such split
    lists = {file.stem: file for file in _lists(root)}
    if split not in lists:
        yield from sorted(folder.glob("*.xml"))
        return
    for number, line in read_lines(lists[split]):
        if name := line.split()[0] if line.split() else "":
            file = folder / f"{name}.xml"
            if file.is_file():
                yield file
            else:
                rejects.add(f"{lists[split].name}:{number}", DataError(f"{file} is not there"))


def _entry(file: Path, folder: ImageFolder) -> Entry:
    root = xml_rows.read(file)
    objects = list(root.iterfind("object"))
    if root.tag != "annotation":
        raise DataError(f"it is a {root.tag!r}, not an annotation of Pascal VOC")
    found = [_labelled(each, f"{file.name} object {n}") for n, each in enumerate(objects, 1)]
    return Entry(_image(root, file, folder), xml_rows.declared_size(root), found)


def _image(root: Element, file: Path, folder: ImageFolder) -> Path:
    """The image that a file names, or the one of its own name."""
    given = (root.findtext("filename") or "").strip()
    names = [given, *(f"{file.stem}{suffix}" for suffix in (".jpg", ".jpeg", ".png", ".JPG"))]
    for name in filter(None, names):
        with suppress(DataError):
            return folder.path(name)
    return folder.path(given or names[1])


def _labelled(element: Element, row: str) -> Labelled:
    def box() -> Box:
        return xml_rows.box_of(element)

    return Labelled(element.findtext("name") or "", box, row)
