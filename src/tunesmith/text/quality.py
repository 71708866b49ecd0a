"""Rules that tell a text of words from lists, tables, menus and text that repeats itself.

The thresholds are those of Rae et al., "Scaling Language Models" (2021), appendix A.1.1 and table
A1, for English prose. They say nothing of whether a text is true or well written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

Rule = Literal[
    "few-letters", "odd-words", "symbols", "bullets", "ellipses", "repeated-lines", "repeated-words"
]
MIN_WORDS = 20
"""In a shorter text repetition means nothing."""
_MEAN_LENGTH = 3, 10
_MOST_REPEATED = {2: 0.20, 3: 0.18, 4: 0.16}
"""By words in a run: the most that the commonest run may be of all characters of words."""
_BULLETS = ("-", "*", "•", "‣", "●", "–")
_ELLIPSES = ("...", "…")


def broken(text: str) -> tuple[Rule, ...]:
    """The rules that a text breaks, in their order; none for a text without words."""
    words = text.split()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return tuple(rule for rule, breaks in _RULES.items() if words and breaks(words, lines))


def _few_letters(words: Sequence[str], _lines: Sequence[str]) -> bool:
    """Fewer than 80 % of the words have a letter."""
    return sum(any(map(str.isalpha, word)) for word in words) < 0.8 * len(words)


def _odd_words(words: Sequence[str], _lines: Sequence[str]) -> bool:
    """The mean word has fewer than 3 or more than 10 characters."""
    least, most = _MEAN_LENGTH
    return not least <= sum(map(len, words)) / len(words) <= most


def _symbols(words: Sequence[str], _lines: Sequence[str]) -> bool:
    """More than one hash sign, or more than one ellipsis, for ten words."""
    hashes = sum(word.count("#") for word in words)
    ellipses = sum(word.count("...") + word.count("…") for word in words)
    return max(hashes, ellipses) > 0.1 * len(words)


def _bullets(_words: Sequence[str], lines: Sequence[str]) -> bool:
    """More than 90 % of the lines begin with a bullet."""
    return sum(line.startswith(_BULLETS) for line in lines) > 0.9 * len(lines)


def _ellipses(_words: Sequence[str], lines: Sequence[str]) -> bool:
    """More than 30 % of the lines end with an ellipsis."""
    return sum(line.endswith(_ELLIPSES) for line in lines) > 0.3 * len(lines)


def _repeated_lines(words: Sequence[str], lines: Sequence[str]) -> bool:
    """More than 30 % of the lines stood there before."""
    return len(words) >= MIN_WORDS and len(lines) - len(set(lines)) > 0.3 * len(lines)


def _repeated_words(words: Sequence[str], _lines: Sequence[str]) -> bool:
    """The commonest run of two, three or four words is too much of the text."""
    if len(words) < MIN_WORDS:
        return False
    folded = [word.casefold() for word in words]
    whole = sum(map(len, folded))
    for num, most in _MOST_REPEATED.items():
        runs = Counter(zip(*(folded[at:] for at in range(num)), strict=False))
        run, count = max(runs.items(), key=lambda each: (each[1], each[0]))
        if count > 1 and count * sum(map(len, run)) > most * whole:
            return True
    return False


_RULES: Mapping[Rule, Callable[[Sequence[str], Sequence[str]], bool]] = {
    "few-letters": _few_letters,
    "odd-words": _odd_words,
    "symbols": _symbols,
    "bullets": _bullets,
    "ellipses": _ellipses,
    "repeated-lines": _repeated_lines,
    "repeated-words": _repeated_words,
}
