"""Read the pickles in which annotations are published, without running what a pickle can run.

Only plain values come out: lists, tuples, dicts, strings, bytes and numbers; a numpy vector becomes a list. A
pickle that names any other class or function is a DataError, and nothing of it has been called.
"""

import io
import pickle
import struct
from pathlib import Path
from typing import Any

from groundling.data.sample import DataError

MAX_BYTES = 1 << 30
_NUMPY_TYPES = {"f4": "f", "f8": "d", "i4": "i", "i8": "q", "i2": "h", "u1": "B", "u2": "H"}


def read_bytes(file: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of an annotation file, after a look at its size."""
    if not file.is_file():
        raise FileNotFoundError(f"annotation file not found: {file}")
    size = file.stat().st_size
    if size > max_bytes:
        raise DataError(f"{file}: {size:,} bytes; annotation files larger than {max_bytes:,} are refused")
    return file.read_bytes()


def load(data: bytes, file: Path, count: int = 1) -> list[Any]:
    """The first `count` pickles that follow one another in `data`; `file` is named in errors."""
    stream = io.BytesIO(data)
    try:
        return [_PlainUnpickler(stream, encoding="latin1").load() for _ in range(count)]
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    except Exception as error:  # a damaged pickle raises nearly anything, MemoryError and RecursionError too
        raise DataError(f"{file}: not a pickle of annotations, or damaged ({error!r})") from error


class _PlainUnpickler(pickle._Unpickler):
    """Python's own implementation, not the C one.

    The C one keeps its memo in an array as long as the largest index in the file: nine bytes can ask for 64
    GB. This one keeps a dict; the largest official file (29 MB) takes 4 s instead of 1.2 s.
    """

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise DataError(f"the pickle asks for {module}.{name}, which annotations do not need") from None


class _Encode:
    """`_codecs.encode`, with which Python 3 writes bytes into a protocol 2 pickle; latin1 only.

    An object without attributes, not a function: a pickle may set attributes on whatever it was given.
    """

    __slots__ = ()

    def __call__(self, text: str, encoding: str) -> bytes:
        if encoding not in ("latin1", "latin-1"):
            raise DataError(f"the pickle asks for the encoding {encoding!r}; bytes are written as latin1")
        return text.encode("latin1")


class _Dtype:
    """In the place of numpy.dtype: a type code such as f4, and the byte order that its state brings."""

    __slots__ = ("code", "order")

    def __init__(self, code: str, *_: object) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"


class _Vector(list[float]):
    """In the place of numpy.ndarray: the numbers of a one-dimensional array."""

    __slots__ = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, _, raw = state
        if not isinstance(dtype, _Dtype) or dtype.code not in _NUMPY_TYPES or len(shape) != 1:
            raise DataError("the pickle holds an array that is not a vector of numbers")
        data = raw if isinstance(raw, bytes) else raw.encode("latin1")
        self[:] = struct.unpack(f"{dtype.order}{int(shape[0])}{_NUMPY_TYPES[dtype.code]}", data)


class _Reconstruct:
    """In the place of numpy's function that makes the empty array whose state follows."""

    __slots__ = ()

    def __call__(self, *_: object) -> _Vector:
        return _Vector()


_STAND_INS: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _Encode(),
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Vector,
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy._core.multiarray", "_reconstruct"): _Reconstruct(),
}
