from __future__ import annotations

from typing import Any

import pytest

from tunesmith.ledger.facts import RunFacts
from tunesmith.ledger.phases import Standing, classify

OPEN = Standing(unmet=(), available_since="")
CLOSED = Standing(unmet=("a", "b"), available_since="")
NOT_B = Standing(unmet=("b",), available_since="")
UNUSED = "the process that ran it tuned no model on what it made"
IN_USE = Standing(unmet=(), available_since="2026-01-01T00:00:00+00:00")


def facts(stage: str, **other: Any) -> RunFacts:
    return RunFacts(
        **{
            "run": "r1",
            "step": f"{stage}:desk",
            "stage": stage,
            "status": "succeeded",
            "started_at": "2026-01-02",
            "usage": None,
            "model": "desk",
            **other,
        }
    )


@pytest.mark.parametrize(
    ("run", "standing", "phase", "treatment", "rule"),
    [
        (facts("finetune"), OPEN, "development", "capitalise", "R05"),
        (facts("curate"), OPEN, "development", "capitalise", "R05"),
        (facts("evaluate", subject="tuned"), OPEN, "development", "capitalise", "R05"),
        (facts("evaluate", subject="base"), OPEN, "research", "expense", "R04"),
        (facts("finetune"), CLOSED, "research", "expense", "R04"),
        (facts("finetune"), NOT_B, "research", "expense", "R06"),
        (facts("finetune", model=None), OPEN, "research", "expense", "R04"),
        (facts("finetune"), IN_USE, "maintenance", "expense", "R12"),
        (facts("retrain"), OPEN, "maintenance", "expense", "R12"),
        (facts("finetune", status="failed"), OPEN, "inefficiency", "expense", "R08"),
        (facts("monitor", status="interrupted"), OPEN, "inefficiency", "expense", "R08"),
        (facts("serve"), OPEN, "operation", "expense", "R11"),
        (facts("replay"), CLOSED, "operation", "expense", "R11"),
        (facts("monitor"), IN_USE, "operation", "expense", "R11"),
    ],
)
def test_the_phase_of_a_run(
    run: RunFacts, standing: Standing, phase: str, treatment: str, rule: str
) -> None:
    found = classify(run, standing)
    assert (found.phase, found.treatment, found.rule) == (phase, treatment, rule)


@pytest.mark.parametrize(
    ("stage", "step", "phase", "reason"),
    [
        ("index", "index:licences", "research", "serves the index licences, not a model"),
        ("monitor", "monitor:desk/tags", "operation", "serves the monitor desk, not a model"),
        ("replay", "replay:desk/tags", "operation", "serves the monitor desk, not a model"),
        (
            "ingest",
            "ingest:licences",
            "research",
            f"serves the data asset licences, not one model alone: {UNUSED}",
        ),
        (
            "value",
            "value:notices/minilm",
            "research",
            f"serves the dataset notices, not one model alone: {UNUSED}",
        ),
        (
            "fetch",
            "fetch:pack==1.0",
            "research",
            f"serves the package pack==1.0, not one model alone: {UNUSED}",
        ),
    ],
)
def test_what_serves_no_model_says_what_it_serves(
    stage: str, step: str, phase: str, reason: str
) -> None:
    found = classify(facts(stage, step=step, model=None), OPEN)
    assert (found.phase, found.treatment, found.reason) == (phase, "expense", reason)


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (facts("curate", model=None), f"it cannot be told apart: {UNUSED}"),
        (
            facts("curate", model=None, shared_by=("desk", "two")),
            "it cannot be told apart: what it made was for desk and two",
        ),
        (
            facts("ingest", step="ingest:notices", model=None, shared_by=("desk", "two")),
            "serves the data asset notices, not one model alone: what it made was for desk and two",
        ),
        (
            facts("finetune", step="finetune:desk~head", model=None),
            "it tries a recipe beside the model's own",
        ),
    ],
)
def test_the_reason_of_a_run_of_no_one_model_is_what_is_on_record(
    run: RunFacts, reason: str
) -> None:
    found = classify(run, OPEN)
    assert (found.treatment, found.rule, found.reason) == ("expense", "R04", reason)


def test_a_proposal_considers() -> None:
    for model in ("desk", None):
        found = classify(facts("retrain", model=model), OPEN)
        assert found.reason == "it considers whether to retrain"


def test_what_is_unsure_says_so() -> None:
    assert "to be confirmed" in classify(facts("serve"), OPEN).paragraph
    assert "to be confirmed" not in classify(facts("finetune"), OPEN).paragraph


def test_the_reason_names_what_went_wrong() -> None:
    found = classify(facts("finetune", status="failed", note="out of memory"), OPEN)
    assert found.reason == "the run failed: out of memory"
