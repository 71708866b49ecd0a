"""kill -9 at every fail-point, then a restart: it converges, and nothing is half there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tunesmith
from tunesmith.core import catalog, evidence
from tunesmith.core.ref import Blob, find
from tunesmith.core.verify import verify

RUN = """
import sys
from pathlib import Path
from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.db import Database
from tunesmith.core.execute import InlineExecutor, sweep
from tunesmith.core.migrations import migrate
from tunesmith.core.runner import Runner
from tunesmith.core.step import Step
from tunesmith.testing import EchoConfig

folder = Path(sys.argv[1])
database = Database(f"sqlite:///{folder / 'tunesmith.db'}")
migrate(database, folder)
blobs = FolderBlobs(folder / "blobs")
blobs.sweep()
sweep(folder / "work")
runner = Runner(
    blobs=blobs,
    database=database,
    executor=InlineExecutor(blobs, folder / "work"),
    actor="tester",
)
one = Step(name="one", kind="echo@1", config=EchoConfig(name="one", text="1", alias="best"))
two = Step(name="two", kind="echo@1", config=EchoConfig(text="2"), inputs={"one": one})
print(runner.blobs.get(runner.run(two).text).decode())
"""

SOURCE = Path(tunesmith.__file__).parent
FAILPOINTS = sorted(
    {
        name
        for path in [*SOURCE.glob("core/**/*.py"), SOURCE / "testing.py"]
        for name in re.findall(r'failpoint\("([\w.-]+)"\)', path.read_text())
        if not name.startswith(("gc.", "backup.", "restore."))  # test_quarantine.py, test_backup.py
    }
)


def run(folder: Path, failpoint: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ}
    if failpoint:
        environment["TUNESMITH_FAILPOINT"] = failpoint
    return subprocess.run(
        [sys.executable, "-c", RUN, str(folder)], capture_output=True, text=True, env=environment
    )


def test_the_list_is_not_empty():
    assert len(FAILPOINTS) >= 8


@pytest.mark.parametrize("hit", [1, 2])
@pytest.mark.parametrize("name", FAILPOINTS)
def test_kill_and_restart_converges(tmp_path, make_runner, name, hit):
    killed = run(tmp_path, f"{name}:{hit}")
    assert killed.returncode in (-9, 0), killed.stderr
    if hit == 1:
        assert killed.returncode == -9, f"{name} was never reached"
    again = run(tmp_path)
    assert (again.returncode, again.stdout) == (0, "12\n"), again.stderr

    runner, _ = make_runner()
    assert runner.sweep() == []
    with runner.database.read() as connection:
        runs = catalog.all_runs(connection)
        log = list(evidence.entries(connection))
        alias = catalog.current_alias(connection, "echo", "one", "best")
        needed = [blob for r in runs for blob in catalog.run_blobs(connection, r.id)]
    assert list(evidence.broken_links(iter(log))) == []
    assert {r.status for r in runs} <= {"succeeded", "interrupted"}
    succeeded = [r for r in runs if r.status == "succeeded"]
    assert [r.step for r in succeeded] == ["one", "two"], "each result was published once"
    assert alias is not None
    assert succeeded[0].output is not None
    assert alias.digest == succeeded[0].output.sha256
    finished = [e.body["run"] for e in log if e.what == "run.finished"]
    assert finished == [r.id for r in succeeded], "evidence and result are one transaction"
    for blob in needed:
        runner.blobs.check(blob, deep=True)
    assert verify(runner.database, runner.blobs).problems == ()
    assert list((tmp_path / "work").iterdir()) == [], "nothing is left of the killed process"
    assert list((tmp_path / "blobs" / "incoming").iterdir()) == []
    assert list(find(succeeded, Blob))
