"""Rewards: the model answers, rules say what an answer is worth, and it learns from the difference.

The method is that of `policy.py`. To each question of a global step a group of answers is drawn
from the model as it is then; what is drawn follows from the seed, the step, the row and the place
in the group, so that a run that was interrupted draws the same again. The prompt is read once for
the group, where answers are drawn and where they are learnt.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tunesmith.core.blobs import Blobs
from tunesmith.core.step import Context
from tunesmith.lm.attention import attend_by_document, hidden_states
from tunesmith.lm.chat_template import prompt_ids, stop_ids
from tunesmith.lm.contents import read_contents
from tunesmith.lm.example import Answer, Example, MicroBatch, streams
from tunesmith.lm.load import LoadedModel
from tunesmith.lm.questions import asked
from tunesmith.lm.sample import draw_group, said
from tunesmith.records.data import Dataset
from tunesmith.records.model import BaseModel
from tunesmith.records.rows import Checked
from tunesmith.stages.finetune.batches import MICRO_TOKENS, steps_of_epoch
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.loss import token_log_probs
from tunesmith.stages.finetune.objectives.causal import Causal
from tunesmith.stages.finetune.objectives.objective import Hidden
from tunesmith.stages.finetune.objectives.policy import advantages, policy_losses
from tunesmith.stages.finetune.preflight import LENGTH, ROW_ID, Preflight, Rule, found_in
from tunesmith.stages.finetune.stock import stock_logits
from tunesmith.text.rewards import worth

RULES: tuple[Rule, ...] = (
    LENGTH,
    (
        "served prompt",
        (19, 20),
        "are asked in other tokens than a served request would be",
        "use a base model whose template renders the same prompt every time",
    ),
    (
        "answer",
        (15, 17),
        "have no answer to compare with",
        'give every row an answer, or take out the reward "exact"',
    ),
    ROW_ID,
)
CERTIFIED_TOKENS = 8
"""Of an answer on which the certificate's arithmetic is shown."""
CERTIFIED_GAINS = (1.0, -0.25)
"""What those answers are worth: rewards that are alike would teach, and show, nothing."""
CERTIFIED_SHIFTS = (0.3, -0.4, 0.05)
"""Nats by which the model that drew them, and the base, are taken to differ, token by token: so
that some are clipped, and the divergence is none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawing:
    """What is known of the answers to one question."""

    gains: tuple[float, ...]
    """The advantage of each answer."""
    old: torch.Tensor | None
    """(num_labels,), float64, nats of each token by the model that drew it; None is the model as it
    is now."""
    reference: torch.Tensor | None
    """(num_labels,), the same by the base model; None where it does not count."""


class Rewarded(Causal):
    """A group of answers to each question; one denominator, the most tokens that they can have."""

    draws = True

    def __init__(self, config: ModelConfig, dataset: Dataset) -> None:
        self._config, self._dataset = config, dataset
        self._drawings: dict[str, Drawing] = {}
        self._typical = config.max_new_tokens
        self._answer_s = 0.0

    def load(
        self, base: BaseModel, blobs: Blobs, *, seed: int = 0, drawn_from: int | None = None
    ) -> LoadedModel:
        """A causal language model; it is loaded once more as the reference."""
        self._origin = base, drawn_from
        loaded = super().load(base, blobs, seed=seed, drawn_from=drawn_from)
        self._tokenizer = loaded.tokenizer
        return loaded

    def read(self, path: Path, loaded: LoadedModel) -> Iterator[Example]:
        """Each row's prompt; the model answers later."""
        for row_id, content in read_contents(path, Checked):
            messages = asked(self._dataset.instruction, content.prompt)
            yield Example(row_id=row_id, prompt=tuple(prompt_ids(loaded.tokenizer, messages)))

    def inspect(self, path: Path, loaded: LoadedModel, examples: Sequence[Example]) -> Preflight:
        """That there is room for an answer, and something to compare it with."""
        room = loaded.context_length - self._config.max_new_tokens
        compares = any(reward.name == "exact" for reward in self._config.rewards)
        broken: list[list[str]] = []
        for example, (_, content) in zip(examples, read_contents(path, Checked), strict=True):
            messages = asked(self._dataset.instruction, content.prompt)
            served = tuple(prompt_ids(loaded.tokenizer, messages))
            broken.append(["served prompt"] if served != example.prompt else [])
            broken[-1] += ["answer"] if compares and not content.answer.strip() else []
        return found_in(examples, broken, RULES, room)

    def prepare(
        self, ctx: Context, model: Any, hidden: Hidden, examples: Sequence[Example]
    ) -> None:
        """Load the reference, and answer the first step's questions to see what that takes."""
        self._ctx, self._model, self._hidden = ctx, model, hidden
        path = ctx.blobs.path(self._dataset.train.rows)
        self._wanted = {row_id: content.answer for row_id, content in read_contents(path, Checked)}
        self._stops = stop_ids(self._tokenizer)
        self._reference: Any = None
        if self._config.kl_weight:
            base, drawn_from = self._origin
            self._reference = super().load(base, ctx.blobs, drawn_from=drawn_from).model
            self._reference.to(model.dtype)
            attend_by_document(self._reference)
        first = next(steps_of_epoch(examples, ctx.seed, 0, self._config.batch_rows))
        start = time.monotonic()
        answered = self._answered(1, first)
        self._answer_s = (time.monotonic() - start) / len(first)
        lengths = [len(answer.ids) for row in answered for answer in row.answers]
        self._typical = max(1, round(sum(lengths) / len(lengths)))

    def answered(self, step: int, examples: Sequence[Example]) -> Sequence[Example]:
        """Each row with a group of answers; their mean reward becomes a metric."""
        if step == 0:
            return self._certified(examples)
        self._ctx.progress(0, 0, f"answers the {len(examples)} questions of step {step}")
        return self._answered(step, examples, told=True)

    def foreseen(self, examples: Sequence[Example]) -> Sequence[Example]:
        """Each row with answers of the length that the first ones had."""
        found = []
        for row in examples:
            typical = Answer(ids=(row.prompt[-1],) * self._typical)
            each = Example(
                row_id=row.row_id, prompt=row.prompt, answers=(typical,) * self._config.group_size
            )
            zeros = torch.zeros(each.num_labels, dtype=torch.float64)
            gains = (0.0,) * len(each.answers)
            self._drawings[row.row_id] = Drawing(gains=gains, old=zeros, reference=zeros)
            found.append(each)
        return found

    def answering_s(self, num_rows: int) -> float:
        """By the first step's questions."""
        return num_rows * self._answer_s

    def weight(self, example: Example) -> float:  # noqa: ARG002
        """The most tokens that its answers can have."""
        return float(self._config.group_size * self._config.max_new_tokens)

    def loss(self, model: Any, states: torch.Tensor, micro: MicroBatch) -> torch.Tensor:
        """Of each token of the answers."""
        log_p = self._log_probs(model, states, micro)
        known = [self._drawings[row_id] for row_id in micro.row_ids]
        gains = torch.tensor([gain for each in known for gain in each.gains], dtype=torch.float64)
        losses = policy_losses(
            log_p,
            torch.cat([each.old for each in known if each.old is not None])
            if known[0].old is not None
            else log_p.detach(),
            torch.cat([each.reference for each in known if each.reference is not None])
            if known[0].reference is not None
            else log_p.detach(),
            gains[micro.unit_of_label],
            clip=self._config.clip,
            kl_weight=self._config.kl_weight,
        )
        return losses.sum()

    def plain_mean(self, stock: Any, examples: Sequence[Example]) -> torch.Tensor:
        """The formula of the papers for each token in turn, of logits that stock code gives each
        answer alone."""
        config = self._config
        losses = []
        for example in examples:
            known = self._drawings[example.row_id]
            assert known.old is not None
            tokens = iter(range(len(known.old)))
            for answer, gain in zip(example.answers, known.gains, strict=True):
                ids = torch.tensor(example.prompt + answer.ids)
                logits = stock_logits(stock, ids)[:-1].double() / config.temperature
                log_p = torch.log_softmax(logits, dim=-1).gather(1, ids[1:, None])[:, 0]
                for each in log_p[-len(answer.ids) :]:
                    place = next(tokens)
                    ratio = (each - known.old[place]).exp()
                    held = ratio.clamp(1 - config.clip, 1 + config.clip)
                    loss = -torch.min(ratio * gain, held * gain)
                    if known.reference is not None:
                        gap = known.reference[place] - each
                        loss = loss + config.kl_weight * (gap.exp() - gap - 1)
                    losses.append(loss)
        room = len(examples) * config.group_size * config.max_new_tokens
        return torch.stack(losses).sum() / room

    def _answered(
        self, step: int, examples: Sequence[Example], *, told: bool = False
    ) -> list[Example]:
        config, rewards, found = self._config, [], []
        for row in examples:
            name = f"{self._ctx.seed}/{step}/{row.row_id}"
            found.append(self._drawn(row, name, config.max_new_tokens))
            wanted = self._wanted[row.row_id]
            texts = [said(self._tokenizer, answer.ids) for answer in found[-1].answers]
            rewards.append([worth(config.rewards, text, wanted) for text in texts])
        if told:
            mean = sum(map(sum, rewards)) / sum(map(len, rewards))
            self._ctx.metric("reward", mean, step)
        old = self._known(self._model, self._hidden, found) if config.updates > 1 else {}
        reference = self._by_reference(found)
        for row, of_group in zip(examples, rewards, strict=True):
            self._drawings[row.row_id] = Drawing(
                gains=advantages(of_group),
                old=old.get(row.row_id),
                reference=reference.get(row.row_id),
            )
        return found

    def _drawn(self, row: Example, name: str, max_tokens: int) -> Example:
        """`row` with a group of answers."""
        drawn = draw_group(
            self._model,
            row.prompt,
            [f"{name}/{member}" for member in range(self._config.group_size)],
            stops=self._stops,
            temperature=self._config.temperature,
            max_tokens=max_tokens,
        )
        answers = tuple(Answer(ids=each.ids) for each in drawn)
        return Example(row_id=row.row_id, prompt=row.prompt, answers=answers)

    def _certified(self, examples: Sequence[Example]) -> list[Example]:
        """Short answers, with gains and log-probabilities that exercise all of the formula."""
        found = [
            self._drawn(row, f"certificate/{row.row_id}", CERTIFIED_TOKENS) for row in examples
        ]
        now = self._known(self._model, self._hidden, found)
        for row in found:
            log_p = now[row.row_id]
            shifts = torch.tensor(CERTIFIED_SHIFTS, dtype=torch.float64).repeat(len(log_p))
            places = [place % len(CERTIFIED_GAINS) for place in range(len(row.answers))]
            self._drawings[row.row_id] = Drawing(
                gains=tuple(CERTIFIED_GAINS[place] for place in places),
                old=log_p + shifts[: len(log_p)],
                reference=log_p - shifts[: len(log_p)] if self._config.kl_weight else None,
            )
        return found

    def _by_reference(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        if self._reference is None:
            return {}

        def hidden(micro: MicroBatch) -> torch.Tensor:
            return hidden_states(self._reference, micro.ids, micro.positions, micro.documents)

        return self._known(self._reference, hidden, examples)

    @torch.no_grad()
    def _known(
        self, model: Any, hidden: Hidden, examples: Sequence[Example]
    ) -> dict[str, torch.Tensor]:
        """Nats of each token of each row's answers, by row."""
        found: dict[str, torch.Tensor] = {}
        for micro in streams(examples, MICRO_TOKENS):
            log_p = self._log_probs(model, hidden(micro), micro)
            sizes = [example.num_labels for example in micro.examples]
            found |= zip(micro.row_ids, torch.split(log_p, sizes), strict=True)
        return found

    def _log_probs(self, model: Any, states: torch.Tensor, micro: MicroBatch) -> torch.Tensor:
        """(num_labels,), float64, at the temperature of the draw."""
        head = model.get_output_embeddings().weight
        cooled = states[micro.predicting] / self._config.temperature
        return token_log_probs(cooled, head, micro.labels).double()
