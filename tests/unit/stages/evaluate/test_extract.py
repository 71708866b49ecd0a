from __future__ import annotations

import time

import pytest

from tunesmith.stages.evaluate.extract import MAX_CHARS, check_pattern, found, without

NUMBER = "(-?[$0-9.,]{2,})|(-?[0-9]+)"


@pytest.mark.parametrize(
    ("pattern", "last", "text", "wanted"),
    [
        ("#### ([0-9]+)", False, "so\n#### 18 #### 19", "18"),
        ("#### ([0-9]+)", True, "so\n#### 18 #### 19", "19"),
        ("#### ([0-9]+)", False, "18", ""),
        ("[0-9]+", False, "a 12 b 3", "12"),
        (NUMBER, True, "7 of 1,000 and 5", "5"),
        (NUMBER, False, "7 of 1,000 and 5", "7"),
        ("(a+)|(b)", False, "b", "b"),
        ("answer: (.*)", False, "answer:  yes ", "yes"),
        ("(.*)", False, "", ""),
        ("(\x01?é)", False, "\x01\x02é\x03", "é"),
        ("(?P<x>[a-c])(d)", False, "bd", "b"),
    ],
)
def test_what_a_match_says_is_taken_out(pattern: str, last: bool, text: str, wanted: str) -> None:
    assert found(pattern, [text, text], last=last) == [wanted, wanted]


def test_what_is_ignored_is_left_out() -> None:
    assert without([",", "[$]", "(?s).*#### "], ["a\n#### $1,000", "7"]) == ["1000", "7"]
    assert without([], ["a"]) == ["a"]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(", "none that RE2 can read"),
        ("(?<=a)b", "no look-around"),
        (r"(a)\1", "no back-references"),
        ("a{1001}", "repetition"),
        ("a" * (MAX_CHARS + 1), f"at most {MAX_CHARS} characters"),
    ],
)
def test_what_cannot_be_read_in_bounded_time_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_pattern(pattern)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*)*(.*)*x", "(a?){100}(a){100}$"])
def test_no_expression_makes_a_run_hang(pattern: str) -> None:
    """By Python's own, the first three take longer than anybody lives."""
    check_pattern(pattern)
    began = time.monotonic()
    found(pattern, ["a" * 20_000 + "b"])
    assert time.monotonic() - began < 5
