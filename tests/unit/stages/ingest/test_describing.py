"""What a source says of itself."""

from __future__ import annotations

import pytest

from tunesmith.stages.ingest.config import SourceConfig


@pytest.mark.parametrize("key", ["licence", "owner", "purpose", "steward", "subjects"])
@pytest.mark.parametrize("blank", ["", "  ", "\t\n"])
def test_a_blank_says_nothing(key, blank):
    """Else a description of the dataset would have an empty name, and be refused after the cut."""
    silent = SourceConfig(name="s", origin="file:a.csv", format="csv", text="text")
    assert SourceConfig(**(silent.model_dump() | {key: blank})) == silent
    assert getattr(SourceConfig(**(silent.model_dump() | {key: " ann "})), key) == " ann "
