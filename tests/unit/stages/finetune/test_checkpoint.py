"""A run that was killed goes on to the same bits (defects 33 and 34 of the field)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tunesmith.core.canonical import canonical_json, parse
from tunesmith.core.errors import Stopped
from tunesmith.core.ref import to_plain
from tunesmith.records.model import ModelVersion
from tunesmith.stages.finetune import keeper
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.control import request
from tunesmith.stages.finetune.run import finetune

ROWS = [(f"text number {number}", label) for number in range(5) for label in ("mit", "gpl-2.0")]
NUM_STEPS = 10
ATTEMPT = """
import json, sys, torch
from pathlib import Path
from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.canonical import parse
from tunesmith.core.ref import from_plain, to_plain
from tunesmith.core.step import Context
from tunesmith.records.data import Dataset
from tunesmith.records.model import BaseModel
from tunesmith.stages.finetune import keeper
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.run import finetune

torch.set_num_threads(1)
keeper.KEEP_EVERY_S = 0.0
keeper.MAX_SHARE = 1e9
given = parse(sys.stdin.buffer.read())
work = Path(given["work"])
ctx = Context(blobs=FolderBlobs(Path(given["blobs"])), seed=3, workdir=work, keep=work / "keep",
              identity={"config": given["config"]})
model = finetune(ModelConfig(**given["config"]), ctx,
                 base=from_plain(BaseModel, given["base"]),
                 dataset=from_plain(Dataset, given["dataset"]))
print(json.dumps(to_plain(model)))
"""


def config(**settings: Any) -> ModelConfig:
    return ModelConfig(name="desk", base="tiny", dataset="tiny", rank=4, batch_rows=2, **settings)


def attempt(tiny: Any, work: Path, failpoint: str = "") -> subprocess.CompletedProcess[bytes]:
    (work / "keep").mkdir(parents=True, exist_ok=True)
    given = {
        "work": str(work),
        "blobs": str(tiny.workdir.parent / "blobs"),
        "config": to_plain(config()),
        "base": to_plain(tiny.base),
        "dataset": to_plain(tiny.dataset(ROWS)),
    }
    return subprocess.run(
        [sys.executable, "-c", ATTEMPT],
        input=canonical_json(given),
        capture_output=True,
        check=False,
        env={
            "TUNESMITH_FAILPOINT": failpoint,
            "PATH": "",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        },
    )


@pytest.mark.parametrize(
    "point", ["finetune.step:4", "checkpoint.written:2", "checkpoint.marked:3"]
)
def test_after_kill_9_it_ends_with_the_same_bits(tiny: Any, tmp_path: Path, point: str) -> None:
    expected = finetune(config(), tiny.context(3), base=tiny.base, dataset=tiny.dataset(ROWS))
    work = tmp_path / "killed"
    assert attempt(tiny, work, point).returncode == -9
    again = attempt(tiny, work)
    assert again.returncode == 0, again.stderr.decode()
    assert parse(again.stdout) == to_plain(expected)


def test_interrupted_at_every_step_it_still_gets_to_the_same_end(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt takes one step more; the log of row ids is that of a run that never stopped."""
    dataset = tiny.dataset(ROWS)
    expected = finetune(config(), tiny.context(3), base=tiny.base, dataset=dataset)
    monkeypatch.setattr(keeper, "KEEP_EVERY_S", 0.0)
    monkeypatch.setattr(keeper, "MAX_SHARE", 1e9)
    for last in range(2, NUM_STEPS + 1):

        def interrupt(_name: str, _value: float, step: int, last: int = last) -> None:
            if step == last:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            finetune(config(), tiny.context(3, metric=interrupt), base=tiny.base, dataset=dataset)
    again = finetune(config(), tiny.context(3), base=tiny.base, dataset=dataset)
    assert again == expected
    curve = [json.loads(line) for line in tiny.blobs.get(again.curve).splitlines()]
    assert [line["step"] for line in curve] == list(range(1, NUM_STEPS + 1))


@pytest.mark.parametrize("damage", ["flipped", "cut", "of another run", "marker gone"])
def test_what_is_damaged_or_of_another_run_is_not_used(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    dataset = tiny.dataset(ROWS)

    def train(recipe: ModelConfig) -> tuple[ModelVersion, list[int]]:
        """What a run makes, and how many tokens it had seen each time that it said so."""
        done: list[int] = []
        ctx = tiny.context(
            3,
            progress=lambda tokens, _, note: done.append(tokens) if "loss" in note else None,
            identity={"config": to_plain(recipe)},
        )
        return finetune(recipe, ctx, base=tiny.base, dataset=dataset), done

    expected, from_the_start = train(config())
    monkeypatch.setattr(keeper, "KEEP_EVERY_S", 0.0)
    monkeypatch.setattr(keeper, "MAX_SHARE", 1e9)
    other = {"learning_rate": 5e-3} if damage == "of another run" else {}
    train(config(stop_after=4, **other))
    (file,) = tiny.workdir.glob("step-*.safetensors")
    data = bytearray(file.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif damage == "cut":
        file.write_bytes(data[:100])
    elif damage == "marker gone":
        (tiny.workdir / "checkpoint.json").unlink()
    again, done = train(config())
    assert again == expected
    assert done == from_the_start != []  # no step of the damaged one was taken over


def test_stop_and_keep_then_go_on(tiny: Any) -> None:
    """Stopped from elsewhere; kept as it is; and gone on with to the same end."""
    dataset = tiny.dataset(ROWS)
    expected = finetune(config(), tiny.context(3), base=tiny.base, dataset=dataset)
    for path in tiny.workdir.iterdir():
        path.unlink()

    def stop_at_three(_name: str, _value: float, step: int) -> None:
        if step == 3:
            request(tiny.workdir, "stop")

    with pytest.raises(Stopped, match="after step 3") as stopped:
        finetune(config(), tiny.context(3, metric=stop_at_three), base=tiny.base, dataset=dataset)
    assert "--set model.desk.stop_after=3" in stopped.value.remedy

    seen: list[int] = []
    kept = finetune(
        config(stop_after=3),
        tiny.context(3, progress=lambda done, total, _: seen.append(total)),
        base=tiny.base,
        dataset=dataset,
    )
    assert kept.num_steps == 3
    assert seen == [0] * len(seen)  # nothing was trained again
    assert finetune(config(), tiny.context(3), base=tiny.base, dataset=dataset) == expected


def test_pause_and_resume(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = tiny.dataset(ROWS)
    expected = finetune(config(), tiny.context(3), base=tiny.base, dataset=dataset)
    notes: list[str] = []
    steps: list[int] = []
    made_when_told: list[int] = []

    def go_on() -> None:
        made_when_told.append(max(steps))
        request(tiny.workdir, "go on")

    def listen(_done: float, _total: float, note: str) -> None:
        notes.append(note)
        if "paused" in note and not any("paused" in earlier for earlier in notes[:-1]):
            threading.Timer(0.05, go_on).start()

    def pause(_name: str, _value: float, step: int) -> None:
        steps.append(step)
        if step == 2:
            request(tiny.workdir, "pause")

    monkeypatch.setattr("tunesmith.stages.finetune.control.LOOK_EVERY_S", 0.1)
    ctx = tiny.context(3, progress=listen, metric=pause)
    assert finetune(config(), ctx, base=tiny.base, dataset=dataset) == expected
    assert any("tunesmith tune desk --resume" in note for note in notes)
    assert set(made_when_told) == {2}
