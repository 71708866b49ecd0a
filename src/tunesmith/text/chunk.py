"""Sentences and passages of a document, as spans: `document[span.start:span.end] == span.text`.

Written for legal text: lines are wrapped by hand, clauses are numbered, headings stand alone, and
a full stop often ends an abbreviation. Rules rather than a model, so that a span is the same on
every machine and a citation can be checked by eye.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_CHARS = 1000
"""Default bound of a sentence and of a passage, in characters (about 250 tokens of English)."""
FULL = 0.7
"""Letters of a full passage, as a share of the most characters: English has about 0.75."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A stretch of a document: `document[start:end] == text`."""

    start: int
    end: int
    text: str


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_ABBREVIATIONS = _set(
    "e.g i.e eg ie cf viz v vs al inc ltd corp co llc plc gmbh bros mr mrs ms dr prof st jr sr "
    "hon rev gen dept univ assn approx incl excl esp u.s u.k ph.d"
)
"""Words whose full stop does not end a sentence."""

_NUMBERED = _set("no nos nr sec secs art arts fig figs vol p pp ch para paras cl ed ver")
"""Words whose full stop does not end a sentence when a number or a capital letter follows."""

_LEADING_WORDS = _set(
    "section sections version versions clause clauses article articles paragraph paragraphs "
    "copyright exhibit appendix part number chapter the a an of by to in under with"
)
"""After these words a number at the start of a line is part of the sentence, not of a list."""

_END = re.compile(r"[.!?][\"'”’»)\]]*(?=\s)")
_WORD_BEFORE = re.compile(r"[\w.&]+\Z")
_INITIALS = re.compile(r"(?:[A-Za-z]\.)*[A-Za-z]\Z")
_NUMBER_AHEAD = re.compile(r"[\[(\"“]*(?:\d|[A-Z]\b|[IVXLC]+\b)")
_CONTINUES = re.compile(r"[a-z,;:.)\]]")
_CLAUSE = re.compile(
    r"""[ \t]*(?:
        \(?(?:\d{1,3}(?:\.\d{1,3})*|[A-Za-z]|[ivxIVX]{2,5})(?:\)|\.)(?=\s)(?!\s*(?:19|20)\d\d\b)
      | \d{1,3}(?:\.\d{1,3})+(?=\s+["“(]?[A-Z])
      | §+\s*\d
    )""",
    re.VERBOSE,
)
"""The number of a clause at the start of a line; "(c) 1999" is a copyright sign."""
_BULLET = re.compile(r"[ \t]*(?:[-–—•·▪◦]|\*)(?=[ \t])")
_HEADING = re.compile(r"[ \t]*#{1,6} \S")
_WORDS = re.compile(r"[^\W_]")
_ADDRESS = re.compile(r"[(<\[]?[a-z]+://\S+")


def sentences(document: str, *, max_chars: int = MAX_CHARS) -> list[Span]:
    """The sentences of `document` in order: disjoint, trimmed, together all letters and digits.

    A blank line, a numbered clause, a list item and a heading start a new sentence; a line break
    alone does not. A sentence of more than `max_chars` characters is cut at a line break, a
    semicolon or a comma, else between words, else anywhere.
    """
    if max_chars < 1:
        raise ValueError(f"max_chars must be positive, not {max_chars}")
    found: list[Span] = []
    for start, end in _blocks(document):
        for first, last in _split_block(document, start, end):
            found.extend(_cut(document, first, last, max_chars))
    return found


def passages(document: str, *, max_chars: int = MAX_CHARS) -> list[Span]:
    """`document` as disjoint runs of whole sentences, each of at most `max_chars` characters.

    A passage ends before the sentence that would make it too long, and at a blank line once it is
    half full. Full it is by its letters, `FULL` of `max_chars`: quotation marks, bullets, numbers
    of items and addresses behind links differ between a document's PDF, HTML and text, and each
    cut that one of them moved would move the next ones. The sentences are those of
    `sentences(document, max_chars=max_chars)`.
    """
    found: list[Span] = []
    full = FULL * max_chars
    start = end = -1
    said = 0
    for sentence in sentences(document, max_chars=max_chars):
        more = _num_letters(sentence.text)
        if start >= 0:
            is_too_long = sentence.end - start > max_chars or said + more > full
            if is_too_long or (2 * said >= full and _is_blank(document[end : sentence.start])):
                found.append(Span(start=start, end=end, text=document[start:end]))
                start, said = sentence.start, 0
        else:
            start = sentence.start
        end = sentence.end
        said += more
    if start >= 0:
        found.append(Span(start=start, end=end, text=document[start:end]))
    return found


