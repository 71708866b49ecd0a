"""White space that belongs to what a text says: the lines, the indentation and the columns of code.

`normalise` folds all white space, so a text that keeps some is laid out here instead, and cut into
passages as if it kept none: where a document's HTML keeps the indentation of its code and its text
version does not, both have the same passages.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Collection, Sequence

from tunesmith.text import chunk
from tunesmith.text.chunk import Span
from tunesmith.text.normalise import normalise

_BLANK_LINES = re.compile(r"\n{3,}")
_LAYOUT = re.compile(r"^[ \t]+|[ \t]{2,}|\t", re.MULTILINE)
_GAP = re.compile(r"\s+")


def laid_out(text: str, code: Sequence[tuple[int, int]]) -> str:
    """`text` normalised, but for the white space within the lines that have a part of `code`,
    spans in order. Several blank lines are one there, too, and no line ends with a space.

    >>> laid_out("Say:\\n\\n\\nif  x:\\n\\ty  =  1", [(7, 22)])
    'Say:\\n\\nif  x:\\n\\ty  =  1'
    """
    if not code:
        return normalise(text)
    ends = [end for _, end in code]
    lines = []
    start = 0
    for line in text.split("\n"):
        at = bisect.bisect_right(ends, start)
        is_code = at < len(code) and code[at][0] < start + len(line)
        lines.append(_with_gaps(line) if is_code else normalise(line))
        start += len(line) + 1
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip("\n")


def _with_gaps(line: str) -> str:
    """The line normalised, with its own gaps before and between the words if it has as many."""
    said = normalise(line)
    words = said.split(" ")
    if "\n" in said or not said or len(words) != len(line.split()):
        return said
    gaps = [re.sub(r"[^\t]", " ", gap) for gap in _GAP.findall(line.rstrip())]
    if not line[0].isspace():
        gaps.insert(0, "")
    return "".join(gap + word for gap, word in zip(gaps, words, strict=True))


def is_laid_out(text: str) -> bool:
    """Whether `normalise` would fold white space within lines of `text` and change nothing else."""
    return _folded(text)[0] == normalise(text)


def sentences(document: str) -> list[Span]:
    """The sentences of a document that may be laid out: those of `chunk.sentences` without."""
    plain, breaks = _folded(document)
    return _placed(document, chunk.sentences(plain), breaks)


def passages(document: str, *, sections: Collection[int] = ()) -> list[Span]:
    """The passages of a document that may be laid out: those of `chunk.passages` without, so that
    a run of white space counts as one character, and none at the start of a line."""
    plain, breaks = _folded(document)
    begun = [_before(at, breaks) for at in sections]
    return _placed(document, chunk.passages(plain, sections=begun), breaks)


def _folded(text: str) -> tuple[str, list[tuple[int, int, int]]]:
    """The text without layout, and where it was taken out: (place after it in the folded text, in
    the text, and how many characters were taken out so far)."""
    pieces: list[str] = []
    breaks: list[tuple[int, int, int]] = []
    last = taken = 0
    for match in _LAYOUT.finditer(text):
        start, end = match.span()
        kept = "" if start == 0 or text[start - 1] == "\n" else " "
        pieces += text[last:start], kept
        taken += end - start - len(kept)
        breaks.append((end - taken, end, taken))
        last = end
    pieces.append(text[last:])
    return "".join(pieces), breaks


def _before(at: int, breaks: list[tuple[int, int, int]]) -> int:
    """A place of the text in the folded one."""
    known = bisect.bisect_right(breaks, at, key=lambda each: each[1])
    return at - (breaks[known - 1][2] if known else 0)


def _placed(document: str, spans: list[Span], breaks: list[tuple[int, int, int]]) -> list[Span]:
    """Spans of the folded text, which begin and end with words or marks, in the document."""

    def place(at: int) -> int:
        known = bisect.bisect_right(breaks, at, key=lambda each: each[0])
        return at + (breaks[known - 1][2] if known else 0)

    if not breaks:
        return spans
    found = []
    for span in spans:
        start, end = place(span.start), place(span.end - 1) + 1
        found.append(Span(start=start, end=end, text=document[start:end]))
    return found
