"""Reports of gates: compiled once, when a gate has judged, kept in the store as they are, and to be
verified without this project."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core import catalog, evidence, lifecycle
from tunesmith.core.canonical import canonical_json, parse
from tunesmith.core.catalog import Run
from tunesmith.core.db import Transaction, clock
from tunesmith.core.errors import GateFailed
from tunesmith.core.event import Event
from tunesmith.core.failpoint import failpoint
from tunesmith.core.new_folder import new_folder, require_free
from tunesmith.core.ref import Blob, to_plain
from tunesmith.project import Project
from tunesmith.records.evaluation import GateResult
from tunesmith.registry.report import Judgement, entry_of, judgements
from tunesmith.registry.roles import Actor
from tunesmith.registry.sealed import Sealed, bytes_of, sealed_of
from tunesmith.registry.signing import signing_key
from tunesmith.registry.standing import Entry, listed
from tunesmith.signing.envelope import seal, statement, write_report
from tunesmith.signing.keys import PrivateKey

PREDICATE = "urn:tunesmith:gate-report:v1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A report that was written for others."""

    version: str
    folder: str
    verdict: str
    made_at: str
    sha256: str
    """Of report.json."""
    key: str
    """What it is signed with; empty: it is not signed."""
    seq: int
    """Of the evidence entry that says that it was sealed."""


def seal_judged(project: Project, model: str, gate_step: str, key: PrivateKey | None) -> None:
    """Keep the report of each judgement of a model by a step that has none yet: of the one that was
    just made, and of those whose process ended before it came so far."""
    with project.runner.database.read() as connection:
        done = {entry.body["run"] for entry in evidence.entries(connection, lifecycle.SEALED)}
        runs = catalog.all_runs(connection, step=gate_step)
    if all(run.id in done for run in runs if run.status == "succeeded"):
        return
    user = project.runner.actor
    every = project.runs()
    for entry in listed(project, model):
        for sealed in _seal(project, every, entry, key, Actor(name=user, os_user=user)):
            note = f"the report of {sealed.version} is sealed, sha256 {sealed.report.sha256[:12]}"
            note += (
                "" if sealed.signatures else "; no [registry] signing_key is set to sign it with"
            )
            project.runner.on_event(Event(step=gate_step, what="sealed", note=note))


def write_gate_report(
    project: Project, version: str, folder: Path, key: PrivateKey | None, actor: Actor
) -> Written:
    """Write the sealed report of what the gate last said of a version to a new folder, with its
    first signature; with a `key`, with the one by that key, which is made if there is none. Where
    nobody has signed it, the project's key does, if there is one.

    Raises:
        UsageError: `version` is not of the form MODEL@NUMBER.
        NotFound: there is no such version.
        GateFailed: no gate has judged the version.
        Conflict: `folder` is there and is not empty.
        StoreError: the store has not got it whole.
        ConfigError, SignatureError: the project's key is needed and cannot be used.
    """
    require_free(folder, "--out")
    found = newest_sealed(project, version, actor)
    if key is None and not found.signatures:
        key = signing_key(project)
    if key is not None and key.id not in found.signatures:
        _sign(project, found, entry_of(project, version), key, actor)
        found = newest_sealed(project, version, actor)
    with new_folder(folder, "--out") as temporary:
        used = key.id if key is not None else next(iter(found.signatures), "")
        return _written(project, found, temporary, folder, used)


def write_every_report(project: Project, folder: Path) -> list[Written]:
    """Write the newest sealed report of each version that has one to a new folder, each in a folder
    of its own; with its first signature, if it has one.

    Raises:
        Conflict: `folder` is there and is not empty.
        StoreError: the store has not got one whole.
    """
    with project.runner.database.read() as connection:
        log = list(evidence.entries(connection, lifecycle.SEALED))
        newest = {
            version: sealed_of(connection, version)[-1]
            for version in dict.fromkeys(entry.body["version"] for entry in log)
        }
    made = []
    with new_folder(folder, "--out") as temporary:
        for version, found in newest.items():
            (temporary / version).mkdir()
            used = next(iter(found.signatures), "")
            made.append(_written(project, found, temporary / version, folder / version, used))
    return made


