"""A step is tried again when what made it fail passes, and never else; each try is on record."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest

from tunesmith import testing
from tunesmith.core import catalog
from tunesmith.core.errors import (
    ConfigError,
    DataError,
    PackageError,
    StepFailed,
    WorkerKilled,
)
from tunesmith.core.execute import SubprocessExecutor
from tunesmith.core.retry import is_passing, wait_s
from tunesmith.core.step import Step
from tunesmith.core.verify import verify
from tunesmith.stages.ingest.asking import FetchConfig
from tunesmith.testing import EchoConfig

REFUSED = """pip could not download six==1.16.0:
WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after \
connection broken by 'NewConnectionError(': Failed to establish a new connection: [Errno 111] \
Connection refused')': /simple/six/
ERROR: Could not find a version that satisfies the requirement six==1.16.0 (from versions: none)"""
NONE = """pip could not download six==99:
ERROR: Could not find a version that satisfies the requirement six==99 (from versions: 1.0, 1.16.0)
ERROR: No matching distribution found for six==99"""


@pytest.mark.parametrize(
    ("error", "kind", "expected"),
    [
        (WorkerKilled("SIGKILL"), "finetune@1", True),
        (StepFailed("exit code 1"), "finetune@1", False),
        (PackageError(REFUSED), "fetch@1", True),
        (PackageError("npm could not download a@1:\nnpm error code ETIMEDOUT"), "fetch@1", True),
        (PackageError(NONE), "fetch@1", False),
        (PackageError("six is not what was pinned"), "fetch@1", False),
        (DataError("Connection refused, says row 3"), "ingest@1", False),
        (DataError("after connection broken by"), "fetch@1", False),
        (ConfigError("base.x.origin", "ECONNREFUSED"), "fetch@1", False),
        (KeyboardInterrupt(), "fetch@1", False),
    ],
)
def test_what_passes(error, kind, expected):
    assert is_passing(error, kind) is expected


def test_each_wait_is_twice_as_long_up_to_a_limit():
    assert [wait_s(n, 0.5) for n in range(1, 5)] == [0.5, 1.0, 2.0, 4.0]
    assert wait_s(30, 1.0) == 300.0


def killing(runner, events, times: int) -> None:
    """Have the first `times` workers of a runner killed when they have begun."""
    left = [times]
    others = set(psutil.Process().children())

    def hear(event):
        events.append(event)
        if event.what == "progress" and event.note == "listening" and left[0]:
            left[0] -= 1
            for child in set(psutil.Process().children()) - others:
                child.send_signal(signal.SIGKILL)

    runner.on_event = hear


@pytest.fixture
def make_retrying(make_runner, tmp_path):
    def make(retries: int, kills: int):
        runner, events = make_runner(retries=lambda _step: retries, retry_wait_s=0.2)
        runner.executor = SubprocessExecutor(tmp_path / "blobs", tmp_path / "work")
        killing(runner, events, kills)
        return runner, events

    return make


def echo(**settings) -> Step:
    return Step(name="echo:x", kind="echo@1", config=EchoConfig(text="x", **settings))


def test_a_killed_worker_is_tried_again_and_each_try_has_its_cost(make_retrying):
    runner, events = make_retrying(retries=3, kills=2)
    started = time.monotonic()
    record = runner.run(echo(seconds=0.3))
    assert time.monotonic() - started > 0.2 + 0.4
    assert runner.blobs.get(record.text) == b"x"
    with runner.database.read() as connection:
        runs = catalog.all_runs(connection)
    assert [run.status for run in runs] == ["failed", "failed", "succeeded"]
    assert len({run.key for run in runs}) == 1
    assert all(run.usage["wall_s"] > 0 for run in runs)
    assert all("SIGKILL" in run.error for run in runs[:2])
    notes = [event.note for event in events if event.what == "retry"]
    assert [note.partition("; ")[2] for note in notes] == [
        "try 2 of 4 in 0.2 s",
        "try 3 of 4 in 0.4 s",
    ]
    assert verify(runner.database, runner.blobs).problems == ()


def test_tries_come_to_an_end(make_retrying):
    runner, _ = make_retrying(retries=1, kills=5)
    with pytest.raises(WorkerKilled, match="SIGKILL"):
        runner.run(echo(seconds=0.3))
    with runner.database.read() as connection:
        assert [run.status for run in catalog.all_runs(connection)] == ["failed", "failed"]


def test_an_index_that_does_not_answer_is_asked_again_by_the_real_pip(
    make_runner, monkeypatch, free_port
):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{free_port}/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    for variable in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(variable, raising=False)
    runner, events = make_runner(retries=lambda _step: 1, retry_wait_s=0.1)
    config = FetchConfig(origin="pypi:six==1.16.0", sha256="0" * 64)
    with pytest.raises(PackageError, match="could not download"):
        runner.run(Step(name="fetch:six", kind="fetch@1", config=config))
    with runner.database.read() as connection:
        assert [run.status for run in catalog.all_runs(connection)] == ["failed", "failed"]
    assert [event.what for event in events if event.what == "retry"] == ["retry"]


@pytest.mark.parametrize("retries", [0, 5])
def test_data_that_cannot_be_used_is_never_tried_again(make_retrying, retries):
    runner, events = make_retrying(retries=retries, kills=0)
    with pytest.raises(DataError, match="broken"):
        runner.run(echo(error="broken"))
    with runner.database.read() as connection:
        assert len(catalog.all_runs(connection)) == 1
    assert [event for event in events if event.what == "retry"] == []


def test_a_defect_is_never_tried_again(make_runner, monkeypatch):
    runner, _ = make_runner(retries=lambda _step: 5)
    monkeypatch.setattr(testing, "echo", lambda _config, _ctx: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        runner.run(echo())
    with runner.database.read() as connection:
        assert len(catalog.all_runs(connection)) == 1


def test_a_worker_whose_coordinator_is_gone_does_not_go_on(tmp_path):
    """It asks before its main part; if nobody answers it leaves, as it does when told to end."""
    import subprocess
    import sys

    from tunesmith.core.canonical import canonical_json
    from tunesmith.core.execute import Call

    call = Call(step="e", kind="echo@1", config={"seconds": 60.0}, inputs={}, seed=0, identity={})
    request = canonical_json(
        {"blobs": str(tmp_path / "b"), "work": str(tmp_path / "w"), "project": None, "hosts": [],
         "call": call}
    )  # fmt: skip
    worker = subprocess.Popen(
        [sys.executable, "-P", "-m", "tunesmith.core.execute"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=dict(os.environ),
    )
    said, _ = worker.communicate(request + b"\n", timeout=60)
    assert worker.returncode == 143
    assert b"forecast" in said
    assert list((tmp_path / "w").iterdir()) == []
