from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.core.meter import Forecast, Usage
from tunesmith.ledger.budget import over_budget
from tunesmith.ledger.cost import price
from tunesmith.records.money import Rates

RATES = Rates(currency="EUR", per_cpu_hour=Decimal(3600), per_kwh=Decimal(0))


def usage(cpu_s: float) -> Usage:
    return Usage(wall_s=1.0, cpu_s=cpu_s, peak_bytes=1, joules=9.0, joules_method="estimated")


def test_more_than_the_budget_is_too_much_and_just_as_much_is_not() -> None:
    budget = Decimal("0.50")
    assert over_budget(usage(0.5), rates=RATES, budget=budget) == ""
    assert over_budget(usage(0.51), rates=RATES, budget=budget) == (
        "0.51 EUR, and ledger.budget_per_run is 0.50 EUR"
    )


def test_no_budget_is_no_limit_and_a_budget_of_nothing_is_one() -> None:
    assert over_budget(usage(1e9), rates=RATES, budget=None) == ""
    assert over_budget(usage(0.1), rates=RATES, budget=Decimal(0)) != ""


@given(cpu_s=st.floats(0, 1e6), budget=st.decimals(0, 1000, places=2))
def test_a_forecast_is_judged_by_its_price(cpu_s: float, budget: Decimal) -> None:
    forecast = Forecast(
        wall_s=1.0, low_s=0.5, high_s=2.0, cpu_s=cpu_s, peak_bytes=1, joules=0.0, basis=""
    )
    said = over_budget(forecast, rates=RATES, budget=budget)
    assert bool(said) == (price(forecast, RATES).amount > budget)


@pytest.mark.parametrize("cpu_s", [float("nan"), -1.0])
def test_what_is_no_measurement_is_no_cost(cpu_s: float) -> None:
    with pytest.raises(ValueError, match="cpu_s"):
        over_budget(usage(cpu_s), rates=RATES, budget=Decimal(1))


def test_runs_that_share_a_budget_are_added_up() -> None:
    so_far = price(usage(0.4), RATES)
    budget = Decimal("0.50")
    assert over_budget(usage(0.1), rates=RATES, budget=budget, so_far=so_far) == ""
    assert over_budget(usage(0.2), rates=RATES, budget=budget, so_far=so_far) == (
        "0.60 EUR with the 0.40 EUR that came before, and ledger.budget_per_run is 0.50 EUR"
    )
