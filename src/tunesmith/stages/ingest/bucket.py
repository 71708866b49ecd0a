"""Objects of a bucket of an S3 server: listed and read, from addresses that were checked.

Through fsspec's file system for S3 (s3fs), by its calls and not by its paths: in a path it would
read what an object's name says after `?versionId=`. It is given the server, whose name it may
resolve only to addresses that the project file allows (see `reach`), no proxy, and credentials that
need no further server: those of the environment, and of the user's own files for AWS's programs.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from tunesmith.core.errors import DataError, MissingExtra, TunesmithError
from tunesmith.stages.ingest.archive import MAX_BYTES, MAX_MEMBERS
from tunesmith.stages.ingest.asking import ObjectsConfig, region_of, server_of
from tunesmith.stages.ingest.origin import OBJECTS
from tunesmith.stages.ingest.pinned import before_each, clean, elsewhere, resolver, socket_to
from tunesmith.stages.ingest.reach import Place, allowed_addresses

if TYPE_CHECKING:
    from s3fs import S3FileSystem

TRIES = 4
"""Of a request that the server could not answer, or of an object that did not come whole."""
CONNECT_S = 10.0
SILENCE_S = 30.0
"""How long a server may say nothing."""
SLOWEST_BYTES_PER_S = 10_000
PATIENCE_S = 60.0
"""An object may take this long, and longer if it is large."""
_AT_ONCE = 1 << 20
_KEYS_AT_ONCE = 1_000
_FROM_HERE = frozenset({"env", "shared-credentials-file", "config-file", "custom-process"})
"""Where credentials may come from. All others ask a server: that of a cloud's machine for its own
credentials, or one that the project file does not name."""
_MOVED = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """What the server says of an object."""

    key: str
    size: int
    """Bytes."""
    etag: str
    """Changes with the contents."""
    modified: str
    """ISO 8601."""

    @property
    def tag(self) -> list[str | int]:
        """What is equal where nobody wrote the object again."""
        return [self.etag, self.size, self.modified]


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A bucket whose server may be asked."""

    name: str
    server: Place
    _call: Callable[..., Any]
    _read: Callable[[Any, int], bytes]
    _leave: Callable[[Any], None]

    def listed(self, prefix: str) -> list[Listed]:
        """All objects whose keys begin with `prefix`, by key.

        Raises:
            DataError: the server does not say, or they are too many or too large.
        """
        found: list[Listed] = []
        further: dict[str, str] = {}
        while True:
            said = self._call(
                "list_objects_v2", Bucket=self.name, Prefix=prefix, MaxKeys=_KEYS_AT_ONCE, **further
            )
            found += [_listed(each) for each in said.get("Contents", ())]
            if len(found) > MAX_MEMBERS or sum(each.size for each in found) > MAX_BYTES:
                raise DataError(
                    f"{OBJECTS}{self.name}/{prefix} has more than {MAX_MEMBERS} objects, or more "
                    f"than {MAX_BYTES >> 30} GiB",
                    remedy="make several sources of it, each with a longer prefix",
                )
            if not said.get("IsTruncated"):
                return sorted(found, key=lambda each: each.key)
            token = said.get("NextContinuationToken", "")
            if not token or further.get("ContinuationToken") == token:
                raise DataError(
                    f"{self.server.shown} does not say how its list of objects goes on",
                    remedy="find out what kind of server it is; it does not list as S3 does",
                )
            further = {"ContinuationToken": token}

    def fetch(self, wanted: Listed, sink: IO[bytes], beat: Callable[[int], None]) -> str:
        """Write the contents of an object; `beat` is told how many bytes came.

        Returns:
            Their SHA-256.

        Raises:
            DataError: it is another one by now, or did not come whole.
        """
        shown = f"{OBJECTS}{self.name}/{wanted.key}"
        start = sink.tell()
        why = ""
        for _ in range(TRIES):
            sink.seek(start)
            sink.truncate()
            try:
                said = self._call(
                    "get_object", Bucket=self.name, Key=wanted.key, IfMatch=wanted.etag
                )
                try:
                    digest, num_bytes = self._copied(said["Body"], wanted, sink, beat)
                finally:
                    self._leave(said["Body"])
            except _Cut as error:
                why = str(error)
                continue
            if num_bytes == wanted.size and said.get("ETag", wanted.etag) == wanted.etag:
                return digest
            why = f"{num_bytes} bytes came, of {wanted.size}"
        raise DataError(
            f"{shown} did not come whole, asked for {TRIES} times: {why}",
            remedy="run the same command again",
        )

    def _copied(
        self, body: Any, wanted: Listed, sink: IO[bytes], beat: Callable[[int], None]
    ) -> tuple[str, int]:
        digest = hashlib.sha256()
        num_bytes = 0
        until = time.monotonic() + PATIENCE_S + wanted.size / SLOWEST_BYTES_PER_S
        while part := self._read(body, _AT_ONCE):
            num_bytes += len(part)
            if num_bytes > wanted.size:
                raise _Cut(f"more than its {wanted.size} bytes came")
            if time.monotonic() > until:
                raise _Cut("its bytes trickle")
            digest.update(part)
            sink.write(part)
            beat(num_bytes)
        return digest.hexdigest(), num_bytes


class _Cut(Exception):
    """An object that did not come whole; it is asked for again."""


def _listed(said: Mapping[str, Any]) -> Listed:
    return Listed(
        key=said["Key"],
        size=said["Size"],
        etag=said["ETag"],
        modified=said["LastModified"].isoformat(),
    )


