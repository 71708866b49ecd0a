"""What has a form is found where it stands, however it is written; what looks like it is not."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.text.pii import find_pii, mask, pseudonym, replace_pii

KEY = bytes(range(32))

WRITTEN = [
    ("email", "ada.lovelace+test@mail.example.co.uk"),
    ("email", "jürgen@müller.de"),
    ("ip", "193.99.144.80"),
    ("ip", "2001:db8:0:1::42"),
    ("iban", "GB82WEST12345698765432"),
    ("iban", "GB82 WEST 1234 5698 7654 32"),
    ("iban", "de89 3704 0044 0532 0130 00"),
    ("iban", "DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000"),
    ("card", "4111111111111111"),
    ("card", "4111 1111 1111 1111"),
    ("card", "4111-1111-1111-1111"),
    ("card", "3782 822463 10005"),
    ("card", "４１１１ １１１１ １１１１ １１１１"),
    ("ip", "١٩٣.٩٩.١٤٤.٨٠"),
    ("phone", "+49 30 901820"),
    ("phone", "+44 (0)20 7946 0958"),
    ("phone", "0049 30 901820"),
    ("uk_nhs", "943 476 5919"),
    ("us_ssn", "536-90-4399"),
    ("de_tax_id", "36 574 261 809"),
    ("fr_nir", "2 95 10 99 126 111 93"),
    ("fr_nir", "253072B07300470"),
]
"""(kind, how it is written); published examples."""


@pytest.mark.parametrize(("kind", "written"), WRITTEN)
@pytest.mark.parametrize(
    "around", ["{}", "It is {}.", "({}), thanks", "1,{},2", "Pay 12 to:\n{}\n3 times", "n°{}!"]
)
def test_found_where_it_stands(kind: str, written: str, around: str) -> None:
    text = around.format(written)
    (found,) = find_pii(text)
    assert (found.kind, text[found.start : found.end]) == (kind, written)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("uk_nhs", "NHS no. 9434765919"),
        ("us_ssn", "536904399 is my social security number"),
        ("us_ssn", "SSN: 536 90 4399"),
        ("de_tax_id", "Steuer-IdNr. 36574261809"),
    ],
)
def test_a_bare_number_needs_a_word_for_it(kind: str, text: str) -> None:
    assert [each.kind for each in find_pii(text)] == [kind]
    number = "".join(character for character in text if character.isdigit() or character == " ")
    assert find_pii(number.strip()) == ()


@pytest.mark.parametrize(
    "text",
    [
        "Version 2.13.0.1 of 2026-11-25, (c) 1999-2024 and 1989, 1991",
        "v10.20.30.40; release 84.1.2.3",
        "see section 4.1.2.3, clause 7.7.7.7",
        "\n1.2.3.4 Scope of this licence",
        "sha256 4111111111111111abcdef4111111111111111 and md5-4111111111111111f",
        "uuid 41111111-1111-4111-8111-111111111111",
        "pi is 3.4111111111111111",
        "127.0.0.1, ::1, 0.0.0.0, std::string, dead::beef, 12:30:45",
        "unix time 1690000000 and 9434765919",
        "4111 1111-1111 1111",
        "@decorator, user@localhost, a@b",
        "GB82WEST12345698765433, XX82WEST12345698765432",
        "+12 34 56",
        "36574261809 parcels, order 536904399",
        "078-05-1120",
        "300-32-16-8 by 1024 768 4096",
        "DE89 is a motor road",
    ],
)
def test_what_only_looks_like_it(text: str) -> None:
    assert find_pii(text) == ()


def test_numbers_between_other_numbers() -> None:
    text = "in 12 2024 4111 1111 1111 1111 3 and 7 943 476 5919 1"
    assert [text[each.start : each.end] for each in find_pii(text)] == [
        "4111 1111 1111 1111",
        "943 476 5919",
    ]


def test_telephone_numbers_of_a_region() -> None:
    text = "Call (212) 736-5000, 212-736-5000 or 030 901820; not 2004-10-12."
    assert find_pii(text) == ()
    american = [text[each.start : each.end] for each in find_pii(text, ("US",))]
    assert american == ["(212) 736-5000", "212-736-5000"]
    assert len(find_pii(text, ("US", "DE"))) == 3
    assert {each.canonical for each in find_pii(text, ("US",))} == {"+12127365000"}


def test_equal_values_have_equal_pseudonyms_however_they_are_written() -> None:
    texts = ["4111 1111 1111 1111", "4111111111111111", "4111-1111-1111-1111"]
    (first, *others) = [pseudonym(find_pii(text)[0], KEY) for text in texts]
    assert others == [first, first]
    other = find_pii("5555555555554444")[0]
    assert pseudonym(other, KEY) != first
    assert pseudonym(find_pii(texts[0])[0], KEY[::-1]) != first
    expected = hmac.new(KEY, b"card\x004111111111111111", hashlib.sha256).hexdigest()[:16]
    letters = "".join("abcdefghijklmnop"[int(digit, 16)] for digit in expected)
    assert first == f"[CARD {letters}]"


PIECES = st.lists(
    st.one_of(
        st.sampled_from([written for _, written in WRITTEN]),
        st.text(max_size=12),
        st.text("0123456789 -.:@+()/abfDE", max_size=24),
    ),
    max_size=12,
)


@given(PIECES, st.sampled_from([" ", "", "\n", ", "]))
def test_findings_are_in_order_and_apart_and_all_else_stays(
    pieces: list[str], between: str
) -> None:
    text = between.join(pieces)
    found = find_pii(text, ("US", "DE"))
    ends = [0, *(each.end for each in found)]
    assert all(end <= each.start < each.end for end, each in zip(ends, found, strict=False))
    assert replace_pii(text, found, lambda each: text[each.start : each.end]) == text
    kept = [text[end : each.start] for end, each in zip(ends, found, strict=False)]
    assert replace_pii(text, found, lambda _: "\0") == "\0".join([*kept, text[ends[-1] :]])


@given(st.lists(st.sampled_from(WRITTEN), max_size=8), st.text("abc .,\n", max_size=20))
def test_each_is_found_beside_others(written: list[tuple[str, str]], between: str) -> None:
    text = f"\n{between}\n".join(each for _, each in written)
    assert [each.kind for each in find_pii(text)] == [kind for kind, _ in written]


@pytest.mark.parametrize(("kind", "written"), WRITTEN)
def test_masked_text_is_clean(kind: str, written: str) -> None:
    text = f"one {written} two"
    found = find_pii(text)
    assert replace_pii(text, found, mask) == f"one [{kind.upper()}] two"
    for name in (mask, lambda each: pseudonym(each, KEY)):
        masked = replace_pii(text, found, name)
        assert written not in masked
        assert find_pii(masked, ("US", "DE", "FR")) == ()


@pytest.mark.parametrize(
    "unit",
    [
        "1",
        "1 ",
        "1-",
        "a@",
        "a.",
        "@a.",
        "+1",
        "+1 ",
        "::",
        "f:",
        "1.",
        "DE89",
        "DE89 ",
        "(1)",
        "0 ",
    ],
)
def test_hostile_text_takes_no_longer_than_its_length(unit: str) -> None:
    """A quadratic expression would take hours on these: no clock, but the test would not end."""
    find_pii(unit * (1_000_000 // len(unit)), ("US",))
