"""Annex IV, NIST's map and the training-content draft: what fills them, and what is missing."""

from __future__ import annotations

import json

import pytest

from tunesmith.core.errors import UsageError
from tunesmith.core.kinds import KINDS as STEPS
from tunesmith.documents import annex_iv, ml_bom, model_card, nist_rmf
from tunesmith.documents.compile import FORMS, compiled
from tunesmith.documents.compute import one_third_meter
from tunesmith.documents.content_summary import STATED
from tunesmith.documents.sheet import Reading, remedy_of
from tunesmith.stages.document.config import DocumentConfig

POINTS = (
    *("1", "1(a)", "1(b)", "1(c)", "1(d)", "1(e)", "1(f)", "1(g)", "1(h)"),
    *("2", "2(a)", "2(b)", "2(c)", "2(d)", "2(e)", "2(f)", "2(g)", "2(h)"),
    *("3", "4", "5", "6", "7", "8", "9"),
)
"""Of Annex IV."""
MAY_BE = {
    *("data.assessments", "data.reviews", "data.erasures", "dataset.languages", "dataset.pii"),
    *("dataset.synthetic", "declared.nist", "exports", "gate.signed", "monitors"),
    *("licences.obligations", "licences.unclear", "model.previous", "monitor.signals"),
    *("retrain.proposal", "schedules", "tuning.teacher"),
    *("checks.behaviour", "checks.canaries", "checks.injection", "checks.leakage"),
    *("checks.membership", "checks.refusals"),
}
"""Facts that the clinic's model has not."""


def parsed(base, kind):
    return json.loads(compiled(base, kind, "json").text)


def test_annex_iv_has_every_point_in_order(base):
    assert tuple(part.number for part in annex_iv.PARTS) == POINTS
    text = compiled(base, "annex-iv").text
    places = [text.index(f"# {number}. ") for number in POINTS]
    assert places == sorted(places)
    assert [part["number"] for part in parsed(base, "annex-iv")["parts"]] == list(POINTS)


def test_documents_ask_for_facts_that_there_can_be(base):
    """A misspelt key would be missing for ever."""
    needs = [
        *annex_iv.needs(Reading(base)),
        *nist_rmf.needs(Reading(base)),
        *ml_bom.NEEDS,
        *model_card.NEEDS,
    ]
    fields = {f"declared.{name}" for name in DocumentConfig.model_fields}
    asked = {key for need in needs for key in need.keys}
    asked |= {key for keys in STATED.values() for key in keys}
    assert asked - fields <= set(base.facts) | MAY_BE
    assert {key for key in asked if key.startswith("declared.")} <= fields


def test_every_statement_is_said_somewhere(base):
    """What people write into the project file goes into a document."""
    fields = set(DocumentConfig.model_fields) - {"name", "model", "required"}
    used: set[str] = set()
    for kind, form in FORMS.items():
        for ending in form.texts:
            used |= set(compiled(base, kind, ending).uses)
    assert {f"declared.{name}" for name in fields} <= used


def test_every_fact_is_said_somewhere(base):
    """What no document says is not gathered."""
    used: set[str] = set()
    for kind, form in FORMS.items():
        for ending in form.texts:
            used |= set(compiled(base, kind, ending).uses)
    assert set(base.facts) <= used


def test_what_is_missing_is_named_with_who_supplies_it(base, with_facts):
    whole = compiled(base, "annex-iv").completeness
    less = compiled(with_facts({"declared.oversight": None}), "annex-iv")
    assert less.completeness.num_required == whole.num_required
    assert len(less.completeness.lacks) == len(whole.lacks) + 1
    assert less.completeness.score == pytest.approx(whole.score - 1 / whole.num_required)
    said = "MISSING: the provider states it: `oversight` in [document.desk]"
    assert f"- **measures**: {said}" in less.text
    (part,) = (p for p in parsed(with_facts({"declared.oversight": None}), "annex-iv")["parts"]
               if p["number"] == "2(e)")  # fmt: skip
    assert part["items"][0]["state"] == "missing"
    assert "`oversight`" in part["items"][0]["remedy"]


def test_what_is_declared_and_what_is_recorded_are_told_apart(base):
    text = compiled(base, "annex-iv").text
    assert "- **intended purpose** (declared): Sorts notes of visits" in text
    assert "- **objective** (recorded: run 10): sft" in text
    (purpose,) = (
        item for part in parsed(base, "annex-iv")["parts"] for item in part["items"]
        if item["what"] == "intended purpose"
    )  # fmt: skip
    (fact,) = purpose["facts"]
    assert (purpose["state"], fact["origin"]) == ("declared", "declared")
    assert fact["where"].startswith("tunesmith.toml, document.desk.intended_purpose (evidence ")
    assert fact["at"]


def test_gate_reports_are_dated_and_say_whether_they_are_signed(base, with_facts):
    text = compiled(base, "annex-iv").text
    (report,) = base.value("gate.reports")
    assert (
        f"| desk | pass | {report['at']} | ann | 12 | {report['digest']} | yes | NOT SIGNED |"
        in text
    )
    assert "- **signature of the newest report**: MISSING" in text

    signature = {"evidence": 40, "at": "2026-12-01T08:00:00.000Z", "by": "eve", "what": "signed"}
    signed = with_facts(
        {"gate.reports": [report | {"signed": [signature]}], "gate.signed": [signature]}
    )
    assert "| yes | eve, 2026-12-01T08:00:00.000Z |" in compiled(signed, "annex-iv").text


def test_a_statement_breaks_no_table(with_facts):
    text = compiled(with_facts({"declared.nist": {"GOVERN 3.1": "a | b\n# c"}}), "nist-rmf").text
    assert "| declared | stated: a \\| b # c |" in text


