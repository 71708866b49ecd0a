"""The times of a schedule: cron's five fields, read in a time zone.

`cronsim` reads them as Debian's cron does. Where a day has an hour less, what was to run in it runs
once, right after the gap; where a day has an hour twice, what is set for a time in it runs once, in
the first of the two. What runs in every hour (`*`) runs in every hour that there is.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

FIELDS = 5


def check(cron: str) -> None:
    """Raise ValueError unless `cron` is five fields of cron, and comes due at some time."""
    if len(cron.split()) != FIELDS:
        raise ValueError(
            "write five fields: minute, hour, day of the month, month, day of the week, as in "
            '"0 6 * * mon-fri"'
        )
    try:
        first = next(CronSim(cron, datetime(2000, 1, 1, tzinfo=UTC)), None)
    except CronSimError as error:
        said = str(error)
        raise ValueError(f"cron does not know this: {said[:1].lower()}{said[1:]}") from error
    if first is None:
        raise ValueError("no day is such a day")


def times(cron: str, timezone: str, after: datetime) -> Iterator[datetime]:
    """When `cron` comes due after a moment: UTC, each once, in order, without an end."""
    last = after.astimezone(UTC)
    for local in CronSim(cron, last.astimezone(ZoneInfo(timezone))):
        found = local.astimezone(UTC)
        if found > last:  # in the hour that comes twice, what is set for it was due in the first
            last = found
            yield found


def due(
    cron: str, timezone: str, after: datetime, until: datetime
) -> tuple[datetime, datetime] | None:
    """The first and the latest time after `after` that is not after `until`; None for none.

    The latest is looked for backwards in longer and longer spans, so that a schedule of every
    minute is not counted through a year.
    """
    first = next(times(cron, timezone, after), None)
    if first is None or first > until:
        return None
    span = timedelta(hours=1)
    while until - span > after:
        if found := _between(cron, timezone, until - span, until):
            return first, found[-1]
        span *= 2
    return first, _between(cron, timezone, after, until)[-1]


def _between(cron: str, timezone: str, after: datetime, until: datetime) -> list[datetime]:
    found: list[datetime] = []
    for each in times(cron, timezone, after):
        if each > until:
            break
        found.append(each)
    return found
