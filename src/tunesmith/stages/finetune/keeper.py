"""Between two global steps: keep what was done, and hear what somebody asks for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from tunesmith.core.errors import Stopped
from tunesmith.core.step import Context
from tunesmith.stages.finetune.checkpoint import Checkpoints, identity_of_run
from tunesmith.stages.finetune.control import request, requested, wait_while_paused
from tunesmith.stages.finetune.step_record import StepRecord

KEEP_EVERY_S = 30.0
"""The most work, in seconds, that a power cut can cost, but for large states."""
MAX_SHARE = 0.05
"""Of the time that may be spent on keeping; large states are kept more rarely, the first too."""


@dataclass(kw_only=True)
class Keeper:
    """Keeps the state of one run every half minute, and when it is paused or stopped."""

    model: str
    """Name of the model's section."""
    folder: Path
    checkpoints: Checkpoints
    waiting: Callable[[], None]
    """Called every half second of a pause."""
    keep_s: float = 0.0
    """Seconds that a checkpoint takes: as it was forecast, and then as the last one took."""
    _kept_at: float = field(default_factory=time.monotonic)

    def restore(
        self, parameters: Sequence[torch.nn.Parameter], optimiser: torch.optim.Optimizer
    ) -> list[StepRecord]:
        """Go back to where an earlier attempt was; what it did. Old requests are forgotten."""
        request(self.folder, "go on")
        return self.checkpoints.restore(parameters, optimiser)

    def after_step(
        self,
        parameters: Sequence[torch.nn.Parameter],
        optimiser: torch.optim.Optimizer,
        curve: Sequence[StepRecord],
    ) -> None:
        """Keep the state if it is time to, or if somebody asks for a pause or an end.

        Raises:
            Stopped: somebody asked for it.
        """
        wish = requested(self.folder)
        waited_s = time.monotonic() - self._kept_at
        if wish == "go on" and waited_s < _between(self.keep_s):
            return
        self.keep(parameters, optimiser, curve)
        self._hear(
            f"after step {len(curve)}",
            "; to use the model as it is now, add "
            f"--set model.{self.model}.stop_after={len(curve)}",
        )
        self._kept_at = time.monotonic()

    def before_steps(self) -> None:
        """Wait or end, if somebody asks for it while there is nothing of the model to keep.

        Raises:
            Stopped: somebody asked for it.
        """
        self._hear("before the first of its steps", "")

    def _hear(self, when: str, advice: str) -> None:
        wait_while_paused(self.folder, self.waiting)
        if requested(self.folder) == "stop":
            raise Stopped(
                f"stopped {when}, as asked",
                remedy=f"the same command goes on from there{advice}",
            )

    def keep(
        self,
        parameters: Sequence[torch.nn.Parameter],
        optimiser: torch.optim.Optimizer,
        curve: Sequence[StepRecord],
    ) -> None:
        """Keep the state after the last step of `curve`."""
        if not curve:  # nothing was done that could be lost
            return
        start = time.monotonic()
        self.checkpoints.save(parameters, optimiser, curve)
        self.keep_s = time.monotonic() - start


def num_kept(num_steps: int, steps_s: float, keep_s: float) -> int:
    """Checkpoints of a run whose steps take `steps_s` together, and each checkpoint `keep_s`.

    >>> [num_kept(50, *given) for given in [(29, 1), (31, 1), (100, 1), (100, 4)]]
    [0, 1, 3, 1]
    >>> num_kept(2, 100, 1)  # after a step, never within one
    2
    """
    return min(num_steps, int(steps_s / _between(keep_s)))


def _between(keep_s: float) -> float:
    """Seconds from one checkpoint to the next, if each takes `keep_s`."""
    return max(KEEP_EVERY_S, keep_s / MAX_SHARE)


def keeper_of(ctx: Context, model: str) -> Keeper:
    """The keeper of the run that `ctx` is of."""
    return Keeper(
        model=model,
        folder=ctx.keep,
        checkpoints=Checkpoints(folder=ctx.keep, identity=identity_of_run(ctx.identity)),
        waiting=lambda: ctx.progress(0, 0, f"paused; `tunesmith tune {model} --resume` goes on"),
    )
