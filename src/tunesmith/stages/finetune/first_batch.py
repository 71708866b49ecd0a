"""The first step of a run as the model sees it, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tunesmith.core.blobs import Blobs
from tunesmith.lm.chat_template import stop_ids
from tunesmith.lm.encode import NO_TAG
from tunesmith.lm.example import Example, MicroBatch
from tunesmith.lm.tokenizer import Tokenizer
from tunesmith.records.data import Dataset
from tunesmith.records.model import BaseModel
from tunesmith.stages.finetune.batches import count_steps, share_of, steps_of_epoch
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.objectives.objective import make_objective
from tunesmith.stages.finetune.preflight import Preflight
from tunesmith.stages.finetune.token_rows import require_used


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownToken:
    """One place of the stream that the model is given."""

    id: int
    text: str
    """As the tokenizer shows it; what cannot be printed is escaped."""
    position: int
    document: int
    """From 0, over the whole step."""
    trained: Literal["no", "answer", "end of turn"]
    """Whether the loss is taken on it, and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstBatch:
    """The first global step of a run, which has not begun, and what was found in all its rows."""

    preflight: Preflight
    row_ids: tuple[str, ...]
    """The row of each document."""
    targets: tuple[str, ...]
    """What the model is to say of each row, where that is not a part of its tokens; else empty."""
    tokens: tuple[ShownToken, ...]
    num_steps: int
    """Of the whole run."""


def look(
    config: ModelConfig, blobs: Blobs, base: BaseModel, dataset: Dataset, seed: int
) -> FirstBatch:
    """The first batch of the run that these arguments would start; nothing is trained.

    Raises:
        DataError: the rows cannot be read or rendered at all, or lack a new token.
    """
    objective = make_objective(config, dataset)
    loaded = objective.load(base, blobs)
    path = blobs.path(dataset.train.rows)
    rows = list(objective.read(path, loaded))
    require_used({loaded.tokenizer.id_of(token): token for token in config.new_tokens}, rows)
    drawn = share_of(rows, config.share_of_rows, seed)
    step: list[Example] = next(steps_of_epoch(drawn, seed, 0, config.batch_rows), [])
    return FirstBatch(
        preflight=objective.inspect(path, loaded, rows),
        row_ids=tuple(row.row_id for row in step),
        targets=tuple(_target(row, dataset.labels, config.objective) for row in step),
        tokens=first_batch(list(objective.cut(step)), loaded.tokenizer),
        num_steps=count_steps(len(drawn), config),
    )


def first_batch(micros: Sequence[MicroBatch], tokenizer: Tokenizer) -> tuple[ShownToken, ...]:
    """The rows of one global step as the model sees them.

    Read off the very tensors that the loop makes, so what is shown is what is trained.
    """
    stop = stop_ids(tokenizer) if micros and tokenizer.chat_template else frozenset()
    shown: list[ShownToken] = []
    document = -1
    for micro in micros:
        labelled = set(micro.places.tolist())
        lengths = micro.sizes
        documents = [document + 1 + n for n, length in enumerate(lengths) for _ in range(length)]
        stream = zip(micro.ids.tolist(), micro.positions.tolist(), documents, strict=True)
        for place, (token, position, document) in enumerate(stream):
            why: Literal["answer", "end of turn"] = "end of turn" if token in stop else "answer"
            shown.append(
                ShownToken(
                    id=token,
                    text=_visible(tokenizer, token),
                    position=position,
                    document=document,
                    trained=why if place in labelled else "no",
                )
            )
    return tuple(shown)


def _target(row: Example, labels: Sequence[str], objective: str) -> str:
    """The class of a row, or its tags in the order of its words."""
    if objective not in ("classify", "tag") or row.target is None:
        return ""
    numbers = row.target if isinstance(row.target, tuple) else (row.target,)
    return " ".join(labels[int(number)] for number in numbers if number != NO_TAG)


def _visible(tokenizer: Tokenizer, token: int) -> str:
    text = str(tokenizer.core.decode([token], skip_special_tokens=False))
    if not text or "\ufffd" in text:  # a part of a character
        text = tokenizer.core.id_to_token(token) or ""
    return "".join(
        char
        if char.isprintable() and char != "\\"
        else char.encode("unicode_escape").decode("ascii")
        for char in text
    )
