from __future__ import annotations

import datetime

import pytest

from tunesmith.core.meter import Usage
from tunesmith.ledger.facts import RunFacts, ended, moment, started


def test_a_moment_without_an_offset_is_utc_and_a_day_is_its_first_moment() -> None:
    assert moment("2026-01-02") == moment("2026-01-02T00:00:00Z")
    assert moment("2026-01-02T01:00:00+01:00") == moment("2026-01-02")
    with pytest.raises(ValueError, match="isoformat"):
        moment("yesterday")


def test_a_run_ends_after_what_it_took() -> None:
    usage = Usage(wall_s=90.0, cpu_s=1.0, peak_bytes=1, joules=1.0, joules_method="estimated")
    run = RunFacts(
        run="r1",
        step="gate:desk",
        stage="gate",
        status="succeeded",
        started_at="2026-01-02T10:00:00",
        usage=usage,
        model="desk",
        gate_passed=True,
    )
    assert ended(run) - started(run) == datetime.timedelta(seconds=90)
