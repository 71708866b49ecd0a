"""Examples as tokens, and several of them end to end in one flat stream."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from tunesmith.lm.attention import Documents

Target = int | float | tuple[int, ...] | None
"""What a model without an output head is to say of an example: a class, a number, tags. Of an
answer that somebody judged, 1 if it was liked and 0 if not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One way to go on after a prompt."""

    ids: tuple[int, ...]
    weights: tuple[float, ...] = ()
    """How much each token counts in a loss of tokens; none at all is 1 for each."""
    types: tuple[int, ...] = ()
    """Which of two texts each token is of, for encoders that tell them apart; none at all is 0 for
    each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A prompt and the answers to it, which do not see one another.

    Without a prompt each answer is a document by itself; without answers the prompt is one.
    """

    row_id: str
    prompt: tuple[int, ...] = ()
    answers: tuple[Answer, ...] = ()
    target: Target = None

    @property
    def num_tokens(self) -> int:
        """Tokens that go through the model; the prompt is computed once."""
        return len(self.prompt) + sum(len(answer.ids) for answer in self.answers)

    @property
    def num_labels(self) -> int:
        """Tokens of the answers that a loss of tokens is taken on."""
        return sum(weight > 0 for _, _, weight in self._labels())

    @property
    def label_weight(self) -> float:
        """The sum of the weights of those tokens."""
        return sum(weight for _, _, weight in self._labels())

    def documents(self) -> list[tuple[int, ...]]:
        """The ids of each document by itself: the prompt with each answer."""
        return [self.prompt + answer.ids for answer in self.answers] or [self.prompt]

    def document_types(self) -> list[tuple[int, ...]]:
        """The types of the tokens of each document; none at all where all are 0."""
        prompt = (0,) * len(self.prompt)
        return [prompt + each.types if each.types else () for each in self.answers] or [()]

    def _labels(self) -> Iterator[tuple[int, int, float]]:
        """(answer, place in it, weight); a first token has nothing that predicts it."""
        for number, answer in enumerate(self.answers):
            for place in range(0 if self.prompt else 1, len(answer.ids)):
                yield number, place, answer.weights[place] if answer.weights else 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class MicroBatch:
    """Examples end to end in one flat stream.

    A unit is an answer or, of an example without answers, the prompt.
    """

    examples: tuple[Example, ...]
    ids: torch.Tensor
    """(num_tokens,), int64."""
    positions: torch.Tensor
    """(num_tokens,), int64; restarts at every document; every answer goes on from its prompt."""
    documents: Documents
    predicting: torch.Tensor
    """(num_labels,): places in the stream whose next token is a label."""
    labels: torch.Tensor
    """(num_labels,): those next tokens."""
    places: torch.Tensor
    """(num_labels,): where they stand; not one further, where an answer shares its prompt."""
    weights: torch.Tensor
    """(num_labels,), float32: how much each counts."""
    unit_of_label: torch.Tensor
    """(num_labels,): which unit each label is in."""
    first: torch.Tensor
    """(num_units,): place of the first token of each unit's document."""
    last: torch.Tensor
    """(num_units,): place of the last token of each unit."""
    example_of_unit: torch.Tensor
    """(num_units,): which example each unit is of."""
    types: torch.Tensor | None = None
    """(num_tokens,), int64: which of two texts each token is of; None if all of the first."""

    @property
    def row_ids(self) -> tuple[str, ...]:
        """Of each example."""
        return tuple(example.row_id for example in self.examples)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Tokens of each example in the stream."""
        return tuple(example.num_tokens for example in self.examples)

    @property
    def num_tokens(self) -> int:
        """Length of the stream."""
        return len(self.ids)

    @property
    def num_units(self) -> int:
        """Answers, and prompts without any."""
        return len(self.last)


def pack(examples: Sequence[Example]) -> MicroBatch:
    """`examples` end to end.

    A prompt with several answers is one document, in which an answer attends to the prompt and to
    itself: what they share is computed once. That is exact for decoders only, in which nothing
    attends to what follows.
    """
    stream = _Stream()
    for number, example in enumerate(examples):
        stream.add(number, example)
    return MicroBatch(
        examples=tuple(examples),
        ids=torch.tensor(stream.ids),
        positions=torch.tensor(stream.positions),
        documents=Documents(
            lengths=tuple(stream.lengths),
            branches=tuple(stream.branches) if any(stream.branches) else (),
        ),
        predicting=torch.tensor(stream.predicting, dtype=torch.int64),
        labels=torch.tensor(stream.labels, dtype=torch.int64),
        places=torch.tensor(stream.places, dtype=torch.int64),
        weights=torch.tensor(stream.weights),
        unit_of_label=torch.tensor(stream.unit_of_label, dtype=torch.int64),
        first=torch.tensor(stream.first),
        last=torch.tensor(stream.last),
        example_of_unit=torch.tensor(stream.example_of_unit),
        types=torch.tensor(stream.types) if any(stream.types) else None,
    )


def streams(examples: Iterable[Example], max_tokens: int) -> Iterator[MicroBatch]:
    """The examples in their order, as streams of at most `max_tokens` (or of one longer one)."""
    pending: list[Example] = []
    num_tokens = 0
    for example in examples:
        if pending and num_tokens + example.num_tokens > max_tokens:
            yield pack(pending)
            pending, num_tokens = [], 0
        pending.append(example)
        num_tokens += example.num_tokens
    if pending:
        yield pack(pending)


@dataclass(kw_only=True, slots=True)
class _Stream:
    """The lists that a micro-batch is made of."""

    ids: list[int] = dataclasses.field(default_factory=list)
    positions: list[int] = dataclasses.field(default_factory=list)
    types: list[int] = dataclasses.field(default_factory=list)
    lengths: list[int] = dataclasses.field(default_factory=list)
    branches: list[tuple[int, ...]] = dataclasses.field(default_factory=list)
    predicting: list[int] = dataclasses.field(default_factory=list)
    labels: list[int] = dataclasses.field(default_factory=list)
    places: list[int] = dataclasses.field(default_factory=list)
    weights: list[float] = dataclasses.field(default_factory=list)
    unit_of_label: list[int] = dataclasses.field(default_factory=list)
    first: list[int] = dataclasses.field(default_factory=list)
    last: list[int] = dataclasses.field(default_factory=list)
    example_of_unit: list[int] = dataclasses.field(default_factory=list)

    def add(self, number: int, example: Example) -> None:
        """Put an example at the end."""
        prompt, start = len(example.prompt), len(self.ids)
        self.ids += example.prompt
        self.positions += range(prompt)
        self.types += [0] * prompt
        for answer in example.answers:
            begin = len(self.ids)
            weights = answer.weights or (1.0,) * len(answer.ids)
            for place, (token, weight) in enumerate(zip(answer.ids, weights, strict=True)):
                if weight > 0 and (place or prompt):
                    self.predicting.append(begin + place - 1 if place else start + prompt - 1)
                    self.labels.append(token)
                    self.places.append(begin + place)
                    self.weights.append(weight)
                    self.unit_of_label.append(len(self.last))
            self.ids += answer.ids
            self.positions += range(prompt, prompt + len(answer.ids))
            self.types += answer.types or [0] * len(answer.ids)
            self._end_unit(number, start if prompt else begin)
            if not prompt:
                self._end_document(len(answer.ids))
        if not example.answers:
            self._end_unit(number, start)
        if prompt:
            answers = [len(answer.ids) for answer in example.answers]
            self._end_document(sum(answers, prompt), (prompt, *answers) if answers[1:] else ())

    def _end_unit(self, example: int, first: int) -> None:
        self.first.append(first)
        self.last.append(len(self.ids) - 1)
        self.example_of_unit.append(example)

    def _end_document(self, length: int, branches: tuple[int, ...] = ()) -> None:
        self.lengths.append(length)
        self.branches.append(branches)