def test_the_map_has_every_subcategory_once():
    ids = [need.what.partition(":")[0] for part in nist_rmf.parts() for need in part.needs]
    assert len(ids) == len(set(ids)) == 72
    counts = {part.number: len(part.needs) for part in nist_rmf.parts()}
    assert counts == nist_rmf.FUNCTIONS


def state(base, subcategory):
    (item,) = (
        item for part in parsed(base, "nist-rmf")["parts"] for item in part["items"]
        if item["what"].startswith(f"{subcategory}:")
    )  # fmt: skip
    return item["state"]


def test_a_subcategory_is_evidenced_declared_or_missing_as_the_facts_are(base, with_facts):
    assert state(base, "MEASURE 2.3") == "evidenced"  # reports of a gate
    unjudged = {"gate.reports": None, "evaluation.tuned": None, "checks.robustness": None}
    assert state(with_facts(unjudged), "MEASURE 2.3") == "missing"
    assert state(base, "MANAGE 4.1") == "missing"
    assert state(with_facts({"monitors": {"m": {}}}, "declared"), "MANAGE 4.1") == "declared"
    signal = {
        "monitor": "m",
        "traffic": "t",
        "verdict": "changed",
        "run": 9,
        "at": "",
        "digest": "d",
    }
    assert state(with_facts({"monitor.signals": [signal]}), "MANAGE 4.1") == "evidenced"
    assert state(base, "GOVERN 2.2") == "declared"  # by `nist` of the project file alone
    assert state(with_facts({"declared.nist": None}), "GOVERN 2.2") == "missing"


def test_a_remedy_is_known_for_every_fact(base):
    for need in [*annex_iv.needs(Reading(base)), *nist_rmf.needs(Reading(base))]:
        for key in need.keys:
            if not key.startswith(("model.", "base.", "tuning.")):  # a run always records these
                assert "did not record" not in remedy_of(base, key), key


def test_the_draft_takes_statements_where_nothing_is_recorded(base, with_facts):
    text = compiled(base, "training-content").text
    said = "Clinic of Example Town, models@clinic.example (declared)"
    assert f"**Provider name and contact details:** {said}" in text
    assert "**Measures taken:** none needed (declared)" in text
    assert "**Modality:** text\n" in text  # which is recorded, and no statement
    less = compiled(with_facts({"declared.answers": None}), "training-content").completeness
    assert any("Measures taken: " not in lack.what for lack in less.lacks)
    assert len(less.lacks) == len(compiled(base, "training-content").completeness.lacks) + 1


def test_the_draft_of_a_model_without_a_dataset_says_so(with_facts):
    made = compiled(with_facts({"dataset.training_content": None}), "training-content")
    assert made.completeness.score == 0
    assert "tunesmith run" in made.completeness.lacks[0].remedy


@pytest.mark.parametrize("kind", FORMS)
def test_every_document_points_at_the_dataset_in_croissant(base, kind):
    text = compiled(base, kind).text
    assert base.value("dataset.croissant")["sha256"] in text
    assert base.digest in text  # and says of which facts it is


@pytest.mark.parametrize("kind", FORMS)
def test_a_form_that_there_is_not_is_refused(base, kind):
    with pytest.raises(UsageError, match="not written as 'docx'") as caught:
        compiled(base, kind, "docx")
    assert ".md" in caught.value.remedy or ".json" in caught.value.remedy


# The one-third meter.


def test_the_meter_is_operations_of_the_run_beside_those_of_the_base(with_facts):
    """6 x 1,000 x 500 = 3e6; a third of 12e6 is 4e6, and of 6e6 is 2e6."""
    run = {"model.num_trained_tokens": 1000, "model.num_parameters": 500}
    below = one_third_meter(Reading(with_facts(run | {"declared.base_training_flops": 12e6})))
    assert (below.run_flops, below.ratio, below.exceeds) == (3e6, 0.25, False)
    assert below.limit_flops == pytest.approx(4e6)
    above = one_third_meter(Reading(with_facts(run | {"declared.base_training_flops": 6e6})))
    assert (above.ratio, above.exceeds, above.basis) == (0.5, True, "declared")
    assert any("Article 53" in each for each in above.sentences)
    assert not any("Article 53" in each for each in below.sentences)


def test_where_the_base_is_not_known_the_limit_is_a_third_of_the_threshold(with_facts):
    made = one_third_meter(Reading(with_facts({"declared.base_training_flops": None})))
    assert (made.basis, made.ratio, made.exceeds) == ("not known", 0.0, False)
    assert made.limit_flops == pytest.approx(1e23 / 3)
    assert any("`base_training_flops` in [document.desk]" in each for each in made.sentences)


@pytest.mark.parametrize("objective", ["sft", "grpo"])
def test_the_meter_says_that_it_is_no_advice_and_what_it_leaves_out(with_facts, objective):
    made = one_third_meter(Reading(with_facts({"model.objective": objective})))
    said = " ".join(made.sentences)
    assert "no legal advice" in said
    assert ("Forward passes of other models" in said) == (objective == "grpo")


def test_a_run_of_which_too_little_is_known_has_no_meter(with_facts):
    made = with_facts({"model.num_trained_tokens": None})
    assert one_third_meter(Reading(made)) is None
    assert parsed(made, "annex-iv")["compute"] is None


def test_the_kinds_of_steps_that_facts_are_looked_for_in_are_there():
    """Their names stand in `documents.recorded`."""
    import re
    from pathlib import Path

    from tunesmith.documents import recorded

    named = set(re.findall(r'"([\w-]+@\d)"', Path(recorded.__file__).read_text()))
    assert named
    assert named <= set(STEPS)
