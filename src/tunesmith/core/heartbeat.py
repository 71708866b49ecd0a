"""Hold on to something in the database while the work on it is done."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from sqlalchemy.engine import Connection

from tunesmith.core.db import Database
from tunesmith.core.errors import TunesmithError


@contextlib.contextmanager
def heartbeat(
    database: Database, lease_s: float, extend: Callable[[Connection], bool]
) -> Iterator[None]:
    """Extend a lease of `lease_s` again and again, in a thread, until this ends or `extend` says
    that it is no longer ours."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(lease_s / 3):
            # A beat that the store does not take is made up for by the next one.
            with contextlib.suppress(TunesmithError), database.write() as connection:
                if not extend(connection):
                    return

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
