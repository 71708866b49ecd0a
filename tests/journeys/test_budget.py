"""A budget is held against what each step costs, in either executor."""

from __future__ import annotations

import json

import pytest


@pytest.mark.parametrize("executor", ["inline", "subprocess"])
def test_a_step_that_costs_more_than_it_may_is_stopped(new_project, executor):
    project = new_project()
    no_money = ("--set", 'ledger.budget_per_run="0"', "--set", f"project.executor={executor}")
    done = project.process("run", *no_money)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "and ledger.budget_per_run is 0.00 EUR" in done.stderr
    assert "raise that setting" in done.stderr
    runs = json.loads(project.tunesmith("runs", "--json"))
    assert [run["status"] for run in runs][-1] == "interrupted"
    assert runs[-1]["error"].startswith("OverBudget: run ")
