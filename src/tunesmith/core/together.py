"""Steps side by side: at most so many at once, and no more than the memory holds.

Each task is a thread that mostly waits: for its inputs, for its turn, for its worker. The work is
done in processes of their own. With one job there are no threads: everything is done in order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil

from tunesmith.core.errors import NotBegun, StepStoreError, Stopped, StoreError, StoreLocked

CGROUP = Path("/sys/fs/cgroup")
LOOK_EVERY_S = 1.0
"""How often free memory is looked at while a step waits for some: others take and give it, too."""
_BUSY = "all jobs are taken"
"""Why most steps wait most of the time; it is not worth a line."""
Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


def free_bytes(group: Path = CGROUP) -> int:
    """Memory that may still be taken, of the machine and of the container that this runs in."""
    free = int(psutil.virtual_memory().available)
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        cached = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return free
    if limit == "max":
        return free
    return min(free, int(limit) - used + int(cached.get("inactive_file", 0)))


@dataclass(kw_only=True, eq=False)
class Turn:
    """A step that may run now."""

    step: str
    loads_weights: bool = False
    """Whether it needs so much memory that it is asked for first."""
    needs: int | None = None
    """Bytes at its peak, as far as is known."""
    held: Callable[[], int] = lambda: 0
    """Bytes that it holds now, which are no longer free."""

    def outstanding(self) -> int:
        """Bytes that it has still to take."""
        return max(0, (self.needs or 0) - self.held())


@dataclass(kw_only=True)
class Together:
    """Who may run now. `on_stop` has those end that run, when everything is to end at once."""

    jobs: int = 1
    free: Callable[[], int] = free_bytes
    on_stop: Callable[[], None] = lambda: None
    is_stopped: bool = False
    """Somebody stopped the run: what fails now was stopped, too."""
    is_settling: bool = False
    """What fails stops what needs it, and nothing else."""
    _has_failed: bool = False
    _depth: int = 0
    _turns: list[Turn] = field(default_factory=list)
    _largest: int = 0
    """The largest need that was heard of: what is assumed of a step of which nothing is known."""
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def each(self, tasks: Mapping[Key, Callable[[], Result]]) -> dict[Key, Result]:
        """What each task returns. The first that fails is raised when those that run have ended;
        nothing else is begun then, unless all are being settled."""
        done, errors = self._all(tasks)
        if errors:  # what failed, before what was not begun because of it
            raise min(errors.values(), key=lambda error: isinstance(error, NotBegun))
        return {key: done[key] for key in tasks}

    def settle(
        self, tasks: Mapping[Key, Callable[[], Result]]
    ) -> tuple[dict[Key, Result], dict[Key, BaseException]]:
        """What each task returns, and what those raised that failed, the first one first.

        One that fails keeps nothing else from its turn, in its own task either, unless what failed
        concerns them all.
        """
        self.is_settling = True
        try:
            return self._all(tasks)
        finally:
            self.is_settling = False

    def goes_past(self, error: BaseException) -> bool:
        """Whether steps are still begun after one failed with `error`."""
        return self.is_settling and not concerns_all(error)

    def _all(
        self, tasks: Mapping[Key, Callable[[], Result]]
    ) -> tuple[dict[Key, Result], dict[Key, BaseException]]:
        done: dict[Key, Result] = {}
        errors: dict[Key, BaseException] = {}
        if self.jobs == 1 or len(tasks) < 2:
            for key, task in tasks.items():
                try:
                    done[key] = task()
                except Exception as error:
                    errors[key] = error
                    if not self.goes_past(error):
                        break
            return done, errors

        def do(key: Key, task: Callable[[], Result]) -> None:
            try:
                done[key] = task()
            except BaseException as error:
                if not self.goes_past(error):
                    self._fail()
                errors[key] = error

        threads = [threading.Thread(target=do, args=task, daemon=True) for task in tasks.items()]
        with self._nested():
            try:
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            except BaseException:  # a signal, which the main thread alone is sent
                self.stop()
                for thread in threads:
                    if thread.ident is not None:
                        thread.join()
                raise
        return done, errors

    def stop(self) -> None:
        """Let nothing more begin, and have what runs end."""
        with self._changed:
            self.is_stopped = True
            self._changed.notify_all()
        self.on_stop()

    @contextmanager
    def turn(self, turn: Turn, on_wait: Callable[[str], None]) -> Iterator[Turn]:
        """Wait until `turn` has come, and have it until this ends.

        Raises:
            NotBegun: it never comes.
        """
        with self._changed:
            self._wait(lambda: self._why_not_begin(turn), on_wait)
            self._turns.append(turn)
        try:
            yield turn
        finally:
            with self._changed:
                self._turns.remove(turn)
                self._changed.notify_all()

    def need(self, turn: Turn, num_bytes: int, on_wait: Callable[[str], None]) -> None:
        """A step that has its turn found out what its main part takes: wait until that is free.

        Nobody waits for one whose turn came later, so not everybody can wait.
        """
        with self._changed:
            turn.needs = num_bytes
            self._largest = max(self._largest, num_bytes)
            self._changed.notify_all()
            if turn.loads_weights and self._why_not_go_on(turn):
                self._wait(lambda: self._why_not_go_on(turn), on_wait)

    def running(self) -> list[str]:
        """The steps that have their turn."""
        with self._changed:
            return [turn.step for turn in self._turns]

    def pause(self, seconds: float) -> None:
        """Wait for so long.

        Raises:
            NotBegun: somebody stopped the run meanwhile, or another step failed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.is_stopped or self._has_failed, seconds)
            self._require_going_on()

    def _wait(self, why_not: Callable[[], str], on_wait: Callable[[str], None]) -> None:
        while True:
            self._require_going_on()
            why = why_not()
            if not why:
                return
            if why != _BUSY:
                on_wait(why)
            self._changed.wait(LOOK_EVERY_S)

    def _require_going_on(self) -> None:
        if self.is_stopped or self._has_failed:
            raise NotBegun("nothing more is begun", remedy="run the same command again to go on")

    def _why_not_begin(self, turn: Turn) -> str:
        if self.jobs > 1 and len(self._turns) >= self.jobs:
            return _BUSY
        if self.jobs == 1 or not turn.loads_weights:
            return ""
        others = [each for each in self._turns if each.loads_weights]
        needs = turn.needs or self._largest
        if not others:
            return ""
        if not needs or any(each.needs is None for each in others):
            return f"for {others[0].step}: how much memory both need is not known yet"
        return self._why_no_room(needs, others)

    def _why_not_go_on(self, turn: Turn) -> str:
        others = [each for each in self._turns if each.loads_weights and each is not turn]
        if not any(self._turns.index(each) < self._turns.index(turn) for each in others):
            return ""
        return self._why_no_room(turn.outstanding(), others)

    def _why_no_room(self, num_bytes: int, others: list[Turn]) -> str:
        free = self.free() - sum(each.outstanding() for each in others)
        if num_bytes <= free:
            return ""
        return f"for memory: {num_bytes / 1e9:.1f} GB are needed, {max(free, 0) / 1e9:.1f} are free"

    def _fail(self) -> None:
        with self._changed:
            self._has_failed = True
            self._changed.notify_all()

    @contextmanager
    def _nested(self) -> Iterator[None]:
        """What failed is forgotten when all have ended: who asked may go on with something else."""
        with self._changed:
            self._depth += 1
        try:
            yield
        finally:
            with self._changed:
                self._depth -= 1
                if not self._depth:
                    self._has_failed = False


def concerns_all(error: BaseException) -> bool:
    """Whether the next step would meet the same, or somebody wants no next one."""
    if isinstance(error, StepStoreError):
        return False
    return isinstance(error, Stopped | StoreError | StoreLocked) or not isinstance(error, Exception)
