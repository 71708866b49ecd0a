"""The threshold below which the index says "the documents do not answer it".

It is fitted on questions made from the data itself, of several kinds, each with its own bound, so
that an easy kind cannot hide a hard one. What the documents do not answer: words of a sentence out
of a document that was left out of the index, among them one that the index has nowhere; the same
with the title of a document; and a title with one word that no document has, or that this one has
not. What they do answer: words of a sentence in the index, one of them exchanged for a word that
is not in it, since people do not ask in a document's own words; the same with its title; and a
title with one word of that document.

The threshold is the lowest one at which the rate of false answers of every kind is at most `ALPHA`
with 95 % confidence (Clopper & Pearson 1934). The rates fall as the threshold rises, so testing
thresholds from the highest down needs no correction (fixed-sequence testing; Angelopoulos et al.
2021, "Learn then Test").
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

from scipy import stats

from tunesmith.core.step import Progress
from tunesmith.retrieve.lexical import terms, words
from tunesmith.retrieve.rank import Ranker, best
from tunesmith.retrieve.store import Document, Store
from tunesmith.text import layout

ALPHA = 0.1
"""Accepted rate of answers to questions that the documents do not answer."""
CONFIDENCE = 0.95
NUM_QUESTIONS = 300
"""Made of each kind, if there is text for so many."""
NUM_TERMS = 5
"""Words of a question, besides the name of a document."""
MAX_SHARED = 0.5
"""A sentence that shares more of its words with one in the index has a counterpart there."""
UNCALIBRATED = 0.45
"""Used where too few unanswerable questions can be made; a little above what licence texts give."""


Foreign = list[str]
"""Words of a sentence that the index cannot answer; the first one the index has nowhere."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Own:
    """What a question about a document of the index is made of."""

    title: str
    present: list[str]
    """`NUM_TERMS` words of one of its sentences."""
    absent: str
    """A word of another document, which this one has nowhere."""


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
    foreign: list[Foreign] = []
    for found in itertools.islice(_foreign(store, left_out, chooser), NUM_QUESTIONS):
        progress(len(foreign), NUM_QUESTIONS, "makes questions")
        foreign.append(found)
    own: list[Own] = []
    for made in itertools.islice(_own(store, chooser), NUM_QUESTIONS if foreign else 0):
        progress(len(own), NUM_QUESTIONS, "makes questions")
        own.append(made)
    titles = [made.title for made in own]
    reworded = [
        [chooser.choice(foreign)[0], *chooser.sample(made.present, NUM_TERMS - 1)] for made in own
    ]
    unanswerable = {
        "words of a document left out": [" ".join(asked) for asked in foreign],
        "a title and such words": _of(titles, foreign),
        "a title and a word that no document has": _of(titles, [asked[:1] for asked in foreign]),
        "a title and a word that only others have": _of(titles, [[made.absent] for made in own]),
    }
    answerable = {
        "words of a document": [" ".join(asked) for asked in reworded],
        "its title and such words": _of(titles, reworded),
        "its title and a word of it": _of(titles, [made.present[:1] for made in own]),
    }
    return fit(*_scores(Ranker(store), unanswerable, answerable, progress))


def fit(
    unanswerable: Mapping[str, Sequence[float]], answerable: Mapping[str, Sequence[float]]
) -> Calibration:
    """The lowest threshold that bounds the false answers, from the scores of made questions.

    Both are kind of question -> scores.
    """
    fitted: float | None = None
    for percent in range(100, 0, -1):
        wrong = (_num_answered(scores, percent / 100) for scores in unanswerable.values())
        totals = map(len, unanswerable.values())
        if any(upper_bound(*found) > ALPHA for found in zip(wrong, totals, strict=True)):
            break
        fitted = percent / 100
    if fitted is None or not unanswerable:
        total = sum(map(len, unanswerable.values()))
        return Calibration(
            threshold=UNCALIBRATED,
            text=(
                f"Threshold {UNCALIBRATED}, not calibrated: {total} questions that the documents"
                " do not answer could be made, from documents left out of the index and from its"
                f" own, and no threshold bounds the false answers of every kind at {ALPHA:.0%}"
                f" with {CONFIDENCE:.0%} confidence."
            ),
        )
    return Calibration(
        threshold=fitted,
        text=(
            f"Threshold {fitted}. Made questions that the documents do not answer, which got an"
            f" answer: {_rates(unanswerable, fitted, bounded=True)} (at most: with"
            f" {CONFIDENCE:.0%} confidence; {ALPHA:.0%} of each kind accepted). Made questions"
            f" that they do answer, which got one: {_rates(answerable, fitted, bounded=False)}."
            " People's questions differ from made ones: the rates on them may too."
        ),
    )


