"""What a gate can ask of documents: no more than could be known, whatever came after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tunesmith.documents import annex_iv, ml_bom, model_card, nist_rmf
from tunesmith.documents.before_gate import can_be_known, said_before
from tunesmith.documents.sheet import Reading
from tunesmith.records.document import KINDS, BeforeGate, DocumentKind, FactBase

LATER = {
    model_card: ["Results"],
    ml_bom: ["confidenceInterval of a difference"],
    annex_iv: [
        "differences",
        "what the gate asks",
        "test reports",
        "signature of the newest report",
        "what was found",
    ],
    nist_rmf: [
        "GOVERN 1.3", "GOVERN 1.4", "GOVERN 4.3", "MAP 1.5", "MAP 1.6", "MAP 2.3", "MAP 3.1",
        "MEASURE 1.1", "MEASURE 1.2", "MEASURE 2.3", "MEASURE 2.5", "MEASURE 2.8", "MEASURE 4.3",
        "MANAGE 1.1", "MANAGE 2.2", "MANAGE 3.2",
    ],
}  # fmt: skip
"""Required fields that docs/how-to/write-the-documents.md says a gate does not ask for."""
NOTHING: dict[str, Any] = dict.fromkeys(
    ("gate.reports", "gate.signed", "gate.comparisons", "gate.settings", "release.releases",
     "release.changes", "exports", "monitor.signals", "retrain.proposal")
)  # fmt: skip
"""What comes of a gate, and after it."""


def lacking(found: BeforeGate) -> set[str]:
    return {lack.what for lack in found.lacks}


@pytest.mark.parametrize("document", LATER, ids=lambda each: each.__name__.rpartition(".")[2])
def test_what_comes_of_the_gate_or_after_it_is_not_asked(base: FactBase, document: Any) -> None:
    required = [need for need in document.needs(Reading(base)) if need.required]
    later = [need.what.partition(": ")[0] for need in required if not can_be_known(need)]
    assert later == LATER[document]


@pytest.mark.parametrize("kind", KINDS)
def test_what_came_after_the_gate_changes_nothing(
    base: FactBase, with_facts: Callable[..., FactBase], kind: DocumentKind
) -> None:
    told = {"declared.instructions": None, "declared.lifecycle_changes": None}
    before = said_before(with_facts({**NOTHING, **told}), kind)
    after = said_before(with_facts({**{key: ["there"] for key in NOTHING}, **told}), kind)
    assert before == after
    if kind == "annex-iv":  # a promotion would fill it, but it can be stated before
        assert {"changes", "instructions"} <= lacking(before)


def test_a_statement_is_in_it_by_its_digest_and_a_record_by_being_there(
    base: FactBase, with_facts: Callable[..., FactBase]
) -> None:
    said = said_before(base, "annex-iv")
    other = said_before(with_facts({"declared.oversight": "Two nurses."}), "annex-iv")
    assert {k for k in said.stated if said.stated[k] != other.stated[k]} == {"declared.oversight"}
    assert (said.lacks, said.num_asked) == (other.lacks, other.num_asked)
    assert said_before(with_facts({"model.num_parameters": 7}), "annex-iv") == said
    lost = said_before(with_facts({"declared.oversight": None}), "annex-iv")
    (lack,) = [each for each in lost.lacks if each not in said.lacks]
    assert lack.what == "measures"
    assert lack.remedy == f"the provider states it: `oversight` in [document.{base.section}]"


def test_how_many_subcategories_are_asked_does_not_depend_on_answers(
    with_facts: Callable[..., FactBase],
) -> None:
    none = said_before(with_facts({"declared.nist": None}), "nist-rmf")
    some = said_before(
        with_facts({"declared.nist": {"MEASURE 2.8": "audited", "GOVERN 2.2": "each spring"}}),
        "nist-rmf",
    )
    assert none.num_asked == some.num_asked == 72 - len(LATER[nist_rmf])
    assert lacking(none) - lacking(some) == {
        "GOVERN 2.2: staff and partners are taught to manage AI risks"
    }
