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
from tunesmith.stages.ingest.contract import Contract
from tunesmith.stages.ingest.entry import Entry, Quarantined, quarantined

ROWS_PER_GROUP = 10_000
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


def to_row(
    config: SourceConfig, contract: Contract, entry: Entry, *, file: str, copy: int
) -> Row | Quarantined | None:
    """The row that a record is; what is wrong with it; or None where `where` leaves it out.

    `copy` counts the equal records before it in its `file`.
    """
    fields = entry.fields
    if not _is_wanted(fields, config.where):
        return None
    shown = json.dumps(fields, ensure_ascii=False)
    broken = contract.problem(fields, entry.pointer)
    if broken is not None:
        return quarantined(entry.pointer, *broken, shown)
    label = _label(fields.get(config.label)) if config.label else ""
    if label is None:
        reason = f"the field {config.label!r} is missing, empty or no plain value"
        return quarantined(entry.pointer, "no-label", reason, shown)
    attributes = _attributes(fields, config)
    text = _text(config, entry, attributes)
    if text is None:
        reason = f"the field {config.text!r} is missing or no text"
        return quarantined(entry.pointer, "no-text", reason, shown)
    if not text.strip():
        where = f" in the field {config.text!r}" if config.text else ""
        where = " after the header" if config.format == "front-matter" else where
        reason = f"there is no text{where}"
        return quarantined(entry.pointer, "empty-text", reason, entry.text or shown)
    return Row(
        row_id=row_id_of(config, entry, file=file, copy=copy),
        pointer=entry.pointer,
        text=text,
        label=label,
        attributes=attributes,
    )


def _label(value: Any) -> str | None:
    """A label as a string; None where there is none. Only JSON has others than strings."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return " ".join(value.split()) or None if isinstance(value, str) else None


def _text(config: SourceConfig, entry: Entry, attributes: str) -> str | None:
    """The text of a record, without what is to be removed: its fields where it has no text."""
    text = entry.text if entry.text is not None else entry.fields.get(config.text)
    if entry.text is None and not config.text:
        return attributes
    if not isinstance(text, str):
        return None
    for marker in config.remove:
        text = text.replace(marker, "")
    return text.strip("\n")


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


def _attributes(fields: Mapping[str, Any], config: SourceConfig) -> str:
    """The fields, of a header those beside the label, as a JSON object; `title` repeats the
    configured one."""
    skipped = config.label if config.format == "front-matter" else None
    others = {name: value for name, value in fields.items() if name != skipped}
    if config.title and isinstance(fields.get(config.title), str):
        others["title"] = fields[config.title]
    return json.dumps(others, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def row_id_of(config: SourceConfig, entry: Entry, *, file: str, copy: int = 0) -> str:
    """The id of the row that a record of `file` is; `copy` counts the equal records before it.

    It depends on which file the row is in and what it says, not on what else is in the source: a
    line that is added to a file changes the id of no other.
    """
    digest = hashlib.sha256(f"{config.origin}\0{file}\0".encode())
    digest.update(entry.data)
    if copy:
        digest.update(f"\0{copy}".encode())
    return digest.hexdigest()[:32]
