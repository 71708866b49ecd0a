"""Documents: what people see of them, in order, and on which page or in which section it is."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archives import zipped
from tunesmith.core.errors import MissingExtra
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.container import File
from tunesmith.stages.ingest.documents.canonical import PARAGRAPH, Part, document
from tunesmith.stages.ingest.documents.pdf import _of_contents, parts
from tunesmith.stages.ingest.documents.pdf_edges import without_edges, without_running_heads
from tunesmith.stages.ingest.documents.pdf_lines import Line
from tunesmith.stages.ingest.documents.pdf_notes import with_notes
from tunesmith.stages.ingest.documents.pdf_sections import Entry as Outlined
from tunesmith.stages.ingest.documents.pdf_sections import with_sections
from tunesmith.stages.ingest.entry import Entry, Quarantined, Unreadable
from tunesmith.stages.ingest.formats import read_file
from tunesmith.text.normalise import normalise

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
REL = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def read(format: str, data: bytes | str, **settings: Any) -> list[Entry | Quarantined]:
    config = SourceConfig(origin="file:x", format=format, **settings)
    data = data.encode() if isinstance(data, str) else data
    return list(read_file(config, File(name="a", stream=io.BytesIO(data))))


def one(format: str, data: bytes | str) -> Entry:
    (entry,) = read(format, data)
    assert isinstance(entry, Entry), entry
    assert entry.text is not None
    return entry


def rule(format: str, data: bytes | str) -> str:
    (entry,) = read(format, data)
    assert isinstance(entry, Quarantined), entry
    return entry.rule


def sections(entry: Entry) -> dict[str | int, str]:
    """Page or section -> its text, by the map alone."""
    assert entry.text is not None
    return {name: entry.text[start:end] for start, end, name in entry.fields["pages"]}


PARTS = st.lists(
    st.builds(
        lambda page, text, joint, begins: Part(
            page=page, text=text, joint=joint, begins_section=begins
        ),
        st.none() | st.integers(1, 9) | st.sampled_from(["a", "b"]),
        st.text(st.characters(), max_size=12)
        | st.sampled_from([" \n\n ", "a\r\n\tb", "â€™", "&amp;"]),
        st.sampled_from(["\n", PARAGRAPH]),
        st.booleans(),
    ),
    max_size=6,
)


@given(PARTS)
def test_the_map_says_where_each_part_is_in_a_canonical_text(made: list[Part]) -> None:
    if not any(normalise(part.text) for part in made):
        with pytest.raises(Unreadable, match="no text"):
            document("a", b"", made, {})
        return
    entry = document("a", b"", made, {})
    text = entry.text or ""
    assert normalise(text) == text
    expected: list[tuple[Any, str]] = []
    begun = []
    at = 0
    said = [part for part in made if normalise(part.text)]
    for before, part in zip([None, *said], said, strict=False):
        joint = part.joint if before else ""
        at += len(joint)
        if part.begins_section:
            begun.append(at)
        at += len(normalise(part.text))
        if part.page is None:
            continue
        if before and part.begins_section and before.page == part.page:
            # On the page that the part before is on, of which the map has one span.
            expected[-1] = (part.page, expected[-1][1] + joint + normalise(part.text))
        else:
            expected.append((part.page, normalise(part.text)))
    found = [(page, text[start:end]) for start, end, page in entry.fields["pages"]]
    assert found == expected
    # Where some begin where no page does, the starts of named pages are among them.
    named = [start for start, _, page in entry.fields["pages"] if isinstance(page, str)]
    said_begun = set(entry.fields.get("sections", []))
    assert said_begun >= set(begun)
    assert said_begun - {*begun, *named} == set() or not begun


HTML = """<!doctype html><html><head><title> A
 title </title><script>var no = 1;</script><style>no</style></head>
<body><header>no</header><nav>no</nav>
<main><h1>One<a class="headerlink" href="#">¶</a></h1><p>First <b>bo</b>ld,
 wrapped.<p>Not closed.<br>Next line.
<ul><li>item<li><p>with a paragraph</p></ul><ol start="3"><li>three<li>four</ol>
<table><tr><th>a</th><th>b</th></tr><tr><td><p>1</p></td><td>2</td></tr></table>
<pre>  kept
as it is</pre><div hidden>no</div><p aria-hidden="true">no</p>
<h2>Two &amp; more</h2><p>areas<a role="doc-noteref" href="#n">1</a> are x<sup>2</sup>.</p></main>
<footer>no</footer></body></html>"""


MARKDOWN_CODE = """Say   this:

```python
def f():
    # no heading

    return  1
```

    indented
      code

- item

    of   the item
  ```
    fenced
  ```

Then:

    code  again
