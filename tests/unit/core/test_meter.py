from __future__ import annotations

import subprocess
import sys

import pytest

from tunesmith.core.meter import Meter

BUSY = """
import time
start = time.process_time()
while time.process_time() - start < 0.5:
    pass
print("done", flush=True)
input()
"""


def test_a_child_counts_while_it_runs_and_only_once() -> None:
    """A worker's cost must be known before it has ended: a budget is held against it."""
    with Meter() as meter:
        child = subprocess.Popen(
            [sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        child.stdout.readline()
        running = meter.read().cpu_s
        child.communicate("\n")
    assert 0.5 <= running <= meter.usage.cpu_s
    assert meter.usage.cpu_s == pytest.approx(running, abs=0.2)
