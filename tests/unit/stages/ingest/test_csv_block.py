"""Many records of CSV at once: what the csv module says, or nothing."""

from __future__ import annotations

import csv
import io

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tunesmith.stages.ingest import csv_block

PIECES = st.sampled_from(
    ['"', '"', '""', ",", ",", "\n", "\n", "\r\n", "\r", "a", "é", "\0", "\1", "\t", '"a"', '"",']
)


@settings(max_examples=1000, deadline=None)
@given(pieces=st.lists(PIECES, max_size=14), num_fields=st.integers(1, 3))
@example(pieces=['"""', "a", '"', ",", '""', "\n"], num_fields=2)
@example(pieces=['""""', ",", '"a"""', "\r\n"], num_fields=2)
@example(pieces=["a", '"', "\n", "b", '"', "\n"], num_fields=1)
@example(pieces=["a", ",", '"b', "\n", "c", "\n"], num_fields=2)
@example(pieces=["a", "\n", "\n"], num_fields=1)
@example(pieces=['""', "\n", "a", '"'], num_fields=1)
def test_what_is_cut_is_what_the_module_reads(pieces: list[str], num_fields: int) -> None:
    text = "".join(pieces) + "\n"
    block = text.encode()
    found = csv_block._cut(block, ",", num_fields)
    if found is None:
        return
    taken = block[: found.num_bytes]
    reader = csv.reader(io.StringIO(taken.decode(), newline="\n"), strict=True)
    assert list(reader) == [list(row) for row in zip(*found.columns, strict=True)]
    assert found.num_lines == taken.count(b"\n")
    lines = taken.split(b"\n")
    ends = [*found.starts[1:], found.num_lines]
    whole = [b"\n".join(lines[at:end]) for at, end in zip(found.starts, ends, strict=True)]
    assert [each.rstrip(b"\r\n") for each in whole] == list(found.data)
    left = block[found.num_bytes :]
    assert left == b"" or left.count(b'"') % 2 == 1


def cut(text: str, num_fields: int = 2) -> list[tuple[str, ...]] | None:
    found = csv_block._cut(text.encode(), ",", num_fields)
    return None if found is None else list(zip(*found.columns, strict=True))


def test_what_is_usual_is_cut() -> None:
    assert cut('a,"b\nc"\r\n"d, ""e""","""f"""\n"",é\n"goes on\n') == [
        ("a", "b\nc"),
        ('d, "e"', '"f"'),
        ("", "é"),
    ]


def test_what_is_unusual_is_left_to_the_module() -> None:
    odd = ['a"b,c\n', '"a"b,c\n', 'a,"b" \n', "a\rb,c\n", "a\n", "a,b,c\n", '"a\1",b\n', '"a\n']
    assert [cut(text) for text in odd] == [None] * len(odd)
    assert cut("\n", num_fields=1) is None  # a blank line is no record


def test_what_stands_in_json_as_it_is_is_known() -> None:
    blocks = [
        b"a,b\n",
        b'"a,a",b\n',
        b'"a\n",b\n',
        b'"a""",b\n',
        b"a\\,b\n",
        b'"\t",b\n',
        b"\t,b\n",
    ]
    found = [csv_block.records(block, ",", 2).is_verbatim for block in blocks]
    assert found == [True, True, False, False, False, False, False]
    assert csv_block.records(b"a\tb\n", "\t", 2).is_verbatim
