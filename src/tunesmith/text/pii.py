"""Personal data, tier 0: what has a form that can be checked. No model, no dictionary of names.

Found: e-mail addresses, IP addresses, IBANs, payment cards, telephone numbers, and national numbers
of England and Wales (NHS), the United States (SSN), Germany (Steuer-ID) and France (NIR). A number
that could as well be another one (ten digits in a row) also needs a word for it nearby. Names,
postal addresses, dates of birth and what people say about themselves are not seen.
"""

from __future__ import annotations

import bisect
import hmac
import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tunesmith.text import identifiers

Kind = Literal[
    "email", "ip", "iban", "card", "phone", "uk_nhs", "us_ssn", "de_tax_id", "fr_nir",
    "person", "location", "organisation",
]  # fmt: skip
"""The last three are of tier 1, `text.names`, which a model tells."""

_SPACE = " \u00a0\u202f"
_EMAIL = re.compile(r"(?<![\w.+%'-])[\w.+%'-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,63}")
_IBAN = re.compile(r"(?<![^\W_])[A-Za-z]{2}\d{2}(?=[ \u00a0\u202f-]?[A-Za-z0-9])")
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = re.compile(rf"(?<![\w.-]){_OCTET}(?:\.{_OCTET}){{3}}(?![\w-]|\.\w)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")
_VERSION = re.compile(
    r"(?:\bv|\b(?:version|release|revision|section|clause|chapter)s?|§)\W*$", re.I
)
_LARGEST_SECTION = 30
"""Four numbers up to this at the start of a line count a section, not an address."""
_NIR = re.compile(
    rf"(?<!\w)[12378](?P<a>[{_SPACE}.-]?)\d\d(?P=a)\d\d(?P=a)(?:\d\d|2[ABab])(?P=a)\d{{3}}(?P=a)"
    rf"\d{{3}}[{_SPACE}.-]?\d\d(?!\w)"
)
_DIGITS = re.compile(rf"(?<!\w)(?<!\d\.)\d+(?:[{_SPACE}-]\d+)*(?!\w)")
_PHONE = re.compile(
    rf"(?<![\w+])(?:\+|00)[1-9](?:[{_SPACE}./-]?(?:\d|[(]\d{{1,4}}[)])){{6,16}}(?!\w)"
)
_NATIONAL_PHONE = re.compile(
    rf"(?<![\w.+/-])(?:[(]\d{{2,5}}[)][{_SPACE}.-]?|0\d|\d{{3}}[{_SPACE}.-](?=\d{{3}}[{_SPACE}.-]\d{{4}}))"
    rf"\d(?:[{_SPACE}./-]?\d){{4,12}}(?!\w)"
)
_SEPARATORS = re.compile(rf"[{_SPACE}./()-]")
_GROUP = re.compile(r"\d+")
_OTHER_DIGIT = re.compile(r"[^\D0-9]")
_DIGIT = frozenset("0123456789")
_CARD_GROUPS = ((4, 6, 5), (4, 6, 4))
_GROUPS = frozenset({*_CARD_GROUPS, (3, 2, 4), (3, 3, 4), (2, 3, 3, 3)})
"""Beside groups of four: of cards, and of the three national numbers."""
_MAX_GROUPS = 6
_CONTEXT_CHARS = 48
_CONTEXT = {
    "uk_nhs": re.compile(r"\bnhs\b", re.I),
    "us_ssn": re.compile(r"\bssns?\b|\bsocial[\s-]security\b", re.I),
    "de_tax_id": re.compile(r"steuer|\bid-?nr\b|identifikationsnummer|\btax\b|\btin\b", re.I),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """`text[start:end]` is of this kind."""

    kind: Kind
    start: int
    end: int
    canonical: str
    """What it says, however it is written: equal for equal ones."""


def find_pii(text: str, regions: Sequence[str] = ()) -> tuple[Finding, ...]:
    """What is found in `text`, in order; no two overlap.

    `regions` are countries (two letters, ISO 3166) whose telephone numbers are also known without
    a country's prefix.
    """
    if not text.isascii():  # digits of other scripts, one for one
        text = _OTHER_DIGIT.sub(lambda match: str(unicodedata.decimal(match[0])), text)
    finders: list[Iterator[Finding]] = []
    if "@" in text:
        finders.append(_emails(text))
    if _GROUP.search(text):
        finders += [_ibans(text), _nirs(text), _numbers(text), _addresses(text)]
        finders += [_phones(text), _national_phones(text, regions)]
    found: list[Finding] = []
    for finder in finders:
        # The earlier finder is the surer one; what overlaps with its findings is part of them.
        found = sorted([*found, *_beside(found, finder)], key=_start)
    return tuple(found)


def replace_pii(text: str, found: Sequence[Finding], name: Callable[[Finding], str]) -> str:
    """`text` with each finding replaced by what `name` calls it."""
    parts, at = [], 0
    for each in found:
        parts += [text[at : each.start], name(each)]
        at = each.end
    return "".join([*parts, text[at:]])


def mask(finding: Finding) -> str:
    """The kind in brackets, e.g. "[EMAIL]"."""
    return f"[{finding.kind.upper()}]"


def pseudonym(finding: Finding, key: bytes) -> str:
    """The kind, and 16 letters that are equal for equal values: HMAC-SHA-256 with `key`, cut off at
    64 bits. Letters a to p alone, so that a pseudonym is never taken for another number."""
    said = f"{finding.kind}\0{finding.canonical}".encode()
    digest = hmac.digest(key, said, "sha256").hex()[:16]
    letters = digest.translate(str.maketrans("0123456789abcdef", "abcdefghijklmnop"))
    return f"[{finding.kind.upper()} {letters}]"


def _beside(found: Sequence[Finding], others: Iterable[Finding]) -> Iterator[Finding]:
    """Those of `others` that overlap with none that was found, which are in order."""
    for each in others:
        after = bisect.bisect_left(found, each.end, key=_start)
        if after == 0 or found[after - 1].end <= each.start:
            yield each


def _start(finding: Finding) -> int:
    return finding.start


def _emails(text: str) -> Iterator[Finding]:
    for match in _EMAIL.finditer(text):
        yield _finding("email", match.start(), match.end(), match[0].casefold())


def _ibans(text: str) -> Iterator[Finding]:
    for match in _IBAN.finditer(text):
        length = identifiers.IBAN_LENGTHS.get(match[0][:2].upper())
        if length is None:
            continue
        # So many characters as the country has, and then something else.
        rest = re.compile(rf"(?:[{_SPACE}-]?[A-Za-z0-9]){{{length - 4}}}(?![^\W_])")
        if whole := rest.match(text, match.end()):
            number = re.sub(rf"[{_SPACE}-]", "", text[match.start() : whole.end()]).upper()
            if identifiers.is_iban(number):
                yield _finding("iban", match.start(), whole.end(), number)


def _nirs(text: str) -> Iterator[Finding]:
    for match in _NIR.finditer(text):
        number = _bare(match[0]).upper()
        if identifiers.is_french_nir(number):
            yield _finding("fr_nir", match.start(), match.end(), number)


def _numbers(text: str) -> Iterator[Finding]:
    """Cards and national numbers, which may stand between other groups of digits."""
    for match in _DIGITS.finditer(text):
        if match.end() - match.start() < 9:
            continue
        spans = [group.span() for group in _GROUP.finditer(text, *match.span())]
        sizes = [end - start for start, end in spans]
        first = 0
        while first < len(spans):
            for last in range(min(first + _MAX_GROUPS, len(spans)), first, -1):
                start, end = spans[first][0], spans[last - 1][1]
                if kind := _kind_of(text, start, end, tuple(sizes[first:last])):
                    yield _finding(kind, start, end, _bare(text[start:end]))
                    first = last
                    break
            else:
                first += 1


def _kind_of(text: str, start: int, end: int, sizes: tuple[int, ...]) -> Kind | None:
    """What a number in groups of these sizes is; None if it may be anything."""
    plain = len(sizes) == 1
    total = sum(sizes)
    by_fours = sizes[0] == 4 and sizes[-1] <= 4 and set(sizes[:-1]) == {4}
    if not 9 <= total <= 19 or not (plain or by_fours or sizes in _GROUPS):
        return None
    number = _bare(text[start:end])
    separators = set(text[start:end]) - _DIGIT
    if len(separators) > 1:
        return None
    if (plain or by_fours or sizes in _CARD_GROUPS) and identifiers.is_card(number):
        return "card"
    if total == 9 and identifiers.is_us_ssn(number):
        return "us_ssn" if separators == {"-"} or _said(text, start, end, "us_ssn") else None
    if total == 10 and identifiers.is_nhs_number(number):
        grouped = not plain and separators != {"-"}
        return "uk_nhs" if grouped or _said(text, start, end, "uk_nhs") else None
    if total == 11 and identifiers.is_german_tax_id(number):
        return "de_tax_id" if not plain or _said(text, start, end, "de_tax_id") else None
    return None


def _said(text: str, start: int, end: int, kind: str) -> bool:
    """Whether a word for a kind of number stands near it."""
    near = text[max(0, start - _CONTEXT_CHARS) : end + _CONTEXT_CHARS]
    return bool(_CONTEXT[kind].search(near))


def _addresses(text: str) -> Iterator[Finding]:
    for match in _IPV4.finditer(text):
        address = ipaddress.IPv4Address(match[0])
        before = text[max(0, match.start() - 24) : match.start()]
        counts = all(part <= _LARGEST_SECTION for part in address.packed)
        heads_line = not before.rpartition("\n")[2].strip(" \t#*>") and counts
        if not (_is_nobodys(address) or _VERSION.search(before) or heads_line):
            yield _finding("ip", match.start(), match.end(), str(address))
    if "::" not in text and text.count(":") < 7:
        return
    for match in _IPV6.finditer(text):
        try:
            address6 = ipaddress.IPv6Address(match[0])
        except ValueError:
            continue
        # `a::b` is also how some languages write a name in a name.
        named = any(character.isdigit() for character in match[0]) and match[0][0] != ":"
        if named and not _is_nobodys(address6):
            yield _finding("ip", match.start(), match.end(), str(address6))


def _is_nobodys(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_loopback or address.is_unspecified or address.is_multicast


def _phones(text: str) -> Iterator[Finding]:
    for match in _PHONE.finditer(text):
        number = "+" + re.sub(r"\D", "", match[0].removeprefix("00"))
        if said := _phone(number, None):
            yield _finding("phone", match.start(), match.end(), said)


def _national_phones(text: str, regions: Sequence[str]) -> Iterator[Finding]:
    for match in _NATIONAL_PHONE.finditer(text) if regions else ():
        said = next(filter(None, (_phone(match[0], region) for region in regions)), "")
        if said:
            yield _finding("phone", match.start(), match.end(), said)


def _phone(number: str, region: str | None) -> str:
    """The number with its country's prefix (E.164); empty if no such number is given out."""
    import phonenumbers  # its tables are loaded by country, when one is asked for

    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return ""
    if not phonenumbers.is_valid_number(parsed):
        return ""
    return str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))


def has_phones(region: str) -> bool:
    """Whether the telephone numbers of a country (two letters, ISO 3166) are known."""
    import phonenumbers

    return region in phonenumbers.SUPPORTED_REGIONS


def _bare(number: str) -> str:
    return _SEPARATORS.sub("", number)


def _finding(kind: Kind, start: int, end: int, canonical: str) -> Finding:
    return Finding(kind=kind, start=start, end=end, canonical=canonical)
