from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from tunesmith.paired import bootstrap, macro, sums
from tunesmith.paired.bootstrap import Interval, bootstrap_mean, paired_bootstrap
from tunesmith.paired.difference import no_difference, not_beyond
from tunesmith.paired.macro import detectable_macro_f1
from tunesmith.paired.power import (
    SHARE,
    detectable,
    from_interval,
    in_nats,
    what_could_show,
)
from tunesmith.paired.sums import of_labels, of_one, of_tokens, of_two


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_detectable_difference_is_found_four_times_out_of_five(share: float) -> None:
    """Simulated: McNemar's exact test, on 400 rows."""
    num_rows = 400
    gap = detectable(num_rows, 0.95, share)
    won, lost = (share + gap) / 2, (share - gap) / 2
    counts = np.random.default_rng(0).multinomial(num_rows, [won, lost, 1 - share], size=2000)
    p_value = 2 * stats.binom.cdf(counts[:, 1], counts[:, 0] + counts[:, 1], 0.5)

    assert (p_value < 0.05).mean() == pytest.approx(0.8, abs=0.03)


def test_what_could_be_shown_is_said_in_points_or_not_at_all() -> None:
    assert "13.8 points" in what_could_show("labels", 96, 0.95)
    assert "29.6 points" in what_could_show("labels", 96, 0.95)
    assert "0.29 nats can" in what_could_show("chat", 96, 0.95)
    assert "assumed, as no model was asked yet" in what_could_show("chat", 96, 0.95)
    assert "0.29 standard deviations" in what_could_show("feedback", 96, 0.95)
    assert "factor of 1.33" in in_nats("96 rows", "perplexity", 96, 0.95)


def test_of_unbounded_rows_so_many_standard_deviations_are_found_four_times_out_of_five() -> None:
    """Simulated: a t-test of 96 differences whose mean is 0.286 of their standard deviation."""
    gap = detectable(96, 0.95, math.inf)
    rows = np.random.default_rng(0).normal(gap, 1.0, size=(4000, 96))

    assert f"{gap:.2f}" == "0.29"
    assert (stats.ttest_1samp(rows, 0.0, axis=1).pvalue < 0.05).mean() == pytest.approx(
        0.8, abs=0.04
    )


def test_scores_between_0_and_1_need_no_more_rows_than_right_and_wrong() -> None:
    """Simulated: half of the rows differ, by up to 1, on average by as much as is detectable."""
    gap = detectable(400, 0.95, 0.5)
    draws = np.random.default_rng(1)
    differs = draws.random((2000, 400)) < 0.5
    rows = np.where(differs, np.clip(draws.normal(2 * gap, 0.5, (2000, 400)), -1, 1), 0.0)

    assert (stats.ttest_1samp(rows, 0.0, axis=1).pvalue < 0.05).mean() > 0.8


@pytest.fixture
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand in place of ten: each of many simulated runs is decided as a gate decides."""
    monkeypatch.setattr(bootstrap, "NUM_RESAMPLES", 1000)
    monkeypatch.setattr(sums, "NUM_RESAMPLES", 1000)


def half_together(draws: np.random.Generator, num_rows: int) -> Iterator[np.ndarray]:
    """Two standard normal scores of each row that correlate by a half."""
    shared = draws.normal(size=num_rows)
    for _ in range(2):
        yield (shared + draws.normal(size=num_rows)) / math.sqrt(2)


@pytest.mark.usefixtures("fewer_resamples")
def test_of_log_likelihoods_what_the_base_model_says_can_be_shown_is_shown() -> None:
    """Simulated: 60 rows; the gap is taken from one base model's interval."""
    draws, found = np.random.default_rng(2), 0
    base = bootstrap_mean(0.7 * draws.normal(size=60) - 2, confidence=0.95, seed=0)
    gap = from_interval(base.low, base.high, 0.95)
    assert gap == pytest.approx(2.8 * 0.7 / math.sqrt(60), rel=0.2)
    for seed in range(200):
        before, after = (0.7 * scores - 2 for scores in half_together(draws, 60))
        interval = paired_bootstrap(before, after + gap, confidence=0.95, seed=seed)
        _, p_value = no_difference(list(before), list(after + gap), seed)
        found += not_beyond(interval, p_value, 0.95).low > 0
    assert 0.7 <= found / 200 <= 0.9


