"""The facts of the clinic's model, and others made of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunesmith.core.ref import from_plain
from tunesmith.records.document import Fact, FactBase

GOLDEN = Path(__file__).parents[2] / "golden" / "documents"


@pytest.fixture
def base() -> FactBase:
    """The frozen facts of tests/golden/documents."""
    return from_plain(FactBase, json.loads((GOLDEN / "facts.json").read_text()))


@pytest.fixture
def with_facts(base: FactBase) -> Callable[..., FactBase]:
    """with_facts({"model.number": 7, "base.licence": None}) -> the frozen facts, changed: those
    that are None are not known."""

    def changed(changes: dict[str, Any], origin: Any = "recorded") -> FactBase:
        facts = dict(base.facts)
        for key, value in changes.items():
            facts.pop(key, None)
            if value is not None:
                made = "declared" if key.startswith("declared.") else origin
                facts[key] = Fact(key=key, value=value, where="run 99", at="", origin=made)
        return FactBase(version=base.version, section=base.section, facts=facts)

    return changed
