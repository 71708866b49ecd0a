"""Records of an API, asked of a real server on this machine that misbehaves in every way."""

from __future__ import annotations

import dataclasses
import datetime
import email.utils
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tunesmith.core import erasure, settings
from tunesmith.core.errors import ConfigError, DataError, InputChanged
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Erased, Package
from tunesmith.stages.ingest import answers
from tunesmith.stages.ingest import api as ours
from tunesmith.stages.ingest.answers import Asker
from tunesmith.stages.ingest.api import call, look, records_now
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.erased import call_without, keeper
from tunesmith.stages.ingest.pages import at, parameter, with_parameter
from tunesmith.stages.ingest.reach import place_of
from tunesmith.stages.ingest.run import ingest
from tunesmith.stages.ingest.snapshot import everything

TOKEN = "s3cret-token-of-the-crm"
ROWS = [{"id": n, "body": f"Müller {n}", "team": "ab"[n % 2]} for n in (3, 10, 1, 7, 2, 9, 4)]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "FIRST_WAIT_S", 0.001)


@pytest.fixture
def ctx(ctx: Context, tmp_path: Path, api: Any) -> Context:
    return dataclasses.replace(ctx, project=tmp_path, hosts=(api.host,))


@pytest.fixture
def source(api: Any) -> Callable[..., SourceConfig]:
    """source(path, **settings) -> one that asks the server."""

    def make(target: str = "/v1/tickets", **settings: Any) -> SourceConfig:
        given = {"name": "mail", "origin": api.url(target), "key": "id"}
        return SourceConfig(**given | settings)

    return make


@pytest.fixture
def lines(ctx: Context) -> Callable[[SourceConfig], list[Any]]:
    """lines(source) -> what comes, read as JSON."""

    def read(config: SourceConfig) -> list[Any]:
        found = records_now(config.calling(), ctx.hosts, lambda *_: None)
        return [json.loads(line) for line in found]

    return read


def taken(ctx: Context, config: SourceConfig) -> Package:
    """What the API answers now, as a run takes it: looked at, then taken from what was kept."""
    (ctx.workdir / "rows").unlink(missing_ok=True)
    cache = ctx.workdir / "cache"
    seen, _ = look(config, ctx.hosts, cache, everything, ctx.progress)
    return call(seen.calling(), dataclasses.replace(ctx, cache=cache))


def blobs(ctx: Context) -> list[bytes]:
    """Every file of the store."""
    assert ctx.project is not None
    files = [path for path in (ctx.project / "blobs").rglob("*") if path.is_file()]
    return [path.read_bytes() for path in files]


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: row["id"])


# Pages.


def paged(api: Any, by: str, size: int = 3) -> Callable[[str], Any]:
    """An API of ROWS in pages, in the way of `by`."""

    def answer(target: str) -> Any:
        given = parameter(target, "at")
        start = {"page": (int(given or 1) - 1) * size}.get(by, int(given or 0))
        rows = ROWS[start : start + size]
        more = start + size < len(ROWS)
        following = with_parameter(target, "at", str(start + size))
        meta: dict[str, Any] = {"more": more}
        headers = {}
        if by == "cursor":
            meta["next.at"] = str(start + size) if more else None
        if by == "link":
            meta["next.at"] = api.url(following) if start == 0 else following if more else ""
        if by == "header":
            first = f'<{api.url(target)}>; rel="first", '
            link = f'<{following}>; title="on, and on"; rel="last next"'
            headers["Link"] = first + link if more else first.rstrip(", ")
        return api.json({"data": {"items": rows}, "meta": meta}, **headers)

    return answer