@pytest.mark.usefixtures("fewer_resamples")
def test_of_perplexity_what_the_base_model_says_can_be_shown_is_shown() -> None:
    """Simulated: 80 rows of 5 to 60 tokens; the tuned model's perplexity is lower by the gap."""
    draws, found = np.random.default_rng(3), 0
    counts = draws.integers(5, 60, 80)
    nats = counts * (2 + 0.5 * draws.normal(size=80))
    base = of_one(of_tokens(nats, counts, perplexity=True), confidence=0.95, seed=0)
    gap = from_interval(base.low, base.high, 0.95)
    better = -math.log(1 - gap / math.exp(2))
    for seed in range(150):
        before, after = (counts * (2 + 0.5 * scores) for scores in half_together(draws, 80))
        pair = (
            of_tokens(each, counts, perplexity=True) for each in (before, after - better * counts)
        )
        interval, p_value = of_two(*pair, confidence=0.95, seed=seed)
        found += not_beyond(interval, p_value, 0.95).high < 0
    assert 0.7 <= found / 150 <= 0.9


@pytest.mark.usefixtures("fewer_resamples")
@pytest.mark.parametrize("counts", [[24, 24, 24, 24], [100, 60, 30, 10], [5] * 10])
def test_of_macro_f1_what_the_labels_let_expect_is_shown(counts: list[int]) -> None:
    """Simulated: models right on 70 % of the rows that differ on a fifth of them, by so much that
    their macro-F1 differs on average by what is said."""
    said = detectable_macro_f1(counts, 0.95, 0.2)
    intervals = drawn_intervals(counts, said)
    assert np.mean([each.difference for each in intervals]) == pytest.approx(said, abs=0.015)
    assert 0.7 <= np.mean([each.low > 0 for each in intervals]) <= 0.9


@pytest.mark.usefixtures("fewer_resamples")
@pytest.mark.parametrize("counts", [[5, 5, 5, 5], [8, 8], [7, 6, 4]])
def test_of_too_few_rows_the_spread_says_more_than_models_can_differ(counts: list[int]) -> None:
    """Even where one model wins each row on which the two differ, it is found too seldom."""
    usual = detectable_macro_f1(counts, 0.95, 0.2)
    assert usual > SHARE
    intervals = drawn_intervals(counts, 0.2)
    assert np.mean([each.low > 0 for each in intervals]) < 0.7
    assert np.mean([each.difference for each in intervals]) < usual


def drawn_intervals(counts: list[int], better_by: float) -> list[Interval]:
    """Of the macro-F1 of pairs of models that differ on a fifth of the rows, the second right on
    `better_by` more of them."""
    draws = np.random.default_rng(4)
    truth = np.repeat(np.arange(len(counts)), counts)
    labels = [str(label) for label in range(len(counts))]
    intervals = []
    for seed in range(120):
        way = draws.random(len(truth))
        lost = (0.2 - better_by) / 2
        right = (way < 0.6 + lost, (way < 0.6) | ((way >= 0.6 + lost) & (way < 0.8)))
        both = []
        for hit in right:
            wrong = (truth + draws.integers(1, len(counts), len(truth))) % len(counts)
            if len(set(counts)) > 1:  # as often as the labels occur
                wrong = np.array([draws.choice(truth[truth != label]) for label in truth])
            predicted = np.where(hit, truth, wrong)
            both.append(of_labels(truth.astype(str), predicted.astype(str), labels))
        interval, p_value = of_two(*both, confidence=0.95, seed=seed)
        intervals.append(not_beyond(interval, p_value, 0.95))
    return intervals


def test_many_labels_are_simulated_by_fewer_draws_that_say_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = detectable_macro_f1([6] * 80, 0.95, 0.2)
    monkeypatch.setattr(macro, "LEAST_DRAWS", macro.NUM_DRAWS)
    macro._simulated.cache_clear()
    whole = detectable_macro_f1([6] * 80, 0.95, 0.2)
    macro._simulated.cache_clear()
    assert few != whole  # other draws
    assert few == pytest.approx(whole, rel=0.1)


def test_a_rare_label_makes_macro_f1_hard_to_tell() -> None:
    assert detectable_macro_f1([200, 20, 5], 0.95, 0.2) > 1.3 * detectable(225, 0.95, 0.2)
    assert detectable_macro_f1([7], 0.95, 0.2) > 0  # one label: nothing else to be given
