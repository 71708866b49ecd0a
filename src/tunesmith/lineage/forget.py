"""Forget a person: rewrite, purge, deny, prove. Killed at any point, the same command goes on.

First the evidence says what may not come back and which blobs will go; then data assets, datasets
and indexes are made again without the rows; then the old blobs, served requests and what steps kept
are removed; then every file of the store is searched, and the certificate says what was found.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tunesmith.core import catalog, erasure, evidence
from tunesmith.core.canonical import canonical_json, one_form, parse
from tunesmith.core.errors import Conflict, DataError, NotFound, TunesmithError
from tunesmith.core.execute import CACHE
from tunesmith.core.failpoint import failpoint
from tunesmith.core.project_folder import STORE
from tunesmith.core.ref import Blob, from_plain
from tunesmith.core.step import Step
from tunesmith.documents.frozen import freeze
from tunesmith.graph import build, steps
from tunesmith.lineage import forget_corrections, forget_repairs, scan
from tunesmith.lineage import journal as journals
from tunesmith.lineage.forget_search import known, search
from tunesmith.lineage.journal import Journal
from tunesmith.lineage.person import MIN_SUBJECT, Person
from tunesmith.lineage.plan import files_of, plan
from tunesmith.lineage.trace import package_of
from tunesmith.lineage.versions import all_held
from tunesmith.project import Project
from tunesmith.records.lineage import ErasureCertificate, ErasurePlan
from tunesmith.stages.ingest.erased import records_of
from tunesmith.text.normalise import normalise

_NAMED = {
    "ingest": ("data", "source"),
    "transform": ("data", "transform"),
    "curate": ("dataset", "dataset"),
    "index": ("index", "index"),
}
"""What versions of what a step makes are called: in the store, and for people."""
_WEIGHTS = frozenset({"fetch@1", "base@1", "finetune@1", "export@1"})
"""Kinds of steps whose blobs are not purged for having a text in them: they are no data. If one has
it, the certificate says so."""


def forget(project: Project, wanted: Sequence[str]) -> ErasureCertificate:
    """Erase whom `wanted` names (see `plan`), or go on with the erasure that was begun.

    Raises:
        NotFound: there are no such rows.
        Conflict: a step is running, or another erasure is not done yet.
        DataError: what is in the store could not be made again without them, and nothing was done;
            or something of them was found after all.
    """
    store = project.folder / STORE
    wanted = [one_form(each) for each in wanted]
    _require_quiet(project)
    journal = journals.read(store)
    if journal is None:
        try:
            journal = _set_out(project, store, wanted)
        except NotFound:
            earlier = _earlier(project, store, wanted)
            if earlier is None:
                raise
            begun, made = earlier
            # By now it may be gone; or the search read less then, and did not count what it left.
            if made.found or (made.unread is None and min(map(len, wanted)) >= MIN_SUBJECT):
                made = _certify(project, store, begun, made, wanted)
            return _require_clean(made)
        journals.write(store, journal)
        failpoint("erasure.journal")
    elif journal.plan.subject != ", ".join(wanted):
        raise Conflict(
            "an erasure of somebody else was begun and is not done",
            remedy=f"go on with it first: tunesmith data forget {journal.plan.typed()}",
        )
    begun, certificate = _begin(project, store, journal)
    if certificate is None:
        failpoint("erasure.begun")
        certificate = _carry_out(project, store, journal, begun)
    journals.remove(store)
    project.look_again()
    return _require_clean(certificate)


def _require_clean(certificate: ErasureCertificate) -> ErasureCertificate:
    if certificate.found:
        raise DataError(
            "\n  ".join(["something of the erased is still in the store:", *certificate.found]),
            remedy="rows of others that have it can be forgotten by their ids "
            "(`tunesmith data trace`); then run the same command again",
        )
    return certificate


def _earlier(
    project: Project, store: Path, wanted: Sequence[str]
) -> tuple[int, ErasureCertificate] | None:
    """The entry that began the erasure of those who were forgotten before, and its certificate."""
    if not (store / erasure.KEY_FILE).exists():
        return None
    key = erasure.key_of(store)
    with project.runner.database.read() as connection:
        done = [entry.body for entry in evidence.entries(connection, erasure.DONE)]
    for body in reversed(done):
        made = _certificate(project, body)
        rows = {erasure.keyed(key, "row", each) for each in wanted}
        if erasure.is_told(key, wanted[0], {made.subject}) or rows <= set(made.rows):
            return body["begun"], made
    return None


def _certificate(project: Project, body: Mapping[str, Any]) -> ErasureCertificate:
    blob = from_plain(Blob, body["certificate"])
    return from_plain(ErasureCertificate, parse(project.runner.blobs.get(blob)))


def _require_quiet(project: Project) -> None:
    with project.runner.database.read() as connection:
        running = [run.step for run, lapsed in catalog.all_running(connection) if not lapsed]
    if running:
        raise Conflict(
            f"{', '.join(running)} is running, and may write what is to be erased",
            remedy="wait until it is done, or stop it; then run the same command again",
        )


def _set_out(project: Project, store: Path, wanted: Sequence[str]) -> Journal:
    """What will be done, and looked for."""
    person, planned = plan(project, wanted)
    if planned.obstacles:
        raise DataError(
            "\n  ".join(["nothing was erased:", *planned.obstacles]),
            remedy="then run the same command again",
        )
    key = erasure.key_of(store, make=True)
    wanted_in = scan.needles(person.texts)
    rows: dict[str, set[str]] = {}
    for row in (row for row in person.rows if not row.is_made):
        rows.setdefault(row.source, set()).add(erasure.keyed(key, "row", row.row_id))
    for name in rows.keys() & project.file.source.keys():
        source = project.file.source[name]
        for member, path in files_of(project, source):
            data = path.read_bytes()
            tells = partial(scan.says, wanted=wanted_in)
            records = records_of(source, member, data, person.row_ids, tells)
            rows[name] |= {erasure.keyed(key, "record", record) for record in records}
    sure, mentions = _to_purge(project, person, planned)
    return Journal(
        id=journals.new_id(),
        subject=erasure.keyed(key, "subject", person.subject) if person.subject else "",
        rows={name: tuple(sorted(digests)) for name, digests in sorted(rows.items())},
        row_ids=person.row_ids,
        texts=person.texts,
        purge=sure,
        mentions=mentions,
        plan=planned,
    )


def _to_purge(project: Project, person: Person, planned: ErasurePlan) -> tuple[dict[str, str], ...]:
    """Blobs that have a row of theirs, and what they are; and those that only have a text."""
    what, kinds, records = known(project)
    texts = {*person.words, *(row.text for row in person.rows)}
    said = {form for text in texts for form in (text, normalise(text))} - {""}
    runs = project.runs()
    found, mentions = forget_repairs.blobs_with(project, person, runs)
    corrected = forget_corrections.blobs_with(project, person)
    what |= dict.fromkeys(corrected, "a correction of a review")
    found |= corrected
    # What a quarantine shows of a record is too little to find it by.
    found |= {each.held.tables["quarantine"].sha256 for each in person.refused}
    with project.runner.database.read() as connection:
        for holder in planned.holders:
            for blob in catalog.run_blobs(connection, holder.run):
                # A replay has no ids, and is made again to the same bytes if it had no such row.
                if holder.kind == "index" or (
                    holder.kind == "replay"
                    and blob.sha256 not in project.purged
                    and scan.has_texts(project.runner.blobs.path(blob), said)
                ):
                    found.add(blob.sha256)
    theirs = [holder for holder in planned.holders if not holder.by_words]
    affected = {holder.run for holder in theirs if holder.kind == "source"}
    for held in all_held(project):
        package = package_of(project, held, runs) if held.run.id in affected else None
        if package is not None:
            found.add(package.wheel.sha256)
    wanted = scan.needles(person.texts)
    for digest in project.runner.blobs.digests():
        if kinds.get(digest) in _WEIGHTS or digest in records:
            continue
        path = project.runner.blobs.path(Blob(sha256=digest, num_bytes=0))
        if scan.has_rows(path, set(person.row_ids)):
            found.add(digest)
        elif scan.holds(path, wanted):
            mentions.add(digest)
    sure, maybe = found - records, mentions - found
    return tuple({d: what.get(d, "of no run") for d in sorted(each)} for each in (sure, maybe))


def _begin(
    project: Project, store: Path, journal: Journal
) -> tuple[int, ErasureCertificate | None]:
    """The entry that says that it was begun; and its certificate, if it is done already."""
    key = erasure.key_of(store)
    with project.runner.database.write() as connection:
        begun = _entry_of(evidence.entries(connection, erasure.BEGUN), journal.id)
        if begun is None:
            body: dict[str, Any] = {
                "id": journal.id,
                "subject": journal.subject,
                "rows": journal.rows,
                "key": erasure.key_name(key),
                "blobs": sorted(journal.purge),
            }
            evidence.append(connection, erasure.BEGUN, project.runner.actor, body)
            begun = _entry_of(evidence.entries(connection, erasure.BEGUN), journal.id)
        assert begun is not None
        done = [e.body for e in evidence.entries(connection, erasure.DONE)]
    for ended in done:
        if ended["begun"] == begun:
            return begun, _certificate(project, ended)
    return begun, None


def _entry_of(log: Iterator[evidence.Entry], wanted: str) -> int | None:
    return next((entry.seq for entry in log if entry.body["id"] == wanted), None)


def _carry_out(project: Project, store: Path, journal: Journal, begun: int) -> ErasureCertificate:
    less = forget_repairs.remove(project, journal)
    project.look_again()
    rewritten, lost = _rewrite(project, journal)
    failpoint("erasure.rewritten")
    wanted = scan.needles(journal.texts)
    in_use = _in_use(project)
    purge = {**journal.purge, **{d: w for d, w in journal.mentions.items() if d not in in_use}}
    tuning = [step for remedy in journal.plan.remedies for step in remedy.steps]
    num_traces = _purge(project, purge, wanted, tuning)
    failpoint("erasure.purged")
    key = erasure.key_of(store)
    certificate = ErasureCertificate(
        subject=journal.subject,
        rows=tuple(erasure.keyed(key, "row", row_id) for row_id in journal.row_ids),
        key=erasure.key_name(key),
        purged=purge,
        num_traces=max(num_traces, journal.plan.num_traces),
        rewritten=(*rewritten, *less),
        not_rewritten=tuple(lost),
        remedies=journal.plan.remedies,
        num_needles=0,
        num_too_short=journal.plan.num_too_short,
        num_shared=journal.plan.num_shared,
        num_blobs=0,
        num_bytes=0,
        found=(),
        files=journal.plan.files,
        copies=journal.plan.copies,
        num_quarantined=journal.plan.num_quarantined,
    )
    return _certify(project, store, begun, certificate, journal.texts)


def _certify(
    project: Project,
    store: Path,
    begun: int,
    certificate: ErasureCertificate,
    texts: Sequence[str],
) -> ErasureCertificate:
    """The certificate with what a search for `texts` finds; kept, with evidence."""
    searched = search(project, store, scan.needles(texts))
    failpoint("erasure.searched")
    certificate = dataclasses.replace(
        certificate,
        num_needles=len(texts),
        num_blobs=searched.num_blobs,
        num_bytes=searched.num_bytes,
        found=searched.found,
        unread=searched.unread,
    )
    blob = project.runner.blobs.put(canonical_json(certificate), "application/json")
    body = {"begun": begun, "certificate": blob, "blobs": sorted(certificate.purged)}
    with project.runner.database.write() as connection:
        evidence.append(connection, erasure.DONE, project.runner.actor, body)
    failpoint("erasure.done")
    return certificate


def _rewrite(project: Project, journal: Journal) -> tuple[list[str], list[str]]:
    """Make again, without the rows, what of the project file holds them; and what cannot be."""
    file, graph = project.file, build(project.file)
    theirs = [holder for holder in journal.plan.holders if not holder.by_words]
    held = [holder for holder in theirs if holder.kind in ("source", "transform")]
    sources = file.made_from(h.name.partition("@")[0] for h in held)
    again: list[Step] = [graph.assets[name] for name in sorted(sources & graph.assets.keys())]
    again += [
        graph.datasets[name] for name, of in file.dataset.items() if sources & set(of.sources)
    ]
    again += [
        graph.indexes[name]
        for name, of in file.index.items()
        if sources & {of.source, of.commonest_in}
    ]
    made, lost = [], []
    for step in again:
        try:
            if step in graph.datasets.values():
                freeze(project, step)
            else:
                project.run(step)
        except TunesmithError as error:
            lost.append(f"{step.name}: {error.message}")
        else:
            made.append(step.name)
    numbers = {(v.kind, v.name): v.number for v in project.versions()}  # the newest come last
    named = [(*_NAMED[step.partition(":")[0]], step.partition(":")[2]) for step in made]
    return [f"{word} {name}@{numbers[kind, name]}" for kind, word, name in named], lost


def _in_use(project: Project) -> set[str]:
    """Blobs of the runs that the project file, as it is now, would use again."""
    planned = project.runner.plan(steps(build(project.file)))
    hits = [each.hit.id for each in planned if each.hit is not None]
    with project.runner.database.read() as connection:
        return {blob.sha256 for hit in hits for blob in catalog.run_blobs(connection, hit)}


def _purge(
    project: Project, blobs: Mapping[str, str], wanted: scan.Needles, tuning: Sequence[str]
) -> int:
    """Remove blobs, served requests, what steps keep for one another, and backups that have it."""
    store = project.folder / STORE
    for digest in blobs:
        project.runner.blobs.remove(digest)
        failpoint("erasure.purging")
    with project.runner.database.write() as connection:
        ids = list(erasure.traces_with(connection, wanted.texts()))
        erasure.delete_traces(connection, ids)
    project.runner.database.checkpoint()
    # Rows as tokens, and what attempts at tuning on them left: made again when needed.
    shutil.rmtree(store / "work" / CACHE, ignore_errors=True)
    for step in tuning:
        project.runner.executor.forget(step)
    for path in (store / "backups").glob("*"):
        if scan.holds(path, wanted):
            path.unlink()
    return len(ids)
