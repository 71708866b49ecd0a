"""Whether two models are the same one: what they say of held-out prompts, token by token.

Nothing but the tokens after a prompt counts: there the model was tuned, and there it is used.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from tunesmith.lm.engine import Message
from tunesmith.lm.generate import continuation
from tunesmith.records.export import Parity
from tunesmith.records.rows import Turn

Kept = TypeVar("Kept")

MAX_ANSWER = 32
"""Tokens of an answer that are compared; the rest of a longer one is not."""
ROOM = 8
"""Tokens that a greedy answer may be longer than the longest true one before it is cut off."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Required:
    """What an export must show."""

    mean_kl: float
    """In nats a token, at most."""
    same_answers: float
    """Share of greedy answers with equal ids, at least; of classes, tags and orders."""
    difference: float = 0.0
    """Of the numbers of a head, as a part of the largest, at most."""


REQUIRED: Mapping[str, Required] = {
    "f32": Required(mean_kl=1e-4, same_answers=1.0),
    "f16": Required(mean_kl=1e-4, same_answers=0.9),
    "q8_0": Required(mean_kl=1e-2, same_answers=0.0),
    "q4_0": Required(mean_kl=0.5, same_answers=0.0),
}
"""By quantisation. f32: the same arithmetic in another order. f16: 11 bits of each weight are kept;
measured, 2e-7 on SmolLM2-135M tuned on licence notices and 3e-6 on a tiny random model. q8_0:
measured 5e-5 and 3e-3. q4_0: measured 6e-2 and 2e-1. The bounds lie above what rounding does to a
random model, and far below what a wrong layout of a tensor does (more than 1). A quantised model
may choose another label where two are nearly as likely: how often is recorded, not bounded."""
REQUIRED_OF_STATES: Mapping[str, Required] = {
    "adapter": Required(mean_kl=1e-4, same_answers=1.0, difference=1e-4),
    "merged": Required(mean_kl=1e-4, same_answers=1.0, difference=1e-4),
    "onnx": Required(mean_kl=1e-4, same_answers=1.0, difference=1e-3),
}
"""Of models that read states, by format; these are all that fit. It is the same arithmetic in
another order; ONNX Runtime also fuses operations and has its own GELU. Measured on tiny random
encoders: 1e-6."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A held-out row as ids."""

    text: str
    """What is asked; all that was said in a conversation."""
    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    """With the token that ends the turn, unless it was cut at `MAX_ANSWER`."""
    messages: tuple[Message | Turn, ...] = ()
    """The conversation that asks; none at all where no template is used."""
    tools: tuple[Mapping[str, Any], ...] = ()
    """JSON schemas of the functions that it may call."""
    before: tuple[int, ...] = ()
    """Where no template is used: what stands before the ids of `text`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A model that answers, with its own idea of a prompt and of when to stop."""

    model: Any
    """transformers' model, in float32."""
    prompt: Callable[[Question], Sequence[int]]
    """The ids that ask it, by its own tokenizer and template."""
    stops: frozenset[int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Observation:
    """What a subject said to one question."""

    prompt: tuple[int, ...]
    logits: torch.Tensor
    """(answer tokens, vocabulary): before each token of the true answer."""
    answer: tuple[int, ...]
    """Greedy; its last token is a stop unless it was cut off."""
    stopped: bool


def spread(rows: Sequence[Kept], num: int) -> list[Kept]:
    """`num` of `rows`, or all if they are fewer, spread evenly over them."""
    num = min(num, len(rows))
    return [rows[index * len(rows) // num] for index in range(num)]


def observe(
    subject: Subject, questions: Sequence[Question], done: Callable[[int], None]
) -> list[Observation]:
    """What `subject` says to each question; `done(questions)` is called after each."""
    limit = min(MAX_ANSWER, max(len(question.answer) for question in questions)) + ROOM
    found = []
    for question in questions:
        prompt = tuple(subject.prompt(question))
        answer = _greedy(subject, prompt, limit)
        found.append(
            Observation(
                prompt=prompt,
                logits=_forced(subject.model, question),
                answer=answer,
                stopped=answer[-1] in subject.stops,
            )
        )
        done(len(found))
    return found


def compare(
    tuned: Sequence[Observation],
    export: Sequence[Observation],
    *,
    stops_at_turn: bool,
    required: Required,
) -> Parity:
    """How far the observations of an export are from those of the tuned model."""
    pairs = list(zip(tuned, export, strict=True))
    kl = torch.cat([divergence(one.logits, other.logits) for one, other in pairs])
    mean_kl = float(kl.mean())
    same_prompts = share([one.prompt == other.prompt for one, other in pairs])
    same_answers = share([one.answer == other.answer for one, other in pairs])
    same_stops = share([one.stopped <= other.stopped for one, other in pairs])
    passed = (
        mean_kl <= required.mean_kl  # False for a NaN
        and same_answers >= required.same_answers
        and same_prompts == same_stops == 1
        and stops_at_turn
    )
    return Parity(
        num_prompts=len(pairs),
        num_positions=len(kl),
        mean_kl=mean_kl,
        max_kl=float(kl.max()),
        required_kl=required.mean_kl,
        same_prompts=same_prompts,
        same_answers=same_answers,
        required_answers=required.same_answers,
        same_stops=same_stops,
        stops_at_turn=stops_at_turn,
        verdict="pass" if passed else "fail",
    )


def divergence(tuned: torch.Tensor, export: torch.Tensor) -> torch.Tensor:
    """KL(tuned || export) of each row of logits, in nats, float64; never below zero."""
    p = torch.log_softmax(tuned.double(), dim=-1)
    q = torch.log_softmax(export.double(), dim=-1)
    return torch.clamp((p.exp() * (p - q)).sum(dim=-1), min=0)


def misses(parity: Parity) -> str:
    """What was observed and what is required, in one sentence."""
    declared = "declares" if parity.stops_at_turn else "does not declare"
    return (
        f"over {parity.num_prompts} prompts the mean KL is {parity.mean_kl:.2e} nats (highest "
        f"{parity.max_kl:.2e}, required {parity.required_kl:.0e}), {parity.same_answers:.0%} of "
        f"the greedy answers are equal (required {parity.required_answers:.0%}), "
        f"{parity.same_prompts:.0%} of the prompts have equal ids and after "
        f"{parity.same_stops:.0%} it stops if the tuned model does (required 100%), and it "
        f"{declared} the token that ends a turn as one to stop at"
    )


def share(hits: Sequence[bool]) -> float:
    """How many of `hits` are true, as a part of all."""
    return sum(hits) / len(hits)


@torch.inference_mode()
def _forced(model: Any, question: Question) -> torch.Tensor:
    ids = torch.tensor([[*question.prompt, *question.answer]])
    output = model(input_ids=ids, use_cache=False, logits_to_keep=len(question.answer) + 1)
    return output.logits[0, :-1]


def _greedy(subject: Subject, prompt: Sequence[int], limit: int) -> tuple[int, ...]:
    answer: list[int] = []
    tokens = continuation(subject.model, prompt, lambda logits: int(logits.argmax()))
    for token in itertools.islice(tokens, limit):
        answer.append(token)
        if token in subject.stops:
            break
    return tuple(answer)
