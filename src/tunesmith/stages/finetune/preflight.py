"""What is looked at before the first step: rows that cannot be learnt from as they are, and the
first step as the model sees it, token by token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq

from tunesmith.core.blobs import Blobs
from tunesmith.core.errors import DataError
from tunesmith.lm.chat_template import prompt_ids, stop_ids, with_instruction
from tunesmith.lm.engine import Message
from tunesmith.lm.load import load_model
from tunesmith.lm.tokenizer import Tokenizer
from tunesmith.records.data import Dataset
from tunesmith.records.model import BaseModel
from tunesmith.stages.finetune.batches import (
    TrainRow,
    micro_batches,
    pack,
    read_rows,
    share_of,
    steps_of_epoch,
)
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.loop import count_steps

MAX_LISTED = 5
"""Rows named in an error message."""

TEMPLATE = "use a base model whose template ends each turn with a special token, once"
RULES: tuple[tuple[str, tuple[int, ...], str, str], ...] = (
    ("label", (15, 17), "have no label token", "give every row a label"),
    (
        "length",
        (11, 18),
        "are longer than the model's {} tokens",
        "set the dataset's max_tokens to what the base model can read",
    ),
    ("end of turn", (14, 18), "do not end with a token that ends a turn", TEMPLATE),
    ("trained end", (13, 14), "end with a token that is not trained", "train every answer's end"),
    ("padding", (13,), "end a turn more than once, as padding does", TEMPLATE),
    (
        "one beginning",
        (19,),
        "begin with the beginning token twice",
        "take it out of the chat template",
    ),
    (
        "served prompt",
        (19, 20),
        "are asked in other tokens than a served request would be",
        "use a base model whose template renders the same prompt every time",
    ),
    ("row id", (33,), "have the id of another row", "give every row an id of its own"),
)
"""Name, numbers of the known defects, what is wrong with the rows, remedy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that no training row may have, and the rows that have it."""

    rule: str
    defects: tuple[int, ...]
    """Numbers of the known defects of fine-tuning that it is (docs/footguns.md)."""
    fault: str
    """What is wrong with the rows, e.g. "have no label token"."""
    remedy: str
    row_ids: tuple[str, ...]

    def __str__(self) -> str:
        more = len(self.row_ids) - MAX_LISTED
        listed = ", ".join(self.row_ids[:MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
        return f"{len(self.row_ids)} rows {self.fault}: {listed}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Preflight:
    """What was found in the rows of a run; every rule is there, broken or not."""

    num_rows: int
    num_tokens: int
    num_labels: int
    findings: tuple[Finding, ...]


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
    tokens: tuple[ShownToken, ...]
    num_steps: int
    """Of the whole run."""


def look(
    config: ModelConfig, blobs: Blobs, base: BaseModel, dataset: Dataset, seed: int
) -> FirstBatch:
    """The first batch of the run that these arguments would start; nothing is trained.

    Raises:
        DataError: the rows cannot be read or rendered at all.
    """
    loaded = load_model(base, blobs)
    path = blobs.path(dataset.train.rows)
    rows = read_rows(path, loaded.tokenizer, dataset.instruction)
    served = served_prompts(path, loaded.tokenizer, dataset.instruction)
    drawn = share_of(rows, config.share_of_rows, seed)
    step: list[TrainRow] = next(steps_of_epoch(drawn, seed, 0, config.batch_rows), [])
    return FirstBatch(
        preflight=inspect(rows, served, loaded.tokenizer, loaded.context_length),
        row_ids=tuple(row.row_id for row in step),
        tokens=first_batch(step, loaded.tokenizer),
        num_steps=count_steps(len(drawn), config),
    )


def served_prompts(path: Path, tokenizer: Tokenizer, instruction: str) -> list[list[int]]:
    """The ids that serving would ask the model with for the text of each row, in the file's order.

    They are made as a served request's are, and not by what renders the rows.
    """
    texts = pq.read_table(path, columns=["text"]).column("text").to_pylist()
    return [
        prompt_ids(tokenizer, with_instruction([Message(role="user", content=text)], instruction))
        for text in texts
    ]


def inspect(
    rows: Sequence[TrainRow],
    served: Sequence[Sequence[int]],
    tokenizer: Tokenizer,
    context_length: int,
) -> Preflight:
    """Look at every row for what makes a run useless or dishonest.

    `served` are the prompts of the rows as serving would make them, in the same order.
    """
    found: dict[str, dict[str, None]] = {rule: {} for rule, *_ in RULES}
    times = Counter(row.row_id for row in rows)
    num_labels = 0
    for row, prompt in zip(rows, served, strict=True):
        labels = _labels(row)
        num_labels += len(labels)
        broken = list(_broken(row, labels, tokenizer))
        if len(row.ids) > context_length:
            broken.append("length")
        if row.ids[: row.num_prompt] != tuple(prompt):
            broken.append("served prompt")
        if times[row.row_id] > 1:
            broken.append("row id")
        for rule in broken:
            found[rule][row.row_id] = None
    return Preflight(
        num_rows=len(rows),
        num_tokens=sum(len(row.ids) for row in rows),
        num_labels=num_labels,
        findings=tuple(
            Finding(
                rule=rule,
                defects=defects,
                fault=fault.format(context_length),
                remedy=remedy,
                row_ids=tuple(found[rule]),
            )
            for rule, defects, fault, remedy in RULES
        ),
    )


def _broken(row: TrainRow, labels: frozenset[int], tokenizer: Tokenizer) -> Iterator[str]:
    """The rules that a row breaks by itself. Places decide, never the value of a token: an end of
    turn that is also the padding is trained like any other."""
    stop = stop_ids(tokenizer)
    bos = tokenizer.bos_token
    if not labels:
        yield "label"
    if row.ids[-1] not in stop:
        yield "end of turn"
    elif len(row.ids) - 1 not in labels:
        yield "trained end"
    if len(row.ids) > 1 and stop.issuperset(row.ids[-2:]):
        yield "padding"
    if bos and row.ids[:2] == (tokenizer.id_of(bos),) * 2:
        yield "one beginning"


def require_sound(preflight: Preflight) -> None:
    """Refuse what cannot be learnt from as it is; nothing is cut off or left out in silence.

    Raises:
        DataError: there are no rows, or a rule is broken; every broken one is named, with rows.
    """
    if not preflight.num_rows:
        raise DataError(
            "the dataset has no training rows", remedy="look at what was dropped, and loosen it"
        )
    broken = [finding for finding in preflight.findings if finding.row_ids]
    if broken:
        raise DataError(
            "; ".join(map(str, broken)),
            remedy="; ".join(dict.fromkeys(finding.remedy for finding in broken)),
        )


def first_batch(rows: Sequence[TrainRow], tokenizer: Tokenizer) -> tuple[ShownToken, ...]:
    """The rows of one global step as the model sees them.

    Read off the very tensors that the loop makes, so what is shown is what is trained.
    """
    stop = stop_ids(tokenizer) if rows else frozenset()
    shown: list[ShownToken] = []
    document = -1
    for micro in micro_batches(rows):
        labelled = {place + 1 for place in micro.predicting.tolist()}
        lengths = micro.documents.lengths
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


def _labels(row: TrainRow) -> frozenset[int]:
    """Places of the row that the loss is taken on, as the loop takes it."""
    return frozenset(place + 1 for place in map(int, pack([row]).predicting.tolist()))


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
