"""What the sources and rows of a dataset are worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.render import (
    HERE,
    Folder,
    Json,
    out,
    percent,
    seconds,
    shortened,
    table,
    wrapped,
)
from tunesmith.ledger.cost import display

if TYPE_CHECKING:
    from tunesmith.records.money import Money
    from tunesmith.records.rivals import Estimate
    from tunesmith.records.value import DataValue, SourceValue

BAR = 12
"""Characters of the longest bar."""


def data_value(
    name: Annotated[str, typer.Argument(help="Name of a dataset of labels.")] = "",
    folder: Folder = HERE,
    base: Annotated[
        str, typer.Option(help="Base model to see texts through; an encoder is best.")
    ] = "",
    neighbours: Annotated[
        int, typer.Option(help="Training rows that vote on a test row.", min=1)
    ] = 5,
    num_rows: Annotated[
        int, typer.Option("--rows", help="List this many of the rows that help least.", min=0)
    ] = 10,
    as_json: Json = False,
) -> None:
    """Estimate what each source is worth to the test rows, beside its cost; and each row."""
    from tunesmith.cli.opening import opened
    from tunesmith.cli.service import only
    from tunesmith.lineage.value import value
    from tunesmith.stages.value.config import ValueConfig

    config = ValueConfig(neighbours=neighbours)
    with opened(folder, runs=True) as (project, _):
        name = only(project.file.dataset, name, "dataset")
        if base:
            only(project.file.base, base, "base")
        found = value(project, name, config, base=base, num_rows=num_rows)
    out(found, _lines(found), as_json)


def _lines(found: DataValue) -> list[str]:
    cut = f"; of {found.num_cut} only the beginning fits into it" if found.num_cut else ""
    longest = max(abs(each.value.mean) for each in found.sources)
    rows = [
        [
            each.source,
            each.num_rows,
            percent(each.share),
            points(each.value),
            bar(each.value.mean, longest),
            points(each.without) if each.without else "no row is left",
            _cost(each),
        ]
        for each in found.sources
    ]
    headings = ["source", "rows", "share", "value", "", "accuracy without it", "cost"]
    return [
        *wrapped(
            f"{found.dataset}: {found.num_train} training rows, valued by {found.num_test} test "
            f"rows; texts as {found.base} sees them, untuned{cut}"
        ),
        *wrapped(
            f"of the {found.neighbours} nearest training rows {percent(found.utility)} have a test "
            f"row's label, and their vote is right for {percent(found.accuracy)}"
        ),
        "",
        *table(rows, headings),
        "",
        *wrapped(
            f"Values are shares of those {percent(found.utility)} (exact Shapley values), in "
            f"points with {100 * found.confidence:g} % intervals over test rows. They are "
            "estimates for an untuned model's nearest rows, not for a tuned model; no proof of "
            "what a model has learnt by heart; and no entry in the books."
        ),
        *_weak(found),
        *_least(found),
    ]


def _weak(found: DataValue) -> list[str]:
    if found.is_encoder:
        return []
    return wrapped(
        f"{found.base} goes on with texts and was not made to compare them: add an encoder such as "
        "MiniLM as a [base.NAME], or name one with --base"
    )


def _least(found: DataValue) -> list[str]:
    if not found.least:
        return []
    rows = [
        [f"{100 * row.value:+.3f}", row.pointer, row.label, shortened(row.text)]
        for row in found.least
    ]
    return [
        "",
        *wrapped(
            f"{found.num_harmful} of {found.num_train} rows are worth less than nothing: their "
            "label is not that of the test rows near them. Look for wrong labels first; "
            f"`tunesmith data doubts {found.dataset}` looks for them by the words."
        ),
        "",
        *table(rows, ["value", "row", "label", "text"]),
    ]


def _cost(each: SourceValue) -> str:
    """Of reading a source in, and of people who looked at its rows, if any did."""
    parts = [f"{seconds(each.cpu_s)} of CPU", *_money(each.cost)]
    if each.review_s:
        parts += [f"{seconds(each.review_s)} of people", *_money(each.review_cost)]
    return ", ".join(parts)


def _money(cost: Money | None) -> list[str]:
    return [] if cost is None else [display(cost)]


def points(found: Estimate) -> str:
    """A share and its interval in points.

    >>> from tunesmith.records.rivals import Estimate
    >>> points(Estimate(mean=0.125, low=-0.01, high=0.2))
    '+12.5 (-1.0 to +20.0)'
    """
    middle, low, high = (f"{100 * part:+.1f}" for part in (found.mean, found.low, found.high))
    return f"{middle} ({low} to {high})"


def bar(value: float, longest: float) -> str:
    """A bar as long as `value` is large beside `longest`; a hollow one below zero.

    >>> bar(0.5, 1.0), bar(-0.25, 1.0), bar(0.0, 0.0)
    ('██████', '░░░', '')
    """
    length = round(BAR * abs(value) / longest) if longest else 0
    return ("█" if value > 0 else "░") * length
