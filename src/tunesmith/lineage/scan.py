"""Look into every blob for what should be in none: what is packed or escaped is decoded first."""

from __future__ import annotations

import json
import mmap
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.lineage.decode import PARQUET_MAGIC, contents, contents_of
from tunesmith.lineage.readings import readings, squashed
from tunesmith.lineage.unread import HERE, Tell
from tunesmith.text.normalise import normalise

_BATCH_ROWS = 10_000


@dataclass(frozen=True, kw_only=True)
class Needles:
    """Byte strings that tell of the erased: each text as it may stand in a file."""

    forms: tuple[bytes, ...]
    said: tuple[bytes, ...]
    """The same with one space wherever there is white space, but for JSON within JSON."""

    def are_in(self, data: bytes | mmap.mmap) -> bool:
        """Whether one of them is in `data`."""
        return any(data.find(form) >= 0 for form in self.forms)

    def are_told_by(self, data: bytes) -> bool:
        """Whether one of them is in `data`, or in what it says to those who know how it is
        written."""
        return self.are_in(data) or any(
            each in reading for reading in readings(data) for each in self.said
        )

    def texts(self) -> list[str]:
        """The same as text."""
        return [form.decode() for form in self.forms]


def needles(texts: Iterable[str]) -> Needles:
    """How `texts` may be written: as they are, normalised, with accents as characters of their own
    or not, in JSON, in CSV, or joined by spaces."""
    forms: dict[bytes, None] = {}
    plain: dict[bytes, None] = {}
    for text in texts:
        composed = [unicodedata.normalize(form, text) for form in ("NFC", "NFD")]
        for said in dict.fromkeys((text, normalise(text), *composed)):
            for form in (
                said,
                json.dumps(said, ensure_ascii=False)[1:-1],
                json.dumps(said)[1:-1],
                said.replace('"', '""'),
            ):
                plain[squashed(form.encode())] = None
                # In JSON within JSON, as a row's attributes are in a table of rows.
                twice = json.dumps(form, ensure_ascii=False)[1:-1]
                forms |= {form.encode(): None, twice.encode(): None}
    return Needles(
        forms=tuple(form for form in forms if form), said=tuple(each for each in plain if each)
    )


def holds(path: Path, wanted: Needles, tell: Tell = HERE.tell) -> bool:
    """Whether the file at `path` has one of the needles, as it stands or decoded. If it has none,
    `tell` was told what of it could not be read."""
    if not wanted.forms:
        return False
    pieces = contents_of(path, tell)
    return holds_as_it_stands(path, wanted) or any(map(wanted.are_told_by, pieces))


def says(data: bytes, wanted: Needles) -> bool:
    """The same of bytes."""
    return bool(wanted.forms) and any(map(wanted.are_told_by, contents(data)))


def holds_as_it_stands(path: Path, wanted: Needles) -> bool:
    """Whether the file's own bytes have one of the needles."""
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as source:
        view = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            return wanted.are_in(view)
        finally:
            view.close()


def _joined(texts: Iterable[str | None]) -> bytes:
    return "\0".join(text for text in texts if text).encode()


def num_rows_with(path: Path, wanted: Needles) -> int:
    """How many rows of a table have one of the needles in a string."""
    if not wanted.forms:
        return 0
    number = 0
    for batch in pq.ParquetFile(path).iter_batches(batch_size=_BATCH_ROWS):
        columns = [c.to_pylist() for c in batch.columns if pa.types.is_string(c.type)]
        if any(wanted.are_in(_joined(column)) for column in columns):
            number += sum(wanted.are_in(_joined(row)) for row in zip(*columns, strict=True))
    return number


def has_rows(path: Path, row_ids: Collection[str]) -> bool:
    """Whether a file is a table with one of the rows."""
    return _has_any(path, "row_id", row_ids)


def has_texts(path: Path, texts: Collection[str]) -> bool:
    """Whether a file is a table with a row that says one of `texts`, neither more nor less."""
    return _has_any(path, "text", texts)


def _has_any(path: Path, name: str, wanted: Collection[str]) -> bool:
    with path.open("rb") as source:
        if source.read(4) != PARQUET_MAGIC:
            return False
    table = pq.ParquetFile(path)
    if name not in table.schema_arrow.names:
        return False
    batches = table.iter_batches(batch_size=_BATCH_ROWS, columns=[name])
    return any(not set(batch.column(0).to_pylist()).isdisjoint(wanted) for batch in batches)
