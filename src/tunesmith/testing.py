"""Fakes and conformance suites: test your own plug-in the way the built-in ones are tested.

def test_my_blobs(tmp_path):
    testing.check_blobs(MyBlobs(tmp_path))
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core.blobs import Blobs
from tunesmith.core.canonical import canonical_json
from tunesmith.core.errors import BlobCorrupt, BlobMissing, DataError, TunesmithError
from tunesmith.core.execute import Call, Executor, Listener
from tunesmith.core.failpoint import failpoint
from tunesmith.core.meter import Forecast
from tunesmith.core.ref import AliasMove, Blob
from tunesmith.core.section import Section
from tunesmith.core.step import Context


class EchoConfig(Section):
    """What the echo step is to do."""

    name: str = "echo"
    """Name of the record."""
    text: str = ""
    """What to say again."""
    seconds: float = 0.0
    """How long to take over it."""
    error: str = ""
    """When not empty: fail with this."""
    alias: str = ""
    """When not empty: move this alias to the record."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Echo:
    """What the echo step made: its text, after those of its inputs."""

    name: str
    text: Blob
    moves: tuple[AliasMove, ...]


def echo(config: EchoConfig, ctx: Context, **inputs: Echo) -> Echo:
    """The smallest step there is: joins the texts of its inputs and its own."""
    ctx.forecast(
        Forecast(
            wall_s=config.seconds,
            low_s=config.seconds,
            high_s=config.seconds,
            cpu_s=0.0,
            peak_bytes=1,
            joules=0.0,
            basis="as configured",
        )
    )
    ctx.progress(0, 1, "listening")
    ctx.metric("length", float(len(config.text)), 0)
    time.sleep(config.seconds)
    if config.error:
        raise DataError(config.error, remedy="say something else")
    texts = [ctx.blobs.get(given.text).decode() for _, given in sorted(inputs.items())]
    text = ctx.blobs.put("".join([*texts, config.text]).encode(), "text/plain")
    failpoint("echo.said")
    ctx.progress(1, 1, "said")
    moves = (
        (AliasMove(kind="echo", name=config.name, alias=config.alias, reason="as configured"),)
        if config.alias
        else ()
    )
    return Echo(name=config.name, text=text, moves=moves)


class MemoryBlobs:
    """Blobs in memory, with a folder only for those who ask for a path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, bytes] = {}

    def put(self, data: bytes | Path, media_type: str = "application/octet-stream") -> Blob:
        """Keep bytes, or the bytes of a file."""
        held = data.read_bytes() if isinstance(data, Path) else data
        digest = hashlib.sha256(held).hexdigest()
        self._held[digest] = held
        return Blob(sha256=digest, num_bytes=len(held), media_type=media_type)

    def get(self, blob: Blob) -> bytes:
        """The bytes of `blob`."""
        self.check(blob)
        return self._held[blob.sha256]

    def path(self, blob: Blob) -> Path:
        """A file with the bytes of `blob`."""
        path = self._folder / hashlib.sha256(blob.sha256.encode()).hexdigest()
        path.write_bytes(self.get(blob))
        return path

    def check(self, blob: Blob, *, deep: bool = False) -> None:
        """Raise unless `blob` is there, whole; `deep` re-computes its digest."""
        if blob.sha256 not in self._held:
            raise BlobMissing(f"blob {blob.sha256[:12]} is not in memory")
        held = self._held[blob.sha256]
        if len(held) != blob.num_bytes or (
            deep and hashlib.sha256(held).hexdigest() != blob.sha256
        ):
            raise BlobCorrupt(f"blob {blob.sha256[:12]} is damaged")

    def digests(self) -> Iterator[str]:
        """Every digest held."""
        yield from sorted(self._held)

    def remove(self, digest: str) -> None:
        """Forget the bytes, and the file with them."""
        self._held.pop(digest, None)
        (self._folder / hashlib.sha256(digest.encode()).hexdigest()).unlink(missing_ok=True)


def check_blobs(blobs: Blobs) -> None:
    """The laws of a blob store; raises AssertionError where one is broken."""
    for size in (0, 1, 8191, 8192, 8193, (1 << 20) + 1):
        data = bytes(i * 31 % 251 for i in range(size))
        blob = blobs.put(data, "application/x-test")
        assert blob.sha256 == hashlib.sha256(data).hexdigest(), "the address is the digest"
        assert (blob.num_bytes, blob.media_type) == (size, "application/x-test")
        assert blobs.get(blob) == data, f"{size} bytes come back as they went in"
        assert blobs.path(blob).read_bytes() == data, "the file holds the same bytes"
        assert blobs.put(data, "application/x-test") == blob, "the same bytes have one address"
        blobs.check(blob, deep=True)
        assert blob.sha256 in set(blobs.digests())
        blobs.remove(blob.sha256)
        blobs.remove(blob.sha256)
        assert blob.sha256 not in set(blobs.digests()), "what was removed is gone"
        for look in (blobs.get, blobs.check, blobs.path):
            try:
                look(blob)
            except BlobMissing:
                continue
            raise AssertionError("what was removed must be missing")
        assert blobs.put(data, "application/x-test") == blob, "it can be put again"
    for digest in ("0" * 64, "../../etc/passwd", "A" * 64, ""):
        try:
            blobs.get(Blob(sha256=digest, num_bytes=1))
        except BlobMissing:
            continue
        raise AssertionError(f"{digest!r} must be missing")


def check_executor(executor: Executor, blobs: Blobs) -> None:
    """The laws of an executor whose folder holds `blobs`; raises AssertionError on a breach."""
    heard: list[str] = []
    listener = Listener(
        progress=lambda _done, _total, note: heard.append(note),
        metric=lambda name, value, _step: heard.append(f"{name}={value:g}"),
        forecast=lambda forecast: heard.append(forecast.basis),
    )
    call = _echo(text="hello")
    record = executor.execute(call, listener)
    assert blobs.get(Blob(**record["text"])) == b"hello", "the record's blobs are in the store"
    assert heard == ["as configured", "listening", "length=5", "said"], "everything is heard"
    again = executor.execute(call, listener)
    assert canonical_json(again) == canonical_json(record), "the same call has the same record"
    failing = _echo(error="no")
    assert _failure(executor, failing, listener) == ("no", "say something else")


def _echo(**config: Any) -> Call:
    return Call(step="echo:x", kind="echo@1", config=config, inputs={}, seed=0, identity={})


def _failure(executor: Executor, call: Call, listener: Listener) -> tuple[str, str]:
    try:
        executor.execute(call, listener)
    except TunesmithError as error:
        return error.message, error.remedy
    raise AssertionError("a step's failure is the executor's")
