"""Run a service until it is told to stop."""

from __future__ import annotations

import errno
import socket

from fastapi import FastAPI

from tunesmith.core.errors import Conflict, UsageError
from tunesmith.stages.serve.config import ServiceConfig

GRACE_S = 10
"""Seconds that running requests have to end after SIGTERM or SIGINT."""


def serve(app: FastAPI, config: ServiceConfig) -> None:
    """Serve `app` at the address of `config` until SIGTERM or SIGINT.

    On a signal no new request is taken, running ones may end within `GRACE_S` seconds, and the
    signal is then raised again, so that the process ends as its parent expects.

    Raises:
        KeyboardInterrupt: after SIGINT.
        Conflict: something else listens at the address.
        UsageError: the address cannot be listened at.
    """
    import uvicorn

    with _listen(config.host, config.port) as listener:
        uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                ws="none",
                timeout_graceful_shutdown=GRACE_S,
            )
        ).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family)
        # Else the second part of an answer waits for the client to acknowledge the first: 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        message = f"cannot listen at {host}:{port}: {error.strerror}"
        if error.errno == errno.EADDRINUSE:
            raise Conflict(
                message, remedy="stop what listens there, or give the service another `port`"
            ) from error
        raise UsageError(message, remedy="set `host` to 127.0.0.1") from error
