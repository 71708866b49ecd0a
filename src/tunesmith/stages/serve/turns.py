"""The engines answer one request at a time; others wait for their turn, up to a bound.

Generation runs in the one thread of an executor, whose queue is the waiting line. Pieces cross to
the event loop as they come. Whoever stops listening stops the engine at its next piece.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Literal, TypeVar

from tunesmith.lm.engine import Engine, Message, Piece, Sampling
from tunesmith.stages.serve.problem import Problem

T = TypeVar("T")

log = logging.getLogger(__name__)

Reason = Literal["stop", "length", "left", "failed"]
"""Why an answer ended, as in a trace."""
Finished = Callable[[list[Piece], float, Reason], None]
"""finished(pieces, wall_s, reason): called in the engine's thread, before the listener is told the
end."""


class Turn:
    """One request's place in the line, and the pieces of its answer."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Piece | Exception | None] = asyncio.Queue()

    def put(self, item: Piece | Exception | None) -> None:
        """Give the listener a piece, an error, or (None) the end; from any thread."""
        self.in_loop(self._queue.put_nowait, item)

    def in_loop(self, function: Callable[[T], None], argument: T) -> None:
        """Call `function` in the event loop, after what was called there before."""
        try:
            self._loop.call_soon_threadsafe(function, argument)
        except RuntimeError:  # the loop is closed: the server has ended
            self.stopped.set()

    def stop(self) -> None:
        """Nobody listens any more: end the iteration now, the engine at its next piece."""
        self.stopped.set()
        self._queue.put_nowait(None)

    async def pieces(self) -> AsyncIterator[Piece]:
        """The pieces as they come.

        Raises:
            Exception: whatever the engine raised.
        """
        while (item := await self._queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item


class Turns:
    """The line before the engines: one answers at a time, whichever it is."""

    def __init__(self, *, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._turns: set[Turn] = set()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")

    def take(
        self, engine: Engine, messages: Sequence[Message], sampling: Sampling, finished: Finished
    ) -> Turn:
        """Join the line, to be answered by `engine`.

        Raises:
            Problem: 429, the line is full.
        """
        if sum(not turn.stopped.is_set() for turn in self._turns) > self._max_waiting:
            raise Problem(
                429,
                f"the model is busy and {self._max_waiting} requests wait already",
                code="rate_limit_exceeded",
                retry_after_s=1,
            )
        turn = Turn()
        self._turns.add(turn)
        generate = partial(engine.generate, messages, sampling)
        self._executor.submit(self._answer, turn, generate, finished)
        return turn

    def close(self) -> None:
        """End every turn and wait for the engine's thread."""
        for turn in list(self._turns):
            turn.stop()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _answer(
        self, turn: Turn, generate: Callable[[], Iterator[Piece]], finished: Finished
    ) -> None:
        outcome: Exception | None = None
        if not turn.stopped.is_set():
            start = time.monotonic()
            pieces: list[Piece] = []
            try:
                _collect(turn, pieces, generate())
            except Exception as error:
                outcome = error
            try:
                reason = _reason(turn, pieces, outcome)
                finished(pieces, time.monotonic() - start, reason)
            except Exception:  # what is written about an answer must not take the answer away
                log.exception("a finished request could not be recorded")
        turn.in_loop(self._turns.discard, turn)  # first, or who asks again at once meets itself
        turn.put(outcome)


def _collect(turn: Turn, pieces: list[Piece], generated: Iterator[Piece]) -> None:
    for piece in generated:
        if turn.stopped.is_set():
            return
        pieces.append(piece)
        turn.put(piece)


def _reason(turn: Turn, pieces: Sequence[Piece], outcome: Exception | None) -> Reason:
    if outcome is not None:
        return "failed"
    if pieces and pieces[-1].finish_reason is not None:
        return pieces[-1].finish_reason
    return "left" if turn.stopped.is_set() else "stop"
