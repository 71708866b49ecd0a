"""What the verdicts of a judge come to: who won how often, and what may have misled the judge.

The sign test: Dixon and Mood, JASA 41 (1946), on the pairs that have a winner. Of position and
length: Zheng et al. (2023); Shi et al., arXiv 2406.07791; Dubois et al., arXiv 2404.04475. Of
people: Cohen's kappa.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq
from scipy.stats import binomtest

from tunesmith.core.blobs import Blobs
from tunesmith.core.errors import DataError
from tunesmith.paired.bootstrap import NUM_RESAMPLES, Interval
from tunesmith.paired.difference import of_outcomes
from tunesmith.records.evaluation import WIN_RATE, Comparison
from tunesmith.records.pairwise import BASE, Preferences, Verdicts, WinRate
from tunesmith.records.review import Agreement
from tunesmith.stages.evaluate.agreement import kappa
from tunesmith.stages.evaluate.compare import Asking
from tunesmith.stages.evaluate.lengths import at_equal_length
from tunesmith.stages.evaluate.people import Preferred, read_people
from tunesmith.stages.evaluate.predictions import SHOWN

SIGN_TEST = "exact sign test"
KAPPA = "Cohen's kappa of the judge and people"
_SIDES = {1: "tuned", 0: "tie", -1: "base"}
_SURE = 0.95
"""Of what is warned of."""
Row = Mapping[str, Any]


def compared_pairs(verdicts: Verdicts, blobs: Blobs, asking: Asking) -> Comparison:
    """The win rate of the tuned model minus that of what stands beside, ties as half to each.

    Raises:
        DataError: no pair is left.
    """
    rows = _rows(verdicts, blobs)
    asked = [row for row in rows if asking.only is None or row["row_id"] in asking.only.row_ids]
    left = [row for row in asked if row["row_id"] not in asking.left_out]
    if not left:
        raise DataError(
            f"there is no pair of task {verdicts.task} on which {verdicts.versus} could be "
            "compared: it was tuned on each",
            remedy="add rows that neither model was tuned on",
        )
    outcomes = [row["outcome"] for row in left]
    found, p_value = _between(outcomes, asking.confidence)
    return Comparison(
        metric=WIN_RATE,
        base=(1 - found.difference) / 2,
        tuned=(1 + found.difference) / 2,
        difference=found.difference,
        low=found.low,
        high=found.high,
        confidence=asking.confidence,
        num_rows=len(left),
        num_resamples=NUM_RESAMPLES,
        detectable=found.detectable,
        versus=verdicts.versus,
        test=SIGN_TEST,
        p_value=p_value,
        num_won=outcomes.count(1),
        num_lost=outcomes.count(-1),
        num_left_out=len(asked) - len(left),
        task=verdicts.task,
        slice=asking.only.said if asking.only else "",
    )


def win_rate(
    verdicts: Verdicts,
    blobs: Blobs,
    people: Preferences | None,
    *,
    confidence: float,
    seed: int,
) -> WinRate:
    """The win rate over all pairs, with all that says how far it can be trusted.

    Raises:
        DataError: the judgements of people cannot be read.
    """
    rows = _rows(verdicts, blobs)
    flipped = [row for row in rows if row["tie"] == "order"]
    decided = [row for row in rows if row["outcome"] and row["tuned_chars"] != row["other_chars"]]
    longer = sum(
        (row["tuned_chars"] > row["other_chars"]) == (row["outcome"] > 0) for row in decided
    )
    agreement, num_stale = None, 0
    if people is not None and verdicts.versus == BASE:
        agreement, num_stale = _with_people(rows, read_people(people.text, people.task), seed)
    outcomes = [row["outcome"] for row in rows]
    found, p_value = _between(outcomes, confidence)
    level = at_equal_length(
        outcomes,
        [(row["tuned_chars"], row["other_chars"]) for row in rows],
        confidence=confidence,
        seed=seed,
    )
    num_same = sum(row["tie"] == "same answer" for row in rows)
    return WinRate(
        verdicts=verdicts,
        value=(1 + found.difference) / 2,
        low=(1 + found.low) / 2,
        high=(1 + found.high) / 2,
        confidence=confidence,
        p_value=p_value,
        num_won=sum(row["outcome"] == 1 for row in rows),
        num_lost=sum(row["outcome"] == -1 for row in rows),
        num_same=num_same,
        num_flipped=len(flipped),
        num_flipped_first=sum(row["tuned_first"] > 0 for row in flipped),
        num_longer_won=longer,
        num_lengths_differ=len(decided),
        at_equal_length=level,
        agreement=agreement,
        num_stale=num_stale,
        warnings=(
            *_own(verdicts),
            *_of_order(len(flipped), len(rows) - num_same),
            *_of_length(longer, len(decided)),
            *_of_people(agreement),
        ),
    )


def _rows(verdicts: Verdicts, blobs: Blobs) -> list[Row]:
    rows: list[Row] = pq.read_table(io.BytesIO(blobs.get(verdicts.pairs))).to_pylist()
    return rows


def _between(outcomes: Sequence[int], confidence: float) -> tuple[Interval, float]:
    """The share won minus the share lost, with its interval; and the p-value of the sign test."""
    won, lost = outcomes.count(1), outcomes.count(-1)
    interval = of_outcomes(won, lost, len(outcomes), confidence)
    return interval, float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def _with_people(
    rows: Collection[Row], people: Mapping[str, Preferred], seed: int
) -> tuple[Agreement | None, int]:
    """How far the judge agrees with people, and how many of these saw other answers."""
    both = [(row, people[row["row_id"]]) for row in rows if row["row_id"] in people]
    fresh = [
        (row, said)
        for row, said in both
        if all(
            row["tuned" if side == "tuned" else "other"].strip() == text.strip()[:SHOWN].strip()
            for side, text in said.answers.items()
        )
    ]
    pairs = [(_SIDES[row["outcome"]], said.side) for row, said in fresh]
    return kappa(pairs, KAPPA, seed=seed) if pairs else None, len(both) - len(fresh)


def _own(verdicts: Verdicts) -> list[str]:
    said = []
    if verdicts.own_base:
        said.append(
            f"the judge has the weights that {' and '.join(verdicts.own_base)} came from, and may "
            "favour what it would say itself"
        )
    if verdicts.own_tokenizer:
        said.append(
            f"the judge has the tokens of {' and '.join(verdicts.own_tokenizer)}, so it is likely "
            "of one family, and may favour what it would say itself"
        )
    return said


def _of_order(num_flipped: int, num_asked: int) -> list[str]:
    """Whoever draws lots changes his mind in half of the pairs."""
    if not num_asked:
        return []
    high = binomtest(num_flipped, num_asked).proportion_ci(_SURE, "wilson").high
    if high < 0.5:
        return []
    return [
        f"the order of the answers changed {num_flipped} of {num_asked} verdicts, and it cannot be "
        "told from this that the judge does better than drawing lots, which would change half"
    ]


def _of_length(num_longer: int, num_decided: int) -> list[str]:
    if not num_decided:
        return []
    if binomtest(num_longer, num_decided).pvalue > 1 - _SURE:
        return []
    which, count = (
        ("longer", num_longer)
        if 2 * num_longer > num_decided
        else ("shorter", num_decided - num_longer)
    )
    return [
        f"the {which} answer won {count} of {num_decided} decided pairs, more than chance would "
        "bring: length may have decided and not what is said"
    ]


def _of_people(agreement: Agreement | None) -> list[str]:
    if agreement is None or agreement.value is None or (agreement.low or 0.0) > 0:
        return []
    return [
        f"the {agreement.num_rows} pairs that people judged too do not show that the judge agrees "
        "with them more than by chance"
    ]
