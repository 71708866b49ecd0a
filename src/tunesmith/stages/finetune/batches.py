"""Rows of a dataset as token ids, their order, and the micro-batches of a global step."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import torch

from tunesmith.core.errors import DataError
from tunesmith.lm.attention import Documents
from tunesmith.lm.chat_template import conversation
from tunesmith.lm.tokenizer import Tokenizer

MICRO_TOKENS = 1024
"""Tokens of a micro-batch: enough to fill the arithmetic units, few enough for the memory."""
MAX_LISTED = 5
"""Rows named in an error message."""


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


def read_rows(
    path: Path, tokenizer: Tokenizer, instruction: str, context_length: int
) -> list[TrainRow]:
    """The rows of a split's Parquet file as ids, in the file's order.

    Raises:
        DataError: there are none, or some have no label or do not fit the context; nothing is cut
            off or left out in silence.
    """
    table = pq.read_table(path, columns=["row_id", "text", "label"])
    rows = []
    for record in table.to_pylist():
        rendered = conversation(tokenizer, instruction, record["text"], record["label"])
        rows.append(
            TrainRow(row_id=record["row_id"], ids=rendered.ids, num_prompt=rendered.num_prompt)
        )
    check_rows(rows, context_length)
    return rows


def check_rows(rows: Sequence[TrainRow], context_length: int) -> None:
    """Refuse what cannot be learnt from as it is.

    Raises:
        DataError: see `read_rows`.
    """
    if not rows:
        raise DataError(
            "the dataset has no training rows", remedy="look at what was dropped, and loosen it"
        )
    unlabelled = [row.row_id for row in rows if row.num_labels < 1]
    if unlabelled:
        raise DataError(
            f"{len(unlabelled)} rows have no label token: {_some(unlabelled)}",
            remedy="give every row a label",
        )
    long = [f"{row.row_id} ({len(row.ids)})" for row in rows if len(row.ids) > context_length]
    if long:
        raise DataError(
            f"{len(long)} rows are longer than the model's {context_length} tokens: {_some(long)}",
            remedy="set the dataset's max_tokens to what the base model can read",
        )


def steps_of_epoch(
    rows: Sequence[TrainRow], seed: int, epoch: int, batch_rows: int
) -> Iterator[list[TrainRow]]:
    """The rows of each global step of one epoch; the last step may be shorter.

    The order is a pure function of the seed, the epoch and the row ids, neither of the order of the
    file nor of any generator's state, so that any step can be found again.
    """
    ordered = sorted(rows, key=lambda row: _key(seed, epoch, row.row_id))
    for start in range(0, len(ordered), batch_rows):
        yield ordered[start : start + batch_rows]


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
        ids=torch.tensor(ids),
        positions=torch.tensor(positions),
        documents=Documents(lengths=tuple(len(row.ids) for row in rows)),
        predicting=torch.tensor(predicting),
        labels=torch.tensor(labels),
    )


def _key(seed: int, epoch: int, row_id: str) -> bytes:
    return hashlib.sha256(f"{seed}/{epoch}/{row_id}".encode()).digest()


def _some(names: Sequence[str]) -> str:
    listed = ", ".join(names[:MAX_LISTED])
    return listed if len(names) <= MAX_LISTED else f"{listed} and {len(names) - MAX_LISTED} more"
