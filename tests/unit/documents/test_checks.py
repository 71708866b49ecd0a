"""What suites and the audit found, in the documents: a failure is said to be one, everywhere."""

from __future__ import annotations

import json

import pytest

from tunesmith.documents import annex_iv, ml_bom, nist_rmf
from tunesmith.documents.checks import CHECKS, NO_LIMIT, SUITES, failures
from tunesmith.documents.compile import compiled
from tunesmith.documents.sheet import Reading, completeness
from tunesmith.stages.probe.config import FIGURES, LIMITS

FAILED = "suite typos: accuracy: 0.3125 (0.1250 to 0.5625 at 95% confidence), required at least"


def test_every_kind_of_suite_has_a_fact():
    """A kind that is added later is asked for by no document: this says so."""
    assert {f"checks.{kind}" for kind in {*FIGURES, *LIMITS}} <= set(SUITES)
    asked = {key for part in annex_iv.PARTS for need in part.needs for key in need.keys}
    assert set(CHECKS) <= asked


@pytest.mark.parametrize("kind", ["model-card", "annex-iv", "ml-bom"])
def test_a_suite_that_failed_is_said_to_have_failed(base, kind):
    text = compiled(base, kind).text
    assert FAILED in text
    assert "FAILED" in text
    assert "COULD NOT BE RUN (DataError)" in text


def test_a_subcategory_says_that_what_was_measured_failed(base):
    lines = [each for each in compiled(base, "nist-rmf").text.splitlines() if "MEASURE 2." in each]
    (valid,) = [each for each in lines if "MEASURE 2.5" in each]
    assert "checks.robustness (run 11 (suite:desk/typos)" in valid
    assert "FAILED: typos" in valid
    (secure,) = [each for each in lines if "MEASURE 2.7" in each]
    assert "FAILED" not in secure


def test_what_passed_is_in_no_list_of_limitations(base):
    found = failures(Reading(base))
    assert len(found) == 2
    assert not any("forgetting" in each or "audit" in each for each in found)


def test_a_suite_that_could_not_be_run_answers_nothing(base, with_facts):
    """Else whoever breaks a suite has evidence that its subject was looked at."""
    assert "checks.not_run" in base.facts
    without = with_facts({"checks.audit": None})
    missing = [
        each.what for each in completeness(Reading(without), annex_iv.needs(Reading(without))).lacks
    ]
    assert "what was tried against it" in missing
    state = {each["what"]: each["state"] for part in nist_rmf.data(Reading(without))["parts"]
             for each in part["items"]}  # fmt: skip
    (secure,) = [said for what, said in state.items() if what.startswith("MEASURE 2.7:")]
    assert secure == "missing"


def test_who_can_supply_a_missing_check_is_named(base, with_facts):
    without = with_facts({"checks.robustness": None, "checks.audit": None})
    lacks = {each.what: each.remedy for each in compiled(without, "annex-iv").completeness.lacks}
    assert "a [suite] section of kind robustness" in lacks["robustness"]
    assert "`robustness` in [document.desk]" in lacks["robustness"]
    assert "a [gate] section without `audit = false`" in lacks["what was tried against it"]


def test_a_result_without_limits_passes_nothing(base, with_facts):
    (each,) = base.value("checks.robustness")
    made = with_facts({"checks.robustness": [each | {"verdict": NO_LIMIT, "limits": []}]})
    assert "suite typos: no limit was set" in compiled(made, "model-card").text
    assert not any("typos" in each for each in failures(Reading(made)))


def test_figures_are_metrics_of_the_bill_of_materials(base):
    model = ml_bom.data(Reading(base))["metadata"]["component"]
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    mine = [each for each in metrics if each["slice"] == "suite typos, 16 examples"]
    assert [each["value"] for each in mine] == ["0.3125", "0.0625"]
    assert mine[0]["confidenceInterval"] == {"lowerBound": "0.125", "upperBound": "0.5625"}
    said = {each["name"]: each["value"] for each in model["properties"]}
    assert said["tunesmith:check.typos"] == "fail"
    assert said["tunesmith:check.audit"] == "pass"


def test_another_outcome_makes_what_says_it_stale(base, with_facts):
    (each,) = base.value("checks.robustness")
    made = with_facts({"checks.robustness": [each | {"verdict": "pass"}]})
    for kind in ("model-card", "annex-iv", "nist-rmf", "ml-bom"):
        before, after = compiled(base, kind), compiled(made, kind)
        assert {k for k in before.uses if before.uses[k] != after.uses[k]} == {"checks.robustness"}
    assert json.dumps(compiled(base, "training-content").uses) == json.dumps(
        compiled(made, "training-content").uses
    )