def _written(project: Project, found: Sealed, into: Path, folder: Path, key: str) -> Written:
    payload = bytes_of(project, found.report, found)
    write_report(into, payload, bytes_of(project, found.signatures[key], found) if key else None)
    return Written(
        version=found.version,
        folder=str(folder),
        verdict=found.verdict,
        made_at=parse(payload)["predicate"]["made_at"],
        sha256=found.report.sha256,
        key=key,
        seq=found.seq,
    )


def newest_sealed(project: Project, version: str, actor: Actor) -> Sealed:
    """The report of what the gate last said of a version; it is sealed now if it was judged before
    reports were, or its process ended.

    Raises:
        UsageError, NotFound, GateFailed: see `write_gate_report`.
    """
    entry, every = entry_of(project, version), project.runs()
    _seal(project, every, entry, None, actor)
    judged = judgements(every, entry)
    with project.runner.database.read() as connection:
        found = {each.run: each for each in sealed_of(connection, version)}
    if not judged:
        raise GateFailed(
            f"no gate has judged {version}",
            remedy="add a [gate.NAME] section for its model, and run the project: `tunesmith run`",
        )
    return found[judged[-1].run.id]


def _seal(
    project: Project, every: Sequence[Run], entry: Entry, key: PrivateKey | None, actor: Actor
) -> list[Sealed]:
    """Keep a report of each judgement of a version that has none, by `every` run; those that were
    kept now."""
    blobs, database = project.runner.blobs, project.runner.database
    with database.read() as connection:
        done = {each.run for each in sealed_of(connection, entry.name)}
    judged = [each for each in judgements(every, entry) if each.run.id not in done]
    runs = {run.id: run for run in every}
    for each in judged:
        gate: GateResult = project.load(each.run)
        with database.read() as connection:
            said = _predicate(connection, runs, entry, gate, each, actor)
        payload = canonical_json(statement(entry.name, entry.version.digest, PREDICATE, said))
        report = blobs.put(payload, "application/json")
        envelope = blobs.put(seal(payload, key), "application/json") if key is not None else None
        failpoint("report.stored")
        body = {
            "model": entry.version.name,
            "version": entry.name,
            "why": f"gate {gate.gate}, run {each.run.id}: {gate.verdict}; report "
            f"{report.sha256[:12]}{'' if key is not None else ', not signed'}",
            "digest": entry.version.digest,
            "run": each.run.id,
            "verdict": gate.verdict,
            "report": report.sha256,
            "kept": [report],
            **actor.body(),
        }
        with database.write() as connection:
            # Another process may have been faster: then its bytes are the report.
            if all(one.run != each.run.id for one in sealed_of(connection, entry.name)):
                evidence.append(connection, lifecycle.SEALED, actor.name, body)
                if key is not None and envelope is not None:
                    _say_signed(connection, body, envelope, key, actor)
    ours = {each.run.id for each in judged}
    with database.read() as connection:
        return [each for each in sealed_of(connection, entry.name) if each.run in ours]


def _sign(project: Project, found: Sealed, entry: Entry, key: PrivateKey, actor: Actor) -> None:
    """Sign a report that is sealed, and keep the signature, unless that key has signed it."""
    envelope = project.runner.blobs.put(
        seal(bytes_of(project, found.report, found), key), "application/json"
    )
    body = {
        "model": entry.version.name,
        "version": entry.name,
        "digest": entry.version.digest,
        "report": found.report.sha256,
    }
    with project.runner.database.write() as connection:
        now = {each.run: each for each in sealed_of(connection, entry.name)}
        if key.id not in now[found.run].signatures:
            _say_signed(connection, body, envelope, key, actor)


def _say_signed(
    connection: Transaction, of: Mapping[str, Any], envelope: Blob, key: PrivateKey, actor: Actor
) -> None:
    body = {
        **{name: of[name] for name in ("model", "version", "digest", "report")},
        "why": f"report {of['report'][:12]}, with key {key.id[:12]}",
        "key": key.id,
        "kept": [envelope],
        **actor.body(),
    }
    evidence.append(connection, lifecycle.REPORTED, actor.name, body)


def _predicate(
    connection: Transaction,
    runs: Mapping[int, Run],
    entry: Entry,
    gate: GateResult,
    judgement: Judgement,
    actor: Actor,
) -> dict[str, Any]:
    judged = judgement.run
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
            "registered": to_plain(judgement.registration(connection)),
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
