"""Logging and listing runs: our store beside MLflow's (SQLite), by the same calls in one process; a
section of `mlops.py`.

Each run is begun, gets 5 parameters and 10 metrics in one batch, and is ended: three calls, each of
which is on the disk when it returns. Then all runs are listed, page by page, with what was logged.
"""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_LOGGING_LEVEL"] = "ERROR"

PAGE = 1000
METRICS = [f"metric {number}" for number in range(10)]
PARAMS = [f"param {number}" for number in range(5)]


def ours(folder: Path) -> tuple[Callable[[int], None], Callable[[], list[Any]]]:
    """What logs one run, and what lists all."""
    from tunesmith.core.db import Database
    from tunesmith.core.migrations import migrate
    from tunesmith.core.tracked import find, runs

    database = Database(f"sqlite:///{folder / 'tunesmith.db'}")
    migrate(database, folder)
    with database.write() as connection:
        experiment = runs.create_experiment(connection, "bench")

    def log(number: int) -> None:
        id = uuid.uuid4().hex
        values = {
            "id": id,
            "experiment": experiment,
            "name": f"run {number}",
            "status": "RUNNING",
            "user": "bench",
            "started_ms": number,
        }
        with database.write() as connection:
            runs.start_run(connection, values)
        with database.write() as connection:
            runs.require_run(connection, id)
            runs.set_params(connection, id, {key: str(number) for key in PARAMS})
            points = [runs.Point(key, number / 7, 1, number) for key in METRICS]
            runs.add_points(connection, id, points)
        with database.write() as connection:
            runs.change_run(connection, id, status="FINISHED", ended_ms=number + 1)

    def listed() -> list[Any]:
        found: list[Any] = []
        while True:
            with database.read() as connection:
                page = find.find_runs(connection, [experiment], limit=PAGE, offset=len(found))
            found += page
            if len(page) < PAGE:
                return found

    return log, listed


def theirs(folder: Path) -> tuple[Callable[[int], None], Callable[[], list[Any]]]:
    """The same by MLflow's client on a SQLite file."""
    import mlflow
    from mlflow.entities import Metric, Param

    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.create_experiment("bench", artifact_location=(folder / "files").as_uri())

    def log(number: int) -> None:
        run = client.create_run(experiment, start_time=number, run_name=f"run {number}")
        client.log_batch(
            run.info.run_id,
            metrics=[Metric(key, number / 7, number, 1) for key in METRICS],
            params=[Param(key, str(number)) for key in PARAMS],
        )
        client.set_terminated(run.info.run_id, "FINISHED", number + 1)

    def listed() -> list[Any]:
        found: list[Any] = []
        token = None
        while True:
            page = client.search_runs([experiment], max_results=PAGE, page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    return log, listed


def measure(of: Callable[[Path], Any], num_runs: int) -> tuple[float, float]:
    """Seconds to log `num_runs`, and to list them (the best of two)."""
    with tempfile.TemporaryDirectory() as temporary:
        log, listed = of(Path(temporary))
        log(0)  # what is loaded and prepared once is not what is measured
        started = time.perf_counter()
        for number in range(1, num_runs):
            log(number)
        logging_s = time.perf_counter() - started
        times = []
        for _ in range(2):
            started = time.perf_counter()
            found = listed()
            times.append(time.perf_counter() - started)
            assert len(found) == num_runs
    return logging_s, min(times)
