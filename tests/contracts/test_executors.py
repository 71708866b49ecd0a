"""Every executor obeys the same laws."""

from __future__ import annotations

import os
import signal
import threading
import time

import psutil
import pytest

from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.errors import StepFailed
from tunesmith.core.execute import Call, InlineExecutor, Listener, SubprocessExecutor
from tunesmith.testing import check_executor


@pytest.mark.parametrize("name", ["inline", "subprocess"])
def test_executors(tmp_path, name):
    blobs = FolderBlobs(tmp_path / "blobs")
    work = tmp_path / "work"
    executor = (
        InlineExecutor(blobs, work)
        if name == "inline"
        else SubprocessExecutor(tmp_path / "blobs", work)
    )
    check_executor(executor, blobs)
    assert list((tmp_path / "work").iterdir()) == []


def test_a_killed_worker_is_reported(tmp_path):
    def kill(_done, _total, _note):
        time.sleep(0.05)
        for child in psutil.Process().children():
            os.kill(child.pid, signal.SIGKILL)

    listener = Listener(
        progress=lambda *said: threading.Thread(target=kill, args=said).start(),
        metric=lambda *_: None,
        forecast=lambda _: None,
    )
    call = Call(kind="echo@1", config={"seconds": 30.0}, inputs={}, seed=0)
    with pytest.raises(StepFailed, match="SIGKILL"):
        SubprocessExecutor(tmp_path / "blobs", tmp_path / "work").execute(call, listener)
