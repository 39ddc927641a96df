"""Which device to compute on, looked at before anything is loaded, and its memory."""

import contextlib


def checked(name: str) -> str:
    """The name of a device that is there; ValueError says what is."""
    import torch  # here, since the command line must not wait for it before it is needed

    try:
        device = torch.device(str(name))
    except RuntimeError as error:
        raise ValueError(f"no device {name!r}; give cpu, cuda or cuda:N") from error
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ValueError(f"no device {name!r}: PyTorch {torch.__version__} finds {count} GPUs; use cpu")
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device {name!r} is not supported; give cpu, cuda or cuda:N")
    return str(name)


def return_memory() -> None:
    """Give freed memory back to the system, where the C library can (glibc).

    It keeps what lies between blocks still in use: of a cache that lets many go it holds on to a tenth.
    """
    import ctypes

    with contextlib.suppress(OSError, AttributeError):  # another library, or one without such a call
        ctypes.CDLL(None).malloc_trim(0)
