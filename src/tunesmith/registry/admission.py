"""Whether a version may stand under an alias now: by what its gate last said, as the gate is set
now, of this version beside what stands there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tunesmith.core import catalog, lifecycle
from tunesmith.core.canonical import fingerprint
from tunesmith.core.db import Transaction
from tunesmith.core.errors import Conflict, GateFailed, NotFound, StoreError
from tunesmith.core.plan import changes
from tunesmith.core.ref import Blob, find, to_plain
from tunesmith.model_graph import limits_against, suites_of_model, with_limits
from tunesmith.project import Project
from tunesmith.records.evaluation import GateResult
from tunesmith.records.release import PRODUCTION
from tunesmith.registry.report import Judgement, judgements
from tunesmith.registry.standing import (
    Entry,
    Released,
    pointed,
    releases,
    split,
    version_of,
)
from tunesmith.stages.evaluate.config import GateConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Admitted:
    """A version that may stand under an alias."""

    released: Released
    """By the judgement that lets it."""
    before: str
    """The version that stands there; empty: none."""


def admitted(project: Project, connection: Transaction, version: str, alias: str) -> Admitted:
    """That a version may stand under the alias now.

    Raises:
        UsageError: `alias` can be none.
        UsageError, NotFound: see `version_of`.
        GateFailed: the gate, as it is set now, has not let it pass, or not beside what the alias
            points at now; or there is no gate any more.
        Conflict: it stands there, or is deprecated or retired.
    """
    name, _ = split(version)
    stands = pointed(project, connection, name)
    lifecycle.require_alias(alias, () if alias in stands else (PRODUCTION, *stands))
    closed = lifecycle.closed(connection, name).get(version)
    if closed:
        raise Conflict(f"{version} is {closed}", remedy="promote another version")
    now = stands.get(alias, "")
    if now == version:
        raise Conflict(f"{version} is {alias!r} already")
    judgement, gate = _says_now(project, connection, version, now)
    if not gate.admits:
        raise GateFailed(
            f"gate {gate.gate} says {gate.verdict} of {version} (run {judgement.run.id}): "
            f"{gate.failed()}",
            remedy="change the recipe or the data, and run the project again",
        )
    is_compared = any(comparison.versus == now for comparison in gate.comparisons)
    # What is damaged can be compared with nothing, and is what has to be replaced.
    if now and not is_compared and _is_whole(project, connection, now):
        raise GateFailed(
            f"gate {gate.gate} did not compare {version} with {now}, which is {alias!r} now",
            remedy=f'add a rule with against = "{alias}" to [gate.{gate.gate}] if there is none, '
            f"and run the project again, with [model.{name}] as it was for {version}",
        )
    return Admitted(released=_released_by(project, connection, version, judgement), before=now)


def _is_whole(project: Project, connection: Transaction, version: str) -> bool:
    """Whether all of a released version is there, to the byte."""
    try:
        require_whole(project, next(releases(project, connection, version)), deep=True)
    except (StoreError, NotFound, Conflict):
        return False
    return True


def require_whole(project: Project, found: Released, *, deep: bool = False) -> None:
    """That all of a version is in the store; `deep` reads every byte. What `gc` set aside comes
    back by that.

    Raises:
        Conflict: some of it was erased.
        NotFound: some of it is gone.
        BlobCorrupt: some of it is damaged.
    """
    for blob in find(found.release, Blob):
        try:
            project.runner.blobs.check(blob, deep=deep)
        except StoreError as error:
            if blob.sha256 in project.purged:
                raise Conflict(
                    f"a part of {found.version} was erased when somebody was forgotten, for good",
                    remedy="tune a version without it (`tunesmith run`), and promote that",
                ) from error
            raise type(error)(
                f"{found.version} is not whole, so that it could not be served: {error.message}",
                remedy="have it back from a backup: `tunesmith verify --repair --from DEST`; "
                "without one, set [model] and [dataset] as they were for it and run the project: "
                "it is tuned again, and is this version if it comes out the same to the bit",
            ) from error


def _says_now(
    project: Project, connection: Transaction, version: str, beside: str
) -> tuple[Judgement, GateResult]:
    """The newest judgement of a version by the rules that the project file has now.

    Where the same answers were judged beside several versions in turn, it is the one beside the
    version that stands there now: a run of the project would use that one again.

    Raises:
        GateFailed: there is none.
    """
    found = version_of(connection, version)
    of = Entry(version=found, name=version, state="", aliases=(), changes=())
    every = judgements(catalog.all_runs(connection), of)
    judged = _by_the_rules_of_now(project, version, every)
    answers = judged[-1].run.identity["inputs"]["tuned"]
    results: list[tuple[Judgement, GateResult]] = [
        (each, project.load(each.run))
        for each in judged
        if each.run.identity["inputs"]["tuned"] == answers
    ]
    there = [
        (each, gate)
        for each, gate in results
        if any(comparison.versus == beside for comparison in gate.comparisons)
    ]
    return (there or results)[-1]


def _by_the_rules_of_now(
    project: Project, version: str, every: Sequence[Judgement]
) -> list[Judgement]:
    """Those of all judgements of a version that asked what the gate asks now; where none did, those
    that asked more, as those of `tunesmith retrain` do."""
    name, _ = split(version)
    gate = next((gate for gate in project.file.gate.values() if gate.model == name), None)
    if gate is None:
        raise GateFailed(
            f"no gate judges {name} any more, so nothing says that {version} is good enough",
            remedy=f'put the section [gate.NAME] with model = "{name}" back into the project file',
        )
    suites = suites_of_model(project.file, name)
    beside = limits_against(suites, gate.suites)
    against = [fingerprint(beside)] if beside else []
    asked = with_limits(gate, suites)
    same, more = [], []
    for each in every:
        judged = _gate_of(each)
        if judged is None or each.run.identity["inputs"].get("limits_against", []) != against:
            continue
        if _rules(judged) == _rules(asked):
            same.append(each)
        elif _rules(judged.model_copy(update={"rules": asked.rules})) == _rules(asked) and all(
            rule in judged.rules for rule in asked.rules
        ):
            more.append(each)
    if not same and not more:
        last = _gate_of(every[-1]) if every else None
        what = "; ".join(_changed(last, asked)) if last else ""
        raise GateFailed(
            f"gate {gate.name} has changed since it judged {version}"
            + (f": {what}" if what else ""),
            remedy="run the project first (`tunesmith run`), which tunes nothing again, and see "
            f"what the gate says; if [model.{name}] was changed since, set it as it was for "
            f"{version}",
        )
    return same or more


def _gate_of(judgement: Judgement) -> GateConfig | None:
    """What a gate asked when it judged; None where this version cannot read it."""
    try:
        return GateConfig.model_validate(judgement.run.identity["config"])
    except ValueError:
        return None


def _rules(gate: GateConfig) -> dict[str, object]:
    """What bears on the verdict: not what the gate is called, nor the alias that it gives."""
    return gate.model_dump(exclude={"name", "alias"})


def _changed(before: GateConfig, after: GateConfig) -> Iterator[str]:
    """For people: the rules by their number, each with what is set in it."""

    def said(gate: GateConfig) -> dict[str, object]:
        rules = {
            str(number): rule.model_dump(exclude_defaults=True)
            for number, rule in enumerate(gate.rules, 1)
        }
        return {**_rules(gate), "rules": rules}

    return changes(to_plain(said(before)), to_plain(said(after)))


def _released_by(
    project: Project, connection: Transaction, version: str, judgement: Judgement
) -> Released:
    """The newest release of a version by that judgement.

    Raises:
        GateFailed: it was not released, as a run ended before that.
    """
    assert judgement.run.output is not None
    for found in releases(project, connection, version):
        given = catalog.run(connection, found.run_id).identity["inputs"]["gate"]
        if given == [judgement.run.output.sha256]:
            return found
    raise GateFailed(
        f"{version} passed its gate (run {judgement.run.id}) and was not released after that",
        remedy="run the project again (`tunesmith run`), which tunes nothing again",
    )
