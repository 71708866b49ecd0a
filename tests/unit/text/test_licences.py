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
