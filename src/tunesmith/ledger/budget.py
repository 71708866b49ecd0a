"""Whether a run may cost what it does."""

from __future__ import annotations

from decimal import Decimal

from tunesmith.core.meter import Forecast, Usage
from tunesmith.ledger.cost import display, price, zero
from tunesmith.records.money import Money, Rates


def over_budget(
    used: Usage | Forecast, *, rates: Rates, budget: Decimal | None, so_far: Money | None = None
) -> str:
    """What `used` costs and what it may cost at most, if that is less; empty if all is well.

    `budget` is in the currency of `rates`; None is no limit. Of several runs that share a budget,
    `so_far` is what the earlier ones cost.
    """
    cost = price(used, rates) + (so_far or zero(rates.currency))
    if budget is None or cost.amount <= budget:
        return ""
    allowed = display(Money(amount=budget, currency=rates.currency))
    together = f" with the {display(so_far)} that came before" if so_far else ""
    return f"{display(cost)}{together}, and ledger.budget_per_run is {allowed}"
