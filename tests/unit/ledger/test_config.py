from __future__ import annotations

import tomllib
from decimal import Decimal

import pydantic
import pytest

from tunesmith.core.canonical import canonical_json
from tunesmith.ledger.config import LedgerConfig

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


def test_a_section_as_it_stands_in_a_project_file() -> None:
    config = LedgerConfig(**tomllib.loads(TOML))
    assert config.rates.per_kwh == Decimal("0.30")
    assert config.rates.currency == "EUR"
    assert config.budget_per_run == Decimal("0.50")
    assert LedgerConfig().budget_per_run is None
    assert config.available_on == "2026-03-01"
    assert config.criteria["b"].date == "2026-02-01"
    assert config.criteria["b"].met
    canonical_json(config)  # has stable bytes


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("per_cpu_hour", 0.02, "in quotes"),
        ("per_kwh", "-0.1", "greater than or equal to 0"),
        ("per_kwh", "NaN", "finite"),
        ("budget_per_run", 0.5, "in quotes"),
        ("budget_per_run", "-1", "greater than or equal to 0"),
        ("currency", "euro", "pattern"),
        ("available_on", "next week", "isoformat"),
        ("available_on", "20260301", "not a day"),
        ("criteria", {"g": {"statement": "?"}}, "'a', 'b'"),
        ("discount", "1", "Extra inputs"),
    ],
)
def test_what_cannot_be_right_is_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=message):
        LedgerConfig.model_validate({field: value})
