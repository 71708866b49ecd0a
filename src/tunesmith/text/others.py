"""Sentences by which a text says that its content is somebody else's, or not free to use.

A licence can only be given by whoever holds the rights. Packages of texts say in their description
where the texts are from, and a licence of the package's own above it: then it is doubtful whether
that licence holds for the texts. What is found is a reason to ask, not a finding of law.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tunesmith.text.licence_texts import sentences

_SHOW = r"(?:tv|television|film|movie|sitcom|episode)s?"
_SOLE = r"(?:educational|education|research|academic|scientific|personal|private|non-?commercial)"
_SIGNS = (
    ("song lyrics", r"\blyrics?\b"),
    ("transcripts or subtitles of films or shows",
     rf"\b{_SHOW}\b.{{0,60}}\b(?:transcript|subtitle|screenplay)s?\b"
     rf"|\b(?:transcript|subtitle|screenplay)s?\b.{{0,60}}\b{_SHOW}\b"),
    ("texts that were taken from web sites",
     r"\b(?:web-?)?scraped\b|\bcrawled (?:from|off)\b"
     r"|\b(?:found|collected|gathered|taken|copied)\b[^.]{0,40}\b(?:around|on|off|from) the"
     r" (?:internet|web)\b"),
    ("content of its respective owners",
     r"\brespective (?:copyright |rights? )?(?:owner|holder|author|creator|publisher)s?\b"),
    ("the permission of another rights holder",
     r"\bpermission (?:of|from) (?:the|its|their)\b[^.]{0,30}\b(?:copyright|rights?|owner|holder"
     r"|publisher|author)s?\b"),
    ("fair use", r"\bfair[- ]use\b"),
    ("one use alone",
     rf"\b{_SOLE}(?:(?:,| and| or| &|/)+ ?{_SOLE})*(?: use| purposes?)+ only\b"
     rf"|\b(?:only|solely|strictly)\b[^.]{{0,30}}\bfor\b[^.]{{0,20}}\b{_SOLE}\b"
     rf"|\bfor (?:\w+ )?educational(?: and \w+| or \w+)? purposes\b"),
    ("no commercial use",
     r"\b(?:do not|don['’]t|not|never)\b[^.]{0,30}\bcommercial(?:ly)?\b|\bno commercial use\b"),
)  # fmt: skip
_KNOWN = tuple((what, re.compile(pattern, re.I)) for what, pattern in _SIGNS)
RESERVED = "all rights are reserved"
"""What is said of a text with these words in it. Beside any licence they are a habit and no sign:
licences of the BSD kind begin with them, and so do descriptions of software under Apache's."""
_RESERVED = re.compile(r"\ball rights (?:are )?reserved\b", re.I)


def signs_of_others(text: str) -> Iterator[tuple[int, str]]:
    """(line, what it says) of each sentence that says so; each thing once."""
    seen: set[str] = set()
    for line, sentence in sentences(text):
        for what, pattern in (*_KNOWN, (RESERVED, _RESERVED)):
            if what not in seen and pattern.search(sentence):
                seen.add(what)
                yield line, what
