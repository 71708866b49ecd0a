"""From data assets to one that is made from them, each row with what it was made from."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from tunesmith.asset.accounted import require_accounted
from tunesmith.asset.checks import evaluate, require
from tunesmith.asset.row import Row
from tunesmith.asset.table import Table
from tunesmith.core import erasure
from tunesmith.core.errors import DataError, InputChanged
from tunesmith.core.ref import PARQUET
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Erased
from tunesmith.records.repair import Repairs
from tunesmith.records.transform import Program, TransformedAsset
from tunesmith.stages.transform.came import Came, Given, given_rows
from tunesmith.stages.transform.config import TransformConfig
from tunesmith.stages.transform.function import rows_of_function
from tunesmith.stages.transform.program import read_program
from tunesmith.stages.transform.query import rows_of_query
from tunesmith.stages.transform.rows import (
    REFUSED,
    UNUSED,
    USED,
    Edge,
    Maker,
    Refused,
    Tally,
)

NOT_STATED = "not stated"
"""What a source's section says of what nobody said."""


def transform(
    config: TransformConfig,
    ctx: Context,
    *,
    sources: tuple[DataAsset, ...],
    program: Program | None = None,
    erased: Erased | None = None,
    repairs: Repairs | None = None,
) -> TransformedAsset:
    """The rows that `program` makes of those of `sources`, as `repairs` has them, but for those of
    whom `erased` tells.

    Raises:
        NotFound, DataError: the program is not there, or cannot be used; see `rows_of_query` and
            `rows_of_function`.
        DataError: not one row can be used, more are quarantined than may be, or what must hold of
            all rows together does not.
        InputChanged: the program was written while the project was open.
        StoreError: the key of what was erased is not there, or is another one.
    """
    given = given_rows(sources, ctx.blobs)
    came = answers(config, ctx, sources, given, program)
    maker = Maker(config, given, teller(config, erased, ctx), repairs)
    tally, fields = Tally(given), set[str]()
    ids = ("row_id", "parent")  # they are all different, or stand beside one another
    with (
        Table(ctx.workdir / "rows", Row._fields, all_different=ids) as rows,
        Table(ctx.workdir / "quarantine", Refused._fields, all_different=ids) as refused,
        Table(ctx.workdir / "edges", Edge._fields, all_different=ids) as edges,
    ):
        for each in came:
            tally.num_in += 1
            if each.fields is None and not each.problem:
                tally.num_filtered += 1
                continue
            draft = maker.draft(each)
            fields.update(draft.fields or ())
            made = maker.make(draft)
            tally.mark(each.parents, USED if isinstance(made, Row) else REFUSED)
            match made:
                case None:
                    tally.num_erased += 1
                    continue
                case Row():
                    rows.add(made)
                    tally.num_repaired += maker.is_repaired(made.row_id)
                case Refused():
                    refused.add(made)
                    tally.by_rule[made.rule] += 1
                    tally.first_refused = tally.first_refused or made
            for place in each.parents:
                edges.add(Edge(made.row_id, given.row_ids[place]))
    _require_rows(config, tally, rows.num_rows)
    require_accounted(
        tally.num_in, rows.num_rows, refused.num_rows, tally.num_filtered, tally.num_erased
    )
    return _asset(config, sources, given, tally, subject_of(config, sources, fields), ctx)


def answers(
    config: TransformConfig,
    ctx: Context,
    sources: Sequence[DataAsset],
    given: Given,
    program: Program | None,
) -> Iterator[Came]:
    """What `program` makes of the rows of `sources`, which are `given`.

    Raises:
        NotFound, DataError, InputChanged: see `transform`.
    """
    if program is None:
        assert ctx.project is not None, "a transform's files are relative to a project's folder"
        read_program(config, ctx.project)
        raise InputChanged(
            f"what transform {config.name!r} is made by was not there when the project was opened",
            remedy="run the same command again",
        )
    if program.sql:
        return rows_of_query(config, program.sql, sources, given, ctx)
    return rows_of_function(config, program, sources, given, ctx)


