"""Metrics of predicted labels, and of ranks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

UNTAGGED = "O"
"""The tag of words that have none."""


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


def micro_f1(truth: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> float:
    """2 TP / (2 TP + FP + FN) over `labels` together, so that each row counts as much.

    Where `labels` are all that there is, and each row has one, it is the accuracy; of tags it says
    more, as most words have none: leave out the label that stands for that.

    >>> micro_f1(["O", "O", "B"], ["O", "B", "B"], ["B"])
    0.6666666666666666
    """
    counted = set(labels)
    hits = sum(t == p and t in counted for t, p in zip(truth, predicted, strict=True))
    seen = sum(t in counted for t in truth) + sum(p in counted for p in predicted)
    return 2 * hits / seen if seen else 0.0


def counts_by_label(
    truth: Sequence[str], predicted: Sequence[str], labels: Sequence[str]
) -> list[int]:
    """What F1 is made of: of each label TP, then of each label 2 TP + FP + FN.

    >>> counts_by_label(["a", "b"], ["a", "a"], ["a", "b"])
    [1, 0, 3, 1]
    """
    hits = Counter(t for t, p in zip(truth, predicted, strict=True) if t == p)
    seen = Counter(truth) + Counter(predicted)
    return [*(hits[label] for label in labels), *(seen[label] for label in labels)]


def of_rank(metric: str, rank: int) -> float:
    """recall@k, nDCG@k or MRR@k, by the metric's name, of a ranking of which one passage is right
    and stands at `rank`, counted from 1.

    >>> of_rank("recall@3", 3), of_rank("MRR@3", 2), of_rank("MRR@3", 4)
    (1.0, 0.5, 0.0)
    """
    kind, _, number = metric.partition("@")
    cutoff = int(number)
    if kind == "nDCG":
        return gain_of_rank(rank, cutoff)
    return (1.0 if kind == "recall" else 1 / rank) if rank <= cutoff else 0.0


def gain_of_rank(rank: int, cutoff: int) -> float:
    """nDCG of a ranking of which one passage is right and stands at `rank`, counted from 1, among
    the first `cutoff` (Jarvelin and Kekalainen, ACM TOIS 20, 2002; the best gain is 1).

    >>> gain_of_rank(1, 10), gain_of_rank(3, 10), gain_of_rank(11, 10)
    (1.0, 0.5, 0.0)
    """
    return 1 / math.log2(1 + rank) if rank <= cutoff else 0.0