@pytest.mark.parametrize(
    ("rule", "start", "pages"),
    [
        ({"by": "header"}, "", 3),
        ({"by": "link", "field": "meta.next.at"}, "", 3),
        ({"by": "cursor", "field": "meta.next.at", "parameter": "at"}, "", 3),
        ({"by": "page", "parameter": "at"}, "&at=1", 4),
        ({"by": "page", "parameter": "at", "more": "meta.more"}, "&at=1", 3),
        ({"by": "offset", "parameter": "at"}, "&at=0", 4),
        ({"by": "offset", "parameter": "at", "more": "meta.more"}, "&at=0", 3),
    ],
)
def test_pages_of_every_kind(
    api: Any, source: Any, lines: Any, rule: dict[str, str], start: str, pages: int
) -> None:
    api.answer = paged(api, rule["by"])
    config = source(f"/v1/tickets?open=a%2Cb+c{start}", records="data.items", next=rule)
    assert lines(config) == in_order(ROWS)
    assert len(api.requests) == pages
    assert all("open=a%2Cb+c" in target for target in api.targets), "others stay as they are"


def test_without_next_there_is_one_page(api: Any, source: Any, lines: Any) -> None:
    api.answer = lambda _: api.json(ROWS, Link='</v1/tickets?p=2>; rel="next"')
    assert lines(source()) == in_order(ROWS)
    assert len(api.requests) == 1
    api.answer = lambda _: api.json({"items": None})
    assert lines(source(records="items")) == [], "of an empty list some servers make null"


CURSOR = {"by": "cursor", "field": "next", "parameter": "at"}


def test_a_cursor_that_stays_ends_on_an_empty_page(api: Any, source: Any, lines: Any) -> None:
    """As of servers that always say where they are (dlt#3358)."""

    def answer(target: str) -> Any:
        start = int(parameter(target, "at") or 0)
        rows = ROWS[start : start + 3]
        return api.json({"items": rows, "next": start + len(rows)})

    api.answer = answer
    assert lines(source(records="items", next=CURSOR)) == in_order(ROWS)


def test_pages_in_a_circle(api: Any, source: Any, lines: Any) -> None:
    def answer(target: str) -> Any:
        page = int(parameter(target, "at") or 0)
        return api.json({"items": [{"id": page}], "next": (page + 1) % 3})

    api.answer = answer
    with pytest.raises(DataError, match="lead in a circle: after page 3") as error:
        lines(source("/v1/tickets?at=0", records="items", next=CURSOR, key="id"))
    assert "next" in error.value.remedy
    assert len(api.requests) == 3


def test_pages_without_an_end(
    api: Any, source: Any, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "MAX_PAGES", 20)
    api.answer = lambda target: api.json({"items": [], "next": f"{target[-30:]}x"})
    with pytest.raises(DataError, match="more than 20 pages"):
        lines(source(records="items", next=CURSOR))
    assert len(api.requests) == 20


def test_too_much(api: Any, source: Any, lines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "MAX_BYTES", 1 << 20)
    api.answer = lambda target: api.json(
        {"items": [{"id": len(api.requests), "body": "x" * 300_000}], "next": len(api.requests)}
    )
    with pytest.raises(DataError, match="more than 1 MiB"):
        lines(source(records="items", next=CURSOR))
    assert len(api.requests) == 4


def test_a_last_page_that_is_given_for_every_later_one(api: Any, source: Any, lines: Any) -> None:
    def answer(target: str) -> Any:
        start = 3 * min(int(parameter(target, "page")) - 1, 2)
        return api.json(ROWS[start : start + 3])

    api.answer = answer
    with pytest.raises(DataError, match="the key 'id' is 4 in two records"):
        lines(source("/v1/tickets?page=1", next={"by": "page", "parameter": "page"}))


def test_a_record_that_moved_to_the_next_page_meanwhile(api: Any, source: Any, lines: Any) -> None:
    """Then another one was missed, so that what came is nothing to rely on."""

    def answer(target: str) -> Any:
        start = int(parameter(target, "at"))
        rows = [{"id": 99}, *ROWS] if start else ROWS
        return api.json(rows[start : start + 3])

    api.answer = answer
    with pytest.raises(DataError, match="in two records") as error:
        lines(source("/v1/tickets?at=0", next={"by": "offset", "parameter": "at"}))
    assert "cursor" in error.value.remedy


