"""What tuning on a dataset would roughly take, before any row of it went through the model."""

from __future__ import annotations

import time

import torch

from tunesmith.core.blobs import Blobs
from tunesmith.core.meter import Preview, estimate_joules
from tunesmith.lm.size import num_layer_weights, num_layers, width
from tunesmith.records.data import Dataset
from tunesmith.records.model import BaseModel, ModelVersion
from tunesmith.stages.finetune.config import WITH_REFERENCE, ModelConfig
from tunesmith.stages.finetune.states import MOST_BYTES

FLOP_PER_WEIGHT = 4
"""Of one token: a multiplication and an addition forward, and both again for the gradient of the
layer's input. A frozen weight needs no gradient of its own."""
FORWARD = 2
"""Of one token, where no gradient is wanted."""
SHARE_OF_PEAK = 0.6
"""Of the speed of a bare matrix product that a whole step reaches; seen on two AVX2 cores."""
SIDE = 1024
TIMED_S = 0.3


def preview(
    config: ModelConfig,
    blobs: Blobs,
    base: BaseModel,
    dataset: Dataset,
    teacher: BaseModel | ModelVersion | None = None,
) -> Preview:
    """Tokens times the arithmetic of a token, at the speed of a matrix product timed here.

    It costs a third of a second; the forecast, which times the run's own rows, comes later.
    """
    num_tokens = round(config.epochs * config.share_of_rows * dataset.train.num_tokens)
    flop, held = _flop(config, blobs, base, num_tokens)
    if teacher is not None:  # forward only, and once
        asked = teacher.base if isinstance(teacher, ModelVersion) else teacher
        flop += FORWARD * num_layer_weights(asked, blobs) * dataset.train.num_tokens
    if config.objective in WITH_REFERENCE:  # forward only; KTO asks for other pairs in each epoch
        times = config.epochs if config.objective == "kto" else 1
        flop += FORWARD * num_layer_weights(base, blobs) * num_tokens * times // config.epochs
    if config.objective == "grpo":
        num_tokens, flop = _answering(config, blobs, base, dataset)
        held = ""  # of answers that are others each time nothing is kept
    rate = matmul_rate(TIMED_S)
    wall_s = flop / (SHARE_OF_PEAK * rate)
    cpu_s = wall_s * torch.get_num_threads()
    return Preview(
        wall_s=wall_s,
        cpu_s=cpu_s,
        joules=estimate_joules(cpu_s),
        basis=f"{num_tokens} tokens, {flop / 1e12:.1f} TFLOP, "
        f"a matrix product runs at {rate / 1e9:.0f} GFLOP/s here{held}",
    )


def _lowest(config: ModelConfig, blobs: Blobs, base: BaseModel) -> int:
    """The lowest layer that is trained."""
    if config.method == "head":
        return num_layers(base, blobs)
    return max(0, num_layers(base, blobs) - config.layers) if config.layers else 0


def _flop(config: ModelConfig, blobs: Blobs, base: BaseModel, num_tokens: int) -> tuple[int, str]:
    """The arithmetic of `num_tokens`, and what is said of the layers that are not trained.

    They are computed once, forward only, as if nothing were kept yet; where they cannot be kept, in
    every epoch.
    """
    lowest = _lowest(config, blobs, base)
    below = num_layer_weights(base, blobs, lowest)
    above = num_layer_weights(base, blobs) - below
    flop = FLOP_PER_WEIGHT * above * num_tokens
    if lowest == 0:
        return flop, ""
    once = num_tokens // config.epochs
    num_bytes = once * width(base, blobs) * torch.float32.itemsize
    if config.objective == "kto" or num_bytes > MOST_BYTES:
        return flop + FORWARD * below * num_tokens, "; states below the layers cannot be kept"
    held = f"; states below layer {lowest} would take {num_bytes / 1e9:.2g} GB, computed once"
    return flop + FORWARD * below * once, held


def _answering(
    config: ModelConfig, blobs: Blobs, base: BaseModel, dataset: Dataset
) -> tuple[int, int]:
    """Tokens and FLOP where the model answers itself, each answer as long as it may be.

    Each token is computed once when it is drawn and once by the base model, and in every update; a
    further pass asks for what it was drawn with, if there are several.
    """
    num_rows = round(config.epochs * config.share_of_rows * dataset.train.num_rows)
    prompts = round(config.epochs * config.share_of_rows * dataset.train.num_tokens)
    num_tokens = prompts + num_rows * config.group_size * config.max_new_tokens
    passes = 1 + (config.kl_weight > 0) + (config.updates > 1)
    whole = num_layer_weights(base, blobs)
    below = num_layer_weights(base, blobs, _lowest(config, blobs, base))
    update = FLOP_PER_WEIGHT * (whole - below) + FORWARD * below
    return num_tokens, (update * config.updates + FORWARD * passes * whole) * num_tokens


def matmul_rate(timed_s: float) -> float:
    """FLOP/s of a product of the size of a layer's, the fastest of those that fit in `timed_s`."""
    return max(matmul_rates(timed_s))


def matmul_rates(timed_s: float) -> list[float]:
    """FLOP/s of each product of the size of a layer's that fits in `timed_s`."""
    left, right = torch.ones(SIDE, SIDE), torch.ones(SIDE, SIDE)
    rates: list[float] = []
    until = time.monotonic() + timed_s
    while time.monotonic() < until:
        start = time.perf_counter()
        torch.mm(left, right)
        rates.append(2.0 * SIDE**3 / (time.perf_counter() - start))
    return rates
