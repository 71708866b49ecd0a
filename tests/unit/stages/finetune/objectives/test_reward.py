from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.functional import logsigmoid

from tunesmith.core.canonical import draw
from tunesmith.lm.chat_template import conversation
from tunesmith.records.rows import Preference
from tunesmith.stages.finetune.config import ModelConfig

ROWS = [
    Preference(prompt=prompt, chosen=chosen, rejected=rejected)
    for prompt, chosen, rejected in [
        ("Which licence?", "mit", "I do not know, and I will not look it up"),
        ("Is this free software?", "Yes, under the GNU General Public License.", "No."),
        ("Version?", "2.0", "2007"),
        ("", "apache-2.0", "a program"),
        ("Permission is hereby granted. Which licence?", "mit, 2007", "gpl-2.0"),
    ]
]


def config(**settings: Any) -> ModelConfig:
    fixed: dict[str, Any] = {"objective": "reward", "batch_rows": 2, "method": "full"}
    return ModelConfig(
        name="desk", base="b", dataset="d", **fixed | {"learning_rate": 1e-3} | settings
    )


# TRL asks torch for what warns on a machine without an accelerator.
@pytest.mark.filterwarnings("ignore")
def test_losses_and_weights_are_those_of_trl(readers: Any, loops: Any, tmp_path: Any) -> None:
    """Its RewardTrainer, on the ids of our rows: each pair padded, the question computed twice."""
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import RewardConfig, RewardTrainer

    recipe = config(epochs=2, warmup=0.0, schedule="constant")
    base, dataset = readers.tiny.base, readers.dataset(ROWS)
    ours = loops.ours(recipe, base, dataset)
    start = loops.theirs(recipe, base, dataset, nothing).model
    start.config.pad_token_id = 0
    tokenizer = ours.loaded.tokenizer
    order = [
        number
        for epoch in range(2)
        for number in sorted(range(len(ROWS)), key=lambda n: draw(f"3/{epoch}/row{n:03}"))
    ]
    ids = [
        [
            list(conversation(tokenizer, "Name the licence.", row.prompt, answer).ids)
            for answer in (row.chosen, row.rejected)
        ]
        for row in ROWS
    ]
    losses: list[float] = []

    class Log(TrainerCallback):  # type: ignore[misc]
        def on_log(self, *_: Any, logs: Any, **__: Any) -> None:
            losses.extend([logs["loss"]] if "loss" in logs else [])

    trainer = RewardTrainer(
        model=start,
        args=RewardConfig(
            output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to=[], disable_tqdm=True,
            per_device_train_batch_size=2, num_train_epochs=1, learning_rate=1e-3, seed=0,
            lr_scheduler_type="constant", logging_steps=1, save_strategy="no", max_length=None,
            train_sampling_strategy="sequential", gradient_checkpointing=False,
            disable_dropout=True, optim="adamw_torch",
        ),
        train_dataset=Dataset.from_dict(
            {
                "chosen_ids": [ids[number][0] for number in order],
                "rejected_ids": [ids[number][1] for number in order],
            }
        ),
        processing_class=PreTrainedTokenizerFast(
            tokenizer_object=tokenizer.core, eos_token="<|im_end|>", pad_token="<|endoftext|>"
        ),
        callbacks=[Log()],
    )  # fmt: skip
    trainer.train()

    assert len(losses) == 5
    # An epoch of ours ends with a step of one row; theirs goes on over both epochs.
    assert ours.losses[:2] == pytest.approx(losses[:2], rel=1e-4)


def nothing(model: Any, _places: list[int]) -> Any:
    return 0 * sum(p.sum() for p in model.parameters())


@pytest.mark.parametrize("kind", ["bert", "modernbert", "llama"])
def test_losses_and_weights_are_those_of_transformers(kind: str, readers: Any, loops: Any) -> None:
    base = readers.tiny.base if kind == "llama" else readers.encoder(kind)
    dataset = readers.dataset(ROWS)
    ours = loops.ours(config(), base, dataset)
    core = ours.loaded.tokenizer.core

    def encoded(place: int, answer: str) -> Any:
        prompt = ROWS[place].prompt
        if kind == "llama":
            return conversation(ours.loaded.tokenizer, "Name the licence.", prompt, answer)
        return core.encode(prompt, answer)

    def loss_of(model: Any, places: list[int]) -> Any:
        if kind == "llama":
            model.config.pad_token_id = 0
        documents = [encoded(place, ROWS[place].chosen) for place in places]
        documents += [encoded(place, ROWS[place].rejected) for place in places]
        batch = loops.padded(documents)
        if kind == "bert":
            types = [each.type_ids for each in documents]
            batch["token_type_ids"] = torch.zeros_like(batch["input_ids"])
            for row, each in zip(batch["token_type_ids"], types, strict=True):
                row[: len(each)] = torch.tensor(each)
        chosen, rejected = model(**batch).logits.squeeze(1).chunk(2)
        return -logsigmoid(chosen - rejected).mean()

    theirs = loops.theirs(config(), base, dataset, loss_of)
    if kind != "llama":  # what no loss depends on is noise in theirs, and left alone in ours
        assert not bool(ours.weights["classifier.bias"].any())
        theirs.weights["classifier.bias"].zero_()
    # Llama's norms compute in float32; ours runs them once for both answers' question.
    loops.same(ours, theirs, close=1e-5 if kind == "llama" else 1e-9)


METHODS: list[dict[str, Any]] = [{"method": "lora"}, {"method": "full"}, {"method": "head"}]


@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize("settings", METHODS, ids=lambda s: str(s["method"]))
def test_a_run_is_certified(
    kind: str, settings: dict[str, Any], readers: Any, certified: Callable[..., Any]
) -> None:
    base = readers.tiny.base if kind == "llama" else readers.encoder(kind)
    recipe = config(**{"learning_rate": 1e-2, "epochs": 20, **settings})
    model = certified(recipe, base, readers.dataset(ROWS))

    assert model.last_loss < model.first_loss
