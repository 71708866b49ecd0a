"""Equal values have equal bytes; what has none is refused."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.core.canonical import canonical_json, fingerprint, parse, plain

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abcé☃"), inner),
)


@given(JSON)
def test_round_trip_and_order(value):
    data = canonical_json(value)
    assert parse(data) == value
    assert canonical_json(parse(data)) == data


@given(st.dictionaries(st.text("abcdef"), st.integers(0, 9)))
def test_order_of_keys_does_not_matter(value):
    assert canonical_json(value) == canonical_json(dict(reversed(value.items())))


def test_examples_of_rfc_8785():
    # Section 3.2.3 of the RFC: numbers and escapes.
    value = {"numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 1e-27], "literals": [None, True]}
    assert canonical_json(value) == (
        b'{"literals":[null,true],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27]}'
    )


@dataclasses.dataclass
class Point:
    x: int
    y: Decimal


def test_records_and_money_keep_their_digits():
    assert plain(Point(1, Decimal("0.10"))) == {"x": 1, "y": "0.10"}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": {1, 2}}, "value.a is a set"),
        ([object()], r"value\[0\] is a object"),
        (float("nan"), "no canonical form"),
        ({1: 2}, "keys must be strings"),
        (b"x", "store them as a blob"),
        (2**53, "use a string"),
        (lambda: 0, "is a function"),
    ],
)
def test_what_has_no_stable_bytes_is_refused(value, words):
    with pytest.raises(TypeError, match=words):
        canonical_json(value)


def test_deep_values_differ():
    # A cache that hashes only the top levels serves the wrong result.
    deep: object = 1
    other: object = 2
    for _ in range(30):
        deep, other = {"a": [deep]}, {"a": [other]}
    assert fingerprint(deep) != fingerprint(other)
