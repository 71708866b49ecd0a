"""What is put together piece by piece is the canonical JSON of it all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.core.canonical import canonical_json
from tunesmith.core.facts import _BLOB, _blobs, _curves, _rows

NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**53) + 1, 2**53 - 1).map(float),
    st.sampled_from([0.0, -0.0, 1e-4, 9.9e-5, 1e-6, 1e-7, 1e15, 1e16, 1e21, 1e22, 123456789.5]),
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]))
POINTS = st.lists(st.tuples(st.integers(0, 2**40), NUMBERS), max_size=3)


@given(st.dictionaries(NAMES, POINTS, max_size=4))
def test_curves_are_canonical(curves: dict[str, list[tuple[int, float]]]) -> None:
    assert _curves(curves).encode() == canonical_json(curves)


@given(st.lists(st.tuples(NAMES, st.integers(0, 2**40), NAMES), max_size=4))
def test_rows_are_canonical(rows: list[tuple[str, int, str]]) -> None:
    assert _rows(rows).encode() == canonical_json(rows)
    named = [
        dict(zip(_BLOB, (name, num_bytes, kind), strict=True)) for name, num_bytes, kind in rows
    ]
    assert _blobs(rows).encode() == canonical_json(named)


def test_names_are_in_the_order_of_utf_16() -> None:
    curves = {"\ufb33": [(1, 1.0)], "\U0001f600": [(1, -0.0)]}
    assert _curves(curves).encode() == canonical_json(curves)
    assert _curves(curves).index("\U0001f600") < _curves(curves).index("\ufb33")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_has_no_canonical_form_is_refused(value: float) -> None:
    with pytest.raises(TypeError):
        _curves({"loss": [(1, value)]})
