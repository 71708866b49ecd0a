"""A tuned model, and its base beside it, asked what one suite asks."""

from __future__ import annotations

from collections.abc import Callable

from tunesmith.core.errors import OtherKind, TooFewRows, UsageError
from tunesmith.core.kinds import resolve
from tunesmith.core.ref import PARQUET
from tunesmith.core.step import Context
from tunesmith.records.data import Dataset
from tunesmith.records.model import ModelVersion
from tunesmith.records.suite import UNASKED, SuiteResult
from tunesmith.stages.probe.asked import Asked
from tunesmith.stages.probe.config import SUITES, ProbeConfig
from tunesmith.stages.probe.found import Found, to_parquet
from tunesmith.stages.probe.given import Given


def probe(
    config: ProbeConfig,
    ctx: Context,
    *,
    model: ModelVersion,
    dataset: Dataset,
    given: Given | None = None,
) -> SuiteResult:
    """What the suite finds of `model`, as it would be served, and of its base.

    Where a model cannot be asked what the suite asks, the result has no figures, and a note that
    says why: an example does not fit its context, or names what it does not have. It may be one
    that another is compared with, which is not to be held up; who asks the other stops at it.

    Raises:
        NotFound, DataError: its file cannot be read or understood, or no row can be asked of the
            dataset's own model.
    """
    function: Callable[[Asked], Found] = resolve(SUITES[config.kind])
    asked = Asked(config=config, ctx=ctx, model=model, dataset=dataset, given=given)
    try:
        found = function(asked)
    except (OtherKind, TooFewRows, UsageError) as error:
        if isinstance(error, TooFewRows) and not asked.is_of_other_rows():
            raise
        found = Found(figures=[], examples=[], notes=[f"{UNASKED}{error.message}"])
    return SuiteResult(
        suite=config.suite,
        kind=config.kind,
        model=model.name,
        figures=tuple(found.figures),
        examples=ctx.blobs.put(to_parquet(found.examples), PARQUET),
        num_examples=len(found.examples),
        notes=tuple(found.notes),
    )
