"""The catalogue of data assets: of each, all that is recorded, and what does not fit together.

Derived when somebody asks, from the project file, the runs and their records. Two things are steps,
so that they are kept: what is said of the licence, which datasets are given anyway, and the quality
of the rows, which only `page` computes. No text of a row is in any of it; the words of a statement
about a licence are read from the package when they are shown, and not kept.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunesmith.core.catalog import Run
from tunesmith.core.db import clock
from tunesmith.core.errors import BlobMissing, NotFound
from tunesmith.core.step import Step
from tunesmith.data_graph import licences_of
from tunesmith.graph import build
from tunesmith.ledger.facts import moment
from tunesmith.lineage.trace import package_of
from tunesmith.lineage.value import spent
from tunesmith.lineage.versions import Held, all_held
from tunesmith.project import Project
from tunesmith.records.data import DataAsset
from tunesmith.records.licence import LicenceStatements, Statement
from tunesmith.records.money import Money
from tunesmith.records.quality import CatalogueEntry, Freshness, LicenceLine, Quality
from tunesmith.stages.assess.config import AssessConfig
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.licences import lines_of
from tunesmith.text.licences import (
    NOT_STATED,
    differing,
    disallowed,
    doubts,
    obligations,
    stated,
)

STATED = (
    "owner", "steward", "purpose", "legal_basis", "licence", "sensitivity", "subjects", "subject",
)  # fmt: skip
"""Settings of a source that the catalogue shows."""
_MADE = {"dataset": "dataset", "model": "model", "index": "index"}


def catalogue(project: Project) -> list[CatalogueEntry]:
    """The newest version of each source of the project file that was read in; nothing is run."""
    costs = spent(project, list(project.file.source))
    return [_entry(project, held, costs, runs=False) for held in _newest(project).values()]


def page(project: Project, name: str) -> CatalogueEntry:
    """All that is known of one data asset; its quality is computed if nobody asked before.

    Raises:
        NotFound: the source was not read in as it is set now.
    """
    project.runner.current(build(project.file).assets[name])
    costs = spent(project, list(project.file.source))
    return _entry(project, _newest(project)[name], costs, runs=True)


def _newest(project: Project) -> dict[str, Held]:
    """The newest version of each source of the project file, in its order."""
    graph = build(project.file)
    held = {each.version.name: each for each in all_held(project) if each.kind == "source"}
    return {name: held[name] for name in graph.assets if name in held}


def _entry(
    project: Project, held: Held, costs: Mapping[str, tuple[float, Money | None]], *, runs: bool
) -> CatalogueEntry:
    record, name = held.record, held.version.name
    assert isinstance(record, DataAsset)
    source = project.file.source[name]
    assess, examine = _steps(project, name)
    quality: Quality | None = _record(project, assess, runs=runs)
    found: LicenceStatements | None = _record(project, examine, runs=runs) if examine else None
    said = {key: str(getattr(source, key)) or NOT_STATED for key in STATED}
    cpu_s, cost = costs[name]
    freshness = _freshness(project, held, quality, source)
    of = found or LicenceStatements(name=name, declared=source.licence, statements=(), num_files=0)
    package = (each.says for each in of.statements if each.kind == "package" and each.says)
    return CatalogueEntry(
        name=name,
        version=held.version.number,
        origin=record.origin,
        num_rows=record.num_rows,
        num_quarantined=record.num_quarantined,
        stated=said,
        licence=verdict(of) if found or examine is None else "not looked at",
        package_licence=", ".join(package),
        statements=tuple(_lines(project, held, of)) if runs else (),
        obligations=obligations(stated(of)),
        freshness=freshness,
        cpu_s=cpu_s,
        cost=cost,
        quality=quality,
        used_by=tuple(_used_by(project, held.version.digest)),
        remarks=tuple(_remarks(name, said, source, quality, freshness)),
    )


def verdict(found: LicenceStatements) -> str:
    """What is to be thought of a licence, in a word or two."""
    if doubts(found):
        return "doubtful"
    if any(disallowed(each, ()) for each in stated(found)):
        return "not for tuning"
    if found.declared == NOT_STATED:
        return NOT_STATED
    return "differs" if differing(found) else "clear"


def _steps(project: Project, name: str) -> tuple[Step, Step | None]:
    """What says how good the rows are, and what looks at the licence, if there are files."""
    asset = build(project.file).assets[name]
    own = [key for key, rule in project.file.source[name].contract.items() if rule.type == "date"]
    asked = [each.date for each in project.file.dataset.values() if name in each.sources]
    config = AssessConfig(dates=tuple(dict.fromkeys(each for each in (*own, *asked) if each)))
    assess = Step(name=f"assess:{name}", kind="assess@1", config=config, inputs={"asset": asset})
    examine = {step.name: step for step in licences_of(asset)}.get(f"licence:{name}")
    return assess, examine


def _record(project: Project, step: Step, *, runs: bool) -> Any:
    """The record of a step: made if it `runs`, else None where it is not there."""
    if runs:
        return project.run(step)
    try:
        return project.runner.current(step)
    except NotFound:
        return None


def _freshness(
    project: Project, held: Held, quality: Quality | None, source: SourceConfig
) -> Freshness:
    with project.runner.database.read() as connection:
        now = clock(connection)
    newest = ""
    for value in quality.newest.values() if quality else ():
        try:
            moment(value)
        except ValueError:
            continue
        newest = max(newest, value)
    loaded = held.run.finished_at or held.run.started_at
    age = moment(now) - moment(newest or loaded)
    return Freshness(
        loaded_at=loaded,
        newest=newest,
        age_days=max(0.0, age / datetime.timedelta(days=1)),
        refresh_within=source.refresh_within,
    )


def _lines(project: Project, held: Held, found: LicenceStatements) -> Iterator[LicenceLine]:
    """What speaks against the declared licence, with the words of the file."""
    doubtful = doubts(found)
    shown: Sequence[Statement] = tuple(dict.fromkeys((*doubtful, *differing(found))))
    texts: Mapping[str, list[str]] = {}
    package = package_of(project, held, project.runs()) if shown else None
    if package is not None:
        try:
            path = project.runner.blobs.path(package.wheel)
            texts = lines_of(path, package.filename, project.folder)
        except BlobMissing:  # erased: where it stood is known, what it said is gone
            texts = {}
    for each in shown:
        lines = texts.get(each.file, [])
        words = lines[each.line - 1] if each.line <= len(lines) else ""
        yield LicenceLine(
            file=each.file,
            line=each.line,
            says=each.says,
            words=" ".join(words.split())[:200],
            is_doubt=each in doubtful,
        )


def _used_by(project: Project, digest: str) -> Iterator[str]:
    """What was made of a record, at however many removes, each version once; and what serves it."""
    runs = [run for run in project.runs() if run.status == "succeeded" and run.output]
    reached = {digest}
    for run in runs:  # the oldest first: what a run was given was there before it
        given = {each for digests in run.identity["inputs"].values() for each in digests}
        if given & reached and run.output is not None:
            reached.add(run.output.sha256)
    for version in project.versions():
        if version.kind in _MADE and version.digest in reached:
            yield f"{_MADE[version.kind]} {version.name}@{version.number}"
    yield from dict.fromkeys(
        f"release {run.step.partition(':')[2]}"
        for run in runs
        if run.kind == "release@1" and _made(run) in reached
    )
    names = {each.name for each in project.versions() if each.digest in reached}
    for name, service in project.file.service.items():
        if names & {*service.models, service.index}:
            yield f"service {name}"


def _made(run: Run) -> str:
    return run.output.sha256 if run.output else ""


def _remarks(
    name: str,
    said: Mapping[str, str],
    source: SourceConfig,
    quality: Quality | None,
    freshness: Freshness,
) -> Iterator[str]:
    """What does not fit together, and what is missing."""
    kinds = ", ".join(quality.pii) if quality else ""
    if kinds and source.legal_basis in ("not-personal", NOT_STATED):
        yield f"personal data was found ({kinds}), and legal_basis is {source.legal_basis}"
    if kinds and source.sensitivity == "public":
        yield f"personal data was found ({kinds}), and sensitivity is public"
    if source.subject and source.legal_basis == "not-personal":
        yield f"its rows are about persons ({source.subject}), and legal_basis is not-personal"
    if freshness.is_kept is False:
        yield (
            f"it is {freshness.age_days:.0f} days old, and refresh_within is "
            f"{freshness.refresh_within}"
        )
    missing = [key for key, value in said.items() if value == NOT_STATED and key != "subject"]
    missing += ["refresh_within"] if source.refresh_within is None else []
    if missing:
        yield f"not stated: {', '.join(missing)} of source.{name}"