@contextmanager
def opened(config: ObjectsConfig, hosts: tuple[str, ...]) -> Iterator[Bucket]:
    """The bucket that `config` names.

    Raises:
        DataError: its server may not be reached, or does not let us in.
        MissingExtra: s3fs is not installed.
    """
    name = config.origin.removeprefix(OBJECTS).partition("/")[0]
    try:
        server = server_of(config.endpoint)
        region = region_of(server.host)
    except ValueError as error:
        raise DataError(
            f"the server of {config.origin} cannot be asked: {error}",
            remedy="check `endpoint`, and AWS_REGION",
        ) from None
    addresses = allowed_addresses(server, hosts)
    try:
        from fsspec.asyn import sync
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "fsspec", "object-storage") from error
    refused: list[TunesmithError] = []
    system = _file_system(server, region, addresses, refused)

    def call(method: str, **given: Any) -> Any:
        with _said_of(server, name, given.get("Key", ""), refused):
            return system.call_s3(method, **given)

    def read(body: Any, num_bytes: int) -> bytes:
        with _cut():
            part: bytes = sync(system.loop, body.read, num_bytes)
            return part

    def leave(body: Any) -> None:
        async def close() -> None:
            body.close()

        sync(system.loop, close)

    try:
        with _said_of(server, name, "", refused):
            system.connect()
        system.s3.meta.events.register("before-send.s3", before_each(server, refused))
        yield Bucket(name=name, server=server, _call=call, _read=read, _leave=leave)
    finally:
        if system._s3 is not None:  # or its connections would end with the process alone
            sync(system.loop, system._s3creator.__aexit__, None, None, None)


def _file_system(
    server: Place, region: str, addresses: Sequence[str], refused: list[TunesmithError]
) -> S3FileSystem:
    try:
        from aiobotocore.session import AioSession
        from s3fs import S3FileSystem
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "s3fs", "object-storage") from error
    session = AioSession()
    session.register_component("data_loader", _descriptions())
    chain = session.get_component("credential_provider")
    chain.providers = [each for each in chain.providers if each.METHOD in _FROM_HERE]
    system = S3FileSystem(
        endpoint_url=f"{server.scheme}://{server.name}:{server.port}",
        session=session,
        skip_instance_cache=True,
        use_listings_cache=False,
        client_kwargs={"region_name": region},
        config_kwargs={
            "connector_args": {
                "resolver": resolver(server, addresses, refused),
                "socket_factory": socket_to(server, addresses, refused),
            },
            "connect_timeout": CONNECT_S,
            "read_timeout": SILENCE_S,
            "retries": {"max_attempts": TRIES, "mode": "standard"},
            "proxies": {},  # behind one the address could not be checked
            "s3": {"addressing_style": "path"},  # so that one host is all that has to be allowed
        },
    )
    system.retries = 1  # the client below has tried
    return system


@functools.cache
def _descriptions() -> Any:
    """What the client reads its calls from: read once, as it takes longer than asking."""
    from botocore.loaders import Loader

    return Loader()


@contextmanager
def _cut() -> Iterator[None]:
    """What goes wrong while a body comes."""
    import aiohttp
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except (OSError, BotoCoreError, aiohttp.ClientError) as error:
        raise _Cut(clean(f"{type(error).__name__}: {error}")) from None


@contextmanager
def _said_of(server: Place, bucket: str, key: str, refused: list[TunesmithError]) -> Iterator[None]:
    """What a server, or the client, says is wrong, as our own error. A server's own sentences are
    not repeated: its code says enough."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except NoCredentialsError:
        raise DataError(
            f"there are no credentials for {server.shown}",
            remedy="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; those of the "
            "machine itself, of a role or of single sign-on are not asked for: put them into the "
            "environment (aws configure export-credentials --format env)",
        ) from None
    except (OSError, BotoCoreError) as error:
        if refused:
            raise refused[0] from None
        cause = error.__cause__
        if isinstance(cause, ClientError):
            raise _of_client(cause.response, server, bucket, key) from None
        raise DataError(
            f"{server.shown} does not answer: {clean(str(error) or type(error).__name__)}",
            remedy="check `endpoint`, and run the same command again when it is up",
        ) from None


def _of_client(said: Mapping[str, Any], server: Place, bucket: str, key: str) -> DataError:
    status = said.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = clean(str(said.get("Error", {}).get("Code", "")))[:60]
    shown = f"{OBJECTS}{bucket}/{key}" if key else f"{OBJECTS}{bucket}"
    if key and (status in (404, 412) or code in ("NoSuchKey", "PreconditionFailed")):
        return DataError(
            f"{shown} was written or deleted while it was read",
            remedy="run the same command again",
        )
    if code == "NoSuchBucket" or status == 404:
        return DataError(
            f"{server.shown} has no bucket {bucket!r}", remedy="check the origin, and `endpoint`"
        )
    if status in (401, 403):
        return DataError(
            f"{server.shown} does not let us read {shown}: {status} {code}",
            remedy="check AWS_ACCESS_KEY_ID or AWS_PROFILE, and that they may list the bucket and "
            "read its objects",
        )
    if status in _MOVED:
        return elsewhere(server, f"{status} {code}")
    return DataError(
        f"{server.shown} does not give {shown}: {status} {code}",
        remedy="run the same command again when it is up; if it stays, ask whoever runs it",
    )
