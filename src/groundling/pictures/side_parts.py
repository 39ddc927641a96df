"""Picture files without what stands beside their pixels: colour profiles, comments, times, densities.

A damaged comment must not cost a picture that every viewer shows.
"""

import io
from collections.abc import Iterator
from typing import BinaryIO

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"
_PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")  # chunks of a PNG without which there is no picture
_TURN, _CLEAR = b"eXIf", b"tRNS"  # how it lies, and which colour is clear: kept where they can be read
_FIRST_APP, _LAST_APP, _COMMENT = 0xE0, 0xEF, 0xFE
_JFIF, _EXIF, _ADOBE = 0xE0, 0xE1, 0xEE  # Adobe's segment says how colours are coded
_SCAN = 0xDA


def bare(stream: BinaryIO) -> Iterator[BinaryIO]:
    """The file again with less and less beside its pixels; nothing for a format that has no such parts."""
    stream.seek(0)
    data = stream.read()
    if data.startswith(PNG):
        for beside in ((_TURN, _CLEAR), (_CLEAR,), ()):
            yield io.BytesIO(_png(data, (*_PIXELS, *beside)))
    elif data.startswith(JPEG):
        for kept in ((_JFIF, _EXIF, _ADOBE), (_JFIF, _ADOBE)):
            yield io.BytesIO(_jpeg(data, kept))


def _png(data: bytes, kept: tuple[bytes, ...]) -> bytes:
    """The signature and the chunks of these types; what is cut off stays cut off, for its reader to say."""
    parts, place = [PNG], len(PNG)
    while place + 8 <= len(data):
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        end = place + 12 + length
        if kind in kept:
            parts.append(data[place:end])
        place = end
    return b"".join(parts)


def _jpeg(data: bytes, kept: tuple[int, ...]) -> bytes:
    """The segments before the pixels, of those that applications add only these, and all that follows."""
    parts, place = [JPEG], len(JPEG)
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != _SCAN:
        marker, end = data[place + 1], place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        beside = _FIRST_APP <= marker <= _LAST_APP or marker == _COMMENT
        if not beside or marker in kept:
            parts.append(data[place:end])
        place = end
    return b"".join([*parts, data[place:]])
