"""Words: the one form in which texts, names and questions meet, and safe FTS5 queries of them."""

from __future__ import annotations

import re
from collections.abc import Iterable

_UNSPECIFIC = (
    "a about above after again all allow allows also am an and any are as at be because been "
    "being below but by can could did do does doing done for from had has have having he her here "
    "hers him his how i if in into is it its just let may me mention mentions might mine more "
    "most must my need no nor not of off on once only or other our ours out over own please "
    "require requires same say says shall she should so some such tell than that the their theirs "
    "them then there these they this those through to too under until up upon us very want wants "
    "was we were what when where which while who whom whose why will with would you your yours "
)
"""Articles, pronouns, prepositions, auxiliaries, and the words that frame a question."""

STOP_WORDS = frozenset(_UNSPECIFIC.split())

_WORD = re.compile(r"[^\W_]+(?:\.[0-9]+)*")
_VERSIONED = re.compile(r"([^\W\d]{2,}?)?v?([0-9]+(?:\.[0-9]+)*)")
_ZEROS = re.compile(r"(?:\.0)+\Z")
_SPELLINGS = (
    (re.compile(r"(?<=[a-z]{2})ence(?=[sd]?\Z)"), "ense"),  # licence, defence
    (re.compile(r"(?<=[a-z]{3})is(?=(?:e[sdr]?|ing|ations?)\Z)"), "iz"),  # authorise
    (re.compile(r"(?<=[a-z]{3})our(?=(?:s|ed|ing|able)?\Z)"), "or"),  # favour
)
"""British endings and the American ones. Applied to every text, so a wrong fold costs little."""


def words(text: str) -> list[str]:
    """The words of `text`: folded, in one spelling, a name apart from its version.

    >>> words("GPL-3.0") == words("gplv3") == words("GPL v3") == ["gpl", "3"]
    True
    >>> words("The LGPL-2.1's licence")
    ['the', 'lgpl', '2.1', 's', 'license']
    """
    found: list[str] = []
    for word in _WORD.findall(text.casefold()):
        if versioned := _VERSIONED.fullmatch(word):
            name, version = versioned.groups()
            found += [name] if name else []
            found.append(_ZEROS.sub("", version))
            continue
        for british, american in _SPELLINGS:
            word = british.sub(american, word)
        found.append(word)
    return found


def terms(text: str) -> list[str]:
    """The distinct words of `text` that say what it is about, in order.

    >>> terms("What does the Apache licence say about patents?")
    ['apache', 'license', 'patents']
    """
    return [
        word
        for word in dict.fromkeys(words(text))
        if word not in STOP_WORDS and (len(word) > 1 or word.isdigit())
    ]


def match_any(terms: Iterable[str]) -> str:
    """An FTS5 MATCH expression for any of `terms`; quoted, no operator is more than a word.

    >>> match_any(["near", "2.1"])
    '"near" OR "2.1"'
    """
    return " OR ".join('"' + term.replace('"', '""') + '"' for term in terms)
