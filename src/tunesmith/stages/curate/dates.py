"""Rows by their time: what came first is tuned on, and what came later is tested on."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Sequence

from tunesmith.core.errors import DataError
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.rows import Dropped, Row, drop
from tunesmith.stages.curate.together import text_of

NO_DATE = "no date"


def dated(config: DatasetConfig, rows: Sequence[Row]) -> tuple[list[Row], list[Dropped]]:
    """What `by_date` finds, if it keeps any.

    Raises:
        DataError: no row has a date that can be read.
    """
    kept, dropped = by_date(config, rows)
    if rows and not kept:
        raise DataError(
            f"dataset {config.name!r}: no row has a date in {config.date!r}, e.g. "
            f"{dropped[0].pointer}: {dropped[0].detail}",
            remedy="name the field in `date` whose values are written as 2026-11-26",
        )
    return kept, dropped


def by_date(config: DatasetConfig, rows: Sequence[Row]) -> tuple[list[Row], list[Dropped]]:
    """The rows, each with the side that its date is of; and those of which it cannot be told."""
    if not config.test_from:
        return list(rows), []
    start = moment(config.test_from)
    kept: list[Row] = []
    dropped: list[Dropped] = []
    for row in rows:
        said = text_of(json.loads(row.attributes).get(config.date))
        try:
            kept.append(dataclasses.replace(row, is_late=moment(said) >= start))
        except ValueError:
            dropped.append(drop(row, NO_DATE, f"{config.date} is {said!r}"))
    return kept, dropped


def moment(said: str) -> datetime.datetime:
    """A date (ISO 8601), with or without a time of day; without an offset it is UTC's.

    >>> moment("2026-11-26") < moment("2026-11-26T00:30:00+00:00") < moment("2026-11-26 01:00")
    True

    Raises:
        ValueError: it is none.
    """
    found = datetime.datetime.fromisoformat(said)
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)
