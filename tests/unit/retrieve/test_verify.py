import dataclasses

import pytest

from tunesmith.core.canonical import sha256
from tunesmith.core.errors import StoreError
from tunesmith.retrieve.answer import ask
from tunesmith.retrieve.store import Store
from tunesmith.retrieve.verify import verify


@pytest.fixture
def citation(index, path):
    return ask(index, path, "Does the Heron licence come with a warranty?").citations[0]


def test_a_true_citation_passes(path, citation):
    with Store(path) as store:
        verify(store, citation)


@pytest.mark.parametrize(
    "change",
    [
        {"start": 0},
        {"end": 10_000},
        {"start": -5},
        {"document": "stork-1.0"},
        {"document": "absent"},
        {"title": "Another Licence"},
        {"page": "page 7"},
        {"sha256": "0" * 64},
        {"quote": "with a warranty", "sha256": sha256(b"with a warranty")},
    ],
)
def test_a_changed_citation_does_not(path, citation, change):
    with Store(path) as store, pytest.raises(StoreError, match="cannot be verified"):
        verify(store, dataclasses.replace(citation, **change))
