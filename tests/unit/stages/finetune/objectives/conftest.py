"""Runs of objectives that learn from judged answers, on the tiny model, beside TRL's."""

from __future__ import annotations

import dataclasses
import io
import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tunesmith.core.canonical import canonical_json
from tunesmith.lm.example import Example, MicroBatch, pack
from tunesmith.lm.load import load_model, load_tokenizer
from tunesmith.lm.tokenizer import Tokenizer
from tunesmith.records.data import Dataset, Split
from tunesmith.stages.finetune.batches import steps_of_epoch
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.engine import Engine, make_engine, make_training
from tunesmith.stages.finetune.keeper import keeper_of
from tunesmith.stages.finetune.loop import accumulate, train
from tunesmith.stages.finetune.objectives.objective import make_objective
from tunesmith.stages.finetune.step_record import StepRecord

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"  # it is an oracle here, of the version in the lock
INSTRUCTION = "Answer in one sentence."
RANK, ALPHA, RATE, SEED = 4, 6.0, 2e-3, 5


@dataclass(frozen=True)
class Judge:
    """Makes datasets, and engines that are ready to learn from them."""

    tiny: Any
    format: str
    tokenizer: Tokenizer

    @staticmethod
    def config(objective: str, **settings: Any) -> ModelConfig:
        """Of a run whose learning rate does not change."""
        given: dict[str, Any] = {
            "rank": RANK, "alpha": ALPHA, "learning_rate": RATE, "warmup": 0.0,
            "schedule": "constant", "batch_rows": 4, "epochs": 2,
        }  # fmt: skip
        return ModelConfig(
            name="desk", base="tiny", dataset="tiny", objective=objective, **given | settings
        )

    def dataset(
        self, contents: Sequence[Mapping[str, Any]], instruction: str = INSTRUCTION
    ) -> Dataset:
        """A dataset of this format, as curation writes it, without test rows."""
        table = pa.table(
            {
                "row_id": [f"row{number:03}" for number in range(len(contents))],
                "content": [canonical_json(content).decode() for content in contents],
                "text": ["" for _ in contents],
                "label": ["" for _ in contents],
            }
        )
        sink = io.BytesIO()
        pq.write_table(table, sink)
        split = Split(
            rows=self.tiny.blobs.put(sink.getvalue()), num_rows=len(contents), num_tokens=0
        )
        return dataclasses.replace(
            self.tiny.dataset([]), format=self.format, train=split, instruction=instruction
        )

    def rows(self, dataset: Dataset, config: ModelConfig) -> list[Example]:
        """Its training rows as tokens."""
        loaded = load_model(self.tiny.base, self.tiny.blobs)
        path = self.tiny.blobs.path(dataset.train.rows)
        return list(make_objective(config, dataset).read(path, loaded))

    def engine(
        self, config: ModelConfig, rows: Sequence[Example], dtype: torch.dtype = torch.float64
    ) -> Engine:
        """Prepared, on the untuned model."""
        objective = make_objective(config, self.dataset([]))
        model = load_model(self.tiny.base, self.tiny.blobs).model.to(dtype)
        engine = make_engine(model, objective, config, SEED, rows)
        assert engine.comparison.ok
        objective.prepare(self.tiny.context(SEED), engine.model, engine.hidden, rows)
        return engine

    def train(self, engine: Engine, config: ModelConfig, rows: Sequence[Example]) -> list[float]:
        """The loss of every step."""
        training = make_training(engine, rows, config, SEED, self.tiny.workdir)
        keeper = keeper_of(self.tiny.context(SEED), "desk")
        records: list[StepRecord] = list(train(training, lambda *_: None, keeper))
        return [record.loss for record in records]

    @staticmethod
    def shaken(engine: Engine) -> Engine:
        """As if some steps had been taken: no matrix is zero any more."""
        generator = torch.Generator().manual_seed(9)
        with torch.no_grad():
            for parameter in engine.trained.parameters:
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.add_(noise.to(parameter.dtype), alpha=0.05)
        return engine

    @staticmethod
    def gradients(
        engine: Engine,
        rows: Sequence[Example],
        cut: Callable[..., Iterator[MicroBatch]] | None = None,
    ) -> tuple[float, torch.Tensor]:
        """The loop's mean loss of `rows` as one step, and its gradient."""
        for parameter in engine.trained.parameters:
            parameter.grad = None
        loss = accumulate(engine.objective, engine.loss, rows, cut=cut)
        parts = [parameter.grad for parameter in engine.trained.parameters]
        return loss, torch.cat([part.flatten() for part in parts if part is not None])

    @staticmethod
    def unrolled(engine: Engine, micro: MicroBatch) -> torch.Tensor:
        """The states of a stream when every answer is run after a prompt of its own."""
        parts = []
        for example in micro.examples:
            for number, answer in enumerate(example.answers):
                alone = pack([Example(row_id="r", prompt=example.prompt, answers=(answer,))])
                parts.append(engine.hidden(alone)[len(example.prompt) if number else 0 :])
        return torch.cat(parts)

    @staticmethod
    def adapters(engine: Engine) -> dict[str, torch.Tensor]:
        """A copy of every matrix that is trained, by PEFT's names."""
        return {
            f"{layer}.{name}": parameter.detach().clone()
            for layer, module in engine.trained.adapters.items()
            for name, parameter in module.trained().items()
        }

    @staticmethod
    def ordered(rows: Sequence[Example], config: ModelConfig) -> list[Example]:
        """All rows of a run, one step after the other."""
        return [
            row
            for epoch in range(config.epochs)
            for step in steps_of_epoch(rows, SEED, epoch, config.batch_rows)
            for row in step
        ]

    def text(self, ids: Sequence[int]) -> str:
        """The text of `ids`, special tokens written out: TRL makes the same ids of it."""
        text = str(self.tokenizer.core.decode(list(ids), skip_special_tokens=False))
        assert self.tokenizer.encode(text) == list(ids)
        return text


