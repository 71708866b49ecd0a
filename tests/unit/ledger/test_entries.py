from __future__ import annotations

from decimal import Decimal

from tunesmith.core.meter import Usage
from tunesmith.ledger.config import LedgerConfig
from tunesmith.ledger.criteria import Turn
from tunesmith.ledger.entries import available_since, enter
from tunesmith.ledger.facts import RunFacts, moment

CONFIG = LedgerConfig(per_cpu_hour=Decimal("0.02"), per_kwh=Decimal("0.30"))
RUN = RunFacts(
    run="r1",
    step="finetune:desk",
    stage="finetune",
    status="succeeded",
    started_at="2026-01-02T10:00:00",
    usage=Usage(
        wall_s=900.0, cpu_s=1800.0, peak_bytes=1, joules=27_000.0, joules_method="estimated"
    ),
    model="desk",
)


def test_an_entry_is_priced_and_reasoned() -> None:
    found = enter(RUN, [Turn(at=moment("2026-01-01"), unmet=())], None, CONFIG)
    # half an hour at 0.02, and 0.0075 kWh at 0.30
    assert found.cost.amount == Decimal("0.01225")
    assert (found.phase, found.treatment) == ("development", "capitalise")
    after = enter(RUN, [Turn(at=moment("2026-01-03"), unmet=())], None, CONFIG)
    assert after.treatment == "expense"


def test_restated_rates_restate_costs() -> None:
    dearer = CONFIG.model_copy(update={"per_cpu_hour": Decimal("0.04")})
    assert enter(RUN, [], None, dearer).cost.amount == Decimal("0.02225")


def test_availability_is_as_stated_or_the_first_release_as_production() -> None:
    def release(run: str, day: str, alias: str, status: str = "succeeded") -> RunFacts:
        return RunFacts(
            run=run,
            step="release:desk",
            stage="release",
            status=status,  # type: ignore[arg-type]
            started_at=day,
            usage=None,
            model="desk",
            alias=alias,
        )

    runs = [
        release("r1", "2026-01-01", "production", "failed"),
        release("r2", "2026-01-02", "candidate"),
        release("r3", "2026-01-03", "production"),
        release("r4", "2026-01-04", "production"),
    ]
    assert available_since(runs[:2], CONFIG, "desk") is None
    assert available_since(runs, CONFIG, "desk") == moment("2026-01-03")
    assert available_since(runs, CONFIG, "other") is None
    stated = CONFIG.model_copy(update={"available_on": "2026-05-01"})
    assert available_since(runs[:2], stated, "desk") == moment("2026-05-01")
    # What is stated of a later day does not take back that it was in production.
    assert available_since(runs, stated, "desk") == moment("2026-01-03")
