from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tunesmith.stages.monitor.judge import judge
from tunesmith.stages.monitor.vocabulary import (
    _scorer,
    auc_within,
    compare_vocabulary,
    standard_error,
)

ALPHA = 0.005
WORDS = np.array([f"word{number}" for number in range(400)])
COMMON = 1 / np.arange(1, 401) / np.sum(1 / np.arange(1, 401))


def texts(random: np.random.Generator, rows: int, planted: float = 0.0) -> list[str]:
    """Distinct texts of words by Zipf's law; a share `planted` of them is about something else."""
    found: set[str] = set()
    while len(found) < rows:
        order = WORDS[::-1] if random.random() < planted else WORDS
        found.add(" ".join(random.choice(order, 15, p=COMMON)))
    return sorted(found)


def compare(reference: list[str], traffic: list[str], seed: int = 0):  # type: ignore[no-untyped-def]
    return compare_vocabulary(
        reference, traffic, alpha=ALPHA, tolerance=0.55, acceptable=0.75, seed=seed
    )


def test_auc_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    scores = random.integers(0, 30, (200, 3)).astype(float)  # with ties
    labels = (random.random((200, 3)) < 0.3).astype(float)
    one_fold = auc_within(scores, labels, np.zeros(200, dtype=np.int64))
    assert one_fold == pytest.approx([roc_auc_score(labels[:, i], scores[:, i]) for i in range(3)])
    folds = random.integers(0, 4, 200)
    pairs = [(labels[folds == f, 0].sum() * (1 - labels[folds == f, 0]).sum()) for f in range(4)]
    each = [roc_auc_score(labels[folds == f, 0], scores[folds == f, 0]) for f in range(4)]
    assert auc_within(scores, labels, folds)[0] == pytest.approx(np.average(each, weights=pairs))


def test_auc_without_a_pair_is_chance() -> None:
    assert auc_within(np.ones((3, 1)), np.ones((3, 1)), np.zeros(3, dtype=np.int64))[0] == 0.5


def test_scores_are_those_of_ridge_regression_fitted_without_the_fold() -> None:
    from sklearn.kernel_ridge import KernelRidge

    from tunesmith.stages.monitor.vocabulary import RIDGE, _kernel

    random = np.random.default_rng(1)
    rows = texts(random, 60)
    labels = (random.random(60) < 0.4).astype(float)
    scorer, folds = _scorer(rows, seed=0)
    kernel = _kernel(rows)
    for fold in np.unique(folds):
        inside, outside = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        centre = np.eye(len(outside)) - 1 / len(outside)
        cross = kernel[np.ix_(inside, outside)] - kernel[np.ix_(outside, outside)].mean(axis=0)
        oracle = KernelRidge(alpha=RIDGE, kernel="precomputed").fit(
            centre @ kernel[np.ix_(outside, outside)] @ centre,
            labels[outside] - labels[outside].mean(),
        )
        assert (scorer @ labels)[inside] == pytest.approx(oracle.predict(cross @ centre), abs=1e-9)


def test_the_standard_error_at_chance_is_that_of_the_rank_sum() -> None:
    for n, m in [(20, 20), (96, 480)]:
        exact = np.sqrt((n + m + 1) / (12 * n * m))
        assert float(standard_error(0.5, n, m)) == pytest.approx(exact)
        assert float(standard_error(0.5, m, n)) == pytest.approx(exact)


def test_a_planted_change_is_seen_and_its_bound_is_below_the_estimate() -> None:
    random = np.random.default_rng(2)
    check = judge(compare(texts(random, 300), texts(random, 96, planted=0.6)), ALPHA)
    assert check.verdict == "changed"
    assert 0.55 < check.low < check.effect < 1


def test_the_order_of_rows_does_not_matter() -> None:
    random = np.random.default_rng(3)
    reference, traffic = texts(random, 80), texts(random, 40, planted=0.2)
    one = dataclasses.replace(compare(reference, traffic), detectable=len)
    other = dataclasses.replace(compare(reference[::-1], traffic[::-1]), detectable=len)
    assert one == other


def test_texts_that_are_all_the_same_are_no_change() -> None:
    check = judge(compare(["a b c"], ["a b c"]), ALPHA)
    assert check.verdict == "need_more"
    assert check.p_value == 1.0


@pytest.mark.parametrize(("m", "n"), [(1, 0), (0, 1), (1, 1), (5, 1), (3, 3)])
def test_few_rows_need_more(m: int, n: int) -> None:
    random = np.random.default_rng(4)
    assert judge(compare(texts(random, m), texts(random, n)), ALPHA).verdict == "need_more"


def test_a_few_rows_of_another_kind_are_not_yet_a_change() -> None:
    """An interval of the observed variance would have no width at an AUC of 1."""
    random = np.random.default_rng(5)
    found = compare(texts(random, 200), texts(random, 4, planted=1.0))
    assert found.effect > 0.95
    assert found.low < 0.6


def test_p_values_are_valid() -> None:
    random = np.random.default_rng(6)
    repeats = 50
    below = sum(
        compare(texts(random, 60), texts(random, 30)).p_value <= 0.1 for _ in range(repeats)
    )
    assert below / repeats <= 0.1 + 2 * np.sqrt(0.09 / repeats)


@pytest.mark.slow
@pytest.mark.parametrize("n", [50, 96, 300])
def test_false_alarms_are_rarer_than_promised(n: int) -> None:
    random = np.random.default_rng(n)
    repeats = 200
    alarms = sum(
        judge(compare(texts(random, 480), texts(random, n)), ALPHA).verdict == "changed"
        for _ in range(repeats)
    )
    assert alarms / repeats <= ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / repeats)
