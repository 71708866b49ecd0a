"""What a gate compares with, and what people read of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from tunesmith.core.errors import ConfigError, NotFound
from tunesmith.graph import build
from tunesmith.judging import beside_the_released, beside_what_stands, what_never_stood
from tunesmith.registry.change import approve, promote, roll_back
from tunesmith.registry.report import compared, report
from tunesmith.registry.roles import Actor
from tunesmith.stages.evaluate.config import GateConfig, GateRule

ANN, BOB = (Actor(name=name, os_user=name) for name in ("ann", "bob"))


def put(desk: Any, version: str) -> None:
    promote(desk.project, version, "production", ANN, "better")
    approve(desk.project, version, "production", BOB, "agreed")


def digest(desk: Any, version: str) -> str:
    return next(
        each.digest
        for each in desk.project.versions()
        if each.kind == "model" and f"desk@{each.number}" == version
    )


def stands(desk: Any, against: str, version: str = "") -> str:
    found = desk.project.standing("desk", against, digest(desk, version) if version else "")
    return found.version if found else ""


def test_a_model_is_compared_with_another_and_the_same_one_wherever_it_goes(desk: Any) -> None:
    """So that the key of its gate stays, and the gate is judged once."""
    first = desk.release()
    assert stands(desk, "production") == ""
    put(desk, first)
    assert stands(desk, "production", first) == ""
    second = desk.release(beside=first)
    assert stands(desk, "production", second) == first
    put(desk, second)
    assert stands(desk, "production", second) == first
    assert stands(desk, "production") == second
    roll_back(desk.project, "desk", "production", BOB, "bad")
    assert stands(desk, "production", second) == first
    assert stands(desk, "production") == first


def test_released_means_production_else_candidate(desk: Any) -> None:
    first, second = desk.release(), desk.release()
    assert stands(desk, "released") == second
    put(desk, first)
    assert stands(desk, "released") == first
    assert stands(desk, "candidate") == second


def test_a_retrained_model_is_judged_beside_the_released_one(desk: Any) -> None:
    plain = GateConfig(model="desk", rules=(GateRule(at_least=0.5),))
    assert beside_the_released(plain).rules == (*plain.rules, GateRule(against="released"))
    own = GateConfig(model="desk", rules=(GateRule(against="production", margin=-0.1),))
    assert beside_the_released(own) == own

    first = desk.release()
    gate = '[gate.desk]\nmodel = "desk"\n'
    desk.set(gate, f'{gate}[[gate.desk.rules]]\nagainst = "released"\n')
    path = build(desk.project.file).models["desk"]
    judged = beside_what_stands(desk.project, path, "")
    assert judged.gate is not None
    (rival,) = judged.gate.inputs["rivals"]
    assert rival.name == f"evaluate:desk/{first}"
    assert rival.inputs["dataset"] is path.dataset
    assert rival.config == path.tuned_evaluation.config
    assert judged.release is not None
    assert judged.release.inputs["gate"] is judged.gate


def test_what_stands_is_asked_for_the_same_rewards(desk: Any) -> None:
    """Else what it earned by other rules would be compared, or nothing at all."""
    desk.release()
    gate, model = '[gate.desk]\nmodel = "desk"\n', "[model.desk]\n"
    learnt = 'objective = "grpo"\nrewards = [{ name = "exact" }]\nmax_new_tokens = 9\n'
    desk.set(model, f'format = "checked"\n{model}{learnt}')
    desk.set(gate, f'{gate}[[gate.desk.rules]]\nagainst = "released"\n')
    path = build(desk.project.file).models["desk"]
    judged = beside_what_stands(desk.project, path, "")
    assert judged.gate is not None
    (rival,) = judged.gate.inputs["rivals"]
    assert rival.config == path.tuned_evaluation.config == path.base_evaluation.config
    assert [each.name for each in rival.config.rewards] == ["exact"]
    assert rival.config.max_new_tokens == 9


def test_what_people_read(desk: Any) -> None:
    from tunesmith.cli.main import app

    first = desk.release()
    put(desk, first)
    desk.release(passes=False, is_judged=False)

    def said(*words: str) -> str:
        done = CliRunner().invoke(app, [*words, "-p", str(desk.project.folder)])
        assert done.exception is None, done.exception
        return done.stdout

    lines = said("model", "list").splitlines()
    assert lines[1].split()[:6] == ["desk", "1", "production", "candidate,", "production", "bob"]
    assert lines[2].split()[:4] == ["desk", "2", "made", "-"]
    shown = said("model", "show", first)
    assert "desk@1: production; aliases: candidate, production" in shown
    assert "agreed" in shown
    assert json.loads(said("model", "show", first, "--json"))["made_by"] == "ann"
    gate = report(desk.project, first).gate
    assert gate is not None
    assert gate.verdict == "pass"
    assert report(desk.project, "desk@2").gate is None
    with pytest.raises(NotFound, match="never evaluated"):
        compared(desk.project, "desk@2", "desk@2")
    with pytest.raises(NotFound, match="no model version desk@9"):
        compared(desk.project, first, "desk@9")


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("rules.against", 'rules = [{ against = "desk@1" }]'),
        ("rules.against", 'rules = [{ against = "7" }]'),
        ("rules.against", 'rules = [{ against = "Production" }]'),
        ("rules.against", 'rules = [{ against = "Released" }]'),
        ("rules.against", 'rules = [{ against = "BASE" }]'),
        ("rules.against", 'rules = [{ against = "Tried" }]\nalias = "tried"'),
        ("alias", 'alias = "a b"'),
        ("alias", 'alias = "v2"'),
        ("alias", 'alias = "Production"'),
    ],
)
def test_a_rule_compares_with_an_alias_not_with_a_version(desk: Any, key: str, text: str) -> None:
    with pytest.raises(ConfigError, match=rf"^gate\.desk\.{key}: ") as refused:
        desk.set("[registry]", f"{text}\n[registry]")
    assert refused.value.remedy


def test_an_alias_that_nothing_ever_had_is_said(desk: Any) -> None:
    rules = ", ".join(
        f'{{ against = "{name}" }}' for name in ("production", "released", "base", "Euope")
    )
    desk.set("[registry]", f"rules = [{rules}]\n[registry]")

    def never() -> list[str]:
        path = build(desk.project.file).models["desk"]
        return list(what_never_stood(desk.project, path, desk.project.file.gate["desk"]))

    assert never() == [
        "no version of desk ever had the alias 'Euope', so what is compared with it holds, "
        "whatever the model is"
    ]
    promote(desk.project, desk.release(), "europe", ANN, "ready")
    (said,) = never()
    assert said.endswith("; did you mean 'europe'?")