@pytest.mark.parametrize(
    ("value", "changed", "said"),
    [
        ({"data": []}, {}, "is a dict, no list"),
        ({"data": []}, {"records": "items"}, "has no 'items'"),
        ({"data": {"a": 1}}, {"records": "data"}, "'data' .* is a dict, no list"),
        ([{"no": 1}], {}, "has no number or text as its key 'id'"),
        ([{"id": None}], {}, "has no number or text"),
        ([{"id": ""}], {}, "has no number or text"),
        ([{"id": True}], {}, "has no number or text"),
        ([{"id": 1}, {"id": 1}], {}, "is 1 in two records"),
        ([{"id": 1}, {"id": "1"}], {}, "is '1' in two records"),
        ({"i": [], "next": ["a"]}, {"records": "i", "next": CURSOR}, "is a list, no cursor"),
        ({"i": [], "next": True}, {"records": "i", "next": CURSOR}, "is a bool, no cursor"),
        ({"i": []}, {"records": "i", "next": CURSOR | {"more": "m"}}, "the answer has no 'm'"),
        ({"i": [], "m": True}, {"records": "i", "next": CURSOR | {"more": "m"}}, "has no 'next'"),
    ],
)
def test_answers_of_another_form(
    api: Any, source: Any, lines: Any, value: Any, changed: dict[str, Any], said: str
) -> None:
    api.answer = lambda _: api.json(value)
    with pytest.raises(DataError, match=said) as error:
        lines(source(**changed))
    assert error.value.remedy


# Records.


def test_records_become_rows_that_are_pointed_at_by_their_key(
    api: Any, source: Any, ctx: Context
) -> None:
    config = source("/v1/tickets.json?x=1", text="body", label="team")
    api.answer = lambda _: api.json(ROWS)
    first = taken(ctx, config)
    asset = ingest(config, ctx, package=first)
    found = [(row["pointer"], row["text"], row["label"]) for row in read(ctx, asset)]
    assert found[:2] == [
        ("tickets-json#id=1", "Müller 1", "b"),
        ("tickets-json#id=2", "Müller 2", "a"),
    ]
    assert asset.num_rows == len(ROWS)
    api.answer = lambda _: api.json(ROWS[::-1])
    assert taken(ctx, config) == first, "in whatever order they come"
    api.answer = lambda _: api.json([*ROWS[:-1], ROWS[-1] | {"body": "edited"}])
    assert taken(ctx, config) != first


def read(ctx: Context, asset: DataAsset, what: str = "rows") -> list[dict[str, Any]]:
    return pq.read_table(io.BytesIO(ctx.blobs.get(getattr(asset, what)))).to_pylist()


def test_a_bad_record_costs_itself_alone(api: Any, source: Any, ctx: Context) -> None:
    body = (
        b'[{"id": 1, "n": NaN}, 7, {"id": "b", "s": "\\ud800"}, null, {"id": "a"}, "x", {"id": 2}]'
    )
    api.answer = lambda _: (200, {"Content-Type": "application/json; charset=utf-8"}, body)
    config = source()
    asset = ingest(config, ctx, package=taken(ctx, config))
    assert [row["pointer"] for row in read(ctx, asset)] == ["tickets#id=2", "tickets#id=a"]
    refused = [row["rule"] for row in read(ctx, asset, "quarantine")]
    assert sorted(refused) == ["bad-json", *["not-an-object"] * 3, "not-text"]
    assert asset.num_in == 7