"""


def test_code_in_markdown_keeps_its_white_space() -> None:
    said = MARKDOWN_CODE.strip().replace("Say   this", "Say this")
    assert one("markdown", MARKDOWN_CODE).text == said.replace("    of   the", "of the")


def test_html_is_what_people_see() -> None:
    entry = one("html", HTML)
    assert entry.text == (
        "One\n\nFirst bold, wrapped.\n\nNot closed.\nNext line.\n\n- item\n- with a paragraph\n\n"
        "3. three\n4. four\n\na | b\n1 | 2\n\n  kept\nas it is\n\nTwo & more\n\nareas[1] are x2."
    )
    assert entry.fields["title"] == "A title"
    assert list(sections(entry)) == ["One", "Two & more"]
    assert sections(entry)["Two & more"].startswith("Two & more\n\nareas")


def test_the_number_before_a_footnote_is_in_brackets_as_the_one_in_the_text() -> None:
    page = (
        '<p>areas<a class="footnote-reference brackets" href="#n">1</a> are</p>'
        '<dl class="footnote brackets"><dt class="label" id="n"><span class="brackets">'
        '<a class="fn-backref" href="#m">1</a></span></dt><dd><p>A note.</p></dd></dl>'
        "<p>In 3 <span>4</span> ways.</p>"
    )
    assert one("html", page).text == "areas[1] are\n\n[1] A note.\n\nIn 3 4 ways."


def test_a_note_of_docutils_begins_with_its_number() -> None:
    page = (
        '<p>areas <a class="footnote-reference brackets" role="doc-noteref"><span class='
        '"fn-bracket">[</span>1<span class="fn-bracket">]</span></a></p><aside class="footnote-list'
        ' brackets"><aside class="footnote brackets" role="note"><span class="label"><span class='
        '"fn-bracket">[</span><a role="doc-backlink">1</a><span class="fn-bracket">]</span></span>'
        "<p>A note of [2] words.</p></aside></aside><p><span class='label'>3</span></p>"
    )
    assert one("html", page).text == "areas [1]\n\n[1] A note of [2] words.\n\n3"


def test_a_row_whose_first_cell_is_empty_begins_a_line() -> None:
    page = "<p>Take:</p><table><tr><td></td><th>a</th></tr><tr><td>1</td><td>2</td></tr></table>"
    assert one("html", page).text == "Take:\n\n| a\n1 | 2"


def test_a_list_of_contents_is_a_section_and_so_is_what_follows_it() -> None:
    page = (
        '<h1>Post</h1><p>About it.</p><div class="toctree-wrapper"><ul><li>One</li></ul></div>'
        "<p>More.</p><h2>Two</h2><p>Said.</p>"
    )
    entry = one("html", page)
    assert entry.text == "Post\n\nAbout it.\n\n- One\n\nMore.\n\nTwo\n\nSaid."
    begun = [entry.text[at:].split("\n")[0] for at in entry.fields["sections"]]
    assert begun == ["Post", "- One", "More.", "Two"]
    assert sections(entry) == {"Post": "Post\n\nAbout it.\n\n- One\n\nMore.", "Two": "Two\n\nSaid."}


def test_code_keeps_its_white_space_and_nothing_else_does() -> None:
    page = (
        "<p>Say   this:</p><pre><span>  </span><span>if</span> x:\n\n\n\ty  = 1 \n</pre>"
        "<p>  or\n  not</p><table><tr><td>a  b</td><td><pre> c  d</pre></td></tr></table>"
    )
    code = "Say this:\n\n  if x:\n\n\ty  = 1\n\nor not\n\na b |  c  d"
    assert one("html", page).text == code
    assert one("epub", epub(f"<html><body>{page}</body></html>")).text == code


def test_a_definition_stands_below_its_term() -> None:
    page = (
        "<p>Kinds:</p><dl><dt>One</dt><dd><p>It is.</p><p>More.</p></dd><dt>Two<dd>So.</dl><p>End."
    )
    assert one("html", page).text == "Kinds:\n\nOne\nIt is.\n\nMore.\n\nTwo\nSo.\n\nEnd."


def test_the_heading_of_an_aside_begins_no_section_and_docbooks_navigation_is_none() -> None:
    page = (
        '<body><div class="navheader"><h2>Next</h2></div><h2>One</h2><p>a</p>'
        '<div class="tip"><table><tr><td><h3 class="title">Tip</h3></td></tr></table><p>b</p></div>'
        '<div class="note"><h3>Note</h3><p>c</p></div><h3>Two</h3><p>d</p></body>'
    )
    entry = one("html", page)
    assert entry.text == "One\n\na\n\nTip\n\nb\n\nNote\n\nc\n\nTwo\n\nd"
    assert list(sections(entry)) == ["One", "Two"]


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (b"<p>caf\xc3\xa9", "café"),
        (b'<meta charset="iso-8859-1"><p>caf\xe9 \x93q\x94', "café “q”"),
        (b"\xff\xfe" + "<p>café".encode("utf-16-le"), "café"),
        (b'<meta http-equiv="x" content="text/html; charset=shift_jis"><p>\x93\xfa', "日"),
    ],
)
def test_a_page_is_in_the_encoding_that_it_says(page: bytes, text: str) -> None:
    assert one("html", page).text == text


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (b"<p>caf\xe9", "not-text"),
        (b'<meta charset="zip_codec"><p>x', "not-text"),
        (b'<meta charset="unicode_escape"><p>x', "not-text"),
        (b"<p>a\0b", "not-text"),
        (b"<script>only</script>", "empty-text"),
        (b"<div>" * 3000 + b"x", "hostile"),
        (b"<b>" * 1500 + b"<p>x" * 20_000, "hostile"),
    ],
)
def test_a_page_that_cannot_be_read_is_refused(page: bytes, why: str) -> None:
    assert rule("html", page) == why


def test_markdown_keeps_its_marks_and_has_sections() -> None:
    entry = one(
        "markdown",
        "---\ntitle: Guide\nowner: us\n---\nBefore.\n\n# One #\n\nText.\n\n"
        "```\n# no heading\n```\n\n"
        "Two\n---\n\nMore *text*.\n",
    )
    assert entry.text is not None
    assert entry.text.startswith("Before.\n\n# One #\n\nText.")
    assert {name: said.split("\n")[0] for name, said in sections(entry).items()} == {
        "One": "# One #", "Two": "Two",
    }  # fmt: skip
    assert (entry.fields["title"], entry.fields["owner"]) == ("Guide", "us")
    assert rule("markdown", "---\na: [\n---\nx") == "bad-front-matter"


def line(text: str, at: float, size: float = 10.0, last: float | None = None) -> Line:
    return Line(text=text, first=at, last=at if last is None else last, size=size)


def page(number: int, *lines: Line) -> list[Line]:
    return [line("Manual, release 1", 750), *lines, line(f"{number} Chapter 1. Things", 40)]


def pdf_text(pages: list[list[Line]]) -> tuple[str, dict[Any, str]]:
    entry = document("a", b"", parts(pages), {})
    return entry.text or "", sections(entry)


def test_what_is_on_every_page_and_page_numbers_are_left_out_of_text_and_map() -> None:
    names = ["Ada", "Bea", "Cleo", "Dora"]
    pages = [
        page(n + 7, line(f"{a} is here.", 700), line(f"So {a}.", 688)) for n, a in enumerate(names)
    ]
    pages.append([line("iv", 40), line("Last, with a roman number below.", 700)])
    text, by_page = pdf_text(pages)
    assert "release" not in text
    assert "Chapter" not in text
    assert by_page[3] == "Cleo is here.\nSo Cleo."
    assert by_page[5] == "Last, with a roman number below."


def test_a_line_that_is_repeated_elsewhere_or_seldom_stays() -> None:
    pages = [
        [line("A.", 700), line("Same words.", 700 - 50 * n), line("B.", 100)] for n in range(4)
    ]
    assert without_edges(pages[:2]) == pages[:2]
    kept = without_edges([[*lines, line("x", 80), line("y", 70)] for lines in pages])
    assert all(any(one.text == "Same words." for one in lines) for lines in kept)


def test_hyphens_at_the_end_of_a_line_are_taken_out_or_are_part_of_the_word() -> None:
    lines = [
        line(
            "A pack\x02age is in the US\x02ASCII set, a well\x02known one, and one in\x02stalls it.",  # noqa: E501
            700,
        ),
        line("This well-known word, mail-transport-agent, and mail-transport\x02agent.", 688),
    ]
    text, _ = pdf_text([lines])
    assert text == (
        "A package is in the US-ASCII set, a well-known one, and one installs it.\n"
        "This well-known word, mail-transport-agent, and mail-transport-agent."
    )


def test_a_word_across_pages_is_whole_and_on_the_page_where_it_begins() -> None:
    text, by_page = pdf_text([[line("It goes on and con\x02", 700)], [line("tinues, here.", 700)]])
    assert text == "It goes on and continues,\nhere."
    assert by_page == {1: "It goes on and continues,", 2: "here."}


def test_a_sentence_goes_on_over_a_page_and_a_paragraph_does_not() -> None:
    text, _ = pdf_text([[line("It goes on", 700)], [line("here.", 700)], [line("New.", 700)]])
    assert text == "It goes on\nhere.\n\nNew."


def test_what_says_that_a_listing_goes_on_overleaf_is_left_out() -> None:
    below, above = "(continues on next page)", "Table 3: continued from previous page"
    text, _ = pdf_text(
        [[line("a", 700), line(below, 650), line("Note.", 90)], [line(above, 700), line("b", 688)]]
    )
    assert text == "a\nNote.\n\nb"
    assert pdf_text([[line("It continues on the next page 4.", 700)]])[0].startswith("It continues")


def test_headings_at_the_top_of_pages_that_differ_in_a_number_are_no_running_heads() -> None:
    heads = ["1. Version 3.8", "Rule 4 of it", "", "Rule 7 of it", "Rule 9 of it"]
    pages = [
        [line(head, 700)] * bool(head) + [line(f"Page {number} of 9 (4.6)", 40)]
        for number, head in enumerate(heads, start=1)
    ]
    kept = [[one.text for one in lines] for lines in without_edges(pages)]
    assert kept == [[head] * bool(head) for head in heads]


def test_a_page_number_without_a_space_beside_it_is_left_out() -> None:
    heads = ["7Chapter A", "Manual 8", "9Chapter B", "Manual 10", "11Chapter C"]
    pages = [[line(f"word {name}.", 700), line(name, 40)] for name in heads]
    assert [len(lines) for lines in without_edges(pages)] == [1] * 5


def test_the_other_line_of_a_footer_is_left_out_on_the_one_page_that_has_it() -> None:
    names = ["Ada", "Bea", "Cleo", "Dora"]
    pages = [[line(name, 700), line(f"Page {n}", 40)] for n, name in enumerate(names)]
    pages[2].append(line("of the manual)", 28))
    assert [[one.text for one in kept] for kept in without_edges(pages)] == [[n] for n in names]


def outlined(title: str, page: int, top: float | None = None, level: int = 0) -> Outlined:
    return Outlined(title=title, level=level, page=page, top=top)


def test_running_heads_that_say_the_titles_of_sections_are_left_out() -> None:
    titles = ["Scope of it", "Terms and words", "Copies of it all", "A warranty"]
    entries = [outlined(title, page) for page, title in enumerate(titles)]
    heads = [
        "CHAPTER 1. SCOPE OF IT",
        "2. TERMS AND WORDS",
        "SCOPE OF IT 3. COPIES OF…",
        "Section 4: A warranty",
    ]
    pages = [[line(head, 780), line(f"Text of {head}.", 700)] for head in heads]
    kept = [[one.text for one in lines] for lines in without_running_heads(pages, entries)]
    assert kept == [[f"Text of {head}."] for head in heads]
    # A line at another place, one that says no title, and a title of larger type are text.
    others = [
        [line("Scope of it", 600)],
        [line("We saw a scope of it there", 780)],
        [line("Scope of it", 780, 14)],
    ]
    assert without_running_heads(pages[:2] + others, entries) == pages[:2] + others


def test_sections_begin_where_the_outline_leads_or_at_larger_type() -> None:
    lines = [line("end of the one before", 740), line("Chapter", 700, 20), line("1", 680, 20),
             line("Scope of", 650, 20), line("the licence", 630, 20), line("Scope is a word.", 600),
             line("1.1 Terms", 570, 14), line("A term.", 550)]  # fmt: skip
    entries = [outlined("Scope of the licence", 0, 720), outlined("Terms", 0, 590, 1)]

    def begun(pages: list[list[Line]]) -> list[str]:
        return [one.text for page in pages for one in page if one.begins_section]

    assert begun(with_sections([lines], entries)) == ["Chapter", "1.1 Terms"]
    assert begun(with_sections([lines], [outlined("Terms", 0), outlined("Not there", 0, 700)])) == [
        "1.1 Terms"
    ]
    assert begun(with_sections([lines * 1 + [line("x" * 90, 500)]], [])) == ["Chapter", "1.1 Terms"]


def test_the_index_begins_above_the_place_that_its_entry_leads_to() -> None:
    lines = [
        line("INDEX", 700, 20),
        line("R", 640, 14),
        line("reboot, 91", 620),
        line("x" * 90, 600),
    ]
    (page,) = with_sections([lines], [outlined("Index", 0, 660)])
    assert [one.text for one in page if one.begins_section] == ["INDEX"]
    (page,) = with_sections([[line("Index", 700), *lines[1:]]], [outlined("Index", 0, 660)])
    assert not any(one.begins_section for one in page)  # a word of the text


def test_an_address_goes_on_in_the_next_line_and_an_ellipsis_is_one_of_its_own() -> None:
    lines = [line("To ftp://ftp.a.", 700), line("b.org/queue/. Or https://a.b/", 688),
             line("to read.", 676), line("dists/main/", 664), line("...", 652),
             line("dists/main/", 640)]  # fmt: skip
    assert pdf_text([lines])[0] == (
        "To ftp://ftp.a.b.org/queue/. Or https://a.b/\nto read.\ndists/main/\n...\ndists/main/"
    )


def test_a_half_that_other_words_begin_with_keeps_its_hyphen() -> None:
    text, _ = pdf_text(
        [[line("A non-free, non-native porter and a porter.", 700), line("No non\x02porter.", 688)]]
    )
    assert text.endswith("No non-porter.")


def test_a_chapter_and_its_first_section_begin_apart() -> None:
    lines = [line("ONE", 690, 20), line("ABOUT IT", 660, 20), line("1.1 Scope", 630, 14),
             line("This text is about it, and not about others.", 600)]  # fmt: skip
    (kept,) = with_sections([lines], [outlined("About it", 0, 720), outlined("Scope", 0, 650, 1)])
    assert [one.text for one in kept if one.begins_section] == ["ONE", "1.1 Scope"]


def test_a_page_with_sections_is_one_of_the_map() -> None:
    head = Line(text="Two", first=650, last=650, size=14.0, begins_section=True)
    text, by_page = pdf_text([[line("One.", 700), head, line("It is.", 630)], [line("Next.", 700)]])
    assert text == "One.\n\nTwo\n\nIt is.\n\nNext."
    assert by_page == {1: "One.\n\nTwo\n\nIt is.", 2: "Next."}
    entry = document("a", b"", parts([[line("One.", 700), head]]), {})
    assert entry.fields["sections"] == [6]


def test_what_was_broken_behind_a_mark_is_whole_if_it_is_elsewhere() -> None:
    lines = [
        line("See invoke-rc.d, and /usr/share/doc here.", 700),
        line("Use invoke-rc.", 688),
        line("d. In /usr/share/", 676),
        line("doc or on https:", 664),
        line("//a.b/c. See it.", 652),
        line("The end, and/", 640),
        line("or not.", 628),
    ]
    assert pdf_text([lines])[0] == (
        "See invoke-rc.d, and /usr/share/doc here.\nUse invoke-rc.d. In /usr/share/doc or on "
        "https://a.b/c. See it.\nThe end, and/\nor not."
    )


def placed(text: str, at: float, left: float, right: float) -> Line:
    return Line(text=text, first=at, last=at, size=10.0, left=left, right=right)


def test_a_paragraph_ends_where_a_word_would_have_stood_or_the_next_is_indented() -> None:
    lines = [
        placed("A line that is full and ends here.", 700, 72, 500),
        placed("It goes on so.", 688, 72, 180),
        placed("Another begins and is full to here.", 676, 72, 500),
        placed("Indented it is, and full.", 664, 87, 500),
        placed("1. An item that is full to its end.", 652, 72, 500),
        placed("Its other line", 640, 87, 180),
        placed("code(a)", 628, 72, 120),
        placed("Code(b)", 616, 72, 120),
    ]
    assert pdf_text([lines])[0] == (
        "A line that is full and ends here.\nIt goes on so.\n\nAnother begins and is full to here."
        "\n\nIndented it is, and full.\n1. An item that is full to its end.\nIts other line\n"
        "code(a)\nCode(b)"
    )


def test_a_list_of_contents_is_one_of_items_whose_long_ones_are_whole() -> None:
    lead = " . . . . . . 7"
    lines = [
        line("CONTENTS", 700, 14),
        line(f"1 Scope{lead}", 670),
        line("1.1 A title that is", 658),
        line(f"long{lead}", 646),
        line(f"2 Terms{lead}", 634),
    ]
    kept = [one.text for one in _of_contents(lines)]
    assert kept == ["- CONTENTS", "- 1 Scope", "- 1.1 A title that is", "long", "- 2 Terms"]


def test_numbers_of_two_notes_side_by_side_and_at_the_start_of_a_line_are_told_apart() -> None:
    both = Line(text="links,23 and", first=700, last=700, size=10.0, raised=((6, "23"),))
    begins = Line(text="4 Here is one.", first=688, last=688, size=10.0, raised=((0, "4"),))
    (kept,) = with_notes(
        [[both, line("so.", 694), begins, note("2 A.", 90), note("3 B.", 81), note("4 C.", 72)]]
    )
    assert [one.text for one in kept] == [
        "links,[2][3] and", "so.", "[4] Here is one.", "[2] A.", "[3] B.", "[4] C.",
    ]  # fmt: skip
    assert [one.begins_note for one in kept] == [False, False, False, True, True, True]


def note(text: str, at: float) -> Line:
    return Line(text=text, first=at, last=at, size=8.0, raised=((0, text.split()[0]),))


def referring(text: str, at: float, number: str) -> Line:
    raised = ((len(text), number),)
    return Line(text=text + number, first=at, last=at, size=10.0, raised=raised)


NOTED = [
    [referring("It goes on,", 700, "1"), line("with x2 and", 688), note("1 A note that", 90)],
    [
        line("ends here.", 700),
        referring("Look.", 688, "2"),
        referring("See.", 676, "3"),
        line("is long.", 90, size=8.0),
    ],
    [line("Another chapter.", 700), note("2 Late.", 90), note("3 Later.", 81)],
]


def test_footnotes_follow_their_chapter_and_cut_no_sentence_in_two() -> None:
    text, _ = pdf_text(with_notes(NOTED))
    assert text == (
        "It goes on,[1]\nwith x2 and\nends here.\nLook.[2]\nSee.[3]\n\nAnother chapter.\n\n"
        "[1] A note that\nis long.\n\n[2] Late.\n\n[3] Later."
    )
    found = document("a", b"", parts(with_notes(NOTED), chapters=[0, 1, 2]), {})
    assert found.text == (
        "It goes on,[1]\nwith x2 and\nends here.\nLook.[2]\nSee.[3]\n\n"
        "[1] A note that\nis long.\n\n"
        "Another chapter.\n\n[2] Late.\n\n[3] Later."
    )
    assert [page for *_, page in found.fields["pages"]] == [1, 2, 1, 2, 3, 3]


def shown(*pieces: tuple[float, float, float, str]) -> bytes:
    """What a page shows: (size, left, bottom, text)."""
    return b"".join(
        b"BT /F %.1f Tf %.1f %.1f Td (%s) Tj ET\n" % (size, left, bottom, text.encode())
        for size, left, bottom, text in pieces
    )


def made_pdf(pages: list[bytes], chapters: list[int]) -> bytes:
    """A file with an outline, and without a table of objects: PDFium looks for them itself."""
    first, entry = 10, 10 + 2 * len(pages)
    kids = " ".join(f"{first + 2 * at} 0 R" for at in range(len(pages)))
    last = entry + len(chapters) - 1
    objects = {
        1: "<< /Type /Catalog /Pages 2 0 R /Outlines 3 0 R >>",
        2: f"<< /Type /Pages /Count {len(pages)} /Kids [{kids}] >>",
        3: f"<< /Type /Outlines /First {entry} 0 R /Last {last} 0 R /Count {len(chapters)} >>",
        4: "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    }
    for at, page in enumerate(pages):
        objects[first + 2 * at] = (
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F 4 0 R "
            f">> >> /Contents {first + 2 * at + 1} 0 R >>"
        )
        objects[first + 2 * at + 1] = (
            f"<< /Length {len(page)} >>\nstream\n{page.decode()}\nendstream"
        )
    for at, chapter in enumerate(chapters, start=entry):
        following = f"/Next {at + 1} 0 R" if at < last else ""
        place = f"[{first + 2 * chapter} 0 R /Fit]"
        objects[at] = f"<< /Title (T) /Parent 3 0 R /Dest {place} {following} >>"
    body = "".join(f"{number} 0 obj\n{said}\nendobj\n" for number, said in objects.items())
    return f"%PDF-1.4\n{body}trailer << /Root 1 0 R >>\n%%EOF\n".encode()


def test_numbers_of_footnotes_that_are_lines_of_their_own_and_chapters_are_read() -> None:
    pages = [
        shown(
            (10, 72, 700, "This is the text that most of the page consists of."),
            (10, 72, 688, "The fox is quick,"),
            (6, 158, 694, "1"),
            (10, 72, 676, "and it goes on"),
            (5, 72, 99, "1"),
            (8, 72, 92, "A fox is a small dog."),
        ),
        shown((10, 72, 700, "to the end of the chapter.")),
        shown((10, 72, 700, "Another chapter begins.")),
    ]
    assert one("pdf", made_pdf(pages, [0, 2])).text == (
        "This is the text that most of the page consists of.\nThe fox is quick, [1]\n"
        "and it goes on\nto the end of the chapter.\n\n[1] A fox is a small dog.\n\n"
        "Another chapter begins."
    )


def test_a_number_of_a_footnote_that_begins_a_line_ends_no_paragraph() -> None:
    page = shown(
        (10, 72, 700, "This is the text that most of the page consists of."),
        (10, 72, 688, "The fox is quick, as everybody knows"),
        (6, 72, 681, "1"),
        (10, 76, 676, "and it goes on."),
        (5, 72, 99, "1"),
        (8, 76, 92, "A fox is a small dog."),
    )
    assert one("pdf", made_pdf([page, page], [0, 1])).text == "\n\n".join(
        [
            "This is the text that most of the page consists of.\nThe fox is quick, as everybody "
            "knows\n[1] and it goes on.",
            "[1] A fox is a small dog.",
        ]
        * 2
    )


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from([6.0, 8.0, 10.0]), st.sampled_from(["1", "2", ""]),
                           st.booleans(), st.integers(50, 800)), max_size=4),
        max_size=5,
    ),
    st.lists(st.integers(0, 5), max_size=3),
)  # fmt: skip
def test_no_word_is_lost_wherever_notes_and_chapters_are(
    made: list[list[tuple[float, str, bool, int]]], chapters: list[int]
) -> None:
    pages: list[list[Line]] = []
    for number, lines in enumerate(made):
        pages.append([])
        for at, (size, mark, is_note, bottom) in enumerate(lines):
            word = "w" * (4 * number + at + 1)
            text = f"{mark} {word}" if is_note else word + mark
            raised = ((0 if is_note else len(word), mark),) * bool(mark)
            place = float(bottom)
            pages[-1].append(Line(text=text, first=place, last=place, size=size, raised=raised))
    noted = with_notes(pages)
    expected = sorted(word for page in without_edges(noted) for one in page
                      for word in one.text.split())  # fmt: skip
    found = [part.text for part in parts(noted, chapters)]
    assert sorted(word for text in found for word in text.split()) == expected


def test_small_digits_are_notes_only_where_a_line_begins_with_the_number() -> None:
    formula = Line(text="x2 is", first=700, last=700, size=10.0, raised=((1, "2"),))
    small = Line(text="2 mm", first=90, last=90, size=8.0, raised=((0, "2"),))
    (kept,) = with_notes([[formula, line("2", 650)]])
    assert [one.text for one in kept] == ["x2 is", "2"]
    (alone,) = with_notes([[line("text", 700), small]])
    assert not any(one.begins_note for one in alone)


def test_halves_that_are_words_keep_their_hyphen_and_parts_of_compounds_do() -> None:
    text, _ = pdf_text(
        [
            [
                line(
                    "A package, a package of dev files for dev, a clear mail-transport-agent.", 700
                ),
                line("The package\x02dev, a mail\x02transport-agent, MySQL\x02compatible.", 688),
                line("It is clear\x02signed and hori\x02zontally there.", 676),
            ]
        ]
    )
    assert text.endswith(
        "The package-dev, a mail-transport-agent, MySQL-compatible.\n"
        "It is clearsigned and horizontally there."
    )


def test_a_wider_gap_another_size_and_a_column_end_a_paragraph() -> None:
    lines = [line("a", 700), line("b", 688), line("c", 676), line("d", 655), line("e", 643),
             line("Head", 631, size=14), line("f", 619), line("second column", 700)]  # fmt: skip
    text, _ = pdf_text([lines])
    assert text == "a\nb\nc\n\nd\ne\n\nHead\n\nf\n\nsecond column"


def docx(body: str, **others: str) -> bytes:
    related = "".join(
        f'<Relationship Id="{kind}" Type="{REL}/{kind}" Target="{kind}.xml"/>'
        for kind in ("footnotes", "styles")
    )
    styles = (
        '<w:style w:styleId="H1"><w:name w:val="heading 1"/></w:style>'
        '<w:style w:styleId="Own"><w:outlineLvl w:val="1"/></w:style>'
        '<w:style w:styleId="Body"><w:name w:val="Body Text"/></w:style>'
    )
    return zipped(
        {
            "word/document.xml": f'<w:document xmlns:w="{WORD}">{body}</w:document>',
            "word/_rels/document.xml.rels": f"<Relationships>{related}</Relationships>",
            "word/styles.xml": f'<w:styles xmlns:w="{WORD}">{styles}</w:styles>',
            "word/footnotes.xml": f'<w:f xmlns:w="{WORD}"><w:p><w:t>A note.</w:t></w:p></w:f>',
            "docProps/core.xml": "<c><title>Report</title><creator>Us</creator></c>",
            **others,
        }
    )


def paragraph(text: str, style: str = "Body", more: str = "") -> str:
    shown = f'<w:pPr><w:pStyle w:val="{style}"/>{more}</w:pPr>'
    return f"<w:p>{shown}<w:r><w:t>{text}</w:t></w:r></w:p>"


def test_docx_is_its_text_with_changes_accepted_in_sections() -> None:
    entry = one(
        "docx",
        docx(
            paragraph("One", "H1")
            + "<w:p><w:r><w:t>Split </w:t></w:r><w:r><w:t>run</w:t></w:r><w:ins><w:r><w:t>, added"
            "</w:t></w:r></w:ins><w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:r><w:tab/>"
            "<w:t>tab</w:t><w:br/><w:t>line</w:t><w:instrText>PAGE</w:instrText></w:r></w:p>"
            + paragraph("item", more="<w:numPr/>")
            + "<w:tbl><w:tr><w:tc>" + paragraph("a") + "</w:tc><w:tc>" + paragraph("b")
            + paragraph("c") + "</w:tc></w:tr></w:tbl>"
            + paragraph("Two", "Own")
            + "<w:p><w:AlternateContent><w:Choice><w:t>once</w:t></w:Choice><w:Fallback><w:t>twice"
            "</w:t></w:Fallback></w:AlternateContent></w:p>"
        ),
    )  # fmt: skip
    assert entry.text == (
        "One\n\nSplit run, added tab\nline\n\n- item\n\na | b\nc\n\nTwo\n\nonce\n\nA note."
    )
    assert list(sections(entry)) == ["One", "Two"]
    assert (entry.fields["title"], entry.fields["author"]) == ("Report", "Us")


def test_lines_of_code_of_a_word_processor_keep_their_white_space() -> None:
    styles = '<w:style w:styleId="C"><w:name w:val="HTML Preformatted"/></w:style>'
    body = (
        paragraph("Say   this:") + paragraph("if x:", "C")
        + '<w:p><w:pPr><w:pStyle w:val="C"/></w:pPr><w:r><w:tab/><w:t>y  = 1</w:t><w:br/>'
        "<w:t>  z</w:t></w:r></w:p>" + paragraph("", "C") + paragraph("    end", "C")
        + paragraph("   or") + paragraph("not")
    )  # fmt: skip
    styled = {"word/styles.xml": f'<w:styles xmlns:w="{WORD}">{styles}</w:styles>'}
    said = "Say this:\n\nif x:\n\ty  = 1\n  z\n\n    end\n\nor\n\nnot\n\nA note."
    assert one("docx", docx(body, **styled)).text == said
    space = "urn:oasis:names:tc:opendocument:xmlns:text:1.0"
    lines = ["if x:", "<t:s t:c='4'/>y<t:tab/>= 1", ""]
    code = "".join(f"<t:p t:style-name='P1'>{line}</t:p>" for line in lines)
    content = (
        f"<o xmlns:t='{space}' xmlns:s='style'><automatic-styles><s:style s:name='P1' "
        "s:parent-style-name='Preformatted_20_Text'/></automatic-styles><t:p>Say<t:s t:c='3'/>it:"
        f"</t:p>{code}<t:p t:style-name='Preformatted_20_Text'><t:s/>z</t:p>"
        "<t:p><t:s t:c='2'/>or</t:p></o>"
    )
    said = "Say it:\n\nif x:\n    y\t= 1\n\n z\n\nor"
    assert one("odt", zipped({"content.xml": content, "meta.xml": "<m/>"})).text == said


def test_slides_come_in_the_order_of_the_show_with_their_notes() -> None:
    space = 'xmlns:a="http://x/a" xmlns:p="http://x/p" xmlns:r="http://x/r"'
    relation = '<Relationship Id="{}" Type="' + REL + '/{}" Target="{}"/>'
    data = zipped(
        {
            "ppt/presentation.xml": f'<p:presentation {space}><p:sldId id="1" r:id="b"/>'
            '<p:sldId id="2" r:id="a"/></p:presentation>',
            "ppt/_rels/presentation.xml.rels": "<R>"
            + relation.format("a", "slide", "slides/1.xml")
            + relation.format("b", "slide", "slides/2.xml")
            + "</R>",
            "ppt/slides/1.xml": f"<p:sld {space}><a:p><a:r><a:t>Later</a:t></a:r></a:p></p:sld>",
            "ppt/slides/2.xml": f"<p:sld {space}><a:p><a:t>First</a:t><a:br/><a:t>line</a:t></a:p>"
            "</p:sld>",
            "ppt/slides/_rels/2.xml.rels": "<R>"
            + relation.format("n", "notesSlide", "../notes/2.xml")
            + "</R>",
            "ppt/notes/2.xml": f"<p:notes {space}><a:p><a:t>Say this.</a:t></a:p></p:notes>",
        }
    )
    entry = one("pptx", data)
    assert sections(entry) == {"slide 1": "First\nline\n\nSay this.", "slide 2": "Later"}


def test_odt_is_its_text_without_what_was_deleted() -> None:
    text = "urn:oasis:names:tc:opendocument:xmlns:text:1.0"
    body = (
        "<t:tracked-changes><t:deletion><t:p>gone</t:p></t:deletion></t:tracked-changes>"
        '<t:h t:outline-level="1">One</t:h><t:p>two<t:s t:c="3"/>words<t:line-break/>line'
        "<t:note><t:note-citation>1</t:note-citation><t:note-body><t:p>A note.</t:p></t:note-body>"
        "</t:note></t:p><t:list><t:list-item><t:p>item</t:p></t:list-item></t:list>"
        "<t:table><t:table-row><t:table-cell><t:p>a</t:p></t:table-cell><t:table-cell><t:p>b</t:p>"
        "</t:table-cell></t:table-row></t:table>"
    )
    content = f'<o xmlns:t="{text}">between{body}</o>'
    entry = one("odt", zipped({"content.xml": content, "meta.xml": "<m><title>T</title></m>"}))
    assert entry.text is not None
    assert re.sub(r"\s+", " ", entry.text) == "One two words line [ A note. ] - item a | b"
    assert list(sections(entry)) == ["One"]


def epub(*chapters: str, extra: str = "") -> bytes:
    items = "".join(
        f'<item id="i{n}" href="../text/{n}%20x.xhtml" media-type="application/xhtml+xml"/>'
        for n in range(len(chapters))
    )
    spine = "".join(f'<itemref idref="i{n}"/>' for n in reversed(range(len(chapters))))
    return zipped(
        {
            "META-INF/container.xml": '<c><rootfile full-path="book/b.opf"/></c>',
            "book/b.opf": f"<p><title>Book</title>{items}"
            '<item id="nav" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/>'
            f'<itemref idref="nav"/>{spine}<itemref idref="nowhere"/></p>',
            "book/nav.xhtml": "<p>Contents</p>",
            **{f"text/{n} x.xhtml": chapter for n, chapter in enumerate(chapters)},
            **({"META-INF/encryption.xml": extra} if extra else {}),
        }
    )


def test_chapters_come_in_the_order_of_reading() -> None:
    page = (
        '<?xml version="1.0"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" '
        '"http://www.w3.org/TR/xhtml11/DTD/xhtml11.dtd"><html><head><title/></head><body>'
        "<h1>{}</h1><p>caf&eacute;&nbsp;{}</p></body></html>"
    )
    entry = one("epub", epub(page.format("Second", 2), page.format("First", 1)))
    assert sections(entry) == {"First": "First\n\ncafé 1", "Second": "Second\n\ncafé 2"}
    assert entry.fields["title"] == "Book"


def test_a_locked_chapter_is_refused_and_a_locked_font_is_not() -> None:
    page = "<html><p>words</p></html>"
    locked = '<e><CipherReference URI="{}"/></e>'
    assert rule("epub", epub(page, extra=locked.format("text/0%20x.xhtml"))) == "encrypted"
    assert one("epub", epub(page, extra=locked.format("font.otf"))).text == "words"


def test_a_chapter_that_leads_out_of_the_book_is_not_there(tmp_path: Any) -> None:
    (tmp_path / "secret").write_text("<p>secret</p>")
    data = zipped(
        {
            "META-INF/container.xml": '<c><rootfile full-path="b.opf"/></c>',
            "b.opf": f'<p><item id="i" href="../../../..{tmp_path}/secret" '
            'media-type="text/html"/><itemref idref="i"/></p>',
        }
    )
    assert rule("epub", data) == "not-whole"


MESSAGE = b"""From: =?iso-8859-1?q?J=F6rg?= <j@example.org>\r
To: desk@example.org\r
Subject: =?utf-8?b?w4RyZ2Vy?= with\r
 an order\r
