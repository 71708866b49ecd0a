"""An index: documents, their passages and sentences, and full-text search, in one SQLite file.

It is written once, in one transaction, and then only read. Text is kept once, in `document`; a
passage or a sentence is a pair of offsets into it, so `text[start:end]` is exact by construction.
The same documents give the same bytes under the same SQLite version (which writes its number into
the header): fixed page size, fixed order, no timestamps.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from tunesmith.core.canonical import sha256
from tunesmith.core.errors import DataError, NotFound, StoreError
from tunesmith.core.step import Progress
from tunesmith.retrieve.lexical import match_any, words
from tunesmith.text import layout
from tunesmith.text.chunk import Span
from tunesmith.text.normalise import normalise

FORMAT = 2
"""Kept in the file as `user_version`; a file of another format is refused."""

_TOKENIZE = "tokenize=\"porter unicode61 remove_diacritics 2 tokenchars '.'\""
"""What is searched is `lexical.words`, in which a point stands inside versions alone ("2.1"), so
that texts, names and questions are taken apart by the same rules; SQLite adds English stems."""

_SCHEMA = f"""
PRAGMA page_size = 4096;
PRAGMA user_version = {FORMAT};
BEGIN;
CREATE TABLE document (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, title TEXT NOT NULL,
    names TEXT NOT NULL, text TEXT NOT NULL, sha256 TEXT NOT NULL);
CREATE TABLE page (
    document INTEGER NOT NULL REFERENCES document(id),
    start INTEGER NOT NULL, "end" INTEGER NOT NULL, name TEXT NOT NULL);
CREATE INDEX page_document ON page(document, start);
CREATE TABLE passage (
    id INTEGER PRIMARY KEY, document INTEGER NOT NULL REFERENCES document(id),
    start INTEGER NOT NULL, "end" INTEGER NOT NULL);
CREATE TABLE sentence (
    id INTEGER PRIMARY KEY, passage INTEGER NOT NULL REFERENCES passage(id),
    start INTEGER NOT NULL, "end" INTEGER NOT NULL, num_words INTEGER NOT NULL);
CREATE INDEX sentence_passage ON sentence(passage);
CREATE VIRTUAL TABLE passage_terms USING fts5(names, text, content='', {_TOKENIZE});
CREATE VIRTUAL TABLE sentence_terms USING fts5(text, content='', {_TOKENIZE});
"""


class Page(NamedTuple):
    """A page, slide or section of a document: `text[start:end]`."""

    start: int
    end: int
    name: str
    """As a citation says it, e.g. "page 12" or "1.2. Scope"."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A document to be indexed, or one that was."""

    key: str
    """What citations call it, e.g. "mit"."""
    title: str
    names: tuple[str, ...]
    """What a question may call it, e.g. key, title and short name."""
    text: str
    """In the index: canonical (`tunesmith.text.normalise`), without what a reader cannot see."""
    has_layout: bool = False
    """Whether the white space within its lines is its own, as the reader of its format found it:
    that of code. Else it is folded."""
    pages: tuple[Page, ...] = ()
    """Its pages or sections, in order and disjoint; of the canonical text."""
    sections: tuple[int, ...] = ()
    """Where sections begin, at their headings; no passage goes on from one to the next."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """How much was indexed."""

    num_documents: int
    num_passages: int
    num_sentences: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a sentence stands: `text[start:end]` of its document."""

    id: int
    passage: int
    """The passage it is in."""
    document: str
    """Key of its document."""
    start: int
    end: int
    num_words: int


def build(path: Path, documents: Collection[Document], progress: Progress) -> Counts:
    """Write an index of `documents` to the new file `path`; their texts are normalised here.

    Raises:
        DataError: two documents have the same key.
    """
    num_documents = num_passages = num_sentences = 0
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.executescript(_SCHEMA)
        for document in sorted(documents, key=lambda document: document.key):
            progress(num_documents, len(documents), f"indexes {document.key}")
            document = canonical(document)
            num_documents += 1
            _insert_document(database, num_documents, document)
            _insert_pages(database, num_documents, document.pages)
            sentences = deque(layout.sentences(document.text))
            for passage in layout.passages(document.text, sections=document.sections):
                num_passages += 1
                _insert_passage(database, num_passages, num_documents, document, passage)
                while sentences and sentences[0].end <= passage.end:
                    num_sentences += 1
                    _insert_sentence(database, num_sentences, num_passages, sentences.popleft())
        database.execute("COMMIT")
        database.execute("VACUUM")
    return Counts(
        num_documents=num_documents, num_passages=num_passages, num_sentences=num_sentences
    )


