"""Usual spellings of licences' names, as SPDX writes them; and words of those that nobody knows."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

_WORD = re.compile(r"[a-z]+|[0-9]+(?:\.[0-9]+)*")
_JOINED = re.compile(r"\s+(and|or)\s+(?!later\b)", re.I)
_PHRASES = tuple(
    (re.compile(pattern), meant)
    for pattern, meant in (
        (r"non[ -]?commercial", "nc"),
        (r"no[ -]?deriv(?:ative)?s?(?: works)?", "nd"),
        (r"share[ -]?alike", "sa"),
        (r"creative commons zero|\bcc zero\b|\bccz?0\b", "cc 0"),
        (r"creative commons", "cc"),
        (r"attribution", "by"),
        (r"lesser general public", "lgpl"),
        (r"affero general public", "agpl"),
        (r"general public", "gpl"),
        (r"mozilla public", "mpl"),
        (r"eclipse public", "epl"),
        (r"european union public", "eupl"),
        (r"open database", "odbl"),
        (r"boost software", "bsl"),
        (r"(?:,|\b)(?: or)? (?:any )?later(?: versions?)?\b", " later"),
        (r"\bor-later\b|(?<=[0-9])\+", " later"),
        (r"\bthree\b", "3"),
        (r"\btwo\b", "2"),
    )
)
"""What some words come to in an identifier, in lower case."""
_FILLERS = frozenset(
    {"the", "a", "under", "license", "licence", "licensed", "licenced", "version", "ver", "v"}
    | {"gnu", "international", "unported", "universal", "dedication", "software", "foundation"}
)
_LATEST = {"cc 0": "CC0-1.0", "odbl": "ODbL-1.0", "bsl": "BSL-1.0", "odc by": "ODC-By-1.0"}
"""Licences that there is one version of."""
_FIELD_OF_USE = r"(?:research|academic|educational|evaluation|personal)"
_RESTRICTS = re.compile(
    r"non[\s_-]?commercial|not for commercial|no[\s_-]commercial|(?<![a-z])nc(?![a-z])"
    r"|no[\s_-]?deriv\w*|(?<![a-z])nd(?![a-z])"
    rf"|{_FIELD_OF_USE}(?:[\s_-](?:and|or)[\s_-]\w+)?[\s_-](?:use|purposes?|licen[cs]e|only)\b"
    r"|all rights reserved|\bproprietary\b",
    re.I,
)


def as_spdx(said: str, known: Collection[str]) -> str:
    """The SPDX expression that `said` means, of the identifiers `known`; itself where that is not
    certain.

    >>> as_spdx("Creative Commons Attribution-NonCommercial 4.0", ["CC-BY-NC-4.0"])
    'CC-BY-NC-4.0'
    >>> as_spdx("like MIT, but for us", ["MIT"])
    'like MIT, but for us'
    """
    by_words = {_key(_words(name)): name for name in known}
    if (whole := _identifier(said, by_words)) is not None:
        return whole
    parts = _JOINED.split(said)
    names = [_identifier(part, by_words) for part in parts[::2]]
    if len(names) == 1 or None in names or len({each.upper() for each in parts[1::2]}) > 1:
        return said
    return f" {parts[1].upper()} ".join(name for name in names if name is not None)


def restricting(said: str) -> tuple[str, ...]:
    """Words of a licence by which it may permit no commercial use, or no derivatives.

    >>> restricting("our terms: for research use only, non-commercial")
    ('research use', 'non-commercial')
    """
    found = (match[0].casefold() for match in _RESTRICTS.finditer(said))
    return tuple(dict.fromkeys(found))


def _identifier(said: str, by_words: Mapping[tuple[str, ...], str]) -> str | None:
    words = _words(said)
    suffix = "-or-later" if "later" in words else "-only" if "only" in words else ""
    words = [word for word in words if word not in ("later", "only", "or")]
    found = by_words.get(_key(words)) or _LATEST.get(" ".join(words))
    if found is None:
        full = [f"{word}.0" if word.isdecimal() else word for word in words]
        found = by_words.get(_key(full))
    if found is None or (suffix and "GPL" not in found and "GFDL" not in found):
        return None
    return f"{found}{suffix}"


def _words(said: str) -> list[str]:
    folded = " ".join(said.casefold().split())
    for pattern, meant in _PHRASES:
        folded = pattern.sub(f" {meant} ", folded)
    found = []
    for word in _WORD.findall(folded):
        plain = (
            word[:-1] if word[-1] == "v" and word[:-1].endswith(("gpl", "eupl", "mpl")) else word
        )
        if plain not in _FILLERS:
            found.append(plain)
    return found


def _key(words: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(words))
