"""What people do in a review: begin it, take a row, say what it is, decide, see, accept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import pyarrow.parquet as pq

from tunesmith.core.canonical import draw, fingerprint, sha256
from tunesmith.core.db import Transaction
from tunesmith.core.errors import Conflict, NotFound, UsageError
from tunesmith.ledger.cost import price_review
from tunesmith.lineage.versions import Held, named, path_of
from tunesmith.project import Project
from tunesmith.records.data import Dataset
from tunesmith.records.review import (
    UNUSABLE,
    Agreement,
    Judgement,
    ReviewedLabels,
    Reviewer,
    ReviewStatus,
)
from tunesmith.registry.roles import Actor
from tunesmith.review import log as logs
from tunesmith.review.log import Log, Saying
from tunesmith.sections import ReviewConfig
from tunesmith.stages.curate.doubts import doubtful_rows


@dataclass(frozen=True, kw_only=True)
class Desk:
    """One review of a project, as it was when it was opened."""

    project: Project
    config: ReviewConfig
    log: Log
    guidelines: str
    """The text of the guidelines as the file has it now."""

    @property
    def digest(self) -> str:
        """SHA-256 of the guidelines as the file has it now."""
        return sha256(self.guidelines.encode())

    @cached_property
    def texts(self) -> Mapping[str, str]:
        """The text of each row that a version of the dataset still has, of the newest such one."""
        return _texts(self.project, self.config.dataset, self.log.rows)

    @cached_property
    def rows(self) -> list[str]:
        """The rows that are still there, in the order of the review."""
        return [row for row in self.log.rows if row in self.texts]

    def waiting(self, who: str, *, decides: bool = False) -> list[str]:
        """The rows that `who` may judge now, or that `who` may decide about, in order.

        Raises:
            NotAllowed: they may neither now nor ever.
        """
        logs.require_role(self.config, who, decides=decides)
        may = logs.may_decide if decides else logs.may_judge
        return [row for row in self.rows if may(self.log, row, who, self.config.per_row)]

    @property
    def settled(self) -> dict[str, str]:
        """What each row is that is settled and still there."""
        found = {row: logs.settled(self.log, row, self.config.per_row) for row in self.rows}
        return {row: label for row, label in found.items() if label}


@dataclass(frozen=True, kw_only=True, slots=True)
class Begun:
    """What was put on record."""

    review: str
    dataset: str
    """The version that the rows are of, e.g. "notices@2"."""
    num_added: int
    num_rows: int
    """Of the whole review."""
    labels: tuple[str, ...]
    guidelines: str
    """SHA-256 of the guidelines."""


def desk(project: Project, review: str) -> Desk:
    """A review that was begun.

    Raises:
        NotFound: there is no such review, it was not begun, or its guidelines are not there.
        UsageError: the guidelines are no text.
    """
    found = _opened(project, review)
    if not found.log.rows:
        raise NotFound(
            f"review {review!r} was not begun",
            remedy=f"begin it: `tunesmith review start {review}`",
        )
    return found


def at_work(project: Project, review: str) -> Desk:
    """A review whose guidelines are those that are in force.

    Raises:
        NotFound: see `desk`.
        Conflict: the file was edited since it was put on record.
    """
    found = desk(project, review)
    if found.digest != found.log.guidelines:
        raise Conflict(
            f"{found.config.guidelines} was edited since it was put on record (sha256 "
            f"{found.log.guidelines[:12]} then, {found.digest[:12]} now)",
            remedy="put it back; or judge by it as it is now, and let it be known: `tunesmith "
            f"review start {review}`",
        )
    return found


def start(project: Project, review: str, actor: Actor, limit: int = 0) -> Begun:
    """Put rows of the newest version of the dataset on record, and the guidelines as they are now.

    Rows that are there already stay; at most `limit` are added, 0 being all.

    Raises:
        NotFound: see `desk`; or the dataset was not cut.
        UsageError: a label of it is the word for rows that no label fits.
    """
    found = _opened(project, review)
    held = _versions(project, found.config.dataset)[-1]
    assert isinstance(held.record, Dataset)
    labels = held.record.labels
    if UNUSABLE in labels:
        raise UsageError(
            f"{held.ref} has a label {UNUSABLE!r}, the word for rows that no label fits",
            remedy="give that label another name in the source",
        )
    ordered = _ordered(project, found.config, held)
    with project.runner.database.write() as connection:
        log = logs.read(connection, review)
        added = [row for row in ordered if row not in log.rows][: limit or None]
        if added or (log.labels, log.guidelines) != (labels, found.digest):
            body = {
                "dataset": held.ref,
                "digest": held.version.digest,
                "rows": added,
                "labels": labels,
                "guidelines": found.digest,
                "settings": found.config,
                **actor.body(),
            }
            logs.begin(connection, actor.name, log, body)
    return Begun(
        review=review,
        dataset=held.ref,
        num_added=len(added),
        num_rows=len(log.rows) + len(added),
        labels=labels,
        guidelines=found.digest,
    )


def judge(desk: Desk, actor: Actor, row: str, label: str, seconds: float | None) -> Judgement:
    """Record what `actor` says of a row, by the guidelines that `desk` was opened with.

    Raises:
        NotFound, UsageError, NotAllowed, Conflict: see `log.judge`.
    """
    with desk.project.runner.database.write() as connection:
        log, saying = _saying(connection, desk, actor, row, label, seconds)
        return logs.judge(connection, desk.config, log, saying)


def decide(desk: Desk, actor: Actor, row: str, label: str, seconds: float | None) -> Judgement:
    """Record what `actor` decides about a row on which others differed.

    Raises:
        NotFound, UsageError, NotAllowed, Conflict: see `log.decide`.
    """
    with desk.project.runner.database.write() as connection:
        log, saying = _saying(connection, desk, actor, row, label, seconds)
        return logs.decide(connection, desk.config, log, saying)


def accept(project: Project, review: str, actor: Actor) -> ReviewedLabels:
    """Freeze the labels that are settled, for datasets that name the review.

    Raises:
        NotFound: see `desk`.
        Conflict: nothing is settled.
    """
    found = desk(project, review)
    labels = found.settled
    if not labels:
        raise Conflict(
            f"nothing is settled in review {review!r}",
            remedy=f"see what it waits for: `tunesmith review status {review}`",
        )
    said = [each for row in labels for each in _all_of(found.log, row)]
    frozen = ReviewedLabels(
        review=review,
        labels=labels,
        per_row=found.config.per_row,
        num_adjudicated=sum(row in found.log.decided for row in labels),
        guidelines=tuple(sorted({each.guidelines for each in said})),
        alpha=_agreement(found)[0],
    )
    with project.runner.database.write() as connection:
        before = logs.read(connection, review).accepted
        if before is None or fingerprint(before) != fingerprint(frozen):
            logs.accept(connection, actor.name, frozen, actor.body())
    return frozen


def status(project: Project, review: str) -> ReviewStatus:
    """How far it is, how far people agree, what it took.

    Raises:
        NotFound: see `desk`.
    """
    found = desk(project, review)
    log, per_row = found.log, found.config.per_row
    settled = found.settled
    num_open = sum(logs.missing(log, row, per_row) for row in found.rows)
    said = [each for row in log.rows for each in _all_of(log, row)]
    seconds = sum(each.seconds or 0.0 for each in said)
    rates = project.file.ledger.rates
    accepted = log.accepted["labels"] if log.accepted else {}
    return ReviewStatus(
        review=review,
        dataset=found.config.dataset,
        guidelines=log.guidelines,
        num_rows=len(log.rows),
        num_gone=len(log.rows) - len(found.rows),
        num_open=num_open,
        num_disputed=sum(logs.disputed(log, row, per_row) for row in found.rows),
        num_settled=len(settled),
        num_adjudicated=sum(row in log.decided for row in settled),
        num_unusable=sum(label == UNUSABLE for label in settled.values()),
        num_by_other_guidelines=sum(each.guidelines != log.guidelines for each in said),
        num_accepted=len(accepted),
        people=tuple(_people(found)),
        agreement=_agreement(found),
        seconds=round(seconds, 3),
        num_untimed=sum(each.seconds is None for each in said),
        cost=price_review(seconds, rates),
        cost_per_settled=price_review(seconds / len(settled) if settled else 0.0, rates),
    )


def _people(desk: Desk) -> Iterator[Reviewer]:
    log = desk.log
    judged = [each for said in log.judged.values() for each in said.values()]
    decided = list(log.decided.values())
    known = (*desk.config.reviewers, *desk.config.adjudicators)
    for name in dict.fromkeys((*known, *(each.reviewer for each in (*judged, *decided)))):
        own = [each for each in (*judged, *decided) if each.reviewer == name]
        num_decided = sum(each.reviewer == name for each in decided)
        yield Reviewer(
            name=name,
            num_judged=len(own) - num_decided,
            num_left=len(desk.waiting(name)) if name in desk.config.reviewers else 0,
            num_decided=num_decided,
            seconds=round(sum(each.seconds or 0.0 for each in own), 3),
        )


def _agreement(desk: Desk) -> tuple[Agreement, ...]:
    from tunesmith.stages.evaluate.agreement import agreements

    rows = [desk.log.said(row) for row in desk.log.rows if row in desk.log.judged]
    return agreements(rows, seed=desk.project.file.project.seed)


def _all_of(log: Log, row: str) -> list[Judgement]:
    decided = [log.decided[row]] if row in log.decided else []
    return [*log.judged.get(row, {}).values(), *decided]


def _saying(
    connection: Transaction,
    desk: Desk,
    actor: Actor,
    row: str,
    label: str,
    seconds: float | None,
) -> tuple[Log, Saying]:
    return logs.read(connection, desk.config.name), Saying(
        row=row,
        who=actor.name,
        label=label,
        seconds=seconds,
        guidelines=desk.digest,
        extra=actor.body(),
    )


def _opened(project: Project, review: str) -> Desk:
    if review not in project.file.review:
        known = ", ".join(project.file.review) or "none"
        raise NotFound(f"there is no review {review!r}", remedy=f"there is: {known}")
    config = project.file.review[review]
    with project.runner.database.read() as connection:
        log = logs.read(connection, review)
    return Desk(project=project, config=config, log=log, guidelines=_guidelines(project, config))


def _guidelines(project: Project, config: ReviewConfig) -> str:
    key = f"review.{config.name}.guidelines"
    try:
        return (project.folder / config.guidelines).read_bytes().decode()
    except OSError as error:
        raise NotFound(
            f"{key}: {config.guidelines} cannot be read: {error.strerror}",
            remedy="write down what each label means, and when none fits, before rows are judged",
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{key}: {config.guidelines} is no text in UTF-8", remedy="save it as UTF-8"
        ) from error


def _versions(project: Project, dataset: str) -> list[Held]:
    """The versions of a dataset whose rows are still there, oldest first."""
    found = [held for held in named(project, f"dataset:{dataset}") if not held.is_erased]
    if not found:
        raise NotFound(
            f"every version of dataset {dataset!r} was erased", remedy="cut it: `tunesmith run`"
        )
    return found


def _ordered(project: Project, config: ReviewConfig, held: Held) -> list[str]:
    """All rows of a version, in the order in which they are to be looked at."""
    assert isinstance(held.record, Dataset)
    seed = project.file.project.seed
    drawn = sorted(
        (row for row, _ in _read(project, held)),
        key=lambda row: draw(f"{seed}:{config.name}:{row}"),
    )
    if config.order == "drawn":
        return drawn
    doubtful = [row.row_id for row in doubtful_rows(held.record, project.runner.blobs)]
    return list(dict.fromkeys((*doubtful, *drawn)))


def _texts(project: Project, dataset: str, wanted: Mapping[str, None]) -> dict[str, str]:
    found: dict[str, str] = {}
    for held in reversed(_versions(project, dataset)):
        for row, text in _read(project, held):
            if row in wanted:
                found.setdefault(row, text)
        if len(found) == len(wanted):
            break
    return found


def _read(project: Project, held: Held) -> Iterator[tuple[str, str]]:
    """Id and text of each row of a version, of both sides."""
    for side in ("train", "test"):
        table = pq.read_table(path_of(project, held, side), columns=["row_id", "text"])
        for row in table.to_pylist():
            yield row["row_id"], row["text"]
