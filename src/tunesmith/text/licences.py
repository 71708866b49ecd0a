"""What licences ask of those who use data, as facts about each and an algebra over expressions.

Identifiers are those of the SPDX License List 3.28. The families and obligations were read from the
licences, with choosealicense.com and the deeds of Creative Commons beside them; they are a summary
by which a person decides, and no legal advice.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tunesmith.records.licence import LicenceStatements, Statement
from tunesmith.text.licence_spellings import as_spdx, restricting
from tunesmith.text.spdx import NotAnExpression, fold, refused

NOT_STATED = "not stated"
FAMILIES = (
    "public-domain", "permissive", "weak-copyleft", "strong-copyleft", "network-copyleft",
    "non-commercial", "no-derivatives", "unknown",
)  # fmt: skip
"""From the least demanding to the most. A licence that is not in the table, or asks for a contract,
is unknown."""
NOT_FOR_TUNING = ("non-commercial", "no-derivatives")
"""Families that tuning data may not have unless somebody listed the licence, or decided: a tuned
model may be a derivative, and is rarely without a commercial use."""
MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "attribution": "name the authors, and the licence with a link",
        "notice": "keep the copyright notice and the licence's text with copies",
        "changes": "say what was changed",
        "share-alike": "pass on what is derived from it under the same licence alone",
        "source": "offer the source of what is passed on",
        "network-source": "offer the source to those who use it over a network, too",
        "non-commercial": "make no commercial use of it",
        "no-derivatives": "pass on nothing that is derived from it",
    }
)
"""What each obligation asks for, in plain words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Licence:
    """What one licence is, and asks for."""

    family: str
    obligations: tuple[str, ...]
    """Keys of `MEANINGS`, in their order."""


_TABLE = (
    ("public-domain", "", "CC0-1.0 Unlicense PDDL-1.0 CC-PDDC"),
    ("permissive", "", "0BSD MIT-0 WTFPL"),
    ("permissive", "notice", "MIT ISC X11 BSD-2-Clause BSD-2-Clause-Patent BSD-3-Clause"
     " BSD-3-Clause-Clear BSD-4-Clause Zlib BSL-1.0 NCSA PostgreSQL Unicode-3.0"
     " Unicode-DFS-2016 HPND curl BlueOak-1.0.0 UPL-1.0 CDLA-Permissive-2.0"),
    ("permissive", "notice changes", "Apache-1.1 Apache-2.0 ECL-2.0 AFL-3.0 Artistic-2.0"
     " Python-2.0 PSF-2.0 CDLA-Permissive-1.0"),
    ("permissive", "attribution", "ODC-By-1.0 OGL-UK-3.0 etalab-2.0"),
    ("permissive", "attribution changes", "CC-BY-2.0 CC-BY-2.5 CC-BY-3.0 CC-BY-4.0"),
    ("weak-copyleft", "notice changes share-alike source", "LGPL-2.0 LGPL-2.1 LGPL-3.0 MPL-1.1"
     " MPL-2.0 EPL-1.0 EPL-2.0 CDDL-1.0 MS-RL"),
    ("weak-copyleft", "notice share-alike", "CDLA-Sharing-1.0"),
    ("strong-copyleft", "notice changes share-alike source", "GPL-1.0 GPL-2.0 GPL-3.0 GFDL-1.1"
     " GFDL-1.2 GFDL-1.3 CECILL-2.1"),
    ("strong-copyleft", "attribution changes share-alike", "CC-BY-SA-2.0 CC-BY-SA-2.5 CC-BY-SA-3.0"
     " CC-BY-SA-4.0"),
    ("strong-copyleft", "attribution share-alike", "ODbL-1.0"),
    ("network-copyleft", "notice changes share-alike source network-source", "AGPL-3.0 OSL-3.0"
     " EUPL-1.1 EUPL-1.2 SSPL-1.0"),
    ("non-commercial", "attribution changes non-commercial", "CC-BY-NC-2.0 CC-BY-NC-2.5"
     " CC-BY-NC-3.0 CC-BY-NC-4.0"),
    ("non-commercial", "attribution changes share-alike non-commercial", "CC-BY-NC-SA-2.0"
     " CC-BY-NC-SA-2.5 CC-BY-NC-SA-3.0 CC-BY-NC-SA-4.0"),
    ("non-commercial", "notice non-commercial", "PolyForm-Noncommercial-1.0.0"),
    ("no-derivatives", "attribution no-derivatives", "CC-BY-ND-2.0 CC-BY-ND-2.5 CC-BY-ND-3.0"
     " CC-BY-ND-4.0"),
    ("no-derivatives", "attribution non-commercial no-derivatives", "CC-BY-NC-ND-2.0"
     " CC-BY-NC-ND-2.5 CC-BY-NC-ND-3.0 CC-BY-NC-ND-4.0"),
)  # fmt: skip
LICENCES: Mapping[str, Licence] = MappingProxyType(
    {
        name: Licence(family=family, obligations=tuple(asked.split()))
        for family, asked, names in _TABLE
        for name in names.split()
    }
)
"""By SPDX identifier, without what says which later versions are meant, too."""
_BY_FOLDED = {name.casefold(): licence for name, licence in LICENCES.items()}
_VERSIONS = re.compile(r"(-only|-or-later|\+)$")
_UNKNOWN = Licence(family="unknown", obligations=())


