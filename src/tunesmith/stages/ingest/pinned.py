"""Connections of an HTTP client that is not ours (aiohttp, below s3fs) to one server and no other.

That client follows redirects by itself. The name of another host it would look up, and of an
address that is a number it asks nobody; so both what looks names up and what makes a connection's
socket are given to it.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from typing import Any

from tunesmith.core.errors import DataError, TunesmithError
from tunesmith.stages.ingest.reach import Place


def resolver(server: Place, addresses: Sequence[str], refused: list[TunesmithError]) -> Any:
    """What the HTTP client finds addresses by: of the server those that were checked, and of no
    other host any."""
    from aiohttp.abc import AbstractResolver, ResolveResult

    class Checked(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            del family
            if host != server.host:
                refused.append(elsewhere(server, f"{host}:{port}"))
                raise OSError("refused")
            return [
                ResolveResult(
                    hostname=host,
                    host=address,
                    port=port,
                    family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                    proto=0,
                    flags=socket.AI_NUMERICHOST,
                )
                for address in addresses
            ]

        async def close(self) -> None:
            pass

    return Checked()


def socket_to(
    server: Place, addresses: Sequence[str], refused: list[TunesmithError]
) -> Callable[[Any], socket.socket]:
    """What makes each connection's socket. The HTTP client follows redirects by itself, and of an
    address that is a number it asks no resolver: this sees them all."""

    def make(info: Any) -> socket.socket:
        family, kind, protocol, _, where = info
        if where[0] not in addresses or where[1] != server.port:
            refused.append(elsewhere(server, f"{where[0]}:{where[1]}"))
            raise OSError("refused")
        return socket.socket(family, kind, protocol)

    return make


def elsewhere(server: Place, where: str) -> DataError:
    """The error of who was sent to another server than `server`."""
    return DataError(
        f"{server.shown} sends us to another server: {clean(where)}",
        remedy="write the server that is meant as `endpoint`; of Amazon's, that of the bucket's "
        "region: https://s3.REGION.amazonaws.com",
    )


def before_each(server: Place, refused: list[TunesmithError]) -> Callable[..., None]:
    """What refuses a request that the client makes to another server, as a region's error has it
    do, and ends its trying again where a connection was refused."""
    base = f"{server.scheme}://{server.name}"
    allowed = (f"{base}:{server.port}/", f"{base}/")

    def check(request: Any, **_: Any) -> None:
        if refused:
            raise refused[0]
        if not request.url.startswith(allowed):
            raise elsewhere(server, request.url.partition("?")[0])

    return check


def clean(said: str) -> str:
    """What a server or the client said, fit for a message: short and plain."""
    return re.sub(r"[^\x20-\x7e]", "?", said)[:200]
