"""Licence expressions against Python's own `and` and `or`, and texts that are none."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.text.spdx import refused

NAMES = ["MIT", "GPL-2.0-only", "CC-BY-4.0", "LicenseRef-ours", "GPL-2.0+"]
EXPRESSIONS = st.recursive(
    st.sampled_from(NAMES),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["AND", "OR", "or"]), inner).map(" ".join),
        inner.map(lambda each: f"( {each})"),
    ),
    max_leaves=8,
)


@given(EXPRESSIONS, st.sets(st.sampled_from(NAMES)))
def test_a_list_allows_what_python_says(expression: str, allowed: set[str]) -> None:
    def value(match: re.Match[str]) -> str:
        return match[0].lower() if match[0] in ("AND", "OR", "or") else str(match[0] in allowed)

    expected = eval(re.sub(r"[\w.+-]+", value, expression))
    found = refused(expression, [each.lower() for each in allowed])
    assert (not found) == expected
    assert set(found) <= set(NAMES) - allowed


@pytest.mark.parametrize(
    ("expression", "allowed", "wrong"),
    [
        ("GPL-2.0-only WITH Classpath-exception-2.0", ["GPL-2.0-only"], ()),
        ("GPL-2.0-only WITH GCC-exception-2.0", ["gpl-2.0-only with gcc-exception-2.0"], ()),
        ("A WITH B", ["B"], ("A WITH B",)),
        ("MIT AND GPL-2.0-only", ["MIT"], ("GPL-2.0-only",)),
        ("our terms of 2026", ["our terms of 2026"], ()),
        ("our terms of 2026", ["MIT"], ("our terms of 2026",)),
        ("not stated", ["MIT"], ("not stated",)),
        *(
            (text, ["MIT"], (text,))
            for text in ("", "MIT AND", "(MIT", "MIT)", "MIT MIT", "OR", "MIT WITH", "MIT; GPL",
                         "MIT OR\x00", "MIT OR (", "()", "(" * 5000 + "MIT" + ")" * 5000)
        ),
    ],
)  # fmt: skip
def test_what_is_refused(expression: str, allowed: list[str], wrong: tuple[str, ...]) -> None:
    assert refused(expression, allowed) == wrong
