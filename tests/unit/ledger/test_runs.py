from __future__ import annotations

from typing import Any

import pytest

from tunesmith.core.catalog import Run
from tunesmith.ledger.runs import facts

USAGE = {
    "wall_s": 2.0,
    "cpu_s": 3.0,
    "peak_bytes": 1,
    "joules": 45.0,
    "joules_method": "estimated",
}


def run(number: int, kind: str, **other: Any) -> Run:
    known = {"id": number, "step": f"{kind.partition('@')[0]}:desk", "kind": kind}
    plain: dict[str, Any] = dict.fromkeys(Run.__dataclass_fields__)
    plain |= {"status": "succeeded", "started_at": "2026-01-01T00:00:00Z", "usage": USAGE}
    return Run(**plain | known | other)


def test_the_facts_of_each_run_that_ended() -> None:
    runs = [
        run(1, "evaluate-base@1"),
        run(2, "gate@1"),
        run(3, "release@1"),
        run(4, "finetune@1", status="failed", error="no memory\nat line 3", usage=None),
        run(5, "serve@1", status="running"),
    ]
    models = {"gate:desk": "desk", "release:desk": "desk"}
    evaluated, gate, release, failed = facts(runs, models, {2: True}, {3: "production"})
    assert (evaluated.stage, evaluated.subject, evaluated.model) == ("evaluate", "base", None)
    assert evaluated.usage is not None
    assert evaluated.usage.cpu_s == pytest.approx(3.0)
    assert (gate.gate_passed, gate.alias, gate.model) == (True, "", "desk")
    assert (release.gate_passed, release.alias) == (None, "production")
    assert (failed.status, failed.note, failed.usage) == ("failed", "no memory", None)


def test_to_ask_the_base_a_task_is_to_evaluate_the_base() -> None:
    (base, tuned) = facts(
        [run(1, "evaluate-base-task@1"), run(2, "evaluate-tuned-task@1")], {}, {}, {}
    )

    assert (base.stage, base.subject) == ("evaluate", "base")
    assert (tuned.stage, tuned.subject) == ("evaluate", "tuned")
