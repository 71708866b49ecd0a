"""Records as JSON: read so that nothing is guessed, and written so that equal records are equal.

Nearly all records are flat, and one of their lines is read and written by a parser in machine code.
It lets things pass that ours does not (of two fields with one name the last, an integer that it
has to round), so what could be one of these goes the slow way, as does what it refuses: there the
reason is found. Which way a record goes changes nothing of the result.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson

from tunesmith.stages.ingest.entry import MAX_ROW_BYTES, Unreadable

_PLAIN = frozenset({str, int, float, bool, type(None)})
_LEAST, _MOST = 1e-3, 1e15
"""Between these both ways write a number alike, and none of them is an integer that was rounded."""


def read(text: bytes) -> Any:
    """The value that a JSON text says.

    Raises:
        UnicodeDecodeError: the text is not UTF-8.
        Unreadable: it has half of a character pair, a number that is too large, or too many levels.
        ValueError, RecursionError: it is no JSON, an object in it has two fields with one name, or
            a number in it is none that JSON has.
    """
    fields = _flat_object(text)
    return _read_with_care(text.decode()) if fields is None else fields


def parse(text: str) -> Any:
    """The value that a JSON text says, whether or not it can be written again.

    Raises:
        ValueError, RecursionError: see `read`.
    """
    return _decode(text)


def write(fields: Mapping[str, Any]) -> str:
    """A record as JSON, its fields in the order of their names.

    Raises:
        ValueError, RecursionError: JSON has no such number, or the record is too deep.
    """
    if _are_plain(fields.values(), set(map(type, fields.values()))):
        try:
            return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS).decode()
        except TypeError:  # an integer of more than 64 bits, half of a character pair
            pass
    return _encode(fields)


def identify(fields: Mapping[str, Any]) -> bytes:
    """A record that does not stand as text in its file, as the JSON that identifies it.

    Raises:
        Unreadable: it is too large, has half of a character pair, or a number that JSON has not.
    """
    try:
        data = write(fields).encode()
    except UnicodeEncodeError:
        raise Unreadable("not-text", "has half of a character pair", repr(fields)) from None
    except (ValueError, RecursionError) as error:
        raise Unreadable("bad-value", f"no JSON: {error}", repr(fields)) from None
    if len(data) > MAX_ROW_BYTES:
        raise Unreadable("too-large", f"a row may have {MAX_ROW_BYTES} bytes", repr(data[:60]))
    return data


def flat_objects(texts: Sequence[bytes]) -> list[dict[str, Any]]:
    """What JSON texts say, up to the first that is no object, or not one whose values are plain.

    It is what `read` would say of each.
    """
    found: list[Any] = []
    try:
        for text in texts:
            found.append(orjson.loads(text))
    except ValueError:
        pass
    if not _are_flat(texts, found):
        are_flat = (_are_flat([text], [value]) for text, value in zip(texts, found, strict=False))
        found = [
            value for value, _ in zip(found, itertools.takewhile(bool, are_flat), strict=False)
        ]
    return found


def write_flat(fields: Mapping[str, Any]) -> str:
    """As `write`, of an object out of `flat_objects`, or one of text alone."""
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS).decode()


def write_columns(columns: Mapping[str, Sequence[str]], *, are_verbatim: bool) -> list[str]:
    """As `write`, of each of the records that are given by columns, whose values are strings; they
    are verbatim if they stand in JSON as they are."""
    names = sorted(columns)
    rows = zip(*(columns[name] for name in names), strict=True)
    if not are_verbatim:
        dumps = orjson.dumps
        return [dumps(dict(zip(names, row, strict=True))).decode() for row in rows]
    said = (orjson.dumps(name).decode().replace("%", "%%") for name in names)
    form = "{%s}" % ",".join(f'{name}:"%s"' for name in said)  # noqa: UP031
    return [form % row for row in rows]


def _flat_object(text: bytes) -> dict[str, Any] | None:
    """The fields of an object whose values are plain; None where it may be something else."""
    try:
        value = orjson.loads(text)
    except ValueError:
        return None
    return value if _are_flat([text], [value]) else None


def _are_flat(texts: Sequence[bytes], found: Sequence[Any]) -> bool:
    """Whether each of `found` is an object of plain values, and what its text says.

    A field whose name was there before has quotes of its own in its text, which nothing of the
    others can make up for: there are no more of them than those of what was found.
    """
    if not all(type(each) is dict for each in found):
        return False
    values = list(itertools.chain.from_iterable(map(dict.values, found)))
    kinds = Counter(map(type, values))
    if not _are_plain(values, kinds):
        return False
    whole = b"\n".join(texts[: len(found)])
    num_more = whole.count(b'"') - 2 * (len(values) + kinds[str])
    if num_more == 0:
        return True
    said = [value for value in values if type(value) is str]
    names = itertools.chain.from_iterable(found)
    inside = "\0".join(said).count('"') + "\0".join(names).count('"')
    return num_more == inside and b"\\u0022" not in whole


def _are_plain(values: Collection[Any], kinds: Collection[type]) -> bool:
    """Whether both ways read and write all of them alike; `kinds` are their types."""
    if not _PLAIN.issuperset(kinds):
        return False
    return float not in kinds or all(
        value == 0 or _LEAST <= abs(value) <= _MOST for value in values if type(value) is float
    )


def _read_with_care(text: str) -> Any:
    value = parse(text)
    identify({"": value})
    return value


def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of an object.

    Raises:
        ValueError: two have one name, so that it cannot be known which is meant.
    """
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {twice!r} is there twice")
    return fields


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON number")


# One encoder and one decoder for all: to make one takes longer than a record does.
_decode = json.JSONDecoder(object_pairs_hook=object_of, parse_constant=_refuse).decode
_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode
