"""Run a program of somebody else's as a child, and read what it says line by line.

It is given no shell, no standard input, an environment with nothing in it but what is named, and a
folder of its own to write to; when it is left, it and what it started are ended.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tunesmith.core.errors import DataError
from tunesmith.stages.ingest.entry import MAX_ROW_BYTES

SILENCE_S = 600.0
"""How long it may say nothing, neither lines nor on its standard error."""
SECONDS_TO_END = 5.0
"""How long it has to end when it is asked to, or after its last line, before it is killed."""
MAX_LINE_BYTES = 2 * MAX_ROW_BYTES
_AT_ONCE = 1 << 18
_TICK_S = 0.4
_SAID_LINES, _SAID_CHARS = 12, 1200
"""How much of its standard error an error repeats."""
_SHORTEST_SECRET = 4


@dataclass(frozen=True, kw_only=True)
class Program:
    """What is run."""

    command: Sequence[str]
    shown: str
    """What people know it by."""
    folder: Path
    """Where it runs."""
    scratch: Path
    """What it takes for its home, and for where temporary files go."""
    environment: Mapping[str, str]
    """The variables that it is given beside PATH."""
    secrets: Collection[str] = ()
    """What is not to be repeated, beside the values of its environment."""


def lines_of(program: Program, beat: Callable[[str], None]) -> Iterator[bytes]:
    """The lines that it prints, until it has ended well; `beat` is told what it last said beside.

    Raises:
        DataError: it cannot be started, ends badly, says nothing for too long, or prints a line
            that is too long.
    """
    said: deque[str] = deque(maxlen=_SAID_LINES)
    try:
        process = subprocess.Popen(  # noqa: S603 a list, and no shell
            list(program.command),
            cwd=program.folder,
            env=_environment(program),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise DataError(
            f"{program.shown} cannot be started: {error.strerror}",
            remedy="check that it is a program, that it may be run, and its first line",
        ) from None
    with process:
        try:
            yield from _read(program, process, said, beat)
            try:
                code = process.wait(SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                raise _failed(program, said, "closed its output and does not end") from None
        finally:
            _end(process)
    if code < 0:
        raise _failed(program, said, f"was ended by {_signal(-code)}")
    if code:
        raise _failed(program, said, f"ended with {code}")


def _read(
    program: Program,
    process: subprocess.Popen[bytes],
    said: deque[str],
    beat: Callable[[str], None],
) -> Iterator[bytes]:
    """The lines, until both of its outputs are closed."""
    assert process.stdout is not None
    assert process.stderr is not None
    heard = time.monotonic()
    left: dict[IO[bytes], bytes] = {process.stdout: b"", process.stderr: b""}
    with selectors.DefaultSelector() as selector:
        for stream in left:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(_TICK_S):
                stream = process.stdout if key.fileobj is process.stdout else process.stderr
                data = os.read(stream.fileno(), _AT_ONCE)
                heard = time.monotonic()
                *lines, rest = (left[stream] + data).split(b"\n")
                if not data:
                    selector.unregister(stream)
                    lines, rest = [rest] if rest else [], b""
                left[stream] = rest
                if stream is process.stderr:
                    said.extend(_clean(program, line) for line in lines if line.strip())
                    left[stream] = rest[-_SAID_CHARS:]
                    continue
                if max(map(len, [*lines, rest])) > MAX_LINE_BYTES:
                    raise _failed(program, said, f"prints a line of over {MAX_LINE_BYTES} bytes")
                yield from lines
            # Who it started may hold its outputs open for ever.
            if process.poll() is not None and time.monotonic() - heard > SECONDS_TO_END:
                return
            if time.monotonic() - heard > SILENCE_S:
                raise _failed(program, said, f"said nothing for {SILENCE_S:.0f} s")
            beat(said[-1] if said else "")


def _environment(program: Program) -> dict[str, str]:
    scratch = str(program.scratch)
    given = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
    given |= {"HOME": scratch, "TMPDIR": scratch, "PYTHONUNBUFFERED": "1"}
    return given | dict(program.environment)


def _failed(program: Program, said: Sequence[str], what: str) -> DataError:
    last = "\n".join(said)[-_SAID_CHARS:]
    return DataError(
        f"{program.shown} {what}" + (f"; it said:\n{last}" if last else "; it said nothing"),
        remedy="nothing of it was taken in: find out why, and run the same command again",
    )


def _clean(program: Program, line: bytes) -> str:
    """What it said, plain and without what is secret."""
    text = re.sub(r"[^\x20-\x7e\u00a0-\U0010ffff]", " ", line.decode("utf-8", "replace")).strip()
    for secret in sorted({*program.environment.values(), *program.secrets}, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "****")
    return text[:_SAID_CHARS]


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Have it end, and all that it started: politely first, and in any case."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(SECONDS_TO_END)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
