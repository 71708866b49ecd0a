"""Label noise: against scikit-learn and cleanlab, and on labels that were swapped on purpose."""

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tunesmith.text.doubt import INVERSE_PENALTY, confident, doubts, fit, out_of_fold, tfidf

TOPICS = {name: [f"{name}{number}" for number in range(10)] for name in ("it", "mail", "tax")}
COMMON = [f"the{number}" for number in range(15)]


def letters(num: int, seed: int = 0) -> tuple[list[str], list[str]]:
    draw = random.Random(seed)
    labels = [draw.choice(sorted(TOPICS)) for _ in range(num)]
    texts = [
        " ".join(draw.choices(TOPICS[label], k=6) + draw.choices(COMMON, k=8)) for label in labels
    ]
    return texts, labels


def test_features_are_scikit_learns() -> None:
    texts, _ = letters(60)
    texts += ["", "---", "tax tax TAX"]
    theirs = TfidfVectorizer(token_pattern=r"\w+")
    expected = theirs.fit_transform(texts).toarray()
    found = tfidf(texts).toarray()
    # Columns are in another order.
    assert found.shape == expected.shape
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-12)
    np.testing.assert_allclose(np.sort(found, axis=1), np.sort(expected, axis=1), atol=1e-12)


def test_the_regression_is_scikit_learns() -> None:
    texts, labels = letters(120)
    known = sorted(set(labels))
    given_labels = np.array([known.index(label) for label in labels])
    features = tfidf(texts)
    theirs = LogisticRegression(C=INVERSE_PENALTY, tol=1e-8, max_iter=2000)
    theirs.fit(features, given_labels)
    weights, biases = fit(features, given_labels, 3)
    scores = features @ weights + biases
    found = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, theirs.predict_proba(features), atol=2e-3)


PROBABILITIES = st.integers(2, 4).flatmap(
    lambda k: st.lists(
        st.tuples(st.integers(0, k - 1), st.lists(st.integers(1, 1000), min_size=k, max_size=k)),
        min_size=3 * k,
        max_size=30,
    )
)


@settings(max_examples=60)
@given(PROBABILITIES)
def test_doubtful_rows_are_cleanlabs(rows: list[tuple[int, list[int]]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cleanlab.filter import find_label_issues

        k = len(rows[0][1])
        labels = np.array([label for label, _ in rows] + list(range(k)))
        weights = np.array([each for _, each in rows] + [[1] * k] * k, dtype=float)
        probabilities = weights / weights.sum(axis=1, keepdims=True)
        expected = find_label_issues(
            labels, probabilities, filter_by="confident_learning",
            return_indices_ranked_by="self_confidence", min_examples_per_class=0, n_jobs=1,
        )  # fmt: skip
    found = confident(labels, probabilities)
    assert {row for row, _ in found} == set(expected.tolist())
    own = [probabilities[row, labels[row]] for row, _ in found]
    assert own == sorted(own)


def test_swapped_labels_are_found_and_told_what_they_were() -> None:
    texts, labels = letters(300)
    draw = random.Random(1)
    swapped = {
        row: draw.choice([name for name in sorted(TOPICS) if name != labels[row]])
        for row in draw.sample(range(300), 24)
    }
    given_labels = [swapped.get(row, label) for row, label in enumerate(labels)]
    found = doubts(texts, given_labels, [str(row) for row in range(300)])
    right = [each for each in found if each.row in swapped]
    # What confident learning lets pass is what is less sure than the average of its label.
    assert len(right) >= 12
    assert len(found) <= len(right) + 2
    assert all(each.suggested == labels[each.row] for each in right)
    own = [each.probability for each in found]
    assert own == sorted(own)
    assert all(each.probability < each.probability_of_suggested for each in found)
    assert found == doubts(texts, given_labels, [str(row) for row in range(300)])


def test_right_labels_raise_few_doubts() -> None:
    texts, labels = letters(200, seed=5)
    assert len(doubts(texts, labels, [str(row) for row in range(200)])) <= 2


def test_copies_do_not_vouch_for_each_other() -> None:
    """Of twenty copies of one wrongly labelled text, every one is doubtful if they are a group."""
    texts, labels = letters(120)
    at = labels.index("tax")
    texts, labels = texts + [texts[at]] * 20, labels + ["mail"] * 20
    alone = [str(row) for row in range(120)]
    together = {each.row for each in doubts(texts, labels, [*alone, *["copies"] * 20])}
    assert together >= set(range(120, 140))
    apart = {each.row for each in doubts(texts, labels, [str(row) for row in range(140)])}
    assert not apart & set(range(120, 140))


@pytest.mark.parametrize(
    ("texts", "labels", "groups"),
    [
        (["a", "b"], ["x", "y"], ["1", "1"]),
        (["a", "b"], ["x", "y"], ["1", "2"]),
        (["", ""], ["x", "x"], ["1", "2"]),
        (["---", "a b", "c"], ["x", "y", "y"], ["1", "2", "3"]),
    ],
)
def test_too_little_to_doubt(texts: list[str], labels: list[str], groups: list[str]) -> None:
    found = doubts(texts, labels, groups)
    assert all(0.0 <= each.probability <= 1.0 for each in found)
    given_labels = np.array([sorted(set(labels)).index(label) for label in labels])
    probabilities = out_of_fold(tfidf(texts), given_labels, groups)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
