"""Which words became commoner or rarer. It explains a change; the classifier decides on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, norm

from tunesmith.stages.monitor.vocabulary import words_of

Array = NDArray[np.float64]

PRIOR_WORDS = 500.0
"""Size of the prior, in words: a word must be seen about this much to be believed on its own."""
FALSE_DISCOVERY_RATE = 0.05
NUM_SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class WordShift:
    """How much more often a word is used in the traffic than in the reference."""

    word: str
    log_odds: float
    """Difference of the log-odds; above zero: commoner in the traffic."""
    z: float


def log_odds(reference: Counter[str], traffic: Counter[str]) -> tuple[WordShift, ...]:
    """The words of both, by z from rarer to commoner in the traffic.

    Log-odds with an informative Dirichlet prior, the words of both together (Monroe, Colaresi and
    Quinn 2008, "Fightin' Words", equations 16, 18 and 22).
    """
    together = reference + traffic
    words = sorted(together)
    if not words:
        return ()
    ours = np.array([reference[word] for word in words], dtype=np.float64)
    theirs = np.array([traffic[word] for word in words], dtype=np.float64)
    prior = PRIOR_WORDS * (ours + theirs) / (ours + theirs).sum()
    shift = _log_odds(theirs, prior) - _log_odds(ours, prior)
    z = shift / np.sqrt(1 / (theirs + prior) + 1 / (ours + prior))
    found = [
        WordShift(word=word, log_odds=float(one), z=float(two))
        for word, one, two in zip(words, shift, z, strict=True)
    ]
    return tuple(sorted(found, key=lambda shift: (shift.z, shift.word)))


def explain(reference: Sequence[str], traffic: Sequence[str]) -> tuple[str, ...]:
    """The words that changed most, each way, with how often they are used.

    Only words that stand out after the correction of Benjamini and Hochberg (1995) are named.
    """
    ours = Counter(word for text in reference for word in words_of(text))
    theirs = Counter(word for text in traffic for word in words_of(text))
    shifts = log_odds(ours, theirs)
    if not shifts:
        return ()
    adjusted = false_discovery_control(2 * norm.sf(np.abs([shift.z for shift in shifts])))
    kept = [shift for shift, q in zip(shifts, adjusted, strict=True) if q <= FALSE_DISCOVERY_RATE]
    more = [shift.word for shift in reversed(kept) if shift.z > 0][:NUM_SHOWN]
    fewer = [shift.word for shift in kept if shift.z < 0][:NUM_SHOWN]
    found = []
    for way, words in (("commoner", more), ("rarer", fewer)):
        if words:
            shares = ", ".join(
                f"{word} {_per_thousand(word, theirs)} (was {_per_thousand(word, ours)})"
                for word in words
            )
            found.append(f"{way}, in 1,000 words: {shares}")
    return tuple(found)


def _per_thousand(word: str, uses: Counter[str]) -> str:
    share = 1000 * uses[word] / max(uses.total(), 1)
    return f"{share:.0f}" if share >= 10 else f"{share:.1f}"


def _log_odds(counts: Array, prior: Array) -> Array:
    seen = counts + prior
    return np.asarray(np.log(seen) - np.log(seen.sum() - seen))
