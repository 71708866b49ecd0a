"""Rules of a gate on documents, by what these could say."""

from __future__ import annotations

import pytest

from tunesmith.core.errors import UsageError
from tunesmith.records.document import BeforeGate, Documented, Lack
from tunesmith.stages.evaluate.config import GateConfig
from tunesmith.stages.evaluate.documented import document_rules

GATE = GateConfig(name="desk", model="desk", documents=("ml-bom",))


def bom(*lacks: str) -> Documented:
    named = tuple(Lack(what=what, remedy="state it") for what in lacks)
    return Documented(documents=(BeforeGate(kind="ml-bom", num_asked=20, lacks=named, stated={}),))


def test_one_missing_field_fails_and_none_passes() -> None:
    (rule,) = document_rules(GATE, bom("users"))
    assert (rule.rule, rule.verdict, rule.passed) == ("document ml-bom", "fail", False)
    assert rule.observed == "1 of 20 fields missing: users"
    (rule,) = document_rules(GATE, bom())
    assert (rule.verdict, rule.passed, rule.observed) == ("pass", True, "all 20 fields filled")


def test_of_many_missing_fields_the_first_are_named() -> None:
    (rule,) = document_rules(GATE, bom(*(f"field {number}" for number in range(11))))
    assert rule.observed.endswith("field 6, field 7, and 3 more")


def test_a_gate_asks_twice_for_nothing() -> None:
    twice = GATE.model_copy(update={"documents": ("ml-bom", "ml-bom")})
    assert len(list(document_rules(twice, bom()))) == 1
    assert list(document_rules(GateConfig(name="desk", model="desk"), None)) == []


@pytest.mark.parametrize("given", [None, Documented(documents=())])
def test_without_what_it_asks_for_nothing_is_judged(given: Documented | None) -> None:
    with pytest.raises(UsageError, match="gate desk asks for 'ml-bom'"):
        list(document_rules(GATE, given))
