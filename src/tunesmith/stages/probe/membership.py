"""Whether it can be told which rows a model was tuned on: membership inference.

By loss: Yeom et al., "Privacy Risk in Machine Learning", arXiv 1709.01604. By the least probable
tokens (Min-K% Prob): Shi et al., "Detecting Pretraining Data from Large Language Models", arXiv
2310.16789, K = 20.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tunesmith.core.errors import TooFewRows
from tunesmith.lm.lessons import lessons
from tunesmith.stages.probe.asked import Asked, Row, Subject
from tunesmith.stages.probe.figures import area
from tunesmith.stages.probe.found import Found, Line, Score
from tunesmith.stages.probe.tokens import token_log_probs

SHARE = 0.2
"""K: of the tokens of a row, the least probable that Min-K% takes the mean of; at least one."""
LEAST_ROWS = 10
"""Of each side: an area of fewer says nothing."""


def membership(asked: Asked) -> Found:
    """How well two scores tell rows that the model was tuned on from test rows: the area under the
    ROC curve of each, of the tuned model and, as a control, of its base.

    Raises:
        TooFewRows: there are too few rows on a side.
    """
    members = asked.rows(asked.dataset.train, asked.trained_on().__contains__)
    others = asked.rows(asked.dataset.test)
    if min(len(members), len(others)) < LEAST_ROWS:
        raise TooFewRows(
            f"there are {len(members)} rows that the model was tuned on and {len(others)} test "
            f"rows, and each side needs {LEAST_ROWS}",
            remedy="raise num_rows of the suite, or test_per_label of the dataset",
        )
    rows = [*members, *others]
    base, tuned = (
        _log_probs(asked, subject, rows, n * len(rows)) for n, subject in enumerate(asked.both)
    )
    scores = {
        f"area under the curve: {name}": tuple(
            [score(each) for each in side] for side in (base, tuned)
        )
        for name, score in (("loss", _mean), (f"Min-{100 * SHARE:.0f}%", least_probable))
    }
    figures = []
    for name, sides in scores.items():
        figures.append(
            area(
                name,
                *((side[: len(members)], side[len(members) :]) for side in sides),
                confidence=asked.config.confidence,
                seed=asked.ctx.seed,
            )
        )
    return Found(
        figures=figures,
        examples=[
            Line(
                row_id=row.row_id,
                check="tuned on" if number < len(members) else "test row",
                asked=row.text,
                base=f"Min-{100 * SHARE:.0f}% {least_probable(before):.4f}",
                tuned=f"Min-{100 * SHARE:.0f}% {least_probable(after):.4f}",
                base_score=_mean(before),
                tuned_score=_mean(after),
                scores=tuple(
                    Score(
                        figure=name,
                        base=sides[0][number],
                        tuned=sides[1][number],
                        size=number < len(members),
                    )
                    for name, sides in scores.items()
                ),
            )
            for number, (row, before, after) in enumerate(zip(rows, base, tuned, strict=True))
        ],
        notes=[f"{len(members)} rows that the model was tuned on, {len(others)} test rows"],
    )


def least_probable(log_probs: Sequence[float]) -> float:
    """The mean of the least probable tokens.

    >>> least_probable([-1.0, -9.0, -2.0, -3.0, -4.0, -5.0])
    -7.0
    """
    return _mean(sorted(log_probs)[: max(1, math.ceil(SHARE * len(log_probs)))])


def _log_probs(
    asked: Asked, subject: Subject, rows: Sequence[Row], before: int
) -> list[list[float]]:
    """Of each row, its tokens that are learnt, in nats."""
    loaded = subject.generative
    pieces = [
        list(
            lessons(
                loaded.tokenizer,
                subject.instruction,
                row.row_id,
                row.content,
                loaded.context_length,
            )
        )
        for row in rows
    ]
    done = asked.shown(2 * len(rows), "reads rows", before)
    found = iter(token_log_probs(loaded, [each for row in pieces for each in row], done))
    return [[token for _ in row for token in next(found)] for row in pieces]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
