"""How a step's function is called: in this process, or in one of its own.

A worker gets digests and returns a digest; blobs it puts itself, the database it never sees. Only
the coordinator (`core/runner.py`) writes to the database.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.canonical import canonical_json, parse
from tunesmith.core.errors import StepFailed, TunesmithError
from tunesmith.core.kinds import kind, resolve
from tunesmith.core.meter import Forecast
from tunesmith.core.ref import Blob, from_plain, to_plain
from tunesmith.core.step import Context


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """A record that a step is given: its type ("module:Record") and the blob that holds it."""

    type: str
    blob: Blob


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One call of a step's function, as JSON can carry it."""

    kind: str
    config: Mapping[str, Any]
    inputs: Mapping[str, Given | tuple[Given, ...]]
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Listener:
    """Who hears of a step while it runs."""

    progress: Callable[[float, float, str], None]
    metric: Callable[[str, float, int], None]
    forecast: Callable[[Forecast], None]


class Executor(Protocol):
    """Calls the function of a step somewhere and returns the record as JSON types."""

    def execute(self, call: Call, listener: Listener) -> Any:
        """Run `call`; the step's own errors pass through.

        Raises:
            StepFailed: the step failed in another process.
        """
        ...


class InlineExecutor:
    """Calls the function in this process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def execute(self, call: Call, listener: Listener) -> Any:
        """Run `call` here."""
        return perform(call, self._folder, listener)


class SubprocessExecutor:
    """Calls the function in a new process: its memory is its own, and it can be killed alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def execute(self, call: Call, listener: Listener) -> Any:
        """Run `call` in `python -m tunesmith.core.execute`."""
        request = canonical_json({"folder": str(self._folder), "call": call})
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "tunesmith.core.execute"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
            try:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(request)
                process.stdin.close()
                outcome = _listen(process.stdout, listener)
                process.wait()
            finally:
                _end(process)
            if outcome is None:
                errors.seek(0)
                raise StepFailed(_last_words(call, process.returncode, errors.read()))
        if "error" in outcome:
            raise StepFailed(outcome["error"], remedy=outcome["remedy"])
        return outcome["record"]


def perform(call: Call, folder: Path, listener: Listener) -> Any:
    """Load what `call` is given, run its function in a private folder, return the record."""
    of = kind(call.kind)
    blobs = FolderBlobs(folder / "blobs")
    work = folder / "work"
    work.mkdir(exist_ok=True)
    workdir = Path(tempfile.mkdtemp(dir=work))
    try:
        context = Context(
            blobs=blobs,
            seed=call.seed,
            workdir=workdir,
            progress=listener.progress,
            metric=listener.metric,
            forecast=listener.forecast,
        )
        config = resolve(of.config).model_validate(call.config)
        inputs = {name: _load(given, blobs) for name, given in call.inputs.items()}
        return to_plain(resolve(of.function)(config, context, **inputs))
    finally:
        shutil.rmtree(workdir, ignore_errors=True)


def _load(given: Given | tuple[Given, ...], blobs: FolderBlobs) -> Any:
    if isinstance(given, tuple):
        return tuple(_load(each, blobs) for each in given)
    return from_plain(resolve(given.type), parse(blobs.get(given.blob)))


def _listen(lines: IO[bytes], listener: Listener) -> dict[str, Any] | None:
    for line in lines:
        message = json.loads(line)
        match message:
            case {"progress": [done, total, note]}:
                listener.progress(done, total, note)
            case {"metric": [name, value, step]}:
                listener.metric(name, value, step)
            case {"forecast": forecast}:
                listener.forecast(Forecast(**forecast))
            case _:
                return dict(message)
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _last_words(call: Call, code: int, errors: bytes) -> str:
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    tail = errors.decode(errors="replace").strip().splitlines()[-5:]
    return "\n  ".join([f"the process of {call.kind} ended with {how}", *tail])


def main() -> None:
    """The worker: a call on standard input, messages on standard output, a line each."""
    request = parse(sys.stdin.buffer.read())
    call = from_plain(Call, request["call"])
    # What libraries print must not end up between the messages.
    messages = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(message: Any) -> None:
        messages.write(json.dumps(message) + "\n")

    listener = Listener(
        progress=lambda done, total, note: say({"progress": [done, total, note]}),
        metric=lambda name, value, step: say({"metric": [name, value, step]}),
        forecast=lambda forecast: say({"forecast": to_plain(forecast)}),
    )
    try:
        say({"record": perform(call, Path(request["folder"]), listener)})
    except TunesmithError as error:
        say({"error": error.message, "remedy": error.remedy})


if __name__ == "__main__":
    main()
