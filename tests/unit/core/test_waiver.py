"""An old result is kept where only the code changed, by somebody, for a reason, on record."""

from __future__ import annotations

import pytest

from tunesmith.core import catalog, evidence, planner, runner, waiver
from tunesmith.core.errors import UsageError
from tunesmith.core.plan import identity
from tunesmith.core.step import Step
from tunesmith.core.verify import verify
from tunesmith.testing import EchoConfig

WHY = "only a message was reworded"


def step(text: str = "a", name: str = "one", inputs: dict | None = None) -> Step:
    config = EchoConfig(name=name, text=text)
    return Step(name=name, kind="echo@1", config=config, inputs=inputs or {})


@pytest.fixture
def recode(monkeypatch):
    """recode(code=..., environment=...) -> the code of every step is another one from now on."""

    def change(**parts):
        def changed(a_step, inputs):
            return identity(a_step, inputs) | parts

        monkeypatch.setattr(runner, "identity", changed)
        monkeypatch.setattr(planner, "identity", changed)

    return change


def hear(events):
    return [(event.step, event.what) for event in events if event.what in ("hit", "started")]


def test_a_result_is_kept_and_what_follows_is_as_it_was(make_runner, recode):
    one = step()
    make_runner()[0].run(step("b", "two", {"one": one}))
    recode(code="another")
    first, _ = make_runner()
    (planned,) = first.plan([one])
    assert planned.reason == "the step's code changed"
    kept = first.planner.accept(one, f"{WHY}\n", "ann")
    assert (kept.step, kept.run, kept.why, kept.actor) == ("one", 1, WHY, "ann")
    assert kept.new_key == planned.key != kept.old_key
    assert kept.changed == ("the step's code changed",)

    again, events = make_runner()
    (planned,) = again.plan([one])
    assert (planned.hit.id, planned.waived) == (1, f"run 1, as accepted by ann: {WHY}")
    assert again.blobs.get(again.run(one).text) == b"a"
    assert hear(events) == [("one", "hit")]
    assert events[-1].note == f"run 1, as accepted by ann: {WHY}"
    two = step("b", "two", {"one": one})
    assert again.planner.accept(two, WHY, "ann").run == 2, "its input is known now"
    again.run(two)
    assert hear(events)[-1] == ("two", "hit")

    with again.database.read() as connection:
        (entry, _) = evidence.entries(connection, "step.accepted")
        made = catalog.last_success(connection, step="two").output.sha256
        assert [each.step for each in waiver.behind(connection, made)] == ["one", "two"]
        assert waiver.behind(connection, "0" * 64) == []
    assert entry.actor == "ann"
    assert (entry.body["old_key"], entry.body["new_key"]) == (kept.old_key, kept.new_key)
    assert verify(again.database, again.blobs).problems == ()
    assert again.planner.accept(one, WHY, "ann") is None, "there is nothing to accept"


def test_a_library_can_be_waived_too_and_the_next_change_asks_again(make_runner, recode):
    make_runner()[0].run(step())
    recode(environment={"python": "9.9"})
    kept = make_runner()[0].planner.accept(step(), WHY, "ann")
    assert kept.changed[0].startswith("environment.")
    recode(environment={"python": "10.0"})
    (planned,) = make_runner()[0].plan([step()])
    assert planned.hit is None


@pytest.mark.parametrize("why", ["", "  \n"])
def test_a_reason_is_asked_for(make_runner, recode, why):
    make_runner()[0].run(step())
    recode(code="another")
    with pytest.raises(UsageError, match="for a reason"):
        make_runner()[0].planner.accept(step(), why, "ann")


def test_another_setting_or_input_asks_for_another_result(make_runner, recode):
    make_runner()[0].run(step("b", "two", {"one": step()}))
    recode(code="another")
    asked, _ = make_runner()
    with pytest.raises(UsageError, match=r"config\.text: a -> z") as refused:
        asked.planner.accept(step("z"), WHY, "ann")
    assert refused.value.exit_code == 2
    assert "code changed" not in str(refused.value)
    asked.run(step("z"))
    with pytest.raises(UsageError, match=r"inputs\.one is another version"):
        asked.planner.accept(step("b", "two", {"one": step("z")}), WHY, "ann")
    with pytest.raises(UsageError, match="no earlier result"):
        asked.planner.accept(step("n", "new"), WHY, "ann")
    with pytest.raises(UsageError, match="other runs before it"):
        asked.planner.accept(step("b", "two", {"one": step("y", "other")}), WHY, "ann")
    with asked.database.read() as connection:
        assert list(evidence.entries(connection, "step.accepted")) == []


def test_an_earlier_result_of_the_same_settings_is_found_behind_another(make_runner, recode):
    make_runner()[0].run(step("a"))
    make_runner()[0].run(step("b"))
    recode(code="another")
    assert make_runner()[0].planner.accept(step("a"), WHY, "ann").run == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_damaged_result_is_not_kept(make_runner, recode, when):
    blob = make_runner()[0].run(step()).text
    recode(code="another")
    asked, _ = make_runner()

    def damage():
        path = asked.blobs.path(blob)
        path.chmod(0o644)
        path.write_bytes(b"b")

    if when == "before":
        damage()
        with pytest.raises(UsageError, match="cannot be kept"):
            asked.planner.accept(step(), WHY, "ann")
        return
    asked.planner.accept(step(), WHY, "ann")
    damage()
    again, events = make_runner()
    assert again.blobs.get(again.run(step()).text) == b"a"
    assert [event.what for event in events if event.what in ("damaged", "started", "hit")] == [
        "damaged",
        "started",
    ]
    assert make_runner()[0].plan([step()])[0].hit.id == 2, "its own result comes first now"
