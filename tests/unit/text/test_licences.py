"""What licences ask for, and which of them data may have: against the licences' own terms, and by
the rules of the algebra."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.records.licence import LicenceStatements, Statement
from tunesmith.text.licences import (
    FAMILIES,
    LICENCES,
    MEANINGS,
    differing,
    disallowed,
    doubts,
    licence_of,
    obligations,
    restrictions,
    spdx_of,
    stated,
    unclear,
)

NAMES = st.sampled_from(sorted(LICENCES))


def said(declared: str, *found: tuple[str, str]) -> LicenceStatements:
    return LicenceStatements(
        name="texts",
        declared=declared,
        statements=tuple(
            Statement(file="README", line=1, kind=kind, says=says) for kind, says in found
        ),
        num_files=1,
    )


@pytest.mark.parametrize(
    ("expression", "family", "asked"),
    [
        ("CC0-1.0", "public-domain", ()),
        ("MIT-0", "permissive", ()),
        ("mit", "permissive", ("notice",)),
        ("Apache-2.0", "permissive", ("notice", "changes")),
        ("CC-BY-4.0", "permissive", ("attribution", "changes")),
        ("MPL-2.0", "weak-copyleft", ("notice", "changes", "share-alike", "source")),
        ("GPL-3.0-or-later", "strong-copyleft", ("notice", "changes", "share-alike", "source")),
        ("GPL-2.0+", "strong-copyleft", ("notice", "changes", "share-alike", "source")),
        ("CC-BY-SA-4.0", "strong-copyleft", ("attribution", "changes", "share-alike")),
        ("AGPL-3.0-only", "network-copyleft",
         ("notice", "changes", "share-alike", "source", "network-source")),
        ("CC-BY-NC-4.0", "non-commercial", ("attribution", "changes", "non-commercial")),
        ("CC-BY-NC-ND-4.0", "no-derivatives",
         ("attribution", "non-commercial", "no-derivatives")),
        # A choice is made for the side that asks for less; both sides of an AND hold.
        ("GPL-2.0-only OR MIT", "permissive", ("notice",)),
        ("MIT AND CC-BY-4.0", "permissive", ("attribution", "notice", "changes")),
        ("(MIT OR GPL-3.0-only) AND CC-BY-SA-4.0", "strong-copyleft",
         ("attribution", "notice", "changes", "share-alike")),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "strong-copyleft",
         ("notice", "changes", "share-alike", "source")),
        ("LicenseRef-ours", "unknown", ()),
        ("not stated", "unknown", ()),
        ("", "unknown", ()),
    ],
)  # fmt: skip
def test_what_a_licence_is_and_asks_for(
    expression: str, family: str, asked: tuple[str, ...]
) -> None:
    found = licence_of(expression)
    assert (found.family, found.obligations) == (family, asked)


def test_the_table_uses_its_own_words_alone() -> None:
    assert len(LICENCES) >= 60
    for licence in LICENCES.values():
        assert licence.family in FAMILIES
        assert set(licence.obligations) <= MEANINGS.keys()


@given(NAMES, NAMES)
def test_all_asks_for_both_and_any_for_the_lesser(one: str, other: str) -> None:
    first, second = licence_of(one), licence_of(other)
    both, either = licence_of(f"{one} AND {other}"), licence_of(f"{one} OR {other}")
    assert set(both.obligations) == {*first.obligations, *second.obligations}
    assert FAMILIES.index(both.family) == max(map(FAMILIES.index, (first.family, second.family)))
    assert either in (first, second)
    assert FAMILIES.index(either.family) == min(map(FAMILIES.index, (first.family, second.family)))
    assert licence_of(f"{other} AND ({one})") == both


def test_obligations_say_who_asks_for_them() -> None:
    assert obligations(["MIT", "CC-BY-4.0", "MIT", "internal"]) == {
        "attribution": ("CC-BY-4.0",),
        "notice": ("MIT",),
        "changes": ("CC-BY-4.0",),
    }
    assert unclear(["MIT", "internal"]) == ("internal",)


@pytest.mark.parametrize(
    ("expression", "allowed", "wrong"),
    [
        ("CC-BY-NC-4.0", (), ("CC-BY-NC-4.0",)),
        ("CC-BY-ND-4.0", (), ("CC-BY-ND-4.0",)),
        ("CC-BY-NC-4.0 OR MIT", (), ()),
        ("GPL-3.0-only", (), ()),
        ("internal", (), ()),
        ("MIT", ("permissive",), ()),
        ("MIT AND GPL-3.0-only", ("permissive",), ("GPL-3.0-only",)),
        ("MIT OR GPL-3.0-only", ("permissive",), ()),
        ("GPL-3.0-only", ("permissive", "gpl-3.0-only"), ()),
        ("GPL-2.0-only WITH GCC-exception-2.0", ("strong-copyleft",), ()),
        ("CC-BY-NC-4.0", ("CC-BY-NC-4.0",), ()),
        ("internal", ("permissive",), ("internal",)),
        ("not stated", ("permissive",), ("not stated",)),
        # However it is written.
        ("CC BY-NC 4.0", (), ("CC BY-NC 4.0",)),
        ("MIT and CC BY-NC 4.0", (), ("MIT and CC BY-NC 4.0",)),
        ("MIT or CC BY-NC 4.0", (), ()),
        ("CC BY-NC 4.0", ("CC-BY-NC-4.0",), ()),
        ("CC-BY-NC-4.0", ("CC BY-NC 4.0",), ()),
        ("Apache License, Version 2.0", ("permissive",), ()),
        ("GPLv3", ("permissive",), ("GPL-3.0",)),
        # What nobody knows passes, unless it says something of the kind.
        ("CC BY-NC", (), ("CC BY-NC",)),
        ("LicenseRef-noncommercial", (), ("LicenseRef-noncommercial",)),
        ("MIT AND LicenseRef-research-only", (), ("MIT AND LicenseRef-research-only",)),
        ("for research use only", (), ("for research use only",)),
        ("contract 17, no derivatives", (), ("contract 17, no derivatives",)),
        ("customer contract 17", (), ()),
        ("not stated", (), ()),
        ("for research use only", ("for research use only",), ()),
    ],
)
def test_a_list_names_licences_and_families(
    expression: str, allowed: tuple[str, ...], wrong: tuple[str, ...]
) -> None:
    assert disallowed(expression, allowed) == wrong


@pytest.mark.parametrize(
    ("declared", "found", "differs", "doubtful"),
    [
        ("MIT", [("package", "MIT"), ("licence", "MIT")], 0, 0),
        ("CC-BY-4.0", [("licence", "Apache-2.0 AND CC-BY-4.0")], 1, 0),
        ("MIT", [("licence", "GPL-2.0-only OR GPL-2.0-or-later")], 1, 1),
        ("MIT AND GPL-2.0-only", [("licence", "GPL-2.0-only OR GPL-2.0-or-later")], 0, 0),
        ("BSD-3-Clause", [("package", "BSD-2-Clause OR BSD-3-Clause")], 0, 0),
        ("GPL-3.0-only", [("licence", "MIT")], 1, 0),
        ("MIT", [("others", "song lyrics")], 0, 1),
        ("not stated", [("package", "MIT")], 0, 0),
        ("not stated", [("others", "song lyrics")], 0, 1),
        ("internal", [("licence", "GPL-3.0-only")], 1, 0),
        ("MIT", [("package", "")], 0, 0),
    ],
)
def test_what_differs_and_what_is_doubtful(
    declared: str, found: list[tuple[str, str]], differs: int, doubtful: int
) -> None:
    statements = said(declared, *found)
    assert (len(differing(statements)), len(doubts(statements))) == (differs, doubtful)


def test_where_none_is_declared_the_package_counts() -> None:
    assert stated(said("not stated", ("package", "CC-BY-NC-4.0"))) == ("CC-BY-NC-4.0",)
    assert stated(said("MIT", ("package", "CC-BY-NC-4.0"))) == ("MIT",)
    assert stated(said("not stated")) == ()


SPELLINGS = {
    "CC-BY-NC-4.0": ["CC BY-NC 4.0", "cc by nc 4.0", "CC-BY-NC 4.0 International",
        "Creative Commons Attribution-NonCommercial 4.0",
        "Creative Commons Attribution-NonCommercial 4.0 International License"],
    "CC-BY-NC-ND-3.0": ["Creative Commons Attribution NonCommercial NoDerivs 3.0 Unported"],
    "CC-BY-NC-SA-4.0": ["Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International"],
    "CC-BY-4.0": ["Creative Commons Attribution 4.0 International", "CC BY 4"],
    "CC0-1.0": ["CC0", "CC0 1.0 Universal", "CC-0"],
    "GPL-3.0": ["GPLv3", "GPL 3", "GNU General Public License v3.0", "GNU GPL version 3"],
    "GPL-3.0-or-later": ["GPLv3+", "GPL v3 or later",
        "GNU General Public License, version 3 or any later version"],
    "LGPL-2.1": ["GNU Lesser General Public License v2.1", "LGPLv2.1"],
    "AGPL-3.0": ["AGPLv3", "GNU Affero General Public License 3"],
    "Apache-2.0": ["Apache 2", "Apache2", "Apache 2.0", "Apache License 2.0",
        "Apache License, Version 2.0", "the Apache Software License 2.0"],
    "MIT": ["MIT License", "The MIT Licence"],
    "BSD-3-Clause": ["BSD 3-Clause", "3-clause BSD", "Three-Clause BSD License"],
    "MPL-2.0": ["Mozilla Public License 2.0", "MPL 2"],
    "ODbL-1.0": ["ODbL", "Open Database License 1.0"],
    "MIT OR Apache-2.0": ["MIT or Apache 2.0", "MIT License OR Apache License 2.0"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("said", "meant"), [(said, meant) for meant, all_of in SPELLINGS.items() for said in all_of]
)
def test_a_licence_is_known_however_it_is_written(said: str, meant: str) -> None:
    assert spdx_of(said) == meant


@pytest.mark.parametrize(
    "said",
    [
        *("internal", "not stated", "", "like MIT", "MIT, but for us", "CC BY-NC", "public domain"),
        *("LicenseRef-MIT-like", "MIT OR by agreement", "GPL", "BSD", "Apache", "MIT or later"),
        *("GPL-2.0-only WITH Classpath-exception-2.0", "MIT AND (GPL-3.0-only OR ISC)"),
    ],
)
def test_what_is_not_certain_is_left_as_it_stands(said: str) -> None:
    assert spdx_of(said) == said


@given(NAMES)
def test_an_identifier_is_itself_with_blanks_and_in_capitals(name: str) -> None:
    blank = name.replace("-", " ")
    assert {spdx_of(each) for each in (name, blank, name.upper(), f"{blank} License")} == {name}


def test_words_of_restriction_are_words() -> None:
    for harmless in ("brand and sync finance", "internal use only", "handbook", "evaluation desk"):
        assert restrictions(harmless) == ()
    assert restrictions("Proprietary, all rights reserved") == (
        "proprietary",
        "all rights reserved",
    )
    assert restrictions("CC-BY-NC-4.0") == (), "what it asks for is known"
