"""Read the pickles in which annotations are published, without running what a pickle can run.

Only plain values come out: lists, tuples, dicts, strings, bytes, numbers, and small numpy arrays as tuples. A pickle
that names any other class or function is a DataError, and nothing of it has been called.
"""

import io
import pickle
import struct
from pathlib import Path
from typing import Any

from groundling.data.sample import DataError

MAX_BYTES = 1 << 30
_TYPES = {"f4": "f", "f8": "d", "i4": "i", "i8": "q", "u1": "B", "i2": "h", "u2": "H"}


class _Encode:
    """`_codecs.encode`, which is how Python 3 writes bytes into a protocol 2 pickle; latin1 only.

    Callables for the unpickler are objects without slots, not functions: a pickle can set attributes on what it is given.
    """

    __slots__ = ()

    def __call__(self, text: str, encoding: str) -> bytes:
        if encoding not in ("latin1", "latin-1"):
            raise DataError(f"the pickle asks for the encoding {encoding!r}; bytes are written as latin1")
        return text.encode("latin1")


class _Dtype:
    """Stands in for numpy.dtype: the type code, and the byte order from its state."""

    __slots__ = ("code", "order")

    def __init__(self, code: str, *_: object) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"


class _Array:
    """Stands in for numpy.ndarray: a vector of numbers."""

    __slots__ = ("values",)
    values: tuple[float, ...]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, _, raw = state
        if not isinstance(dtype, _Dtype) or dtype.code not in _TYPES or len(shape) != 1:
            raise DataError("the pickle holds an array that is not a vector of numbers")
        data = raw if isinstance(raw, bytes) else raw.encode("latin1")
        self.values = struct.unpack(f"{dtype.order}{shape[0]}{_TYPES[dtype.code]}", data)

    def __iter__(self) -> Any:
        return iter(self.values)


class _Reconstruct:
    __slots__ = ()

    def __call__(self, *_: object) -> _Array:
        return _Array()


_ALLOWED: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _Encode(),
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy._core.multiarray", "_reconstruct"): _Reconstruct(),
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise DataError(f"the pickle asks for {module}.{name}, which annotations do not need; not run") from None


def load(data: bytes, file: Path, count: int = 1) -> list[Any]:
    """The first `count` pickles that follow one another in `data`, as plain values."""
    stream = io.BytesIO(data)
    try:
        return [_PlainUnpickler(stream, encoding="latin1").load() for _ in range(count)]
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    except Exception as error:  # a damaged pickle raises nearly anything
        raise DataError(f"{file}: not a pickle of annotations, or damaged ({error})") from error


def read_bytes(file: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """The file's bytes, after its size was looked at."""
    size = file.stat().st_size
    if size > max_bytes:
        raise DataError(f"{file}: {size:,} bytes; annotation files larger than {max_bytes:,} are refused")
    return file.read_bytes()
