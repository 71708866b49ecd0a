"""Names: what is made of what a model tells, and what the model tells where it is installed.

The reference's complaints 16 (numbers and log lines taken for persons; offline, Presidio downloads
a model and ends the process) and 17 are tested here.
"""

from __future__ import annotations

import importlib.util
import itertools
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.core.errors import MissingExtra
from tunesmith.text import names
from tunesmith.text.names import NameKind, beside, with_names
from tunesmith.text.pii import find_pii, mask, pseudonym, replace_pii

IS_INSTALLED = all(
    importlib.util.find_spec(name) for name in ("presidio_analyzer", "spacy", names.MODEL)
)
needs_model = pytest.mark.skipif(
    not IS_INSTALLED, reason="the extra `pii` is not installed (200 MB): make test-names"
)


def told(text: str, *parts: str, kind: NameKind = "person") -> list[str]:
    """What is left of `parts`, if a model says that each is a name; in order."""
    spans = [(kind, text.index(part), text.index(part) + len(part)) for part in parts]
    found = beside(text, find_pii(text), spans)
    return [text[each.start : each.end] for each in found if each.kind == kind]


@pytest.mark.parametrize(
    ("text", "part", "left"),
    [
        ("I am Ada Lovelace.", "Ada Lovelace.", ["Ada Lovelace"]),
        ("John Smith's letter", "John Smith's", ["John Smith"]),
        ("Dear Mrs O'Brien-Smith,", "Mrs O'Brien-Smith,", ["Mrs O'Brien-Smith"]),
        ("Ada Lovelace\nSubject", "Ada Lovelace\nSubject", ["Ada Lovelace", "Subject"]),
        ("Ada, ada@example.org", "Ada, ada@example.org", ["Ada"]),
        ("call Ada +49 30 901820 now", "Ada +49 30 901820", ["Ada"]),
        ("Smith, J.", "Smith, J.", ["Smith"]),
        ("李 小龍 wrote", "李 小龍", []),  # no letter of it is upper case, nor can be
        ("ask van Gogh", "van Gogh", ["van Gogh"]),
    ],
)
def test_what_is_left_of_what_was_told(text: str, part: str, left: list[str]) -> None:
    assert told(text, part) == left


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("Order 4711 Total", "Order 4711 Total"),
        ("(X11; Linux x86_64)", "Linux x86_64"),
        ("00123456 is due", "00123456"),
        ("VAT 19 %", "VAT 19 %"),
        ("x = Foo.Bar.baz", "Foo.Bar.baz"),
        ("call Foo::Bar", "Foo::Bar"),
        ("see /etc/Ada", "Ada"),
        ("set Ada=1", "Ada"),
        ("12Ada", "Ada"),
        ("the frobnicate thing", "frobnicate"),
        ("... !!", "... !!"),
        ("A", "A"),
        ("[PERSON] met [EMAIL]", "[PERSON]"),
        ("[PERSON abcdefghijklmnop] came", "PERSON abcdefghijklmnop"),
        ("ERROR 404: refused, Kafka Consumer", "Kafka Consumer"),
        ("2026-11-26 10:11:12,1 INFO Spring Boot started", "Spring Boot"),
        ("[2026-11-26T10:11:12Z] nginx: Mozilla", "Mozilla"),
        ("Nov 26 10:11:12 web01 sshd: Accepted", "Accepted"),
        ("I1126 10:11:12 1 a.go] Elected leader", "Elected"),
        ("84.1.2.3 - - Windows NT", "Windows NT"),
        ("\tat com.example.Billing(Main) Native Method", "Native Method"),
    ],
)
def test_numbers_programs_and_log_lines_are_no_persons(text: str, part: str) -> None:
    """Complaint 16: presidio#786, #1173, #1352."""
    assert told(text, part) == []
    assert told(f"Grace Hopper said:\n{text}", "Grace Hopper", part) == ["Grace Hopper"]


def test_a_line_of_a_log_may_say_that_a_name_follows() -> None:
    line = "2026-11-26 10:11:12 INFO login of user Maria Schmidt from 84.1.2.3, Kafka Consumer"
    assert told(line, "Maria Schmidt", "Kafka Consumer") == ["Maria Schmidt"]
    assert told(line, "Maria Schmidt", kind="location") == []


def test_what_has_a_form_stays_what_it_is_and_pieces_of_a_name_are_one() -> None:
    text = "Ada ada@example.org Lovelace, Peter van der Berg"
    spans: list[tuple[NameKind, int, int]] = [
        ("person", 0, 28), ("person", 30, 43), ("person", 44, 48),
    ]  # fmt: skip
    found = beside(text, find_pii(text), spans)
    assert [(each.kind, text[each.start : each.end]) for each in found] == [
        ("person", "Ada"),
        ("email", "ada@example.org"),
        ("person", "Lovelace"),
        ("person", "Peter van der Berg"),
    ]


