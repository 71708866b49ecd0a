"""Text whose code keeps its white space is cut as the same text without."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.text import chunk
from tunesmith.text.layout import is_laid_out, laid_out, passages, sentences
from tunesmith.text.normalise import normalise

LINES = st.lists(
    st.tuples(
        st.sampled_from(["", "", " ", "    ", "\t", "  \t "]),
        st.sampled_from(["# Title", "if x  y:", "- item \t one.", "1.2. Scope", "a\u200b  b",
                         "&amp;amp; x", "x" * 30, "The end. So   it is!", "======", "", "a\x0bb",
                         "\u3000z \r"]),
    ),
    max_size=30,
)  # fmt: skip


@given(LINES, st.lists(st.integers(0, 300), max_size=4).map(sorted))
def test_it_is_normal_but_for_white_space_within_lines(
    lines: list[tuple[str, str]], cuts: list[int]
) -> None:
    text = "\n".join(indent + said for indent, said in lines)
    code = list(zip(cuts[::2], cuts[1::2], strict=False))
    found = laid_out(text, code)
    assert is_laid_out(found)
    assert normalise(found) == normalise(text)
    assert not code or all(line == line.rstrip() for line in found.split("\n"))


@given(LINES)
def test_passages_and_sentences_are_those_of_the_text_without_layout(
    lines: list[tuple[str, str]],
) -> None:
    text = laid_out("\n".join(indent + said for indent, said in lines), [(0, 10_000)])
    for mine, plain in (
        (sentences(text), chunk.sentences(normalise(text))),
        (passages(text), chunk.passages(normalise(text))),
    ):
        assert [normalise(span.text) for span in mine] == [span.text for span in plain]
        assert all(text[span.start : span.end] == span.text for span in mine)


def test_sections_begin_where_they_are_said_to() -> None:
    text = "    a  b\n\n  Title\n\n  c"
    found = passages(text, sections=[text.index("Title")])
    assert [span.text for span in found] == ["a  b", "Title\n\n  c"]


def test_indentation_takes_no_room_of_a_passage() -> None:
    code = "\n".join(f"{' ' * 60}call_number(x);" for _ in range(20))
    text = laid_out(code, [(0, len(code))])
    assert text == code
    (found,) = passages(text)
    assert len(found.text) > chunk.MAX_CHARS
