"""How near an answer that a model made is to what was to be said: each metric from 0 to 1, of one
answer, higher is better. Where several answers are right, the nearest counts.

ROUGE: Lin, ROUGE (2004), the F-measure, without stemming. chrF: Popovic, chrF (WMT 2015), n-grams
of one to six characters, recall counts twice. Token F1: Rajpurkar et al., SQuAD (2016).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

CHARS = 6
"""The longest n-grams of characters of chrF."""
BETA = 2.0
"""How often recall counts beside precision in chrF."""
_WORDS = re.compile(r"[^\W_]+")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_MARKS = str.maketrans("", "", string.punctuation)


def exact_match(said: str, wanted: str) -> float:
    """1 for what was to be said, but for white space around it."""
    return float(said.strip() == wanted.strip())


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
    return _f_measure(_common(_runs(mine, 1), _runs(right, 1)), len(mine), len(right))


def rouge_n(said: str, wanted: str, size: int) -> float:
    """The F-measure of runs of `size` words.

    Words are letters and digits of any script, without capitals.
    """
    mine, right = (_runs(_words(text), size) for text in (said, wanted))
    return _f_measure(_common(mine, right), mine.total(), right.total())


def rouge_l(said: str, wanted: str) -> float:
    """The F-measure of the longest sequence of words that both have in one order."""
    mine, right = _words(said), _words(wanted)
    before = [0] * (len(right) + 1)
    for word in mine:
        lengths = [0]
        for place, other in enumerate(right):
            longer = before[place] + 1 if word == other else max(before[place + 1], lengths[place])
            lengths.append(longer)
        before = lengths
    return _f_measure(before[-1], len(mine), len(right))


def chr_f(said: str, wanted: str) -> float:
    """chrF of runs of characters without white space; of the lengths that both texts have."""
    mine, right = ("".join(text.split()) for text in (said, wanted))
    precisions, recalls = [], []
    for size in range(1, CHARS + 1):
        one, other = _runs(mine, size), _runs(right, size)
        if one and other:
            common = _common(one, other)
            precisions.append(common / one.total())
            recalls.append(common / other.total())
    precision, recall = (sum(each) / max(1, len(each)) for each in (precisions, recalls))
    if not precision + recall:
        return 0.0
    return (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)


METRICS: Mapping[str, Callable[[str, str], float]] = MappingProxyType(
    {
        "exact match": exact_match,
        "normalised match": normalised_match,
        "token F1": token_f1,
        "ROUGE-1": lambda said, wanted: rouge_n(said, wanted, 1),
        "ROUGE-2": lambda said, wanted: rouge_n(said, wanted, 2),
        "ROUGE-L": rouge_l,
        "chrF": chr_f,
    }
)
"""By name: metric(said, wanted)."""


def nearest(metric: str, said: str, wanted: Iterable[str]) -> float:
    """How near `said` is to the nearest of the right answers.

    >>> nearest("exact match", "MIT", ["Expat", "MIT"])
    1.0
    """
    return max(METRICS[metric](said, each) for each in wanted)


def _normalised(text: str) -> str:
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_MARKS)).split())


def _words(text: str) -> list[str]:
    return _WORDS.findall(text.lower())


def _runs(items: Sequence[str], size: int) -> Counter[Sequence[str]]:
    """The runs of `size` items: of words as tuples, of a text's characters as texts."""
    frozen = items if isinstance(items, str) else tuple(items)
    return Counter(frozen[at : at + size] for at in range(len(frozen) - size + 1))


def _common(one: Counter[Sequence[str]], other: Counter[Sequence[str]]) -> int:
    return (one & other).total()


def _f_measure(common: int, num_said: int, num_wanted: int) -> float:
    return 2 * common / (num_said + num_wanted) if common else 0.0
