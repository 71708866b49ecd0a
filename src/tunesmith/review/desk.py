"""What people do in a review: begin it, take a row, say what it is, decide, see, accept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from tunesmith.core.canonical import sha256
from tunesmith.core.db import Transaction
from tunesmith.core.errors import Conflict, NotFound, UsageError
from tunesmith.core.ref import Blob, from_plain
from tunesmith.ledger.cost import price_review
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
from tunesmith.records.rows import Content
from tunesmith.registry.roles import Actor
from tunesmith.review import corrections, rows
from tunesmith.review import log as logs
from tunesmith.review.log import Log, Saying
from tunesmith.review.parts import parts
from tunesmith.sections import ReviewConfig
from tunesmith.stages.curate.verdicts import REJECTED, VERDICTS, content_digest, leaves_out


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
    def contents(self) -> Mapping[str, Content]:
        """Each row that a version of the dataset still has, as the newest such one has it; of those
        without labels, as it was when it was put into the queue."""
        return rows.contents_of(self.project, self.config.dataset, self.log)

    @cached_property
    def texts(self) -> Mapping[str, str]:
        """What is shown of each row, in one piece."""
        return {
            row: "\n\n".join(part.text for part in parts(content))
            for row, content in self.contents.items()
        }

    @cached_property
    def rows(self) -> list[str]:
        """The rows that are still there, in the order of the review."""
        return [row for row in self.log.rows if row in self.contents]

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """The tags that a word may have; none where rows have no tags."""
        record = rows.versions(self.project, self.config.dataset)[-1].record
        assert isinstance(record, Dataset)
        return record.labels if self.log.format == "tags" else ()

    def given(self, row: str) -> list[tuple[str, str]]:
        """What others said of a row, without their names: the label, and a correction's text."""
        blobs, content = self.project.runner.blobs, self.contents[row]
        return sorted(
            (each.label, corrections.text_in(blobs, each.correction, content))
            for each in self.log.judged.get(row, {}).values()
        )

    def waiting(self, who: str, *, decides: bool = False) -> list[str]:
        """The rows that `who` may judge now, or that `who` may decide about, in order.

        Raises:
            NotAllowed: they may neither now nor ever.
        """
        logs.require_role(self.config, who, decides=decides)
        may = logs.may_decide if decides else logs.may_judge
        return [row for row in self.rows if may(self.log, row, who, self.config.per_row)]

    @cached_property
    def settled(self) -> dict[str, str]:
        """What each row is that is settled, and was not erased. One that people corrected or left
        out is so in later versions: it stays settled where no version has what they judged."""
        found = {row: logs.settled(self.log, row, self.config.per_row) for row in self.log.rows}
        away = {row: label for row, label in found.items() if label and row not in self.contents}
        lasting = {
            row for row, label in away.items() if self.log.contents or label == UNUSABLE
        } - rows.erased(self.project, away)
        there = self.contents.keys() | lasting
        return {row: label for row, label in found.items() if label and row in there}

    @property
    def corrections(self) -> dict[str, Blob]:
        """What each row is to be that is settled so."""
        found = {row: logs.outcome(self.log, row, self.config.per_row) for row in self.settled}
        return {row: each.correction for row, each in found.items() if each and each.correction}


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
    """All that may be said of a row."""
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
        Conflict: the review was begun when the dataset had another format.
    """
    found = _opened(project, review)
    held = rows.versions(project, found.config.dataset)[-1]
    assert isinstance(held.record, Dataset)
    form = held.record.format
    labels = VERDICTS.get(form, held.record.labels)
    if UNUSABLE in labels:
        raise UsageError(
            f"{held.ref} has a label {UNUSABLE!r}, the word for rows that no label fits",
            remedy="give that label another name in the source",
        )
    if found.log.rows and found.log.format != form:
        raise Conflict(
            f"review {review!r} is of rows of format {found.log.format!r}, and {held.ref} has "
            f"format {form!r}",
            remedy="begin another review: a [review.NAME] section with another name",
        )
    contents = dict(rows.read(project, held, form))
    ordered = rows.ordered(project, found.config, held, contents)
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
            if form != "labels":
                pinned = {row: content_digest(contents[row]) for row in added}
                body |= {"format": form, "contents": pinned}
            logs.begin(connection, actor.name, log, body)
    return Begun(
        review=review,
        dataset=held.ref,
        num_added=len(added),
        num_rows=len(log.rows) + len(added),
        labels=(*labels, UNUSABLE) if form == "labels" else labels,
        guidelines=found.digest,
    )


def judge(
    desk: Desk, actor: Actor, row: str, label: str, seconds: float | None, text: str = ""
) -> Judgement:
    """Record what `actor` says of a row, by the guidelines that `desk` was opened with; `text` is
    how it should be, where that is what is said.

    Raises:
        NotFound, UsageError, NotAllowed, Conflict: see `log.judge` and `correct`.
    """
    return _record(desk, _saying(desk, actor, row, label, seconds), text, logs.judge)


def decide(
    desk: Desk, actor: Actor, row: str, label: str, seconds: float | None, text: str = ""
) -> Judgement:
    """Record what `actor` decides about a row on which others differed; `text` as in `judge`.

    Raises:
        NotFound, UsageError, NotAllowed, Conflict: see `log.decide` and `correct`.
    """
    return _record(desk, _saying(desk, actor, row, label, seconds), text, logs.decide)


def accept(project: Project, review: str, actor: Actor) -> ReviewedLabels:
    """Freeze the labels that are settled, for datasets that name the review; see `rows.in_doubt`.

    Raises:
        NotFound: see `desk`.
        Conflict: nothing is settled.
    """
    found = desk(project, review)
    log, settled = found.log, found.settled
    if not settled:
        raise Conflict(
            f"nothing is settled in review {review!r}",
            remedy=f"see what it waits for: `tunesmith review status {review}`",
        )
    labels = settled | dict.fromkeys(rows.in_doubt(project, log, settled), REJECTED)
    said = [each for row in settled for each in log.all_of(row)]
    frozen = ReviewedLabels(
        review=review,
        labels=labels,
        format=log.format,
        contents={row: log.contents[row] for row in labels if row in log.contents},
        corrections=found.corrections,
        per_row=found.config.per_row,
        num_adjudicated=sum(row in log.decided for row in settled),
        guidelines=tuple(sorted({each.guidelines for each in said})),
        alpha=_agreement(found)[0],
    )
    with project.runner.database.write() as connection:
        before = logs.read(connection, review).accepted
        if before is None or from_plain(ReviewedLabels, before) != frozen:
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
    said = [*(each for row in log.rows for each in log.all_of(row)), *log.lost]
    seconds = sum(each.seconds or 0.0 for each in said)
    rates = project.file.ledger.rates
    accepted = log.accepted["labels"] if log.accepted else {}
    return ReviewStatus(
        review=review,
        dataset=found.config.dataset,
        guidelines=log.guidelines,
        num_rows=len(log.rows),
        num_gone=len(log.rows) - len({*found.rows, *settled}),
        num_open=num_open,
        num_disputed=sum(logs.disputed(log, row, per_row) for row in found.rows),
        num_settled=len(settled),
        num_adjudicated=sum(row in log.decided for row in settled),
        num_unusable=sum(leaves_out(log.format, label) for label in settled.values()),
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
    timed = [*judged, *decided, *log.lost]
    known = (*desk.config.reviewers, *desk.config.adjudicators)
    for name in dict.fromkeys((*known, *(each.reviewer for each in timed))):
        yield Reviewer(
            name=name,
            num_judged=sum(each.reviewer == name for each in judged),
            num_left=len(desk.waiting(name)) if name in desk.config.reviewers else 0,
            num_decided=sum(each.reviewer == name for each in decided),
            seconds=round(sum(each.seconds or 0.0 for each in timed if each.reviewer == name), 3),
        )


def _agreement(desk: Desk) -> tuple[Agreement, ...]:
    from tunesmith.stages.evaluate.agreement import agreements

    rows = [desk.log.said(row) for row in desk.log.rows if row in desk.log.judged]
    return agreements(rows, seed=desk.project.file.project.seed)


def _saying(desk: Desk, actor: Actor, row: str, label: str, seconds: float | None) -> Saying:
    return Saying(
        row=row,
        who=actor.name,
        label=label,
        seconds=seconds,
        guidelines=desk.digest,
        extra=actor.body(),
    )


Record = Callable[[Transaction, ReviewConfig, Log, Saying], Judgement]


def _record(desk: Desk, saying: Saying, text: str, record: Record) -> Judgement:
    runner = desk.project.runner
    with corrections.keeping(runner.blobs) as keep, runner.database.write() as connection:
        log = logs.read(connection, desk.config.name)
        return record(connection, desk.config, log, correct(desk, log, saying, text, keep))


def correct(desk: Desk, log: Log, saying: Saying, text: str, keep: corrections.Put) -> Saying:
    """What is about to be said, with the row as it should be, if that is what is said.

    Raises:
        UsageError: a text is missing, or too much; or it is no correction of this row.
        NotFound: no version of the dataset has the row any more.
        StoreError: an earlier correction of the row cannot be read.
    """
    if saying.label not in log.answers or saying.row not in log.rows:
        return saying  # which is refused, with the reason
    corrections.require_text(saying, text, log.format)
    if not text:
        return saying
    if saying.row not in desk.contents:
        raise NotFound(
            f"{saying.where}row {saying.row} is gone: no version of the dataset has it any more",
            remedy=f"take the next one: `tunesmith review next {log.review}`",
        )
    content = corrections.made(desk.contents[saying.row], text, desk.tags, saying.where)
    form = corrections.form_of(desk.project.runner.blobs, log, saying.row, content)
    return replace(saying, correction=keep(content), form=form)


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
