"""Can a classifier tell the traffic from the reference by its words?

The classifier two-sample test (Lopez-Paz and Oquab, ICLR 2017) with the squared-loss witness, which
needs no tuning and is optimal in power (Kübler et al., AISTATS 2022): ridge regression on hashed
words and pairs of words. It is linear in the labels, so one solve a fold scores all permutations of
the labels, and the permutation test is exact with the fitting included.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import rankdata

from tunesmith.core.canonical import draw
from tunesmith.stages.monitor.judge import POWER, Finding, z_of

Array = NDArray[np.float64]

NUM_FOLDS = 5
NUM_BUCKETS = 1 << 15
RIDGE = 1.0
"""Penalty, on texts scaled to length one."""
BATCH = 250
"""Permutations scored at a time."""

_WORD = re.compile(r"\w+")
_GRID: Array = np.linspace(0.0, 1.0, 2001)


def compare_vocabulary(
    reference: Sequence[str],
    traffic: Sequence[str],
    *,
    alpha: float,
    tolerance: float,
    acceptable: float,
    seed: int,
    report: Callable[[float], None] = lambda _share: None,
) -> Finding:
    """Out-of-fold AUC of a classifier between `reference` and `traffic`, each of distinct texts.

    The result does not depend on the order of the rows: they are sorted first, and the fold of a
    text follows from its digest. `report` is given the share of the work that is done.
    """
    rows = sorted([(text, 0.0) for text in reference] + [(text, 1.0) for text in traffic])
    m, n = len(reference), len(traffic)
    effect, p_value, inflation = 0.5, 1.0, 1.0
    if m and n:
        scorer, folds = _scorer([text for text, _ in rows], seed)
        labels: Array = np.array([label for _, label in rows])
        effect = float(auc_within(scorer @ labels[:, None], labels[:, None], folds)[0])
        null = _permuted(scorer, labels, folds, alpha=alpha, seed=seed, report=report)
        p_value = float((1 + np.sum(null >= effect - 1e-12)) / (1 + len(null)))
        # Folds share training rows, so that the AUC varies more than that of a given classifier.
        inflation = max(1.0, float(np.std(null)) / float(standard_error(0.5, n, m)))
    return Finding(
        name="vocabulary",
        layer="inputs",
        statistic="AUC of a classifier on words and pairs of words",
        effect=effect,
        low=_lower_bound(effect, n, m, z_of(alpha) * inflation) if m and n else 0.0,
        p_value=p_value,
        tolerance=tolerance,
        acceptable=acceptable,
        largest=1.0,
        detectable=lambda rows: _detectable(rows, m, tolerance, z_of(alpha), inflation),
        num_reference=m,
        num_traffic=n,
        details=(),
    )


def auc_within(scores: Array, labels: Array, folds: NDArray[np.int64]) -> Array:
    """AUC over the pairs that lie in one fold, for each column of `scores` and `labels` (N, B).

    Scores of different folds come from different classifiers and are not compared. 0.5 where no
    fold holds both labels.
    """
    won = np.zeros(scores.shape[1])
    pairs = np.zeros(scores.shape[1])
    for fold in np.unique(folds):
        inside = folds == fold
        ranks = rankdata(scores[inside], axis=0)
        ones = labels[inside].sum(axis=0)
        won += (ranks * labels[inside]).sum(axis=0) - ones * (ones + 1) / 2
        pairs += ones * (inside.sum() - ones)
    return np.where(pairs > 0, won / np.maximum(pairs, 1), 0.5)


def standard_error(auc: Array | float, n: int, m: int) -> Array:
    """Of an AUC from `n` and `m` rows (Hanley and McNeil 1982), whichever side is the first."""
    auc = np.asarray(auc, dtype=np.float64)
    first, second = auc / (2 - auc) - auc**2, 2 * auc**2 / (1 + auc) - auc**2
    one = (n - 1) * first + (m - 1) * second
    other = (m - 1) * first + (n - 1) * second
    variance = (auc * (1 - auc) + np.maximum(one, other)) / (n * m)
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


def _lower_bound(auc: float, n: int, m: int, z: float) -> float:
    """The smallest true AUC that `auc` does not contradict (the score interval of Newcombe 2006).

    Unlike an interval of the observed variance, it does not shrink to a point at an AUC of 1.
    """
    allowed = auc - _GRID <= z * standard_error(_GRID, n, m)
    allowed[0] = auc <= 0.0
    return float(_GRID[np.argmax(allowed)])


def _detectable(n: int, m: int, tolerance: float, z: float, inflation: float) -> float:
    seen = tolerance + z * inflation * float(standard_error(tolerance, n, m))
    shown = _GRID - z_of(1 - POWER) * inflation * standard_error(_GRID, n, m) >= seen
    return float(_GRID[np.argmax(shown)]) if shown.any() else math.inf


def _scorer(texts: Sequence[str], seed: int) -> tuple[Array, NDArray[np.int64]]:
    """The matrix (N, N) that turns labels into out-of-fold scores, and the fold of each text."""
    folds = np.array([_fold(text, seed) for text in texts], dtype=np.int64)
    kernel = _kernel(texts)
    scorer = np.zeros_like(kernel)
    for fold in np.unique(folds):
        tested, fitted = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        if not len(fitted):
            continue
        inner = kernel[np.ix_(fitted, fitted)]
        cross = kernel[np.ix_(tested, fitted)]
        mean = inner.mean(axis=0)
        centred = inner - mean - mean[:, None] + mean.mean()
        crossed = cross - cross.mean(axis=1, keepdims=True) - mean + mean.mean()
        weights = np.linalg.solve(centred + RIDGE * np.eye(len(fitted)), crossed.T).T
        # Centring the labels is linear too.
        scorer[np.ix_(tested, fitted)] = weights - weights.mean(axis=1, keepdims=True)
    return scorer, folds


def _permuted(
    scorer: Array,
    labels: Array,
    folds: NDArray[np.int64],
    *,
    alpha: float,
    seed: int,
    report: Callable[[float], None],
) -> Array:
    """AUCs under permuted labels: enough of them that a p-value of alpha / 5 can be reached."""
    num_permutations = max(1000, math.ceil(5 / alpha))
    random = np.random.default_rng(seed)
    found: list[Array] = []
    for start in range(0, num_permutations, BATCH):
        size = min(BATCH, num_permutations - start)
        shuffled = random.permuted(np.tile(labels, (size, 1)), axis=1).T
        found.append(auc_within(scorer @ shuffled, shuffled, folds))
        report((start + size) / num_permutations)
    return np.concatenate(found)


def _kernel(texts: Sequence[str]) -> Array:
    """Cosine similarity (N, N) of the texts' words and pairs of words, rare ones weighing more."""
    rows: list[int] = []
    columns: list[int] = []
    for row, text in enumerate(texts):
        words = words_of(text)
        features = {*words, *(f"{one} {two}" for one, two in pairwise(words))}
        buckets = {zlib.crc32(feature.encode()) % NUM_BUCKETS for feature in features}
        rows += [row] * len(buckets)
        columns += sorted(buckets)
    counts = sparse.csr_matrix(
        (np.ones(len(rows)), (rows, columns)), shape=(len(texts), NUM_BUCKETS)
    )
    frequency = np.asarray(counts.sum(axis=0)).ravel()
    weighted = counts @ sparse.diags(np.log((1 + len(texts)) / (1 + frequency)) + 1)
    norms = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    scaled = sparse.diags(1 / np.maximum(norms, 1e-12)) @ weighted
    return np.asarray((scaled @ scaled.T).todense())


def words_of(text: str) -> list[str]:
    """The words of `text`, without case: runs of letters, digits and underscores."""
    return _WORD.findall(text.lower())


def _fold(text: str, seed: int) -> int:
    return int.from_bytes(draw(f"{seed}\0{text}")[:4], "big") % NUM_FOLDS
