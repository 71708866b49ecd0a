"""What differs between two versions of a data asset or of a dataset."""

from __future__ import annotations

from tunesmith.core.errors import UsageError
from tunesmith.lineage import query
from tunesmith.lineage.versions import Held, find, line_of, path_of
from tunesmith.project import Project
from tunesmith.records.lineage import Difference, LabelShift, RowChange, Spread


def compare(project: Project, before: str, after: str, *, num_examples: int = 5) -> Difference:
    """Rows that were added, removed and edited between two versions, and the shift in their labels
    and lengths.

    Raises:
        UsageError: one is a data asset and the other a dataset.
        NotFound: there is no such version, or it was erased.
    """
    old, new = find(project, before), find(project, after)
    if old.kind != new.kind:
        raise UsageError(
            f"{before} is a {old.kind} and {after} a {new.kind}",
            remedy="compare two versions of one thing",
        )
    is_asset = old.kind == "source"
    with query.opened() as connection:
        for name, held in (("before", old), ("after", new)):
            wanted = ("rows",) if is_asset else ("train", "test")
            query.load(connection, name, {table: path_of(project, held, table) for table in wanted})
        query.compare(connection, in_file_order=new.word == "source")
        counts = query.counts(connection)
        num_before = query.num_rows(connection, "before")
        shifts = query.labels(connection)
        spreads = [Spread(**_spread(query.lengths(connection, n))) for n in ("before", "after")]
        examples = query.examples(connection, num_examples)
    return Difference(
        before=line_of(old, None),
        after=line_of(new, _before(old, new)),
        num_added=counts.get("added", 0),
        num_removed=counts.get("removed", 0),
        num_edited=counts.get("edited", 0),
        num_moved=counts.get("moved", 0),
        num_same=num_before - sum(counts.get(each, 0) for each in ("removed", "edited", "moved")),
        labels=tuple(LabelShift(label=label, before=b, after=a) for label, b, a in shifts),
        label_shift=_total_variation(shifts),
        lengths_before=spreads[0],
        lengths_after=spreads[1],
        examples=tuple(RowChange(**row) for row in examples),
    )


def _before(old: Held, new: Held) -> Held | None:
    return old if old.version.name == new.version.name else None


def _spread(figures: tuple[float, ...]) -> dict[str, float]:
    return dict(zip(("mean", "low", "median", "high"), figures, strict=True))


def _total_variation(shifts: list[tuple[str, int, int]]) -> float:
    num_before = sum(before for _, before, _ in shifts) or 1
    num_after = sum(after for _, _, after in shifts) or 1
    return 0.5 * sum(abs(before / num_before - after / num_after) for _, before, after in shifts)
