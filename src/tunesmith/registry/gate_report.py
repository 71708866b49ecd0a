"""A gate's report for others: dated, sealed, and to be verified without this project."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core import catalog, evidence, lifecycle
from tunesmith.core.canonical import fingerprint
from tunesmith.core.catalog import Run
from tunesmith.core.db import Transaction, clock
from tunesmith.core.errors import GateFailed
from tunesmith.core.new_folder import new_folder, require_free
from tunesmith.core.ref import to_plain
from tunesmith.project import Project
from tunesmith.registry.report import Report, report
from tunesmith.registry.roles import Actor
from tunesmith.signing.envelope import statement, write_report
from tunesmith.signing.keys import PrivateKey

PREDICATE = "urn:tunesmith:gate-report:v1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reported:
    """A report that was written."""

    version: str
    folder: str
    verdict: str
    made_at: str
    sha256: str
    """Of report.json."""
    key: str
    seq: int
    """Of the evidence entry that says so."""


def write_gate_report(
    project: Project, version: str, folder: Path, key: PrivateKey, actor: Actor
) -> Reported:
    """Write what the gate said of a version, and all that this rests on, to a new folder.

    That it was written is evidence: the digest of the report.

    Raises:
        UsageError, NotFound: see `report`.
        GateFailed: no gate has judged the version.
        Conflict: `folder` is there and is not empty.
    """
    require_free(folder, "--out")
    found = report(project, version)
    if found.gate is None:
        raise GateFailed(
            f"no gate has judged {version}",
            remedy="add a [gate.NAME] section for its model, and run the project: `tunesmith run`",
        )
    with project.runner.database.read() as connection:
        predicate = _predicate(connection, found, actor)
    said = statement(version, found.entry.version.digest, PREDICATE, predicate)
    digest = fingerprint(said)
    body = {
        "model": found.entry.version.name,
        "version": version,
        "why": f"report {digest[:12]}, with key {key.id[:12]}",
        "digest": found.entry.version.digest,
        "report": digest,
        "key": key.id,
        **actor.body(),
    }
    with new_folder(folder, "--out") as temporary:
        write_report(temporary, said, key)
    with project.runner.database.write() as connection:
        evidence.append(connection, lifecycle.REPORTED, actor.name, body)
        seq = lifecycle.changes(connection, found.entry.version.name)[-1].seq
    return Reported(
        version=version,
        folder=str(folder),
        verdict=found.gate.verdict,
        made_at=predicate["made_at"],
        sha256=digest,
        key=key.id,
        seq=seq,
    )


def _predicate(connection: Transaction, found: Report, actor: Actor) -> dict[str, Any]:
    gate, entry = found.gate, found.entry
    assert gate is not None
    runs = {run.id: run for run in catalog.all_runs(connection)}
    judged = runs[found.gate_run]
    head = evidence.newest(connection)
    assert head is not None
    return {
        "made_at": clock(connection),
        "made_by": {"name": actor.name, **actor.body()},
        "version": {
            "name": entry.name,
            "state": entry.state,
            "aliases": list(entry.aliases),
            "made": _ran(runs[entry.version.run_id]),
        },
        "gate": {
            "name": gate.gate,
            "verdict": gate.verdict,
            "inconclusive": gate.inconclusive,
            "admits": gate.admits,
            "judged": _ran(judged),
        },
        "thresholds": {
            "settings": judged.identity["config"],
            "registered": to_plain(found.registration),
        },
        "inputs": {
            "answers": dict(gate.inputs),
            "steps": [_given(run) for run in _before(runs, judged)],
        },
        "rules": [{**to_plain(rule), "verdict": rule.said} for rule in gate.rules],
        "comparisons": to_plain(gate.comparisons),
        "documents": to_plain(gate.documents),
        "judged_by_a_model": [
            {**to_plain(each), "said": list(each.said())} for each in gate.win_rates
        ],
        "done": [
            {
                "evidence": change.seq,
                "at": change.at,
                "by": change.actor,
                "what": change.what,
                "alias": change.body.get("alias", ""),
                "why": change.why,
            }
            for change in entry.changes
        ],
        "evidence": {"seq": head.seq, "digest": head.digest},
    }


def _ran(run: Run) -> dict[str, Any]:
    """Who ran a step, when, with what code."""
    return {
        "run": run.id,
        "by": run.actor,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "output": run.output.sha256 if run.output else "",
        "code": run.identity["code"],
        "environment": run.identity["environment"],
        "seed": run.identity["seed"],
    }


def _given(run: Run) -> dict[str, Any]:
    """A step, and the digests of the records that it was given and made."""
    inputs: Mapping[str, Any] = run.identity["inputs"]
    return {"step": run.step, "kind": run.kind, "inputs": dict(inputs), **_ran(run)}


def _before(runs: Mapping[int, Run], judged: Run) -> Iterator[Run]:
    """The runs that the verdict rests on, at any remove, oldest first."""
    made = {run.output.sha256: run for run in runs.values() if run.output}
    reached: dict[int, Run] = {}
    open_ = [judged]
    while open_:
        run = open_.pop()
        if run.id in reached:
            continue
        reached[run.id] = run
        for digests in run.identity["inputs"].values():
            open_ += [made[digest] for digest in digests if digest in made]
    yield from (reached[number] for number in sorted(reached))