Date: Fri, 2 Jan 2026 10:00:00 +0100\r
Message-ID: <1@example.org>\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=b\r
\r
--b\r
Content-Type: multipart/alternative; boundary=c\r
\r
--c\r
Content-Type: text/plain; charset=iso-8859-1\r
Content-Transfer-Encoding: quoted-printable\r
\r
The plain one, caf=E9.\r
--c\r
Content-Type: text/html; charset=utf-8\r
\r
<p>The other one.</p>\r
--c--\r
--b\r
Content-Type: application/pdf; name="../../bill.pdf"\r
Content-Disposition: attachment; filename="../../bill.pdf"\r
Content-Transfer-Encoding: base64\r
\r
aGVsbG8=\r
--b--\r
"""


def test_a_message_is_its_plain_body_and_its_headers() -> None:
    entry = one("eml", MESSAGE)
    assert entry.text == "The plain one, café."
    shown = {
        name: entry.fields[name] for name in ("subject", "from", "date", "attachments", "pages")
    }
    assert shown == {
        "subject": "Ärger with an order",
        "from": "Jörg <j@example.org>",
        "date": "2026-01-02T10:00:00+01:00",
        "attachments": [{"name": "../../bill.pdf", "type": "application/pdf", "bytes": 5}],
        "pages": [],
    }
    assert entry.fields["title"] == entry.fields["subject"]


INNER = (
    b"From: b@example.org\nSubject: =?utf-8?q?K=C3=A4fig?=\nX-Long: "
    + b"a " * 99
    + b"""
