from __future__ import annotations

from tunesmith.ledger.rules import RULES


def test_ids_are_unique_and_name_a_paragraph() -> None:
    assert list(RULES) == sorted(RULES)
    for rule_id, rule in RULES.items():
        assert rule.id == rule_id
        assert rule.paragraph.startswith("IAS 38.")
        assert "training" not in rule.text
