"""One server, and no other, for a client that is not ours.

MLflow's client goes where the server that it asks sends it: to the addresses of artefacts, along
redirects, to whatever the server's name means a moment after it was checked. It does so through
`requests`, by sessions that it makes for itself; so it is `requests` that is held to one place.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Collection, Iterator
from typing import Any

from tunesmith.core.errors import DataError
from tunesmith.stages.ingest.reach import Place, allowed_addresses, place_of

_ONE_AT_A_TIME = threading.Lock()


@contextlib.contextmanager
def only(place: Place, hosts: Collection[str]) -> Iterator[list[DataError]]:
    """While it is open, whatever uses `requests` in this process reaches `place`, at addresses that
    were checked, without a proxy, and nothing else; and follows no redirect.

    What was refused is in the list, as the client may say it in words of its own.

    Raises:
        DataError: `hosts` does not allow the place.
    """
    from requests.adapters import HTTPAdapter
    from urllib3.util import connection

    allowed_addresses(place, hosts)
    refused: list[DataError] = []

    def refusal(message: str, remedy: str) -> DataError:
        refused.append(DataError(message, remedy=remedy))
        return refused[-1]

    def send_there(adapter: Any, request: Any, *given: Any, **named: Any) -> Any:
        if _server(request.url) != place.server:
            raise refusal(
                f"{place.shown} sends its client to another place, which is not followed",
                "find out why it does; name the address at which it answers itself",
            )
        response = send(adapter, request, *given, **named)
        if 300 <= response.status_code < 400:
            response.close()
            raise refusal(
                f"{place.shown} redirects its client, which is not followed",
                "name the address that it redirects to, if that is the server you mean",
            )
        return response

    def connect_there(_address: Any, *given: Any, **named: Any) -> Any:
        try:
            addresses = allowed_addresses(place, hosts)
        except DataError as error:
            refused.append(error)
            raise
        failed: OSError | None = None
        for address in addresses:
            try:
                return connect((address, place.port), *given, **named)
            except OSError as error:
                failed = error
        raise failed or OSError("it has no address")

    with _ONE_AT_A_TIME, _no_proxy():
        send, connect = HTTPAdapter.send, connection.create_connection
        try:
            HTTPAdapter.send = send_there  # type: ignore[assignment, method-assign]
            connection.create_connection = connect_there  # type: ignore[assignment]
            yield refused
        finally:
            HTTPAdapter.send = send  # type: ignore[method-assign]
            connection.create_connection = connect


@contextlib.contextmanager
def _no_proxy() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in ("no_proxy", "NO_PROXY")}
    os.environ.update(dict.fromkeys(before, "*"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _server(url: str) -> tuple[str, str, int] | None:
    try:
        return place_of(url).server
    except ValueError:
        return None