def test_ten_megabytes_in_one_string(
    api: Any, source: Any, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = source(text="body")
    api.answer = lambda _: api.json([{"id": 1, "body": "ä" * 5_000_000}])
    asset = ingest(config, ctx, package=taken(ctx, config))
    assert len(read(ctx, asset)[0]["text"]) == 5_000_000
    monkeypatch.setattr(answers, "MAX_ANSWER_BYTES", 10 << 20)
    with pytest.raises(DataError, match="more than 10 MiB") as error:
        records_now(config.calling(), ctx.hosts, ctx.progress)
    assert "smaller pages" in error.value.remedy


# A server that is busy, or broken.


def asker(api: Any, waits: list[float] | None = None, **settings: Any) -> Asker:
    given = {"origin": place_of(api.url()), "hosts": (api.host,), "token": ""}
    took = [] if waits is None else waits
    return Asker(**given | {"wait": lambda seconds, _: took.append(seconds)} | settings)


def in_turn(*replies: Any) -> Callable[[str], Any]:
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


FINE = (200, {"Content-Type": "application/json"}, b"[1]")
CUT = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n[1, 2"
CHUNK = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\n[1, 2\r\n"
)
BUSY = (503, {}, b"")


@pytest.mark.parametrize("trouble", [BUSY, (502, {}, b"x"), (504, {}, b""), None, b"", CUT, CHUNK])
def test_what_passes_is_asked_again(api: Any, trouble: Any) -> None:
    waits: list[float] = []
    api.answer = in_turn(trouble, trouble, FINE)
    assert asker(api, waits).ask(api.url()).value == [1]
    assert len(api.requests) == 3
    first, second = waits
    assert 0.0005 <= first <= 0.001 <= second <= 0.002, "each wait is about twice the one before"


@pytest.mark.parametrize("trouble", [BUSY, None, CUT, CHUNK])
def test_what_does_not_pass_is_an_error_and_no_half_load(
    api: Any, source: Any, ctx: Context, trouble: Any
) -> None:
    page = api.json({"items": ROWS[:3], "next": 3})
    api.answer = lambda target: trouble if "at=3" in target else page
    with pytest.raises(DataError, match="did not answer, asked 5 times") as error:
        taken(ctx, source("/v1/tickets?user=ann", records="items", next=CURSOR))
    assert "user" not in str(error.value)
    assert "/v1/tickets" in error.value.message
    assert len(api.requests) == 6
    assert blobs(ctx) == []


def test_a_server_says_how_long_to_wait(api: Any) -> None:
    waits: list[float] = []
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=90)
    api.answer = in_turn(
        (429, {"Retry-After": "7"}, b""),
        (503, {"Retry-After": email.utils.format_datetime(soon, usegmt=True)}, b""),
        (429, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, b""),
        (429, {"Retry-After": "Thu, 01 Jan 99999999999 00:00:00 GMT"}, b""),
        FINE,
    )
    assert asker(api, waits).ask(api.url()).value == [1]
    assert waits[0] == 7
    assert 60 < waits[1] <= 90
    assert waits[2] == 0
    assert 0.004 <= waits[3] <= 0.008
    api.answer = lambda _: (429, {"Retry-After": "86400"}, b"")
    with pytest.raises(DataError, match=r"429 .* asks to wait 86400 s"):
        asker(api, waits).ask(api.url())
    assert len(waits) == 4


def test_waiting_is_shown_and_can_be_ended(api: Any, source: Any, ctx: Context) -> None:
    api.answer = lambda _: (429, {"Retry-After": "100"}, b"")

    def stop(_done: float, _total: float, note: str) -> None:
        if "again in 100 s" in note:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        records_now(source().calling(), ctx.hosts, stop)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ((500, {}, b"{}"), "answers 500"),
        ((401, {}, b"{}"), "answers 401"),
        ((404, {}, b"[]"), "answers 404"),
        ((204, {}, b""), "answers 204"),
        ((206, {"Content-Type": "application/json"}, b"[1]"), "answers 206"),
        ((200, {}, b"[1]"), "answers with text/plain"),
        ((200, {"Content-Type": "text/html"}, b"<p>Log in"), "answers with text/html"),
        ((200, {"Content-Type": "application/json"}, b'[{"id": 1}, {"i'), "is no JSON"),
        ((200, {"Content-Type": "application/json"}, b""), "is no JSON"),
        ((200, {"Content-Type": "application/json"}, b"[1] [2]"), "is no JSON"),
        ((200, {"Content-Type": "application/json"}, b'["\xff"]'), "is no JSON"),
        ((200, {"Content-Type": "application/json"}, b"[" * 100_000), "is no JSON"),
        ((200, {"Content-Type": "application/json"}, b'[{"id": 1, "id": 2}]'), "there twice"),
        (
            (200, {"Content-Type": "application/json", "Content-Encoding": "gzip"}, b"\x1f\x8b"),
            r"packs its answers \(gzip\)",
        ),
        # Where nothing says how long an answer is, JSON alone says whether it is whole.
        (b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n[1, 2", "is no JSON"),
    ],
)
def test_answers_that_are_errors_at_once(api: Any, reply: Any, said: str) -> None:
    api.answer = lambda _: reply
    with pytest.raises(DataError, match=said) as error:
        asker(api).ask(api.url("/v1/tickets?user=ann"))
    assert error.value.remedy
    assert "ann" not in str(error.value)
    assert len(api.requests) == 1


def test_bytes_beyond_what_was_promised_are_not_read(api: Any) -> None:
    """Nor waited for, where a server does not close the line."""
    api.answer = lambda _: CUT.replace(b"50", b"3").replace(b"[1, 2", b"[1][2")
    assert asker(api).ask(api.url()).value == [1]


# Where it leads.


def moved(target: str, status: int = 302) -> Any:
    return (status, {"Location": target}, b"")


def test_redirects_on_the_same_server_keep_the_token(api: Any) -> None:
    api.answer = in_turn(moved("/v2/tickets?x=1", 308), moved("other", 301), FINE)
    assert asker(api, token=TOKEN).ask(api.url()).value == [1]
    assert api.targets == ["/v1/tickets", "/v2/tickets?x=1", "/v2/other"]
    assert {headers["authorization"] for _, headers in api.requests} == {f"Bearer {TOKEN}"}


def test_redirects_to_another_server_lose_it(api: Any, make_api: Any) -> None:
    other = make_api()
    api.answer, other.answer = (lambda _: moved(other.url("/x"))), (lambda _: FINE)
    with pytest.raises(DataError, match=f"{other.host} is not among the hosts"):
        asker(api, token=TOKEN).ask(api.url())
    assert other.requests == []
    both = (api.host, other.host)
    assert asker(api, token=TOKEN, hosts=both).ask(api.url()).value == [1]
    ((_, headers),) = other.requests
    assert "authorization" not in headers
    assert TOKEN not in str(headers)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("http://169.254.169.254/latest/meta-data", "http:// is for this machine"),
        ("https://169.254.169.254/latest/meta-data", "not among the hosts"),
        ("file:///etc/passwd", "begin with https"),
        ("http://ann:pw@127.0.0.1/", "user or a password"),
        ("http://127.0.0.1:1/x", "not among the hosts"),
        ("http://[", "Invalid IPv6"),
        ("/v1/tickets", "redirects more than 5 times"),
        ("", "redirects more than 5 times"),
    ],
)
def test_redirects_that_are_refused(api: Any, target: str, said: str) -> None:
    api.answer = lambda _: moved(target)
    with pytest.raises(DataError, match=said) as error:
        asker(api).ask(api.url())
    assert error.value.remedy