def _num_letters(text: str) -> int:
    """Letters of `text`, without addresses."""
    if "://" in text:
        text = _ADDRESS.sub("", text)
    return sum(map(str.isalpha, text))


def _is_blank(gap: str) -> bool:
    return gap.count("\n") > 1 or not gap.isspace()


def _blocks(document: str) -> Iterator[tuple[int, int]]:
    """(start, end) of the stretches within which only punctuation can end a sentence."""
    start: int | None = None
    offset = 0
    previous = ""
    is_first = False
    for line in document.split("\n"):
        end = offset + len(line)
        if not _WORDS.search(line):  # a blank line, or a rule such as "====="
            if start is not None:
                yield start, offset
            start = None
        elif start is None or _starts_block(previous, line, is_first):
            if start is not None:
                yield start, offset
            start, is_first = offset, True
        else:
            is_first = False
        previous = line
        offset = end + 1
    if start is not None:
        yield start, len(document)


def _starts_block(previous: str, line: str, previous_is_first: bool) -> bool:
    """Whether `line`, right after the line `previous`, starts a clause, an item or a text."""
    if _HEADING.match(line) or _HEADING.match(previous):
        return True
    if bullet := _BULLET.match(line):
        # A star on every line is the frame of a comment, not a list.
        return not (bullet.group().endswith("*") and previous.lstrip().startswith("*"))
    if clause := _CLAUSE.match(line):
        words = previous.split()
        if words[-1].lower().strip("(\"'“") in _LEADING_WORDS:
            return False
        ahead = line[clause.end() :].lstrip(" \t\"'“(")
        return (
            previous.rstrip()[-1] in ".:;,!?)]" or not ahead[:1].islower() or _is_joint(words[-1])
        )
    is_heading = previous_is_first and previous.isupper() and len(previous.strip()) <= 60
    return is_heading and any(c.islower() for c in line) and previous.rstrip()[-1] not in ",;-"


def _is_joint(word: str) -> bool:
    return word.lower() in ("and", "or")


def _split_block(document: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    first = start
    clause = _CLAUSE.match(document, start, end)
    # The full stop of the clause's own number ends nothing.
    position = clause.end() if clause else start
    while match := _END.search(document, position, end):
        position = match.end()
        if _ends_sentence(document, first, match.start(), position, end):
            yield first, position
            first = position
    yield first, end


def _ends_sentence(document: str, first: int, stop: int, after: int, end: int) -> bool:
    """Whether the mark at `stop` ends the sentence that began at `first`."""
    ahead = document[after:end].lstrip()[:24]
    if not ahead or _CONTINUES.match(ahead):
        return False
    if document[stop] != ".":
        return True
    word = _WORD_BEFORE.search(document, max(first, stop - 40), stop)
    if word is None:
        return True
    name = word.group().strip(".")
    if name.lower() in _ABBREVIATIONS:
        return False
    if name.lower() in _NUMBERED and _NUMBER_AHEAD.match(ahead):
        return False
    is_initial = bool(_INITIALS.match(name)) and name.upper() == name and not name.isdigit()
    return not is_initial


def _cut(document: str, start: int, end: int, max_chars: int) -> Iterator[Span]:
    """The trimmed stretch in pieces of at most `max_chars` characters."""
    while True:
        while start < end and document[start].isspace():
            start += 1
        while end > start and document[end - 1].isspace():
            end -= 1
        if not _WORDS.search(document, start, end):
            return
        if end - start <= max_chars:
            yield Span(start=start, end=end, text=document[start:end])
            return
        cut = _best_cut(document, start, start + max_chars)
        yield from _cut(document, start, cut, max_chars)
        start = cut


def _best_cut(document: str, start: int, limit: int) -> int:
    """Where to cut before `limit`: the last good place in the second half, else `limit`."""
    middle = start + (limit - start) // 2
    for mark in ("\n", ";", ",", " "):
        found = document.rfind(mark, middle, limit)
        if found > start:
            return found + (mark in ";,")
    return limit
