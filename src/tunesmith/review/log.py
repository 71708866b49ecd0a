"""A review as the evidence has it. There is no other table: nothing was said that nobody said."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunesmith.core import erasure, evidence
from tunesmith.core.db import Transaction
from tunesmith.core.errors import Conflict, NotAllowed, NotFound, UsageError
from tunesmith.core.ref import Blob, from_plain, to_plain
from tunesmith.records.review import (
    ACCEPTED,
    BEGUN,
    DECIDED,
    JUDGED,
    UNUSABLE,
    Judgement,
    ReviewedLabels,
)
from tunesmith.sections import ReviewConfig


@dataclass(kw_only=True)
class Log:
    """All that was said in one review."""

    review: str
    format: str = "labels"
    """Of the rows."""
    labels: tuple[str, ...] = ()
    """What a row may be said to be, without `UNUSABLE`; of rows without labels the verdicts."""
    guidelines: str = ""
    """SHA-256 of those in force: a review of which none are was not begun."""
    rows: dict[str, None] = field(default_factory=dict)
    """Ids in the order in which they are looked at."""
    contents: dict[str, str] = field(default_factory=dict)
    """Row -> digest of what is judged, of rows without labels: a row that says something else in a
    later version, as when it was corrected there, is still shown as it was."""
    judged: dict[str, dict[str, Judgement]] = field(default_factory=dict)
    """Row -> who -> what they said."""
    decided: dict[str, Judgement] = field(default_factory=dict)
    lost: list[Judgement] = field(default_factory=list)
    """Those whose correction was erased for somebody's sake: of them the time alone counts."""
    accepted: Mapping[str, Any] | None = None
    """The newest `ReviewedLabels`, as JSON."""

    @property
    def answers(self) -> tuple[str, ...]:
        """All that may be said of a row."""
        return (*self.labels, UNUSABLE) if self.format == "labels" else self.labels

    @property
    def word(self) -> str:
        """What people say of a row."""
        return "label" if self.format == "labels" else "verdict"

    def said(self, row: str) -> dict[str, str]:
        """Who -> label; different corrections are different labels."""
        return {who: each.said for who, each in self.judged.get(row, {}).items()}

    def all_of(self, row: str) -> list[Judgement]:
        """All that was said of a row, what was decided last."""
        decided = [self.decided[row]] if row in self.decided else []
        return [*self.judged.get(row, {}).values(), *decided]


def read(connection: Transaction, review: str) -> Log:
    """What the evidence says of a review."""
    log, purged = Log(review=review), erasure.read(connection).purged
    for entry in evidence.entries(connection, BEGUN, JUDGED, DECIDED, ACCEPTED):
        body = entry.body
        if body["review"] != review:
            continue
        if entry.what == BEGUN:
            log.labels, log.guidelines = tuple(body["labels"]), body["guidelines"]
            log.format = body.get("format", "labels")
            log.rows.update(dict.fromkeys(body["rows"]))
            log.contents.update(body.get("contents", {}))
        elif entry.what == ACCEPTED:
            log.accepted = body["accepted"]
        else:
            said = _judgement(entry.actor, body)
            if said.correction is not None and said.correction.sha256 in purged:
                log.lost.append(said)
            else:
                _add(log, entry.what, said)
    return log


def missing(log: Log, row: str, per_row: int) -> bool:
    """Whether the row waits for a judgement; one that was decided waits for none."""
    return row not in log.decided and len(log.judged.get(row, ())) < per_row


def disputed(log: Log, row: str, per_row: int) -> bool:
    """Whether all who are to judge the row did, differed, and nobody decided yet."""
    said = set(log.said(row).values())
    return not missing(log, row, per_row) and len(said) > 1 and row not in log.decided


def settled(log: Log, row: str, per_row: int) -> str:
    """What the row is: as all said, or as was decided; empty while it is neither."""
    found = outcome(log, row, per_row)
    return found.label if found else ""


def outcome(log: Log, row: str, per_row: int) -> Judgement | None:
    """The decision about a row, or the first of those who all said the same; None while there is
    neither."""
    if row in log.decided:
        return log.decided[row]
    said = set(log.said(row).values())
    if len(said) != 1 or missing(log, row, per_row):
        return None
    return next(iter(log.judged[row].values()))


def may_judge(log: Log, row: str, who: str, per_row: int) -> bool:
    """Whether the row waits for a judgement, and `who` has not given theirs."""
    return missing(log, row, per_row) and who not in log.judged.get(row, ())


def may_decide(log: Log, row: str, who: str, per_row: int) -> bool:
    """Whether the row waits for a decision, and `who` is none of those who differed."""
    return disputed(log, row, per_row) and who not in log.judged[row]


# Adding to it, in the caller's transaction, which holds the write lock.


def begin(connection: Transaction, actor: str, log: Log, body: Mapping[str, Any]) -> None:
    """Put rows, labels and guidelines on record."""
    evidence.append(connection, BEGUN, actor, {"review": log.review, **body})


def accept(
    connection: Transaction, actor: str, labels: ReviewedLabels, extra: Mapping[str, Any]
) -> None:
    """Say that the labels may be used; `extra` is what else the evidence is to say."""
    body = {"review": labels.review, "accepted": labels, **extra}
    evidence.append(connection, ACCEPTED, actor, body)


