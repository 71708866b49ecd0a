"""The same request in other words, by rules that a reader would not doubt; English alone.

Each gives back a text as it is where it does not apply. Kinds of paraphrase of which that cannot be
said (synonyms, active and passive, another order of clauses) are not here: whoever knows the
subject writes them into a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

PARAPHRASES = "paraphrases"
"""The name, in figures, of those that a person wrote."""
POLITE = "Please help me with this.\n\n"
ASKS = "I have a question. "
_ENGLISH = frozenset(
    (
        *("the", "what", "which", "how", "does", "why", "where", "when", "and", "of", "with"),
        *("this", "that", "these", "those", "my", "your", "would", "should", "could", "from"),
        *("there", "have", "please"),
    )
)
"""Words that hardly any text of another language has two of."""
_QUOTED = re.compile(r"[\"“”«»`<>{}]|(?<!\w)['‘]")
"""Signs of a text, or code, that somebody else wrote: its wording may matter."""
_SUBJECT = (
    r"\b(I|[Yy]ou|[Hh]e|[Ss]he|[Ii]t|[Ww]e|[Tt]hey|[Tt]his|[Tt]hat|[Tt]hese|[Tt]hose|[Tt]here|"
    r"[Ww]hich|[Ww]ho)"
)
_NO_TAG = r"\b(?! (?:I|you|he|she|it|we|they|this|that|these|those|there)\b)"
"""What follows is no subject: "isn't it", "don't you" are asked the other way round."""
_VERBS = "do|does|did|is|are|was|were|have|has|had|would|should|could"
_LONG: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"{_SUBJECT} ({_VERBS})n['’]t{_NO_TAG}"), r"\1 \2 not"),
    (re.compile(rf"{_SUBJECT} can['’]t{_NO_TAG}"), r"\1 cannot"),
    (re.compile(rf"{_SUBJECT} won['’]t{_NO_TAG}"), r"\1 will not"),
    (re.compile(r"\bI['’]m\b"), "I am"),
    (re.compile(r"\b([Yy]ou|[Ww]e|[Tt]hey)['’]re\b"), r"\1 are"),
    (re.compile(r"\b(I|[Yy]ou|[Ww]e|[Tt]hey)['’]ve\b"), r"\1 have"),
    (re.compile(r"\b(I|[Yy]ou|[Hh]e|[Ss]he|[Ii]t|[Ww]e|[Tt]hey)['’]ll\b"), r"\1 will"),
)
"""Short forms that have one long form; "'s" and "'d" have two, and are left alone."""
_SHORT: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"{_SUBJECT} ({_VERBS}) not{_NO_TAG}"), r"\1 \2n't"),
    (re.compile(rf"{_SUBJECT} cannot{_NO_TAG}(?! but\b)"), r"\1 can't"),
    (re.compile(rf"{_SUBJECT} will not{_NO_TAG}"), r"\1 won't"),
)
"""Negations alone: "I am" cannot be shortened everywhere it stands."""
_QUESTION = re.compile(
    r"(?:What|Which|Who|Whose|When|Where|Why|How|Is|Are|Do|Does|Did|Can|Could|May|Must|Should|Will|"
    r"Would|Has|Have|Was|Were)\b[^\n]*\?"
)
_END = re.compile(r"[.!?]\s")


def contractions(text: str) -> str:
    """Short forms written out; where there are none, negations made short.

    >>> contractions("It says we don't pay."), contractions("It says we do not pay.")
    ('It says we do not pay.', "It says we don't pay.")
    """
    if _QUOTED.search(text):
        return text
    written_out = _all(_LONG, text)
    return written_out if written_out != text else _all(_SHORT, text)


def polite_line(text: str) -> str:
    """A line before a request that asks for help with it.

    >>> polite_line("Name the licence of this file.")
    'Please help me with this.\\n\\nName the licence of this file.'
    """
    return POLITE + text if is_english(text) else text


def question_frame(text: str) -> str:
    """A few words before a text that is one question.

    >>> question_frame("Which licence is this?")
    'I have a question. Which licence is this?'
    """
    asked = text.strip()
    is_one = _QUESTION.fullmatch(asked) and not _END.search(asked)
    return ASKS + text if is_one and is_english(asked) else text


def is_english(text: str) -> bool:
    """Whether two words of it are English ones. Not to know is no."""
    return len(_ENGLISH & set(re.findall(r"[a-z]+", text.lower()))) >= 2


def _all(rules: tuple[tuple[re.Pattern[str], str], ...], text: str) -> str:
    for pattern, into in rules:
        text = pattern.sub(into, text)
    return text


OF_TEXTS: Mapping[str, Callable[[str], str]] = MappingProxyType({"contractions": contractions})
"""Rewrites of any text, by the names that figures have."""
OF_REQUESTS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {"polite line": polite_line, "question frame": question_frame}
)
"""Rewrites of what a user asks, and first: before a text to be classified or gone on with, or an
answer to a question of the model's, the words would be another text."""
REWRITES: tuple[str, ...] = (*OF_TEXTS, *OF_REQUESTS)
