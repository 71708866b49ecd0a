"""Cut rows into train and test so that rows which were found to be alike are on one side.

Whole components of near duplicates go to one side. Test is filled first, from components that fit
into what each of their labels still wants, in an order drawn by the seed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.core.canonical import draw
from tunesmith.core.errors import DataError
from tunesmith.stages.curate.rows import Row


@dataclass(frozen=True, kw_only=True, slots=True)
class Sides:
    """Every row on exactly one of three sides."""

    train: tuple[Row, ...]
    test: tuple[Row, ...]
    surplus: tuple[Row, ...]
    """Rows over the caps."""


def split(rows: Sequence[Row], *, seed: int, train_per_label: int, test_per_label: int) -> Sides:
    """`rows`, of which each knows its component, on two sides, at most so many of a label.

    A label with too few rows for both caps is shared out in their ratio, at least one row a side.

    Raises:
        DataError: a label cannot be on both sides.
    """
    members: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        members[row.component].append(row)
    totals = Counter(row.label for row in rows)
    whole = train_per_label + test_per_label
    wanted = {
        label: min(test_per_label, max(1, total * test_per_label // whole))
        for label, total in totals.items()
    }
    order = sorted(members, key=lambda component: draw(f"{seed}\0{component}"))
    chosen = _choose_test(order, members, totals, wanted, train_per_label)
    test_side = [row for name in order if name in chosen for row in members[name]]
    train_side = [row for name in order if name not in chosen for row in members[name]]
    test, over_test = _cap(test_side, wanted, seed)
    train, over_train = _cap(train_side, dict.fromkeys(totals, train_per_label), seed)
    return Sides(train=tuple(train), test=tuple(test), surplus=tuple(over_train + over_test))


def _choose_test(
    order: Sequence[str],
    members: dict[str, list[Row]],
    totals: Counter[str],
    wanted: dict[str, int],
    train_per_label: int,
) -> set[str]:
    """The components that are to be the test side."""
    sizes = {name: Counter(row.label for row in members[name]) for name in order}
    taken: Counter[str] = Counter()
    chosen: set[str] = set()
    for name in order:
        if all(taken[label] + size <= wanted[label] for label, size in sizes[name].items()):
            chosen.add(name)
            taken += sizes[name]
    by_size = sorted(order, key=lambda name: len(members[name]))  # stable: equal sizes as drawn
    for label in sorted(totals):
        for name in by_size:
            if taken[label] >= wanted[label]:
                break
            if name in chosen or label not in sizes[name]:
                continue
            # Too large for what is wanted: taken if the train side can spare it.
            least = {
                other: 1
                if not taken[label]
                else min(train_per_label, totals[other] - wanted[other])
                for other in sizes[name]
            }
            left = {other: totals[other] - taken[other] - sizes[name][other] for other in least}
            if all(left[other] >= least[other] for other in least):
                chosen.add(name)
                taken += sizes[name]
        if not 0 < taken[label] < totals[label]:
            raise DataError(
                f"label {label!r} cannot be on both sides of the split: its {totals[label]} "
                "distinct rows are too few, or all near duplicates of one another",
                remedy="leave the label out, add rows, or raise leak_similarity",
            )
    return chosen


def _cap(rows: Sequence[Row], caps: dict[str, int], seed: int) -> tuple[list[Row], list[Row]]:
    """At most `caps[label]` rows of each label, drawn by the seed; and the rest."""
    kept: list[Row] = []
    surplus: list[Row] = []
    counts: Counter[str] = Counter()
    for row in sorted(rows, key=lambda row: (draw(f"{seed}\0{row.row_id}"), row.asset)):
        counts[row.label] += 1
        (kept if counts[row.label] <= caps[row.label] else surplus).append(row)
    return kept, surplus
