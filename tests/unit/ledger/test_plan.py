"""A plan is priced by what earlier runs used, and afterwards compared with what came."""

from __future__ import annotations

import dataclasses
import math
import random
from decimal import Decimal

import pytest
from scipy import stats

from tunesmith.cli.plans import plan_lines
from tunesmith.core.catalog import Run
from tunesmith.core.plan import Planned
from tunesmith.core.step import Step
from tunesmith.ledger.cost import display
from tunesmith.ledger.plan import NUM_RUNS, interval, look_back, price_plan
from tunesmith.records.money import Rates
from tunesmith.testing import EchoConfig

RATES = Rates(
    currency="EUR", per_cpu_hour=Decimal("3600"), per_kwh=Decimal(0), per_review_hour=Decimal(0)
)


def run(id: int, step: str, wall_s: float, status: str = "succeeded") -> Run:
    usage = {"wall_s": wall_s, "cpu_s": 2 * wall_s, "peak_bytes": 1, "joules": 0.0,
             "joules_method": "estimated"}  # fmt: skip
    return Run(
        id=id, key="k", step=step, kind="echo@1", identity={}, status=status, owner="", actor="",
        started_at="", finished_at="", output=None, error=None, usage=usage, forecast=None,
    )  # fmt: skip


def planned(name: str, last: Run | None) -> Planned:
    step = Step(name=name, kind="echo@1", config=EchoConfig())
    return Planned(step=step, hit=None, reason="its code changed", last=last)


def test_what_two_very_different_runs_let_expect_has_a_price_however_wide():
    """0.1 s and 1000 s: with one degree of freedom the upper end has more than 28 digits."""
    earlier = [run(1, "tune", 0.1), run(2, "tune", 1000.0)]
    (line,) = price_plan([planned("tune", earlier[-1])], RATES, earlier).lines
    assert line.cost_high is not None
    logs = [math.log(2 * 0.1), math.log(2 * 1000.0)]  # 3600 an hour is 1 a second
    mean, spread = sum(logs) / 2, abs(logs[1] - logs[0]) / math.sqrt(2)
    wanted = mean + stats.t.ppf(0.95, 1) * spread * math.sqrt(1.5)
    assert float(line.cost_high.amount.ln()) == pytest.approx(wanted, rel=1e-4)
    display(line.cost_high)


def test_the_interval_is_students_t_of_the_logarithms():
    values = [12.0, 15.0, 11.0, 30.0, 14.0]
    logs = [math.log(value) for value in values]
    spread = stats.t.ppf(0.95, 4) * stats.tstd(logs) * math.sqrt(1 + 1 / 5)
    middle, low, high = interval([Decimal(str(value)) for value in values])
    assert float(middle) == pytest.approx(stats.gmean(values))
    assert float(low) == pytest.approx(math.exp(sum(logs) / 5 - spread), rel=1e-3)
    assert float(high) == pytest.approx(math.exp(sum(logs) / 5 + spread), rel=1e-3)


@pytest.mark.parametrize("num_runs", [2, 3, 6, 14])
def test_nine_in_ten_next_runs_are_inside(num_runs):
    draw, inside, total = random.Random(num_runs), 0, 1500
    for _ in range(total):
        values = [Decimal(repr(math.exp(draw.gauss(3, 0.4)))) for _ in range(num_runs + 1)]
        _, low, high = interval(values[:-1])
        inside += low <= values[-1] <= high
    assert inside / total == pytest.approx(0.9, abs=4 * math.sqrt(0.9 * 0.1 / total))


def test_the_newest_runs_tell_and_none_tells_nothing():
    old = [Decimal(1000)] * 50
    assert [float(x) for x in interval([*old, *([Decimal(2)] * NUM_RUNS)])] == [2.0, 2.0, 2.0]
    assert interval([Decimal(0), Decimal(4)]) == (2, 0, 4)


def test_a_plan_has_intervals_of_time_and_money():
    runs = [run(1, "a", 10.0), run(2, "a", 20.0), run(3, "a", 99.0, "failed"), run(4, "b", 5.0)]
    plan = price_plan(
        [planned("a", runs[1]), planned("b", runs[3]), planned("c", None)], RATES, runs
    )
    a, b, c = plan.lines
    assert a.wall_s == pytest.approx(math.sqrt(200))
    assert a.low_s < a.wall_s < a.high_s
    assert a.num_runs == 2
    assert float(a.cost.amount) == pytest.approx(2 * a.wall_s)
    assert float(a.cost_low.amount) == pytest.approx(2 * a.low_s)
    assert float(a.cost_high.amount) == pytest.approx(2 * a.high_s)
    assert (b.wall_s, b.low_s, b.cost_high, b.num_runs) == (5.0, None, None, 1)
    assert (c.wall_s, c.cost, c.num_runs, plan.num_unknown) == (None, None, 0, 1)
    assert plan.cost.amount == a.cost.amount + b.cost.amount


def test_what_may_run_is_in_the_larger_sum_alone():
    runs = [run(1, "a", 10.0), run(2, "b", 200.0)]
    maybe = dataclasses.replace(planned("b", runs[1]), as_before=runs[1])
    plan = price_plan([planned("a", runs[0]), maybe], RATES, runs)

    assert [line.state for line in plan.lines] == ["runs", "may run"]
    assert (plan.num_hits, plan.num_maybe) == (0, 1)
    assert (plan.sure_wall_s, plan.wall_s) == (10.0, 210.0)
    assert (plan.sure_cost.amount, plan.cost.amount) == (Decimal(20), Decimal(420))
    assert plan_lines(plan)[-1] == (
        "1 of 2 steps would run, and 1 more if those come out otherwise; "
        "expected 10.0 s, 20.00 EUR, or 3 min 30 s, 420.00 EUR"
    )


def test_afterwards_it_is_compared():
    runs = [run(1, "a", 10.0), run(2, "a", 11.0), run(3, "b", 5.0), run(4, "a", 400.0),
            run(5, "b", 6.0), run(6, "c", 1.0), run(7, "a", 1.0, "failed")]  # fmt: skip
    a, b, c = look_back(runs, 3, RATES)
    assert (a.expected.num_runs, a.wall_s, a.is_inside) == (2, 400.0, False)
    assert (b.expected.wall_s, b.is_inside) == (5.0, None)
    assert c.expected.wall_s is None
    assert look_back([*runs, run(8, "a", 12.0)], 7, RATES)[0].expected.num_runs == 3
