"""The `[ledger]` section: rates, and what people have stated about the six criteria."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from typing import Annotated, Any, Literal

import pydantic

from tunesmith.core.section import Section
from tunesmith.records.money import Rates

Letter = Literal["a", "b", "c", "d", "e", "f"]


def _no_float(value: Any) -> Any:
    if isinstance(value, float):
        raise ValueError('write it in quotes, e.g. "0.02": a binary float is not an exact amount')
    return value


def _iso_day(value: Any) -> Any:
    if isinstance(value, datetime.date):  # a bare date in TOML
        return value.isoformat()
    if isinstance(value, str) and value:
        datetime.date.fromisoformat(value)
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
            raise ValueError(f"{value!r} is not a day such as 2026-01-31")
    return value


MOST = Decimal(10) ** 9
"""Of any currency more than an hour of a core or of a person costs; what thousands of such hours
cost is still exact to `cost.GRID`."""
LEAST = Decimal("0.000001")
"""A smaller price would vanish on `cost.GRID`, and what it prices would look as if it cost
nothing."""


def _no_more_than_the_most(value: Decimal) -> Decimal:
    if value > MOST:
        raise ValueError(f"{value} is more than an amount can be here: at most {MOST:,}")
    return value


def _enough_to_be_seen(value: Decimal) -> Decimal:
    if 0 < value < LEAST:
        raise ValueError(
            f"{value} is too little to be counted: write at least {LEAST}, or 0 for no price"
        )
    return value


Amount = Annotated[
    Decimal,
    pydantic.BeforeValidator(_no_float),
    pydantic.Field(ge=0),
    pydantic.AfterValidator(_no_more_than_the_most),
]
Price = Annotated[Amount, pydantic.AfterValidator(_enough_to_be_seen)]
Day = Annotated[str, pydantic.BeforeValidator(_iso_day)]


class CriterionConfig(Section):
    """What a named person states about one of the six criteria of IAS 38.57."""

    statement: str
    """What is stated, in a sentence."""
    evidence: str = ""
    """The document or record that it rests on: text, or a reference to it."""
    approver: str = ""
    """Who answers for the statement; without a name it shows nothing."""
    date: Day = ""
    """The day (YYYY-MM-DD) from which it was shown; without it, it shows nothing. It is taken as
    stated: when the statement was first written is not known here."""
    met: bool = True
    """False states that the criterion is not met from that day on, until a later statement."""


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


def _of_different_days(
    statements: tuple[CriterionConfig, ...],
) -> tuple[CriterionConfig, ...]:
    days = [each.date for each in statements]
    if twice := sorted({day for day in days if days.count(day) > 1}):
        raise ValueError(
            f"two statements are of one day, {twice[0]}; which one holds cannot be told"
            if twice[0]
            else "two statements have no day; give each its own"
        )
    return tuple(sorted(statements, key=lambda each: each.date))


Statements = Annotated[
    tuple[CriterionConfig, ...],
    pydantic.BeforeValidator(_listed),
    pydantic.AfterValidator(_of_different_days),
]
"""What was stated of a criterion, by day: at any moment the newest one not after it holds. One
statement may be written without a list."""
Criteria = dict[Letter, Statements]


class AssetConfig(Section):
    """What people state about one model alone: IAS 38.57 is asked of each asset."""

    criteria: Criteria = pydantic.Field(default_factory=dict)
    """Statements about the criteria (a) to (f), by letter; from the day of the first of a letter on
    they hold in place of the general ones."""
    available_on: Day = ""
    """The day (YYYY-MM-DD) on which this model was, or is to be, available for use."""


class LedgerConfig(Section):
    """Prices of what runs use, and the statements that only people can make."""

    currency: str = pydantic.Field(default="EUR", pattern="^[A-Z]{3}$")
    """ISO 4217 code of the currency of the books."""
    per_cpu_hour: Price = Decimal(0)
    """Price of one core for an hour, in quotes, e.g. "0.02"."""
    per_kwh: Price = Decimal(0)
    """Price of a kilowatt hour, in quotes, e.g. "0.30"."""
    per_review_hour: Price = Decimal(0)
    """Price of an hour of a person who reviews rows, in quotes, e.g. "48.00": `tunesmith review
    status`, `data show` and `data value` say what rows cost by it. The register has runs alone, and
    so not this."""
    budget_per_run: Amount | None = None
    """The most that one run of one step may cost, in quotes, e.g. "0.50": a step that would cost
    more is not begun, one that has cost more keeps what it did and stops. A run that goes on from
    there has the whole budget again. All runs of a search over recipes share one budget. Left out:
    no limit."""
    criteria: Criteria = pydantic.Field(default_factory=dict)
    """Statements about the criteria (a) to (f) of IAS 38.57, by letter: one, or a list, each of
    another day, of which the newest holds. They are about the only model on record: from the day on
    which a second one has runs each model needs its own, in `models`."""
    available_on: Day = ""
    """The day (YYYY-MM-DD) on which the only model on record was, or is to be, available for use. A
    release under the alias "production" before that day counts; empty: it alone counts."""
    models: dict[str, AssetConfig] = pydantic.Field(default_factory=dict)
    """What is stated about one model alone, by its name."""

    @property
    def rates(self) -> Rates:
        """The prices as a record."""
        return Rates(
            currency=self.currency,
            per_cpu_hour=self.per_cpu_hour,
            per_kwh=self.per_kwh,
            per_review_hour=self.per_review_hour,
        )
