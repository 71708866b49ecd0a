"""What normalising changes, what it leaves alone, and that twice is once."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.text.normalise import normalise


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the licenceâ€™s terms", "the licence’s terms"),
        ("cafe\u0301", "café"),
        ("in\u00advisi\u200bble\ufeff", "invisible"),
        ("bell\x07 and \x1b[31mred\x1b[0m", "bell and red"),
        ("hidden\U000e0041\U000e0042", "hidden"),
        ("a \t  b\u00a0c", "a b c"),
        ("one\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour"),
        ("\n\n  one  \n\n\n\n two\n", "one\n\ntwo"),
        ("&lt;owner&gt;", "<owner>"),
        ("a &a\u00admp; b", "a & b"),
        ("\u00c3\u0085ngstr\u00c3\u00b6m", "Ångström"),
        ("one\u0085 two\x0cthree", "one… two\nthree"),
        ("“quoted” as it was", "“quoted” as it was"),
        ("", ""),
    ],
)
def test_examples(text: str, expected: str) -> None:
    assert normalise(text) == expected


MESSY = st.text(
    st.sampled_from(list("aé \t\n\r&;ltgâ€™\u200b\u0301\x00\x1b[\x85Ã©\u2028\ufb01\uff21<>#x3"))
    | st.characters(),
    max_size=80,
)


@given(MESSY)
def test_twice_is_once(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@given(MESSY)
def test_nothing_unprintable_is_left(text: str) -> None:
    result = normalise(text)
    assert unicodedata.is_normalized("NFC", result)
    assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in result.replace("\n", ""))
    assert "  " not in result
    assert "\n\n\n" not in result
    result.encode()
