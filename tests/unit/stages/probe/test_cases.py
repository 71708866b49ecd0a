from __future__ import annotations

import pytest

from tunesmith.core.errors import DataError
from tunesmith.stages.probe.cases import read_tests

TOML = """
[[test]]
name = "capitals"
type = "minimum-functionality"
fill = { city = ["Paris", "Lyon"], what = ["town", "place"] }
cases = [
  { input = "Is {city} a {what}?", expected = "{city}" },
  { input = "Is Rome?", expected = "no" },
]
[[test]]
name = "names"
type = "invariance"
cases = [{ input = "a", variants = ["b", "c"] }]
"""


def test_templates_are_filled_with_every_combination():
    first, second = read_tests(TOML, "c.toml")
    assert [(case.input, case.expected) for case in first.cases] == [
        ("Is Paris a town?", "Paris"),
        ("Is Paris a place?", "Paris"),
        ("Is Lyon a town?", "Lyon"),
        ("Is Lyon a place?", "Lyon"),
        ("Is Rome?", "no"),
    ]
    assert second.cases[0].variants == ("b", "c")


def test_lines_of_one_test_are_its_cases():
    lines = """
{"test": "up", "type": "directional", "of": "mit", "by": 0.5, "input": "a", "variants": ["b"]}
{"test": "up", "input": "c", "variants": ["d"]}
{"test": "is", "type": "minimum-functionality", "input": "e", "expected": "f"}
"""
    up, other = read_tests(lines, "c.jsonl")
    assert (up.name, up.type, up.of, up.by, len(up.cases)) == ("up", "directional", "mit", 0.5, 2)
    assert other.cases[0].expected == "f"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[test]", "this is not TOML"),
        ("x = 1", r"must hold \[\[test\]\] tables and nothing else"),
        ("", "has no cases"),
        (TOML.replace('"names"', '"capitals"'), "two tests are called 'capitals'"),
        (TOML.replace('"invariance"', '"invariant"'), r"test 2 \(names\): type: input should be"),
        (TOML.replace("expected", "expect"), r"test 1 \(capitals\): expect: there is no such key"),
        (TOML.replace('["b", "c"]', "[]"), "case 1: a test of type 'invariance' needs variants"),
        (TOML.replace('"invariance"', '"directional"'), "`of` is for tests of type 'directional'"),
        (TOML.replace('[{ input = "a", variants = ["b", "c"] }]', "3"), "must be a list of tables"),
    ],
)
def test_a_bad_file_is_refused_with_the_place(text, said):
    with pytest.raises(DataError, match=said):
        read_tests(text, "c.toml")


def test_lines_that_do_not_agree_are_refused():
    lines = '{"test": "a", "type": "invariance", "input": "a", "variants": ["b"]}\n'
    with pytest.raises(DataError, match="do not agree"):
        read_tests(lines + lines.replace("invariance", "directional"), "c.jsonl")
