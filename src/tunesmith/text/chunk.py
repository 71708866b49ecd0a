"""Sentences and passages of a document, as spans: `document[span.start:span.end] == span.text`.

Written for legal text: lines are wrapped by hand, clauses are numbered, headings stand alone, and
a full stop often ends an abbreviation. Rules rather than a model, so that a span is the same on
every machine and a citation can be checked by eye.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

MAX_CHARS = 1000
"""Default bound of a sentence and of a passage, in characters (about 250 tokens of English)."""
FULL = 0.65
"""Letters of a full passage, as a share of the most characters: English has about 0.75, and less
among marks and addresses, so that the most characters end a passage seldom."""


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

_END = re.compile(
    r"""[.!?]["'”’»)\]]*
    (?:(?:[^\S\n]?\[\d{1,3}\])+ | (?:\n\[\d{1,3}\])+(?=\n|\Z))?(?=\s|\Z)""",
    re.VERBOSE,
)
"""What ends a sentence, with the numbers of its footnotes."""
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
_LONE_NUMBER = re.compile(r"[ \t]*\d{1,3}(?:\.\d{1,3})+[ \t]*\Z")
_BULLET = re.compile(r"[ \t]*(?:[-–—•·▪◦]|\*)(?=[ \t])")
_HEADING = re.compile(r"[ \t]*#{1,6} \S")
_MARKED_HEADING = re.compile(r"^#{1,6} [^\W_]", re.MULTILINE)
_UNDERLINED = re.compile(
    r"(?:\A|\n\n|^([=\-~*^+#\"])\1{2,}\n)(?P<title>.*[^\W_].*)\n(?P<line>([=\-~*^+#\"])\4{2,})$",
    re.MULTILINE,
)
"""A line alone between a blank one, or a rule, and a rule (Markdown, reStructuredText)."""
_NUMBERED_HEADING = re.compile(
    r"""(?:\A|(?<=\n\n))
    (?: (?:chapter|appendix|part)[ ]+(?:\d{1,3}|[A-Z]|[IVXLC]{1,6}) (?:[.:][ ]+\S.*)?
      | (?:\d{1,3}|[A-Z])(?:\.\d{1,3})+\.?[ ]+["“(/.~<]{0,3}[^\W\d_].* )
    (?:\n.+){0,2}(?<![.:;,])(?=\n\n|\Z)""",
    re.VERBOSE | re.IGNORECASE,
)
"""A paragraph of up to three lines that begins with the number of a chapter, or one of two parts or
more, and is no sentence."""
_CONTENTS = 5
"""Headings, one after another, that are a list of contents."""
_MAX_HEADING = 100
"""Letters of a heading, with the number of its chapter above it."""
_NOTE = re.compile(r"\^?\[\d{1,3}\]\s")
_WORDS = re.compile(r"[^\W_]")
_ADDRESS = re.compile(r"[(<\[]?[a-z]+:\n?//\S+")


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


def passages(
    document: str, *, sections: Collection[int] = (), max_chars: int = MAX_CHARS
) -> list[Span]:
    """`document` as disjoint runs of whole sentences, each of at most `max_chars` characters, of
    which what stands between two sentences counts as one.

    A passage is a section, a note or a list of contents, or a part of one: where it would be too
    long it ends before the first paragraph or item that begins once it is half full, else before
    the first such sentence. So a cut depends on its own section alone, and where a document's PDF
    differs from its HTML or text, passages of other sections stay the same. A heading that nothing
    stands below goes with the next one. `sections` are the offsets at which headings begin, as a
    reader of the document's format knows; those that are marked, numbered or underlined are told
    from the text. A note is a paragraph that begins with its number in brackets: formats have them
    at other places.

    Full it is by its letters, `FULL` of `max_chars`: quotation marks, bullets, numbers of items and
    addresses behind links differ between formats, too. The sentences are those of
    `sentences(document, max_chars=max_chars)`.
    """
    found: list[Span] = []
    for section in _sections(document, sorted({*sections, *_headings(document)}), max_chars):
        start = 0
        while start < len(section):
            end = _end_of_passage(section, start, max_chars)
            first, last = section[start].span.start, section[end - 1].span.end
            found.append(Span(start=first, end=last, text=document[first:last]))
            start = end
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class _Said:
    """A sentence as its passage is made."""

    span: Span
    num_letters: int
    is_first: bool
    """Whether a paragraph or an item begins with it."""


def _sections(document: str, begun: list[int], max_chars: int) -> Iterator[list[_Said]]:
    """The sentences of each section, of each note, and of each list of contents."""
    said = sentences(document, max_chars=max_chars)
    begun = sorted({*begun, *_contents(said, begun)})
    found: list[_Said] = []
    end = at = 0
    heading = 0
    """Letters of the section so far, if all of it may be its heading."""
    for span in said:
        before = at
        at = bisect.bisect_right(begun, span.start, lo=at)
        begins = at > before
        is_first = _is_blank(document[end : span.start]) or _is_item(document, span)
        is_note = is_first and bool(_NOTE.match(span.text))
        if found and (is_note or (begins and not 0 < heading <= _MAX_HEADING)):
            yield found
            found = []
        num_letters = _num_letters(span.text)
        is_heading = begins or (heading > 0 and is_first and span.text[-1] not in "!?")
        is_heading &= span.text[-1] not in ".:;," and not _BULLET.match(span.text)
        heading = is_heading * (num_letters + heading * (not begins))
        found.append(_Said(span=span, num_letters=num_letters, is_first=is_first))
        end = span.end
    if found:
        yield found


def _contents(said: list[Span], begun: list[int]) -> Iterator[int]:
    """Where lists of contents begin, and what follows them: sentences that are headings of the
    document, one after another, in the order in which these stand."""
    letters = [_letters(span.text) for span in said]
    places: dict[str, list[int]] = {}
    firsts = [bisect.bisect_left(said, at, key=lambda span: span.start) for at in begun]
    for first in firsts:
        # The first sentence, or the second, below the number of a chapter, or both.
        for name in {*letters[first : first + 2], "".join(letters[first : first + 2])}:
            places.setdefault(name, []).append(first)
    begins = frozenset(firsts)
    start = 0
    last = -1
    for at in range(len(said) + 1):
        later = places.get(letters[at], []) if at < len(said) else []
        # A section that begins with a list of contents is no heading of its own.
        place = bisect.bisect_right(later, max(last, at) if at in begins else last)
        if place < len(later):
            last = later[place]
            continue
        if at - start >= _CONTENTS:
            yield said[start].start
            yield from (span.start for span in said[at : at + 1])
        start, last = (at, later[0]) if later else (at + 1, -1)


def _letters(text: str) -> str:
    return "".join(filter(str.isalpha, text)).casefold()


def _is_item(document: str, span: Span) -> bool:
    is_line = span.start == 0 or document[span.start - 1] == "\n"
    return is_line and bool(_BULLET.match(span.text) or _CLAUSE.match(span.text))


def _end_of_passage(section: list[_Said], start: int, max_chars: int) -> int:
    """Before which sentence the passage ends that begins with sentence `start`."""
    full = FULL * max_chars
    said = length = 0
    begins = sentence_begins = 0
    for at in range(start, len(section)):
        sentence = section[at]
        if at > start:
            if 2 * said >= full:
                sentence_begins = sentence_begins or at
                begins = begins or (at if sentence.is_first else 0)
            is_too_long = length + 1 + len(sentence.span.text) > max_chars
            if is_too_long or said + sentence.num_letters > full:
                return begins or sentence_begins or at
        said += sentence.num_letters
        length += bool(length) + len(sentence.span.text)
    return len(section)


def _headings(document: str) -> Iterator[int]:
    """Where headings begin that are marked, numbered or underlined."""
    for pattern in (_NUMBERED_HEADING, _MARKED_HEADING):
        for match in pattern.finditer(document):
            yield match.start()
    for match in _UNDERLINED.finditer(document):
        if match["line"][0] in "=-" or len(match["line"]) >= len(match["title"]):
            yield match.start("title")


def _num_letters(text: str) -> int:
    """Letters of `text`, without addresses."""
    if "//" in text:
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
    if _LONE_NUMBER.match(line) and previous.rstrip()[-1] in ".:;!?":
        return True
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
    bullet = _BULLET.match(document, start, end)
    position = bullet.end() if bullet else start
    # The full stop of the clause's own number ends nothing.
    if clause := _CLAUSE.match(document, position, end):
        position = clause.end()
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
