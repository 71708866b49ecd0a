"""Cut rows into train and test so that rows which were found to be alike are on one side.

Whole components of near duplicates go to one side. Test is filled first, from components that fit
into what each of their labels still wants, in an order drawn by the seed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tunesmith.core.canonical import draw
from tunesmith.core.errors import DataError
from tunesmith.stages.curate.rows import Row


@dataclass(frozen=True, kw_only=True, slots=True)
class Sides:
    """Every row on exactly one of seven sides."""

    train: tuple[Row, ...]
    test: tuple[Row, ...]
    surplus: tuple[Row, ...]
    """Rows over the caps."""
    barred: tuple[Row, ...] = ()
    """Rows that would be trained on, if they did not resemble test rows of another dataset."""
    straddling: tuple[Row, ...] = ()
    """Rows that would be tested on, if an earlier row were not of the same component."""
    generated: tuple[Row, ...] = ()
    """Synthetic rows of components that are tested on, where none may be tested on."""
    unmixed: tuple[Row, ...] = ()
    """Rows that would be trained on, if their source had not its share already."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Caps:
    """By label, at most how many rows a side has; the test side is to have as many."""

    train: Mapping[str, int]
    test: Mapping[str, int]


def caps_per_label(totals: Mapping[str, int], train: int, test: int) -> Caps:
    """The same for each label. One with too few rows for both is shared out in their ratio, at
    least one row a side."""
    whole = train + test
    wanted = {label: min(test, max(1, total * test // whole)) for label, total in totals.items()}
    return Caps(train=dict.fromkeys(totals, train), test=wanted)


def caps_of_all(
    totals: Mapping[str, int], *, train_rows: int, test_rows: int, test_share: float
) -> Caps:
    """For rows that are counted together; each label has its part of what all have.

    Without `test_rows` the test side is a share; with them no more than half. Without `train_rows`
    the other side is the rest. Each label has at least one row a side.
    """
    whole = sum(totals.values())
    asked = min(test_rows, whole // 2) if test_rows else round(test_share * whole)
    return Caps(train=_parts(totals, min(train_rows or whole, whole)), test=_parts(totals, asked))


def _parts(totals: Mapping[str, int], wanted: int) -> dict[str, int]:
    """`wanted` rows shared out in the ratio of `totals`: by largest remainders, at least one."""
    whole = sum(totals.values())
    parts = {label: wanted * total // whole for label, total in totals.items()}
    by_remainder = sorted(totals, key=lambda label: (-(wanted * totals[label] % whole), label))
    for label in by_remainder[: wanted - sum(parts.values())]:
        parts[label] += 1
    return {label: max(1, part) for label, part in parts.items()}


def split(
    rows: Sequence[Row],
    *,
    seed: int,
    caps: Caps,
    by_date: bool = False,
    tests_synthetic: bool = False,
) -> Sides:
    """`rows`, of which each knows its component, on two sides, at most so many of a label.

    `by_date`, the late rows are the test side, but for those of components that have an earlier
    row; else the seed decides. The side of a component is that of its rows that are not synthetic,
    unless these are tested on, too; one of synthetic rows alone is trained on.

    Raises:
        DataError: a label cannot be on both sides, or none of its rows may be trained on.
    """
    everyone = _members(rows)
    draws = {component: draw(f"{seed}\0{component}") for component in everyone}
    tested = [row for row in rows if tests_synthetic or not row.is_synthetic]
    _require_tested(rows, tested)
    members = _members(tested)
    totals = Counter(row.label for row in tested)
    order = sorted(members, key=draws.__getitem__)
    chosen = _late(members, totals) if by_date else _choose_test(order, members, totals, caps)
    order = sorted(everyone, key=draws.__getitem__)
    test_side = [row for name in order if name in chosen for row in everyone[name]]
    rest = [row for name in order if name not in chosen for row in everyone[name]]
    generated = [row for row in test_side if row.is_synthetic and not tests_synthetic]
    test_side = [row for row in test_side if tests_synthetic or not row.is_synthetic]
    straddling = tuple(row for row in rest if row.is_late)
    rest = [row for row in rest if not row.is_late]
    train_side = [row for row in rest if not (row.like or row.holds)]
    _require_each(totals, train_side)
    test, over_test = _cap(test_side, caps.test, seed)
    train, over_train = _cap(train_side, caps.train, seed)
    return Sides(
        train=tuple(train),
        test=tuple(test),
        surplus=tuple(over_train + over_test),
        barred=tuple(row for row in rest if row.like or row.holds),
        straddling=straddling,
        generated=tuple(generated),
    )


def _members(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each component."""
    members: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        members[row.component].append(row)
    return members


def _require_tested(rows: Sequence[Row], tested: Sequence[Row]) -> None:
    for label in sorted({row.label for row in rows} - {row.label for row in tested}):
        whose = f"label {label!r}" if label else "the dataset"
        raise DataError(
            f"{whose} cannot be on both sides of the split: all of its rows are synthetic",
            remedy="add rows that were not generated, leave the label out, or set "
            "test_synthetic = true",
        )


def _late(members: Mapping[str, Sequence[Row]], totals: Mapping[str, int]) -> set[str]:
    """The components all of whose rows are late."""
    late = {name for name, rows in members.items() if all(row.is_late for row in rows)}
    tested = {row.label for name in late for row in members[name]}
    trained = {row.label for rows in members.values() for row in rows if not row.is_late}
    for label in sorted(totals):
        if label not in tested or label not in trained:
            whose = f"label {label!r}" if label else "the dataset"
            where = "on or after test_from that stands alone" if label in trained else "before it"
            raise DataError(
                f"{whose} cannot be on both sides of the split: no row of it is {where}",
                remedy="take another date for test_from, leave the label out, or add rows",
            )
    return late


def _require_each(labels: Iterable[str], train: Sequence[Row]) -> None:
    left = {row.label for row in train}
    for label in sorted(labels):
        if label not in left:
            whose = f"label {label!r}" if label else "the dataset"
            raise DataError(
                f"{whose} has no row left to train on: all of them resemble test rows of the "
                "datasets in apart_from",
                remedy="add rows, or leave the label out",
            )


def _choose_test(
    order: Sequence[str],
    members: dict[str, list[Row]],
    totals: Counter[str],
    caps: Caps,
) -> set[str]:
    """The components that are to be the test side."""
    wanted = caps.test
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
                else min(caps.train[other], totals[other] - wanted[other])
                for other in sizes[name]
            }
            left = {other: totals[other] - taken[other] - sizes[name][other] for other in least}
            if all(left[other] >= least[other] for other in least):
                chosen.add(name)
                taken += sizes[name]
        if not 0 < taken[label] < totals[label]:
            whose = f"label {label!r}" if label else "the dataset"
            raise DataError(
                f"{whose} cannot be on both sides of the split: its {totals[label]} "
                "distinct rows are too few, or all near duplicates of one another",
                remedy="leave the label out, add rows, or raise leak_similarity",
            )
    return chosen


def _cap(rows: Sequence[Row], caps: Mapping[str, int], seed: int) -> tuple[list[Row], list[Row]]:
    """At most `caps[label]` rows of each label, drawn by the seed; and the rest."""
    kept: list[Row] = []
    surplus: list[Row] = []
    counts: Counter[str] = Counter()
    for row in sorted(rows, key=lambda row: (draw(f"{seed}\0{row.row_id}"), row.asset)):
        counts[row.label] += 1
        (kept if counts[row.label] <= caps[row.label] else surplus).append(row)
    return kept, surplus