def _rates(scores: Mapping[str, Sequence[float]], threshold: float, *, bounded: bool) -> str:
    """How many of each kind are answered, e.g. "a title and a word it lacks, 0 of 300 (0.0%)"."""
    parts = []
    for kind, found in scores.items():
        answered = _num_answered(found, threshold)
        bound = f"; at most {upper_bound(answered, len(found)):.1%}" if bounded else ""
        rate = answered / max(len(found), 1)
        parts.append(f"{kind}, {answered} of {len(found)} ({rate:.1%}{bound})")
    return "; ".join(parts)


def _num_answered(scores: Sequence[float], threshold: float) -> int:
    return sum(score >= threshold for score in scores)


def upper_bound(wrong: int, total: int) -> float:
    """One-sided Clopper-Pearson upper bound of a rate of which `wrong` in `total` were seen.

    >>> round(upper_bound(0, 29), 4)  # the rule of three
    0.0981
    """
    if wrong >= total:
        return 1.0
    return float(stats.beta.ppf(CONFIDENCE, wrong + 1, total - wrong))


def _scores(
    ranker: Ranker,
    unanswerable: Mapping[str, Sequence[str]],
    answerable: Mapping[str, Sequence[str]],
    progress: Progress,
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """The scores of the questions of every kind."""
    total = sum(len(made) for kinds in (unanswerable, answerable) for made in kinds.values())
    numbers = itertools.count()

    def score(question: str) -> float:
        if (done := next(numbers)) % 10 == 0:
            progress(done, total, "calibrates the threshold")
        return best(ranker.rank(question))

    first, second = (
        {kind: [score(question) for question in made] for kind, made in kinds.items()}
        for kinds in (unanswerable, answerable)
    )
    return first, second


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
    spans = layout.sentences(document.text)
    for span in chooser.sample(spans, len(spans)):
        asked = terms(span.text)
        if len(asked) >= NUM_TERMS:
            yield document, chooser.sample(asked, len(asked))


def _foreign(
    store: Store, left_out: Sequence[Document], chooser: random.Random
) -> Iterator[Foreign]:
    """Of sentences without a counterpart in the index."""
    names = _name_words(store)
    for _, asked in _sentences(left_out, chooser):
        found = {term: store.sentences_with(term) for term in asked}
        unknown = [term for term in asked if not found[term] and term not in names]
        known = [term for term in asked if found[term]]
        shared = Counter(itertools.chain.from_iterable(found.values()))
        counterpart = max(shared.values(), default=0) / len(asked)
        if unknown and len(known) >= NUM_TERMS - 1 and counterpart <= MAX_SHARED:
            yield [unknown[0], *known[: NUM_TERMS - 1]]


def _own(store: Store, chooser: random.Random) -> Iterator[Own]:
    """Of sentences of the index, with a word of another document that their own has not."""
    names = _name_words(store)
    inside = [store.document(key) for key in store.names()]
    others = _topics(inside, names, chooser)
    for document, present in _topics(inside, names, chooser):
        _, other = next(others, (document, []))
        for absent in other:
            if document.key not in store.documents_with(absent):
                yield Own(title=document.title, present=present[:NUM_TERMS], absent=absent)
                break


def _topics(
    documents: Sequence[Document], names: frozenset[str], chooser: random.Random
) -> Iterator[tuple[Document, list[str]]]:
    """`_sentences` without their numbers and without words out of `names`."""
    for document, asked in _sentences(documents, chooser):
        topic = [term for term in asked if not term[0].isdigit() and term not in names]
        if len(topic) >= NUM_TERMS:
            yield document, topic


def _name_words(store: Store) -> frozenset[str]:
    return frozenset(words("\n".join(name for all in store.names().values() for name in all)))


def _of(titles: Iterable[str], asked: Iterable[Iterable[str]]) -> list[str]:
    """Questions as people put them: what is asked stands apart from the title."""
    return [
        f"What does the {title} say about {' '.join(some)}?"
        for title, some in zip(titles, asked, strict=False)
    ]
