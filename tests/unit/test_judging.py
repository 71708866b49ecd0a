"""What is said where gates let nothing pass."""

from __future__ import annotations

from tunesmith.core.errors import GateFailed
from tunesmith.judging import all_of


def test_every_gate_that_let_nothing_pass_is_said():
    desk = GateFailed("gate desk says fail for desk", remedy="add data")
    ward = GateFailed("gate ward says inconclusive for ward", remedy="add data")
    form = GateFailed("gate form says fail for form", remedy="fill the documents")

    found = all_of([desk, ward, form])

    assert found.message.splitlines() == [desk.message, ward.message, form.message]
    assert found.remedy == "add data; fill the documents"
    assert (found.exit_code, str(all_of([desk]))) == (3, str(desk))
