"""Rows of a dataset as token ids, their order, and the micro-batches of a global step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import torch

from tunesmith.core.canonical import draw
from tunesmith.lm.attention import Documents
from tunesmith.lm.chat_template import conversation
from tunesmith.lm.tokenizer import Tokenizer

MICRO_TOKENS = 1024
"""Tokens of a micro-batch: enough to fill the arithmetic units, few enough for the memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainRow:
    """One conversation to learn from; the labels are `ids[num_prompt:]`."""

    row_id: str
    ids: tuple[int, ...]
    num_prompt: int

    @property
    def num_labels(self) -> int:
        """Tokens that the loss is taken on; a first token has nothing that predicts it."""
        return len(self.ids) - max(self.num_prompt, 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class MicroBatch:
    """Rows end to end in one flat stream."""

    row_ids: tuple[str, ...]
    """Of each document."""
    ids: torch.Tensor
    """(num_tokens,), int64."""
    positions: torch.Tensor
    """(num_tokens,), int64; restarts at every row."""
    documents: Documents
    predicting: torch.Tensor
    """(num_labels,): places in the stream whose next token is a label."""
    labels: torch.Tensor
    """(num_labels,): those next tokens."""

    @property
    def num_tokens(self) -> int:
        """Length of the stream."""
        return len(self.ids)


def read_rows(path: Path, tokenizer: Tokenizer, instruction: str) -> list[TrainRow]:
    """The rows of a split's Parquet file as ids, in the file's order, whole.

    Raises:
        DataError: a row cannot be rendered.
    """
    table = pq.read_table(path, columns=["row_id", "text", "label"])
    rows = []
    for record in table.to_pylist():
        rendered = conversation(tokenizer, instruction, record["text"], record["label"])
        rows.append(
            TrainRow(row_id=record["row_id"], ids=rendered.ids, num_prompt=rendered.num_prompt)
        )
    return rows


def share_of(rows: Sequence[TrainRow], share: float, seed: int) -> list[TrainRow]:
    """That share of `rows`, at least one, in their order.

    Which ones follows from the seed and the row ids alone, and those of a smaller share are among
    those of a larger one.

    >>> rows = [TrainRow(row_id=name, ids=(1, 2), num_prompt=1) for name in "abcd"]
    >>> [row.row_id for row in share_of(rows, 0.5, seed=0)]
    ['b', 'c']
    """
    ordered = sorted(rows, key=lambda row: draw(f"{seed}/share/{row.row_id}"))
    kept = {row.row_id for row in ordered[: max(1, round(share * len(rows)))]}
    return [row for row in rows if row.row_id in kept]


def steps_of_epoch(
    rows: Sequence[TrainRow], seed: int, epoch: int, batch_rows: int
) -> Iterator[list[TrainRow]]:
    """The rows of each global step of one epoch; the last step may be shorter.

    The order is a pure function of the seed, the epoch and the row ids, neither of the order of the
    file nor of any generator's state, so that any step can be found again.
    """
    ordered = sorted(rows, key=lambda row: draw(f"{seed}/{epoch}/{row.row_id}"))
    for start in range(0, len(ordered), batch_rows):
        yield ordered[start : start + batch_rows]


def first_micro_batch(rows: Sequence[TrainRow], seed: int, batch_rows: int) -> MicroBatch:
    """The first one of a run."""
    return next(micro_batches(next(steps_of_epoch(rows, seed, 0, batch_rows))))


def micro_batches(rows: Sequence[TrainRow], max_tokens: int = MICRO_TOKENS) -> Iterator[MicroBatch]:
    """The rows in their order, as streams of at most `max_tokens` (or of one longer row)."""
    pending: list[TrainRow] = []
    num_tokens = 0
    for row in rows:
        if pending and num_tokens + len(row.ids) > max_tokens:
            yield pack(pending)
            pending, num_tokens = [], 0
        pending.append(row)
        num_tokens += len(row.ids)
    if pending:
        yield pack(pending)


def pack(rows: Sequence[TrainRow]) -> MicroBatch:
    """Rows end to end."""
    ids: list[int] = []
    positions: list[int] = []
    predicting: list[int] = []
    labels: list[int] = []
    for row in rows:
        first = max(row.num_prompt, 1)
        predicting.extend(range(len(ids) + first - 1, len(ids) + len(row.ids) - 1))
        labels.extend(row.ids[first:])
        ids.extend(row.ids)
        positions.extend(range(len(row.ids)))
    return MicroBatch(
        row_ids=tuple(row.row_id for row in rows),
        ids=torch.tensor(ids),
        positions=torch.tensor(positions),
        documents=Documents(lengths=tuple(len(row.ids) for row in rows)),
        predicting=torch.tensor(predicting),
        labels=torch.tensor(labels),
    )
