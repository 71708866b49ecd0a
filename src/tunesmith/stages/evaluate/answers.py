"""How near an answer that a model made is to what was to be said: each metric from 0 to 1, of one
answer, higher is better. Where several answers are right, the nearest counts.

Token F1: Rajpurkar et al., SQuAD (2016). ROUGE: Lin, ROUGE (2004), the F-measure, by torchmetrics,
without stemming; words are letters and digits of any script, without capitals, so that of English
it is what rouge-score says. BLEU and chrF of one answer: see `corpus`.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

from tunesmith.stages.evaluate.corpus import score_of_one

_WORDS = re.compile(r"[^\W_]+")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_MARKS = str.maketrans("", "", string.punctuation)


def exact_match(said: str, wanted: str) -> float:
    """1 for what was to be said, but for white space around it."""
    return float(said.strip() == wanted.strip())


def caseless_match(said: str, wanted: str) -> float:
    """1 for what was to be said, but for capitals and white space around it.

    >>> caseless_match("mit", " MIT"), caseless_match("MIT.", "MIT")
    (1.0, 0.0)
    """
    return exact_match(said.lower(), wanted.lower())


def normalised_match(said: str, wanted: str) -> float:
    """1 where both are the same without capitals, punctuation (ASCII) and English articles.

    >>> normalised_match("The MIT licence.", "MIT Licence")
    1.0
    """
    return float(_normalised(said) == _normalised(wanted))


def token_f1(said: str, wanted: str) -> float:
    """The F-measure of the words of both, as many times as each occurs, normalised as by
    `normalised_match`.

    >>> token_f1("the licence is MIT", "MIT licence")
    0.8
    """
    mine, right = _normalised(said).split(), _normalised(wanted).split()
    if not mine or not right:
        return float(mine == right)
    common = (Counter(mine) & Counter(right)).total()
    return 2 * common / (len(mine) + len(right))


def rouge(kind: str, said: str, wanted: Sequence[str]) -> float:
    """The F-measure of what torchmetrics calls `kind`: "rouge1" of words, "rouge2" of pairs of
    them, "rougeL" of the longest sequence of words that both have in one order."""
    from torchmetrics.functional.text.rouge import rouge_score

    found = rouge_score(
        [said],
        [list(wanted)],
        accumulate="best",
        normalizer=str.lower,
        tokenizer=_WORDS.findall,
        rouge_keys=kind,
    )
    return float(found[f"{kind}_fmeasure"])


def _of_nearest(metric: Callable[[str, str], float], said: str, wanted: Sequence[str]) -> float:
    return max(metric(said, each) for each in wanted)


METRICS: Mapping[str, Callable[[str, Sequence[str]], float]] = MappingProxyType(
    {
        "exact match": partial(_of_nearest, exact_match),
        "caseless match": partial(_of_nearest, caseless_match),
        "normalised match": partial(_of_nearest, normalised_match),
        "token F1": partial(_of_nearest, token_f1),
        "ROUGE-1": partial(rouge, "rouge1"),
        "ROUGE-2": partial(rouge, "rouge2"),
        "ROUGE-L": partial(rouge, "rougeL"),
        "chrF": partial(score_of_one, "chrF"),
        "BLEU": partial(score_of_one, "BLEU"),
    }
)
"""By name: metric(said, what is right)."""


def nearest(metric: str, said: str, wanted: Sequence[str]) -> float:
    """How near `said` is to the nearest of the right answers.

    >>> nearest("exact match", "MIT", ["Expat", "MIT"])
    1.0
    """
    return METRICS[metric](said, wanted)


def _normalised(text: str) -> str:
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_MARKS)).split())
