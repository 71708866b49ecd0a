"""Rows by a function: each row of the sources is handed to it, in a process of its own.

After the last row a second process answers some of the rows again, the last first: what depends on
chance, on the time or on the rows before answers otherwise, and is refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from tunesmith.core.blobs import Blobs
from tunesmith.core.errors import DataError
from tunesmith.core.function import ENVIRONMENT, command
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset
from tunesmith.records.transform import Program
from tunesmith.stages.transform.came import Came, Given, read_rows
from tunesmith.stages.transform.config import TransformConfig

ASKED_AGAIN = 64
"""Rows that are answered twice."""


def rows_of_function(
    config: TransformConfig,
    program: Program,
    assets: Sequence[DataAsset],
    given: Given,
    ctx: Context,
) -> Iterator[Came]:
    """What the function answers, row by row.

    Raises:
        DataError: its file cannot be run, it takes too long, ends its process, or answers otherwise
            when it is asked again.
    """
    num_rows = len(given.row_ids)
    every = range(num_rows)
    again = set(every[:: max(1, num_rows // ASKED_AGAIN)])
    first: dict[int, bytes] = {}
    asked = _asked(assets, ctx.blobs)
    answers = _answers(config, program, asked, given, every, ctx)
    for place, answer in zip(every, answers, strict=True):
        if place % 1000 == 0:
            ctx.progress(place, num_rows, f"{program.function}: {place} rows")
        if place in again:
            first[place] = answer
        yield from _came(place, json.loads(answer))
    order = sorted(again, reverse=True)
    lines = {n: line for n, line in enumerate(_asked(assets, ctx.blobs, only=again)) if n in again}
    second = _answers(config, program, (lines[n] for n in order), given, order, ctx)
    for place, answer in zip(order, second, strict=True):
        if answer != first[place]:
            raise DataError(
                f"{config.python} of transform {config.name!r} answers otherwise when it is asked "
                f"again about {given.pointers[place]} ({given.row_ids[place]})",
                remedy="its answer may depend on its row alone: not on chance, the time, or the "
                "rows before it",
            )


def _came(place: int, answer: Mapping[str, Any]) -> Iterator[Came]:
    if "problem" in answer:
        yield Came(parents=(place,), fields=None, problem=answer["problem"])
    elif not answer["rows"]:
        yield Came(parents=(place,), fields=None)
    for fields in answer.get("rows", ()):
        yield Came(parents=(place,), fields=fields)


def _asked(
    assets: Sequence[DataAsset], blobs: Blobs, only: Iterable[int] | None = None
) -> Iterator[bytes]:
    """A line for each row; an empty one where it is none of `only`."""
    for place, row in enumerate(read_rows(assets, blobs, ("text", "label", "attributes"))):
        if only is not None and place not in only:
            yield b""
            continue
        fields = json.loads(row["attributes"]) | {"text": row["text"], "label": row["label"]}
        yield json.dumps(fields).encode() + b"\n"


def _answers(
    config: TransformConfig,
    program: Program,
    lines: Iterator[bytes],
    given: Given,
    places: Sequence[int],
    ctx: Context,
) -> Iterator[bytes]:
    """The line that answers each of `lines`, which are the rows at `places`."""
    folder = ctx.workdir / "function"
    folder.mkdir(exist_ok=True)
    path = folder / program.file
    path.write_text(program.python, encoding="utf-8")
    where = f"{config.python} of transform {config.name!r}"
    process = subprocess.Popen(  # noqa: S603  # no shell, and no word that is not ours
        command(path, program.function),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # what it prints may be anybody's, and is not kept
        cwd=folder,
        env=dict(ENVIRONMENT),
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    feeder = threading.Thread(target=_feed, args=(process.stdin, lines), daemon=True)
    feeder.start()
    done = 0
    try:
        for answer in _lines(process.stdout, config.timeout_s):
            if answer.startswith(b'{"broken"'):
                raise DataError(
                    f"{where} cannot be used: {json.loads(answer)['broken']}",
                    remedy="correct the file; it may import what is installed, and no other file "
                    "of the project",
                )
            yield answer
            done += 1
            if done == len(places):
                return
        if done < len(places):
            raise DataError(
                f"{where} ended its process at {given.pointers[places[done]]} (exit code "
                f"{process.wait()})",
                remedy="an exception puts a row into quarantine; to end the process ends the run",
            )
    except TimeoutError:
        raise DataError(
            f"{where} had no answer after {config.timeout_s:g} s to "
            f"{given.pointers[places[done]]} ({given.row_ids[places[done]]})",
            remedy="make it do less, or raise `timeout_s`",
        ) from None
    finally:
        _end(process)
        feeder.join()
        process.stdout.close()


def _feed(pipe: IO[bytes], lines: Iterator[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError), pipe:
        for line in lines:
            pipe.write(line)


def _lines(pipe: IO[bytes], timeout_s: float) -> Iterator[bytes]:
    """The lines of a pipe.

    Raises:
        TimeoutError: it says nothing for so long.
    """
    handle, rest = pipe.fileno(), b""
    while True:
        ready, _, _ = select.select([handle], [], [], timeout_s)
        if not ready:
            raise TimeoutError
        data = os.read(handle, 1 << 20)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from lines


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
