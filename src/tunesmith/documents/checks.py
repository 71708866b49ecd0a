"""What suites of checks and the audit found of a model version, as facts, and how documents say it.

A fact is of one kind of suite, and has the newest result of each suite of that kind. It says how
that keeps to its limits: those of the gate, if the newest report rests on this result, else those
of the project file. A suite that failed, or that could not be run, is said to have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tunesmith.core.catalog import Run
from tunesmith.core.ref import from_plain, to_plain
from tunesmith.documents.markdown import line, table
from tunesmith.documents.sheet import Reading
from tunesmith.documents.store import Found, Store, digest_of, fact
from tunesmith.records.audit import Audit
from tunesmith.records.evaluation import GateResult, RuleResult
from tunesmith.records.suite import Figure, SuiteResult, outcomes
from tunesmith.stages.probe.config import suites_of
from tunesmith.stages.release.beyond import SHOWS

AUDIT = "checks.audit"
BROKEN = "checks.not_run"
SUITES = tuple(f"checks.{kind}" for kind in SHOWS)
CHECKS = (AUDIT, *SUITES)
"""Keys of facts: the audit of what was tuned, and each kind of suite. What could not be run is a
fact of its own: it answers nothing."""
NO_LIMIT = "no limit"
NOT_RUN = "could not be run"
VERDICTS = {
    "pass": "passed",
    "fail": "FAILED",
    "inconclusive": "not decided",
    NO_LIMIT: "no limit was set",
    NOT_RUN: "COULD NOT BE RUN",
}
"""What documents say of a verdict."""


def of_checks(store: Store) -> Iterator[Found]:
    """A fact for each kind of suite of which there is a result, one for the audit, and one of what
    could not be run."""
    judged = _newest_report(store)
    by_key: dict[str, list[tuple[Run, dict[str, Any]]]] = {}
    for run in (*_newest(store, "probe@1"), *_newest(store, "audit@1")):
        config = run.identity["config"]
        kind, name = config.get("kind", "audit"), config.get("suite", "audit")
        key = BROKEN if run.output is None else f"checks.{kind}"
        said = _failed(run) if run.output is None else _found(store, run, judged)
        by_key.setdefault(key, []).append((run, {"name": name, "kind": kind, **said}))
    for key, found in by_key.items():
        newest, values = found[-1][0], [said for _, said in found]
        if key != BROKEN:
            yield fact(key, values, newest)
            continue
        yield {
            "key": key,
            "value": values,
            "where": f"run {newest.id} ({newest.step}), which failed",
            "at": newest.finished_at or "",
            "origin": "recorded",
        }


def _newest(store: Store, kind: str) -> list[Run]:
    """The newest run of each step of a kind that was given the version, by its name: one that
    failed, if none went well since."""
    runs = [
        run
        for run in (*store.runs, *store.failed)
        if run.kind == kind and store.version.digest in store.given(run, "model")
    ]
    newest = {
        run.identity["config"].get("suite", run.step): run
        for run in sorted(runs, key=lambda run: run.id)
    }
    return [newest[name] for name in sorted(newest)]


def _newest_report(store: Store) -> Run | None:
    """The run that judged the version last."""
    evaluated = {
        digest_of(run) for run in store.of("evaluate-tuned@1", "model", store.version.digest)
    }
    judged = [
        run
        for run in store.runs
        if run.kind == "gate@1" and evaluated & set(store.given(run, "tuned"))
    ]
    return max(judged, key=lambda run: run.id, default=None)


def _failed(run: Run) -> dict[str, Any]:
    # Of what went wrong its kind alone: a message may cite a row.
    why = (run.error or "").partition(":")[0]
    return {"run": run.id, "at": run.finished_at, "by": run.actor, "verdict": NOT_RUN, "why": why}


def _found(store: Store, run: Run, judged: Run | None) -> dict[str, Any]:
    return _audit(store, run) if run.kind == "audit@1" else _suite(store, run, judged)


def _made(run: Run) -> dict[str, Any]:
    return {"run": run.id, "at": run.finished_at, "by": run.actor, "digest": digest_of(run)}


def _suite(store: Store, run: Run, judged: Run | None) -> dict[str, Any]:
    found: SuiteResult = store.load(run)
    rules, whose = _rules(store, run, judged, found)
    return {
        **_made(run),
        "verdict": _verdict(rules),
        "figures": [to_plain(each) for each in found.figures],
        "limits": [_rule(each) for each in rules],
        "limits_of": whose,
        "notes": list(found.notes),
        "num_examples": found.num_examples,
    }


def _rules(
    store: Store, run: Run, judged: Run | None, found: SuiteResult
) -> tuple[Sequence[RuleResult], str]:
    """How a result keeps to its limits, and whose these are."""
    if judged is not None and digest_of(run) in store.given(judged, "suites"):
        verdict: GateResult = store.load(judged)
        mine = [each for each in verdict.rules if each.rule.startswith(f"suite {found.suite}: ")]
        return mine, f"gate {verdict.gate}, run {judged.id}"
    sections = store.project.file.suite
    named = suites_of(store.version.name, store.model.objective, sections).get(found.suite)
    if named is None:
        return (), ""
    known = {figure.name for figure in found.figures}
    limits = named.judged_by()
    if not limits.limits.keys() <= known:  # set since, for figures that it has not
        return (), ""
    return outcomes(found, limits), "tunesmith.toml"


def _audit(store: Store, run: Run) -> dict[str, Any]:
    found: Audit = store.load(run)
    return {
        **_made(run),
        "verdict": _verdict(found.rules),
        "figures": [],
        "limits": [_rule(each) for each in found.rules],
        "limits_of": "the audit itself",
        "notes": [
            *(f"to look at: {each}" for each in found.to_look_at),
            *(f"not looked at: {each}" for each in found.not_looked_at),
        ],
        "num_examples": found.num_prompts,
    }


def _rule(rule: RuleResult) -> dict[str, str]:
    return {
        "rule": rule.rule,
        "observed": rule.observed,
        "required": rule.required,
        "said": rule.said,
    }


def _verdict(rules: Sequence[RuleResult]) -> str:
    said = {each.said for each in rules}
    order = ("fail", "inconclusive", "pass")
    return next((each for each in order if each in said), NO_LIMIT)


# How documents say it.


def said(value: list[dict[str, Any]]) -> list[str]:
    """Results in Markdown: of each its verdict, its figures, and each limit."""
    lines = []
    for each in value:
        lines.append(f"- {headline(each)}")
        lines += [
            f"- {line(rule['said'])}: {line(rule['rule'])}: {line(rule['observed'])}, required "
            f"{line(rule['required'])}"
            for rule in each.get("limits", [])
        ]
        lines += [f"- {line(note)}" for note in each.get("notes", [])]
    rows = [[each["name"], *_row(figure)] for each in value for figure in each.get("figures", [])]
    of = ["base model", "this model", "difference", "interval", "test", "examples"]
    head = ["suite", "figure", *of]
    return ["", *lines, *(["", *table(head, rows)] if rows else [])]


def _row(figure: dict[str, Any]) -> list[Any]:
    of, found = figure["tuned"], figure["difference"]
    return [
        figure["name"],
        f"{figure['base']:.3f}",
        f"{of['value']:.3f} ({of['low']:.3f} to {of['high']:.3f})",
        f"{found['value']:+.3f}",
        f"{found['low']:+.3f} to {found['high']:+.3f} ({figure['confidence']:.0%})",
        from_plain(Figure, figure).tested,
        figure["num_rows"],
    ]


def headline(each: dict[str, Any]) -> str:
    """A result in a line: what, its verdict, when, by whom."""
    name = each["name"] if each["name"] == "audit" else f"suite {each['name']}"
    why = f" ({line(each['why'])})" if each.get("why") else ""
    return (
        f"{line(name)}: {VERDICTS[each['verdict']]}{why} ({each['at']}, run {each['run']}, by "
        f"{line(each['by'])})"
    )


SAID: dict[str, Callable[[Any], list[str]]] = dict.fromkeys((*CHECKS, BROKEN), said)


def results(reading: Reading) -> list[dict[str, Any]]:
    """Every result that is known, the audit first, and what could not be run."""
    return [each for key in (*CHECKS, BROKEN) for each in reading.value(key, [])]


def failures(reading: Reading) -> list[str]:
    """What failed, or could not be run, or was not decided: a sentence each."""
    found = []
    for each in results(reading):
        name = each["name"] if each["name"] == "audit" else f"suite {each['name']}"
        if each["verdict"] == NOT_RUN:
            found.append(f"{name} COULD NOT BE RUN ({each['why']}), so nothing is known of it")
        found += [
            f"{'FAILED' if rule['said'] == 'fail' else 'not decided'}: {_whole(name, rule['rule'])}"
            f": {rule['observed']}, required {rule['required']}"
            for rule in each.get("limits", [])
            if rule["said"] != "pass"
        ]
    return found


def _whole(name: str, rule: str) -> str:
    return rule if rule.startswith(name) else f"{name}: {rule}"


def figures(reading: Reading) -> Iterator[tuple[str, Figure]]:
    """Every figure of a suite, with the suite's name."""
    for each in results(reading):
        for figure in each.get("figures", []):
            yield each["name"], from_plain(Figure, figure)
