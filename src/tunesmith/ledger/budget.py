"""Whether a run may cost what it does."""

from __future__ import annotations

from decimal import Decimal

from tunesmith.core.meter import Forecast, Usage
from tunesmith.ledger.cost import display, price
from tunesmith.records.money import Money, Rates


def over_budget(used: Usage | Forecast, *, rates: Rates, budget: Decimal | None) -> str:
    """What `used` costs and what it may cost at most, if that is less; empty if all is well.

    `budget` is in the currency of `rates`; None is no limit.
    """
    cost = price(used, rates)
    if budget is None or cost.amount <= budget:
        return ""
    allowed = display(Money(amount=budget, currency=rates.currency))
    return f"{display(cost)}, and ledger.budget_per_run is {allowed}"
