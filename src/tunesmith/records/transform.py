"""Data assets that were made from others, and what made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tunesmith.core.function import libraries_of
from tunesmith.core.ref import Blob
from tunesmith.records.data import DataAsset


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """What makes rows from rows, as it was when it was read: one of `sql` and `python`."""

    sql: str = ""
    """One SELECT."""
    python: str = ""
    """The text of a Python file."""
    file: str = ""
    """The name of that file."""
    function: str = ""
    """The function of it that is given a row."""
    libraries: Mapping[str, str] = field(default_factory=dict)
    """Versions of the installed packages that the file imports."""


def python_program(python: str, text: str) -> Program:
    """The program of `PATH.py:FUNCTION`, whose file says `text`."""
    path, _, function = python.rpartition(":")
    return Program(
        python=text,
        file=path.rpartition("/")[2],
        function=function,
        libraries=dict(sorted(libraries_of(text))),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformedAsset(DataAsset):
    """A data asset that a transform made from others; see `DataAsset`.

    `quarantine` has a `row_id` before the other columns. `edges` is Parquet with `row_id`, of a row
    or of one in quarantine, and `parent`, the id of a row that it was made from.
    Conservation: what came, num_in == num_rows + num_quarantined + num_filtered + num_erased; and
    what it was made from, num_read == num_used + num_refused + num_unused.
    """

    edges: Blob
    num_read: int
    """Rows of its sources, each once."""
    num_used: int
    """... of which some row was made."""
    num_refused: int
    """... of which nothing was made but what was quarantined, or is to be forgotten."""
    num_unused: int
    """... of which nothing was made."""
