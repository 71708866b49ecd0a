from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import pytest

from tunesmith.core.errors import UsageError
from tunesmith.core.ref import PARQUET
from tunesmith.records.model import ModelVersion
from tunesmith.records.suite import Figure, SuiteBeside, SuiteLimits, SuiteResult, beside_outcomes
from tunesmith.stages.probe.beside import beside
from tunesmith.stages.probe.config import BesideConfig
from tunesmith.stages.probe.figures import area, ratio, share
from tunesmith.stages.probe.found import Line, Score, to_parquet

CONFIG = BesideConfig(against="production", version="desk@1")


def line(row_id: str, *scores: Score) -> Line:
    return Line(
        row_id=row_id, check="c", asked="?", base="", tuned="", base_score=0, tuned_score=0,
        scores=scores,
    )  # fmt: skip


def result_of(tiny: Any, figure: Figure, lines: Sequence[Line]) -> SuiteResult:
    return SuiteResult(
        suite="s",
        kind="behaviour",
        model="desk",
        figures=(figure,),
        examples=tiny.blobs.put(to_parquet(lines), PARQUET),
        num_examples=len(lines),
    )


def shares(tiny: Any, right: dict[str, bool]) -> SuiteResult:
    """A suite that found this of the tuned model, and the contrary of its base."""
    said = list(right.values())
    figure = share("f", [not r for r in said], said, confidence=0.95, worse="lower")
    lines = [
        line(row, Score(figure="f", base=float(not r), tuned=float(r))) for row, r in right.items()
    ]
    return result_of(tiny, figure, lines)


def version(tiny: Any, *row_ids: str) -> ModelVersion:
    """A model that was tuned on those rows."""
    blob = tiny.blobs.put(b"a")
    model: ModelVersion = tiny.version(
        blob, blob, curve=tiny.blobs.put(json.dumps({"row_ids": row_ids}).encode())
    )
    return model


def compare(tiny: Any, mine: SuiteResult, theirs: SuiteResult, **seen: Any) -> SuiteBeside:
    return beside(
        CONFIG,
        tiny.context(),
        suite=mine,
        other=theirs,
        model=seen.get("model", version(tiny, "t")),
        rival=seen.get("rival", version(tiny, "t")),
    )


def test_two_versions_are_compared_on_what_both_were_asked(tiny: Any) -> None:
    mine = shares(tiny, {f"r{n}": True for n in range(12)} | {"mine alone": False})
    theirs = shares(tiny, {f"r{n}": n >= 8 for n in range(12)} | {"theirs alone": True})
    found = compare(tiny, mine, theirs)
    (figure,) = found.figures

    assert (found.version, found.num_left_out) == ("desk@1", 2)
    assert (figure.base, figure.tuned.value, figure.num_rows) == (4 / 12, 1.0, 12)
    assert figure.difference.value == pytest.approx(8 / 12)
    assert figure.test == "McNemar's exact test"
    assert figure.p_value == pytest.approx(2 / 2**8)
    assert figure.difference.low > 0


def test_rows_that_the_other_alone_was_tuned_on_are_left_out(tiny: Any) -> None:
    right = {f"r{n}": True for n in range(6)}
    mine, theirs = shares(tiny, right), shares(tiny, right)
    found = compare(
        tiny, mine, theirs, model=version(tiny, "r0"), rival=version(tiny, "r0", "r1", "r2")
    )
    assert (found.figures[0].num_rows, found.num_left_out) == (4, 2)


def test_tokens_that_were_cut_otherwise_are_not_compared(tiny: Any) -> None:
    def losses(counts: Sequence[int]) -> SuiteResult:
        nats = [2.0 * count for count in counts]
        figure = ratio("f", nats, nats, counts, confidence=0.95, seed=1)
        lines = [
            line(f"text {n}", Score(figure="f", base=nat, tuned=nat, size=count))
            for n, (nat, count) in enumerate(zip(nats, counts, strict=True))
        ]
        return result_of(tiny, figure, lines)

    assert compare(tiny, losses([3, 4, 5]), losses([3, 4, 9])).figures[0].num_rows == 2
    assert compare(tiny, losses([3, 4, 5]), losses([6, 7, 8])).figures == ()


def test_areas_need_both_sides(tiny: Any) -> None:
    def areas(sizes: Sequence[int]) -> SuiteResult:
        scores = [float(n) for n in range(len(sizes))]
        figure = area("f", (scores[:3], scores[3:]), (scores[:3], scores[3:]),
                      confidence=0.95, seed=1)  # fmt: skip
        lines = [
            line(f"r{n}", Score(figure="f", base=score, tuned=score, size=size))
            for n, (score, size) in enumerate(zip(scores, sizes, strict=True))
        ]
        return result_of(tiny, figure, lines)

    whole = areas([1, 1, 1, 0, 0, 0])
    assert compare(tiny, whole, whole).figures[0].difference.value == 0.0
    assert compare(tiny, whole, areas([0, 0, 0, 0, 0, 0])).figures == ()


def test_what_could_not_be_compared_says_why(tiny: Any) -> None:
    mine = shares(tiny, {"r0": True})
    asked_none = dataclasses.replace(
        result_of(tiny, mine.figures[0], []), figures=(), notes=("it could not be asked: no rows",)
    )
    found = compare(tiny, mine, asked_none)
    assert found.figures == ()
    assert found.not_compared == {"f": "of desk@1 it could not be asked: no rows"}
    assert found.unsaid == ["not compared: f: of desk@1 it could not be asked: no rows"]
    limits = SuiteLimits(suite="s", limits={"f": -0.1}, against="production")
    (rule,) = beside_outcomes(found, limits)
    assert (rule.verdict, rule.passed) == ("inconclusive", False)
    assert rule.observed == "not compared: of desk@1 it could not be asked: no rows"
    with pytest.raises(UsageError, match="limits_against: there is no figure 'g'"):
        beside_outcomes(found, SuiteLimits(suite="s", limits={"g": 0}, against="production"))
    assert (
        "too few of the same examples" in compare(tiny, mine, shares(tiny, {"x": True})).unsaid[0]
    )


def test_a_limit_is_of_the_difference_from_that_version(tiny: Any) -> None:
    mine = shares(tiny, {f"r{n}": n >= 8 for n in range(12)})
    theirs = shares(tiny, {f"r{n}": True for n in range(12)})
    found = compare(tiny, mine, theirs)
    limits = SuiteLimits(suite="s", limits={"f": -0.1}, against="production")
    (rule,) = beside_outcomes(found, limits)

    assert rule.rule == "suite s: f, tuned minus desk@1"
    assert (rule.verdict, rule.required) == ("fail", "at least -0.1000 at the lower end")
    (rule,) = beside_outcomes(None, limits)
    assert (rule.verdict, rule.observed) == ("pass", "no other version is production yet")
    with pytest.raises(UsageError, match="limits_against: there is no figure 'g'"):
        beside_outcomes(found, SuiteLimits(suite="s", limits={"g": 0}, against="production"))
