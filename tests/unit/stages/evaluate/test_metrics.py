from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, ndcg_score

from tunesmith.stages.evaluate.metrics import f1_by_label, gain_of_rank, macro_f1, micro_f1

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
