"""Numbers that people are known by, told from other numbers by their own rules and check digits.

Each function is given the bare number, as text without separators, and says whether it can be one.
Sources: Luhn's formula (ISO/IEC 7812-1, annex B), ISO 13616 (IBAN; lengths by the SWIFT registry,
release 101), NHS Data Dictionary "NHS number", §139b AO and ISO 7064 MOD 11,10 (Steuer-ID), INSEE
(NIR), US Social Security Administration (numbers that are never issued).
"""

from __future__ import annotations

import re
from collections import Counter
from types import MappingProxyType

_IBANS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 "
    "CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 "
    "GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 "
    "LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 "
    "NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 "
    "SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
)
IBAN_LENGTHS = MappingProxyType({entry[:2]: int(entry[2:]) for entry in _IBANS.split()})
"""By country, how many characters an IBAN has."""

_ISSUERS = (
    (re.compile(r"4"), (13, 16, 19)),  # Visa
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),  # Mastercard
    (re.compile(r"3[47]"), (15,)),  # American Express
    (re.compile(r"6011|64[4-9]|65|62|81"), (16, 17, 18, 19)),  # Discover, UnionPay, RuPay
    (re.compile(r"35(?:2[89]|[3-8])"), (16, 17, 18, 19)),  # JCB
    (re.compile(r"2131|1800"), (15, 16)),  # JCB, older
    (re.compile(r"30[0-5]|309|3[689]"), (14, 15, 16, 17, 18, 19)),  # Diners Club
    (re.compile(r"50|5[6-8]|6304|67|0604"), (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro, Verve
    (re.compile(r"220[0-4]"), (16, 17, 18, 19)),  # Mir
    (re.compile(r"9792|60|82"), (16,)),  # Troy, RuPay
)
_LUHN_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_NIR = re.compile(r"[12378]\d{2}(?:0[1-9]|1[0-2]|[2-4]\d|[5-9]\d)(?:\d{2}|2[AB])\d{6}\d{2}")
_NEVER_ISSUED = frozenset({"078051120", "219099999"})
"""In advertisements, and so in many texts, but nobody's."""


def is_card(number: str) -> bool:
    """Whether `number`, of digits, can be a payment card's: issuer, length and Luhn's formula."""
    length = len(number)
    return (
        any(length in lengths and prefix.match(number) for prefix, lengths in _ISSUERS)
        and len(set(number)) > 1
        and luhn(number)
    )


def luhn(number: str) -> bool:
    """Whether the last of the digits is the check digit of the others, by Luhn's formula."""
    digits = [int(digit) for digit in reversed(number)]
    total = sum(digits[::2]) + sum(_LUHN_DOUBLED[digit] for digit in digits[1::2])
    return total % 10 == 0


def is_iban(number: str) -> bool:
    """Whether `number`, in capitals, is an IBAN: country, length, and remainder 1 modulo 97."""
    if IBAN_LENGTHS.get(number[:2]) != len(number) or not 2 <= int(number[2:4]) <= 98:
        return False
    moved = number[4:] + number[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


def is_nhs_number(number: str) -> bool:
    """Whether ten digits are an NHS number of England and Wales: weights 10 to 2, modulo 11."""
    weighed = sum(int(digit) * weight for digit, weight in zip(number, range(10, 1, -1)))  # noqa: B905
    return (11 - weighed % 11) % 11 == int(number[9]) and len(set(number)) > 1


def is_german_tax_id(number: str) -> bool:
    """Whether eleven digits are a German Steuer-ID: one digit repeated, and the check digit."""
    counts = sorted(Counter(number[:10]).values(), reverse=True)
    if number[0] == "0" or counts[0] not in (2, 3) or counts[1] != 1:
        return False
    product = 10
    for digit in number[:10]:
        product = 2 * ((int(digit) + product) % 10 or 10) % 11
    return (11 - product) % 10 == int(number[10])


def is_french_nir(number: str) -> bool:
    """Whether 15 characters are a French NIR: sex, month, department, and the key modulo 97."""
    if not _NIR.fullmatch(number):
        return False
    # Corsica has letters; they stand for 19 and 18.
    body = number[:13].replace("2A", "19").replace("2B", "18")
    return 97 - int(body) % 97 == int(number[13:])


def is_us_ssn(number: str) -> bool:
    """Whether nine digits can be a US social security number; it has no check digit."""
    area, group, serial = number[:3], number[3:5], number[5:]
    return (
        area not in ("000", "666")
        and area < "900"
        and group != "00"
        and serial != "0000"
        and number not in _NEVER_ISSUED
    )
