"""What holds for runs of every objective: interrupted, they go on to the same bits (defects 24 and
33), and the certificate refuses a wrong denominator (defects 1 to 3).

What an objective finds out before the first step, it finds out again on a fresh base model in every
attempt: it must come to the same, though what is tuned has moved on.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tunesmith.core.canonical import canonical_json, parse
from tunesmith.core.errors import DataError
from tunesmith.core.kinds import resolve
from tunesmith.core.ref import to_plain
from tunesmith.core.step import Context
from tunesmith.lm.example import Example
from tunesmith.records.rows import Checked, Feedback, Labelled, Pair, Preference, Tagged
from tunesmith.stages.finetune import keeper
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.objectives.objective import OBJECTIVES
from tunesmith.stages.finetune.run import finetune

TEXTS = [
    "Permission is hereby granted, free of charge",
    "This program is free",
    "x",
    "Licensed under the Apache License, Version 2.0",
    "GNU General Public License, version 2 or later",
    "a copy of this software",
    "under",
    "to any person obtaining a copy",
]
LABELS = ("apache", "gpl", "mit")
SEED = 3
NUM_STEPS = 9
"""Of three epochs of eight rows, three at a time: the last step of each is shorter."""
CONTENTS: dict[str, list[Any]] = {
    "labels": [Labelled(text=text, label=LABELS[n % 3]) for n, text in enumerate(TEXTS)],
    "preference": [
        Preference(prompt=f"Which {n}?", chosen=text, rejected=TEXTS[n - 1])
        for n, text in enumerate(TEXTS)
    ],
    "feedback": [
        Feedback(prompt=f"Which {n}?", completion=text, label=n % 3 > 0)
        for n, text in enumerate(TEXTS)
    ],
    "checked": [Checked(prompt=text, answer=LABELS[n % 3]) for n, text in enumerate(TEXTS)],
    "tags": [
        Tagged(tokens=tuple(text.split()), tags=(LABELS[n % 3],) * len(text.split()))
        for n, text in enumerate(TEXTS)
    ],
    "pairs": [
        Pair(anchor=f"{n}", positive=text, negatives=tuple(TEXTS[n + 1 : n + 2]))
        for n, text in enumerate(TEXTS)
    ],
}
RUNS = {
    "dpo": ("preference", "", {}),
    "orpo": ("preference", "", {}),
    "kto": ("feedback", "", {}),
    "grpo": (
        "checked",
        "",
        {
            "rewards": [{"name": "pattern", "pattern": "(?s).*e.*"}],
            "group_size": 3,
            "max_new_tokens": 5,
            "updates": 2,
        },
    ),
    "distil": ("labels", "", {"teacher": "base:other"}),
    "classify": ("labels", "bert", {"layers": 1}),  # with states that are kept below the adapters
    "embed": ("pairs", "modernbert", {"layers": 1}),
}
OTHERS = {
    "sft": ("labels", "", {}),
    "ipo": ("preference", "", {}),
    "simpo": ("preference", "", {}),
    "tag": ("tags", "bert", {}),
    "reward": ("preference", "bert", {}),
    "rerank": ("pairs", "bert", {}),
}
"""Objective -> format, encoder if any, settings."""
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
keeper.KEEP_EVERY_S, keeper.MAX_SHARE = 0.0, 1e9
given = parse(sys.stdin.buffer.read())
ctx = Context(blobs=FolderBlobs(Path(given["blobs"])), seed=given["seed"],
              workdir=Path(given["work"]), keep=Path(given["keep"]))
model = finetune(ModelConfig(**given["config"]), ctx,
                 **{name: from_plain(kind, given[name])
                    for name, kind in (("base", BaseModel), ("dataset", Dataset))})
print(json.dumps(to_plain(model)))
"""


