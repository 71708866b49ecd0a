"""Headers are read as they were written, or refused with a rule; never anything else."""

from __future__ import annotations

import contextlib

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.stages.ingest.front_matter import BadFrontMatter, read


def test_scalars_stay_as_written() -> None:
    document = read(b"---\nkey: no\nversion: 1.10\nday: 2001-01-01\nlist:\n  - yes\n---\n\nText.\n")
    assert document.header == {"key": "no", "version": "1.10", "day": "2001-01-01", "list": ["yes"]}
    assert document.text == "Text.\n"


def test_the_text_may_have_rules_of_its_own() -> None:
    assert read(b"---\na: b\n---\none\n---\ntwo").text == "one\n---\ntwo"


def test_windows_files_are_read() -> None:
    document = read(b"\xef\xbb\xbf---\r\na: b\r\n---\r\none\r\ntwo")
    assert (document.header, document.text) == ({"a": "b"}, "one\ntwo")


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"---\na: b\n---\n\xff\xfe", "not-text"),
        (b"---\na: b\n---\nnul \x00", "not-text"),
        (b"no header", "no-front-matter"),
        (b"---\nnever closed", "no-front-matter"),
        (b"text first\n---\na: b\n---\n", "no-front-matter"),
        (b"", "no-front-matter"),
        (b"---\na: [\n---\ntext", "bad-front-matter"),
        (b"---\n- a\n---\ntext", "bad-front-matter"),
        (b"---\n---\ntext", "bad-front-matter"),
        (b"---\na: &x b\nc: *x\n---\ntext", "bad-front-matter"),
        (b"---\na: b\na: c\n---\ntext", "bad-front-matter"),
        (b"---\n[a]: b\n---\ntext", "bad-front-matter"),
        (b"---\na: " + b"[" * 21 + b"]" * 21 + b"\n---\ntext", "bad-front-matter"),
        (b"---\na:\n  " + b"- " * 21 + b"x\n---\ntext", "bad-front-matter"),
        (b"---\na: " + b"[" * 50_000 + b"\n---\ntext", "bad-front-matter"),
        (b"---\na: " + b"- " * 30_000 + b"\n---\ntext", "bad-front-matter"),
        (b"---\na: " + b"x" * 70_000 + b"\n---\ntext", "bad-front-matter"),
    ],
)
def test_what_cannot_be_read_names_its_rule(data: bytes, rule: str) -> None:
    with pytest.raises(BadFrontMatter) as caught:
        read(data)
    assert caught.value.rule == rule
    assert str(caught.value)


def test_a_header_may_be_nested_a_little() -> None:
    assert read(b"---\na: [[[b]]]\n---\ntext").header == {"a": [[["b"]]]}


def test_a_header_constructs_no_object() -> None:
    document = read(b"---\na: !!python/object/apply:os.getcwd []\nb: !x y\n---\ntext")
    assert document.header == {"a": [], "b": "y"}


VALUES = st.recursive(
    st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), VALUES, min_size=1, max_size=4))
def test_headers_are_those_of_the_yaml_package(header: dict[str, object]) -> None:
    source = yaml.safe_dump(header, allow_unicode=True)
    expected = yaml.load(source, Loader=yaml.BaseLoader)
    assert read(f"---\n{source}---\ntext".encode()).header == expected


@given(st.binary(max_size=60) | st.text("-\n:ab [", max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(BadFrontMatter):
        assert isinstance(read(data).header, dict)
