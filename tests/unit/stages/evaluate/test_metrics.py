from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    f1_score,
    label_ranking_average_precision_score,
    ndcg_score,
    top_k_accuracy_score,
)

from tunesmith.stages.evaluate.metrics import (
    f1_by_label,
    gain_of_rank,
    macro_f1,
    micro_f1,
    of_rank,
)

LABELS = ["a", "b", "c", "d"]
pairs = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1)


@given(pairs=pairs)
def test_metrics_are_those_of_sklearn(pairs: list[tuple[str, str]]) -> None:
    truth, predicted = map(list, zip(*pairs, strict=True))
    by_label = f1_by_label(truth, predicted, LABELS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = {"labels": LABELS, "zero_division": 0}
        expected = f1_score(truth, predicted, average=None, **settings)
        expected_macro = f1_score(truth, predicted, average="macro", **settings)
        settings["labels"] = LABELS[1:]
        expected_micro = f1_score(truth, predicted, average="micro", **settings)

    assert list(by_label.values()) == pytest.approx(list(expected))
    assert macro_f1(by_label) == pytest.approx(expected_macro)
    assert micro_f1(truth, predicted, LABELS[1:]) == pytest.approx(expected_micro)
    right = sum(one == other for one, other in pairs) / len(pairs)
    assert micro_f1(truth, predicted, LABELS) == pytest.approx(right)


@given(rank=st.integers(1, 15))
def test_the_gain_of_a_rank_is_that_of_sklearn(rank: int) -> None:
    relevant = [[float(place == rank) for place in range(1, 16)]]
    numbers = [[-float(place) for place in range(1, 16)]]

    assert gain_of_rank(rank, 10) == pytest.approx(ndcg_score(relevant, numbers, k=10))


@pytest.mark.parametrize("rank", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("cutoff", [1, 3, 5])
def test_the_first_so_many_of_a_ranking_are_those_of_sklearn(rank: int, cutoff: int) -> None:
    """Of nine passages, of which the one at `rank` is right."""
    scores = [[float(-place) for place in range(9)]]
    right = [[float(place + 1 == rank) for place in range(9)]]
    hit = top_k_accuracy_score([rank - 1], scores, k=cutoff, labels=range(9))

    assert of_rank(f"recall@{cutoff}", rank) == hit
    assert of_rank(f"nDCG@{cutoff}", rank) == pytest.approx(ndcg_score(right, scores, k=cutoff))
    precision = label_ranking_average_precision_score([[int(r) for r in right[0]]], scores)
    assert of_rank(f"MRR@{cutoff}", rank) == pytest.approx(precision * hit)