def _asset(
    config: TransformConfig,
    sources: Sequence[DataAsset],
    given: Given,
    tally: Tally,
    subject: str,
    ctx: Context,
) -> TransformedAsset:
    num_refused = tally.by_rule.total()
    num_rows = tally.num_in - num_refused - tally.num_filtered - tally.num_erased
    rows = ctx.workdir / "rows"
    found = evaluate(config.checks, config.contract, rows, has_strings_only=False)
    made = TransformedAsset(
        name=config.name,
        rows=ctx.blobs.put(rows, PARQUET),
        quarantine=ctx.blobs.put(ctx.workdir / "quarantine", PARQUET),
        edges=ctx.blobs.put(ctx.workdir / "edges", PARQUET),
        num_in=tally.num_in,
        num_rows=num_rows,
        num_quarantined=num_refused,
        num_filtered=tally.num_filtered,
        num_erased=tally.num_erased,
        num_repaired=tally.num_repaired,
        quarantined_by_rule=dict(sorted(tally.by_rule.items())),
        licence=joined_licences([source.licence for source in sources]),
        owner=", ".join(dict.fromkeys(source.owner for source in sources)),
        purpose="; ".join(dict.fromkeys(source.purpose for source in sources)),
        origin=", ".join(dict.fromkeys(source.origin for source in sources)),
        subject=subject,
        num_read=len(given.row_ids),
        num_used=tally.num_of(USED),
        num_refused=tally.num_of(REFUSED),
        num_unused=tally.num_of(UNUSED),
        warnings=require(found, f"transform {config.name!r}"),
    )
    require_accounted(made.num_read, made.num_used, made.num_refused, made.num_unused)
    return made


def joined_licences(licences: Sequence[str]) -> str:
    """The licence of what has parts under each of `licences`: all of them hold.

    >>> joined_licences(["MIT", "CC0-1.0 OR MIT", "MIT"])
    'MIT AND (CC0-1.0 OR MIT)'
    """
    if NOT_STATED in licences:
        return NOT_STATED
    parts: dict[str, None] = {}
    for licence in licences:
        is_choice = " OR " in licence.upper() or "(" in licence
        parts |= dict.fromkeys([licence] if is_choice else licence.split(" AND "))
    if len(parts) == 1:
        return next(iter(parts))
    return " AND ".join(f"({part})" if " OR " in part.upper() else part for part in parts)


def subject_of(
    config: TransformConfig, sources: Sequence[DataAsset], fields: Collection[str]
) -> str:
    """The field that names the person whom a row is about."""
    if config.subject:
        return config.subject
    named = {source.subject for source in sources if source.subject} & set(fields)
    return named.pop() if len(named) == 1 else ""


def teller(
    config: TransformConfig, erased: Erased | None, ctx: Context
) -> Callable[[Mapping[str, Any]], bool]:
    """What says whether a row is somebody's who is to be forgotten."""
    if erased is None:
        return lambda _fields: False
    assert ctx.project is not None, "the store is in a project's folder"
    key = erasure.key_called(ctx.project, erased.key)
    digests = frozenset(erased.digests)

    def tells(fields: Mapping[str, Any]) -> bool:
        return erasure.is_told(key, erasure.subject_of(fields.get(config.subject)), digests)

    return tells


def _require_rows(config: TransformConfig, tally: Tally, num_rows: int) -> None:
    num_refused = tally.by_rule.total()
    num_made = num_rows + num_refused
    if num_rows and num_refused <= config.max_quarantined * num_made:
        return
    first = tally.first_refused
    # What an exception says may be anybody's text, which would stay in the record of the run.
    reason = re.sub(r":.* \(", " (", first.reason) if first else ""
    example = f"; e.g. of {first.pointer}: {reason}" if first else ""
    if num_rows:
        said = ", ".join(f"{rule} {count}" for rule, count in tally.by_rule.most_common(3))
        raise DataError(
            f"transform {config.name!r}: {num_refused} of {num_made} rows would be quarantined "
            f"({said}){example}",
            remedy="correct what it is made by, repair its rows (`tunesmith data quarantine "
            f"{config.name}`), or raise `max_quarantined`",
        )
    raise DataError(
        f"transform {config.name!r} makes no usable row of the {tally.num_of(UNUSED)} rows that it "
        f"leaves out and the {num_refused} that are quarantined{example}",
        remedy="check what it is made by, `text`, `label` and `sources` in its section",
    )
