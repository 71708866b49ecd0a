"""What a suite found, before it is stored; and each example as a line of a table."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.core.ref import to_plain
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
        "scores": pa.list_(
            pa.struct(
                {
                    "figure": pa.string(),
                    "base": pa.float64(),
                    "tuned": pa.float64(),
                    "size": pa.float64(),
                }
            )
        ),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """What an example adds to a figure."""

    figure: str
    base: float
    tuned: float
    size: float = 1.0
    """Of a ratio how much it counts; of an area 1 for members and 0 for others."""


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
    scores: tuple[Score, ...] = ()
    """What it adds to each figure that it counts for, so that versions can be compared."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """What a suite found."""

    figures: Sequence[Figure]
    examples: Sequence[Line]
    notes: Sequence[str] = ()


def scores_of(told: Mapping[str, Sequence[Sequence[float]]], place: int) -> tuple[Score, ...]:
    """What the example at `place` adds to each of the figures of `told`, which has of each what
    every example has, for the base model and for the tuned one."""
    return tuple(
        Score(figure=name, base=float(base[place]), tuned=float(tuned[place]))
        for name, (base, tuned) in told.items()
    )


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
            "scores": [to_plain(score) for score in each.scores],
        }
        for each in examples
    ]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), sink)
    return sink.getvalue()
