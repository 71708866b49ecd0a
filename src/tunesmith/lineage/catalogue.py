"""The catalogue of data assets: of each, all that is recorded, and what does not fit together.

Derived when somebody asks, from the project file, the runs and their records. Two things are steps,
so that they are kept: what is said of the licence, which datasets are given anyway, and the quality
of the rows, which only `page` computes. No text of a row is in any of it; the words of a statement
about a licence are read from the package when they are shown, and not kept.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.core.catalog import Run, Version
from tunesmith.core.db import clock
from tunesmith.core.errors import BlobMissing
from tunesmith.core.step import Step
from tunesmith.data_graph import licences_of
from tunesmith.graph import build
from tunesmith.ledger.facts import moment
from tunesmith.lineage.trace import package_of
from tunesmith.lineage.value import Spent, spent
from tunesmith.lineage.versions import Held, all_held
from tunesmith.project import Project
from tunesmith.records.data import DataAsset
from tunesmith.records.licence import LicenceStatements, Statement
from tunesmith.records.quality import CatalogueEntry, Freshness, LicenceLine, Quality
from tunesmith.records.transform import TransformedAsset
from tunesmith.stages.assess.config import AssessConfig
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.licences import lines_of
from tunesmith.text.licences import (
    NOT_STATED,
    differing,
    disallowed,
    doubts,
    obligations,
    restrictions,
    stated,
)

STATED = (
    "owner", "steward", "purpose", "legal_basis", "licence", "sensitivity", "subjects", "subject",
)  # fmt: skip
"""Settings of a source that the catalogue shows."""
NOT_LOOKED_AT = "not looked at"
_VERDICTS = ("doubtful", "not for tuning", NOT_STATED, "differs", "clear")
"""Of `verdict`, the worst first."""
_MADE = {"dataset": "dataset", "model": "model", "index": "index"}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """What entries are made from, looked up once for all of them."""

    newest: Mapping[str, Held]
    costs: Mapping[str, Spent]
    runs: Sequence[Run]
    versions: Sequence[Version]
    now: str
    assess: Mapping[str, Step]
    """By data asset: what says how good its rows are."""
    examine: Mapping[str, Step | None]
    """By source: what looks for its licence; None where it has no files."""
    records: Mapping[Step, Any]
    """Of the steps of both that have one."""


def catalogue(project: Project) -> list[CatalogueEntry]:
    """The newest version of each source of the project file that was read in, and of each transform
    that was made; nothing is run."""
    newest = _newest(project)
    seen = _look(project, newest, list(newest), runs=False)
    return [_entry(project, seen, name, runs=False) for name in newest]


def page(project: Project, name: str) -> CatalogueEntry:
    """All that is known of one data asset; its quality is computed if nobody asked before.

    Raises:
        NotFound: it was not read in, or made, as it is set now.
    """
    project.runner.current(build(project.file).assets[name])
    return _entry(project, _look(project, _newest(project), [name], runs=True), name, runs=True)


def _look(
    project: Project, newest: Mapping[str, Held], names: Sequence[str], *, runs: bool
) -> _Seen:
    graph = build(project.file)
    assess = {name: _assess(project, name, graph.assets[name]) for name in names}
    sources = {each.name: each for name in names for each in _sources(project, name)}
    examine = {name: next(iter(licences_of(graph.assets[name])), None) for name in sources}
    steps = [*assess.values(), *(each for each in examine.values() if each is not None)]
    if runs:
        records = {step: project.run(step) for step in steps}
    else:
        records = project.runner.all_current(steps)
    with project.runner.database.read() as connection:
        now = clock(connection)
    return _Seen(
        newest=newest,
        costs=_costs(project),
        runs=[run for run in project.runs() if run.status == "succeeded" and run.output],
        versions=project.versions(),
        now=now,
        assess=assess,
        examine=examine,
        records=records,
    )


def _costs(project: Project) -> Mapping[str, Spent]:
    """What each data asset took; of what is made from others, with what those took."""
    made = [[name] for name in project.file.transform]
    return spent(project, list(project.file.source), *made)


def _newest(project: Project) -> dict[str, Held]:
    """The newest version of each data asset of the project file, in its order."""
    graph = build(project.file)
    held = {each.version.name: each for each in all_held(project) if each.kind == "source"}
    return {name: held[name] for name in graph.assets if name in held}


def _entry(project: Project, seen: _Seen, name: str, *, runs: bool) -> CatalogueEntry:
    held = seen.newest[name]
    record = held.record
    assert isinstance(record, DataAsset)
    sources = _sources(project, name)
    said = _said(record, sources)
    quality: Quality | None = seen.records.get(seen.assess[name])
    looked_at = [_statements(seen, each) for each in sources]
    found = [each for each in looked_at if each is not None]
    took = seen.costs[name]
    promises = [each.refresh_within for each in sources if each.refresh_within is not None]
    freshness = _freshness(seen.now, held, quality, min(promises, default=None))
    packages = (each.says for of in found for each in of.statements if each.kind == "package")
    in_all = tuple(dict.fromkeys(each for of in found for each in stated(of)))
    return CatalogueEntry(
        name=name,
        version=held.version.number,
        origin=record.origin,
        num_rows=record.num_rows,
        num_quarantined=record.num_quarantined,
        stated=said,
        licence=_worst(map(verdict, found)) if len(found) == len(sources) else NOT_LOOKED_AT,
        package_licence=", ".join(dict.fromkeys(filter(None, packages))),
        statements=tuple(_lines(project, seen, found)) if runs else (),
        obligations=obligations(in_all),
        freshness=freshness,
        cpu_s=took.cpu_s,
        cost=took.cost,
        review_s=took.review_s,
        review_cost=took.review_cost,
        quality=quality,
        used_by=tuple(_used_by(project, seen, held.version.digest)),
        remarks=tuple(_remarks(project, name, said, quality, freshness)),
    )


def _sources(project: Project, name: str) -> tuple[SourceConfig, ...]:
    """The sources that a data asset is read from, through however many transforms."""
    if transform := project.file.transform.get(name):
        through = (each for one in transform.sources for each in _sources(project, one))
        return tuple({each.name: each for each in through}.values())
    return (project.file.source[name],)


def _said(record: DataAsset, sources: Sequence[SourceConfig]) -> dict[str, str]:
    """What the sections say, by setting: of what is made from several sources, of each."""
    said = {}
    for key in STATED:
        values = dict.fromkeys(str(getattr(each, key)) or NOT_STATED for each in sources)
        said[key] = ", ".join(values)
    if isinstance(record, TransformedAsset):  # its step has put these together
        said |= {"licence": record.licence, "subject": record.subject or NOT_STATED}
    return said


def verdict(found: LicenceStatements) -> str:
    """What is to be thought of a licence, in a word or two."""
    if doubts(found) or any(map(restrictions, stated(found))):
        return "doubtful"
    if any(disallowed(each, ()) for each in stated(found)):
        return "not for tuning"
    if found.declared == NOT_STATED:
        return NOT_STATED
    return "differs" if differing(found) else "clear"


def _worst(verdicts: Iterable[str]) -> str:
    return min(verdicts, key=_VERDICTS.index)


def _assess(project: Project, name: str, asset: Step) -> Step:
    """What says how good the rows are."""
    rules = (rule for each in _sources(project, name) for rule in each.contract.items())
    own = [key for key, rule in rules if rule.type == "date"]
    asked = [each.date for each in project.file.dataset.values() if name in each.sources]
    config = AssessConfig(dates=tuple(dict.fromkeys(each for each in (*own, *asked) if each)))
    return Step(name=f"assess:{name}", kind="assess@1", config=config, inputs={"asset": asset})


def _statements(seen: _Seen, source: SourceConfig) -> LicenceStatements | None:
    """What is said of a source's licence; None where nobody looked yet. Without files there is
    nothing but the declared one."""
    step = seen.examine[source.name]
    if step is None:
        return LicenceStatements(
            name=source.name, declared=source.licence, statements=(), num_files=0
        )
    found: LicenceStatements | None = seen.records.get(step)
    return found


def _freshness(
    now: str, held: Held, quality: Quality | None, refresh_within: int | None
) -> Freshness:
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
        refresh_within=refresh_within,
    )


def _lines(
    project: Project, seen: _Seen, found: Iterable[LicenceStatements]
) -> Iterator[LicenceLine]:
    """What speaks against the declared licences, with the words of the files."""
    for of in found:
        doubtful = doubts(of)
        shown: Sequence[Statement] = tuple(dict.fromkeys((*doubtful, *differing(of))))
        texts = _texts(project, seen, of.name) if shown else {}
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


def _texts(project: Project, seen: _Seen, source: str) -> Mapping[str, list[str]]:
    """The lines of the files in which a source's licence is looked for, by the files' names."""
    package = package_of(project, seen.newest[source], seen.runs)
    if package is None:
        return {}
    try:
        path = project.runner.blobs.path(package.wheel)
        return lines_of(path, package.filename, project.folder)
    except BlobMissing:  # erased: where it stood is known, what it said is gone
        return {}


def _used_by(project: Project, seen: _Seen, digest: str) -> Iterator[str]:
    """What was made of a record, at however many removes, each version once; and what serves it."""
    reached = {digest}
    for run in seen.runs:  # the oldest first: what a run was given was there before it
        given = {each for digests in run.identity["inputs"].values() for each in digests}
        if given & reached and run.output is not None:
            reached.add(run.output.sha256)
    for version in seen.versions:
        if version.kind in _MADE and version.digest in reached:
            yield f"{_MADE[version.kind]} {version.name}@{version.number}"
    yield from dict.fromkeys(
        f"release {run.step.partition(':')[2]}"
        for run in seen.runs
        if run.kind == "release@1" and _made(run) in reached
    )
    names = {each.name for each in seen.versions if each.digest in reached}
    for name, service in project.file.service.items():
        if names & {*service.models, service.index}:
            yield f"service {name}"


def _made(run: Run) -> str:
    return run.output.sha256 if run.output else ""


def _remarks(
    project: Project,
    name: str,
    said: Mapping[str, str],
    quality: Quality | None,
    freshness: Freshness,
) -> Iterator[str]:
    """What does not fit together, and what is missing."""
    kinds = ", ".join(quality.pii) if quality else ""
    if kinds and said["legal_basis"] in ("not-personal", NOT_STATED):
        yield f"personal data was found ({kinds}), and legal_basis is {said['legal_basis']}"
    if kinds and said["sensitivity"] == "public":
        yield f"personal data was found ({kinds}), and sensitivity is public"
    if said["subject"] != NOT_STATED and said["legal_basis"] == "not-personal":
        yield f"its rows are about persons ({said['subject']}), and legal_basis is not-personal"
    if freshness.is_kept is False:
        yield (
            f"it is {freshness.age_days:.0f} days old, and refresh_within is "
            f"{freshness.refresh_within}"
        )
    if name in project.file.transform:
        return  # what is missing is missing of its sources, and said there
    missing = [key for key, value in said.items() if value == NOT_STATED and key != "subject"]
    missing += ["refresh_within"] if freshness.refresh_within is None else []
    if missing:
        yield f"not stated: {', '.join(missing)} of source.{name}"
