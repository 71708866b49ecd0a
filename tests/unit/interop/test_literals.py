"""What is read of a Python file without running it."""

from __future__ import annotations

import pytest

from tunesmith.core.errors import DataError
from tunesmith.interop import literals
from tunesmith.interop.literals import read_literals

TEXT = """
import os
MARK = "<m>"
COUNT: int = 2
made = os.environ["HOME"]
twice, more = "a", "b"
nested = {"a": {"b": f"say {MARK}"}, "c": made}
if COUNT:
    MAYBE = "x"
for looped in []: pass
def function(): pass

class First(Elsewhere):
    said = [f"one {MARK}", "-" * COUNT + MARK, f"{MARK!r}", f"{COUNT}", made, MARK.upper()]
    own = "first"

class Second(Mixin, First):
    said = First.said + ["last"]
    again = said
    __doc__ = First.__doc__ + "x"

class Third(Second):
    def __init__(self):
        self.said = []

class Both(Third, First):
    pass
"""


def test_what_is_written_out_is_known_and_nothing_is_run() -> None:
    found = read_literals(TEXT, "a.py")

    assert found.values["MARK"] == "<m>"
    assert found.values["nested"] == {"a": {"b": "say <m>"}, "c": None}
    unknown = ("made", "twice", "more", "MAYBE", "looped", "function", "First")
    assert [found.values[each] for each in unknown] == [None] * 7
    said = ["one <m>", "--<m>", None, None, None, None]
    assert found.classes["First"].values == {"said": said, "own": "first"}
    second = found.classes["Second"]
    assert second.values["said"] == second.values["again"] == [*said, "last"]
    assert (second.values["own"], second.values["__doc__"]) == ("first", None)
    assert second.others == {"Elsewhere", "Mixin"}
    assert found.classes["Third"].values["said"] is None
    assert found.classes["Both"].values["said"] is None


def test_a_name_that_is_set_again_otherwise_is_not_known() -> None:
    found = read_literals('a = "x"\nb = a\nif b:\n    a = b + "y"\nc = f"{a}"\nb += "z"\n', "a.py")
    assert found.values == dict.fromkeys("abc")


@pytest.mark.parametrize(
    "text",
    [
        'a = "x" * 10**9',
        'a = "x" * 999999999',
        "a = 999999999 * 'x'",
        'a = "x" * 16384\na = a + a',
        'b = "x" * 16384\na = f"{b}{b}"',
        "b = [" + "0," * 600 + "]\na = b + b",
        "a = [*range(9)]",
        'a = {**{"x": 1}}',
        'a = b"bytes"',
    ],
)
def test_what_would_grow_or_is_no_text_is_not_known(text: str) -> None:
    assert read_literals(text, "a.py").values["a"] is None


@pytest.mark.parametrize(
    "text", ["def", "a = '\0'", "a = " + "(" * 5_000, "a = " + "-" * 100_000 + "1", "é" + "a " * 9]
)
def test_what_cannot_be_parsed_is_said(text: str) -> None:
    with pytest.raises(DataError, match=r"bad\.py cannot be parsed"):
        read_literals(text, "bad.py")


def test_classes_that_inherit_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(literals, "MAX_NAMES", 10)
    text = "class A:\n    a = b = c = 1\n" + "".join(f"class B{n}(A): pass\n" for n in range(4))
    with pytest.raises(DataError, match="more than 10 names"):
        read_literals(text, "a.py")


def test_a_class_that_is_its_own_base_is_no_ring() -> None:
    found = read_literals("class A(B):\n    x = B.x\nclass B(A):\n    x = A.x\n", "a.py")
    assert [each.values for each in found.classes.values()] == [{"x": None}, {"x": None}]
