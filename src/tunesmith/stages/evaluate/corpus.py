"""BLEU and chrF of all answers together, as papers report them: sacrebleu's, over the counts that
each row adds.

BLEU: Papineni et al. (ACL 2002), by sacrebleu's defaults: words as `13a` has them, with capitals,
runs of one to four, smoothed by "exp" (method 3 of Chen and Cherry, WMT 2014); signature
`case:mixed|eff:no|tok:13a|smooth:exp`. chrF: Popovic (WMT 2015), by its defaults: runs of one to
six characters without white space, none of words, recall counts twice; signature
`case:mixed|eff:yes|nc:6|nw:0|space:no`. Here from 0 to 1, not to 100.

What one answer has, which a person reads row by row, is sacrebleu's score of a sentence; BLEU's
then with `eff:yes`, as sacrebleu recommends: of the lengths that the answer has.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from tunesmith.paired.bootstrap import Array
from tunesmith.paired.sums import Sums

COUNTS: Mapping[str, str] = MappingProxyType({"BLEU": "bleu_counts", "chrF": "chrf_counts"})
"""By metric: the column of predictions with what each row adds, as sacrebleu orders it. Of BLEU the
words said and wanted, then by length the runs in common and those that were said, ten integers; of
chrF by length those said, wanted and in common, eighteen."""


@functools.cache
def _library(metric: str, of_one: bool) -> Any:
    from sacrebleu.metrics import BLEU, CHRF

    return BLEU(effective_order=of_one) if metric == "BLEU" else CHRF()


def _share(found: Any) -> float:
    """A score from 0 to 1; sacrebleu's own can be above 100 by a rounding."""
    return min(1.0, float(found.score) / 100)


def score_of_one(metric: str, said: str, wanted: Sequence[str]) -> float:
    """BLEU or chrF of one answer; several right ones are sacrebleu's several references."""
    return _share(_library(metric, of_one=True).sentence_score(said, list(wanted)))


# sacrebleu's own tests of significance resample by these two methods, which have an underscore.


def counts_of(metric: str, said: str, wanted: Sequence[str]) -> list[int]:
    """What one answer adds to the counts."""
    references = [[each] for each in wanted]
    (counts,) = _library(metric, of_one=False)._extract_corpus_statistics([said], references)
    return [int(count) for count in counts]


def of_counts(metric: str, counts: Sequence[Sequence[int]]) -> Sums:
    """BLEU or chrF of all rows; resampled over rows as Koehn (EMNLP 2004) does."""
    library = _library(metric, of_one=False)

    def of(sums: Array) -> Array:
        whole = np.rint(sums).astype(np.int64).tolist()
        return np.array([_share(library._compute_score_from_stats(each)) for each in whole])

    return Sums(parts=np.asarray(counts, dtype=np.float64), of=of)
