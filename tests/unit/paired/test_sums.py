from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score

from tunesmith.paired.sums import (
    Sums,
    of_labels,
    of_one,
    of_seen,
    of_tags,
    of_tokens,
    of_two,
)
from tunesmith.stages.evaluate.metrics import counts_by_label
from tunesmith.stages.evaluate.predictions import Predictions

LABELS = ("a", "b", "c")


def said(truth: list[str], predicted: list[str]) -> Predictions:
    return Predictions(
        row_ids=tuple(map(str, range(len(truth)))),
        truth=tuple(truth),
        predicted=tuple(predicted),
        scores=tuple(float(t == p) for t, p in zip(truth, predicted, strict=True)),
        losses=(0.0,) * len(truth),
    )


def drawn(num_rows: int, right: float, seed: int) -> Predictions:
    generator = np.random.default_rng(seed)
    truth = [LABELS[row % 3] for row in range(num_rows)]
    other = generator.choice(LABELS, num_rows).tolist()
    is_right = generator.random(num_rows) < right
    return said(truth, [t if r else o for t, o, r in zip(truth, other, is_right, strict=True)])


def sums(said: Predictions) -> Sums:
    return of_labels(said.truth, said.predicted, LABELS)


def test_macro_f1_and_its_interval_are_those_of_scikit_learn_and_scipy() -> None:
    before, after = drawn(90, 0.3, 1), drawn(90, 0.7, 2)

    def macro(one: Predictions, rows: list[int]) -> float:
        kept = one.at(rows)
        return float(
            f1_score(kept.truth, kept.predicted, labels=LABELS, average="macro", zero_division=0)
        )

    interval, p_value = of_two(sums(before), sums(after), confidence=0.9, seed=0)
    alone = of_one(sums(after), confidence=0.9, seed=0)

    everything = list(range(90))
    assert interval.difference == pytest.approx(
        macro(after, everything) - macro(before, everything)
    )
    assert alone.mean == pytest.approx(macro(after, everything))
    generator = np.random.default_rng(9)
    resampled = [generator.integers(0, 90, 90).tolist() for _ in range(400)]
    pairs = [(macro(before, rows), macro(after, rows)) for rows in resampled]
    low, high = np.quantile([second - first for first, second in pairs], [0.05, 0.95])
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.03)
    low, high = np.quantile([second for _, second in pairs], [0.05, 0.95])
    assert (alone.low, alone.high) == pytest.approx((low, high), abs=0.03)
    assert p_value < 0.01
    assert of_two(sums(after), sums(after), confidence=0.9, seed=0)[1] == 1.0


def token_rows(seed: int, better_by: float) -> tuple[list[float], list[float], list[int]]:
    """What the tokens of 80 rows cost two models, in nats; long rows cost less a token."""
    draws = np.random.default_rng(seed)
    counts = draws.integers(1, 60, 80)
    by_token = 3.0 - counts / 40 + draws.normal(0, 0.4, 80)
    before = counts * by_token
    after = counts * (by_token - better_by + draws.normal(0, 0.2, 80))
    return before.tolist(), after.tolist(), counts.tolist()


def test_perplexity_is_resampled_as_the_ratio_that_it_is() -> None:
    """Beside scipy's paired bootstrap of the same ratio, over rows; a mean of the rows' own
    perplexities, or of their losses, is another number."""
    before, after, counts = token_rows(3, 0.15)

    def gap(one, other, tokens, axis=-1):
        totals = [each.sum(axis=axis) / tokens.sum(axis=axis) for each in (one, other)]
        return np.exp(totals[1]) - np.exp(totals[0])

    expected = stats.bootstrap(
        (np.array(before), np.array(after), np.array(counts)),
        gap,
        paired=True,
        vectorized=True,
        n_resamples=10_000,
        confidence_level=0.9,
        method="percentile",
        rng=np.random.default_rng(11),
    ).confidence_interval
    first, second = (of_tokens(nats, counts, perplexity=True) for nats in (before, after))
    found, p_value = of_two(first, second, confidence=0.9, seed=0)

    assert second.value == pytest.approx(np.exp(sum(after) / sum(counts)))
    assert second.value != pytest.approx(np.mean(np.exp(np.divide(after, counts))), rel=0.1)
    assert found.difference == pytest.approx(second.value - first.value)
    width = expected.high - expected.low
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.06 * width)
    assert found.high < 0
    assert p_value < 0.01


def test_the_permutation_test_of_a_ratio_is_that_of_scipy() -> None:
    before, after, counts = token_rows(4, 0.04)
    tokens = np.array(counts)

    def gap(x, y, axis):
        return x.sum(axis=axis) / tokens.sum() - y.sum(axis=axis) / tokens.sum()

    expected = stats.permutation_test(
        (np.array(after), np.array(before)),
        gap,
        permutation_type="samples",
        vectorized=True,
        n_resamples=10_000,
        rng=np.random.default_rng(3),
    ).pvalue
    first, second = (of_tokens(nats, counts, perplexity=False) for nats in (before, after))

    assert of_two(first, second, confidence=0.95, seed=0)[1] == pytest.approx(expected, abs=0.02)
    assert of_two(first, first, confidence=0.95, seed=0)[1] == 1.0


