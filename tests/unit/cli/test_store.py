from __future__ import annotations

from typing import Any

import pytest

from tunesmith.cli.store import _off
from tunesmith.core.catalog import Run


def run(**known: Any) -> Run:
    plain: dict[str, Any] = dict.fromkeys(Run.__dataclass_fields__)
    return Run(**plain | {"status": "succeeded"} | known)


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"forecast": {"wall_s": 108.0}, "usage": {"wall_s": 100.0}}, "+8 %"),
        ({"forecast": {"wall_s": 80.0}, "usage": {"wall_s": 100.0}}, "-20 %"),
        ({"usage": {"wall_s": 100.0}}, "-"),
        ({"forecast": {"wall_s": 80.0}}, "-"),
        (
            {"status": "interrupted", "forecast": {"wall_s": 8.0}, "usage": {"wall_s": 1.0}},
            "-",  # it did not do what was forecast
        ),
    ],
)
def test_runs_say_how_far_their_forecast_was_off(known: dict[str, Any], said: str) -> None:
    assert _off(run(**known)) == said
