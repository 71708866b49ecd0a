"""What is said of the licence of a data asset: by its section, its package, and the files in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """One thing that a file says of the licence. Where it stands, not its words: those are read
    again from the package when they are shown, so that nothing here has to be forgotten."""

    file: str
    line: int
    """Of the file; the first is 1."""
    kind: Literal["package", "licence", "others"]
    """The package's own field ("package"); the text or the name of a licence ("licence"); or words
    by which the content is somebody else's, or not free to use ("others")."""
    says: str
    """An SPDX expression, empty where a package's field is none that is known; of "others" what is
    meant, in words of this program's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LicenceStatements:
    """All that was found about the licence of what one source is read from."""

    name: str
    """Of the source."""
    declared: str
    """What its section says."""
    statements: tuple[Statement, ...]
    num_files: int
    """How many files were looked at."""
