"""Records as JSON: whichever way a line goes, it is what Python's own parser says, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tunesmith.stages.ingest import json_text
from tunesmith.stages.ingest.entry import Unreadable

numbers = (
    st.integers()
    | st.integers(-(2**65), 2**65)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(1e-5, 1e-2)
    | st.floats(1e13, 1e18)
)
texts = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ['a":1', '":', ": ", "\\", "\x7f\x00\x1f", "\u2028", "é", "😀", '\\":']
)
plain = st.none() | st.booleans() | numbers | texts
records = st.dictionaries(texts, plain | st.lists(plain) | st.dictionaries(texts, plain))


def written(value: Any) -> str:
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    )


@given(records, st.sampled_from([(",", ":"), (", ", ": "), (" ,", " : "), (",", "\t:")]))
def test_what_is_written_is_read_again(record: dict[str, Any], marks: tuple[str, str]) -> None:
    line = json.dumps(record, ensure_ascii=False, separators=marks).encode()
    read = json_text.read(line)
    assert written(read) == written(record)
    assert [type(value) for value in read.values()] == [type(v) for v in record.values()]
    assert list(read) == list(record)


@given(records)
def test_it_is_written_as_python_writes_it(record: dict[str, Any]) -> None:
    assert json_text.write(record) == written(record)
    assert json_text.identify(record) == written(record).encode()


@given(st.lists(st.tuples(texts, plain), min_size=1, max_size=6), st.data())
def test_a_name_that_is_there_twice_is_never_passed_over(
    pairs: list[tuple[str, Any]], data: st.DataObject
) -> None:
    pairs.append((data.draw(st.sampled_from(pairs))[0], data.draw(plain)))
    colon = data.draw(st.sampled_from([":", " :", "\t:", "\r:", " \t : "]))
    quote = data.draw(st.sampled_from(['\\"', "\\u0022"]))

    def said(part: Any) -> str:
        if not isinstance(part, str):
            return json.dumps(part)
        inside = (quote if each == '"' else json.dumps(each)[1:-1] for each in part)
        return f'"{"".join(inside)}"'

    fields = ",".join(f"{said(name)}{colon}{said(value)}" for name, value in pairs)
    with pytest.raises(ValueError, match="is there twice"):
        json_text.read(f"{{{fields}}}".encode())


@given(st.text('{}[]":,\\ud8019.eE+-Na \t', max_size=30))
@example('{"a":1e999}')
@example('{"a":123456789012345678901234567890}')
@example('{"a":"\\ud800"}')
@example('{"a":"\\ud83d\\ude00"}')
@example('{"a":NaN}')
@example('{"a":-0}')
@example('{"a":-0.0}')
@example('{"a":01}')
@example('{"a":1}x')
def test_anything_is_read_as_python_reads_it_or_refused(text: str) -> None:
    """A name that is there twice, which Python passes over, is looked for in the test before."""
    ours, why = said_by(lambda: json_text.read(text.encode()))
    assume("twice" not in why)
    assert ours == said_by(lambda: json.loads(text))[0]


def said_by(read: Callable[[], Any]) -> tuple[str, str]:
    """What is read, written again; or nothing, and why it is refused."""
    try:
        value = written(read())
        value.encode()
    except ValueError as error:
        return "", str(error)
    return value, ""


@pytest.mark.parametrize(
    ("text", "rule"), [(b'{"a":"\\ud800"}', "not-text"), (b'{"a":1e999}', "bad-value")]
)
def test_what_cannot_be_written_again_is_refused(text: bytes, rule: str) -> None:
    with pytest.raises(Unreadable) as caught:
        json_text.read(text)
    assert caught.value.rule == rule


def test_most_records_go_the_fast_way() -> None:
    """Else nothing here but the time would tell that they do not."""
    line = (
        b'{"id": 7, "at": "2026-01-02 10:30:00", "sum": 12.5, "who": null, "text": "Guten Tag: a"}'
    )
    assert json_text._flat_object(line) == json.loads(line)
