"""Work in a quarantine: see it, take it out, repair it, and know what became of the repairs.

A repair is a line of a file beside the project file (see `stages.ingest.repairs`), which the next
run reads the source with. That somebody made it is in the evidence, by ids alone: what a record
says could never be erased from there.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from tunesmith.asset.checks import all_hold, evaluate
from tunesmith.core import erasure, evidence
from tunesmith.core.db import clock
from tunesmith.core.errors import DataError, NotAllowed, UsageError
from tunesmith.core.project_folder import STORE
from tunesmith.graph import build
from tunesmith.lineage import worksheet
from tunesmith.lineage.repairable import Repairable, package, repairable
from tunesmith.project import Project
from tunesmith.records.contract import ContractResult
from tunesmith.records.data import DataAsset
from tunesmith.records.repair import (
    BadRecord,
    BrokenRule,
    Quarantine,
    Repair,
    Repairing,
    Repairs,
    RepairState,
)
from tunesmith.stages.ingest import repairs as kept
from tunesmith.stages.ingest.quarantine import Looked, judge

MADE, EXPORTED = "repair.made", "quarantine.exported"
NUM_EXAMPLES = 3


def quarantine(project: Project, name: str) -> Quarantine:
    """What of a source is in quarantine, read from what is in the store, or of a transform, made
    from that, by the contract and the repairs of this moment.

    Raises:
        NotFound: what it is read or made from, as it is now, is not in the store.
    """
    source = repairable(project, name)
    seen = source.look(source.repairs)
    bad = [each.as_bad() for each in seen if each.bad is not None]
    counts = Counter(each.rule for each in bad)
    rules = [
        BrokenRule(
            rule=rule,
            count=count,
            num_unreadable=sum(each.rule == rule and each.fields is None for each in bad),
            examples=tuple([each for each in bad if each.rule == rule][:NUM_EXAMPLES]),
        )
        for rule, count in counts.most_common()
    ]
    by_record = {each.record: each for each in seen if each.is_repaired}
    made = source.repairs.repairs if source.repairs else ()
    return Quarantine(
        source=name,
        num_bad=len(bad),
        rules=tuple(rules),
        repairs=tuple(_state(each, by_record.get(each.record)) for each in made),
    )


def write_out(project: Project, name: str, path: Path) -> int:
    """Write the bad records that can be repaired to a file; how many there are. The evidence says
    that it was done, as there they can no longer be erased.

    Raises:
        NotFound: see `quarantine`.
        UsageError, NotFound, Conflict, DataError: see `worksheet.write`.
    """
    source = repairable(project, name)
    seen = source.look(source.repairs)
    bad = [each.as_bad() for each in seen if each.bad is not None and each.record]
    worksheet.write(path, bad)
    with project.runner.database.write() as connection:
        body = {"source": name, "file": path.name, "records": sorted(each.record for each in bad)}
        evidence.append(connection, EXPORTED, project.runner.actor, body)
    return len(bad)


def repair_from_file(project: Project, name: str, path: Path, why: str) -> Repairing:
    """Keep the repairs that somebody made in a file that `write_out` wrote.

    Raises:
        NotFound, UsageError, DataError: see `_repair` and `worksheet.read`.
    """
    return _repair(project, name, why, lambda bad, reads: worksheet.read(path, bad, reads))


def repair_with_sql(project: Project, name: str, statement: str, why: str) -> Repairing:
    """Keep the repairs that one UPDATE of the table `bad` makes.

    Raises:
        NotFound, UsageError, DataError: see `_repair` and `worksheet.updated`.
    """
    return _repair(
        project,
        name,
        why,
        lambda bad, reads: worksheet.updated(list(bad.values()), statement, reads),
    )


Edit = Callable[[Mapping[str, BadRecord], worksheet.Read], worksheet.Edited]


def _repair(project: Project, name: str, why: str, edit: Edit) -> Repairing:
    """Check what was edited as the next run would, and keep what passes.

    Raises:
        UsageError: nobody says why.
        NotFound: see `quarantine`.
        NotAllowed: a record would be that of somebody who is to be forgotten.
        DataError: a record that is good now would be refused because of a repair.
    """
    if not why.strip():
        raise UsageError(
            "a repair says why: an auditor will ask",
            remedy='add --why "decimal commas of the Vienna office"',
        )
    source = repairable(project, name)
    seen = source.look(source.repairs)
    bad = {each.record: each for each in seen if each.bad is not None and each.record}
    edited = edit(
        {record: each.as_bad() for record, each in bad.items()},
        source.from_cell,
    )
    stale = tuple(record for record, _ in edited if record not in bad)
    with project.runner.database.read() as connection:
        now = clock(connection)
    drafts: dict[str, Repair] = {}
    for record, fields in edited:
        if record not in bad or fields is None:
            continue
        draft = _draft(source, bad[record], fields, (project.runner.actor, now, why))
        if draft is not None:
            drafts[record] = draft
    _require_not_erased(project, source, drafts.values())
    made, refused = _checked(source, seen, drafts)
    if made:
        _keep(project, source, made)
    return Repairing(
        source=name,
        file=kept.file_of(name).as_posix(),
        made=tuple(made),
        refused=tuple(refused),
        stale=stale,
        num_unchanged=len(edited) - len(stale) - len(drafts),
    )


def _draft(
    source: Repairable, found: Looked, fields: Mapping[str, object], said: tuple[str, str, str]
) -> Repair | None:
    """The repair that makes these fields of a record; None where they are what they were."""
    assert found.as_read is not None
    assert found.fields is not None
    by, at, why = said
    try:
        if not kept.changes_between(found.fields, fields):
            return None
        changes = kept.changes_between(found.as_read, fields)
    except ValueError as error:
        raise DataError(
            f"{found.pointer}: a value of its repair is none that JSON has: {error}",
            remedy="write another one",
        ) from error
    who = fields.get(source.subject) if source.subject else None
    return Repair(
        record=found.record,
        pointer=found.pointer,
        subject="" if who is None or isinstance(who, list | dict) else str(who).strip(),
        changes=changes,
        by=by,
        at=at,
        why=why.strip(),
    )


def _require_not_erased(project: Project, source: Repairable, drafts: Iterable[Repair]) -> None:
    """Raise NotAllowed if a repair would make a record that of somebody who was forgotten."""
    if not source.erased:
        return
    key = erasure.key_of(project.folder / STORE)
    for draft in drafts:
        who = kept.subjects_of(draft, source.subject)
        if any(erasure.is_told(key, each, source.erased.digests) for each in who):
            raise NotAllowed(
                f"{draft.pointer}: its repair would make it a record of somebody who was forgotten",
                remedy=source.mend,
            )


def _checked(
    source: Repairable, seen: Sequence[Looked], drafts: Mapping[str, Repair]
) -> tuple[list[Repair], list[BadRecord]]:
    """The drafts that would be re-admitted, and what of the others is still wrong."""
    if not drafts:
        return [], []
    there = source.repairs.repairs if source.repairs else ()
    others = [each for each in there if each.record not in drafts]
    merged = Repairs(source=source.name, repairs=(*others, *drafts.values()))
    after = source.look(merged)
    before = {(each.record, each.pointer) for each in seen if each.bad is not None}
    lost = [
        each for each in after if each.bad is not None and (each.record, each.pointer) not in before
    ]
    if lost:
        assert lost[0].bad is not None
        raise DataError(
            f"{len(lost)} records that are good now would be refused because of a repair; e.g. "
            f"{lost[0].pointer}: {lost[0].bad.reason}",
            remedy="nothing was kept: change what the repair makes equal to it, or leave it out",
        )
    refused = [each.as_bad() for each in after if each.record in drafts and each.bad is not None]
    still = {each.record for each in refused}
    return [each for record, each in drafts.items() if record not in still], refused


def _keep(project: Project, source: Repairable, made: Sequence[Repair]) -> None:
    """Write them to the file, and say so in the evidence, while nobody else can."""
    records = {each.record: each for each in made}
    with project.runner.database.write() as connection:
        there = {each.record: each for each in kept.read(project.folder, source.name)}
        kept.write(project.folder, source.name, list((there | records).values()))
        written = (project.folder / kept.file_of(source.name)).read_bytes()
        body = {
            "source": source.name,
            "records": sorted(records),
            "file": hashlib.sha256(written).hexdigest(),
        }
        evidence.append(connection, MADE, project.runner.actor, body)


def judged(project: Project, name: str) -> ContractResult:
    """What the contract of a source or a transform, as it is now, says of what of it is in the
    store.

    Raises:
        NotFound: the source or transform, as it is now, is not in the store.
        DataError: a check cannot be made.
    """
    if name in project.file.transform:
        return _judged_as_made(project, name)
    source = project.file.source[name]
    with tempfile.TemporaryDirectory() as folder:
        there = package(project, build(project.file).assets[name])
        return judge(source, project.runner.blobs, there, Path(folder), source.repairs)


def _judged_as_made(project: Project, name: str) -> ContractResult:
    """A transform under another contract is another step, so what is there was made under this
    one."""
    config = project.file.transform[name]
    made = project.runner.current(build(project.file).assets[name])
    assert isinstance(made, DataAsset)
    results = evaluate(
        config.checks,
        config.contract,
        project.runner.blobs.path(made.rows),
        has_strings_only=False,
    )
    return ContractResult(
        source=name,
        num_rows=made.num_rows,
        broken=made.quarantined_by_rule,
        checks=tuple(results),
        holds=not made.num_quarantined and all_hold(results),
    )


def _state(repair: Repair, found: Looked | None) -> RepairState:
    if found is None:
        return RepairState(repair=repair, state="stale", reason="")
    if found.bad is not None:
        reason = f"{found.bad.rule}: {found.bad.reason}"
        return RepairState(repair=repair, state="quarantined", reason=reason)
    state = "re-admitted" if found.is_asked_for else "not asked for"
    return RepairState(repair=repair, state=state, reason="")
