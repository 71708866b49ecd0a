"""What of an answer is measured: what an expression finds in it, without what others match.

The expressions are RE2's, which has no look-around and no back-references, and takes time in
proportion to the text whatever both say: Cox, Regular Expression Matching Can Be Simple And Fast
(2007). So no answer, and no expression of a stranger, can make a run hang.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

MAX_CHARS = 500
"""Of an expression."""
MAX_GROUPS = 9
"""That are looked at."""
_BEGIN, _NEXT, _END = "\x01", "\x02", "\x03"
_MARKS = str.maketrans("", "", _BEGIN + _NEXT + _END)
_MARKED = re.compile(f"{_BEGIN}([^{_END}]*){_END}")


def check_pattern(pattern: str) -> str:
    """`pattern`, which RE2 can read.

    Raises:
        ValueError: it cannot, or it is too long.
    """
    if len(pattern) > MAX_CHARS:
        raise ValueError(f"an expression has at most {MAX_CHARS} characters, not {len(pattern)}")
    try:
        _replaced([""], pattern, "")
    except ValueError as error:  # pyarrow.ArrowInvalid
        said = str(error).partition(": ")[2] or str(error)
        raise ValueError(
            f"the expression {pattern!r} is none that RE2 can read: {said}; it has no look-around "
            "and no back-references"
        ) from None
    return pattern


def found(pattern: str, texts: Sequence[str], *, last: bool = False) -> list[str]:
    """What the first (or last) match in each text is: its first group that is not empty, or of an
    expression without groups all of it; without white space around it, and "" where none matches.

    >>> found("#### ([0-9]+)", ["so\\n#### 18", "18"])
    ['18', '']
    """
    groups = range(1, _num_groups(pattern) + 1) or [0]
    rewrite = _BEGIN + _NEXT.join(f"\\{group}" for group in groups) + _END
    chosen = []
    for text in _replaced([text.translate(_MARKS) for text in texts], pattern, rewrite):
        matches = _MARKED.findall(text)
        parts = matches[-1 if last else 0].split(_NEXT) if matches else []
        chosen.append(next(filter(None, parts), "").strip())
    return chosen


def without(patterns: Sequence[str], texts: Sequence[str]) -> list[str]:
    """The texts without what any of the expressions matches, one after the other.

    >>> without([",", "[$]"], ["$1,000"])
    ['1000']
    """
    kept = list(texts)
    for pattern in patterns:
        kept = _replaced(kept, pattern, "")
    return kept


def _num_groups(pattern: str) -> int:
    """Groups of an expression, up to `MAX_GROUPS`."""
    for group in range(1, MAX_GROUPS + 1):
        try:
            _replaced([""], pattern, f"\\{group}")
        except ValueError:  # there is no such group
            return group - 1
    return MAX_GROUPS


def _replaced(texts: Sequence[str], pattern: str, rewrite: str) -> list[str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    column = pa.array(texts, pa.string())
    made: Any = pc.replace_substring_regex(column, pattern=pattern, replacement=rewrite)
    return list(made.to_pylist())
