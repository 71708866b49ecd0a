"""One attempt at a step, while it runs."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field

from tunesmith.core.errors import Conflict, DataError
from tunesmith.core.meter import Forecast


@dataclass(kw_only=True)
class Attempt:
    """What is known of a run while it runs."""

    run_id: int
    points: dict[tuple[str, int], float] = field(default_factory=dict)
    """Curves: (name, step) -> value."""
    forecast: Forecast | None = None
    lost: threading.Event = field(default_factory=threading.Event)
    """Set when another process took over: the step ends at its next sign of progress."""

    def point(self, name: str, value: float, step: int) -> None:
        """Keep one point of a curve.

        Raises:
            DataError: it is not finite.
        """
        if not math.isfinite(value):
            raise DataError(f"{name} is {value} at step {step}: there is no sense in going on")
        self.points[name, step] = value

    def taken_over(self) -> Conflict:
        """The error of an attempt that may no longer publish."""
        return Conflict(
            f"run {self.run_id} was taken over while this process was paused",
            remedy="run the same command again: it uses the other process's result",
        )
