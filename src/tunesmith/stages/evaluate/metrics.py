"""Metrics of predicted labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence


def f1_by_label(
    truth: Sequence[str], predicted: Sequence[str], labels: Sequence[str]
) -> dict[str, float]:
    """For each label 2 TP / (2 TP + FP + FN), the harmonic mean of its precision and recall.

    A label that neither occurs nor is predicted has 0, as in scikit-learn.

    >>> f1_by_label(["a", "b"], ["a", "a"], ["a", "b"])
    {'a': 0.6666666666666666, 'b': 0.0}
    """
    hits = Counter(t for t, p in zip(truth, predicted, strict=True) if t == p)
    seen = Counter(truth) + Counter(predicted)
    return {label: 2 * hits[label] / seen[label] if seen[label] else 0.0 for label in labels}


def macro_f1(by_label: Mapping[str, float]) -> float:
    """The plain mean over the labels, so that a rare label counts as much as a common one."""
    return sum(by_label.values()) / len(by_label)