@pytest.fixture
def exact_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers takes the norm of a model in float64 in float32; here it does not, so that what
    is left of a difference is the engine's."""
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        inverse = torch.rsqrt(x.square().mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * (x * inverse)

    monkeypatch.setattr(LlamaRMSNorm, "forward", forward)


@pytest.fixture
def preferences(tiny: Any, exact_norms: None) -> Judge:
    """Of pairs of answers."""
    return Judge(tiny, "preference", load_tokenizer(tiny.base, tiny.blobs))


@pytest.fixture
def feedbacks(tiny: Any, exact_norms: None) -> Judge:
    """Of answers that were liked or not."""
    return Judge(tiny, "feedback", load_tokenizer(tiny.base, tiny.blobs))


@dataclass(frozen=True)
class Oracle:
    """TRL on the same model, rows, order and first adapters."""

    folder: Path
    output: Path

    def train(
        self,
        trainer_class: Any,
        config_class: Any,
        rows: Sequence[Mapping[str, Any]],
        first: Mapping[str, Any],
        dtype: torch.dtype = torch.float64,
        **settings: Any,
    ) -> tuple[list[float], dict[str, torch.Tensor]]:
        """The loss of every step, and the adapters' matrices at the end by our names."""
        from datasets import Dataset as Rows
        from peft import LoraConfig
        from transformers import AutoModelForCausalLM, AutoTokenizer

        losses: list[float] = []

        class Heard(trainer_class):  # type: ignore[misc]
            """What it logs is rounded."""

            def compute_loss(self, *arguments: Any, **named: Any) -> Any:
                loss = super().compute_loss(*arguments, **named)
                losses.append(float(loss.detach()))
                return loss

        trainer = Heard(
            model=AutoModelForCausalLM.from_pretrained(self.folder, dtype=dtype),
            args=config_class(
                output_dir=str(self.output), use_cpu=True, bf16=False, report_to=[],
                save_strategy="no", disable_tqdm=True, logging_steps=1, num_train_epochs=1,
                learning_rate=RATE, lr_scheduler_type="constant", max_length=None, seed=0,
                train_sampling_strategy="sequential", gradient_checkpointing=False,
                dataloader_pin_memory=False,
                **{"per_device_train_batch_size": 4} | settings,
            ),
            train_dataset=Rows.from_list([dict(row) for row in rows]),
            processing_class=AutoTokenizer.from_pretrained(self.folder),
            peft_config=LoraConfig(
                r=RANK, lora_alpha=ALPHA, use_rslora=True, lora_dropout=0.0,
                task_type="CAUSAL_LM", target_modules="all-linear",
            ),
        )  # fmt: skip
        for name, matrix in self._adapters(trainer.model).items():
            assert matrix.dtype == dtype
            matrix.data.copy_(first[name])
        trainer.train()
        parts = settings.get("gradient_accumulation_steps", 1)
        means = [statistics.fmean(losses[i : i + parts]) for i in range(0, len(losses), parts)]
        return means, {n: m.detach() for n, m in self._adapters(trainer.model).items()}

    @staticmethod
    def _adapters(model: Any) -> dict[str, torch.nn.Parameter]:
        return {
            name.removeprefix("base_model.model.").replace(".default", ""): parameter
            for name, parameter in model.named_parameters()
            if ".lora_" in name and ".default." in name
        }


@pytest.fixture
def oracle(tiny_folder: Path, tmp_path: Path, tiny: Any) -> Oracle:
    """TRL."""
    return Oracle(tiny_folder, tmp_path / "trl")
