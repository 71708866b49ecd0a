"""The table of formats that records are cut out of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from tunesmith.core.errors import DataError
from tunesmith.stages.ingest.config import DOCUMENTS, SourceConfig
from tunesmith.stages.ingest.cutting.columns import cut_parquet, said_in_parquet
from tunesmith.stages.ingest.cutting.elements import (
    cut_json,
    cut_yaml,
    said_in_json,
    said_in_yaml,
)
from tunesmith.stages.ingest.cutting.lines import cut_lines, said_in_lines
from tunesmith.stages.ingest.cutting.mailbox import cut_mbox, said_in_mbox
from tunesmith.stages.ingest.cutting.sheets import cut_workbook, said_in_workbook
from tunesmith.stages.ingest.entry import Unreadable
from tunesmith.stages.ingest.formats import BY_SUFFIX

WHOLE = frozenset({"front-matter", "text", *DOCUMENTS} - {"mbox"})
"""Formats of which a file is one row, and is left out whole."""
LINES = frozenset({"jsonl", "csv", "tsv", "api", "sql"})
"""Formats of which a row stands on lines of its own."""
_UNREADABLE = (Unreadable, ValueError, RecursionError, OSError, pa.ArrowException)


def form_of(config: SourceConfig, name: str) -> str:
    """The format of a file: of a document the one that its name says."""
    suffix = name.rpartition(".")[2].lower()
    return BY_SUFFIX.get(suffix, "text") if config.format == "document" else config.format


def cut_out(config: SourceConfig, name: str, data: bytes, gone: Mapping[str, bytes]) -> bytes:
    """`data` without the records `gone`: by pointer, what stands there.

    Raises:
        DataError: one does not stand where its pointer says, or the file cannot be written anew.
    """
    form = form_of(config, name)
    try:
        if form in LINES:
            return cut_lines(data, gone)
        if form == "json":
            return cut_json(name, data, gone)
        if form == "yaml":
            return cut_yaml(name, data, config.records, gone)
        if form == "parquet":
            return cut_parquet(name, data, gone)
        if form == "xlsx":
            return cut_workbook(name, data, config.sheet, gone)
        if form == "mbox":
            return cut_mbox(name, data, gone)
    except _UNREADABLE as error:
        raise cannot(name, next(iter(gone))) from error
    raise cannot(name, next(iter(gone)))


def said_in(
    config: SourceConfig, name: str, data: bytes, pointers: Iterable[str]
) -> Mapping[str, bytes]:
    """What stands at each pointer, of a file in which not all can be read; nothing of one that
    cannot be read at all. `pointers` are those of all that was found in it."""
    form = form_of(config, name)
    try:
        if form in LINES:
            return said_in_lines(name, data, pointers)
        if form == "json":
            return said_in_json(name, data)
        if form == "yaml":
            return said_in_yaml(name, data, config.records)
        if form == "parquet":
            return said_in_parquet(name, data)
        if form == "xlsx":
            return said_in_workbook(name, data, config.sheet)
        if form == "mbox":
            return said_in_mbox(name, data)
    except _UNREADABLE:
        pass
    return {}


def cannot(name: str, pointer: str) -> DataError:
    """The error that says that the record at `pointer` cannot be cut out."""
    return DataError(
        f"{pointer} is to be forgotten, and cannot be cut out of {name}",
        remedy=f"take the record out of {name} yourself, then run the same command again",
    )
