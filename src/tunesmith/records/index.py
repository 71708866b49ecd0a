"""Indexes, answers and citations."""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.core.ref import Blob


@dataclass(frozen=True, kw_only=True, slots=True)
class Index:
    """A retrievable, versioned set of passages, in one SQLite file."""

    name: str
    database: Blob
    num_documents: int
    num_passages: int
    num_sentences: int
    threshold: float
    """Scores below this are answered with "the documents do not answer it"."""
    calibration: str
    """How the threshold was arrived at, for people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Citation:
    """A span of a document; `quote == document[start:end]`, always."""

    document: str
    title: str
    start: int
    end: int
    quote: str
    sha256: str
    """Digest of the quote's UTF-8 bytes."""
    page: str = ""
    """The page or section that it is on, e.g. "page 12"; several have a comma between them. Empty
    where the document has none."""

    @property
    def link(self) -> str:
        """What `tunesmith show` opens, e.g. "mit#120-188"."""
        return f"{self.document}#{self.start}-{self.end}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """Verbatim sentences with their places, or none: the documents do not answer it."""

    question: str
    answered: bool
    score: float
    threshold: float
    citations: tuple[Citation, ...]
    index: str
