from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tunesmith.records.pairwise import AtEqualLength
from tunesmith.stages.evaluate.lengths import ENOUGH, PRIOR_SD, at_equal_length

Pairs = tuple[list[int], list[tuple[int, int]]]


def judged(num_pairs: int, level: float, slope: float, seed: int, longer: float = 60.0) -> Pairs:
    """Pairs of which the model's answers are `longer` on average, and win by `level` and length; a
    tenth tied."""
    draws = np.random.default_rng(seed)
    gaps = draws.normal(longer, 100, num_pairs).round().astype(int)
    covariate = np.tanh(gaps / gaps.std())
    won = draws.random(num_pairs) < 1 / (1 + np.exp(-(level + slope * covariate)))
    outcomes = np.where(draws.random(num_pairs) < 0.1, 0, 2 * won.astype(int) - 1)
    return outcomes.tolist(), [(500 + gap, 500) for gap in gaps.tolist()]


def found(pairs: Pairs, confidence: float = 0.95) -> AtEqualLength | None:
    return at_equal_length(*pairs, confidence=confidence, seed=0)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_logistic_regression_of_scikit_learn(seed: int) -> None:
    """A tie is there half won and half lost; the same prior is its penalty."""
    outcomes, lengths = judged(200, 0.3, 1.5, seed)
    gaps = np.array([mine - other for mine, other in lengths], float)
    covariate = np.tanh(gaps / gaps.std())[:, None]
    won = (1 + np.array(outcomes)) / 2
    model = LogisticRegression(C=PRIOR_SD**2, tol=1e-10, max_iter=1000).fit(
        np.concatenate([covariate, covariate]),
        np.repeat([1, 0], len(won)),
        sample_weight=np.concatenate([won, 1 - won]),
    )

    at_level = found((outcomes, lengths))

    assert at_level is not None
    assert at_level.value == pytest.approx(model.predict_proba([[0.0]])[0, 1], abs=1e-5)


def test_a_judge_who_goes_by_length_alone_finds_no_winner_at_equal_length() -> None:
    outcomes, lengths = judged(400, 0.0, 3.0, 1)
    at_level = found((outcomes, lengths))

    assert np.mean([(1 + each) / 2 for each in outcomes]) > 0.6
    assert at_level is not None
    assert at_level.low < 0.5 < at_level.high
    assert at_level.high < 0.6


def test_where_length_does_not_matter_it_is_the_win_rate() -> None:
    outcomes, lengths = judged(1000, 0.8, 0.0, 2)
    at_level = found((outcomes, lengths))

    assert at_level is not None
    assert at_level.value == pytest.approx(np.mean([(1 + e) / 2 for e in outcomes]), abs=0.03)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Simulated: half of the decided pairs are won at equal length, of 150 pairs, 60 times."""
    intervals = [found(judged(150, 0.0, 1.5, seed), 0.9) for seed in range(60)]
    held = [each.low <= 0.5 <= each.high for each in intervals if each is not None]

    assert len(held) == 60
    assert np.mean(held) >= 0.82


def test_the_longer_answer_may_always_win() -> None:
    """Without a prior the slope would have no end."""
    gaps = [-300, -200, -100, 100, 200, 300] * 10
    at_level = found(([int(np.sign(gap)) for gap in gaps], [(500 + gap, 500) for gap in gaps]))

    assert at_level is not None
    assert 0 < at_level.low < at_level.value < at_level.high < 1
    assert at_level.value == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("num_won", "num_lost", "gaps"),
    [(100, 2 * ENOUGH - 1, (10, 20)), (2 * ENOUGH - 1, 100, (10, 20)), (50, 50, (10, 10))],
)
def test_of_too_few_pairs_nothing_is_said(
    num_won: int, num_lost: int, gaps: tuple[int, int]
) -> None:
    outcomes = [1] * num_won + [-1] * num_lost
    lengths = [(100 + gaps[n % 2], 100) for n in range(len(outcomes))]

    assert found((outcomes, lengths)) is None