@functools.lru_cache(maxsize=1024)
def spdx_of(said: str) -> str:
    """The expression that a licence is, in whichever usual way it is written; itself where that is
    not certain."""
    return as_spdx(said, LICENCES)


def licence_of(expression: str) -> Licence:
    """What an expression comes to: of an AND all that is asked and the most demanding family, of an
    OR its least demanding side. An exception only permits more, and is not counted on."""
    try:
        return fold(spdx_of(expression), _named, of_any=_least, of_all=_most)
    except NotAnExpression:
        return _UNKNOWN


def obligations(expressions: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What has to be done about data with these licences: each obligation, and who asks for it."""
    asked = {each: licence_of(each).obligations for each in dict.fromkeys(expressions)}
    return {
        name: tuple(each for each, its in asked.items() if name in its)
        for name in MEANINGS
        if any(name in its for its in asked.values())
    }


def unclear(expressions: Sequence[str]) -> tuple[str, ...]:
    """Those of which it is not known what they ask for."""
    found = (each for each in expressions if licence_of(each).family == "unknown")
    return tuple(dict.fromkeys(found))


def disallowed(expression: str, allowed: Sequence[str]) -> tuple[str, ...]:
    """The licences in an expression that tuning data may not have; none if it may be used.

    `allowed` lists licences and families. Without it all are, but those `NOT_FOR_TUNING`, and what
    is not known and has words of these: see `restrictions`.
    """
    if not allowed:
        is_not = licence_of(expression).family in NOT_FOR_TUNING or restrictions(expression)
        return (expression,) if is_not else ()
    families = [each for each in allowed if each in FAMILIES]
    allowed = (*allowed, *map(spdx_of, allowed))
    if not refused(expression, allowed):
        return ()
    try:
        return fold(
            spdx_of(expression),
            lambda name, exception: (
                ()
                if _named(name, "").family in families
                else refused(f"{name} WITH {exception}" if exception else name, allowed)
            ),
            of_any=lambda sides: () if () in sides else sum(sides, ()),
            of_all=lambda sides: sum(sides, ()),
        )
    except NotAnExpression:
        return refused(expression, allowed)


def restrictions(expression: str) -> tuple[str, ...]:
    """Words of a licence that nobody here knows, by which it may permit no commercial use or no
    derivatives; none of one that is known."""
    return restricting(expression) if licence_of(expression).family == "unknown" else ()


def differing(found: LicenceStatements) -> tuple[Statement, ...]:
    """The statements of another licence than the declared one; none where none is declared."""
    if found.declared == NOT_STATED:
        return ()
    return tuple(
        each
        for each in found.statements
        if each.kind != "others"
        and each.says
        and refused(spdx_of(each.says), _names(spdx_of(found.declared)))
    )


def doubts(found: LicenceStatements) -> tuple[Statement, ...]:
    """The statements that make the declared licence doubtful: the content is said to be somebody
    else's, or to have a licence that asks for more than the declared one does."""
    stricter = [
        each for each in differing(found) if _rank(licence_of(each.says)) > _declared(found)
    ]
    others = [each for each in found.statements if each.kind == "others"]
    return (*others, *stricter)


def stated(found: LicenceStatements) -> tuple[str, ...]:
    """The licence that counts: the declared one, or, where none is, what package and files say."""
    if found.declared != NOT_STATED:
        return (found.declared,)
    said = (each.says for each in found.statements if each.kind != "others" and each.says)
    return tuple(dict.fromkeys(said))


def _named(name: str, _exception: str) -> Licence:
    folded = name.casefold()
    return _BY_FOLDED.get(folded) or _BY_FOLDED.get(_VERSIONS.sub("", folded)) or _UNKNOWN


def _least(sides: Sequence[Licence]) -> Licence:
    return min(sides, key=lambda side: (_rank(side), len(side.obligations)))


def _most(sides: Sequence[Licence]) -> Licence:
    asked = {each for side in sides for each in side.obligations}
    return Licence(
        family=max(sides, key=_rank).family,
        obligations=tuple(each for each in MEANINGS if each in asked),
    )


def _rank(licence: Licence) -> int:
    return FAMILIES.index(licence.family)


def _declared(found: LicenceStatements) -> int:
    return _rank(licence_of(found.declared))


def _names(expression: str) -> tuple[str, ...]:
    """Every licence that an expression names; itself where it is none."""
    try:
        return fold(
            expression,
            lambda name, exception: (f"{name} WITH {exception}" if exception else name,),
            of_any=lambda sides: sum(sides, ()),
            of_all=lambda sides: sum(sides, ()),
        )
    except NotAnExpression:
        return (expression,)
