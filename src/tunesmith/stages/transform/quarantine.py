"""Make a transform again, to see which of its rows are in quarantine, and what repairs would do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Erased
from tunesmith.records.repair import Repairs
from tunesmith.records.transform import Program
from tunesmith.stages.transform.came import given_rows
from tunesmith.stages.transform.config import TransformConfig
from tunesmith.stages.transform.rows import Draft, Maker, Refused
from tunesmith.stages.transform.run import answers, teller


def look(
    config: TransformConfig,
    ctx: Context,
    *,
    sources: Sequence[DataAsset],
    program: Program | None,
    erased: Erased | None,
    repairs: Repairs | None,
) -> Iterator[tuple[Draft, Refused | None]]:
    """The rows that are bad or repaired, made just as `transform` does, with what is wrong with
    them; None of a repaired one that can be used.

    Raises:
        NotFound, DataError, InputChanged, StoreError: see `transform`.
    """
    given = given_rows(sources, ctx.blobs)
    maker = Maker(config, given, teller(config, erased, ctx), repairs)
    for came in answers(config, ctx, sources, given, program):
        if came.fields is None and not came.problem:
            continue
        draft = maker.draft(came)
        made = maker.make(draft)
        if isinstance(made, Refused):
            yield draft, made
        elif made is not None and maker.is_repaired(draft.row_id):
            yield draft, None
