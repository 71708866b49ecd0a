"""Rows that may not be trained on, as other datasets test on them; and what stands on both sides.

A row is left out that is like a test row of another dataset, or in which one stands. Of the split
inside one dataset the latter is counted and said, and no more: contracts and notices share whole
paragraphs by right, and a template's words say nothing of what fills it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pyarrow.parquet as pq

from tunesmith.core.step import Context
from tunesmith.records.data import Dataset
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.filters import leak_thresholds
from tunesmith.stages.curate.rows import Dropped, Row, drop
from tunesmith.stages.curate.semantic import Meanings, most_alike
from tunesmith.stages.curate.split import Sides
from tunesmith.text.contained import (
    AT_LEAST,
    COMMON_ROWS,
    COMMON_SHARE,
    NUM_WORDS,
    asked_in,
    everything_in,
    held_rows,
)
from tunesmith.text.dedup import resembling


def kept_apart(
    config: DatasetConfig,
    rows: list[Row],
    apart: Sequence[Dataset],
    meanings: Meanings | None,
    ctx: Context,
) -> list[Row]:
    """The rows, each with the test row of another dataset that it resembles, or holds, if there is
    one."""
    if not apart:
        return rows
    tests = [
        (f"{dataset.name}: {row['row_id']}", row)
        for dataset in apart
        for row in pq.read_table(
            ctx.blobs.path(dataset.test.rows), columns=["row_id", "text", "content"]
        ).to_pylist()
    ]
    ctx.progress(0, 0, "compares rows with other test rows")
    texts = [row["text"] for _, row in tests]
    places = {row["row_id"]: place for place, (_, row) in enumerate(tests)}
    found = resembling([row.text for row in rows], texts, leak_thresholds(config))
    like = {place: pair.second for place, pair in enumerate(found) if pair}
    if meanings is not None:
        alike = most_alike(rows, texts, meanings, ctx)
        same = {row: at for row, (at, cosine) in alike.items() if cosine >= meanings.at_least}
        like = same | like
    for at, row in enumerate(rows):  # what was made from a test row may say it in other words
        if seed := next((each for each in row.seeds if each in places), ""):
            like[at] = places[seed]
    asked = [(row["text"], *asked_in(row["content"])) for _, row in tests]
    holds: dict[int, int] = {}
    for held in held_rows(asked, [everything_in(row.content) for row in rows]):
        holds.setdefault(held.second, held.first)
    return [
        dataclasses.replace(
            row,
            like=tests[like[place]][0] if place in like else "",
            holds=tests[holds[place]][0] if place in holds else "",
        )
        for place, row in enumerate(rows)
    ]


def barred_rows(sides: Sides) -> list[Dropped]:
    """The rows that are left out for another dataset's test rows."""
    return [
        drop(row, "like another dataset's test row", row.like)
        if row.like
        else drop(row, "holds another dataset's test row", row.holds)
        for row in sides.barred
    ]


def apart_said(config: DatasetConfig, sides: Sides) -> str:
    """What the card says of other datasets' test rows."""
    if not config.apart_from:
        return ""
    others = ", ".join(config.apart_from)
    num_like = sum(bool(row.like) for row in sides.barred)
    said = f"""

No training row is that similar to a test row of {others}:
{num_like} rows were left out for it."""
    if num_holding := len(sides.barred) - num_like:
        said += f""" {num_holding} more were left out, as a test row
stands in them: {_RULE}."""
    return said


def standing_said(sides: Sides) -> str:
    """What the card says of test rows that stand in its own training rows; nothing where none
    does."""
    asked = [(row.text, *asked_in(row.content)) for row in sides.test]
    held = held_rows(asked, [everything_in(row.content) for row in sides.train])
    if not held:
        return ""
    one, of = sides.test[held[0].first], sides.train[held[0].second]
    num_rows = len({each.first for each in held})
    return f"""

**Warning:** {num_rows} of the {len(sides.test)} test rows stand whole in a training row, such as
{one.pointer} in {of.pointer}: {_RULE}.
They are tested on all the same. Clauses and notices are shared by right; a question whose answer
was trained on tests nothing."""


_RULE = f"""{AT_LEAST:.0%} of the runs of {NUM_WORDS} words of its text, or of a user's
turn in it, not counting runs that stand in more than {COMMON_SHARE:.0%} of the rows, and in more
than {COMMON_ROWS}"""
