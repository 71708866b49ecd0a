from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.core.meter import Forecast, Usage
from tunesmith.ledger.cost import GRID, display, price, zero
from tunesmith.records.money import Money, Rates

RATES = Rates(currency="EUR", per_cpu_hour=Decimal("0.02"), per_kwh=Decimal("0.30"))
seconds = st.integers(0, 10**11).map(lambda n: n / 10_000)
joules = st.integers(0, 10**12).map(lambda n: n / 100)
rates = st.builds(
    Rates,
    currency=st.just("EUR"),
    per_cpu_hour=st.decimals(0, 1000, places=4),
    per_kwh=st.decimals(0, 10, places=4),
)


def usage(cpu_s: float, joules: float = 0.0) -> Usage:
    return Usage(wall_s=cpu_s, cpu_s=cpu_s, peak_bytes=1, joules=joules, joules_method="estimated")


def test_price_by_hand() -> None:
    # 1 h 30 min at 0.02 is 0.03; 1.08 MJ is 0.3 kWh, at 0.30 that is 0.09.
    assert price(usage(5400.0, 1_080_000.0), RATES).amount == Decimal("0.12")
    # 7 s: 7/3600 * 0.02 = 0.0000388...; 105 J: 105/3.6e6 * 0.3 = 0.00000875
    assert price(usage(7.0, 105.0), RATES).amount == Decimal("0.000047638889")


def test_a_forecast_is_priced_like_what_it_foretells() -> None:
    forecast = Forecast(
        wall_s=1.0, low_s=0.9, high_s=1.1, cpu_s=7.0, peak_bytes=1, joules=105.0, basis="a guess"
    )
    assert price(forecast, RATES) == price(usage(7.0, 105.0), RATES)


def test_a_float_enters_by_its_digits() -> None:
    rates = Rates(currency="EUR", per_cpu_hour=Decimal(3600), per_kwh=Decimal(0))
    assert price(usage(0.1), rates).amount == Decimal("0.1")  # Decimal(0.1) has 55 digits


@pytest.mark.parametrize("cpu_s", [-1.0, float("nan"), float("inf")])
def test_what_is_no_measurement_has_no_price(cpu_s: float) -> None:
    with pytest.raises(ValueError, match="cpu_s"):
        price(usage(cpu_s), RATES)


@given(a=seconds, b=seconds, x=joules, y=joules, rates=rates)
def test_price_is_additive_to_the_grid(
    a: float, b: float, x: float, y: float, rates: Rates
) -> None:
    apart = price(usage(a, x), rates) + price(usage(b, y), rates)
    together = price(usage(float(Decimal(str(a)) + Decimal(str(b))), x + y), rates)
    # x + y is a float sum: one part in 1e16 of at most 2e10 J, at 10 a kWh, stays under the grid.
    assert abs(apart.amount - together.amount) <= 12 * GRID


@given(a=seconds, b=seconds, x=joules, rates=rates)
def test_price_is_monotone(a: float, b: float, x: float, rates: Rates) -> None:
    low, high = sorted((a, b))
    assert price(usage(low, x), rates).amount <= price(usage(high, x), rates).amount


@given(st.lists(st.tuples(seconds, joules), min_size=1, max_size=30), st.randoms())
def test_sums_agree_in_any_order(parts: list[tuple[float, float]], random) -> None:  # type: ignore[no-untyped-def]
    costs = [price(usage(*part), RATES) for part in parts]
    shuffled = list(costs)
    random.shuffle(shuffled)
    assert sum(costs, zero("EUR")) == sum(shuffled, zero("EUR"))


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "0.00 EUR"),
        ("12.345", "12.35 EUR"),
        ("1234567.891", "1234567.89 EUR"),
        ("0.056", "0.06 EUR"),
        ("0.0047638", "0.0048 EUR"),
        ("0.000344", "0.00034 EUR"),
        ("0.000000001", "0.0000000010 EUR"),
        ("-0.0031", "-0.0031 EUR"),
    ],
)
def test_display(amount: str, shown: str) -> None:
    assert display(Money(amount=Decimal(amount), currency="EUR")) == shown


def test_display_in_a_currency_without_a_minor_unit() -> None:
    assert display(Money(amount=Decimal("1234.5"), currency="JPY"), minor_units=0) == "1235 JPY"
