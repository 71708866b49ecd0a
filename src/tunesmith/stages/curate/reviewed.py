"""Labels that people settled, in place of those of the sources."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.core.errors import DataError
from tunesmith.records.review import UNUSABLE, ReviewedLabels
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.rows import Dropped, Row, drop
from tunesmith.text.dedup import exact_key
from tunesmith.text.normalise import normalise

DROPPED = "unusable, say reviewers"


@dataclass(frozen=True, kw_only=True, slots=True)
class Applied:
    """What became of the labels of a review. num_confirmed + num_corrected + num_unusable +
    num_gone rows were settled; the copies are others."""

    labels: ReviewedLabels
    num_confirmed: int
    num_corrected: int
    num_unusable: int
    num_gone: int
    """Rows that the sources do not have any more."""
    num_copies: int
    """Rows that nobody looked at, with the text of one that was: they are what it is."""


def with_reviewed_labels(
    config: DatasetConfig, rows: Sequence[Row], reviewed: ReviewedLabels | None
) -> tuple[list[Row], list[Dropped], Applied | None]:
    """The rows with the labels that they were found to have, those that were found unusable, and
    how many there were of each.

    What was settled of a row holds for every row with the same text, up to case and white space:
    of copies one alone is in a dataset and so is looked at, and the others would contradict it.

    Raises:
        DataError: the settings name a review of which nothing was accepted yet.
    """
    if reviewed is None:
        if config.reviewed:
            raise DataError(
                f"dataset {config.name!r}: no labels of review {config.reviewed!r} were accepted",
                remedy=f"accept some: `tunesmith review accept {config.reviewed}`; until then "
                "leave `reviewed` out",
            )
        return list(rows), [], None
    keys = [exact_key(normalise(row.text)) for row in rows]
    by_text = {
        key: reviewed.labels[row.row_id]
        for row, key in zip(rows, keys, strict=True)
        if row.row_id in reviewed.labels
    }
    kept: list[Row] = []
    dropped: list[Dropped] = []
    counts: Counter[str] = Counter()
    for row, key in zip(rows, keys, strict=True):
        label = reviewed.labels.get(row.row_id, by_text.get(key, ""))
        if not label:
            kept.append(row)
            continue
        if row.row_id not in reviewed.labels:
            counts["copies"] += 1
        else:
            counts[_change(row, label)] += 1
        if label == UNUSABLE:
            dropped.append(drop(row, DROPPED, f"review {reviewed.review}"))
        else:
            kept.append(dataclasses.replace(row, label=label))
    present = {row.row_id for row in rows}
    return (
        kept,
        dropped,
        Applied(
            labels=reviewed,
            num_confirmed=counts["confirmed"],
            num_corrected=counts["corrected"],
            num_unusable=counts[UNUSABLE],
            num_gone=sum(row_id not in present for row_id in reviewed.labels),
            num_copies=counts["copies"],
        ),
    )


def _change(row: Row, label: str) -> str:
    if label == UNUSABLE:
        return UNUSABLE
    return "confirmed" if label == row.label else "corrected"


def review_section(applied: Applied) -> str:
    """What the card says of it (Markdown)."""
    labels = applied.labels
    rows = [
        ("confirmed", applied.num_confirmed),
        ("corrected", applied.num_corrected),
        ("unusable, dropped", applied.num_unusable),
        ("not in the sources any more", applied.num_gone),
        ("not looked at, same text as one that was", applied.num_copies),
    ]
    table = "\n".join(f"| {what} | {count} |" for what, count in rows)
    digests = ", ".join(digest[:12] for digest in labels.guidelines)
    found = labels.alpha
    said = "not defined" if found.value is None else f"{found.value:.3f}"
    if found.low is not None and found.high is not None:
        said += f" (95 % interval over rows: {found.low:.3f} to {found.high:.3f})"
    return f"""## Review

{len(labels.labels)} rows were judged by {labels.per_row} people each, who did not see one another's
judgements (review {labels.review}; guidelines sha256 {digests}).
{labels.num_adjudicated} rows, on which they differed, were decided by another person.
{found.what}: {said}, {found.num_rows} rows.

| rows | count |
| --- | --- |
{table}

Doubtful rows may have been looked at first: what was found of these need not hold for the rest."""
