"""One attempt at a step, while it runs."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tunesmith.core.errors import Conflict, DataError, OverBudget
from tunesmith.core.meter import Forecast, Meter, Usage

Limit = Callable[[Usage | Forecast], str]
"""Why a run may not use as much as this; empty: it may."""
LOOK_EVERY_S = 0.5
"""How often what was used is read: some steps say how far they are thousands of times a second."""


@dataclass(kw_only=True)
class Attempt:
    """What is known of a run while it runs."""

    run_id: int
    why: str
    """Why the step runs, as a plan says it."""
    meter: Meter
    limit: Limit
    points: dict[tuple[str, int], float] = field(default_factory=dict)
    """Curves: (name, step) -> value."""
    forecast: Forecast | None = None
    lost: threading.Event = field(default_factory=threading.Event)
    """Set when another process took over: the step ends at its next sign of progress."""
    _looked_at: float = -math.inf

    def point(self, name: str, value: float, step: int) -> None:
        """Keep one point of a curve.

        Raises:
            DataError: it is not finite.
        """
        if not math.isfinite(value):
            raise DataError(f"{name} is {value} at step {step}: there is no sense in going on")
        self.points[name, step] = value

    def go_on(self) -> None:
        """Return if the step may go on.

        Raises:
            Conflict: another process took over.
            OverBudget: it has used more than it may. It is raised into the step where the step
                says how far it is, so that the step can keep what it did.
        """
        if self.lost.is_set():
            raise self.taken_over()
        if time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = time.monotonic()
        if why := self.limit(self.meter.read()):
            raise OverBudget(
                f"run {self.run_id} is stopped: what it used so far costs {why}",
                remedy="raise that setting and run the same command: what can be kept is kept",
            )

    def start_main_part(self, forecast: Forecast) -> None:
        """Return if the step may do what it has `forecast`.

        Raises:
            OverBudget: it would use more than it may.
        """
        if why := self.limit(forecast):
            raise OverBudget(
                f"run {self.run_id} is not begun: it would cost {why}",
                remedy="raise that setting, or ask for less: fewer epochs, or stop_after",
            )

    def taken_over(self) -> Conflict:
        """The error of an attempt that may no longer publish."""
        return Conflict(
            f"run {self.run_id} was taken over while this process was paused",
            remedy="run the same command again: it uses the other process's result",
        )
