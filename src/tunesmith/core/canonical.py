"""Canonical JSON (RFC 8785) and the digests made of it: equal values have equal bytes.

What has no stable bytes is refused rather than guessed at: a live object, a NaN, a set.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import rfc8785

EXACT = 2**53
"""Integers below this are doubles exactly."""


def one_form(name: str) -> str:
    """A name as it is compared: a letter and its accent are one character, as people type it (NFC),
    or two, as some systems write it (NFD), and mean the same person."""
    return unicodedata.normalize("NFC", name.strip())


def plain(value: Any, where: str = "value") -> Any:
    """`value` as JSON types only.

    Dataclasses and pydantic models become objects, tuples become arrays, and a Decimal becomes a
    string (a binary float would not keep its digits).

    Raises:
        TypeError: `value`, or something in it, has no stable bytes; the message says where.
    """
    match value:
        case None | bool() | str():
            return value
        case int():
            if abs(value) >= EXACT:  # RFC 8785 numbers are doubles
                raise TypeError(f"{where} is {value}, which a double cannot hold; use a string")
            return value
        case float():
            if not math.isfinite(value):
                raise TypeError(f"{where} is {value!r}, which has no canonical form")
            return value
        case Decimal():
            return str(value)
        case Mapping():
            for key in value:
                if not isinstance(key, str):
                    raise TypeError(f"{where} has the key {key!r}; keys must be strings")
            return {key: plain(item, f"{where}.{key}") for key, item in value.items()}
        case bytes() | bytearray():
            raise TypeError(f"{where} is bytes; store them as a blob and refer to it")
        case Sequence():
            return [plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain(getattr(value, field.name), f"{where}.{field.name}")
            for field in dataclasses.fields(value)
        }
    pydantic = sys.modules.get("pydantic")  # whoever has a model has imported it
    if pydantic is not None and isinstance(value, pydantic.BaseModel):
        return plain(value.model_dump(mode="python"), where)
    raise TypeError(f"{where} is a {type(value).__name__}, which has no stable bytes")


def canonical_json(value: Any) -> bytes:
    """The RFC 8785 bytes of `value`.

    >>> canonical_json({"b": 1.0, "a": (True, None)})
    b'{"a":[true,null],"b":1}'
    """
    return rfc8785.dumps(plain(value))


def sha256(data: bytes) -> str:
    """The hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def draw(what: str) -> bytes:
    """A number drawn for `what` alone, to sort by: what is added later changes no other draw.

    `what` holds the seed, and whatever else tells one drawing from another.
    """
    return hashlib.sha256(what.encode()).digest()


def fingerprint(value: Any) -> str:
    """The SHA-256 of the canonical JSON of `value`."""
    return sha256(canonical_json(value))


def parse(data: bytes) -> Any:
    """The value of canonical JSON `data`; `canonical_json(parse(data)) == data`."""
    return _DECODER.decode(data.decode())


def _number(digits: str) -> int | float:
    number = int(digits)
    return number if abs(number) < EXACT else float(digits)


_DECODER = json.JSONDecoder(parse_int=_number)  # to make one takes as long as to read a line
