"""Any picture, file or bytes becomes an RGB image.

`open_image` is the one door for pictures: it turns them as they are displayed, and every bad one is an
`ImageError` (or `FileNotFoundError`) that says what is wrong. Nothing here depends on or changes global state
of Pillow, so threads may share it.
"""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from groundling.files import found
from groundling.pictures.side_parts import bare

ImageSource = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
MAX_PIXELS = 50_000_000

_RANGES = {"I": (255, 65535), "F": (1, 255, 65535)}
_ORIENTATION_TAG = 0x0112
_SUBFILE_TYPE, _REDUCED, _MASK = 254, 1, 4  # TIFF 6.0: what a page is
_SURE = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
_OTHERS = {
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"8BPS": "PSD",
    b"%PDF": "PDF",
    b"<svg": "SVG",
    b"\0\0\1\0": "ICO",
}
_CANNOT = ("unknown pixel mode", "unsupported", "not supported", "not available", "cannot handle")
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = tuple(_TURN[value] for value in (5, 6, 7, 8))


class ImageError(ValueError):
    """A picture that cannot be used; the message says which and why."""


class _DamagedError(ImageError):
    """A picture that is not whole: what stands beside its pixels may be all that is broken."""


def open_image(source: ImageSource, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The picture as an RGB image, upright as its EXIF orientation says.

    CMYK is converted, 16 bits are scaled to 8, transparency is laid on white. An array must be uint8 (H, W,
    3) in RGB. Raises FileNotFoundError for a missing file and ImageError for all else that is wrong: not a
    picture, truncated, animated, more than `max_pixels` (looked at before the pixels are decoded). Damage
    beside the pixels (colour profiles, comments, densities) does not matter.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, max_pixels)
    if isinstance(source, Image.Image):
        return _decode(source, max_pixels, "image")
    with _stream(source) as (stream, name):
        try:
            return _decode(_identify(stream, name), max_pixels, name)
        except _DamagedError as error:
            return _despite_side_parts(stream, max_pixels, name, error)


def other_format(start: bytes) -> str | None:
    """The name of a format of pictures or documents that is not read here, by how a file begins."""
    if start[4:8] == b"ftyp":
        return {b"avif": "AVIF", b"avis": "AVIF"}.get(start[8:12]) or (
            "HEIC" if start[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"heim", b"hevc") else "MP4"
        )
    return next((name for sign, name in _OTHERS.items() if start.startswith(sign)), None)


def suffixes() -> frozenset[str]:
    """Endings of names of pictures that `open_image` reads, lower-cased with their dot."""
    Image.init()
    return frozenset(end for end, kind in Image.EXTENSION.items() if kind in (*FORMATS, "MPO"))


def begins_like_a_picture(start: bytes) -> bool:
    """Whether the first 16 bytes of a file are sure to be those of a picture that `open_image` reads.

    Two letters, as BMP and PPM have them, may begin any text: such files are known by their names.
    """
    return start.startswith(_SURE) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


def name_of(source: ImageSource) -> str:
    """The path of an image that was given by one, else nothing."""
    return str(os.fspath(source)) if isinstance(source, str | os.PathLike) else ""