def canonical(document: Document) -> Document:
    """As it is indexed; of a text that was not canonical the pages lie elsewhere."""
    if document.has_layout and layout.is_laid_out(document.text):
        return document
    text = normalise(document.text)
    if text == document.text:
        return document
    return dataclasses.replace(document, text=text, pages=(), sections=())


def _insert_document(database: sqlite3.Connection, number: int, document: Document) -> None:
    try:
        database.execute(
            "INSERT INTO document (id, key, title, names, text, sha256) VALUES (?, ?, ?, ?, ?, ?)",
            (
                number,
                document.key,
                document.title,
                "\n".join(document.names),
                document.text,
                sha256(document.text.encode()),
            ),
        )
    except sqlite3.IntegrityError as error:
        raise DataError(
            f"two documents of the index are called {document.key!r}",
            remedy="give every document its own label",
        ) from error


def _insert_pages(database: sqlite3.Connection, number: int, pages: Iterable[Page]) -> None:
    database.executemany(
        "INSERT INTO page VALUES (?, ?, ?, ?)", ((number, *page) for page in pages)
    )


def _insert_passage(
    database: sqlite3.Connection, number: int, parent: int, document: Document, span: Span
) -> None:
    database.execute(
        "INSERT INTO passage VALUES (?, ?, ?, ?)", (number, parent, span.start, span.end)
    )
    database.execute(
        "INSERT INTO passage_terms (rowid, names, text) VALUES (?, ?, ?)",
        (number, " ".join(words(" ".join(document.names))), " ".join(words(span.text))),
    )


def _insert_sentence(database: sqlite3.Connection, number: int, parent: int, span: Span) -> None:
    found = words(span.text)
    database.execute(
        "INSERT INTO sentence VALUES (?, ?, ?, ?, ?)",
        (number, parent, span.start, span.end, len(found)),
    )
    database.execute(
        "INSERT INTO sentence_terms (rowid, text) VALUES (?, ?)", (number, " ".join(found))
    )


