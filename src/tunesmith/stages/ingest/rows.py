"""Rows of a data asset, and what is wrong with the others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from tunesmith.asset.contract import Contract
from tunesmith.asset.row import Row, label_of
from tunesmith.stages.ingest import json_text
from tunesmith.stages.ingest.batch import Batch
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.entry import Entry, Quarantined, quarantined

_TRUE = frozenset({"yes", "true", "on", "y"})
_FALSE = frozenset({"no", "false", "off", "n"})


class Rows(NamedTuple):
    """Many rows, as columns."""

    row_ids: Sequence[str]
    pointers: Sequence[str]
    texts: Sequence[str]
    labels: Sequence[str]
    attributes: Sequence[str]


class Ids:
    """The ids of the rows of one file.

    An id depends on which file the row is in and what it says, not on what else is in the source: a
    line that is added to a file changes the id of no other. Equal records are told apart by their
    order.
    """

    def __init__(self, config: SourceConfig, file: str) -> None:
        self._file = hashlib.sha256(f"{config.origin}\0{file}\0".encode())
        self._copies: dict[bytes, int] = {}

    def first(self, data: bytes) -> str:
        """The id of the first row of the file that says this."""
        return self._of(data).hexdigest()[:32]

    def next(self, data: bytes) -> str:
        """The id of a row that says this, if it was asked for all rows before it."""
        digest = self._of(data)
        content = digest.digest()
        copy = self._copies.get(content, 0)
        self._copies[content] = copy + 1
        if copy:
            digest.update(f"\0{copy}".encode())
            content = digest.digest()
        return content[:16].hex()

    def of_all(self, records: Sequence[bytes]) -> list[str]:
        """The ids of the rows that say these, which come next."""
        digests = []
        for data in records:
            digest = self._file.copy()
            digest.update(data)
            digests.append(digest.digest())
        new = dict.fromkeys(digests, 1)
        if len(new) < len(digests) or not self._copies.keys().isdisjoint(new):
            return [self.next(data) for data in records]
        self._copies |= new
        return [digest[:16].hex() for digest in digests]

    def _of(self, data: bytes) -> Any:
        digest = self._file.copy()
        digest.update(data)
        return digest


def to_row(
    config: SourceConfig, contract: Contract, entry: Entry, row_id: str
) -> Row | Quarantined | None:
    """The row that a record is; what is wrong with it; or None where `where` leaves it out."""
    fields = entry.fields
    if config.where and not _is_wanted(fields, config.where):
        return None
    problem = contract.problem(fields, entry.pointer)
    label = label_of(fields.get(config.label)) if config.label else ""
    if problem is None and label is None:
        reason = f"the field {config.label!r} is missing, empty or no plain value"
        problem = "no-label", reason
    if problem is not None:
        return quarantined(entry.pointer, *problem, json.dumps(fields, ensure_ascii=False))
    attributes = _attributes(fields, config)
    text = _text(config, entry, attributes)
    if text is None:
        reason = f"the field {config.text!r} is missing or no text"
        return quarantined(entry.pointer, "no-text", reason, attributes)
    if not text or text.isspace():
        where = f" in the field {config.text!r}" if config.text else ""
        where = " after the header" if config.format == "front-matter" else where
        reason = f"there is no text{where}"
        return quarantined(entry.pointer, "empty-text", reason, entry.text or attributes)
    return Row(row_id, entry.pointer, text, label or "", attributes)


def to_rows(
    config: SourceConfig, contract: Contract, batch: Batch, row_ids: Sequence[str]
) -> Rows | None:
    """The rows that records are; None where `to_row` has to say of each what it is."""
    if config.where:
        return None
    if batch.records is None and not config.title:
        verbatim = batch.is_verbatim
        attributes = json_text.write_columns(batch.columns, are_verbatim=verbatim)
    else:
        records = batch.fields
        if config.title:
            records = [_titled(fields, config) for fields in records]
        attributes = list(map(json_text.write_flat, records))
    texts: Sequence[str] | None = attributes
    if config.text:
        texts = _plain_texts(batch.columns.get(config.text, ()), config.remove)
    labels = [label_of(value) for value in batch.columns.get(config.label, ())]
    labels = labels if config.label else [""] * len(row_ids)
    if not texts or not labels or None in labels:
        return None
    if not contract.accepts(batch.columns, batch.pointers):
        return None
    return Rows(row_ids, batch.pointers, texts, cast("list[str]", labels), attributes)


def _plain_texts(column: Sequence[Any], remove: Sequence[str]) -> list[str] | None:
    """Texts without what is to be removed; None where one is none, or nothing is left of it."""
    if not all(type(text) is str for text in column):
        return None
    for marker in remove:
        column = [text.replace(marker, "") for text in column]
    texts = [text.strip("\n") for text in column]
    return None if any(not text or text.isspace() for text in texts) else texts


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
    if config.format == "front-matter":
        fields = {name: value for name, value in fields.items() if name != config.label}
    return json_text.write(_titled(fields, config) if config.title else fields)


def _titled(fields: Mapping[str, Any], config: SourceConfig) -> Mapping[str, Any]:
    title = fields.get(config.title)
    return {**fields, "title": title} if isinstance(title, str) else fields
