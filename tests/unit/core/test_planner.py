"""What a plan says of steps that wait for one whose code changed."""

from __future__ import annotations

import pytest

from tunesmith.core import planner, runner
from tunesmith.core.plan import identity
from tunesmith.core.step import Step
from tunesmith.testing import EchoConfig


def step(name: str, text: str, **inputs: Step) -> Step:
    return Step(
        name=name, kind="echo@1", config=EchoConfig(name=name, text=text), inputs=dict(inputs)
    )


def chain(first: str = "a", second: str = "b") -> list[Step]:
    one = step("one", first)
    two = step("two", second, one=one)
    return [one, two, step("three", "c", two=two)]


@pytest.fixture
def recode(monkeypatch):
    """recode("one", ...) -> the code of these steps is another one from now on."""

    def change(*names):
        def changed(a_step, inputs):
            return identity(a_step, inputs) | ({"code": "another"} if a_step.name in names else {})

        monkeypatch.setattr(runner, "identity", changed)
        monkeypatch.setattr(planner, "identity", changed)

    return change


def said(a_runner, steps):
    return [
        (each.hit and each.hit.id, each.as_before and each.as_before.id, each.reason)
        for each in a_runner.plan(steps)
    ]


def test_what_follows_may_be_used_again(make_runner, recode):
    make_runner()[0].run(chain()[-1])
    recode("one")

    found = said(make_runner()[0], chain())

    assert found == [
        (None, None, "the step's code changed"),
        (None, 2, "only if one comes out otherwise"),
        (None, 3, "only if two comes out otherwise"),
    ]
    make_runner()[0].run(chain()[0])  # it makes what it made before
    assert said(make_runner()[0], chain()) == [(4, None, ""), (2, None, ""), (3, None, "")]


def test_a_step_of_which_something_else_changed_runs_for_sure(make_runner, recode):
    make_runner()[0].run(chain()[-1])
    recode("one")

    found = said(make_runner()[0], chain(second="other"))

    assert found == [
        (None, None, "the step's code changed"),
        (None, None, "config.text: b -> other"),
        (None, None, "two runs before it"),
    ]


def test_nothing_is_expected_of_another_input(make_runner):
    make_runner()[0].run(chain()[-1])

    found = said(make_runner()[0], chain(first="other"))

    assert [each[2] for each in found] == [
        "config.text: a -> other",
        "one runs before it",
        "two runs before it",
    ]


def test_what_is_not_whole_is_not_expected(make_runner, recode):
    a_runner, _ = make_runner()
    made = a_runner.run(chain()[-1])
    a_runner.blobs.path(made.text).unlink()
    recode("one")

    found = said(make_runner()[0], chain())

    assert [each[2] for each in found][1:] == [
        "only if one comes out otherwise",
        "its earlier result is no longer there",
    ]
