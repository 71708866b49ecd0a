"""The table of formats that records are cut out of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

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
_UNREADABLE = (Unreadable, ValueError, RecursionError, OSError, pa.ArrowException)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Form:
    """How one format is cut."""

    cut: Callable[[SourceConfig, str, bytes, Mapping[str, bytes]], bytes]
    """(source, name, data, what is gone by pointer) -> the data without it."""
    said: Callable[[SourceConfig, str, bytes, Iterable[str]], Mapping[str, bytes]]
    """(source, name, data, pointers) -> what stands at each pointer."""


_LINES = _Form(
    cut=lambda _, __, data, gone: cut_lines(data, gone),
    said=lambda _, name, data, pointers: said_in_lines(name, data, pointers),
)
_FORMS: Mapping[str, _Form] = {
    **dict.fromkeys(("jsonl", "csv", "tsv", "api", "sql"), _LINES),
    "json": _Form(
        cut=lambda _, name, data, gone: cut_json(name, data, gone),
        said=lambda _, name, data, __: said_in_json(name, data),
    ),
    "yaml": _Form(
        cut=lambda source, name, data, gone: cut_yaml(name, data, source.records, gone),
        said=lambda source, name, data, _: said_in_yaml(name, data, source.records),
    ),
    "parquet": _Form(
        cut=lambda _, name, data, gone: cut_parquet(name, data, gone),
        said=lambda _, name, data, __: said_in_parquet(name, data),
    ),
    "xlsx": _Form(
        cut=lambda source, name, data, gone: cut_workbook(name, data, source.sheet, gone),
        said=lambda source, name, data, _: said_in_workbook(name, data, source.sheet),
    ),
    "mbox": _Form(
        cut=lambda _, name, data, gone: cut_mbox(name, data, gone),
        said=lambda _, name, data, __: said_in_mbox(name, data),
    ),
}
"""Formats of which single records are cut out; of a format that is not here, and not in `WHOLE`,
none can be."""


def form_of(format: str, name: str) -> str:
    """The format of a file of a source of that format: of a document the one that its name says."""
    suffix = name.rpartition(".")[2].lower()
    return BY_SUFFIX.get(suffix, "text") if format == "document" else format


def cut_out(config: SourceConfig, name: str, data: bytes, gone: Mapping[str, bytes]) -> bytes:
    """`data` without the records `gone`: by pointer, what stands there.

    Raises:
        DataError: one does not stand where its pointer says, or the file cannot be written anew.
    """
    form = _FORMS.get(form_of(config.format, name))
    if form is None:
        raise cannot(name, next(iter(gone)))
    try:
        return form.cut(config, name, data, gone)
    except _UNREADABLE as error:
        raise cannot(name, next(iter(gone))) from error


def said_in(
    config: SourceConfig, name: str, data: bytes, pointers: Iterable[str]
) -> Mapping[str, bytes]:
    """What stands at each pointer, of a file in which not all can be read; nothing of one that
    cannot be read at all. `pointers` are those of all that was found in it."""
    form = _FORMS.get(form_of(config.format, name))
    try:
        return form.said(config, name, data, pointers) if form else {}
    except _UNREADABLE:
        return {}


def cannot(name: str, pointer: str) -> DataError:
    """The error that says that the record at `pointer` cannot be cut out."""
    return DataError(
        f"{pointer} is to be forgotten, and cannot be cut out of {name}",
        remedy=f"take the record out of {name} yourself, then run the same command again",
    )