Content-Type: multipart/mixed; boundary=inner

--inner

From here on the keys are lost.
--inner
Content-Type: text/plain
Content-Disposition: attachment; filename="deep.txt"

deep
--inner--
"""
)


def forwarded(disposition: bytes) -> bytes:
    """A message with another one, and a report on its delivery, in it."""
    return b"""Subject: Fwd
Content-Type: multipart/mixed; boundary=outer

--outer

See below.
--outer
Content-Type: message/rfc822
%s
%s
--outer
Content-Type: message/delivery-status

Reporting-MTA: dns; example.org

Action: failed

--outer--
""" % (disposition, INNER)


def test_a_message_in_a_message_is_an_attachment_called_by_its_subject() -> None:
    entry = one("eml", forwarded(b""))
    assert entry.text == "See below."
    message, report = entry.fields["attachments"]
    assert message == {"name": "Käfig", "type": "message/rfc822", "bytes": len(INNER)}
    assert (report["name"], report["type"]) == ("", "message/delivery-status")
    assert 0 < report["bytes"] < 70
    named = one("eml", forwarded(b'Content-Disposition: attachment; filename="keys.eml"\n'))
    assert named.fields["attachments"][0]["name"] == "keys.eml"


def test_messages_in_messages_without_end_are_refused() -> None:
    for depth in (300, 3000):  # the first can be taken apart, and not be put together again
        deep = b"Content-Type: message/rfc822\n\n" * depth
        assert rule("eml", b"Subject: a\n" + deep + b"Subject: b\n\nx") == "hostile"
    odd = b"Subject: a\nContent-Type: message/rfc822\n\nSubject: \xff\xfe\nX: \xe4\n\n\xff\xe4"
    assert one("eml", odd).fields["attachments"][0]["bytes"] > 0


def test_a_message_with_html_alone_is_what_is_seen_of_it() -> None:
    page = b"<h1>Hi</h1><p>there<script>no</script>"
    data = b"Subject: a\nContent-Type: text/html; charset=utf-8\n\n" + page
    assert one("eml", data).text == "Hi\n\nthere"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"just some words\n\nno headers", "bad-message"),
        (b"Subject: a\nContent-Type: text/plain; charset=zip_codec\n\nx", "not-text"),
        (b"Subject: a\nContent-Type: text/plain; charset=utf-8\n\ncaf\xe9", "not-text"),
        (b"From: x\n\n \n", "empty-text"),
        (b"Subject: a\n" + b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(3000)
        ), "hostile"),
    ],
)  # fmt: skip
def test_a_message_that_cannot_be_read_is_refused(data: bytes, why: str) -> None:
    assert rule("eml", data) == why


@pytest.mark.parametrize(
    "header",
    ["Subject: =?x?b?/?=", "Subject: =?utf-8?q?=FF=FE?=", "Date: never", "From: \"<<>>@@,,;",
     "Content-Type: /;;=\"", "Content-Disposition: =?", "Content-Type: text/plain; charset*=x''%FF",
     "Date: Fri, 99 Jan 99999999 99:99:99 +9999", "Subject: \udcff\udcfe"],
)  # fmt: skip
def test_odd_headers_cost_nothing_but_themselves(header: str) -> None:
    data = f"X: y\n{header}\nMessage-ID: a\n\nThe body.".encode("utf-8", "surrogateescape")
    (entry,) = read("eml", data)
    assert isinstance(entry, Quarantined) or entry.text == "The body."
    if isinstance(entry, Entry):
        json.dumps(dict(entry.fields), ensure_ascii=False).encode()


def test_a_mailbox_is_its_messages_and_a_bad_one_costs_itself_alone() -> None:
    data = (
        b"From a@b Fri\nSubject: one\n\nFirst.\n>From the start.\n>>From here.\nFrom inside.\n\n"
        b"From a@b Fri\nnot a header at all\n\n\n"
        b"From a@b Fri\r\nSubject: three\r\n\r\nThird.\r\n"
    )
    found = read("mbox", data)
    assert [entry.pointer for entry in found] == ["a#1", "a#2", "a#3"]
    first, second, third = found
    assert isinstance(first, Entry)
    assert first.text == "First.\nFrom the start.\n>From here.\nFrom inside."
    assert isinstance(second, Quarantined)
    assert isinstance(third, Entry)
    assert third.fields["subject"] == "three"
    assert rule("mbox", b"Subject: no mailbox\n\nx") == "bad-mbox"


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for format, module in (("pdf", "pypdfium2"), ("html", "selectolax.lexbor")):
        monkeypatch.setitem(__import__("sys").modules, module, None)
        with pytest.raises(MissingExtra) as caught:
            read(format, b"<p>x")
        assert "tunesmith[documents]" in caught.value.remedy
