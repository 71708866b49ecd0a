from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.core.catalog import Run
from tunesmith.core.ref import Blob
from tunesmith.ledger.runs import facts, served_models

USAGE = {
    "wall_s": 2.0,
    "cpu_s": 3.0,
    "peak_bytes": 1,
    "joules": 45.0,
    "joules_method": "estimated",
}


def run(number: int, kind: str, *given: str, made: str = "", **other: Any) -> Run:
    """A run that was `given` records and has `made` one, by digest."""
    known = {"id": number, "step": f"{kind.partition('@')[0]}:desk", "kind": kind}
    plain: dict[str, Any] = dict.fromkeys(Run.__dataclass_fields__)
    plain |= {"status": "succeeded", "started_at": "2026-01-01T00:00:00Z", "usage": USAGE}
    plain |= {"owner": "a", "identity": {"inputs": {"of": list(given)}}}
    if made:
        plain["output"] = Blob(sha256=made, num_bytes=1, media_type="application/json")
    return Run(**plain | known | other)


def test_the_facts_of_each_run_that_ended() -> None:
    runs = [
        run(1, "evaluate-base@1"),
        run(2, "gate@1"),
        run(3, "release@1"),
        run(4, "finetune@1", status="failed", error="no memory\nat line 3", usage=None),
        run(5, "serve@1", status="running"),
        run(6, "curate@1"),
    ]
    served = {2: ("desk",), 3: ("desk",), 6: ("desk", "two")}
    evaluated, gate, release, failed, curated = facts(runs, served, {2: True}, {3: "production"})
    assert (evaluated.stage, evaluated.subject, evaluated.model) == ("evaluate", "base", None)
    assert evaluated.usage is not None
    assert evaluated.usage.cpu_s == pytest.approx(3.0)
    assert (gate.gate_passed, gate.alias, gate.model) == (True, "", "desk")
    assert (release.gate_passed, release.alias) == (None, "production")
    assert (failed.status, failed.note, failed.usage) == ("failed", "no memory", None)
    assert (curated.model, curated.shared_by) == (None, ("desk", "two"))


def test_to_ask_the_base_a_task_is_to_evaluate_the_base() -> None:
    (base, tuned) = facts(
        [run(1, "evaluate-base-task@1"), run(2, "evaluate-tuned-task@1")], {}, {}, {}
    )

    assert (base.stage, base.subject) == ("evaluate", "base")
    assert (tuned.stage, tuned.subject) == ("evaluate", "tuned")


PATH = [
    run(1, "fetch@1", made="package"),
    run(2, "ingest@1", "package", made="rows"),
    run(3, "ingest@1", "package", made="other rows"),
    run(4, "curate@1", "rows", made="small"),
    run(5, "finetune@1", "small", made="weights", step="finetune:desk"),
    run(6, "evaluate-tuned@1", "small", "weights", step="evaluate:desk/desk@1"),
    run(7, "probe@1", "small", "weights", step="suite:desk/noise"),
    run(8, "export@1", "weights", step="export:desk/gguf"),
    run(9, "index@1", "other rows", step="index:desk"),
    run(10, "monitor@1", "small", step="monitor:desk/heldout"),
]


def test_a_run_served_the_model_that_was_tuned_on_what_it_made_at_any_remove() -> None:
    served = served_models(PATH)
    assert {number for number, models in served.items() if models == ("desk",)} == {
        1, 2, 4, 5, 6, 7, 8,
    }  # fmt: skip
    assert served[3] == served[9] == served[10] == ()


def test_what_one_process_tuned_several_models_on_is_told_to_be_theirs() -> None:
    two = run(11, "finetune@1", "small", step="finetune:two", status="running")
    served = served_models([*PATH, two])
    assert served[1] == served[2] == served[4] == ("desk", "two")
    assert served[5] == ("desk",)


def test_a_model_that_another_process_tunes_on_it_changes_nothing() -> None:
    later = [
        run(11, "finetune@1", "small", step="finetune:two", owner="b"),
        run(12, "finetune@1", "other rows", step="finetune:three", owner="b"),
    ]
    served = served_models([*PATH, *later])
    assert {number: served[number] for number in served_models(PATH)} == served_models(PATH)
    assert served[3] == ()  # expensed when it was made; no later use makes an asset of it


def test_a_recipe_that_was_tried_and_a_pupil_are_not_what_the_data_was_made_for() -> None:
    tried = run(11, "finetune@1", "small", step="finetune:desk~head")
    pupil = run(12, "finetune@1", "weights", "others", step="finetune:pupil")
    served = served_models([*PATH, tried, pupil])
    assert served[11] == ()
    assert served[12] == ("pupil",)
    assert served[4] == served[5] == ("desk",)


def test_of_two_runs_that_made_the_same_each_served_what_came_after_it() -> None:
    again = [
        run(11, "curate@1", "rows", made="small", owner="b"),
        run(12, "finetune@1", "small", step="finetune:two", owner="b"),
    ]
    served = served_models([*PATH, *again])
    assert (served[4], served[11]) == (("desk",), ("two",))


@st.composite
def histories(draw: st.DrawFn) -> list[Run]:
    """Runs of data and of tuning, each given records of earlier ones, of processes one after
    another."""
    runs: list[Run] = []
    process = 0
    for number in range(1, draw(st.integers(1, 14)) + 1):
        process += draw(st.booleans())
        kind = draw(st.sampled_from(["ingest@1", "curate@1", "finetune@1", "index@1"]))
        model = draw(st.sampled_from(["desk", "two", "desk~head"]))
        given = draw(st.lists(st.sampled_from([f"d{n}" for n in range(6)]), max_size=3))
        made = draw(st.sampled_from([f"d{n}" for n in range(6)]))
        step = f"finetune:{model}" if kind == "finetune@1" else f"{kind[:-2]}:x"
        runs.append(run(number, kind, *given, made=made, step=step, owner=f"p{process}"))
    return runs


def _by_walking(runs: list[Run], start: Run) -> set[str]:
    """The models tuned on what `start` made, found by walking forward from it."""
    found, ahead = set(), [start]
    while ahead:
        at = ahead.pop()
        if at.step.startswith("finetune:"):
            found.add(at.step.partition(":")[2])
            continue
        assert at.output is not None
        digest = at.output.sha256
        ahead += [
            each
            for each in runs
            if each.id > at.id
            and each.owner == start.owner
            and digest in each.identity["inputs"]["of"]
        ]
    return {model for model in found if "~" not in model}


@settings(deadline=None, max_examples=200)
@given(histories(), st.integers(0, 14))
def test_what_a_run_served_is_what_is_reached_from_it_and_other_processes_change_nothing(
    runs: list[Run], cut: int
) -> None:
    served = served_models(runs)
    assert {each.id: set(served[each.id]) for each in runs} == {
        each.id: _by_walking(runs, each) for each in runs
    }
    ended = {each.owner for each in runs[:cut]} - {each.owner for each in runs[cut:]}
    earlier = served_models(runs[:cut])
    for each in runs[:cut]:
        if each.owner in ended:
            assert served[each.id] == earlier[each.id]
