"""Clean text: broken encodings repaired, one form for one character, lines kept."""

from __future__ import annotations

import re
import unicodedata

import ftfy

_REPAIR = ftfy.TextFixerConfig(uncurl_quotes=False, explain=False, normalization="NFC")
"""Typographic quotes are the author's; mojibake is not."""

_CARRIAGE_RETURNS = re.compile("\r\n?")
_LINE_ENDS = re.compile("[\v\f\u2028\u2029]")
_SPACES = re.compile(r"[^\S\n]+")
_BLANK_LINES = re.compile(r"\n{3,}")
_SUSPECT = re.compile(r"[^\t\n -~]|&#?\w+;")
"""What alone a repair could change: characters outside printable ASCII, and HTML entities."""
_VISIBLE_FORMAT = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2")
"""Format characters that print something (Arabic and Syriac number signs)."""

_MAX_ROUNDS = 8


def normalise(text: str) -> str:
    """`text` repaired, in NFC, without control and zero-width characters, white space folded.

    Lines stay lines: every kind of line end becomes a line feed, runs of other white space become
    one space, lines lose the space at both ends, and several blank lines become one. Idempotent.

    >>> normalise("  The\\u200b  licenceâ€™s\\r\\n\\r\\n\\r\\n\\tterms ")
    'The licence’s\\n\\nterms'
    """
    for _ in range(_MAX_ROUNDS):
        # One repair can lay bare another (an escaped escape), so repeat until nothing changes.
        before, text = text, _once(text)
        if text == before:
            break
    return text


def _once(text: str) -> str:
    text = _CARRIAGE_RETURNS.sub("\n", text)
    if _SUSPECT.search(text):
        repaired = (_repair(line) if _SUSPECT.search(line) else line for line in text.split("\n"))
        text = "\n".join(repaired)
    lines = (_SPACES.sub(" ", line).strip() for line in text.split("\n"))
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip("\n")


def _repair(line: str) -> str:
    line = ftfy.fix_text(line, _REPAIR)
    line = _LINE_ENDS.sub("\n", line)
    return unicodedata.normalize("NFC", "".join(c for c in line if _is_kept(c)))


def _is_kept(character: str) -> bool:
    if character in "\n\t":
        return True
    category = unicodedata.category(character)
    return category not in ("Cc", "Cf", "Cs") or character in _VISIBLE_FORMAT
