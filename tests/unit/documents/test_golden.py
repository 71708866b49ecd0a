"""Each document, to the byte, of the facts of the clinic's model (tests/journeys/clinic.py).

To change one on purpose, look at the difference and write them anew:
`python tests/unit/documents/test_golden.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tunesmith
from tunesmith.core.ref import from_plain
from tunesmith.documents.compile import FORMS, compiled
from tunesmith.records.document import FactBase

GOLDEN = Path(__file__).parents[2] / "golden" / "documents"
CASES = [(kind, next(iter(of.texts))) for kind, of in FORMS.items()]


def facts() -> FactBase:
    return from_plain(FactBase, json.loads((GOLDEN / "facts.json").read_text()))


@pytest.mark.parametrize(("kind", "form"), CASES)
def test_documents_are_the_frozen_ones(kind, form, monkeypatch):
    monkeypatch.setattr(tunesmith, "__version__", "0.1.0")  # which the ML-BOM names
    assert compiled(facts(), kind, form).text == (GOLDEN / f"{kind}.{form}").read_text()


def test_facts_have_the_frozen_digest():
    """What is called stale depends on it: it must not change with the program."""
    assert facts().digest == (GOLDEN / "facts.sha256").read_text().strip()


if __name__ == "__main__":
    for each, ending in CASES:
        (GOLDEN / f"{each}.{ending}").write_text(compiled(facts(), each, ending).text)
    (GOLDEN / "facts.sha256").write_text(facts().digest + "\n")
