from __future__ import annotations

import itertools
import subprocess
import sys
import time
from typing import Any

import psutil
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


def test_the_memory_of_a_child_counts() -> None:
    with Meter() as meter:
        child = subprocess.Popen(
            [sys.executable, "-c", "held = b'x' * 300_000_000; print('held', flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        child.stdout.readline()
        for _ in range(1200):  # its being there shows at the next look for children
            if meter.read().peak_bytes > 300_000_000:
                break
            time.sleep(0.05)
        child.communicate("\n")
    assert meter.usage.peak_bytes > 300_000_000


def test_measuring_takes_next_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """All processes of the machine are looked through, however often memory is sampled, only as
    often as a hundredth of a core allows."""
    lookups: list[float] = []

    def slow(*_: Any, **__: Any) -> list[Any]:
        lookups.append(time.monotonic())
        time.sleep(0.005)
        return []

    monkeypatch.setattr(psutil.Process, "children", slow)
    with Meter(interval_s=0.001):
        while len(lookups) < 4:
            time.sleep(0.01)
    gaps = [after - before for before, after in itertools.pairwise(lookups[:4])]
    # the first is of the processor time at the beginning
    assert min(gaps[1:]) > 0.4


def test_what_is_followed_is_not_charged_for_others() -> None:
    """This process has another child, which has used a second of a processor before."""
    burn = "import time\nwhile time.process_time() < 1: pass\nprint('done', flush=True)\ninput()"
    with (
        subprocess.Popen(
            [sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other,
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as followed,
    ):
        assert other.stdout is not None
        other.stdout.readline()
        with Meter(interval_s=0.001) as meter:
            time.sleep(0.05)
            meter.follow(followed.pid)
            time.sleep(0.05)
        for each in (other, followed):
            each.communicate(b"\n")
    assert meter.usage.cpu_s < 0.7
