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


def test_a_passage_that_would_be_too_long_ends_where_a_paragraph_begins_past_its_middle() -> None:
    ab = "Aaaaaaaaa aaaaaaaaa. Bbbbbbbbb bbbbbbbbb."
    document = f"{ab}\n\nCccccc cc. Dddddd dd. Eeeeee ee. Ffffffff ffffff."
    assert [span.text[:1] for span in passages(document, max_chars=100)] == ["A", "C"]
    # Without a paragraph it ends at the first sentence past its middle.
    found = passages(document.replace("\n\n", " "), max_chars=100)
    assert [span.text[:1] for span in found] == ["A", "C"]
    assert len(passages(document, max_chars=200)) == 1


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


PROSE = "The manual describes what maintainers do. It goes on."


def passage_texts(document: str, sections: list[str] | None = None) -> list[str]:
    """Passages; sections begin at the first place of each text."""
    starts = [document.index(said) for said in sections or []]
    return [" ".join(span.text.split()) for span in passages(document, sections=starts)]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (f"{PROSE}\n\nSecond\n======\n\n{PROSE}", [PROSE, f"Second ====== {PROSE}"]),
        (f"{PROSE}\n\n*****\nTop\n*****\n\n{PROSE}", [PROSE, f"Top ***** {PROSE}"]),
        (f"{PROSE}\n\n## Second\n{PROSE}", [PROSE, f"## Second {PROSE}"]),
        (f"{PROSE}\n\n1.2. Second\n\n{PROSE}", [PROSE, f"1.2. Second {PROSE}"]),
        (f"{PROSE}\n\nChapter 2. It\n\n{PROSE}", [PROSE, f"Chapter 2. It {PROSE}"]),
        (f"{PROSE}\n\n1.2. What\nis it?\n\n{PROSE}", [PROSE, f"1.2. What is it? {PROSE}"]),
        # No headings: a sentence, a table's rule, a fence, one item of a list.
        (f"{PROSE}\n\n1.2. You may copy it.\n\nMore.", [f"{PROSE} 1.2. You may copy it. More."]),
        (f"{PROSE}\n\nname\n~~~\ncode\n~~~", [f"{PROSE} name ~~~ code"]),
        (f"{PROSE}\n\n1. One\n\n2. Two", [f"{PROSE} 1. One 2. Two"]),
        # A heading that nothing stands below goes with the next.
        ("One\n===\n\nTwo\n---\n\nText.", ["One === Two --- Text."]),
        # A note is a passage wherever it stands.
        (
            f"{PROSE}[1]\n\n[1] See there.\n\n[2] Here.",
            [f"{PROSE}[1]", "[1] See there.", "[2] Here."],
        ),
        (f"{PROSE}\n[1] see there.", [f"{PROSE} [1] see there."]),
    ],
)
def test_a_passage_ends_with_its_section(document: str, expected: list[str]) -> None:
    assert passage_texts(document) == expected


def test_sections_that_the_format_knows_end_passages_too() -> None:
    document = f"{PROSE}\n\nSecond\n\n{PROSE}"
    assert passage_texts(document) == [f"{PROSE} Second {PROSE}"]
    assert passage_texts(document, ["Second"]) == [PROSE, f"Second {PROSE}"]


def test_a_list_of_contents_is_a_passage_and_a_list_in_another_order_is_none() -> None:
    names = ["Scope", "Terms", "Copies", "Sources", "Patents", "Warranty"]
    body = "\n\n".join(f"{name}\n======\n\n{PROSE}" for name in names)
    for order, is_list in ((names, True), (sorted(names), False)):
        contents = "\n\n".join(f"* {at}. {name}" for at, name in enumerate(order))
        found = passage_texts(f"Before it.\n\n{contents}\n\nAfter it.\n\n{body}")
        assert (found[0] == "Before it.") is is_list
        assert (found[1].startswith("* 0. Scope") and found[1].endswith("Warranty")) is is_list
        assert len(found) == len(names) + (3 if is_list else 1)


def test_the_number_of_a_footnote_belongs_to_the_sentence_before_it() -> None:
    for document in ("One.[1] Two.", "One. [1] Two.", "One.\n[1]\n\nTwo.", "One.[1][2] Two."):
        first, second = texts(document)
        assert first.startswith("One.")
        assert first.endswith("]")
        assert second == "Two."
    assert texts("One.\n[1] A. Smith wrote it.") == ["One.", "[1] A. Smith wrote it."]


def test_the_number_of_an_item_ends_no_sentence() -> None:
    assert texts("- 1.1. Scope\n- 4.9.1. Rules") == ["- 1.1. Scope", "- 4.9.1. Rules"]
    assert texts("As follows:\n11.8.1\nRules of it") == ["As follows:", "11.8.1 Rules of it"]


@given(
    st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=12), min_size=2, max_size=6),
    st.data(),
)
def test_what_changes_in_a_section_moves_no_passage_of_another(
    sections: list[list[int]], data: st.DataObject
) -> None:
    """Each section is paragraphs of some number of words; one of them is made anew."""

    def written(numbers: list[int], word: str) -> str:
        said = (" ".join([word] * number).capitalize() + "." for number in numbers)
        return f"Head {word}\n==========\n\n" + "\n\n".join(said)

    changed = data.draw(st.integers(0, len(sections) - 1))
    others = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=12))
    before = [written(numbers, f"w{'abcdef'[at]}") for at, numbers in enumerate(sections)]
    after = [*before]
    after[changed] = written(others, "changed")
    one, other = ([span.text for span in passages("\n\n".join(said), max_chars=200)]
                  for said in (before, after))  # fmt: skip
    kept = [text for text in one if f"w{'abcdef'[changed]}" not in text.casefold()]
    assert kept == [text for text in other if "changed" not in text.casefold()]


def test_max_chars_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        sentences("a", max_chars=0)


ALPHABET = st.sampled_from(list("abZ1 .\n\t-*(),;!?\"'=#§é\u2028İ[]/:")) | st.characters()
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


@given(DOCUMENTS, BOUNDS, st.lists(st.integers(0, 300), max_size=5))
def test_passages_are_runs_of_whole_sentences(
    document: str, max_chars: int, sections: list[int]
) -> None:
    found = passages(document, sections=sections, max_chars=max_chars)
    check_spans(document, found, max_chars)
    parts = sentences(document, max_chars=max_chars)
    assert {p.start for p in found} <= {s.start for s in parts}
    assert {p.end for p in found} <= {s.end for s in parts}
