"""When a schedule comes due: as Debian's cron says, which is written down here a second time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.stages.schedule.config import ScheduleConfig
from tunesmith.stages.schedule.times import due, times

MINUTE = timedelta(minutes=1)
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local(cron: str, zone: str, after: str, count: int) -> list[str]:
    """The next times by the zone's clocks, of those after a time by the same clocks."""
    begin = datetime.fromisoformat(after).replace(tzinfo=ZoneInfo(zone))
    found = islice(times(cron, zone, begin), count)
    return [each.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes") for each in found]


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        # The hour from 02:00 does not exist on 29 March: once, right after the gap.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00",
         ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]),
        ("0,30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00",
         ["2026-03-29T03:00+02:00", "2026-03-29T03:30+02:00", "2026-03-30T02:00+02:00"]),
        ("30 2 * * *", "America/New_York", "2026-03-07T12:00",
         ["2026-03-08T03:00-04:00", "2026-03-09T02:30-04:00"]),
        # It comes twice on 25 October: once, in the first of the two.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00",
         ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]),
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00",
         ["2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00"]),
        # What runs every hour runs in every hour that there is.
        ("0 * * * *", "Europe/Berlin", "2026-10-25T01:30",
         ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00", "2026-10-25T03:00+01:00"]),
        ("0 * * * *", "Europe/Berlin", "2026-03-29T00:30",
         ["2026-03-29T01:00+01:00", "2026-03-29T03:00+02:00"]),
        # Either day is enough where both are said: Friday, and the 13th.
        ("0 6 13 * fri", "UTC", "2026-11-10T00:00",
         ["2026-11-13T06:00+00:00", "2026-11-20T06:00+00:00", "2026-11-27T06:00+00:00",
          "2026-12-04T06:00+00:00", "2026-12-11T06:00+00:00", "2026-12-13T06:00+00:00"]),
        ("5/20 6-10/2 * feb,dec mon-fri", "UTC", "2026-11-26T00:00",
         ["2026-12-01T06:05+00:00", "2026-12-01T06:25+00:00", "2026-12-01T06:45+00:00",
          "2026-12-01T08:05+00:00"]),
        ("0 0 29 2 *", "UTC", "2026-11-26T00:00", ["2028-02-29T00:00+00:00"]),
    ],
)  # fmt: skip
def test_when_it_comes_due(cron, zone, after, expected):
    assert local(cron, zone, after, len(expected)) == expected


def test_what_was_due_in_the_first_hour_is_not_due_in_the_second():
    """Set at 02:10 winter time of the day that has 02:30 twice."""
    second = datetime(2026, 10, 25, 2, 10, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))
    assert next(times("30 2 * * *", "Europe/Berlin", second)) == utc("2026-10-26T01:30")


def debian(minutes, hours, zone: str, begin: datetime, end: datetime) -> list[datetime]:
    """Of a job on every day: with `hours` None each hour that there is, else those of the clock."""
    found = set()
    if hours is None:
        now = begin + MINUTE
        while now <= end:
            if now.astimezone(ZoneInfo(zone)).minute in minutes:
                found.add(now)
            now += MINUTE
        return sorted(found)
    wall = begin.replace(tzinfo=None) - timedelta(days=2)
    while wall <= end.replace(tzinfo=None) + timedelta(days=2):
        if wall.minute in minutes and wall.hour in hours:
            there = wall.replace(tzinfo=ZoneInfo(zone))
            skipped = there.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) != wall
            while skipped:  # not a time of that day: the first that is
                there += MINUTE
                again = there.astimezone(UTC).astimezone(ZoneInfo(zone))
                skipped = again.replace(tzinfo=None) != there.replace(tzinfo=None)
            found.add(there.astimezone(UTC))
        wall += MINUTE
    return sorted(each for each in found if begin < each <= end)


@given(
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    change=st.sampled_from(["2026-03-08", "2026-03-29", "2026-04-05", "2026-10-25", "2026-11-01"]),
    minutes=st.sets(st.integers(0, 59), min_size=1, max_size=2),
    hours=st.none() | st.sets(st.integers(0, 4), min_size=1, max_size=3),
    before=st.integers(0, 2_000),
)
def test_the_hours_around_a_change_of_the_clocks(zone, change, minutes, hours, before):
    begin = utc(f"{change}T12:00") - before * MINUTE
    end = begin + timedelta(days=1)
    said = "*" if hours is None else ",".join(map(str, hours))
    cron = f"{','.join(map(str, minutes))} {said} * * *"
    found = list(takewhile(lambda each: each <= end, times(cron, zone, begin)))
    expected = debian(minutes, hours, zone, begin, end)
    assert found == expected
    assert due(cron, zone, begin, end) == ((expected[0], expected[-1]) if expected else None)


def test_a_year_without_a_tick_is_looked_through_at_once():
    first, latest = (
        due("* * * * *", "UTC", utc("2025-11-26T00:00"), utc("2026-11-26T00:00:30")) or ()
    )
    assert (first, latest) == (utc("2025-11-26T00:01"), utc("2026-11-26T00:00"))
    assert due("* * * * *", "UTC", utc("2026-11-26T00:00"), utc("2026-11-26T00:00:59")) is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cron": "0 6 * *"}, "write five fields"),
        ({"cron": "0 0 6 * * *"}, "write five fields"),
        ({"cron": "@daily"}, "write five fields"),
        ({"cron": "60 * * * *"}, "bad minute"),
        ({"cron": "0 6 * * moon"}, "bad day-of-week"),
        ({"cron": "0 6 * * fri-mon"}, "bad day-of-week"),
        ({"cron": "*/0 * * * *"}, "bad minute"),
        ({"cron": "0 0 30 2 *"}, "bad day-of-month"),
        ({"timezone": "Europe/Atlantis"}, "no time zone has this name"),
        ({"timezone": "../../etc/passwd"}, "no time zone has this name"),
        ({"timezone": "Europe"}, "no time zone has this name"),
        ({"timezone": ""}, "no time zone has this name"),
        ({"run": ["visits"]}, "match pattern"),
        ({"run": ["gate:desk"]}, "match pattern"),
        ({"catch_up": "all"}, "latest"),
    ],
)
def test_what_is_no_schedule_is_refused(settings, said):
    with pytest.raises(pydantic.ValidationError, match=said):
        ScheduleConfig(**{"cron": "0 6 * * *", **settings})


def test_every_day_of_the_week_has_a_name():
    for number, name in enumerate(DAYS):
        (found,) = islice(times(f"0 0 * * {name}", "UTC", utc("2026-11-20T12:00")), 1)
        assert (found.isoweekday() % 7, found) == (
            number,
            next(times(f"0 0 * * {number}", "UTC", utc("2026-11-20T12:00"))),
        )
