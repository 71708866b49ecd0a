"""Objects of a bucket: of a real server (moto's), and of one that misbehaves in every way."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
import time
import urllib.parse
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pyarrow.parquet as pq
import pytest

from tunesmith.core import erasure
from tunesmith.core.errors import ConfigError, DataError, InputChanged, NotFound
from tunesmith.core.step import Context
from tunesmith.records.data import Erased
from tunesmith.records.landed import Landed
from tunesmith.stages.ingest import bucket
from tunesmith.stages.ingest.asking import region_of, server_of
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.erased import collect_without, cutter
from tunesmith.stages.ingest.last_load import load_of
from tunesmith.stages.ingest.local import digest_of_local, land
from tunesmith.stages.ingest.objects import collect, look
from tunesmith.stages.ingest.run import ingest

KEY, SECRET = "AKIATESTSTESTSTESTS0", "s3cret-of-the-bucket-owner"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # is not used
    monkeypatch.setattr(bucket, "TRIES", 2)
    monkeypatch.setattr(bucket, "SILENCE_S", 0.2)


class Shelf:
    """A server of one bucket, "mail", whose every answer a test may replace."""

    def __init__(self, api: Any) -> None:
        self.api, self.objects, self.page = api, {}, 1000
        self.instead: Callable[[str, str], Any] = lambda _key, _target: NotImplemented
        api.answer = self._answer

    def put(self, **objects: str) -> None:
        self.objects |= {name.replace("__", "."): text.encode() for name, text in objects.items()}

    @property
    def fetched(self) -> list[str]:
        return [target.partition("?")[0].removeprefix("/mail/") for target in self.api.targets
                if "list-type" not in target]  # fmt: skip

    def _answer(self, target: str) -> Any:
        path, _, query = target.partition("?")
        key = urllib.parse.unquote(path.removeprefix("/mail").removeprefix("/"))
        given = urllib.parse.parse_qs(query)
        reply = self.instead(key, target)
        if reply is not NotImplemented:
            return reply
        if "list-type" in given:
            return self._listed(given.get("prefix", [""])[0], given)
        if key not in self.objects:
            return error(404, "NoSuchKey")
        tag = tag_of(self.objects[key])
        if self.api.requests[-1][1].get("if-match") not in (None, tag):
            return error(412, "PreconditionFailed")
        return 200, {"ETag": tag, "Content-Type": "text/plain"}, self.objects[key]

    def _listed(self, prefix: str, given: dict[str, list[str]]) -> Any:
        keys = sorted(key for key in self.objects if key.startswith(prefix))
        start = int(given.get("continuation-token", ["0"])[0])
        page = keys[start : start + self.page]
        entries = "".join(
            f"<Contents><Key>{escape(urllib.parse.quote(key))}</Key>"
            "<LastModified>2026-11-26T10:00:00.000Z</LastModified>"
            f"<ETag>{escape(tag_of(self.objects[key]))}</ETag>"
            f"<Size>{len(self.objects[key])}</Size></Contents>"
            for key in page
        )
        more = start + self.page < len(keys)
        following = f"<NextContinuationToken>{start + self.page}</NextContinuationToken>"
        return 200, {"Content-Type": "application/xml"}, (
            f"<ListBucketResult><Name>mail</Name><EncodingType>url</EncodingType>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{following if more else ''}{entries}"
            "</ListBucketResult>"
        ).encode()  # fmt: skip


def tag_of(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def error(status: int, code: str, **headers: str) -> Any:
    body = f"<Error><Code>{code}</Code><Message>{SECRET} was here</Message></Error>".encode()
    return status, {"Content-Type": "application/xml", **headers}, body


@pytest.fixture
def shelf(api: Any) -> Shelf:
    made = Shelf(api)
    made.put(a__jsonl='{"n": 1, "who": "ann"}\n{"n": 2, "who": "bob"}\n', b__jsonl='{"n": 3}\n')
    return made


@pytest.fixture
def ctx(ctx: Context, tmp_path: Path, api: Any) -> Context:
    (tmp_path / ".tunesmith").mkdir()
    return dataclasses.replace(
        ctx, project=tmp_path, hosts=(api.host,), cache=ctx.workdir / "cache"
    )


def source_of(host: str, **settings: Any) -> SourceConfig:
    given = {"name": "s", "origin": "s3://mail", "endpoint": f"http://{host}", "format": "jsonl"}
    return SourceConfig(**given | settings)


def looked(ctx: Context, source: SourceConfig, last: Landed | None = None) -> SourceConfig:
    assert ctx.cache is not None
    assert ctx.project is not None
    cut = cutter(source, ctx.project, source.erased) if source.erased else None
    base = load_of(last, "", ctx.blobs) if last else None
    return look(source, ctx.hosts, ctx.cache, base, cut, ctx.progress)[0]


def taken(ctx: Context, source: SourceConfig, last: Landed | None = None) -> Landed:
    """What the bucket holds now, as a run takes it."""
    seen = looked(ctx, source, last)
    if source.erased:
        return collect_without(seen, ctx, erased=source.erased)
    return collect(seen.collecting(), ctx)


def members(ctx: Context, landed: Landed) -> dict[str, bytes]:
    with zipfile.ZipFile(ctx.blobs.path(landed.wheel)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def refused(ctx: Context, source: SourceConfig) -> str:
    """Why a run takes nothing, said by the step that was to take it."""
    seen = looked(ctx, source)
    assert seen.sha256 == ""
    with pytest.raises((DataError, NotFound)) as said:
        collect(seen.collecting(), ctx)
    assert SECRET not in str(said.value)
    assert said.value.remedy
    return str(said.value)


# Against a real server.


def test_a_bucket_is_read_as_the_same_folder_is(
    ctx: Context, object_server: Any, tmp_path: Path
) -> None:
    files = {"a.jsonl": b'{"n": 1}\n', "A.jsonl": b'{"n": 2}\n', "deep/er/\xc3\xbc %41+?.jsonl":
             b'{"n": 3}\n'}  # fmt: skip
    name = object_server.bucket()
    for path, data in files.items():
        (tmp_path / "in" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / path.encode("latin-1").decode()).write_bytes(data)
        object_server.put(name, f"in/{path.encode('latin-1').decode()}", data)
    object_server.put(name, "in/", b"")  # as consoles make folders
    object_server.put(name, "in/deep/", b"")
    object_server.put(name, "in/.hidden/x.jsonl", b"?")
    object_server.put(name, "input/x.jsonl", b"?")
    ctx = dataclasses.replace(ctx, hosts=(object_server.host,))
    source = source_of(object_server.host, origin=f"s3://{name}/in/")
    local = SourceConfig(name="s", origin="file:in", format="jsonl")
    seen = looked(ctx, source)
    assert seen.sha256 == digest_of_local(tmp_path, local.landing())
    asset = ingest(seen, ctx, package=collect(seen.collecting(), ctx))
    pinned = local.model_copy(update={"sha256": seen.sha256})
    (ctx.workdir / "rows").unlink(missing_ok=True)
    beside = ingest(pinned, ctx, package=land(pinned.landing(), ctx))
    ours, theirs = (
        pq.read_table(ctx.blobs.path(each.rows)).drop_columns(["row_id"]).to_pylist()
        for each in (asset, beside)
    )
    assert ours == theirs
    assert len(ours) == 3


@pytest.mark.parametrize(
    ("key", "reason"),
    [("in/../x", "not plain"), ("in//x", "absolute path"), ("in/a\x01b", "control character"),
     ("in/a\\b", "backslash"), ("in/C:x", "absolute path"), ("in/./x", "not plain"),
     ("in/full/", "ends like a folder")],
)  # fmt: skip
def test_a_hostile_key_is_refused_or_left_out(
    ctx: Context, object_server: Any, key: str, reason: str
) -> None:
    name = object_server.bucket()
    object_server.put(name, key, b'{"n": 1}')
    object_server.put(name, "in/good.jsonl", b'{"n": 2}')
    ctx = dataclasses.replace(ctx, hosts=(object_server.host,))
    source = source_of(object_server.host, origin=f"s3://{name}/in")
    assert reason in refused(ctx, source)
    only = source.model_copy(update={"files": ("good*",)})
    assert list(members(ctx, taken(ctx, only))) == ["good.jsonl"]


def test_a_bucket_that_is_not_there_and_one_with_nothing_in_it(
    ctx: Context, object_server: Any
) -> None:
    ctx = dataclasses.replace(ctx, hosts=(object_server.host,))
    assert "has no bucket 'nobodys'" in refused(
        ctx, source_of(object_server.host, origin="s3://nobodys/in")
    )
    name = object_server.bucket()
    object_server.put(name, "other.jsonl", b"{}")
    source = source_of(object_server.host, origin=f"s3://{name}", files=("*.csv",))
    assert "there is other.jsonl" in refused(ctx, source)


def test_an_object_that_is_all_there_is(ctx: Context, object_server: Any) -> None:
    name = object_server.bucket()
    object_server.put(name, "in/a.jsonl", b'{"n": 1}')
    ctx = dataclasses.replace(ctx, hosts=(object_server.host,))
    seen = looked(ctx, source_of(object_server.host, origin=f"s3://{name}/in/a.jsonl"))
    assert seen.sha256 == hashlib.sha256(b'{"n": 1}').hexdigest()  # as sha256sum prints it


# What changed is fetched, and nothing else.


def test_only_what_changed_is_fetched(ctx: Context, shelf: Shelf, api: Any) -> None:
    source = source_of(api.host)
    first = taken(ctx, source)
    assert shelf.fetched == ["a.jsonl", "b.jsonl"]
    assert "Signature=" in api.requests[-1][1]["authorization"]
    assert SECRET not in str(api.requests)
    api.requests.clear()
    again = taken(ctx, source, first)
    assert (shelf.fetched, again) == ([], first)

    shelf.put(b__jsonl='{"n": 4}\n', c__jsonl='{"n": 5}\n')
    second = taken(ctx, source, first)
    assert shelf.fetched == ["b.jsonl", "c.jsonl"]
    assert members(ctx, second) == shelf.objects
    del shelf.objects["a.jsonl"]
    api.requests.clear()
    third = taken(ctx, source, second)
    assert (shelf.fetched, members(ctx, third)) == ([], shelf.objects)

    ctx.blobs.remove(third.wheel.sha256)  # as when somebody was forgotten
    assert taken(ctx, source, third) == third
    assert shelf.fetched == ["b.jsonl", "c.jsonl"]


def test_any_sequence_of_changes_ends_at_what_is_there(
    ctx: Context, shelf: Shelf, api: Any
) -> None:
    draw, last = random.Random(5), None
    for _ in range(6):
        name = draw.choice("abcd")
        if draw.random() < 0.3 and len(shelf.objects) > 1:
            shelf.objects.pop(f"{name}.jsonl", None)
        else:
            shelf.put(**{f"{name}__jsonl": json.dumps({"n": draw.random()})})
        last = taken(ctx, source_of(api.host), last)
        assert members(ctx, last) == shelf.objects


def test_a_pinned_source_is_read_whole_and_must_be_the_pinned_one(
    ctx: Context, shelf: Shelf, api: Any
) -> None:
    digest = looked(ctx, source_of(api.host)).sha256
    pinned = source_of(api.host, sha256=digest)
    assert looked(ctx, pinned) is pinned
    api.requests.clear()
    bare = dataclasses.replace(ctx, cache=None)
    assert members(ctx, collect(pinned.collecting(), bare)) == shelf.objects
    shelf.put(b__jsonl="{}\n")
    with pytest.raises(InputChanged, match="not " + digest):
        collect(pinned.collecting(), bare)


def test_what_was_kept_and_is_damaged_is_read_again(ctx: Context, shelf: Shelf, api: Any) -> None:
    seen = looked(ctx, source_of(api.host))
    assert ctx.cache is not None
    (kept,) = ctx.cache.iterdir()
    assert kept.stat().st_mode & 0o077 == 0
    kept.write_bytes(kept.read_bytes()[:40])
    assert members(ctx, collect(seen.collecting(), ctx)) == shelf.objects


def test_many_objects_come_in_pages(ctx: Context, shelf: Shelf, api: Any) -> None:
    shelf.page = 3
    shelf.put(**{f"n{n:02}__jsonl": "{}" for n in range(10)})
    assert members(ctx, taken(ctx, source_of(api.host))) == shelf.objects
    shelf.instead = lambda key, _: NotImplemented if key else (200, {}, (
        b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"))  # fmt: skip
    assert "does not say how its list of objects goes on" in refused(ctx, source_of(api.host))


# Who is forgotten stays away.


def told(ctx: Context, who: str) -> Erased:
    assert ctx.project is not None
    key = erasure.key_of(ctx.project / ".tunesmith", make=True)
    digests = (erasure.keyed(key, "subject", who),)
    return Erased(digests=digests, key=erasure.key_name(key))


def test_the_forgotten_are_cut_out_of_objects_old_and_new(
    ctx: Context, shelf: Shelf, api: Any
) -> None:
    source = source_of(api.host, subject="who")
    first = taken(ctx, source)
    without = source.without(told(ctx, "ann"))
    second = taken(ctx, without, first)
    assert members(ctx, second)["a.jsonl"] == b'\n{"n": 2, "who": "bob"}\n'
    assert second.num_erased == 1
    shelf.put(b__jsonl='{"n": 7, "who": "ann"}\n')
    third = taken(ctx, without, second)
    assert shelf.fetched == ["a.jsonl", "b.jsonl", "b.jsonl"]
    assert third.num_erased == 2
    assert b"ann" not in b"".join(members(ctx, third).values())
    assert third.wheel == collect_without(
        looked(ctx, without), dataclasses.replace(ctx, cache=None), erased=told(ctx, "ann")
    ).wheel  # fmt: skip
    asset = ingest(looked(ctx, without, third), ctx, package=third)
    assert asset.num_in == asset.num_rows + asset.num_erased == 3
    assert ctx.cache is not None
    assert all(b"ann" not in path.read_bytes() for path in ctx.cache.iterdir())


# A server that misbehaves.


def test_a_server_that_fails_once_is_asked_again(ctx: Context, shelf: Shelf, api: Any) -> None:
    failed: set[str] = set()

    def once(key: str, _: str) -> Any:
        if key in failed:
            return NotImplemented
        failed.add(key)
        return error(500, "InternalError")

    shelf.instead = once
    assert members(ctx, taken(ctx, source_of(api.host))) == shelf.objects


def slow(_key: str, _target: str) -> Any:
    time.sleep(0.4)
    return error(500, "InternalError")


@pytest.mark.parametrize(
    ("of", "reply", "said"),
    [
        ("", lambda *_: error(500, "InternalError"), "does not give s3://mail: 500 InternalError"),
        ("", lambda *_: error(403, "AccessDenied"), "does not let us read s3://mail: 403 AccessD"),
        ("", lambda *_: error(403, "SignatureDoesNotMatch"), "403 SignatureDoesNotMatch"),
        ("", lambda *_: None, "does not answer"),
        ("", lambda *_: b"HTTP/1.0 2", "does not answer"),
        ("", lambda *_: (200, {}, b"<html>log in"), "does not give s3://mail"),
        ("", slow, "does not answer"),
        ("a.jsonl", lambda *_: error(403, "AccessDenied"), "read s3://mail/a.jsonl: 403"),
        ("a.jsonl", lambda *_: error(404, "NoSuchKey"), "was written or deleted while"),
        ("a.jsonl", lambda *_: error(412, "PreconditionFailed"), "was written or deleted while"),
        ("a.jsonl", lambda *_: (200, {"Content-Length": "46"}, b"{"), "did not come whole"),
        ("a.jsonl", lambda *_: (200, {}, b"{}"), "2 bytes came, of 46"),
        ("a.jsonl", lambda *_: (200, {}, b"{" * 99), "more than its 46 bytes came"),
        ("a.jsonl", lambda *_: (200, {"ETag": '"x"'}, b"{" * 46), "did not come whole"),
    ],
)
def test_a_server_that_misbehaves_is_an_error_and_nothing_is_taken(
    ctx: Context, shelf: Shelf, api: Any, of: str, reply: Any, said: str
) -> None:
    shelf.instead = lambda key, target: reply(key, target) if key == of else NotImplemented
    assert said in refused(ctx, source_of(api.host))


def test_an_object_that_changes_between_list_and_read_is_no_mix(
    ctx: Context, shelf: Shelf, api: Any
) -> None:
    def changing(key: str, _: str) -> Any:
        if key == "a.jsonl":
            shelf.objects["b.jsonl"] = b'{"n": 9}\n'  # of the same length
        return NotImplemented

    shelf.instead = changing
    assert "s3://mail/b.jsonl was written or deleted while it was read" in refused(
        ctx, source_of(api.host)
    )


@pytest.mark.parametrize("key", ["", "a.jsonl"])
@pytest.mark.parametrize("status", [301, 302, 307])
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "169.254.169.254"])
def test_a_redirect_to_another_server_is_not_followed(
    ctx: Context, shelf: Shelf, api: Any, make_api: Any, key: str, status: int, name: str
) -> None:
    """The HTTP client follows redirects by itself, and asks no resolver for a number's address."""
    other = make_api()
    ctx = dataclasses.replace(ctx, hosts=(api.host, other.host))  # not even to an allowed one
    away = f"http://{name}:{other.port}/mail/{key}?list-type=2"
    shelf.instead = lambda k, _: (
        error(status, "TemporaryRedirect", Location=away) if k == key else NotImplemented
    )
    assert "sends us to another server" in refused(ctx, source_of(api.host))
    assert other.requests == []


