"""The shapes in a file of the Open Data Contract Standard: what has another one is an error that
says where."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from tunesmith.core.errors import DataError


def known(given: Mapping[str, Any], where: str, keys: Collection[str]) -> None:
    """Raise unless each key of `given` is one of `keys`."""
    for key in given:
        if key not in keys:
            near = difflib.get_close_matches(str(key), keys, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "take it out: nobody would check it"
            raise bad(where, f"the key {key!r} is not read here", hint)


def flag(given: Mapping[str, Any], where: str, key: str) -> bool:
    """What is said of `key`, true or false; false where nothing is."""
    value = given.get(key, False)
    if not isinstance(value, bool):
        raise bad(where, f"{key} {value!r} is neither true nor false", "write true or false")
    return value


def mapping(value: Any, where: str) -> Mapping[str, Any]:
    """`value`, which is keys and values."""
    if not isinstance(value, dict):
        raise bad(where, f"{str(value)[:40]!r} where keys and values belong", "see the standard")
    return value


def listed(value: Any, where: str) -> list[Any]:
    """`value`, which is a list."""
    if not isinstance(value, list):
        raise bad(where, f"{str(value)[:40]!r} where a list belongs", "see the standard")
    return value


def bad(where: str, what: str, remedy: str) -> DataError:
    """What is wrong, where, and what to write."""
    return DataError(f"{where}: {what}", remedy=remedy)
