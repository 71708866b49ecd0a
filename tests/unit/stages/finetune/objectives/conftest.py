"""Runs of our loop, and what they are compared with: TRL's of judged answers, and a plain loop on
transformers' own classes with padded batches."""

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
from tunesmith.stages.finetune.states import shelf_of
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
        training = make_training(
            engine, rows, config, SEED, shelf_of(self.tiny.context(), self.tiny.base)
        )
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
def preferences(tiny: Any, exact_norms: None) -> Judge:
    """Of pairs of answers."""
    return Judge(tiny, "preference", load_tokenizer(tiny.base, tiny.blobs))


@pytest.fixture
def feedbacks(tiny: Any, exact_norms: None) -> Judge:
    """Of answers that were liked or not."""
    return Judge(tiny, "feedback", load_tokenizer(tiny.base, tiny.blobs))


@pytest.fixture
def checks(tiny: Any, exact_norms: None) -> Judge:
    """Of questions whose answers are checked."""
    return Judge(tiny, "checked", load_tokenizer(tiny.base, tiny.blobs))


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


Batch = list[dict[str, list[int]]]
"""Documents as transformers' tokenizers give them, to be padded."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """What a run came to: the loss of each step, and the weights by their stock names."""

    losses: list[float]
    weights: dict[str, Any]
    model: Any
    loaded: Any


@dataclass(frozen=True)
class Loops:
    """Two ways to tune."""

    readers: Any

    def ours(self, config: Any, base: Any, dataset: Any, seed: int = 3) -> Course:
        """The engine, in float64."""
        from tunesmith.stages.finetune.engine import make_engine, make_training
        from tunesmith.stages.finetune.keeper import keeper_of
        from tunesmith.stages.finetune.loop import train
        from tunesmith.stages.finetune.objectives.objective import make_objective

        tiny = self.readers.tiny
        objective = make_objective(config, dataset)
        loaded = objective.load(base, tiny.blobs, seed=seed)
        loaded.model.double()
        rows = list(objective.read(tiny.blobs.path(dataset.train.rows), loaded))
        engine = make_engine(loaded.model, objective, config, seed, rows)
        assert engine.comparison.ok
        assert engine.model is loaded.model
        training = make_training(engine, rows, config, seed, shelf_of(tiny.context(), base))
        keeper = keeper_of(tiny.context(seed), config.name)
        losses = [record.loss for record in train(training, lambda *_: None, keeper)]
        weights = {name: p.detach().clone() for name, p in engine.twin.named_parameters()}
        return Course(losses=losses, weights=weights, model=engine.twin, loaded=loaded)

    def theirs(
        self,
        config: Any,
        base: Any,
        dataset: Any,
        loss_of: Callable[[Any, Sequence[int]], Any],
        seed: int = 3,
    ) -> Course:
        """A plain loop: `loss_of(model, places)` is the mean loss of the rows at those places."""
        import torch

        from tunesmith.lm.example import Example
        from tunesmith.stages.finetune.batches import count_steps, steps_of_epoch
        from tunesmith.stages.finetune.objectives.objective import make_objective
        from tunesmith.stages.finetune.optimiser import learning_rate

        loaded = make_objective(config, dataset).load(base, self.readers.tiny.blobs, seed=seed)
        model = type(loaded.model)(loaded.model.config)
        if getattr(model, "pooler", None) is not None:  # of a BERT without a head
            model.pooler = None
        model.load_state_dict(loaded.model.state_dict())
        model.double().eval()
        optimiser = torch.optim.AdamW(
            model.parameters(), lr=1.0, weight_decay=config.weight_decay, fused=False
        )
        rows = [Example(row_id=f"row{number:03}") for number in range(dataset.num_in)]
        losses: list[float] = []
        for epoch in range(config.epochs):
            for step in steps_of_epoch(rows, seed, epoch, config.batch_rows):
                loss = loss_of(model, [int(row.row_id[3:]) for row in step])
                loss.backward()
                trained = [p for p in model.parameters() if p.grad is not None]
                torch.nn.utils.clip_grad_norm_(trained, config.max_grad_norm)
                steps = count_steps(len(rows), config)
                for group in optimiser.param_groups:
                    group["lr"] = learning_rate(config, len(losses) + 1, steps)
                optimiser.step()
                optimiser.zero_grad()
                losses.append(loss.item())
        weights = {name: p.detach() for name, p in model.named_parameters()}
        return Course(losses=losses, weights=weights, model=model, loaded=loaded)

    def padded(self, documents: Sequence[Any], pad: int = 0) -> dict[str, Any]:
        """`tokenizers`' encodings as one padded batch with its mask."""
        import torch

        width = max(len(each.ids) for each in documents)

        def filled(values: Sequence[int], filler: int) -> list[int]:
            return [*values, *[filler] * (width - len(values))]

        return {
            "input_ids": torch.tensor([filled(each.ids, pad) for each in documents]),
            "attention_mask": torch.tensor([filled([1] * len(each.ids), 0) for each in documents]),
        }

    def same(self, ours: Course, theirs: Course, close: float = 1e-9) -> None:
        """Losses and weights are equal to the digits of float64 that rounding leaves."""
        import torch

        assert len(ours.losses) > 3
        assert ours.losses == pytest.approx(theirs.losses, rel=close)
        # Of all steps: the first and the last may be alike by chance.
        least, most = min(ours.losses), max(ours.losses)
        assert most - least > 1e-3 * abs(most), "nothing was learnt"
        assert ours.weights.keys() == theirs.weights.keys()
        for name, weight in theirs.weights.items():
            torch.testing.assert_close(ours.weights[name], weight, rtol=0, atol=close, msg=name)


@pytest.fixture
def loops(readers: Any) -> Loops:
    """Ours, and a plain one."""
    return Loops(readers)


@pytest.fixture
def certified(readers: Any) -> Callable[..., Any]:
    """certified(config, base, dataset) -> the version that the whole step makes; every check of its
    certificate held, or it would have raised."""
    from tunesmith.stages.finetune.run import finetune

    def run(config: Any, base: Any, dataset: Any, seed: int = 3, **hooks: Any) -> Any:
        ctx = readers.tiny.context(seed, **hooks)
        return finetune(config, ctx, base=base, dataset=dataset)

    return run
