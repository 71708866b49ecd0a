"""What differs between two versions of a data asset or of a dataset."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from tunesmith.core.errors import UsageError
from tunesmith.lineage import query
from tunesmith.lineage.versions import Held, all_held, known_fields, line_of, path_of, pick
from tunesmith.project import Project
from tunesmith.records.data import DataAsset
from tunesmith.records.lineage import Difference, RowChange, Shift, Spread
from tunesmith.stages.assess.fields import field_changes
from tunesmith.stages.curate.privacy import texts_of
from tunesmith.text.licences import NOT_STATED, obligations
from tunesmith.text.pii import find_pii

MAX_LOOKED_AT = 2_000_000
"""Bytes of changed text, of each version, in which personal data is looked for: about a second."""


def compare(project: Project, before: str, after: str, *, num_examples: int = 5) -> Difference:
    """Rows that were added, removed and edited between two versions, and the shift in their labels,
    lengths, licences and personal data; of data assets also what fields they have.

    Raises:
        UsageError: one is a data asset and the other a dataset.
        NotFound: there is no such version, or it was erased.
    """
    every = all_held(project)
    old, new = pick(every, before), pick(every, after)
    if old.kind != new.kind:
        raise UsageError(
            f"{before} is a {old.kind} and {after} a {new.kind}",
            remedy="compare two versions of one thing",
        )
    sides = {"before": old, "after": new}
    with query.opened() as connection:
        for name, held in sides.items():
            wanted = ("rows",) if old.kind == "source" else ("train", "test")
            query.load(connection, name, {table: path_of(project, held, table) for table in wanted})
        query.compare(connection, in_file_order=new.word == "source")
        counts = query.counts(connection)
        num_before = query.num_rows(connection, "before")
        labels = [Shift(of=label, before=b, after=a) for label, b, a in query.labels(connection)]
        spreads = [Spread(**_spread(query.lengths(connection, name))) for name in sides]
        examples = query.examples(connection, num_examples)
        licensed = [_licences(every, connection, name, of) for name, of in sides.items()]
        looks = [look(connection, name) for name in sides]
    asked = [obligations([each for each in of if each != NOT_STATED]) for of in licensed]
    return Difference(
        before=line_of(old, None),
        after=line_of(new, _before(old, new)),
        num_added=counts.get("added", 0),
        num_removed=counts.get("removed", 0),
        num_edited=counts.get("edited", 0),
        num_moved=counts.get("moved", 0),
        num_same=num_before - sum(counts.get(each, 0) for each in ("removed", "edited", "moved")),
        labels=tuple(labels),
        label_shift=_total_variation(labels),
        licences=_shifts(*licensed),
        obligations_new=tuple(each for each in asked[1] if each not in asked[0]),
        obligations_gone=tuple(each for each in asked[0] if each not in asked[1]),
        pii=_shifts(*(each.by_kind for each in looks)),
        num_changed=sum(each.num_changed for each in looks),
        num_looked_at=sum(each.num_looked_at for each in looks),
        lengths_before=spreads[0],
        lengths_after=spreads[1],
        examples=tuple(RowChange(**row) for row in examples),
        fields=field_changes(known_fields(project, old), known_fields(project, new)),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """Personal data in the changed rows of one version."""

    by_kind: Mapping[str, int]
    num_changed: int
    num_looked_at: int


def look(connection: duckdb.DuckDBPyConnection, name: str) -> Look:
    """Look for personal data in the rows of one version that the other has not, or otherwise."""
    rows, num_changed = query.changed_texts(connection, name, MAX_LOOKED_AT)
    by_kind: Counter[str] = Counter(
        kind
        for text, said in rows
        for kind in {each.kind for part in _said(text, said) for each in find_pii(part)}
    )
    return Look(by_kind=by_kind, num_changed=num_changed, num_looked_at=len(rows))


def _said(text: str, fields: str) -> Iterable[str]:
    """All that a row says, each thing once: its text, and what is in its fields."""
    return dict.fromkeys((text, *texts_of(json.loads(fields))))


def _licences(
    every: Sequence[Held], connection: duckdb.DuckDBPyConnection, name: str, held: Held
) -> dict[str, int]:
    """The rows of a version by the licence that the data asset they are of declares."""
    if isinstance(held.record, DataAsset):
        return {held.record.licence: held.record.num_rows}
    given = held.run.identity["inputs"]["assets"]
    declared = {
        each.version.name: each.record.licence
        for each in every
        if isinstance(each.record, DataAsset) and each.version.digest in given
    }
    found: Counter[str] = Counter()
    for asset, count in query.assets(connection, name).items():
        found[declared[asset]] += count
    return found


def _shifts(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[Shift, ...]:
    """Those that changed most first."""
    found = (
        Shift(of=of, before=before.get(of, 0), after=after.get(of, 0)) for of in {**before, **after}
    )
    return tuple(sorted(found, key=lambda each: (-abs(each.after - each.before), each.of)))


def _before(old: Held, new: Held) -> Held | None:
    return old if old.version.name == new.version.name else None


def _spread(figures: tuple[float, ...]) -> dict[str, float]:
    return dict(zip(("mean", "low", "median", "high"), figures, strict=True))


def _total_variation(shifts: list[Shift]) -> float:
    num_before = sum(each.before for each in shifts) or 1
    num_after = sum(each.after for each in shifts) or 1
    return 0.5 * sum(abs(each.before / num_before - each.after / num_after) for each in shifts)
