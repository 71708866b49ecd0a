from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from tunesmith.stages.evaluate.metrics import f1_by_label, macro_f1

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

    assert list(by_label.values()) == pytest.approx(list(expected))
    assert macro_f1(by_label) == pytest.approx(expected_macro)
