"""What a person who watches is told while a model is tuned."""

from __future__ import annotations

import time

from tunesmith.core.step import Context
from tunesmith.stages.finetune.loop import Training
from tunesmith.stages.finetune.step_record import StepRecord
from tunesmith.stages.finetune.trunk import Trunk

NOTE = "computing once what is below the trained layers"


class Report:
    """Progress in tokens, with the loss and the speed since this attempt began its steps."""

    def __init__(self, ctx: Context, training: Training) -> None:
        self._ctx = ctx
        self._before = 0
        self._loss: float | None = None
        self._start: tuple[float, float] | None = None
        self._trunk: Trunk | None = None
        for record in training.curve:
            self.step(record)
        to_do = sum(map(training.num_tokens, training.steps_to_do()))
        self._num_tokens = self._before + to_do
        self._done = self._restored = self._before
        self._trunk = training.trunk
        self._computed = self._to_compute = 0
        if self._trunk is not None:
            states = self._trunk.states
            self._to_compute = sum(map(states.num_tokens, states.missing()))
        self._start = time.monotonic(), time.process_time()

    def computed(self, num_tokens: int) -> None:
        """The states below what is trained are there for so many tokens more."""
        self._computed += num_tokens
        # The speed is that of steps: it begins with them.
        self._start = time.monotonic(), time.process_time()
        self._ctx.progress(self._computed, self._to_compute, NOTE)

    def micro(self, num_tokens: int, loss: float) -> None:
        """One micro-batch is done; its own loss is shown until a step's is known."""
        self._done += num_tokens
        speed, _ = self._speeds()
        shown = loss if self._loss is None else self._loss
        total = max(self._done, self._num_tokens)  # how long answers will be is not known
        self._ctx.progress(self._done, total, f"loss {shown:.3f}, {speed:.0f} tokens/s")

    def step(self, record: StepRecord) -> None:
        """One global step is done, now or in an earlier attempt."""
        self._before += record.num_tokens
        self._loss = record.loss
        self._ctx.metric("loss", record.loss, record.step)
        if self._start is not None:
            speed, cpu_speed = self._speeds()
            self._ctx.metric("tokens_per_s", speed, record.step)
            self._ctx.metric("tokens_per_cpu_s", cpu_speed, record.step)
            if self._trunk is not None:
                speed, cpu_speed = self._trunk.speeds
                self._ctx.metric("tokens_below_per_s", speed, record.step)
                self._ctx.metric("tokens_below_per_cpu_s", cpu_speed, record.step)

    def _speeds(self) -> tuple[float, float]:
        """Tokens of this attempt by its seconds on the wall, and by the CPU seconds."""
        assert self._start is not None
        wall, cpu = self._start
        done = self._done - self._restored
        return done / (time.monotonic() - wall), done / max(1e-9, time.process_time() - cpu)
