"""A result of a protocol as plain values for one line of JSON."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass

DIGITS = 4


def printed(result: object, names: Mapping[str, str] | None = None) -> dict[str, object]:
    """The fields of a frozen result in their order, numbers rounded, and some under the field's usual names.

    names: {"prec_at_1": "prec@1"}, for what is no Python name; also used for results inside the result.
    """
    assert is_dataclass(result)
    names = names or {}
    return {
        names.get(field.name, field.name): _plain(getattr(result, field.name), names)
        for field in fields(result)
    }


def _plain(value: object, names: Mapping[str, str]) -> object:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, names) for key, item in value.items()}
    return printed(value, names) if is_dataclass(value) else value