@pytest.mark.parametrize("by", ["link", "header"])
@pytest.mark.parametrize("elsewhere", ["other", "https", "user"])
def test_a_next_page_on_another_server(
    api: Any, make_api: Any, source: Any, ctx: Context, by: str, elsewhere: str
) -> None:
    """Even where its host is allowed: it is another source's."""
    other = make_api()
    link = {
        "other": other.url("/v1/tickets?page=2"),
        "https": api.url("/v1/tickets?page=2").replace("http:", "https:"),
        "user": api.url("/v1/tickets?page=2").replace("//", "//ann@"),
    }[elsewhere]
    api.answer = lambda _: api.json({"items": ROWS, "next": link}, Link=f"<{link}>; rel=next")
    rule = {"by": by} | ({"field": "next"} if by == "link" else {})
    with pytest.raises(DataError, match=r"is on another server|cannot be asked for"):
        records_now(
            source(records="items", next=rule).calling(), (api.host, other.host), ctx.progress
        )
    assert (len(api.requests), other.requests) == (1, [])


def test_certificates(api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS is of the name, though the connection is to an address."""
    (tmp_path / "localhost.pem").write_text(LOCALHOST)
    api.secure(tmp_path / "localhost.pem")
    api.answer = in_turn(FINE, moved("http://localhost/"))
    url, hosts = f"https://localhost:{api.port}/x", (f"localhost:{api.port}", api.host)
    with pytest.raises(DataError, match="certificate that is not believed") as error:
        asker(api, hosts=hosts, origin=place_of(url)).ask(url)
    assert "SSL_CERT_FILE" in error.value.remedy
    assert api.requests == []
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "localhost.pem"))
    ours = asker(api, hosts=hosts, origin=place_of(url), token=TOKEN)
    assert ours.ask(url).value == [1]
    assert api.requests[0][1]["host"] == f"localhost:{api.port}"
    with pytest.raises(DataError, match="certificate that is not believed"):
        ours.ask(api.url())
    with pytest.raises(DataError, match="redirects to http://"):
        ours.ask(url)


# The token.


def test_the_token_is_sent_and_stays_out_of_the_store(
    api: Any, source: Any, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRM_TOKEN", TOKEN)
    config = source(token_env="CRM_TOKEN")
    notes: list[str] = []
    ctx = dataclasses.replace(ctx, progress=lambda _d, _t, note: notes.append(note))
    api.answer = lambda _: api.json(ROWS)
    package = taken(ctx, config)
    ((_, headers),) = api.requests
    assert headers["authorization"] == f"Bearer {TOKEN}"
    everywhere = b"\0".join(blobs(ctx)) + repr((package, config, notes)).encode()
    assert TOKEN.encode() not in everywhere
    assert TOKEN not in repr(asker(api, token=TOKEN))


@pytest.mark.parametrize(
    "reply",
    [
        (401, {}, TOKEN.encode()),
        (302, {"Location": f"http://127.0.0.1:1/{TOKEN}?{TOKEN}"}, b""),
        (302, {"Location": f"/{TOKEN}"}, b""),
        (302, {"Location": f"https://{TOKEN.upper()}.example/"}, b""),
        (200, {"Content-Type": "application/json", "Link": f"</{TOKEN}>; rel=next"}, b"[]"),
        (200, {"Content-Type": "application/json"}, f'{{"{TOKEN}": 1, "{TOKEN}": 2}}'.encode()),
        (
            200,
            {"Content-Type": "application/json"},
            f'[{{"id": 1, "you": "\\u0073{TOKEN[1:]}"}}]'.encode(),
        ),
        (200, {"Content-Type": TOKEN}, b""),
        (200, {"Content-Type": "application/json"}, f'[{{"id": 1, "you": "{TOKEN}"}}]'.encode()),
        (200, {"Content-Type": "application/json", "Content-Encoding": TOKEN}, b""),
        f"HTTP/1.1 403 {TOKEN}\r\n\r\n".encode(),
        f"HTTP/1.1 {TOKEN}\r\n\r\n".encode(),
        f"{TOKEN}\r\n\r\n".encode(),
    ],
)
def test_a_server_that_says_the_token_back(
    api: Any, source: Any, ctx: Context, monkeypatch: pytest.MonkeyPatch, reply: Any
) -> None:
    monkeypatch.setenv("CRM_TOKEN", TOKEN)
    api.answer = lambda _: reply
    notes: list[str] = []
    ctx = dataclasses.replace(ctx, progress=lambda _d, _t, note: notes.append(note))
    with pytest.raises(DataError) as error:
        taken(ctx, source(token_env="CRM_TOKEN"))
    kept = b"".join(path.read_bytes() for path in (ctx.workdir / "cache").iterdir())
    assert TOKEN.encode() not in kept + b"".join(blobs(ctx))
    assert TOKEN not in f"{error.value} {error.value.remedy} {notes}".lower()
    assert error.value.__cause__ is None


@pytest.mark.parametrize(
    "value", [None, "", "short", "two words of it", "line\nHost: evil", "tökenöö"]
)
def test_an_environment_without_a_usable_token(
    api: Any, source: Any, lines: Any, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv("CRM_TOKEN", raising=False)
    else:
        monkeypatch.setenv("CRM_TOKEN", value)
    with pytest.raises(DataError, match=r"CRM_TOKEN (is not set|holds no token)") as error:
        lines(source(token_env="CRM_TOKEN"))
    assert "export CRM_TOKEN" in error.value.remedy
    assert not value or value not in str(error.value)
    assert api.requests == []


# Looking, then taking.


def test_it_is_asked_once(api: Any, source: Any, ctx: Context) -> None:
    cache = ctx.workdir / "cache"
    stepping = dataclasses.replace(ctx, cache=cache)
    api.answer = lambda _: api.json(ROWS)
    seen, path = look(source(), ctx.hosts, cache, everything, ctx.progress)
    assert path is not None
    assert path.stat().st_mode & 0o77 == 0, "nobody else's to read"
    api.answer = lambda _: api.json([])
    package = call(seen.calling(), stepping)
    assert len(api.requests) == 1
    with zipfile.ZipFile(ctx.blobs.path(package.wheel)) as archive:
        assert len(archive.read("tickets").splitlines()) == len(ROWS)
    # What was kept and is not whole, or is of another moment, is not used: it is asked again.
    pinned = source(sha256=seen.sha256)
    path.write_bytes(path.read_bytes() + b'{"id":5}\n')
    for config in (seen, pinned, source(sha256="0" * 64)):
        with pytest.raises(InputChanged, match=r"not [0-9a-f]{64}"):
            call(config.calling(), stepping)
    path.write_bytes(b"no head\n")
    with pytest.raises(InputChanged):
        call(seen.calling(), stepping)
    assert look(pinned, ctx.hosts, cache, everything, ctx.progress) == (pinned, None)
    assert len(api.requests) == 5
    api.answer = lambda _: api.json(ROWS)
    assert call(pinned.calling(), stepping) == package


def test_why_it_did_not_answer_is_said_by_the_step(api: Any, source: Any, ctx: Context) -> None:
    """Who looks at something else is not stopped by it."""
    cache = ctx.workdir / "cache"
    api.answer = lambda _: (500, {}, b"")
    seen, _ = look(source(), ctx.hosts, cache, everything, ctx.progress)
    assert seen.sha256 == ""
    with pytest.raises(DataError, match="answers 500") as error:
        call(seen.calling(), dataclasses.replace(ctx, cache=cache))
    assert error.value.remedy
    assert len(api.requests) == 1
    api.answer = lambda _: api.json(ROWS)
    seen, _ = look(source(), ctx.hosts, cache, everything, ctx.progress)
    assert call(seen.calling(), dataclasses.replace(ctx, cache=cache)).filename == "tickets"


def test_who_was_forgotten_is_written_nowhere(api: Any, source: Any, ctx: Context) -> None:
    assert ctx.project is not None
    (ctx.project / ".tunesmith").mkdir()
    key = erasure.key_of(ctx.project / ".tunesmith", make=True)

    def gone(*names: str) -> Erased:
        digests = tuple(sorted(erasure.keyed(key, "subject", name) for name in names))
        return Erased(digests=digests, key=erasure.key_name(key))

    cache = ctx.workdir / "cache"
    stepping = dataclasses.replace(ctx, cache=cache)
    api.answer = lambda _: api.json(ROWS)
    config = source(subject="body").without(gone("Müller 3"))
    keeps = keeper(config, ctx.project, config.erased)
    seen, path = look(config, ctx.hosts, cache, keeps, ctx.progress)
    assert path is not None
    assert b'"id":3' not in path.read_bytes()
    assert b'"id":7' in path.read_bytes()
    # Between the look and the step another one was forgotten, too.
    package = call_without(seen, stepping, erased=gone("Müller 3", "Müller 7"))
    assert (package.num_erased, len(api.requests)) == (2, 1)
    stored = b"".join(blobs(ctx))
    assert b'"id":10' in stored
    assert b'"id":3,' not in stored
    assert b'"id":7,' not in stored
    # What was kept without somebody is of no use to a step that is to have them.
    (ctx.workdir / "rows").unlink()
    assert call(seen.calling(), stepping).num_erased == 0
    assert len(api.requests) == 2


# Sections.


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"origin": "http://crm.example/x"}, "http:// is for this machine"),
        ({"origin": "https://ann:pw@crm.example/x"}, "a user, a password or a token"),
        ({"origin": "https://crm.example/x?api_key=abc"}, "token_env"),
        ({"origin": "https://crm.example/x?a=b&access_token=abc"}, "token_env"),
        ({"origin": "https://crm.example/x#y"}, "#"),
        ({"origin": "https:crm.example"}, "names no host"),
        ({"key": ""}, "an API needs key"),
        ({"files": ("a",)}, "an API has no files"),
        ({"query": "SELECT 1"}, "query is not read"),
        ({"format": "json"}, "format 'api' is that of"),
        ({"origin": "file:x", "format": "api"}, "format 'api' is that of"),
        ({"origin": "file:x", "format": "jsonl", "key": ""}, "key is not read"),
        ({"token_env": "$CRM"}, "should match pattern"),
        ({"next": {"by": "cursor", "field": "next"}}, "needs parameter"),
        ({"next": {"by": "header", "field": "next"}}, "does not read field"),
        ({"next": {"by": "link"}}, "needs field"),
        ({"next": {"by": "hand"}}, "'header', 'link', 'cursor', 'page' or 'offset'"),
        ({"next": {"by": "page", "parameter": "p"}}, r"first number.*\?p=1"),
        ({"next": {"by": "offset", "parameter": "p"}}, r"first number.*\?p=0"),
    ],
)
def test_sections_that_are_wrong(changed: dict[str, Any], said: str) -> None:
    given = {"name": "mail", "origin": "https://crm.example/x", "key": "id"}
    with pytest.raises(ValueError, match=said):
        SourceConfig(**given | changed)


def test_a_secret_in_a_section_is_not_repeated() -> None:
    for origin in ("https://ann:s3cret@crm.example/x", "https://crm.example/x?api_key=s3cret"):
        with pytest.raises(ConfigError, match=r"origin: .* token_env") as error:
            settings.validate(SourceConfig, {"name": "mail", "origin": origin, "key": "id"})
        assert "s3cret" not in str(error.value)


def test_a_section_of_other_kinds_says_nothing_of_apis() -> None:
    """Else the key of every source's step would be another."""
    dumped = SourceConfig(name="x", origin="file:x", format="jsonl").model_dump()
    assert not {"records", "next", "token_env", "key"} & dumped.keys()
    with pytest.raises(ConfigError, match="label and text"):
        SourceConfig(name="x", origin="https://a/b", key="id").require_labelled("dataset.x.sources")


def test_a_path_into_an_answer() -> None:
    value = {"@odata.nextLink": 1, "a": {"b.c": {"d": 2}, "b": 3}}
    assert at(value, "@odata.nextLink") == 1
    assert at(value, "a.b.c.d") == 2
    assert at(value, "a.b") == 3
    assert at(value, "") is value
    for path in ("a.x", "b", "a.b.x"):
        with pytest.raises(KeyError):
            at(value, path)


def test_the_token_is_read_where_it_is_needed(api: Any, source: Any, lines: Any) -> None:
    api.answer = lambda _: api.json(ROWS)
    assert lines(source()) == in_order(ROWS)
    assert "authorization" not in api.requests[0][1]
    assert "CRM_TOKEN" not in os.environ


LOCALHOST = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgj+ZWQfl7uIMSwoZ1
ONsv6+Kl/VbGNOQklIVAEPW8oqehRANCAASHk7qtGhJVft5oSQpJOB1s/oRKurJ8
mK4mHdYro9TuRl7kH4cCPV2iDFqm83XNcSGXyyH0pg9QrpTxwHbTscz6
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBYjCCAQegAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABIeTuq0aElV+3mhJ
Ckk4HWz+hEq6snyYriYd1iuj1O5GXuQfhwI9XaIMWqbzdc1xIZfLIfSmD1CulPHA
dtOxzPqjSDBGMBQGA1UdEQQNMAuCCWxvY2FsaG9zdDAPBgNVHRMBAf8EBTADAQH/
MB0GA1UdDgQWBBTkm4IxSfce0Nes6X7OaFo9WS/bJTAKBggqhkjOPQQDAgNJADBG
AiEAvw8000S9w69h1TfL0eF/u258wB1CjnPKEYb7/ACzpzYCIQDbemB8oimI3+W1
IQbZdHCxeX3XNr7L1llMYvYMmZE21Q==
-----END CERTIFICATE-----
"""
"""A key of no use but here, and a certificate of "localhost" that it signed itself; until 2120."""
