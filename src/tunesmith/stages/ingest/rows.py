"""Rows of a data asset, what is wrong with the others, and their Parquet files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.front_matter import BadFrontMatter, read

ROWS_PER_GROUP = 10_000
MAX_VALUE_CHARS = 200
_TRUE = frozenset({"yes", "true", "on", "y"})
_FALSE = frozenset({"no", "false", "off", "n"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of a data asset; the fields are its columns."""

    row_id: str
    pointer: str
    text: str
    label: str
    attributes: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantined:
    """One source row that cannot be used; the fields are its columns."""

    pointer: str
    rule: str
    reason: str
    value: str


def read_row(config: SourceConfig, member: str, data: bytes) -> Row | Quarantined | None:
    """The row in one member; what is wrong with it; or None where `where` leaves it out."""
    try:
        document = read(data)
    except BadFrontMatter as error:
        return Quarantined(
            pointer=member, rule=error.rule, reason=str(error), value=error.value[:MAX_VALUE_CHARS]
        )
    header = document.header
    if not _is_wanted(header, config.where):
        return None
    label = header.get(config.label)
    if not isinstance(label, str) or not label.strip():
        return Quarantined(
            pointer=member,
            rule="no-label",
            reason=f"the field {config.label!r} is missing, empty or no plain value",
            value=json.dumps(header, ensure_ascii=False)[:MAX_VALUE_CHARS],
        )
    text = document.text
    for marker in config.remove:
        text = text.replace(marker, "")
    text = text.strip("\n")
    if not text.strip():
        return Quarantined(
            pointer=member,
            rule="empty-text",
            reason="there is no text after the header",
            value=document.text[:MAX_VALUE_CHARS],
        )
    return Row(
        row_id=_row_id(config.origin, member, data),
        pointer=member,
        text=text,
        label=" ".join(label.split()),
        attributes=_attributes(header, config),
    )


def write(rows: Sequence[Row] | Sequence[Quarantined], kind: type, path: Path) -> Path:
    """The rows as Parquet in `path`; equal rows give equal bytes. All columns are strings."""
    table = pa.table(
        {
            field.name: pa.array([getattr(row, field.name) for row in rows], pa.string())
            for field in fields(kind)
        }
    )
    pq.write_table(table, path, compression="zstd", row_group_size=ROWS_PER_GROUP)
    return path


def _is_wanted(header: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    return all(_canonical(header.get(name)) == _canonical(value) for name, value in where.items())


def _canonical(value: Any) -> str | None:
    """A header's value for comparison: YAML's ways to write a boolean are the same."""
    if value is None or isinstance(value, list | dict):
        return None
    plain = str(value).strip()
    folded = plain.casefold()
    return "true" if folded in _TRUE else "false" if folded in _FALSE else plain


def _attributes(header: Mapping[str, Any], config: SourceConfig) -> str:
    """The fields other than the label, as a JSON object; `title` repeats the configured one."""
    others = {name: value for name, value in header.items() if name != config.label}
    if config.title and isinstance(header.get(config.title), str):
        others["title"] = header[config.title]
    return json.dumps(others, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _row_id(origin: str, member: str, data: bytes) -> str:
    """Depends on where the row is and what it says, not on what else is in the source."""
    digest = hashlib.sha256(f"{origin}\0{member}\0".encode())
    digest.update(data)
    return digest.hexdigest()[:32]
