"""Check digits against python-stdnum, on numbers that are right, nearly right, and random."""

from __future__ import annotations

import random

import pytest
import stdnum.de.idnr
import stdnum.fr.nir
import stdnum.gb.nhs
import stdnum.iban
import stdnum.luhn
import stdnum.us.ssn
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.text import identifiers

DIGITS = "0123456789"


def with_every_ending(body: str, num_last: int) -> list[str]:
    """All numbers that begin like this: of any check digit one is right."""
    return [f"{body}{last:0{num_last}}" for last in range(10**num_last)]


@given(st.text(DIGITS, min_size=11, max_size=18))
def test_luhn(body: str) -> None:
    for number in with_every_ending(body, 1):
        assert identifiers.luhn(number) == stdnum.luhn.is_valid(number)


@given(st.text(DIGITS, min_size=9, max_size=9))
def test_nhs_number(body: str) -> None:
    for number in with_every_ending(body, 1):
        expected = stdnum.gb.nhs.is_valid(number) and len(set(number)) > 1
        assert identifiers.is_nhs_number(number) == expected


@given(st.randoms(use_true_random=False), st.booleans())
def test_german_tax_id(draw: random.Random, plausible: bool) -> None:
    nine = draw.sample(DIGITS, 9)
    body = "".join([*nine, draw.choice(nine if plausible else DIGITS)])
    for number in with_every_ending(body, 1):
        assert identifiers.is_german_tax_id(number) == stdnum.de.idnr.is_valid(number)


@given(
    st.sampled_from("12378"),
    st.integers(0, 99),
    st.integers(1, 12),
    st.sampled_from(["01", "2A", "2B", "75", "95"]),
    st.integers(1, 990_989),
)
def test_french_nir(sex: str, year: int, month: int, department: str, rest: int) -> None:
    body = f"{sex}{year:02}{month:02}{department}{rest:06}"
    found = [n for n in with_every_ending(body, 2) if identifiers.is_french_nir(n)]
    assert len(found) == 1
    assert stdnum.fr.nir.calc_check_digits(body) == found[0][13:]


@pytest.mark.parametrize(
    "number",
    ["990000000000000", "295139912611193", "295002912611193", "2951099126111", "2530C2B07300470"],
)
def test_what_is_no_nir(number: str) -> None:
    assert not identifiers.is_french_nir(number)


@given(st.text(DIGITS, min_size=9, max_size=9))
def test_us_ssn(number: str) -> None:
    assert identifiers.is_us_ssn(number) == stdnum.us.ssn.is_valid(number)


@pytest.mark.parametrize(
    "number", ["078051120", "000123456", "666123456", "900123456", "123004567"]
)
def test_what_is_no_ssn(number: str) -> None:
    assert not identifiers.is_us_ssn(number)


@given(st.sampled_from(sorted(identifiers.IBAN_LENGTHS)), st.randoms(use_true_random=False))
def test_iban(country: str, draw: random.Random) -> None:
    body = "".join(draw.choices(DIGITS, k=identifiers.IBAN_LENGTHS[country] - 4))
    right = stdnum.iban.calc_check_digits(f"{country}00{body}")
    for check in range(100):
        assert identifiers.is_iban(f"{country}{check:02}{body}") == (f"{check:02}" == right)
    assert not identifiers.is_iban(f"{country}{right}{body}0")


@pytest.mark.parametrize(
    "number",
    # Out of the IBAN registry and Wikipedia's article.
    ["GB82WEST12345698765432", "DE89370400440532013000", "MT84MALT011000012345MTLCAST001S"],
)
def test_published_ibans(number: str) -> None:
    assert stdnum.iban.is_valid(number)
    assert identifiers.is_iban(number)
    assert not identifiers.is_iban(number[:-1] + ("1" if number[-1] != "1" else "2"))


@pytest.mark.parametrize(
    "number",
    # Out of the issuers' and processors' pages for testers.
    [
        "4111111111111111", "4222222222222", "5555555555554444", "2223003122003222",
        "378282246310005", "6011111111111117", "30569309025904", "3530111333300000",
        "6759649826438453", "2200000000000004", "6304000000000000",
    ],
)  # fmt: skip
def test_published_cards(number: str) -> None:
    assert identifiers.is_card(number)
    other = number[:-2] + number[-1] + number[-2]
    if number[-1] != number[-2] and {number[-1], number[-2]} != {"0", "9"}:
        assert not identifiers.is_card(other)


@pytest.mark.parametrize("number", ["0000000000000000", "1234567812345670", "41111111111114"])
def test_what_is_no_card(number: str) -> None:
    """All of them satisfy Luhn's formula; no issuer has them, or not in this length."""
    assert identifiers.luhn(number)
    assert not identifiers.is_card(number)
