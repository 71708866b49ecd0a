"""References that records hold. What a record holds tells the store what to do when it is
committed: a `Blob` is kept and checked, an `AliasMove` moves the alias, in the same transaction."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from tunesmith.core.canonical import plain

if TYPE_CHECKING:
    import pydantic


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """Bytes in the store, addressed by their digest alone."""

    sha256: str
    """Hexadecimal digest of the bytes."""
    num_bytes: int
    media_type: str = "application/octet-stream"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AliasMove:
    """The wish to point `alias` of `name` at this record; carried out when the record commits."""

    kind: str
    """What `name` names, e.g. "model"."""
    name: str
    alias: str
    reason: str


PARQUET = "application/vnd.apache.parquet"
"""Media type of tables."""

Found = TypeVar("Found")
Record = TypeVar("Record")


def find(record: Any, wanted: type[Found]) -> Iterator[Found]:
    """Every instance of `wanted` inside `record`, depth first."""
    if isinstance(record, wanted):
        yield record
    elif dataclasses.is_dataclass(record) and not isinstance(record, type):
        for field in dataclasses.fields(record):
            yield from find(getattr(record, field.name), wanted)
    elif isinstance(record, Mapping):
        for item in record.values():
            yield from find(item, wanted)
    elif isinstance(record, Sequence) and not isinstance(record, str | bytes):
        for item in record:
            yield from find(item, wanted)


def to_plain(record: Any) -> Any:
    """A record as JSON types."""
    return plain(record)


def from_plain(record_type: type[Record], value: Any) -> Record:
    """A record of `record_type` from JSON types; fields are checked."""
    kept: Any = record_type  # mypy does not know that a class can be hashed
    record: Record = _checks(kept).validate_python(value, strict=False)
    return record


@functools.cache
def _checks(record_type: type[Any]) -> pydantic.TypeAdapter[Any]:
    """What checks a record; to make it takes as long as to check a hundred."""
    import pydantic  # a tenth of a second, which commands that read no record do without

    return pydantic.TypeAdapter(record_type)
