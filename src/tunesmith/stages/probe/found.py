"""What a suite found, before it is stored; and each example as a line of a table."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.records.suite import Figure

SHOWN = 2_000
"""Characters of a text that are kept."""
SCHEMA = pa.schema(
    {
        "row_id": pa.string(),
        "check": pa.string(),
        "source": pa.string(),
        "asked": pa.string(),
        "base": pa.string(),
        "tuned": pa.string(),
        "base_score": pa.float64(),
        "tuned_score": pa.float64(),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One thing that both models were asked."""

    row_id: str
    """Of the row that was asked, so that it is found when somebody is forgotten; else a name."""
    check: str
    asked: str
    base: str
    tuned: str
    base_score: float
    """What it adds to the figure of its check."""
    tuned_score: float
    source: str = ""
    """Where what is asked is from, if a file says so."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """What a suite found."""

    figures: Sequence[Figure]
    examples: Sequence[Line]
    notes: Sequence[str] = ()


def by_source(what: str, lines: Sequence[Line]) -> list[str]:
    """What came of the examples of each source, where there are several."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        found.setdefault(line.source, []).append(line)
    if len(found) < 2:
        return []
    return [
        f"{what}, of {source or 'no source'}: base {sum(each.base_score for each in mine):g}, "
        f"tuned {sum(each.tuned_score for each in mine):g} of {len(mine)}"
        for source, mine in found.items()
    ]


def to_parquet(examples: Sequence[Line]) -> bytes:
    """Parquet of the examples; equal ones give equal bytes."""
    rows = [
        {
            "row_id": each.row_id,
            "check": each.check,
            "source": each.source,
            "asked": each.asked[:SHOWN],
            "base": each.base[:SHOWN],
            "tuned": each.tuned[:SHOWN],
            "base_score": each.base_score,
            "tuned_score": each.tuned_score,
        }
        for each in examples
    ]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), sink)
    return sink.getvalue()
