"""How near an answer that a model made is to what was to be said: each metric from 0 to 1, of one
answer, higher is better. Where several answers are right, the nearest counts.

ROUGE: Lin, ROUGE (2004), the F-measure, without stemming. chrF: Popovic, chrF (WMT 2015), n-grams
of one to six characters, recall counts twice. BLEU: Papineni et al., BLEU (ACL 2002), of one
answer, smoothed as in Chen and Cherry (WMT 2014), method 3. Token F1: Rajpurkar et al., SQuAD
(2016).
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

CHARS = 6
"""The longest n-grams of characters of chrF."""
BETA = 2.0
"""How often recall counts beside precision in chrF."""
WORDS = 4
"""The longest runs of words of BLEU."""
_APART = tuple(
    (re.compile(pattern), apart)
    for pattern, apart in (
        (r"([\{-\~\[-\` -\&\(-\+\:-\@\/])", r" \1 "),
        (r"([^0-9])([\.,])", r"\1 \2 "),
        (r"([\.,])([^0-9])", r" \1 \2"),
        (r"([0-9])(-)", r"\1 \2 "),
    )
)
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


def bleu(said: str, wanted: str) -> float:
    """BLEU of one answer: runs of one to four words, of the lengths that the answer has; of lengths
    of which none is right half of one, a quarter of one, and so on."""
    mine, right = _marked(said), _marked(wanted)
    logs, fewer = [], 1.0
    for size in range(1, WORDS + 1):
        one = _runs(mine, size)
        if not one:
            break
        common = _common(one, _runs(right, size))
        if not common:
            fewer /= 2
        logs.append(math.log((common or fewer) / one.total()))
    # Without a single word in common it is 0, however short the answer is.
    if not logs or not _common(_runs(mine, 1), _runs(right, 1)):
        return 0.0
    brevity = min(0.0, 1 - len(right) / len(mine))
    return math.exp(brevity + sum(logs) / len(logs))


METRICS: Mapping[str, Callable[[str, str], float]] = MappingProxyType(
    {
        "exact match": exact_match,
        "caseless match": caseless_match,
        "normalised match": normalised_match,
        "token F1": token_f1,
        "ROUGE-1": lambda said, wanted: rouge_n(said, wanted, 1),
        "ROUGE-2": lambda said, wanted: rouge_n(said, wanted, 2),
        "ROUGE-L": rouge_l,
        "chrF": chr_f,
        "BLEU": bleu,
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


def _marked(text: str) -> list[str]:
    """Words as WMT counts them (`mteval-v13a`): marks are words of their own, but for the points
    and commas of numbers and the hyphens of words."""
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, mark in (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")):
        text = text.replace(entity, mark)
    text = f" {text} "
    for pattern, apart in _APART:
        text = pattern.sub(apart, text)
    return text.split()


def _runs(items: Sequence[str], size: int) -> Counter[Sequence[str]]:
    """The runs of `size` items: of words as tuples, of a text's characters as texts."""
    frozen = items if isinstance(items, str) else tuple(items)
    return Counter(frozen[at : at + size] for at in range(len(frozen) - size + 1))


def _common(one: Counter[Sequence[str]], other: Counter[Sequence[str]]) -> int:
    return (one & other).total()


def _f_measure(common: int, num_said: int, num_wanted: int) -> float:
    return 2 * common / (num_said + num_wanted) if common else 0.0
