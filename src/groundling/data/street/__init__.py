"""Street scenes: our own seeded drawings, with referring expressions that mean exactly one thing.

`scene` makes one, `render` and `jpeg` its picture, `describe` its expressions; `write` fills a folder.
"""

from groundling.data.street.draw import render
from groundling.data.street.expressions import Referring, describe
from groundling.data.street.folder import SPLITS, jpeg, write
from groundling.data.street.scenes import Scene, StreetObject, scene
from groundling.data.street.words import WORDS

__all__ = [
    "SPLITS",
    "WORDS",
    "Referring",
    "Scene",
    "StreetObject",
    "describe",
    "jpeg",
    "render",
    "scene",
    "write",
]
