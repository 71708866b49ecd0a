"""What a run will use, measured on this machine with this model and these rows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from tunesmith.core.meter import Forecast, Meter, estimate_joules
from tunesmith.stages.finetune.batches import (
    MicroBatch,
    TrainRow,
    micro_batches,
    steps_of_epoch,
)
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.loop import micro_loss

MIN_TIMED_S = 4.0
MAX_TIMED = 4
STATE_BYTES = 3
"""AdamW keeps two numbers beside the gradient for each trained one."""


def forecast(
    model: Any,
    parameters: Sequence[torch.nn.Parameter],
    rows: Sequence[TrainRow],
    config: ModelConfig,
    seed: int,
    spent: tuple[float, float],
) -> Forecast:
    """Time forward and backward on a few of the run's own micro-batches and multiply.

    `spent` is the wall and CPU seconds that the run has used already. Nothing that bears on the
    result is changed: no step is taken, and the gradients are thrown away.
    """
    micros = [
        micro
        for step_rows in steps_of_epoch(rows, seed, 0, config.batch_rows)
        for micro in micro_batches(step_rows)
    ]
    wall, cpu, num_timed, count = 0.0, 0.0, 0, 0
    with Meter(interval_s=0.01) as meter:
        # The first pass allocates, so it shows the memory and not the time.
        _dry(model, max(micros, key=lambda micro: micro.num_tokens))
        for micro in micros[:MAX_TIMED]:
            wall_before, cpu_before = time.monotonic(), time.process_time()
            _dry(model, micro)
            wall += time.monotonic() - wall_before
            cpu += time.process_time() - cpu_before
            num_timed += micro.num_tokens
            count += 1
            if wall >= MIN_TIMED_S:
                break
    for parameter in parameters:
        parameter.grad = None
    num_tokens = config.epochs * sum(len(row.ids) for row in rows)
    state = STATE_BYTES * sum(p.numel() * p.element_size() for p in parameters)
    return Forecast(
        wall_s=spent[0] + meter.usage.wall_s + wall / num_timed * num_tokens,
        cpu_s=(cpu_s := spent[1] + meter.usage.cpu_s + cpu / num_timed * num_tokens),
        peak_bytes=meter.usage.peak_bytes + state,
        joules=estimate_joules(cpu_s),
        basis=f"{num_timed} of {num_tokens} tokens, in {count} of the run's own micro-batches, "
        f"at {num_timed / wall:.0f} tokens/s",
    )


def _dry(model: Any, micro: MicroBatch) -> None:
    torch.autograd.backward(micro_loss(model, micro))