@dataclasses.dataclass(frozen=True)
class Attempts:
    """One run, of which every attempt has an empty folder to work in, as in the runner."""

    tiny: Any
    config: ModelConfig
    inputs: dict[str, Any]
    folder: Path

    def work(self) -> Path:
        work = self.folder / f"attempt-{len(list(self.folder.iterdir()))}"
        work.mkdir()
        return work

    def run(self, keep: str, **hooks: Any) -> Any:
        kept = self.folder / keep
        kept.mkdir(exist_ok=True)
        ctx = Context(blobs=self.tiny.blobs, seed=SEED, workdir=self.work(), keep=kept, **hooks)
        return finetune(self.config, ctx, **self.inputs)

    def killed(self, point: str) -> subprocess.CompletedProcess[bytes]:
        """In a process of its own, which ends itself by SIGKILL at `point`."""
        kept = self.folder / "kept"
        kept.mkdir(exist_ok=True)
        given = {
            "seed": SEED,
            "work": str(self.work()),
            "keep": str(kept),
            "blobs": str(self.tiny.workdir.parent / "blobs"),
            "config": to_plain(self.config),
            **{name: to_plain(record) for name, record in self.inputs.items()},
        }
        return subprocess.run(
            [sys.executable, "-c", ATTEMPT],
            input=canonical_json(given),
            capture_output=True,
            check=False,
            env={
                "TUNESMITH_FAILPOINT": point,
                "PATH": "",
                "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            },
        )


def attempts_at(objective: str, readers: Any, folder: Path) -> Attempts:
    form, kind, settings = (RUNS | OTHERS)[objective]
    labels = LABELS if form in ("labels", "tags") else ()
    inputs = {
        "base": readers.encoder(kind) if kind else readers.tiny.base,
        "dataset": readers.dataset(CONTENTS[form], labels),
    }
    if "teacher" in settings:
        inputs["teacher"] = other_model(readers)
    config = ModelConfig(
        name="desk",
        base="b",
        dataset="d",
        objective=objective,
        rank=4,
        epochs=3,
        batch_rows=3,
        **settings,
    )
    folder.mkdir()
    return Attempts(readers.tiny, config, inputs, folder)


def other_model(readers: Any) -> Any:
    """With the tokens of the tiny model, and other weights."""
    folder = readers.folder / "other"
    folder.mkdir()
    config = transformers.AutoConfig.from_pretrained(readers.tiny.folder)
    with torch.random.fork_rng():
        torch.manual_seed(9)
        transformers.LlamaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((readers.tiny.folder / name).read_bytes())
    return readers.zipped(folder)


@pytest.mark.parametrize("objective", RUNS)
def test_interrupted_twice_it_ends_with_the_same_bits(
    objective: str, readers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of an epoch, and after one; weights, losses, row ids and certificate."""
    attempts = attempts_at(objective, readers, tmp_path / "attempts")
    expected = attempts.run("of another")
    monkeypatch.setattr(keeper, "KEEP_EVERY_S", 0.0)
    monkeypatch.setattr(keeper, "MAX_SHARE", 1e9)

    class Killed(BaseException):
        """What nothing catches, as nothing catches the end of a process."""

    for last in (3, 6):

        def kill(name: str, _value: float, step: int, last: int = last) -> None:
            if (name, step) == ("tokens_per_s", last):
                raise Killed

        with pytest.raises(Killed):
            attempts.run("kept", metric=kill)
    done: list[int] = []
    again = attempts.run(
        "kept", metric=lambda name, _, step: done.append(step) if name == "tokens_per_s" else None
    )

    assert again == expected
    assert done == [6, 7, 8, 9], "what was done before was done again"
    curve = [json.loads(line) for line in readers.tiny.blobs.get(again.curve).splitlines()]
    assert [line["step"] for line in curve] == list(range(1, NUM_STEPS + 1))
    assert len({tuple(line["row_ids"]) for line in curve}) > 3, "each epoch has its order"


@pytest.mark.parametrize("objective", [*RUNS, *OTHERS])
def test_a_wrong_weight_is_refused(
    objective: str, readers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate counts for itself what the loss is the mean of."""
    attempts = attempts_at(objective, readers, tmp_path / "attempts")
    kind = resolve(OBJECTIVES[objective][0])
    right = kind.weight

    def wrong(self: Any, example: Example) -> float:
        return float(right(self, example)) + 0.5

    monkeypatch.setattr(kind, "weight", wrong)
    with pytest.raises(DataError, match=r"the loss of a step is its definition.*the gradient of"):
        attempts.run("kept")


@pytest.mark.slow
def test_after_kill_9_feedback_ends_with_the_same_bits(readers: Any, tmp_path: Path) -> None:
    """The objective with most to find out anew, and a process that is really gone."""
    attempts = attempts_at("kto", readers, tmp_path / "attempts")
    expected = attempts.run("of another")
    assert attempts.killed("finetune.step:5").returncode == -9
    again = attempts.killed("")
    assert again.returncode == 0, again.stderr.decode()
    assert parse(again.stdout) == to_plain(expected)
