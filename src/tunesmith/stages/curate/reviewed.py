"""What people settled, in place of what the sources say."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.core.blobs import Blobs
from tunesmith.core.errors import DataError
from tunesmith.records.review import UNUSABLE, ReviewedLabels
from tunesmith.records.rows import Content
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.rows import Applied, Dropped, Row, drop
from tunesmith.stages.curate.verdicts import as_judged, content_digest, read_correction
from tunesmith.text.dedup import exact_key
from tunesmith.text.normalise import normalise

DROPPED, REFUSED = "unusable, say reviewers", "left out, say reviewers"
CONFIRMED, CHANGED, COPIES = "confirmed", "corrected", "copies"


def with_reviewed_labels(
    config: DatasetConfig, rows: Sequence[Row], reviewed: ReviewedLabels | None
) -> tuple[list[Row], list[Dropped], Applied | None]:
    """The rows with the labels that they were found to have, those that were found unusable, and
    how many there were of each. Rows without labels stay as they are: see `Settled`.

    What was settled of a row holds for every row with the same text, up to case and white space:
    of copies one alone is in a dataset and so is looked at, and the others would contradict it.

    Raises:
        DataError: the settings name a review of which nothing was accepted yet, or whose rows were
            of another format.
    """
    if reviewed is None:
        if config.reviewed:
            raise DataError(
                f"dataset {config.name!r}: no labels of review {config.reviewed!r} were accepted",
                remedy=f"accept some: `tunesmith review accept {config.reviewed}`; until then "
                "leave `reviewed` out",
            )
        return list(rows), [], None
    if reviewed.format != config.format:
        raise DataError(
            f"dataset {config.name!r} has format {config.format!r}, and review "
            f"{reviewed.review!r} is of rows of format {reviewed.format!r}",
            remedy="leave `reviewed` out, or name a review of rows of this format",
        )
    if config.format != "labels":
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
            counts[COPIES] += 1
        else:
            counts[_change(row, label)] += 1
        if label == UNUSABLE:
            dropped.append(drop(row, DROPPED, f"review {reviewed.review}"))
        else:
            kept.append(dataclasses.replace(row, label=label))
    return kept, dropped, _applied(reviewed, counts)


def _applied(reviewed: ReviewedLabels, counts: Mapping[str, int]) -> Applied:
    found = {what: counts.get(what, 0) for what in (CONFIRMED, CHANGED, UNUSABLE)}
    return Applied(
        labels=reviewed,
        num_confirmed=found[CONFIRMED],
        num_corrected=found[CHANGED],
        num_unusable=found[UNUSABLE],
        num_gone=len(reviewed.labels) - sum(found.values()),
        num_copies=counts.get(COPIES, 0),
    )


def _change(row: Row, label: str) -> str:
    if label == UNUSABLE:
        return UNUSABLE
    return CONFIRMED if label == row.label else CHANGED


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What a review settled of rows without labels. A verdict holds for a row that says what was
    judged, and for its copies, to the letter; not for one that has changed since."""

    reviewed: ReviewedLabels
    blobs: Blobs
    by_content: Mapping[str, str]
    """Digest of what was judged -> the id of a row that said it."""
    counts: Counter[str]
    """What was found in the rows so far."""

    def of(self, row: Row, content: Content) -> tuple[Content | None, str]:
        """The row as it was settled, and the verdict; None of one that is left out, and no verdict
        on one that nobody judged.

        Raises:
            StoreError: a correction is not there.
        """
        reviewed, digest = self.reviewed, content_digest(content)
        is_looked_at = reviewed.contents.get(row.row_id) == digest
        judged = row.row_id if is_looked_at else self.by_content.get(digest, "")
        if not judged:
            return content, ""
        verdict = reviewed.labels[judged]
        if judged in reviewed.corrections:
            found: Content | None = read_correction(
                self.blobs, reviewed.corrections[judged], type(content)
            )
        else:
            found = as_judged(content, verdict)
        what = UNUSABLE if found is None else CONFIRMED if found == content else CHANGED
        self.counts[what if is_looked_at else COPIES] += 1
        return found, verdict

    def applied(self) -> Applied:
        """How many there were of each, once all rows were looked at."""
        return _applied(self.reviewed, self.counts)


def settled(reviewed: ReviewedLabels | None, blobs: Blobs) -> Settled | None:
    """What is to be looked up for each row; None without a review."""
    if reviewed is None:
        return None
    by_content = {digest: row for row, digest in reviewed.contents.items()}
    return Settled(reviewed=reviewed, blobs=blobs, by_content=by_content, counts=Counter())


def refuse(row: Row, verdict: str, reviewed: ReviewedLabels) -> Dropped:
    """`row`, dropped, as people said that it should be."""
    return drop(row, REFUSED, f"review {reviewed.review}: {verdict}")


def review_section(applied: Applied) -> str:
    """What the card says of it (Markdown)."""
    labels = applied.labels
    of_labels = labels.format == "labels"
    gone = "not in the sources any more" + ("" if of_labels else ", or changed there")
    rows = [
        ("confirmed", applied.num_confirmed),
        ("corrected", applied.num_corrected),
        ("unusable, dropped" if of_labels else "left out", applied.num_unusable),
        (gone, applied.num_gone),
        ("not looked at, same text as one that was", applied.num_copies),
    ]
    table = "\n".join(f"| {what} | {count} |" for what, count in rows)
    digests = ", ".join(digest[:12] for digest in labels.guidelines)
    found = labels.alpha
    said = "not defined" if found.value is None else f"{found.value:.3f}"
    if found.low is not None and found.high is not None:
        said += f" (95 % interval over rows: {found.low:.3f} to {found.high:.3f})"
    doubts = (
        "\n\nDoubtful rows may have been looked at first: what was found of these need not hold "
        "for the rest."
    )
    return f"""## Review

{len(labels.labels)} rows were judged by {labels.per_row} people each, who did not see one another's
judgements (review {labels.review}; guidelines sha256 {digests}).
{labels.num_adjudicated} rows, on which they differed, were decided by another person.
{found.what}: {said}, {found.num_rows} rows.

| rows | count |
| --- | --- |
{table}{doubts if of_labels else ""}"""
