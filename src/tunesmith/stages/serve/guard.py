"""What every request passes before any code of ours looks at it.

A page in the user's browser can send requests to this machine, also under a name that it made
resolve to it (DNS rebinding). So the Host header must name this machine, and an Origin header, if
there is one, too. There are no CORS headers: no other page may read an answer.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import uuid
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith.stages.serve.problem import Problem, internal

BODY_TIMEOUT_S = 30.0
"""A client that takes longer to send its request is given up."""

log = logging.getLogger(__name__)


class Guard:
    """ASGI middleware: an id for every request; foreign, oversized and slow ones are refused."""

    def __init__(self, app: ASGIApp, *, host: str, max_body_bytes: int, uploads: str = "") -> None:
        """Files that are put below the path `uploads` are for the route itself to receive, by the
        rules of `_read`; everything else has its body read here."""
        self._app = app
        self._uploads = uploads
        self._hosts = {"localhost", "127.0.0.1", "::1", host}
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the request, then pass it on with its body read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req_{uuid.uuid4().hex}"
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        try:
            self._check_names(Headers(scope=scope))
            if self._is_upload(scope):
                await self._app(scope, receive, send_with_id)
            else:
                body = await self._read(receive)
                await self._app(scope, _replay(body, receive), send_with_id)
        except Problem as problem:
            await problem.response()(scope, receive, send_with_id)
        except Exception:
            log.exception("request %s failed", request_id)
            if not started:
                await internal().response()(scope, receive, send_with_id)

    def _check_names(self, headers: Headers) -> None:
        for header, value in (
            ("Host", f"//{headers.get('host', '')}"),
            ("Origin", headers.get("origin")),
        ):
            if value is not None and _hostname(value) not in self._hosts:
                raise Problem(
                    403,
                    f"the {header} header does not name this machine, as a local client's would",
                    code=f"{header.lower()}_not_allowed",
                )

    def _is_upload(self, scope: Scope) -> bool:
        if not self._uploads or scope["method"] != "PUT":
            return False
        return bool(scope["path"].startswith(self._uploads))

    async def _read(self, receive: Receive) -> bytes:
        """The whole body; counted as it comes, since a Content-Length can be absent or wrong."""
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        break
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > self._max_body_bytes:
                        raise Problem(
                            413,
                            f"the request is longer than {self._max_body_bytes} bytes",
                            code="request_too_large",
                        )
        except TimeoutError:
            raise Problem(
                408, f"the request did not arrive within {BODY_TIMEOUT_S:.0f} s", code="timeout"
            ) from None
        return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body`, then what comes after it: the news that the client left."""
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _hostname(address: str) -> str | None:
    """The host that `address` ("//host:port", "http://host:port") names; None if none at all."""
    try:
        host = urlsplit(address).hostname
        return host if host is None or ":" not in host else str(ipaddress.ip_address(host))
    except ValueError:
        return None
