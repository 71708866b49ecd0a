"""Which licences a text is, or names: by sketches of the standard texts, by SPDX's tags, by the
addresses of Creative Commons, and by what stands after "licensed under".

A standard text is known by the smallest hashes of its runs of five words (a bottom-k sketch:
Broder 1997, "On the resemblance and containment of documents"): the share of them that a file has,
too, estimates how much of the standard text is in the file. `licence_texts.json` holds the sketches
and no text; `bench/licence_texts.py` makes it out of SPDX's texts.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

NUM_WORDS = 5
NUM_HASHES = 128
"""Of a sketch: the share is known to 0.03."""
CONTAINED = 0.8
"""A file has a licence's text if it has at least this share of it: names of holders, of which a
text has several, break runs of words."""
ALIKE = 0.3
"""Standard texts with this resemblance are of one kind: of these a file is the best match."""
_WORD = re.compile(r"\w+")
_ITEM = re.compile(r"\s*(?:[-*+#>|=]|\d+[.)])")
"""How a line begins that does not go on with the sentence before it."""

_VERSION = r"[\s,v.-]*(?:version\s*|ver\.?\s*|v)?"
_NAMES = (
    (r"\bMIT-0\b|\bMIT No Attribution\b", "MIT-0"),
    (r"\bMIT\b(?!-)", "MIT"),
    (rf"\bApache(?: Software)?(?: Licen[cs]e)?{_VERSION}2(?:\.0)?\b|\bApache Software License\b",
     "Apache-2.0"),
    (r"\bBSD\b[ -]*(?:3|three)[- ]clause|\b(?:3|three)[- ]clause BSD|\b(?:new|modified) BSD",
     "BSD-3-Clause"),
    (r"\bBSD\b[ -]*(?:2|two)[- ]clause|\b(?:2|two)[- ]clause BSD|\bsimplified BSD",
     "BSD-2-Clause"),
    (r"\bBSD\b(?! ?-?[23]|-?(?:two|three))", "BSD-2-Clause OR BSD-3-Clause"),
    (r"\bISC\b", "ISC"),
    (rf"(?:\bAGPL|\bAffero General Public Licen[cs]e){_VERSION}3\b", "AGPL-3.0-or-later"),
    (rf"(?:\bLGPL|\bLesser General Public Licen[cs]e){_VERSION}3\b", "LGPL-3.0-or-later"),
    (rf"(?:\bLGPL|\bLesser General Public Licen[cs]e){_VERSION}2\.1\b", "LGPL-2.1-or-later"),
    (rf"(?<!Affero )(?<!Lesser )(?:\bGPL|\bGeneral Public Licen[cs]e){_VERSION}3\b",
     "GPL-3.0-or-later"),
    (rf"(?<!Affero )(?<!Lesser )(?:\bGPL|\bGeneral Public Licen[cs]e){_VERSION}2\b",
     "GPL-2.0-or-later"),
    (rf"(?:\bMPL|\bMozilla Public Licen[cs]e){_VERSION}2(?:\.0)?\b", "MPL-2.0"),
    (r"\bUnlicense\b", "Unlicense"),
    (r"\bCC[ -]?0\b", "CC0-1.0"),
    (r"\b(?:ODbL|Open Database Licen[cs]e)\b", "ODbL-1.0"),
    (r"\bODC-By\b", "ODC-By-1.0"),
)  # fmt: skip
"""How people write the names of licences."""
_KNOWN = tuple((re.compile(pattern, re.I), name) for pattern, name in _NAMES)
_SHORT_CC = re.compile(r"\bCC[ -]BY((?:[ -](?:NC|ND|SA))*)[ -]*v?([234]\.[05])", re.I)
_LONG_CC = re.compile(
    r"Creative Commons Attribution((?:[- ](?:Non-?Commercial|No-?Deriv(?:ative)?s|Share-?Alike))*)"
    r"[\s,-]*(?:v\.?|version)?\s*([234]\.[05])", re.I
)  # fmt: skip
_ADDRESS = re.compile(
    r"creativecommons\.org/(?:licenses/(by(?:-nc|-nd|-sa)*)/([234]\.[05])|publicdomain/zero)", re.I
)
_TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([A-Za-z0-9.+() -]*[A-Za-z0-9.+)])", re.I)
_UNDER = re.compile(
    r"\b(?:licen[cs]ed|released|distributed|available|published|provided|shared)\b(?:\W+\w+){0,4}?"
    r"\W+(?:under|as|with)\b(.{2,160})|^\W*licen[cs]e:(.{2,80})",
    re.I | re.S,
)
_NOT = re.compile(r"\b(?:not|never|n't)\b", re.I)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sketch:
    """A standard text, as far as it is needed to know it."""

    name: str
    """SPDX identifier, or, where two licences share a text, both with an OR."""
    num_runs: int
    """Different runs of five words in it."""
    kind: int
    """Standard texts of one kind have the same number."""
    hashes: frozenset[int]


def licences_in(text: str, *, is_licence: bool = False) -> Iterator[tuple[int, str]]:
    """(line, SPDX expression) of each licence that a text is, or names; each expression once.

    Of a file that `is_licence` no names are looked for once its text is known: licences name one
    another.
    """
    seen: set[str] = set()
    texts = [(1, each) for each in standard_texts(text)]
    named = () if is_licence and texts else _named(text)
    for at, expression in itertools.chain(texts, named):
        if expression not in seen:
            seen.add(expression)
            yield at, expression


def standard_texts(text: str) -> list[str]:
    """The licences whose standard texts are in `text`, of each kind the best match."""
    runs = hashes_of(text)
    best: dict[int, tuple[float, str]] = {}
    for sketch in _sketches():
        share = len(sketch.hashes & runs) / len(sketch.hashes)
        # What is missing counts against it: of two that share most the larger is not always it.
        matched = ((2 * share - 1) * sketch.num_runs, sketch.name)
        if share >= CONTAINED and matched > best.get(sketch.kind, (0.0, "")):
            best[sketch.kind] = matched
    return sorted(name for _, name in best.values())


def name_of(text: str) -> str:
    """The licence that a few words name, as SPDX writes it; empty where they name none that is
    known."""
    found = _of_creative_commons(text)
    return found or next((name for pattern, name in _KNOWN if pattern.search(text)), "")


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """(line, sentence), where a list's item and a heading are sentences, too."""
    first, words = 1, list[str]()
    for number, line in enumerate(text.split("\n"), 1):
        if words and (not line.strip() or _ITEM.match(line)):
            yield first, " ".join(words)
            words = []
        for word in line.split():
            first = first if words else number
            words.append(word)
            if word.endswith((".", "!", "?")):
                yield first, " ".join(words)
                words = []
    if words:
        yield first, " ".join(words)


