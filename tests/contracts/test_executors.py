"""Every executor obeys the same laws."""

from __future__ import annotations

import threading
import time

import psutil
import pytest

from tunesmith.core import errors, execute
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


@pytest.mark.parametrize("name", ["UsageError", "NotFound", "StoreFull", "ConfigError", "Unknown"])
def test_an_error_comes_back_as_itself(name):
    """So that the exit code is the same in either executor."""
    error = execute.rebuilt(name, "what", "how")
    expected = getattr(errors, name, StepFailed)
    assert type(error) is expected
    assert str(error) == "what\n  -> how"
    assert error.exit_code == expected.exit_code


def test_what_lies_in_the_folder_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('hijacked')")
    monkeypatch.chdir(tmp_path)
    blobs = FolderBlobs(tmp_path / "blobs")
    check_executor(SubprocessExecutor(tmp_path / "blobs", tmp_path / "work"), blobs)


def test_a_killed_worker_is_reported(tmp_path):
    others = psutil.Process().children()  # a database of other tests may be one

    def kill(_done, _total, _note):
        time.sleep(0.05)
        for child in set(psutil.Process().children()) - set(others):
            child.kill()

    listener = Listener(
        progress=lambda *said: threading.Thread(target=kill, args=said).start(),
        metric=lambda *_: None,
        forecast=lambda _: None,
    )
    call = Call(
        step="echo:x", kind="echo@1", config={"seconds": 30.0}, inputs={}, seed=0, identity={}
    )
    with pytest.raises(StepFailed, match="SIGKILL"):
        SubprocessExecutor(tmp_path / "blobs", tmp_path / "work").execute(call, listener)