@dataclass(frozen=True, kw_only=True, slots=True)
class Saying:
    """What somebody is about to say of a row."""

    row: str
    who: str
    label: str
    seconds: float | None
    guidelines: str
    """SHA-256 of those that the row was judged by."""
    where: str = ""
    """Where it stands, for messages: "task 3: " of a file."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What else the evidence is to say."""
    correction: Blob | None = None
    form: int = 0
    """See `Judgement`."""


def judge(connection: Transaction, config: ReviewConfig, log: Log, saying: Saying) -> Judgement:
    """Record a judgement.

    Raises:
        NotAllowed: whoever says it does not review.
        NotFound, UsageError, Conflict: see `_check`; or they, or enough others, judged the row.
    """
    where, row, who = saying.where, saying.row, saying.who
    require_role(config, who, decides=False, where=where)
    _check(log, saying)
    if who in log.judged.get(row, {}):
        raise Conflict(
            f"{where}{who} judged row {row} already",
            remedy="a judgement stays as it is; where people differ, another decides: "
            f"`tunesmith review adjudicate {log.review}`",
        )
    if not missing(log, row, config.per_row):
        others = "another decided" if row in log.decided else f"{config.per_row} others judged"
        raise Conflict(
            f"{where}{others} row {row} meanwhile",
            remedy=f"take the next one: `tunesmith review next {log.review}`",
        )
    return _say(connection, JUDGED, config, log, saying)


def decide(connection: Transaction, config: ReviewConfig, log: Log, saying: Saying) -> Judgement:
    """Record what a row is on which people differed.

    Raises:
        NotAllowed: whoever says it does not adjudicate, or judged the row.
        NotFound, UsageError, Conflict: see `_check`; or there is nothing to decide.
    """
    row, who = saying.row, saying.who
    require_role(config, who, decides=True)
    _check(log, saying)
    if not disputed(log, row, config.per_row):
        raise Conflict(
            f"there is nothing to decide about row {row}",
            remedy=f"see what there is: `tunesmith review adjudicate {log.review}`",
        )
    if who in log.judged[row]:
        others = ", ".join(name for name in config.adjudicators if name not in log.judged[row])
        raise NotAllowed(
            f"{who} judged row {row}, so another has to decide",
            remedy=f"ask one of: {others or 'nobody yet; name another in `adjudicators`'}",
        )
    return _say(connection, DECIDED, config, log, saying)


def require_role(config: ReviewConfig, who: str, *, decides: bool, where: str = "") -> None:
    """Raise NotAllowed unless `who` reviews, or adjudicates."""
    names = config.adjudicators if decides else config.reviewers
    if who not in names:
        raise NotAllowed(
            f"{where}{who} may not {'adjudicate' if decides else 'judge rows'} in review "
            f"{config.name!r}",
            remedy=f"ask one of: {', '.join(names)}",
        )


def _check(log: Log, saying: Saying) -> None:
    """Raise NotFound for a row that is not in the review, UsageError for a label that it does not
    have, Conflict for guidelines that are not in force."""
    where, row, label = saying.where, saying.row, saying.label
    if row not in log.rows:
        raise NotFound(
            f"{where}there is no row {row!r} in review {log.review!r}",
            remedy=f"see which is next: `tunesmith review next {log.review} --json`",
        )
    known = log.answers
    if label not in known:
        near = difflib.get_close_matches(label, known, n=1)
        raise UsageError(
            f"{where}{label!r} is no {log.word} of review {log.review!r}",
            remedy=f"did you mean {near[0]!r}?" if near else f"there is: {', '.join(known)}",
        )
    if saying.guidelines != log.guidelines:
        raise Conflict(
            f"{where}row {row} was judged by other guidelines (sha256 {saying.guidelines[:12]}) "
            f"than are in force ({log.guidelines[:12]})",
            remedy="judge it by those in force; where these are the wrong ones, put the file as it "
            f"is now on record: `tunesmith review start {log.review}`",
        )


def _say(
    connection: Transaction, what: str, config: ReviewConfig, log: Log, saying: Saying
) -> Judgement:
    seconds = saying.seconds
    if seconds is not None:
        seconds = round(min(seconds, config.idle_after_s), 3)
    body = {
        "review": log.review,
        "row": saying.row,
        "label": saying.label,
        "seconds": seconds,
        "guidelines": saying.guidelines,
        **saying.extra,
    }
    if saying.correction is not None:
        body |= {"kept": [saying.correction], "form": saying.form}
    evidence.append(connection, what, saying.who, body)
    made = _judgement(saying.who, to_plain(body))
    _add(log, what, made)
    return made


def _judgement(who: str, body: Mapping[str, Any]) -> Judgement:
    return Judgement(
        row=body["row"],
        reviewer=who,
        label=body["label"],
        seconds=body["seconds"],
        guidelines=body["guidelines"],
        correction=next((from_plain(Blob, each) for each in body.get("kept", ())), None),
        form=body.get("form", 0),
    )


def _add(log: Log, what: str, made: Judgement) -> None:
    if what == JUDGED:
        log.judged.setdefault(made.row, {})[made.reviewer] = made
    else:
        log.decided[made.row] = made
