"""What a run cost: what was measured, times the rates of today.

The measurement is kept; the price is worked out each time, so that restating a rate restates
every cost and changes no measurement.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal
from typing import TYPE_CHECKING

from tunesmith.records.money import Money, Rates

if TYPE_CHECKING:
    from tunesmith.core.meter import Forecast, Preview, Usage

SECONDS_PER_HOUR = Decimal(3600)
JOULES_PER_KWH = Decimal(3_600_000)
GRID = Decimal("1e-12")
"""Costs are kept as whole multiples of this part of a currency unit. A quotient such as 1/3600 has
no last digit; on a fixed grid sums are exact, so that they agree in any order."""
_WIDE = Context(prec=200)
"""Enough digits for any amount on the grid: with 28, those of a wide forecast would not fit."""


def price(usage: Usage | Forecast | Preview, rates: Rates) -> Money:
    """The cost of `usage` at `rates`: CPU seconds by the hour, joules by the kilowatt hour.

    Raises:
        ValueError: a measurement is negative or not a number.
    """
    cpu_s = _decimal(usage.cpu_s, "cpu_s")
    joules = _decimal(usage.joules, "joules")
    amount = cpu_s * rates.per_cpu_hour / SECONDS_PER_HOUR + joules * rates.per_kwh / JOULES_PER_KWH
    return Money(amount=on_grid(amount), currency=rates.currency)


def price_review(seconds: float, rates: Rates) -> Money:
    """The cost of so much time of people who review rows.

    Raises:
        ValueError: it is negative or not a number.
    """
    amount = _decimal(seconds, "seconds") * rates.per_review_hour / SECONDS_PER_HOUR
    return Money(amount=on_grid(amount), currency=rates.currency)


def on_grid(amount: Decimal) -> Decimal:
    """The multiple of `GRID` that is nearest to `amount`."""
    return amount.quantize(GRID, rounding=ROUND_HALF_EVEN, context=_WIDE)


def zero(currency: str) -> Money:
    """Nothing, in `currency`."""
    return Money(amount=Decimal(0).quantize(GRID), currency=currency)


def display(money: Money, minor_units: int = 2) -> str:
    """`money` for people: rounded half up to the minor unit, further only if it would vanish.

    >>> display(Money(amount=Decimal("12.345"), currency="EUR"))
    '12.35 EUR'
    >>> display(Money(amount=Decimal("0.000344"), currency="EUR"))
    '0.00034 EUR'
    """
    digits = minor_units
    if money.amount and money.amount.adjusted() < -minor_units:
        digits = 1 - money.amount.adjusted()  # two significant digits
    smallest = Decimal(1).scaleb(-digits)
    rounded = money.amount.quantize(smallest, rounding=ROUND_HALF_UP, context=_WIDE)
    return f"{rounded:f} {money.currency}"


def _decimal(value: float, name: str) -> Decimal:
    exact = Decimal(str(value))
    if not exact.is_finite() or exact < 0:
        raise ValueError(f"{name} is {value!r}; a measurement is a number from zero upwards")
    return exact
