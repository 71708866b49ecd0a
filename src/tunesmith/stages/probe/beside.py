"""A suite's figures of a model beside those of the version under an alias, example by example.

Both versions were asked by the same step, each beside its base; what they said is kept, so nobody
is asked again here.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import pyarrow.parquet as pq

from tunesmith.core.blobs import Blobs
from tunesmith.core.step import Context
from tunesmith.paired.seen import trained_on
from tunesmith.records.model import ModelVersion
from tunesmith.records.suite import Figure, Range, SuiteBeside, SuiteResult
from tunesmith.stages.probe.config import BesideConfig
from tunesmith.stages.probe.figures import Scores, compared, values

Key = tuple[str, str, str]
"""Of an example: which part of the suite, the row or its name, and what was asked."""


def beside(
    config: BesideConfig,
    ctx: Context,
    *,
    suite: SuiteResult,
    other: SuiteResult,
    model: ModelVersion,
    rival: ModelVersion,
) -> SuiteBeside:
    """Each figure of `suite`, of `model`, minus that of `other`, of `rival`, on the examples that
    both were asked. Rows that `rival` alone was tuned on are left out: it knows them."""
    mine, theirs = _examples(suite, ctx.blobs), _examples(other, ctx.blobs)
    known = trained_on(ctx.blobs, rival) - trained_on(ctx.blobs, model)
    shared = [key for key in mine if key in theirs and key[1] not in known]
    found = [_figure(figure, shared, mine, theirs, ctx.seed) for figure in suite.figures]
    return SuiteBeside(
        suite=suite.suite,
        kind=suite.kind,
        model=model.name,
        against=config.against,
        version=config.version,
        figures=tuple(figure for figure in found if figure is not None),
        num_left_out=len(mine.keys() | theirs.keys()) - len(shared),
        not_compared={
            figure.name: _why_not(figure, other, config.version)
            for figure, pair in zip(suite.figures, found, strict=True)
            if pair is None
        },
    )


def _why_not(figure: Figure, other: SuiteResult, version: str) -> str:
    """Why a figure could not be compared."""
    if not other.figures:
        return "; ".join(f"of {version} {note}" for note in other.notes)
    if not figure.made_of:
        return "it is of no sample of examples, so no difference is tested"
    return f"{version} was asked too few of the same examples"


def _figure(
    figure: Figure,
    shared: list[Key],
    mine: Mapping[Key, Mapping[str, tuple[float, float]]],
    theirs: Mapping[Key, Mapping[str, tuple[float, float]]],
    seed: int,
) -> Figure | None:
    """None where it is of no sample, or nothing of it is shared. The tuned model's own value is of
    the shared examples; its interval is where the suite has it, of all."""
    pairs = [
        (theirs[key][figure.name], mine[key][figure.name])
        for key in shared
        if figure.name in mine[key] and figure.name in theirs[key]
    ]
    # Of tokens that were cut otherwise, or of a row that only one was tuned on.
    pairs = [(before, after) for before, after in pairs if before[1] == after[1]]
    sizes = [after[1] for _, after in pairs]
    if not figure.made_of or not pairs or (figure.made_of == "area" and len(set(sizes)) < 2):
        return None
    scores = Scores(
        before=[before[0] for before, _ in pairs],
        after=[after[0] for _, after in pairs],
        sizes=sizes,
    )
    first, second = values(figure.made_of, scores)
    interval, test, p_value = compared(
        figure.made_of, scores, confidence=figure.confidence, seed=seed
    )
    return Figure(
        name=figure.name,
        base=first,
        tuned=Range(value=second, low=figure.tuned.low, high=figure.tuned.high),
        difference=Range(value=second - first, low=interval.low, high=interval.high),
        num_rows=len(pairs),
        confidence=figure.confidence,
        worse=figure.worse,
        limited="difference",
        made_of=figure.made_of,
        test=test,
        p_value=p_value,
        detectable=interval.detectable,
    )


def _examples(suite: SuiteResult, blobs: Blobs) -> dict[Key, dict[str, tuple[float, float]]]:
    """Of each example what it adds to each figure, for the tuned model, and how much it counts."""
    columns = ["check", "row_id", "asked", "scores"]
    rows = pq.read_table(io.BytesIO(blobs.get(suite.examples)), columns=columns).to_pylist()
    return {
        (row["check"], row["row_id"], row["asked"]): {
            score["figure"]: (score["tuned"], score["size"]) for score in row["scores"]
        }
        for row in rows
    }