def hashes_of(text: str) -> frozenset[int]:
    """32 bits for each run of five words of a text, whatever stands between the words."""
    words = _WORD.findall(text.casefold())
    runs = {" ".join(words[at : at + NUM_WORDS]) for at in range(len(words) - NUM_WORDS + 1)}
    digests = (hashlib.blake2b(run.encode(errors="replace"), digest_size=4) for run in runs)
    return frozenset(int.from_bytes(digest.digest()) for digest in digests)


def tagged(text: str) -> Iterator[str]:
    """The licences that a text names by SPDX's tag or an address of Creative Commons."""
    for match in _TAG.finditer(text) if "SPDX-License-Identifier" in text else ():
        yield match[1].strip()
    for match in _ADDRESS.finditer(text) if "creativecommons.org" in text else ():
        yield _of_address(match)


def _of_address(match: re.Match[str]) -> str:
    return f"CC-{match[1].upper()}-{match[2]}" if match[1] else "CC0-1.0"


def _named(text: str) -> Iterator[tuple[int, str]]:
    for match in _TAG.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match[1].strip()
    for line, sentence in sentences(text):
        for match in _UNDER.finditer(sentence):
            said = match[1] or match[2]
            if not _NOT.search(sentence[: match.end(0)]) and (name := name_of(said)):
                yield line, name
        for match in _ADDRESS.finditer(sentence):
            yield line, _of_address(match)


def _of_creative_commons(text: str) -> str:
    if short := _SHORT_CC.search(text):
        return "-".join(["CC-BY", *short[1].upper().replace("-", " ").split(), short[2]])
    if long := _LONG_CC.search(text):
        marks: Mapping[str, str] = {"NC": r"non-?comm", "ND": r"no-?deriv", "SA": r"share"}
        its = [mark for mark, word in marks.items() if re.search(word, long[1], re.I)]
        its = ["NC", "SA"] if its == ["NC", "SA"] else its
        return "-".join(["CC-BY", *its, long[2]])
    return ""


@functools.cache
def _sketches() -> tuple[Sketch, ...]:
    stored = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    return tuple(
        Sketch(
            name=name,
            num_runs=num_runs,
            kind=kind,
            hashes=frozenset(int(hashes[at : at + 8], 16) for at in range(0, len(hashes), 8)),
        )
        for name, num_runs, kind, hashes in stored
    )
