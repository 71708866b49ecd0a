"""Changes to a text that leave its meaning: each drawn from a name, so that any can be made again.

After the kinds of Ribeiro et al., "Beyond Accuracy: Behavioral Testing of NLP Models with
CheckList" (ACL 2020), and of Belinkov and Bisk, arXiv 1711.02173, for typos.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping

TYPO_SHARE = 0.1
"""Of the words that are long enough, how many get a typo; at least one."""
MIN_LETTERS = 4
_WORD = re.compile(rf"[^\W\d_]{{{MIN_LETTERS},}}")
_SPACE = re.compile(r"[ \t]+")
_ENDS = ".!?"


def typos(text: str, draw: random.Random) -> str:
    """Two neighbouring letters inside some words exchanged, as fingers do; a first letter stays.

    A text without a word of four letters, not all alike, stays as it is.
    """
    places = [
        [at for at in range(match.start() + 1, match.end() - 1) if text[at] != text[at + 1]]
        for match in _WORD.finditer(text)
    ]
    words = [of_word for of_word in places if of_word]
    letters = list(text)
    for of_word in draw.sample(words, max(1, round(TYPO_SHARE * len(words)))) if words else []:
        at = draw.choice(of_word)
        letters[at], letters[at + 1] = letters[at + 1], letters[at]
    return "".join(letters)


def lower_case(text: str, _draw: random.Random) -> str:
    """All letters small."""
    return text.lower()


def upper_case(text: str, _draw: random.Random) -> str:
    """All letters capital."""
    return text.upper()


def whitespace(text: str, draw: random.Random) -> str:
    """Blanks before and behind the text, and some of those in it doubled; lines stay lines."""
    spread = _SPACE.sub(lambda match: match[0] * draw.choice((1, 1, 2)), text)
    return f" {spread} "


def punctuation(text: str, _draw: random.Random) -> str:
    """The sign at the end taken away, or a full stop put there where none is."""
    bare = text.rstrip()
    return bare.rstrip(_ENDS) or bare if bare.endswith(tuple(_ENDS)) else bare + "."


Change = Callable[[str, random.Random], str]
CHANGES: Mapping[str, Change] = {
    "typos": typos,
    "lower case": lower_case,
    "upper case": upper_case,
    "whitespace": whitespace,
    "punctuation": punctuation,
}
"""By the names that figures have."""


def perturbed(text: str, change: str, name: str) -> str:
    """`text` after a change, drawn for `name` alone: the seed and the row's id."""
    return CHANGES[change](text, random.Random(f"{name}/{change}"))  # noqa: S311  (no secret)
