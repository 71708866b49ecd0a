"""Eight processes that write to one store at once; a section of `mlops.py`.

Each commits an entry of the evidence 200 times, with nothing in between, which is as bad as it
gets; then each runs 200 steps of no work, of two commits and three blobs each.
Waiting for the lock is part of what is timed.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from tunesmith.core import evidence
from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.db import Database
from tunesmith.core.execute import InlineExecutor
from tunesmith.core.migrations import migrate
from tunesmith.core.runner import Runner
from tunesmith.core.step import Step
from tunesmith.core.verify import verify
from tunesmith.testing import EchoConfig

NUM_WRITERS, NUM_COMMITS = 8, 200


def measure(what: str) -> list[float]:
    """Seconds that each of all "commit"s, or "step"s, took, the least first."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        barrier, said = context.Barrier(NUM_WRITERS), context.Queue()
        writers = [
            context.Process(target=_write, args=(folder, f"writer-{number}", what, barrier, said))
            for number in range(NUM_WRITERS)
        ]
        for writer in writers:
            writer.start()
        took = sorted(seconds for _ in writers for seconds in said.get(timeout=600))
        for writer in writers:
            writer.join()
        assert [writer.exitcode for writer in writers] == [0] * NUM_WRITERS
        database = Database(f"sqlite:///{folder / 'tunesmith.db'}")
        report = verify(database, FolderBlobs(folder / "blobs"))
        database.close()
    assert (len(took), report.problems) == (NUM_WRITERS * NUM_COMMITS, ())
    return took


def _write(folder: Path, who: str, what: str, barrier: Barrier, said: Queue[list[float]]) -> None:
    database = Database(f"sqlite:///{folder / 'tunesmith.db'}")
    migrate(database, folder)
    work = {"commit": _commits, "step": _steps}[what](database, folder, who)
    took = []
    barrier.wait(60)
    for number in range(NUM_COMMITS):
        started = time.perf_counter()
        work(number)
        took.append(time.perf_counter() - started)
    said.put(took)
    database.close()


def _commits(database: Database, _folder: Path, who: str) -> Callable[[int], object]:
    def commit(number: int) -> None:
        with database.write() as connection:
            evidence.append(connection, "wrote", who, {"number": number})

    return commit


def _steps(database: Database, folder: Path, who: str) -> Callable[[int], object]:
    blobs = FolderBlobs(folder / "blobs")
    (folder / who).mkdir()
    executor = InlineExecutor(blobs, folder / who)
    runner = Runner(blobs=blobs, database=database, executor=executor, actor=who)

    def step(number: int) -> None:
        config = EchoConfig(name=who, text=f"{who} {number}", alias="newest")
        runner.run(Step(name=f"{who}:{number}", kind="echo@1", config=config))

    return step