def upright_size(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(width, height) of an image file as `open_image` would give it, from its header alone.

    A header does not say how a PNG is turned that holds this behind its pixels. Errors are open_image's.
    """
    with _stream(path) as (stream, name):
        try:
            image = _identify(stream, name)
        except _DamagedError as error:
            image = _first(_identify, stream, name, error)
        _check_size(*image.size, max_pixels, name)
        _whole_page(image, name)
        if image.format == "TIFF":  # Pillow has turned its size already
            return image.size
        # Not image.getexif(): a PNG's decodes all pixels to see what comes behind them.
        turned = _turn(lambda: Image.Image.getexif(image)) in _SIDEWAYS
        return (image.height, image.width) if turned else image.size


@contextmanager
def _stream(source: str | os.PathLike[str] | bytes) -> Iterator[tuple[BinaryIO, str]]:
    if isinstance(source, bytes):
        if not source:
            raise ImageError("the image is empty: 0 bytes")
        yield io.BytesIO(source), f"image of {len(source):,} bytes"
        return
    if not isinstance(source, str | os.PathLike):
        given = type(source).__name__
        raise ImageError(f"cannot open {given} as an image; give a path, bytes, a PIL image or a uint8 array")
    name = os.fspath(source)
    try:
        place = found(name)
        _check_file(place, name)
        stream = open(place, "rb")  # noqa: SIM115 (closed below)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ImageError(f"{name}: cannot be read ({error.strerror})") from error
    with stream:
        yield stream, name


def _check_file(path: Path, name: str) -> None:
    if path.is_file():
        if path.stat().st_size == 0:
            raise ImageError(f"{name}: the image file is empty (0 bytes)")
    elif path.exists():
        raise ImageError(f"{name}: is a {'folder' if path.is_dir() else 'special file'}, not an image file")
    elif name.lower().startswith(("http:/", "https:/")):
        raise ImageError(f"{name}: URLs are not fetched; download the image and give its path or bytes")
    else:
        raise FileNotFoundError(f"image file not found: {name}")


def _identify(stream: BinaryIO, name: str) -> Image.Image:
    """Read the header only.

    Like Image.open, without its DecompressionBombWarning: that can only be silenced for the whole process,
    and we have a limit of our own.
    """
    Image.init()
    start = stream.read(16)
    for kind in FORMATS:
        factory, accepts = Image.OPEN[kind]
        if accepts is None or accepts(start) is not True:
            continue
        stream.seek(0)
        try:
            return factory(stream, "")
        except Exception as error:  # plugins raise anything from SyntaxError to struct.error
            if _unsupported(error):
                raise ImageError(
                    f"{name}: a {kind} of a kind that is not supported ({error}); save it as 8-bit RGB"
                ) from error
            raise _DamagedError(f"{name}: begins like {kind} but its header is damaged ({error})") from error
    formats = ", ".join(FORMATS)
    if other := other_format(start):
        raise ImageError(f"{name}: the format {other} is not supported; formats are {formats}")
    raise ImageError(f"{name}: not an image that can be read; formats are {formats}")


def _decode(image: Image.Image, max_pixels: int, name: str) -> Image.Image:
    try:
        _check_size(*image.size, max_pixels, name)
        _whole_page(image, name)
        _check_size(*image.size, max_pixels, name)  # of the page that was chosen
        image.load()
        upright = _upright(_to_rgb(image), image)
        upright.info = {}  # what said how to turn it would turn it again where it is opened again
        return upright
    except ImageError:
        raise
    except Exception as error:  # decoders raise anything from OSError to struct.error
        if _unsupported(error):
            raise ImageError(f"{name}: pixels of a kind that is not supported ({error})") from error
        raise _DamagedError(
            f"{name}: cannot be decoded, the image is truncated or damaged ({error})"
        ) from error


def _unsupported(error: Exception) -> bool:
    """Whether a plugin says that it cannot read such pixels, which is no damage."""
    return isinstance(error, NotImplementedError) or any(sign in str(error).lower() for sign in _CANNOT)


def _whole_page(image: Image.Image, name: str) -> None:
    """Turn to the one picture that a file of several holds; ImageError where there are more.

    Of an MPO the first is the photo, and the rest belongs to it. Of a TIFF pages that are marked as smaller
    copies or as masks are no pictures. A PNG's default picture is the picture, where one frame follows it.
    """
    count = getattr(image, "n_frames", 1)
    if count == 1 or image.format == "MPO":
        return
    if image.format == "TIFF":
        pages = [page for page in range(count) if not _page_kind(image, page) & (_REDUCED | _MASK)]
        if len(pages) > 1 or not pages:
            raise ImageError(f"{name}: has {len(pages) or count} pages; pass one of them as an image")
        image.seek(pages[0])
    elif not (image.format == "PNG" and count == 2 and image.info.get("default_image")):
        raise ImageError(f"{name}: animated with {count} frames; pass one frame")


def _page_kind(image: Image.Image, page: int) -> int:
    image.seek(page)
    kind = image.tag_v2.get(_SUBFILE_TYPE, 0)  # type: ignore[attr-defined]  # a TIFF's
    return kind if isinstance(kind, int) else 0


def _despite_side_parts(stream: BinaryIO, max_pixels: int, name: str, error: ImageError) -> Image.Image:
    """The picture of a file whose pixels are whole and what stands beside them is not, as viewers show it."""
    return _first(lambda part, _: _decode(_identify(part, name), max_pixels, name), stream, name, error)


def _first(
    read: Callable[[BinaryIO, str], Image.Image], stream: BinaryIO, name: str, error: ImageError
) -> Image.Image:
    """What is read of the file without its side parts; the error that there was where that fails as well."""
    for part in bare(stream):
        with suppress(_DamagedError):
            return read(part, name)
    raise error


def _check_size(width: int, height: int, max_pixels: int, name: str) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"{name}: has no pixels ({width}x{height})")
    if width * height > max_pixels:
        pixels = width * height
        raise ImageError(f"{name}: {width}x{height} is {pixels:,} pixels; the limit is {max_pixels:,}")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_eight_bits(np.asarray(image), image.mode)).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _eight_bits(values: NDArray[Any], mode: str) -> NDArray[np.uint8]:
    """Grey values of more than 8 bits scaled to 0..255.

    I;16 is 0..65535. I and F declare no range: it is the smallest of `_RANGES` that holds all values.
    """
    low, high = float(values.min()), float(values.max())
    top = next((top for top in _RANGES.get(mode, (65535,)) if low >= 0 and high <= top), None)
    if top is None:
        raise ImageError(
            f"grey values {low:g} to {high:g} are in neither 0 to 255 nor 0 to 65535; scale them to 0 to 255"
        )
    return np.rint(values * np.float32(255 / top)).astype(np.uint8)


def _upright(rgb: Image.Image, source: Image.Image) -> Image.Image:
    turn = _turn(source.getexif)
    return rgb if turn is None else rgb.transpose(turn)


def _turn(exif: Callable[[], Image.Exif]) -> Image.Transpose | None:
    """What makes an image upright that is stored in another way than it is seen."""
    try:
        return _TURN.get(exif().get(_ORIENTATION_TAG, 1))
    except Exception:  # damaged EXIF: shown as stored, as viewers do
        return None


def _from_array(array: NDArray[Any], max_pixels: int) -> Image.Image:
    if array.ndim == 2:
        raise ImageError(f"grey array of shape {array.shape}; make it RGB: numpy.stack([a] * 3, axis=-1)")
    if array.ndim != 3 or array.shape[2] != 3:
        raise ImageError(f"array of shape {array.shape}; an image is (H, W, 3) in RGB")
    if array.dtype != np.uint8:
        raise ImageError(f"array of {array.dtype}; an image is uint8, 0 to 255")
    _check_size(array.shape[1], array.shape[0], max_pixels, "array")
    return Image.fromarray(np.ascontiguousarray(array))
