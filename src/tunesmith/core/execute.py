"""How a step's function is called: in this process, or in one of its own.

A worker gets digests and returns a digest; blobs it puts itself, the database it never sees. Only
the coordinator (`core/runner.py`) writes to the database.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tunesmith.core import errors
from tunesmith.core.blobs import Blobs, FolderBlobs, room_for
from tunesmith.core.canonical import canonical_json, fingerprint, parse
from tunesmith.core.errors import StepFailed, TunesmithError, WorkerKilled
from tunesmith.core.kinds import kind, resolve
from tunesmith.core.meter import Forecast
from tunesmith.core.owner import is_gone, owner
from tunesmith.core.ref import Blob, from_plain, to_plain
from tunesmith.core.step import Context, Progress


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """A record that a step is given: its type ("module:Record") and the blob that holds it."""

    type: str
    blob: Blob


def all_given(inputs: Mapping[str, Given | tuple[Given, ...]]) -> Iterator[Given]:
    """Every record among what a step is given."""
    for value in inputs.values():
        yield from value if isinstance(value, tuple) else (value,)


def digests_of(value: Given | tuple[Given, ...]) -> list[str]:
    """The digests of what one input is."""
    return [each.blob.sha256 for each in all_given({"": value})]


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One call of a step's function, as JSON can carry it."""

    step: str
    kind: str
    config: Mapping[str, Any]
    inputs: Mapping[str, Given | tuple[Given, ...]]
    seed: int
    identity: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Listener:
    """Who hears of a step while it runs."""

    progress: Progress
    metric: Callable[[str, float, int], None]
    forecast: Callable[[Forecast], None]
    """The step goes on when this returns."""
    process: Callable[[int], None] = lambda _pid: None
    """The step is in a process of its own, of this id; and once more when that has ended, before it
    is waited for."""


CACHE = "cache"
"""The folder that all steps share, inside the one where they work."""
SECONDS_TO_END = 10.0
"""How long a worker has to end when it is told to, before it is killed."""
KILLED = frozenset({signal.SIGKILL, signal.SIGHUP})
"""Signals that others end a worker by. One that it dies of by itself, like SIGSEGV, is a defect."""
CACHED_S = 30 * 24 * 3600.0
"""How long what is in it is kept after it was last written, or used where its readers say so."""


class Executor(Protocol):
    """Calls the function of a step somewhere and returns the record as JSON types."""

    def execute(self, call: Call, listener: Listener) -> Any:
        """Run `call`; the step's own errors pass through.

        Raises:
            StepFailed: the step failed in another process.
        """
        ...

    def forget(self, step: str) -> None:
        """Remove what attempts at `step` have kept for one another."""
        ...

    def stop(self) -> None:
        """Have the calls that other threads wait for end, and begin no other."""
        ...


class InlineExecutor:
    """Calls the function in this process; `work` is where steps get their private folders,
    `project` the folder that local files are relative to, and `hosts` what they may reach."""

    def __init__(
        self, blobs: Blobs, work: Path, project: Path | None = None, hosts: tuple[str, ...] = ()
    ) -> None:
        self._blobs = blobs
        self._work = work
        self._project = project
        self._hosts = hosts

    def execute(self, call: Call, listener: Listener) -> Any:
        """Run `call` here."""
        return perform(call, self._blobs, self._work, listener, self._project, self._hosts)

    def forget(self, step: str) -> None:
        """Remove what attempts at `step` have kept."""
        shutil.rmtree(kept(self._work, step), ignore_errors=True)

    def stop(self) -> None:
        """Nothing: a call here is in the thread that made it, and ends with it."""


