from __future__ import annotations

import tomllib
from decimal import Decimal
from fractions import Fraction

import pydantic
import pytest

from tunesmith.core.canonical import canonical_json
from tunesmith.core.meter import Usage
from tunesmith.ledger.config import LEAST, MOST, LedgerConfig
from tunesmith.ledger.cost import GRID, price

TOML = """
currency = "EUR"
per_cpu_hour = "0.02"
per_kwh = "0.30"
budget_per_run = "0.50"
available_on = 2026-03-01
[criteria.b]
statement = "We mean to finish it and to use it."
evidence = "minutes 2026-02"
approver = "A. Board"
date = 2026-02-01
"""

STATED = {"statement": "We mean to.", "approver": "A. Board", "date": "2026-02-01"}


def test_a_section_as_it_stands_in_a_project_file() -> None:
    config = LedgerConfig(**tomllib.loads(TOML))
    assert config.rates.per_kwh == Decimal("0.30")
    assert config.rates.currency == "EUR"
    assert config.budget_per_run == Decimal("0.50")
    assert LedgerConfig().budget_per_run is None
    assert config.available_on == "2026-03-01"
    (stated,) = config.criteria["b"]
    assert stated.date == "2026-02-01"
    assert stated.met
    canonical_json(config)  # has stable bytes


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("per_cpu_hour", 0.02, "in quotes"),
        ("per_kwh", "-0.1", "greater than or equal to 0"),
        ("per_kwh", "NaN", "finite"),
        ("budget_per_run", 0.5, "in quotes"),
        ("budget_per_run", "-1", "greater than or equal to 0"),
        ("per_cpu_hour", "1e30", r"1E\+30 is more than .* at most 1,000,000,000"),
        ("budget_per_run", "1000000000.01", "more than an amount"),
        ("per_kwh", "1e-40", r"too little to be counted: write at least 0\.000001, or 0"),
        ("per_review_hour", "0.0000009", "too little"),
        ("currency", "euro", "pattern"),
        ("available_on", "next week", "isoformat"),
        ("available_on", "20260301", "not a day"),
        ("criteria", {"g": {"statement": "?"}}, "'a', 'b'"),
        ("criteria", {"b": [STATED, STATED]}, "two statements are of one day, 2026-02-01"),
        ("criteria", {"b": [{"statement": "x"}] * 2}, "two statements have no day"),
        ("criteria", {"b": [STATED, {"statment": "x"}]}, "Extra inputs"),
        ("models", {"desk": {"available": "2026-02-01"}}, "Extra inputs"),
        ("models", {"desk": {"criteria": {"g": STATED}}}, "'a', 'b'"),
        ("discount", "1", "Extra inputs"),
    ],
)
def test_what_cannot_be_right_is_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=message):
        LedgerConfig.model_validate({field: value})


@pytest.mark.parametrize("field", ["per_cpu_hour", "per_kwh", "per_review_hour", "budget_per_run"])
def test_the_bounds_themselves_and_nothing_are_amounts(field: str) -> None:
    for value in ("0", "0.000001", "1000000000"):
        assert getattr(LedgerConfig.model_validate({field: value}), field) == Decimal(value)


def test_the_smallest_and_the_largest_price_price_what_runs_use() -> None:
    """A second at the least price is seen; a thousand core years at the most have a price."""
    for rate in (LEAST, MOST):
        rates = LedgerConfig.model_validate({"per_cpu_hour": str(rate)}).rates
        for cpu_s in (1, 1000 * 365 * 24 * 3600):
            used = Usage(
                wall_s=1.0, cpu_s=cpu_s, peak_bytes=1, joules=0.0, joules_method="measured"
            )
            wanted = Fraction(rate) * cpu_s / 3600
            assert abs(Fraction(price(used, rates).amount) - wanted) <= Fraction(GRID)


def test_a_budget_may_be_as_small_as_one_likes() -> None:
    assert LedgerConfig.model_validate({"budget_per_run": "1e-12"}).budget_per_run


def test_statements_are_told_by_their_days_in_whatever_order_they_are_written() -> None:
    section = """
    [[models.desk.criteria.d]]
    statement = "No market any more."
    met = false
    date = 2026-03-01
    [[models.desk.criteria.d]]
    statement = "The desk saves an hour a day."
    date = 2026-01-01
    """
    config = LedgerConfig(**tomllib.loads(section))
    assert [(s.date, s.met) for s in config.models["desk"].criteria["d"]] == [
        ("2026-01-01", True),
        ("2026-03-01", False),
    ]
    canonical_json(config)
