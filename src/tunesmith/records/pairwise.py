"""What a model that judges held of pairs of answers: an opinion, told apart from what is measured
wherever it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.core.ref import Blob
from tunesmith.records.review import Agreement

NUM_DIGITS = 12
"""Of a digest, as shown to people."""
BASE = "base"


@dataclass(frozen=True, kw_only=True, slots=True)
class Preferences:
    """Which answers to a task people prefer, as their file was when it was read."""

    task: str
    text: str
    """JSON Lines."""


@dataclass(frozen=True, kw_only=True, slots=True)
class People:
    """What people prefer, of several tasks."""

    of: tuple[Preferences, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdicts:
    """What a judge said of each answer of a model beside another's.

    `pairs` is Parquet with `row_id`, `asked` (as the judge saw it), `other`, `tuned` (the answers),
    `other_chars`, `tuned_chars`, `tuned_first` and `tuned_second` (by how many nats the judge holds
    the tuned model's answer better where it is shown first, and second), `outcome` (1 where the
    tuned model's won in both orders, -1 where the other's did, else 0) and `tie` ("same answer",
    "order", or empty).
    """

    task: str
    task_version: str
    versus: str
    """Whose answers stand beside: "base", or a version such as "desk@1"."""
    judge: str
    """Name of the base model that judges."""
    judge_origin: str
    judge_sha256: str
    """Of its weights."""
    question: str
    """What it is asked of each pair."""
    question_sha256: str
    own_base: tuple[str, ...]
    """Of "tuned" and `versus` those whose base model has the judge's weights."""
    own_tokenizer: tuple[str, ...]
    """Of the others those whose base model has the judge's tokens: likely one family."""
    num_rows: int
    pairs: Blob


@dataclass(frozen=True, kw_only=True, slots=True)
class AtEqualLength:
    """What a win rate would be if the two answers of each pair were equally long, and its
    interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class WinRate:
    """What the verdicts of a judge come to: of all pairs how many each side won."""

    verdicts: Verdicts
    value: float
    """Share of pairs that the tuned model's answer won, ties as half."""
    low: float
    high: float
    confidence: float
    p_value: float
    """Of the exact sign test of "neither is better", two-sided."""
    num_won: int
    num_lost: int
    num_same: int
    """Ties as both answers are the same; the judge was not asked."""
    num_flipped: int
    """Ties as another answer won when the order was exchanged."""
    num_flipped_first: int
    """Of those, where the answer shown first won each time; else the second did."""
    num_longer_won: int
    num_lengths_differ: int
    """Of the pairs that have a winner, those whose answers have not the same length."""
    at_equal_length: AtEqualLength | None = None
    """None where too few pairs were won, or lost, to say it."""
    agreement: Agreement | None = None
    """With people, on the pairs that they judged too; None where they judged none."""
    num_stale: int = 0
    """Judgements of people on other answers than those that were compared."""
    warnings: tuple[str, ...] = ()
    """Why the verdicts may mislead, a sentence each."""

    @property
    def num_asked(self) -> int:
        """Pairs that the judge was asked about."""
        return self.verdicts.num_rows - self.num_same

    def said(self) -> Iterator[str]:
        """For people; the first sentence says that a model judged."""
        of = self.verdicts
        yield (
            f"task {of.task}, JUDGED BY A MODEL ({of.judge}, {of.judge_origin}, sha256 "
            f"{of.judge_sha256[:NUM_DIGITS]}; question sha256 {of.question_sha256[:NUM_DIGITS]}): "
            f"win rate beside {of.versus} {self.value:.1%} ({self.low:.1%} to {self.high:.1%} "
            f"at {self.confidence:.0%} confidence); of {of.num_rows} pairs {self.num_won} won, "
            f"{self.num_lost} lost, the others tied; exact sign test: p = {self.p_value:.3g}"
        )
        if self.num_asked:
            yield (
                f"the verdict changed with the order of the answers in {self.num_flipped} of "
                f"{self.num_asked} pairs ({self.num_flipped / self.num_asked:.0%}), which count as "
                f"ties; {self.num_flipped_first} of them went to whichever was shown first"
            )
        if self.num_same:
            yield f"{self.num_same} pairs are of the same answer twice, and count as ties"
        if self.num_lengths_differ:
            share = self.num_longer_won / self.num_lengths_differ
            yield (
                f"the longer answer won {self.num_longer_won} of {self.num_lengths_differ} decided "
                f"pairs ({share:.0%})"
            )
            yield self._at_equal_length()
        yield from self._with_people()
        yield from (f"warning: {each}" for each in self.warnings)

    def _at_equal_length(self) -> str:
        found = self.at_equal_length
        if found is None:
            return (
                "win rate at equal length: not known, as that takes twenty pairs won and as many "
                "lost, of which some differ more in length than others"
            )
        return (
            f"win rate at equal length: {found.value:.1%} ({found.low:.1%} to {found.high:.1%} at "
            f"{self.confidence:.0%} confidence), by logistic regression on the difference in length"
        )

    def _with_people(self) -> Iterator[str]:
        found = self.agreement
        if found is None:
            yield "agreement with people: not known"
        elif found.value is None:
            yield f"agreement with people: not defined on {found.num_rows} pairs"
        else:
            within = (
                f" ({found.low:.2f} to {found.high:.2f})"
                if found.low is not None and found.high is not None
                else ""
            )
            yield (
                f"agreement with people: Cohen's kappa {found.value:.2f}{within} on "
                f"{found.num_rows} pairs"
            )
        if self.num_stale:
            yield (
                f"{self.num_stale} judgements of people are of other answers than these, and were "
                "left out"
            )
