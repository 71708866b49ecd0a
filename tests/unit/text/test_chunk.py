"""Sentences and passages: hand-written cases, then the laws that every citation rests on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.text.chunk import Span, passages, sentences


def texts(document: str, **options: int) -> list[str]:
    return [" ".join(span.text.split()) for span in sentences(document, **options)]


@pytest.mark.parametrize(
    "document",
    [
        "You may use it, e.g. in a product.",
        "Copyright Acme, Inc. and others.",
        "See Doe v. Roe for more.",
        "See patent No. 5 of Acme Corp. Ltd. for more.",
        "Written by J. R. Smith of the U.S. Navy.",
        "Under version\n2.0 or later of the licence.",
        "As said in Section\n3. of this deed.",
        "Copyright\n(c) 1999 by Acme.",
        "(c) 2004 Acme",
        "A sentence that is\nwrapped by hand over\nthree lines.",
        "1. Definitions",
        "(a) You must keep this notice; and",
        "It costs 3.50 at example.com/a.b now.",
        "Really?! no.",
    ],
)
def test_one_sentence(document: str) -> None:
    assert texts(document) == [" ".join(document.split())]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("One. Two.", ["One.", "Two."]),
        ("It ends\nhere. The next\nbegins.", ["It ends here.", "The next begins."]),
        ('He said "stop." Then he left.', ['He said "stop."', "Then he left."]),
        ("HEADING\n\nText.", ["HEADING", "Text."]),
        ("NO WARRANTY\nThe program is free.", ["NO WARRANTY", "The program is free."]),
        ("Title\n=====\nText.", ["Title", "Text."]),
        ("# Title\nText.", ["# Title", "Text."]),
        ("2. Grant. You may copy it.", ["2. Grant.", "You may copy it."]),
        (
            "You may, provided that:\n(a) you keep\nthis; and\n(b) you say so.",
            ["You may, provided that:", "(a) you keep this; and", "(b) you say so."],
        ),
        (
            "1.1 Work\nmeans this.\n1.2 You means you.",
            ["1.1 Work means this.", "1.2 You means you."],
        ),
        ("- one\n  thing\n- another", ["- one thing", "- another"]),
        ("* This file is\n* free software.", ["* This file is * free software."]),
        ("", []),
        (" \n--\n ", []),
    ],
)
def test_splits(document: str, expected: list[str]) -> None:
    assert texts(document) == expected


def test_a_long_sentence_is_cut_at_a_natural_place() -> None:
    document = "first part of it, second part of it, third part of it"
    assert texts(document, max_chars=40) == [
        "first part of it, second part of it,",
        "third part of it",
    ]
    assert texts("x" * 25, max_chars=10) == ["x" * 10, "x" * 10, "x" * 5]


def test_a_passage_prefers_to_end_at_a_blank_line() -> None:
    document = "A first paragraph here.\n\nA second one. It goes on a bit."
    assert [span.text for span in passages(document, max_chars=40)] == [
        "A first paragraph here.",
        "A second one. It goes on a bit.",
    ]
    assert [span.text for span in passages(document)] == [document]


def test_marks_move_no_cut() -> None:
    """A document's text has quotes around code, bullets and addresses where its PDF has none."""
    plain, marked = [], []
    for item in range(1, 60):
        words = "describes configuration maintainers" + " administer" * (item % 2)
        address = " (https://a.b)" if item % 7 == 0 else ""
        plain.append(f"{item}. The manual {words}, as in its section.")
        marked.append(f'* {item}. The "manual"{address} *{words}*, as in its section.')
    of_plain, of_marked = (passages("\n".join(lines), max_chars=400) for lines in (plain, marked))
    assert [span.text.count("manual") for span in of_plain] == [
        span.text.count("manual") for span in of_marked
    ]
    assert len(of_plain) > 5
    longest = [max(len(span.text) for span in spans) for spans in (of_plain, of_marked)]
    assert longest[1] > 1.1 * longest[0]


def test_max_chars_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        sentences("a", max_chars=0)


ALPHABET = st.sampled_from(list("abZ1 .\n\t-*(),;!?\"'=#§é\u2028İ")) | st.characters()
DOCUMENTS = st.text(ALPHABET, max_size=300)
BOUNDS = st.integers(1, 60)


def check_spans(document: str, spans: list[Span], max_chars: int) -> None:
    end = 0
    for span in spans:
        assert document[span.start : span.end] == span.text
        assert span.text == span.text.strip()
        assert end <= span.start < span.end
        assert len(span.text) <= max_chars
        assert not any(c.isalnum() for c in document[end : span.start])
        end = span.end
    assert not any(c.isalnum() for c in document[end:])


@given(DOCUMENTS, BOUNDS)
def test_sentences_partition_the_letters(document: str, max_chars: int) -> None:
    check_spans(document, sentences(document, max_chars=max_chars), max_chars)


@given(DOCUMENTS, BOUNDS)
def test_passages_are_runs_of_whole_sentences(document: str, max_chars: int) -> None:
    found = passages(document, max_chars=max_chars)
    check_spans(document, found, max_chars)
    parts = sentences(document, max_chars=max_chars)
    assert {p.start for p in found} <= {s.start for s in parts}
    assert {p.end for p in found} <= {s.end for s in parts}
