"""How probable each of a few fixed answers is, exactly.

The prompt of a row is computed once for all labels, and labels that begin alike share those tokens
too: prompt and labels make one tree, laid flat behind the prompt, in which a token attends to the
prompt and to its own ancestors (the tree attention of SpecInfer, arXiv 2305.09781). Several rows go
through the model in one flat stream.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import linear

from tunesmith.core.errors import UsageError
from tunesmith.lm.attention import Documents, attend_by_document, hidden_states
from tunesmith.lm.chat_template import answered, question
from tunesmith.lm.engine import Message
from tunesmith.lm.load import LoadedModel

MAX_TOKENS = 1024
"""Tokens of one forward pass."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trie:
    """The answers' tokens, shared where they begin alike; what predicts nothing is left out."""

    tokens: tuple[int, ...]
    """The token of each node; a parent stands before its children."""
    depths: tuple[int, ...]
    """Tokens between the prompt and each node."""
    attends: torch.Tensor
    """(nodes, nodes) bool: the row's node attends to the column's, itself or an ancestor."""
    paths: tuple[tuple[tuple[int, int], ...], ...]
    """For each answer, its tokens as (place, token): 0 is the end of the prompt, 1 the first node.
    The state at the place predicts the token."""

    def answer(self, index: int) -> tuple[int, ...]:
        """The tokens of one answer."""
        return tuple(token for _, token in self.paths[index])


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreRow:
    """One prompt and the answers to be scored after it."""

    prompt: tuple[int, ...]
    trie: Trie

    @property
    def num_tokens(self) -> int:
        """Tokens that go through the model."""
        return len(self.prompt) + len(self.trie.tokens)


def score_labels(
    loaded: LoadedModel,
    instruction: str,
    texts: Sequence[str],
    labels: Sequence[str],
    done: Callable[[int], None] = lambda _rows: None,
) -> torch.Tensor:
    """log p(label, end of turn | instruction, text), in nats, over the full vocabulary.

    Shape (num_texts, num_labels), float64. `done(rows)` is called as rows are finished.

    Raises:
        UsageError: a text does not fit the model's context.
        DataError: the model's architecture cannot be packed, or its template cannot be used.
    """
    attend_by_document(loaded.model)
    scores = torch.empty(len(texts), len(labels), dtype=torch.float64)
    first = 0
    rows = (score_row(loaded, question(instruction, text), labels) for text in texts)
    for group in _groups(rows):
        scores[first : first + len(group)] = _score(loaded.model, group)
        first += len(group)
        done(first)
    return scores


def score_row(loaded: LoadedModel, asked: Sequence[Message], labels: Sequence[str]) -> ScoreRow:
    """The ids of one conversation and of each label as its answer, as they are for training.

    Raises:
        UsageError: it does not fit the model's context.
    """
    rendered = [answered(loaded.tokenizer, asked, label) for label in labels]
    num_prompt = rendered[0].num_prompt
    longest = max(len(row.ids) for row in rendered)
    if longest > loaded.context_length:
        raise UsageError(
            f"a text of {num_prompt} tokens and its answer do not fit the model's "
            f"{loaded.context_length}: {asked[-1].content[:60]!r}...",
            remedy="shorten the text, or use a base model with a longer context",
        )
    return ScoreRow(
        prompt=rendered[0].ids[:num_prompt],
        trie=make_trie(tuple(row.ids[num_prompt:] for row in rendered)),
    )


def likeliest(loaded: LoadedModel, row: ScoreRow) -> int:
    """The place of the label that an evaluation would predict; of equally likely ones the first.

    The model must have been through `attend_by_document`.
    """
    return int(_score(loaded.model, [row])[0].argmax())


@functools.lru_cache(maxsize=64)
def make_trie(answers: tuple[tuple[int, ...], ...]) -> Trie:
    """The trie of `answers`, each at least one token."""
    nodes: dict[tuple[int, ...], int] = {}
    for answer in answers:
        for end in range(1, len(answer)):
            nodes.setdefault(answer[:end], len(nodes))
    attends = torch.zeros(len(nodes), len(nodes), dtype=torch.bool)
    for prefix, node in nodes.items():
        for end in range(1, len(prefix) + 1):
            attends[node, nodes[prefix[:end]]] = True
    return Trie(
        tokens=tuple(prefix[-1] for prefix in nodes),
        depths=tuple(len(prefix) - 1 for prefix in nodes),
        attends=attends,
        paths=tuple(
            tuple(
                (0 if end == 0 else nodes[answer[:end]] + 1, token)
                for end, token in enumerate(answer)
            )
            for answer in answers
        ),
    )


def _groups(rows: Iterator[ScoreRow]) -> Iterator[list[ScoreRow]]:
    """Rows in their order, as many as fit one forward pass, at least one."""
    group: list[ScoreRow] = []
    num_tokens = 0
    for row in rows:
        if group and num_tokens + row.num_tokens > MAX_TOKENS:
            yield group
            group, num_tokens = [], 0
        group.append(row)
        num_tokens += row.num_tokens
    if group:
        yield group


@torch.inference_mode()
def _score(model: Any, group: Sequence[ScoreRow]) -> torch.Tensor:
    ids: list[int] = []
    positions: list[int] = []
    ends: list[int] = []
    for row in group:
        num_prompt = len(row.prompt)
        ends.append(len(ids) + num_prompt - 1)
        ids += [*row.prompt, *row.trie.tokens]
        positions += [*range(num_prompt), *(num_prompt + depth for depth in row.trie.depths)]
    documents = Documents(
        lengths=tuple(row.num_tokens for row in group),
        masks=tuple(_mask(row) for row in group),
    )
    hidden = hidden_states(model, torch.tensor(ids), torch.tensor(positions), documents)
    head = model.get_output_embeddings().weight
    scores = []
    for row, end in zip(group, ends, strict=True):
        states = hidden[end : end + 1 + len(row.trie.tokens)]
        log_p = torch.log_softmax(linear(states, head), dim=-1)
        for path in row.trie.paths:
            places, tokens = zip(*path, strict=True)
            scores.append(log_p[list(places), list(tokens)].double().sum())
    return torch.stack(scores).reshape(len(group), -1)


def _mask(row: ScoreRow) -> torch.Tensor:
    """What attends to what in the prompt and the tree behind it."""
    num_prompt = len(row.prompt)
    mask = torch.ones(row.num_tokens, row.num_tokens, dtype=torch.bool).tril_()
    mask[num_prompt:, num_prompt:] = row.trie.attends
    return mask
