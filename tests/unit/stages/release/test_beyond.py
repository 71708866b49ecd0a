from __future__ import annotations

import typing

from tunesmith.core.ref import Blob
from tunesmith.records.suite import Figure, Range, SuiteBeside, SuiteLimits, SuiteResult
from tunesmith.stages.probe.config import Suite
from tunesmith.stages.release.beyond import SHOWS, beyond_task

FIGURE = Figure(
    name="loss of a token",
    base=2.9,
    tuned=Range(value=3.1, low=2.8, high=3.4),
    difference=Range(value=0.2, low=0.15, high=0.24),
    num_rows=40,
    confidence=0.95,
    worse="higher",
    limited="difference",
    made_of="ratio",
    test="permutation test",
    p_value=0.004,
    detectable=0.07,
)
RESULT = SuiteResult(
    suite="general",
    kind="forgetting",
    model="desk",
    figures=(FIGURE,),
    examples=Blob(sha256="0" * 64, num_bytes=0),
    num_examples=40,
    notes=("perplexity 18 -> 22",),
)


def test_a_suite_is_on_the_card_with_its_limits_and_what_it_shows():
    card = beyond_task([RESULT], [SuiteLimits(suite="general", limits={"loss of a token": 0.1})])
    assert card.startswith("## Beyond its task\n\n### general\n\n" + SHOWS["forgetting"])
    row = "| loss of a token | 2.900 | 3.100 (2.800 to 3.400) | +0.200 | +0.150 to +0.240 (95%) "
    assert row + "| permutation test: p = 0.004; could show 0.070 | 40 |" in card
    assert "- limit not kept: suite general: loss of a token, tuned minus base: +0.2000" in card
    assert "- perplexity 18 -> 22" in card


def test_limits_of_the_difference_from_another_version_are_on_the_card():
    beside = SuiteBeside(
        suite="general", kind="forgetting", model="desk", against="production", version="desk@1",
        figures=(FIGURE,), not_compared={"other": "no reason"},
    )  # fmt: skip
    against = SuiteLimits(
        suite="general", limits={"loss of a token": 0.1, "other": 0.1}, against="production"
    )
    card = beyond_task([RESULT], [SuiteLimits(suite="general")], [beside], [against])
    start = "- limit not kept: suite general: loss of a token, tuned minus desk@1: +0.2000"
    assert start in card
    assert "- limit not decided: suite general: other, tuned minus desk@1: not compared" in card
    assert "- not compared: other: no reason" in card


def test_without_suites_there_is_no_section():
    assert beyond_task([], []) == ""


def test_every_kind_of_suite_says_what_it_shows():
    assert set(SHOWS) == set(typing.get_args(Suite))