def test_one_person_has_one_pseudonym_with_a_title_and_without() -> None:
    key = bytes(32)
    one, two, other = (
        beside(text, (), [("person", 0, len(text))])[0]
        for text in ("Mrs. Ada Lovelace", "ada Lovelace", "Ada King")
    )
    assert mask(one) == "[PERSON]"
    assert pseudonym(one, key) == pseudonym(two, key) != pseudonym(other, key)


@given(st.text(alphabet="Aa b.\n@1(['-é", max_size=40), st.data())
def test_findings_never_overlap_and_lie_in_what_was_told(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    spans: list[tuple[NameKind, int, int]] = [
        ("person", a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=False) if a < b
    ]
    found = beside(text, find_pii(text), spans)
    for one, two in itertools.pairwise(found):
        assert one.end <= two.start
    letters = {at for _, a, b in spans for at in range(a, b)}
    for each in found:
        if each.kind == "person":
            inside = set(range(each.start, each.end)) - letters
            assert all(text[at] == " " for at in inside)


def test_long_texts_are_cut_where_a_line_or_a_word_ends() -> None:
    for text in ("Ada Lovelace\n" * 4000, "Ada Lovelace " * 4000, "Ada" * 16000, ""):
        pieces = list(names._pieces(text))
        assert "".join(pieces) == text
        assert max(map(len, pieces)) <= names.MOST_CHARS
        assert all(piece.endswith(("\n", " ")) for piece in pieces[:-1]) or " " not in text


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError(f"the network was asked: {args}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.usefixtures("no_network")
@pytest.mark.skipif(IS_INSTALLED, reason="the extra `pii` is installed")
def test_without_the_extra_nothing_is_downloaded_and_the_remedy_is_said() -> None:
    with pytest.raises(MissingExtra, match=r"pip install 'tunesmith\[pii\]'"):
        with_names("Ada Lovelace", (), ["person"])


@pytest.mark.usefixtures("no_network")
@needs_model
def test_a_model_that_is_not_there_ends_no_process_and_asks_no_network() -> None:
    """Complaint 16 and 17: presidio#1447, where this is a SystemExit out of pip."""
    with pytest.raises(MissingExtra, match="en_core_web_none is needed") as caught:
        names._analyzer("en_core_web_none")
    assert "tunesmith[pii]" in caught.value.remedy


@pytest.mark.usefixtures("no_network")
@needs_model
def test_names_are_found_where_they_stand() -> None:
    text = (
        "My name is Ada Lovelace and I live in London.\nMail ada@example.org, or ask Jürgen Müller"
        " at Microsoft."
    )
    found = with_names(text, find_pii(text), ["person", "location", "organisation"])
    assert [(each.kind, text[each.start : each.end]) for each in found] == [
        ("person", "Ada Lovelace"),
        ("location", "London"),
        ("email", "ada@example.org"),
        ("person", "Jürgen Müller"),
        ("organisation", "Microsoft"),
    ]
    persons = with_names(text, find_pii(text), ["person"])
    assert [each.kind for each in persons] == ["person", "email", "person"]
    masked = replace_pii(text, found, mask)
    assert with_names(masked, find_pii(masked), ["person", "location", "organisation"]) == ()
    far = "The weather was fine that day.\n" * 1500 + text
    assert with_names(far, (), ["person"])[-1].start == far.index("Jürgen")


LINES = """2026-11-26 10:11:12,123 INFO  worker-3 Task 81723 finished in 12.3s
ERROR 404: Connection Refused at 10.0.0.1 pid=1234 Kafka Consumer
Order 4711 Total 12.50 EUR
[2026-01-02T03:04:05Z] nginx: GET /index.html 200 Mozilla/5.0 (X11; Linux x86_64)
Nov 26 10:11:12 web01 sshd[1234]: Accepted publickey for deploy from 203.0.113.7 port 51234 ssh2
127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326
W1126 10:11:12.123456 1 reflector.go:324] failed to list *v1.Pod: Unauthorized
4111 1111 1111 1112 5500005555555559 00123 99 87
Invoice 2026-000123, 3 x 12.50 = 37.50, VAT 19 %, Total 44.63
Ref: AB-12345-XY Case 778812 Lot Nr. 5512"""


@needs_model
@pytest.mark.parametrize("line", LINES.split("\n"))
def test_the_model_makes_no_persons_of_numbers_and_log_lines(line: str) -> None:
    """Complaint 16; without what is left out again, the second and the fourth line have one."""
    assert [each for each in with_names(line, (), ["person"]) if each.kind == "person"] == []
