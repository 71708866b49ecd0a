"""Repairs of a source's records: a file in the project's folder, a line of JSON a record.

    {"record": "3f0c...", "pointer": "mail.csv#17", "subject": "",
     "changes": {"amount": {"before": "1,5", "after": "1.5"}},
     "by": "ann", "at": "2026-11-26T15:20:00Z", "why": "decimal commas of the Vienna office"}

A change without `before` adds a field, one without `after` takes it out.
"""

from __future__ import annotations

import json
import os
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith.asset.repaired import repaired
from tunesmith.core import erasure
from tunesmith.core.erasure import keyed
from tunesmith.core.errors import DataError, StoreError
from tunesmith.core.project_folder import STORE
from tunesmith.records.data import Erased
from tunesmith.records.repair import Change, Repair, Repairs
from tunesmith.stages.ingest import json_text
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.entry import Entry
from tunesmith.stages.ingest.local import plain_file

FOLDER = "repairs"
_TEXTS = ("record", "pointer", "subject", "by", "at", "why")


def file_of(source: str) -> Path:
    """Where the repairs of a source are, relative to the project's folder."""
    return Path(FOLDER) / f"{urllib.parse.quote(source, safe='')}.jsonl"


def read(project: Path, source: str) -> tuple[Repair, ...]:
    """The repairs of a source, in the order of their records.

    Raises:
        DataError: a line is no repair, or two are of one record; or the file is a link that leads
            out of the project's folder.
    """
    where = file_of(source)
    if not (project / where).exists():
        return ()
    made: dict[str, Repair] = {}
    lines = plain_file(project, project / where).read_bytes().splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            repair = _from_json(json_text.read(line))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _bad(where, number, f"is no repair: {error!r}"[:200]) from error
        if repair.record in made:
            raise _bad(where, number, f"repairs record {repair.record} a second time")
        made[repair.record] = repair
    return tuple(made[record] for record in sorted(made))


def write(project: Path, source: str, repairs: Sequence[Repair]) -> None:
    """Put these in place of all repairs of a source, whole or not at all; no file of none."""
    path = project / file_of(source)
    if not repairs:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(exist_ok=True)
    lines = [
        json.dumps(_to_json(repair), ensure_ascii=False)
        for repair in sorted(repairs, key=lambda each: each.record)
    ]
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as target:
        target.write("".join(f"{line}\n" for line in lines))
        target.flush()
        os.fsync(target.fileno())
    temporary.replace(path)


def _bad(where: Path, number: int, what: str) -> DataError:
    return DataError(
        f"{where.as_posix()}: line {number} {what}",
        remedy="take the line out: its record is then in quarantine again, and can be repaired "
        "with `tunesmith data repair`",
    )


def _from_json(line: Mapping[str, Any]) -> Repair:
    if unknown := sorted(set(line) - {*_TEXTS, "changes"}):
        raise ValueError(f"{unknown[0]!r} is no key of one")
    texts = {name: line[name] for name in _TEXTS}
    changes = []
    for field, change in line["changes"].items():
        if not change or set(change) - {"before", "after"}:
            raise ValueError(f"the change of {field!r} has neither before nor after, or more")
        sides = {side: _as_json(change[side]) for side in change}
        changes.append(Change(field=field, before=sides.get("before"), after=sides.get("after")))
    if not all(isinstance(text, str) for text in texts.values()) or not changes:
        raise ValueError("a text of it is no string, or it changes nothing")
    return Repair(**texts, changes=tuple(changes))


def _to_json(repair: Repair) -> dict[str, Any]:
    changes = {
        change.field: {
            side: json.loads(said)
            for side, said in (("before", change.before), ("after", change.after))
            if said is not None
        }
        for change in repair.changes
    }
    texts = {name: getattr(repair, name) for name in _TEXTS}
    return {**dict(list(texts.items())[:3]), "changes": changes, **dict(list(texts.items())[3:])}


# What a repair does.


def changes_between(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """What makes the fields `before` the fields `after`: 1, 1.0, true and "1" differ.

    Raises:
        ValueError: a value is one that JSON has not.
    """
    sides = [{name: _as_json(value) for name, value in side.items()} for side in (before, after)]
    was, to_be = sides
    return tuple(
        Change(field=name, before=was.get(name), after=to_be.get(name))
        for name in dict.fromkeys((*was, *to_be))
        if was.get(name) != to_be.get(name)
    )


class Mending:
    """The repairs of one source, as its records are read."""

    def __init__(self, repairs: Repairs | None) -> None:
        self._by_record = {each.record: each for each in repairs.repairs} if repairs else {}

    def __contains__(self, record: str) -> bool:
        return record in self._by_record

    def is_of_any(self, records: Iterable[str]) -> bool:
        """Whether one of the records has a repair."""
        return not self._by_record.keys().isdisjoint(records)

    def mend(self, entry: Entry, record: str) -> Entry:
        """The entry as its repair has it, if there is one."""
        repair = self._by_record.get(record)
        return entry if repair is None else entry._replace(fields=repaired(entry.fields, repair))


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


# Whom a repair is about.


def with_repairs(source: SourceConfig, project: Path) -> SourceConfig:
    """The source with the repairs of its records, but for those of people who were forgotten.

    Raises:
        DataError: see `read`.
    """
    made = read(project, source.name)
    if made and source.erased:
        made = tuple(_not_erased(made, source, project, source.erased))
    return source.repaired_by(Repairs(source=source.name, repairs=made) if made else None)


def _not_erased(
    repairs: Sequence[Repair], source: SourceConfig, project: Path, erased: Erased
) -> Iterator[Repair]:
    try:
        key = erasure.key_of(project / STORE)
    except StoreError:  # nothing is read without the key, and landing says so
        return
    for repair in repairs:
        told = {keyed(key, "row", repair.record)}
        told |= {keyed(key, "subject", who) for who in subjects_of(repair, source.subject)}
        if told.isdisjoint(erased.digests):
            yield repair


def subjects_of(repair: Repair, field: str) -> set[str]:
    """Whom the record is about, before and after its repair; `field` names the person."""
    said = [
        json.loads(side)
        for change in repair.changes
        for side in (change.before, change.after)
        if change.field == field and side is not None
    ]
    return {repair.subject, *map(erasure.subject_of, said)} - {""}