class Store:
    """An index that is open for reading: `with Store(path) as store: ...`.

    It may be used from any thread, by one at a time.
    """

    def __init__(self, path: Path) -> None:
        """Open the file at `path`.

        Raises:
            StoreError: it is not an index, or one of another format.
        """
        # `immutable`: nobody writes to a blob, so no lock and no side file is ever made.
        address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        try:
            self._database = sqlite3.connect(address, uri=True, check_same_thread=False)
        except sqlite3.OperationalError as error:
            raise _not_an_index(path) from error
        if self._format() != FORMAT:
            self.close()
            raise _not_an_index(path)
        (count,) = self._database.execute("SELECT count(*) FROM sentence").fetchone()
        self.num_sentences: int = count

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def has_document(self, key: str) -> bool:
        """Whether a document is called `key`."""
        found = self._database.execute("SELECT 1 FROM document WHERE key = ?", (key,)).fetchone()
        return found is not None

    def texts(self) -> Iterator[str]:
        """All that documents say and are called, one after the other."""
        for row in self._database.execute("SELECT key, title, names, text FROM document"):
            yield from row

    def document(self, key: str) -> Document:
        """The document called `key`, whole.

        Raises:
            NotFound: there is none.
            StoreError: its text is not what was indexed.
        """
        row = self._database.execute(
            "SELECT key, title, names, text, sha256 FROM document WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            raise NotFound(
                f"the index has no document {key!r}", remedy="ask for one that a citation names"
            )
        *fields, digest = row
        if sha256(fields[3].encode()) != digest:
            raise StoreError(
                f"document {key!r} of the index is damaged", remedy="build the index again"
            )
        return _document(fields)

    def pages(self, key: str, start: int, end: int) -> list[str]:
        """Names of the pages that the span of the document `key` is on, in order."""
        rows = self._database.execute(
            "SELECT p.name FROM page p JOIN document d ON d.id = p.document"
            ' WHERE d.key = ? AND p.start < ? AND p."end" > ? ORDER BY p.start',
            (key, end, start),
        )
        return [name for (name,) in rows]

    def names(self) -> dict[str, tuple[str, ...]]:
        """Key of every document -> what a question may call it."""
        rows = self._database.execute("SELECT key, names FROM document ORDER BY id")
        return {key: tuple(names.split("\n")) for key, names in rows}

    def search_passages(
        self,
        terms: Sequence[str],
        limit: int,
        *,
        names_weight: float,
        within: Collection[str] = (),
    ) -> list[tuple[int, float]]:
        """(passage id, BM25) of the best passages for any of `terms`, best (highest) first.

        A term counts `names_weight` times as much in a document's names as in the text. Only
        documents of the keys `within` are searched, or all of them if it is empty.
        """
        inside = (
            " AND rowid IN (SELECT p.id FROM passage p JOIN document d ON d.id = p.document"  # noqa: S608
            f" WHERE d.key IN ({_marks(within)}))"
            if within
            else ""
        )
        rows = self._database.execute(
            "SELECT rowid, -bm25(passage_terms, ?, 1.0) AS score FROM passage_terms"  # noqa: S608
            f" WHERE passage_terms MATCH ?{inside} ORDER BY score DESC, rowid LIMIT ?",
            (names_weight, match_any(terms), *within, limit),
        )
        return list(rows)

    def search_sentences(self, terms: Sequence[str], passages: Sequence[int]) -> dict[int, float]:
        """BM25 of the sentences in `passages` that have any of `terms`, by sentence id."""
        rows = self._database.execute(
            "SELECT rowid, -bm25(sentence_terms) FROM sentence_terms WHERE sentence_terms MATCH ?"  # noqa: S608
            " AND rowid IN (SELECT id FROM sentence WHERE passage IN"
            f" ({_marks(passages)}))",
            (match_any(terms), *passages),
        )
        return dict(rows)

    def sentences_with(self, term: str) -> frozenset[int]:
        """Ids of the sentences that have `term`, whatever its ending."""
        rows = self._database.execute(
            "SELECT rowid FROM sentence_terms WHERE sentence_terms MATCH ?", (match_any([term]),)
        )
        return frozenset(number for (number,) in rows)

    def documents_with(self, term: str) -> frozenset[str]:
        """Keys of the documents whose text has `term`, whatever its ending."""
        return frozenset(place.document for place in self.sentences(self.sentences_with(term)))

    def sentences(self, ids: Iterable[int]) -> list[Place]:
        """Where the sentences `ids` stand."""
        rows = (
            self._database.execute(
                'SELECT s.id, s.passage, d.key, s.start, s."end", s.num_words FROM sentence s'
                " JOIN passage p ON p.id = s.passage JOIN document d ON d.id = p.document"
                " WHERE s.id = ?",
                (number,),
            ).fetchone()
            for number in ids
        )
        return [_place(row) for row in rows]

    def _format(self) -> int | None:
        try:
            (found,) = self._database.execute("PRAGMA user_version").fetchone()
        except sqlite3.DatabaseError:
            return None
        return int(found)


def _marks(values: Collection[object]) -> str:
    """As many parameters of a statement as there are `values`."""
    return ",".join("?" * len(values))


def _not_an_index(path: Path) -> StoreError:
    return StoreError(
        f"{path} is not an index of format {FORMAT}",
        remedy="build the index again with this version",
    )


def _document(fields: Sequence[str]) -> Document:
    key, title, names, text = fields
    return Document(key=key, title=title, names=tuple(names.split("\n")), text=text)


def _place(row: tuple[int, int, str, int, int, int]) -> Place:
    number, passage, document, start, end, num_words = row
    return Place(
        id=number, passage=passage, document=document, start=start, end=end, num_words=num_words
    )
