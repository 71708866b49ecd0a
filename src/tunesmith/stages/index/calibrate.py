"""The threshold below which the index says "the documents do not answer it".

It is fitted on questions made from the data itself. *Unanswerable* ones come from documents that
were left out of the index: words of one of their sentences, among them one that the index has
nowhere, so that nothing in it can answer. *Answerable* ones are words of a sentence that is in the
index, one of them exchanged for a word that is not in it, since people do not ask in a document's
own words. Every other question of both kinds also names a document.

The threshold is the lowest one at which the rate of false answers is at most `ALPHA` with 95 %
confidence (Clopper & Pearson 1934). The rate falls as the threshold rises, so testing thresholds
from the highest down needs no correction (fixed-sequence testing; Angelopoulos et al. 2021, "Learn
then Test").
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from collections import Counter, deque
from collections.abc import Iterator, Sequence

from scipy import stats

from tunesmith.core.step import Progress
from tunesmith.retrieve.lexical import terms, words
from tunesmith.retrieve.rank import Ranker, best
from tunesmith.retrieve.store import Document, Store
from tunesmith.text import chunk

ALPHA = 0.1
"""Accepted rate of answers to questions that the documents do not answer."""
CONFIDENCE = 0.95
NUM_QUESTIONS = 300
"""Made of each kind, if there is text for so many."""
NUM_TERMS = 5
"""Words of a question, besides the name of a document."""
MAX_SHARED = 0.5
"""A sentence that shares more of its words with one in the index has a counterpart there."""
UNCALIBRATED = 0.6
"""Used where too few unanswerable questions can be made; a little above what licence texts give."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """A threshold and how it was arrived at."""

    threshold: float
    text: str


def calibrate(
    store: Store, left_out: Sequence[Document], *, seed: int, progress: Progress
) -> Calibration:
    """Fit the threshold of `store`; `left_out` are documents like its own that are not in it."""
    chooser = random.Random(seed)  # noqa: S311 (a sample, not a secret)
    inside = [store.document(key) for key in store.names()]
    foreign: list[tuple[str, list[str]]] = []
    for found in itertools.islice(_foreign(store, left_out, chooser), NUM_QUESTIONS):
        progress(len(foreign), NUM_QUESTIONS, "makes questions")
        foreign.append(found)
    unanswerable = [
        [*_name(chooser.choice(inside), number), unknown, *known]
        for number, (unknown, known) in enumerate(foreign)
    ]
    answerable = [
        [*_name(document, number), chooser.choice(foreign)[0], *asked[1:NUM_TERMS]]
        for number, (document, asked) in enumerate(
            itertools.islice(_sentences(inside, chooser), NUM_QUESTIONS if foreign else 0)
        )
    ]
    ranker = Ranker(store)
    scores = []
    for done, question in enumerate(unanswerable + answerable):
        if done % 10 == 0:
            progress(done, len(unanswerable) + len(answerable), "calibrates the threshold")
        scores.append(best(ranker.rank(" ".join(question))))
    return fit(scores[: len(unanswerable)], scores[len(unanswerable) :])


def fit(unanswerable: Sequence[float], answerable: Sequence[float]) -> Calibration:
    """The lowest threshold that bounds the false answers, from the scores of made questions."""
    fitted: Calibration | None = None
    total = len(unanswerable)
    for threshold in sorted({math.ceil(score * 100) / 100 for score in unanswerable}, reverse=True):
        wrong = sum(score >= threshold for score in unanswerable)
        bound = upper_bound(wrong, total)
        if bound > ALPHA:
            break
        right = sum(score >= threshold for score in answerable)
        fitted = Calibration(
            threshold=threshold,
            text=(
                f"Threshold {threshold}: of {total} made questions that the documents do not answer"
                f" {wrong} got an answer ({wrong / total:.1%}; at most {bound:.1%} with"
                f" {CONFIDENCE:.0%} confidence, {ALPHA:.0%} accepted), and of {len(answerable)}"
                f" that they do answer {right} did ({right / max(len(answerable), 1):.1%})."
                " People's questions differ from made ones: the rates on them may too."
            ),
        )
    return fitted or Calibration(
        threshold=UNCALIBRATED,
        text=(
            f"Threshold {UNCALIBRATED}, not calibrated: {total} questions that the documents do"
            f" not answer could be made, from documents left out of the index, and no threshold"
            f" bounds their false answers at {ALPHA:.0%} with {CONFIDENCE:.0%} confidence."
        ),
    )


def upper_bound(wrong: int, total: int) -> float:
    """One-sided Clopper-Pearson upper bound of a rate of which `wrong` in `total` were seen.

    >>> round(upper_bound(0, 29), 4)  # the rule of three
    0.0981
    """
    if wrong >= total:
        return 1.0
    return float(stats.beta.ppf(CONFIDENCE, wrong + 1, total - wrong))


def _sentences(
    documents: Sequence[Document], chooser: random.Random
) -> Iterator[tuple[Document, list[str]]]:
    """Random sentences, one of each document in turn, as their terms in random order."""
    turns = deque(
        _sentences_of(document, chooser) for document in chooser.sample(documents, len(documents))
    )
    while turns:
        turn = turns.popleft()
        if (found := next(turn, None)) is not None:
            yield found
            turns.append(turn)


def _sentences_of(
    document: Document, chooser: random.Random
) -> Iterator[tuple[Document, list[str]]]:
    spans = chunk.sentences(document.text)
    for span in chooser.sample(spans, len(spans)):
        asked = terms(span.text)
        if len(asked) >= NUM_TERMS:
            yield document, chooser.sample(asked, len(asked))


def _foreign(
    store: Store, left_out: Sequence[Document], chooser: random.Random
) -> Iterator[tuple[str, list[str]]]:
    """(a word that the index has nowhere, words that it has) of sentences without a counterpart."""
    names = frozenset(words("\n".join(name for all in store.names().values() for name in all)))
    for _, asked in _sentences(left_out, chooser):
        found = {term: store.sentences_with(term) for term in asked}
        unknown = [term for term in asked if not found[term] and term not in names]
        known = [term for term in asked if found[term]]
        shared = Counter(itertools.chain.from_iterable(found.values()))
        counterpart = max(shared.values(), default=0) / len(asked)
        if unknown and len(known) >= NUM_TERMS - 1 and counterpart <= MAX_SHARED:
            yield unknown[0], known[: NUM_TERMS - 1]


def _name(document: Document, number: int) -> list[str]:
    """The name of `document`, for every other question."""
    return [document.names[-1]] if number % 2 else []
