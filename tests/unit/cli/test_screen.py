from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from tunesmith.cli.screen import Screen, energy, forecast_error, rule_lines
from tunesmith.core.event import Event
from tunesmith.core.meter import Forecast, Usage
from tunesmith.records.money import Rates
from tunesmith.stages.evaluate.config import GateRule, SliceConfig
from tunesmith.stages.evaluate.gate import no_rows

FORECAST = Forecast(
    wall_s=200.0,
    low_s=185.0,
    high_s=220.0,
    cpu_s=400.0,
    peak_bytes=2_400_000_000,
    joules=6200.0,
    basis="as seen",
)


def test_a_forecast_is_shown_with_its_interval(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.rates = Rates(currency="EUR", per_cpu_hour=Decimal("0.02"), per_kwh=Decimal("0.30"))
    screen(Event(step="finetune:desk", what="forecast", forecast=FORECAST))
    assert capsys.readouterr().err == (
        "  forecast: 3 min 20 s (3 min 05 s to 3 min 40 s), 2.4 GB, 6.2 kJ, 0.0027 EUR (as seen)\n"
    )


def test_a_forecast_without_doubt_has_no_interval(capsys: pytest.CaptureFixture[str]) -> None:
    sure = replace(FORECAST, low_s=200.0, high_s=200.0)
    Screen()(Event(step="echo", what="forecast", forecast=sure))
    assert capsys.readouterr().err == "  forecast: 3 min 20 s, 2.4 GB, 6.2 kJ (as seen)\n"


@pytest.mark.parametrize(
    ("took_s", "said"),
    [
        (185.0, "+8 % off on time (inside its interval)"),
        (220.0, "-9 % off on time (inside its interval)"),
        (184.9, "+8 % off on time (OUTSIDE its interval)"),
        (250.0, "-20 % off on time (OUTSIDE its interval)"),
    ],
)
def test_afterwards_it_is_held_against_what_was_used(took_s: float, said: str) -> None:
    used = Usage(
        wall_s=took_s,
        cpu_s=1.0,
        peak_bytes=2_400_000_000,
        joules=1.0,
        joules_method="estimated",
    )
    assert forecast_error(FORECAST, used) == f"forecast was {said}, +0 % on memory"


def test_energy() -> None:
    assert [energy(j) for j in (812.3, 6200, 3_900_000)] == ["812 J", "6.2 kJ", "3.9 MJ"]


def test_of_a_slice_without_rows_nothing_was_found_that_could_be_so() -> None:
    rule = GateRule(at_least=0.5, slice=SliceConfig(label="a"))
    (line,) = rule_lines([no_rows(rule, "accuracy")])
    assert line.endswith("; at least 10 rows are needed")
    few = replace(no_rows(rule, "accuracy"), observed="0.9 (0.1 to 1.0); too few rows to go by")
    (line,) = rule_lines([few])
    assert line.endswith("; about 10 rows would settle it, if what was found is so")
