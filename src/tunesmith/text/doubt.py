"""Which labels are doubtful: confident learning over probabilities that did not see the row.

TF-IDF and a multinomial logistic regression say, for each row, how probable each label is, having
learnt from rows of other near-duplicate components alone. A row is doubtful if another label is at
least as probable as it is on average among the rows that have it (Northcutt, Jiang and Chuang,
"Confident Learning", JAIR 2021: the off-diagonal of the confident joint; ties as in cleanlab). A
doubt is a reason to look at a row, and no more; many a wrong label raises none.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, sparse, special

from tunesmith.core.canonical import draw
from tunesmith.text.sketch import words_of

NUM_FOLDS = 5
MAX_WORDS = 20_000
"""Different words that are looked at, the commonest."""
INVERSE_PENALTY = 10.0
"""Weight of the loss beside half of the squared weights (scikit-learn's `C`)."""
MAX_ROUNDS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Doubt:
    """A row by position whose label is doubtful."""

    row: int
    suggested: str
    """The label that the others suggest."""
    probability: float
    """Of the label that it has, in [0, 1]."""
    probability_of_suggested: float


def doubts(
    texts: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[str],
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[Doubt, ...]:
    """The rows whose labels are doubtful, the least probable label first.

    Rows of one of `groups` are never learnt from for one another.
    """
    known = sorted(set(labels))
    given = np.array([known.index(label) for label in labels])
    probabilities = out_of_fold(tfidf(texts), given, groups, progress=progress)
    return tuple(
        Doubt(
            row=int(row),
            suggested=known[int(other)],
            probability=float(probabilities[row, given[row]]),
            probability_of_suggested=float(probabilities[row, other]),
        )
        for row, other in confident(given, probabilities)
    )


def confident(given: Any, probabilities: Any) -> list[tuple[int, int]]:
    """(row, suggested label) of each doubtful row, the least probable label first.

    `given` are the labels as numbers, (rows,); `probabilities` are (rows, labels), each row's from
    a model that did not see it.
    """
    num_labels = probabilities.shape[1]
    # How probable a label is, on average, where it is the label; a label without rows is none.
    least = [
        probabilities[given == label, label].mean() if (given == label).any() else math.inf
        for label in range(num_labels)
    ]
    enough = probabilities >= np.array(least) - 1e-6
    likeliest = probabilities.argmax(axis=1)
    best = np.where(enough.sum(axis=1) > 1, likeliest, enough.argmax(axis=1))
    own = probabilities[np.arange(len(given)), given]
    is_tie = np.isclose(own, probabilities.max(axis=1))
    doubtful = np.flatnonzero(enough.any(axis=1) & (best != given) & ~is_tie)
    order = np.argsort(own[doubtful], kind="stable")
    return [(int(row), int(best[row])) for row in doubtful[order]]


def out_of_fold(
    features: Any,
    given: Any,
    groups: Sequence[str],
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Any:
    """(rows, labels): how probable each label is by a model that saw no row of the row's group."""
    num_labels = int(given.max()) + 1
    folds = np.array(_folds(given.tolist(), groups))
    found = np.zeros((len(given), num_labels))
    for fold in range(NUM_FOLDS):
        progress(fold, NUM_FOLDS)
        inside = folds == fold
        if not inside.any():
            continue
        if inside.all():  # one group: there is nothing to learn from
            found[:] = 1.0 / num_labels
            continue
        weights, biases = fit(features[~inside], given[~inside], num_labels)
        found[inside] = special.softmax(features[inside] @ weights + biases, axis=1)
    return found


def _folds(given: Sequence[int], groups: Sequence[str]) -> list[int]:
    """For each row its fold: groups are dealt out in a drawn order, label by label."""
    first_label: dict[str, int] = {}
    for label, group in zip(given, groups, strict=True):
        first_label.setdefault(group, label)
    order = sorted(first_label, key=lambda group: (first_label[group], draw(group)))
    fold_of = {group: place % NUM_FOLDS for place, group in enumerate(order)}
    return [fold_of[group] for group in groups]


def tfidf(texts: Sequence[str]) -> Any:
    """(texts, words), sparse, rows of length 1: counts times ln((1 + n) / (1 + df)) + 1.

    As scikit-learn's `TfidfVectorizer` by default, but for the words themselves.
    """
    counts = [Counter(words_of(text)) for text in texts]
    in_texts: Counter[str] = Counter(word for each in counts for word in each)
    commonest = sorted(in_texts, key=lambda word: (-in_texts[word], word))[:MAX_WORDS]
    column = {word: place for place, word in enumerate(commonest)}
    weight = {word: math.log((1 + len(texts)) / (1 + in_texts[word])) + 1 for word in commonest}
    found: dict[str, list[Any]] = defaultdict(list)
    for row, each in enumerate(counts):
        values = {word: count * weight[word] for word, count in each.items() if word in column}
        norm = math.sqrt(sum(value * value for value in values.values())) or 1.0
        for word, value in values.items():
            found["row"].append(row)
            found["column"].append(column[word])
            found["value"].append(value / norm)
    where = (found["row"], found["column"])
    return sparse.csr_matrix((found["value"], where), shape=(len(texts), len(commonest)))


def fit(features: Any, given: Any, num_labels: int) -> tuple[Any, Any]:
    """Weights (words, labels) and biases (labels,) of a multinomial logistic regression.

    They minimise half of the squared weights plus `INVERSE_PENALTY` times the summed loss (L-BFGS).
    """
    num_words = features.shape[1]
    wanted = np.zeros((len(given), num_labels))
    wanted[np.arange(len(given)), given] = 1.0

    def loss(flat: Any) -> tuple[float, Any]:
        weights = flat[:-num_labels].reshape(num_words, num_labels)
        scores = features @ weights + flat[-num_labels:]
        log_probabilities = special.log_softmax(scores, axis=1)
        error = INVERSE_PENALTY * (np.exp(log_probabilities) - wanted)
        value = 0.5 * (weights**2).sum() - INVERSE_PENALTY * (log_probabilities * wanted).sum()
        slope = features.T @ error + weights
        return float(value), np.concatenate([slope.ravel(), error.sum(axis=0)])

    start = np.zeros((num_words + 1) * num_labels)
    options = {"maxiter": MAX_ROUNDS, "ftol": 1e-9, "gtol": 1e-5}
    done = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    return done.x[:-num_labels].reshape(num_words, num_labels), done.x[-num_labels:]
