"""Fixtures that more than one folder uses."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.db import Database
from tunesmith.core.execute import InlineExecutor
from tunesmith.core.migrations import migrate
from tunesmith.core.runner import Event, Runner


@pytest.fixture
def make_runner(tmp_path: Path) -> Iterator[Callable[..., tuple[Runner, list[Event]]]]:
    """make_runner(lease_s=...) -> a runner on the store in tmp_path, and the events it sends."""
    opened: list[Database] = []

    def make(**settings: object) -> tuple[Runner, list[Event]]:
        database = Database(f"sqlite:///{tmp_path / 'tunesmith.db'}")
        opened.append(database)
        migrate(database, tmp_path)
        events: list[Event] = []
        runner = Runner(
            blobs=FolderBlobs(tmp_path / "blobs"),
            database=database,
            executor=InlineExecutor(tmp_path),
            actor="tester",
            on_event=events.append,
            **settings,  # type: ignore[arg-type]
        )
        return runner, events

    yield make
    for database in opened:
        database.close()


@pytest.fixture
def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
