"""How often comparisons pass by chance, and intervals hold the truth: `python bench/intervals.py`.

Simulated, with a seed. Right and wrong rows: a rule whose margin is the true difference passes in
at most 2.5 % where confidence is 95 %. Macro-F1: one model and a difference of two, each right in a
share of the rows of each label, wrong in others alike. Takes many minutes on one core.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import binom

from tunesmith.paired.bootstrap import paired_bootstrap
from tunesmith.paired.difference import of_outcomes
from tunesmith.paired.sums import Sums, of_labels, of_one, of_two

CONFIDENCE = 0.95
NUM_PAIRS = 2000
NUM_SETS = 60


def right_or_wrong(num_rows: int, differ: float, gap: float) -> str:
    """Of a bootstrap, and of what is used: passes at the true margin, passes at 0; and passes of
    the bootstrap at 0 whose exact p-value is above 0.05."""
    draws = np.random.default_rng(0)
    chances = [(differ + gap) / 2, (differ - gap) / 2, 1 - differ]
    counts = draws.multinomial(num_rows, chances, size=NUM_PAIRS)
    pairs, times = np.unique(counts[:, :2], axis=0, return_counts=True)
    ours, theirs, p_values = [], [], []
    for won, lost in pairs.tolist():
        rows = [1.0] * won + [-1.0] * lost + [0.0] * (num_rows - won - lost)
        ours.append(of_outcomes(won, lost, num_rows, CONFIDENCE).low)
        theirs.append(paired_bootstrap([0.0] * num_rows, rows, confidence=CONFIDENCE, seed=1).low)
        p_values.append(min(1.0, 2 * binom.cdf(min(won, lost), won + lost, 0.5)))
    found = [
        np.average(np.array(low) > at + 1e-12, weights=times)
        for at in (gap, 0.0)
        for low in (theirs, ours)
    ]
    unlike = np.average((np.array(theirs) > 0) & (np.array(p_values) > 0.05), weights=times)
    return " | ".join(f"{100 * each:.1f} %" for each in (*found, unlike))


def macro_f1(num_labels: int, rows_each: int, right: float) -> str:
    """How often the interval of a model, and that of its difference to one that is right a little
    less often, have the truth in them."""
    labels = [str(number) for number in range(num_labels)]
    truth = np.repeat(np.arange(num_labels), rows_each)
    draws = np.random.default_rng(0)
    shares = (right - (1 - right) / 2, right)
    held = np.zeros(2)
    for seed in range(NUM_SETS):
        before, after = (_drawn(labels, truth, share, draws) for share in shares)
        one = of_one(after, confidence=CONFIDENCE, seed=seed)
        two, _ = of_two(before, after, confidence=CONFIDENCE, seed=seed)
        held += (
            one.low <= right <= one.high,
            two.low <= shares[1] - shares[0] <= two.high,
        )
    return " | ".join(f"{100 * each / NUM_SETS:.0f} %" for each in held)


def _drawn(labels: list[str], truth: np.ndarray, share: float, draws: np.random.Generator) -> Sums:
    num_labels = len(labels)
    other = (truth + draws.integers(1, num_labels, len(truth))) % num_labels
    said = np.where(draws.random(len(truth)) < share, truth, other)
    return of_labels([labels[t] for t in truth], [labels[s] for s in said], labels)


def main() -> None:
    print("| rows | differ | gap | bootstrap | ours | bootstrap at 0 | ours at 0 | against p |")
    for num_rows in (20, 50, 100, 300):
        for differ, gap in ((0.1, 0.0), (0.5, 0.0), (0.1, 0.05), (0.5, 0.2)):
            found = right_or_wrong(num_rows, differ, gap)
            print(f"| {num_rows} | {differ} | {gap} | {found} |", flush=True)
    print("| labels | rows each | right | one | difference |")
    for num_labels in (2, 8, 24):
        for rows_each in (4, 10, 50):
            for right in (0.6, 0.8, 0.95, 0.99):
                found = macro_f1(num_labels, rows_each, right)
                print(f"| {num_labels} | {rows_each} | {right} | {found} |", flush=True)


if __name__ == "__main__":
    main()
