"""What a run used: seconds, bytes, joules. Measurements only; prices are the ledger's."""

from __future__ import annotations

import contextlib
import dataclasses
import resource
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Literal

import psutil

RAPL = Path("/sys/class/powercap")
ESTIMATED_WATTS_PER_CORE = 15.0
"""Package power of one busy laptop core, used where the machine has no energy counter."""
SHARE_FOR_CHILDREN = 0.01
"""Of one core, at most, for finding the process's children: it means reading who is whose child of
all processes of the machine, and what is measured must not be slowed down by that."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What one run used."""

    wall_s: float
    cpu_s: float
    """User and system seconds of this process and its children, over all threads."""
    peak_bytes: int
    """Highest resident set seen (sampled every 50 ms), of this process and its children; one that
    lived for less than a fifth of a second, or a second where many processes run, may be missed."""
    joules: float
    joules_method: Literal["measured", "estimated"]
    """"measured": RAPL package counters; "estimated": CPU seconds times a wattage."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What a run is expected to use, said before its main part starts."""

    wall_s: float
    low_s: float
    """In nine runs of ten, `wall_s` is between this..."""
    high_s: float
    """... and this; what depends on it (`cpu_s`, `joules`) goes with it in proportion."""
    cpu_s: float
    peak_bytes: int
    joules: float
    basis: str
    """How it was arrived at, for people."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """A rough idea of what a run would use, from its size alone."""

    wall_s: float
    cpu_s: float
    joules: float
    basis: str
    """How it was arrived at, for people."""


class Meter:
    """Measures the block that it surrounds: `with Meter() as meter: ...; meter.usage`."""

    usage: Usage
    """What the block used; until it ends, nothing."""

    def __init__(self, *, interval_s: float = 0.05) -> None:
        self.usage = Usage(
            wall_s=0.0, cpu_s=0.0, peak_bytes=0, joules=0.0, joules_method="estimated"
        )
        self._interval_s = interval_s
        self._process = psutil.Process()
        self._followed: psutil.Process | None = None
        self._followed_cpu_s = 0.0
        self._stop = threading.Event()
        self._peak = 0
        self._children: list[psutil.Process] = []
        self._lock = threading.Lock()
        """Held where it is said whose children they are."""
        self._children_until = 0.0
        """When they are to be looked up again."""
        self._thread = threading.Thread(target=self._sample, name="meter", daemon=True)

    def __enter__(self) -> Meter:
        self._wall = time.monotonic()
        self._cpu = _cpu_seconds()
        self._energy = _rapl_microjoules()
        self._look()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.usage = self.read()

    def follow(self, pid: int) -> None:
        """Measure that child and its own children alone: this process does other things, too.

        Called once more when it has ended, before it is waited for, nothing of it is missed. Its
        energy is estimated: a counter of the machine's counts the other things as well.
        """
        if self._followed is None:
            with self._lock:
                self._followed = self._process = psutil.Process(pid)
                self._children = []  # those of this process are none of that one's
                self._children_until = 0.0
                self._peak = 0
        self._follow_on()

    def resident(self) -> int:
        """Bytes that are held now."""
        return self._resident()

    def read(self) -> Usage:
        """The usage up to now."""
        self._look()
        wall_s = time.monotonic() - self._wall
        if self._followed is not None:
            cpu_s = self._follow_on()
            joules, method = _joules([], cpu_s)
        else:
            cpu_s = _cpu_seconds() - self._cpu
            joules, method = _joules(self._energy, cpu_s)
        return Usage(
            wall_s=round(wall_s, 4),
            cpu_s=round(cpu_s, 4),
            peak_bytes=self._peak,
            joules=round(joules, 2),
            joules_method=method,
        )

    def _sample(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._look()
            if self._followed is not None:
                self._follow_on()

    def _look(self) -> None:
        """See how much is held now, and whether that is the most."""
        of = self._process
        held = self._resident()
        with self._lock:
            if of is self._process:  # no other is followed meanwhile
                self._peak = max(self._peak, held)

    def _follow_on(self) -> float:
        """The CPU seconds of what is followed, as they were last seen."""
        assert self._followed is not None
        with contextlib.suppress(psutil.Error):  # it is gone for good
            # Of one that has ended and was not waited for the system still knows them.
            used = sum(self._followed.cpu_times()[:4])
            for child in self._children:
                with contextlib.suppress(psutil.Error):
                    used += sum(child.cpu_times()[:4])
            self._followed_cpu_s = max(self._followed_cpu_s, used)
        return self._followed_cpu_s

    def _resident(self) -> int:
        now = time.monotonic()
        total = 0
        with contextlib.suppress(psutil.Error):  # what is followed has ended
            if now >= self._children_until:
                of = self._process
                children = of.children(recursive=True)
                took_s = time.monotonic() - now
                with self._lock:
                    if of is self._process:  # no other is followed meanwhile
                        self._children = children
                        self._children_until = now + took_s / SHARE_FOR_CHILDREN
            total = int(self._process.memory_info().rss)
        for child in self._children:
            try:
                total += int(child.memory_info().rss)
            except psutil.Error:  # it ended since they were listed
                continue
        return total


def estimate_joules(cpu_s: float) -> float:
    """Energy of `cpu_s` busy CPU seconds on a machine without an energy counter."""
    return cpu_s * ESTIMATED_WATTS_PER_CORE


def _cpu_seconds() -> float:
    """Of this process and of its children, also of those that still run."""
    # `os.times` counts in hundredths, and many a step takes less.
    used = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    total = sum(each.ru_utime + each.ru_stime for each in used)
    for child in psutil.Process().children(recursive=True):
        try:
            its = child.cpu_times()
        except psutil.Error:  # it ended between the listing and the reading
            continue
        total += its.user + its.system + its.children_user + its.children_system
    return total


def _joules(
    before: list[tuple[int, int]], cpu_s: float
) -> tuple[float, Literal["measured", "estimated"]]:
    after = _rapl_microjoules()
    if not before or len(before) != len(after):
        return estimate_joules(cpu_s), "estimated"
    used = 0
    for (start, limit), (end, _) in zip(before, after, strict=True):
        used += end - start if end >= start else end - start + limit  # the counter wraps
    return used / 1e6, "measured"


def _rapl_microjoules() -> list[tuple[int, int]]:
    """(energy, wrap limit) of each package counter; empty where there are none we may read."""
    counters = []
    for zone in sorted(RAPL.glob("intel-rapl:?")):
        try:
            energy = int((zone / "energy_uj").read_text())
            limit = int((zone / "max_energy_range_uj").read_text())
        except (OSError, ValueError):
            return []
        counters.append((energy, limit))
    return counters