class SubprocessExecutor:
    """Calls the function in a new process: its memory is its own, and it can be killed alone.

    The worker opens the folder of blobs by itself. Without an `environment` it has this process's.
    `python` are the words that start it; without them it is this process's interpreter.
    Of several side by side each is to use its share of the processors: `threads` each, or all of
    them if it is 0.
    """

    def __init__(
        self,
        blobs: Path,
        work: Path,
        project: Path | None = None,
        hosts: tuple[str, ...] = (),
        *,
        environment: Mapping[str, str] | None = None,
        # -P: what lies in the current folder is data, not code.
        python: Sequence[str] = (sys.executable, "-P"),
        threads: int = 0,
    ) -> None:
        self._blobs = blobs
        self._work = work
        self._project = project
        self._hosts = hosts
        self._environment = environment
        self._python = python
        self._threads = {"OMP_NUM_THREADS": str(threads)} if threads else {}
        self._running: set[subprocess.Popen[bytes]] = set()
        self._is_stopped = False

    def execute(self, call: Call, listener: Listener) -> Any:
        """Run `call` in `python -m tunesmith.core.execute`."""
        given = os.environ if self._environment is None else self._environment
        where = {
            "blobs": str(self._blobs),
            "work": str(self._work),
            "project": str(self._project) if self._project else None,
            "hosts": self._hosts,
        }
        request = canonical_json({**where, "call": call}) + b"\n"
        with tempfile.TemporaryFile() as words:
            process = subprocess.Popen(  # noqa: S603  # no shell, and no word that is not ours
                [*self._python, "-m", "tunesmith.core.execute"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                env={**self._threads, **given},  # who set it himself is heard
                start_new_session=True,  # so that what the worker starts ends with it
            )
            self._running.add(process)
            try:
                if self._is_stopped:
                    process.terminate()
                listener.process(process.pid)
                outcome = _converse(process, request, listener)
                if hasattr(os, "waitid"):  # not on macOS, where its last moments go uncounted
                    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
                listener.process(process.pid)
                process.wait()
            finally:
                self._running.discard(process)
                _end(process)
            if outcome is None:
                words.seek(0)
                failed = WorkerKilled if -process.returncode in KILLED else StepFailed
                raise failed(_last_words(call, process.returncode, words.read()))
        if "error" in outcome:
            raise rebuilt(outcome["error"], outcome["message"], outcome["remedy"])
        return outcome["record"]

    def forget(self, step: str) -> None:
        """Remove what attempts at `step` have kept."""
        shutil.rmtree(kept(self._work, step), ignore_errors=True)

    def stop(self) -> None:
        """Tell every worker to end, and kill those that do not."""
        self._is_stopped = True
        until = time.monotonic() + SECONDS_TO_END
        running = list(self._running)
        for process in running:
            process.terminate()
        while any(process in self._running for process in running):
            if time.monotonic() > until:
                for process in running:
                    process.kill()
                return
            time.sleep(0.05)


def kept(work: Path, step: str) -> Path:
    """The folder that outlives the attempts at `step`; another terminal finds it by this, too."""
    return work / f"kept-{fingerprint(step)[:16]}"


def perform(
    call: Call,
    blobs: Blobs,
    work: Path,
    listener: Listener,
    project: Path | None = None,
    hosts: tuple[str, ...] = (),
) -> Any:
    """Load what `call` is given, run its function in a private folder, return the record.

    Raises:
        StoreFull: no space for what the step writes.
    """
    of = kind(call.kind)
    workdir = None
    keep = kept(work, call.step)
    try:
        with room_for(f"what {call.kind} writes in {work}"):
            work.mkdir(exist_ok=True)
            keep.mkdir(exist_ok=True, mode=0o700)
            workdir = Path(tempfile.mkdtemp(dir=work, prefix=f"{owner()}."))
            context = Context(
                blobs=blobs,
                seed=call.seed,
                workdir=workdir,
                keep=keep,
                cache=work / CACHE,
                project=project,
                hosts=hosts,
                identity=call.identity,
                progress=listener.progress,
                metric=listener.metric,
                forecast=listener.forecast,
            )
            config = resolve(of.config).model_validate(call.config)
            inputs = {name: _load(given, blobs) for name, given in call.inputs.items()}
            return to_plain(resolve(of.function)(config, context, **inputs))
    finally:
        if workdir is not None:
            shutil.rmtree(workdir, ignore_errors=True)
        with contextlib.suppress(OSError):  # there is something in it
            keep.rmdir()


def sweep(work: Path) -> None:
    """Remove the private folders of processes that have ended, and what lies in the cache since
    long ago."""
    for path in work.iterdir() if work.is_dir() else ():
        if is_gone(path.name.rpartition(".")[0]):
            shutil.rmtree(path, ignore_errors=True)
    for path in (work / CACHE).iterdir() if (work / CACHE).is_dir() else ():
        with contextlib.suppress(FileNotFoundError):  # another process sweeps, too
            if time.time() - path.stat().st_mtime > CACHED_S:
                path.unlink()


def rebuilt(name: str, message: str, remedy: str) -> TunesmithError:
    """A worker's error as itself, so that it has the same exit code in either executor."""
    found = getattr(errors, name, StepFailed)
    error: TunesmithError = found.__new__(found)
    TunesmithError.__init__(error, message, remedy=remedy)
    return error


def _load(given: Given | tuple[Given, ...], blobs: Blobs) -> Any:
    if isinstance(given, tuple):
        return tuple(_load(each, blobs) for each in given)
    return from_plain(resolve(given.type), parse(blobs.get(given.blob)))


def _converse(
    process: subprocess.Popen[bytes], request: bytes, listener: Listener
) -> dict[str, Any] | None:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # it died at once; its words follow
        process.stdin.write(request)
        process.stdin.flush()
    for line in process.stdout:
        message = json.loads(line)
        match message:
            case {"progress": [done, total, note]}:
                listener.progress(done, total, note)
            case {"metric": [name, value, step]}:
                listener.metric(name, value, step)
            case {"forecast": forecast}:
                listener.forecast(Forecast(**forecast))
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write(b"\n")  # go on
                    process.stdin.flush()
            case _:
                return dict(message)
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=SECONDS_TO_END)
    with contextlib.suppress(ProcessLookupError):  # and whatever it had started
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):  # what it was told last it never read
                pipe.close()


def _last_words(call: Call, code: int, words: bytes) -> str:
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    tail = words.decode(errors="replace").strip().splitlines()[-5:]
    return "\n  ".join([f"the process of {call.kind} ended with {how}", *tail])


def main() -> None:
    """The worker: a call on standard input, messages on standard output, a line each."""
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(143))  # so that it cleans up
    # What it starts must not read what is said to it.
    asked = os.fdopen(os.dup(0), "rb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    request = parse(asked.readline())
    call = from_plain(Call, request["call"])
    # What libraries print must not end up between the messages.
    messages = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(message: Any) -> None:
        messages.write(json.dumps(message) + "\n")

    def say_forecast(forecast: Forecast) -> None:
        say({"forecast": to_plain(forecast)})
        if not asked.readline():  # who would tell it to go on is gone
            sys.exit(143)

    listener = Listener(
        progress=lambda done, total, note: say({"progress": [done, total, note]}),
        metric=lambda name, value, step: say({"metric": [name, value, step]}),
        forecast=say_forecast,
    )
    try:
        blobs = FolderBlobs(Path(request["blobs"]))
        project = Path(request["project"]) if request["project"] else None
        work, hosts = Path(request["work"]), tuple(request["hosts"])
        say({"record": perform(call, blobs, work, listener, project, hosts)})
    except TunesmithError as error:
        say({"error": type(error).__name__, "message": error.message, "remedy": error.remedy})


if __name__ == "__main__":
    main()
