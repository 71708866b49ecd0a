"""Preferences: of two answers to one question, the better one is made likelier than the worse.

The prompt of a pair is computed once for both answers. All four losses are sums over pairs, so that
they do not depend on how a global step is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import logsigmoid

from tunesmith.core.step import Context
from tunesmith.lm.contents import read_contents
from tunesmith.lm.example import Example, MicroBatch
from tunesmith.lm.load import LoadedModel
from tunesmith.lm.questions import preference_example
from tunesmith.records.data import Dataset
from tunesmith.records.rows import Preference
from tunesmith.stages.finetune.batches import steps_of_epoch
from tunesmith.stages.finetune.config import WITH_REFERENCE, ModelConfig
from tunesmith.stages.finetune.objectives.causal import Causal
from tunesmith.stages.finetune.objectives.judged import (
    Reference,
    inspect_judged,
    log_probs_of_answers,
    plain_log_probs,
)
from tunesmith.stages.finetune.objectives.objective import Hidden
from tunesmith.stages.finetune.preflight import Preflight

ALMOST_CERTAIN = -1e-7
"""Nats of a token. Above it the odds of an answer are not told from infinite in float32."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """The better, or the worse, answers of some pairs."""

    log_p: torch.Tensor
    """(num_pairs,), nats of the whole answer."""
    reference: torch.Tensor
    """(num_pairs,), the same before the first step; zeros where the loss has no reference."""
    num_tokens: torch.Tensor
    """(num_pairs,)."""

    @property
    def ratio(self) -> torch.Tensor:
        """(num_pairs,), how much likelier each answer has become."""
        return self.log_p - self.reference

    @property
    def per_token(self) -> torch.Tensor:
        """(num_pairs,), nats of a token."""
        return self.log_p / self.num_tokens


def dpo(better: Side, worse: Side, config: ModelConfig) -> torch.Tensor:
    """Direct preference optimisation (arXiv 2305.18290, eq. 7): (num_pairs,)."""
    return -logsigmoid(config.beta * (better.ratio - worse.ratio))


def ipo(better: Side, worse: Side, config: ModelConfig) -> torch.Tensor:
    """Identity preference optimisation (arXiv 2310.12036, eq. 17), beta for its tau: (num_pairs,).

    Ratios are by the token, as in TRL, whose authors confirmed it with those of the paper.
    """
    gap = better.ratio / better.num_tokens - worse.ratio / worse.num_tokens
    return (gap - 1 / (2 * config.beta)).square()


def orpo(better: Side, worse: Side, config: ModelConfig) -> torch.Tensor:
    """Odds ratio preference optimisation (arXiv 2403.07691, eq. 6), beta for its lambda.

    (num_pairs,). Its first term is that of the paper: the better answer, by the token. TRL's counts
    the prompt's tokens too, and all tokens of a micro-batch alike.
    """
    odds = _log_odds(better.per_token) - _log_odds(worse.per_token)
    return -better.per_token - config.beta * logsigmoid(odds)


def simpo(better: Side, worse: Side, config: ModelConfig) -> torch.Tensor:
    """Simple preference optimisation (arXiv 2405.14734, eq. 6): (num_pairs,)."""
    gap = better.per_token - worse.per_token
    return -logsigmoid(config.beta * gap - config.margin)


def _log_odds(log_p: torch.Tensor) -> torch.Tensor:
    """log(p / (1 - p)); of float64."""
    certain = log_p.clamp(max=ALMOST_CERTAIN)
    return certain - torch.log(-torch.expm1(certain))


Formula = Callable[[Side, Side, ModelConfig], torch.Tensor]
FORMULAS: Mapping[str, Formula] = {"dpo": dpo, "ipo": ipo, "orpo": orpo, "simpo": simpo}


class Pairs(Causal):
    """Two answers to each question; one denominator, the number of pairs."""

    def __init__(self, config: ModelConfig, dataset: Dataset) -> None:
        """`config` says which of the losses."""
        self._config, self._dataset = config, dataset
        self._formula = FORMULAS[config.objective]
        self._reference = Reference() if config.objective in WITH_REFERENCE else None

    def read(self, path: Path, loaded: LoadedModel) -> Iterator[Example]:
        """Each row's prompt with the chosen answer and the rejected one, in this order."""
        instruction = self._dataset.instruction
        for row_id, content in read_contents(path, Preference):
            yield preference_example(loaded.tokenizer, instruction, row_id, content)

    def inspect(self, path: Path, loaded: LoadedModel, examples: Sequence[Example]) -> Preflight:
        """The rules of conversations for both answers, and that the two are not the same."""
        contents = [content for _, content in read_contents(path, Preference)]
        prompts = [content.prompt for content in contents]
        answers = [(content.chosen, content.rejected) for content in contents]
        return inspect_judged(examples, prompts, answers, self._dataset.instruction, loaded)

    def prepare(
        self, ctx: Context, model: Any, hidden: Hidden, examples: Sequence[Example]
    ) -> None:
        """The reference's log-probabilities of both answers of each row."""
        if self._reference:  # packed as in the first epoch, whose sums are then the same to the bit
            steps = steps_of_epoch(examples, ctx.seed, 0, self._config.batch_rows)
            self._reference.prepare(ctx, model, hidden, steps, len(examples))

    def weight(self, example: Example) -> float:  # noqa: ARG002
        """1 for each pair."""
        return 1.0

    def loss(self, model: Any, states: torch.Tensor, micro: MicroBatch) -> torch.Tensor:
        """Of each pair, by the log-probabilities of its two answers."""
        log_p = log_probs_of_answers(model, states, micro)
        known = self._reference.of(micro) if self._reference else torch.zeros_like(log_p)
        return self._sum(micro.examples, log_p.view(-1, 2), known.view(-1, 2))

    def plain_mean(self, stock: Any, examples: Sequence[Example]) -> torch.Tensor:
        """The mean over the pairs by torch in float64, before the first step: the model is its own
        reference."""
        log_p = torch.stack([torch.stack(plain_log_probs(stock, example)) for example in examples])
        reference = log_p.detach() if self._reference else torch.zeros_like(log_p)
        return self._sum(examples, log_p, reference) / len(log_p)

    def _sum(
        self, examples: Sequence[Example], log_p: torch.Tensor, reference: torch.Tensor
    ) -> torch.Tensor:
        """`log_p` and `reference` are (num_pairs, 2), the better answers first."""
        lengths = torch.tensor(
            [[len(answer.ids) for answer in example.answers] for example in examples]
        )
        better, worse = (
            Side(log_p=log_p[:, side], reference=reference[:, side], num_tokens=lengths[:, side])
            for side in (0, 1)
        )
        return self._formula(better, worse, self._config).sum()