@given(scale=st.floats(0.01, 20), seed=st.integers(0, 50))
def test_a_row_that_stands_twice_counts_twice(scale: float, seed: int) -> None:
    """So does a row of twice as many tokens that costs twice as much."""
    before, _, counts = token_rows(seed, 0.0)
    nats = [scale * each for each in before]
    twice = of_tokens([*nats, nats[0]], [*counts, counts[0]], perplexity=False)
    longer = of_tokens([2 * nats[0], *nats[1:]], [2 * counts[0], *counts[1:]], perplexity=False)

    assert twice.value == pytest.approx(longer.value)


def test_f1_of_tags_is_that_of_scikit_learn() -> None:
    draws = np.random.default_rng(1)
    tags = ("B", "I", "O")
    truth = [draws.choice(tags, size).tolist() for size in draws.integers(1, 9, 40)]
    said = [
        [tag if draws.random() < 0.7 else str(draws.choice(tags)) for tag in row] for row in truth
    ]
    counts = [counts_by_label(one, other, tags) for one, other in zip(truth, said, strict=True)]

    flat = [tag for row in truth for tag in row], [tag for row in said for tag in row]
    macro = f1_score(*flat, labels=tags, average="macro")
    micro = f1_score(*flat, labels=["B", "I"], average="micro")
    assert of_tags(counts).value == pytest.approx(macro)
    assert of_tags(counts, meant=[0, 1]).value == pytest.approx(micro)
    within = of_one(of_tags(counts, meant=[0, 1]), confidence=0.95, seed=0)
    assert within.low < micro < within.high


def test_rows_without_a_token_have_no_loss() -> None:
    assert of_tokens([0.0], [0], perplexity=True).value == 1.0


LABEL = st.sampled_from(LABELS)


@given(rows=st.lists(st.tuples(LABEL, LABEL, LABEL), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_an_interval_of_macro_f1_holds_what_was_found(rows: list[tuple[str, str, str]]) -> None:
    truth, one, other = zip(*rows, strict=True)
    tags = [
        of_tags([counts_by_label([t], [p], LABELS) for t, p in zip(truth, said, strict=True)])
        for said in (one, other)
    ]
    for pair in ([of_labels(truth, said, LABELS) for said in (one, other)], tags):
        for sums in (*pair, *of_seen(*pair)):
            within = of_one(sums, confidence=0.9, seed=0)
            assert 0 <= within.low <= within.mean <= within.high <= 1
        found, _ = of_two(*pair, confidence=0.9, seed=0)
        assert -1 <= found.low <= found.difference <= found.high <= 1


@pytest.mark.parametrize("rows_each", [1, 2, 4])
def test_a_model_that_is_right_on_each_row_may_be_wrong_on_others(rows_each: int) -> None:
    """As of any share: of n right rows one can be sure of about 1 - 3 / n, and of nothing more;
    and no label that was not drawn counts as 0."""
    labels = [f"l{number}" for number in range(50)]
    truth = labels * rows_each
    within = of_one(of_labels(truth, truth, labels), confidence=0.95, seed=0)

    assert (within.mean, within.high) == pytest.approx((1, 1))
    assert 1 - 6 / len(truth) < within.low < 1 - 2.5 / len(truth)
    counts = [counts_by_label([label], [label], labels) for label in truth]
    of_words = of_one(of_tags(counts), confidence=0.95, seed=0)
    assert (of_words.mean, of_words.low, of_words.high) == pytest.approx((1, 1, 1))


def test_a_label_that_some_rows_cannot_have_does_not_count() -> None:
    """One that either model said there does, as scikit-learn has it."""
    truth, one, other = ["a"] * 24, ["a"] * 24, ["a"] * 23 + ["b"]
    alone, other_sums = (of_labels(truth, said, LABELS) for said in (one, other))
    expected = f1_score(truth, other, average="macro")

    assert of_seen(alone)[0].value == 1
    assert of_seen(other_sums)[0].value == pytest.approx(expected)
    assert [each.value for each in of_seen(alone, other_sums)] == [0.5, pytest.approx(expected)]


@pytest.mark.parametrize(
    ("num_labels", "rows_each", "right"),
    [(24, 4, (0.7, 0.8)), (24, 4, (0.9, 0.95)), (8, 4, (0.9, 0.95)), (3, 10, (0.9, 0.95))],
)
def test_intervals_hold_the_truth_about_as_often_as_they_say(
    num_labels: int, rows_each: int, right: tuple[float, float]
) -> None:
    """Two models that are right in these shares of the rows of each label and wrong in others
    alike, so that by symmetry each label's F1, and their mean, is that too."""
    labels = [str(number) for number in range(num_labels)]
    draws = np.random.default_rng(5)
    truth = np.repeat(np.arange(num_labels), rows_each)
    held = {"one": 0, "two": 0}
    for seed in range(40):
        said = [
            np.where(
                draws.random(len(truth)) < share,
                truth,
                (truth + draws.integers(1, num_labels, len(truth))) % num_labels,
            )
            for share in right
        ]
        before, after = (
            of_labels([labels[t] for t in truth], [labels[s] for s in each], labels)
            for each in said
        )
        one = of_one(after, confidence=0.95, seed=seed)
        two, _ = of_two(before, after, confidence=0.95, seed=seed)
        held["one"] += one.low <= right[1] <= one.high
        held["two"] += two.low <= right[1] - right[0] <= two.high

    assert held["one"] >= 35  # 88 %
    assert held["two"] >= 35
