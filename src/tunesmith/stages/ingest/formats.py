"""The table of formats: how the bytes of one file become records, and bad ones.

A reader yields an `Entry` or a `Quarantined` for each record, or a `Batch` of many entries; it
raises `Unreadable` for what costs the rest of the file, and nothing else. The suite in
tests/contracts holds each of them to that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import IO

from tunesmith.stages.ingest.archive import whole_or_unreadable
from tunesmith.stages.ingest.batch import Batch, one_by_one
from tunesmith.stages.ingest.columnar import read_parquet
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.container import File, refuse_packed
from tunesmith.stages.ingest.delimited import read_csv
from tunesmith.stages.ingest.documents.epub import read_epub
from tunesmith.stages.ingest.documents.html import read_html
from tunesmith.stages.ingest.documents.mail import read_mbox, read_message
from tunesmith.stages.ingest.documents.markdown import read_markdown
from tunesmith.stages.ingest.documents.office import read_docx, read_pptx
from tunesmith.stages.ingest.documents.open_document import read_odt
from tunesmith.stages.ingest.documents.pdf import read_pdf
from tunesmith.stages.ingest.entry import (
    MAX_FILE_BYTES,
    MAX_ROW_BYTES,
    Entry,
    Quarantined,
    Unreadable,
    quarantined,
    whole,
)
from tunesmith.stages.ingest.front_matter import read_front_matter, read_text
from tunesmith.stages.ingest.json_lines import read_json, read_json_lines
from tunesmith.stages.ingest.singer import read_stream
from tunesmith.stages.ingest.snapshot import read_snapshot
from tunesmith.stages.ingest.workbook import read_workbook
from tunesmith.stages.ingest.yaml_records import read_yaml

Found = Iterator[Entry | Quarantined | Batch]
Reader = Callable[[str, IO[bytes], SourceConfig], Found]
"""(name of the file, its bytes, what its source says) -> its records."""


def _whole(read: Callable[[str, bytes], Found], limit: int = MAX_FILE_BYTES) -> Reader:
    """A reader of files that are held in memory as a whole, and have at most `limit` bytes."""
    return lambda name, stream, _: read(name, whole(stream, limit))


FORMATS: Mapping[str, Reader] = {
    "front-matter": _whole(read_front_matter, MAX_ROW_BYTES),
    "text": _whole(read_text, MAX_ROW_BYTES),
    "jsonl": lambda name, stream, _: read_json_lines(name, stream),
    "csv": lambda name, stream, source: read_csv(name, stream, source.delimiter),
    "tsv": lambda name, stream, _: read_csv(name, stream, "\t"),
    "json": _whole(read_json),
    "yaml": lambda name, stream, source: read_yaml(name, whole(stream), source.records),
    "parquet": lambda name, stream, _: read_parquet(name, stream),
    "xlsx": lambda name, stream, source: read_workbook(name, whole(stream), source.sheet),
    "html": _whole(read_html),
    "markdown": _whole(read_markdown),
    "pdf": _whole(read_pdf),
    "docx": _whole(read_docx),
    "pptx": _whole(read_pptx),
    "odt": _whole(read_odt),
    "epub": _whole(read_epub),
    "eml": _whole(read_message),
    "mbox": lambda name, stream, _: read_mbox(name, stream),
    "document": lambda name, stream, source: _by_name(name)(name, stream, source),
    "api": lambda name, stream, source: read_snapshot(name, stream, source.key),
    "stream": lambda name, stream, _: read_stream(name, stream),
    "sql": lambda name, stream, source: read_snapshot(name, stream, source.key),
}
BY_SUFFIX = {
    "html": "html", "htm": "html", "xhtml": "html", "md": "markdown", "markdown": "markdown",
    "txt": "markdown", "text": "markdown", "pdf": "pdf", "docx": "docx", "pptx": "pptx",
    "odt": "odt", "epub": "epub", "eml": "eml", "mbox": "mbox",
}  # fmt: skip
"""What the end of a file's name says about a document. A plain text is Markdown without marks."""


def _by_name(name: str) -> Reader:
    suffix = name.rpartition(".")[2].lower()
    if suffix not in BY_SUFFIX:
        known = ", ".join(f".{known}" for known in BY_SUFFIX)
        raise Unreadable("unknown-format", f"its name does not end in one of {known}", name)
    return FORMATS[BY_SUFFIX[suffix]]


def read_file(config: SourceConfig, file: File) -> Iterator[Entry | Quarantined]:
    """The records of one file, and what of it cannot be read."""
    return one_by_one(read_batches(config, file))


def read_batches(config: SourceConfig, file: File) -> Found:
    """The same; many at once where the reader of the format can."""
    with file.stream:
        try:
            with whole_or_unreadable("file"):
                refuse_packed(file.stream)
                yield from FORMATS[config.format](file.name, file.stream, config)
        except Unreadable as error:
            yield quarantined(file.name, error.rule, str(error), error.value)