def test_credentials_are_those_of_the_environment_and_ask_no_other_server(
    ctx: Context, shelf: Shelf, api: Any, make_api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = make_api()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", cloud.url("/"))
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", cloud.url("/me"))
    assert "there are no credentials" in refused(ctx, source_of(api.host))
    assert (cloud.requests, api.requests) == ([], [])
    assert ctx.project is not None
    profile = f"[data]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    (ctx.project / "no-credentials").write_text(profile)
    monkeypatch.setenv("AWS_PROFILE", "data")
    assert members(ctx, taken(ctx, source_of(api.host))) == shelf.objects


def test_a_server_that_the_project_does_not_allow_is_not_asked(
    ctx: Context, shelf: Shelf, api: Any
) -> None:
    ctx = dataclasses.replace(ctx, hosts=("127.0.0.1", "minio.example.org"))
    assert f'hosts = ["{api.host}"]' in refused(ctx, source_of(api.host))
    assert api.requests == []


def test_an_address_that_a_name_has_is_checked(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = ("s3.eu-central-1.amazonaws.com", "localhost:443")
    ctx = dataclasses.replace(ctx, hosts=hosts)
    source = source_of("x", endpoint="https://localhost")
    with pytest.raises(DataError, match="does not answer"):  # allowed, and nobody is there
        collect(source.collecting(), dataclasses.replace(ctx, cache=None))
    ctx = dataclasses.replace(ctx, hosts=("localhost",))
    assert "on a private network" in refused(ctx, source)


def test_amazons_own_server_is_that_of_the_region() -> None:
    assert server_of("", {"AWS_REGION": "eu-central-1"}).shown == (
        "https://s3.eu-central-1.amazonaws.com/"
    )
    assert server_of("", {}).host == "s3.us-east-1.amazonaws.com"
    assert region_of("s3.eu-west-3.amazonaws.com", {"AWS_REGION": "x"}) == "eu-west-3"
    assert region_of("minio.example.org", {"AWS_DEFAULT_REGION": "garage"}) == "garage"
    with pytest.raises(ValueError, match="no region"):
        server_of("", {"AWS_REGION": "x.evil.org/"})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"origin": "s3://"}, "write s3://BUCKET/PREFIX"),
        ({"origin": "s3://Mail/in"}, "write s3://BUCKET/PREFIX"),
        ({"origin": "s3://key:secret@mail/in"}, "write s3://BUCKET/PREFIX"),
        ({"origin": "s3://mail/../x"}, "write s3://BUCKET/PREFIX"),
        ({"origin": "s3://mail//x"}, "write s3://BUCKET/PREFIX"),
        ({"endpoint": "http://minio.example.org"}, "http:// is for this machine alone"),
        ({"endpoint": "https://key:secret@minio.example.org"}, "a user or a password"),
        ({"endpoint": "https://minio.example.org/mail"}, "it has a path"),
        ({"origin": "file:data"}, "endpoint is that of s3:// origins"),
    ],
)
def test_what_the_section_says_is_checked(settings: dict[str, Any], said: str) -> None:
    given = {"origin": "s3://mail", "endpoint": "https://minio.example.org", "format": "jsonl"}
    with pytest.raises((ValueError, ConfigError)) as error:
        SourceConfig(**given | settings)
    assert said in str(error.value)


def test_other_sources_do_not_say_what_endpoint_they_have() -> None:
    """Else the key of every step that reads a source would be another."""
    assert "endpoint" not in SourceConfig(origin="file:a", format="text").model_dump()
    assert "endpoint" in SourceConfig(origin="s3://mail", format="text").model_dump()


@pytest.mark.parametrize(
    "settings",
    [
        {"origin": "s3://mail", "format": "jsonl"},
        {"origin": "singer:", "tap": ["tap-crm"], "stream": "users"},
        {"origin": "dlt:crm.py:users", "environment": ["TOKEN"]},
        {"origin": "https://crm.example.org/users", "key": "id"},
        {"origin": "sqlite:crm.db", "key": "id", "query": "SELECT 1 AS id"},
    ],
)
def test_a_step_without_the_forgotten_was_asked_the_same_as_one_with_them(
    settings: dict[str, Any],
) -> None:
    """Else what was taken in last would not be found after an erasure."""
    source = SourceConfig(name="s", **settings)
    assert source.taking().model_dump().items() <= source.model_dump().items()
