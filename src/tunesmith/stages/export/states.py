"""Whether two models that read states are the same one: what each says of held-out rows, alone and
padded in a batch, in numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import normalize

from tunesmith.core.errors import DataError
from tunesmith.lm.contents import read_contents
from tunesmith.lm.encode import classified, embedded, preferred, ranked, tagged
from tunesmith.lm.example import Example, MicroBatch
from tunesmith.lm.heads import logits, outputs
from tunesmith.lm.load import LoadedHead
from tunesmith.lm.read import read
from tunesmith.records.export import Parity
from tunesmith.records.model import Task
from tunesmith.records.rows import FORMATS, Content, Labelled, Pair, Preference, Tagged
from tunesmith.stages.export.parity import Required, divergence, share, spread

BATCH = 4
"""Documents that are padded to one length."""
TIE = 1e-5
"""Numbers that are nearer to each other than this, as a part of the largest, have no order: so far
rounding moves them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """What goes through the model by itself."""

    said: tuple[str, ...]
    """A text, two texts, or the words that are tagged."""
    ids: tuple[int, ...]
    types: tuple[int, ...]
    """None at all where all are 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A held-out row, as the objective reads it."""

    example: Example
    documents: tuple[Document, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Reader:
    """A model in the hands of other software, with its own idea of what the ids of a text are."""

    ids: Callable[[Document], Sequence[int]]
    run: Callable[[Sequence[Document]], list[torch.Tensor]]
    """What it says of documents that are padded to one length: of each a row of numbers for each
    of its units, (1, num_outputs), of tags (num_tokens, num_outputs)."""


def held_out_rows(path: Path, form: str, loaded: LoadedHead, num: int, told: str) -> list[Row]:
    """`num` rows of a test split of format `form`, or all if it has fewer, spread evenly over it;
    `told` is the instruction.

    Rows that do not fit the context, or contain a special token as text, are left out.

    Raises:
        DataError: there is no such row.
    """
    rows = []
    for row_id, content in spread(list(read_contents(path, FORMATS[form])), num):
        said, example = _read(loaded, row_id, content, told)
        special = loaded.tokenizer.special_tokens
        documents = example.documents()
        if any(token in text for texts in said for text in texts for token in special):
            continue
        if max(map(len, documents)) > loaded.context_length:
            continue
        whole = zip(said, documents, example.document_types(), strict=True)
        rows.append(
            Row(
                example=example,
                documents=tuple(Document(said=s, ids=ids, types=types) for s, ids, types in whole),
            )
        )
    if not rows:
        raise DataError(
            "no row of the test split can be used to compare the export with the model",
            remedy="raise the test part of the dataset, or add data",
        )
    return rows


def tuned_outputs(loaded: LoadedHead, rows: Sequence[Row]) -> list[torch.Tensor]:
    """What the tuned model, packed, says of each document, as `Reader.run`."""
    says: Callable[[torch.Tensor, MicroBatch], torch.Tensor] = partial(outputs, loaded.model)
    if loaded.task == "tag":

        def says(states: torch.Tensor, _micro: MicroBatch) -> torch.Tensor:
            return logits(loaded.model, states)

    found = torch.cat(read(loaded, [row.example for row in rows], says))
    is_tag = loaded.task == "tag"
    sizes = [len(document.ids) if is_tag else 1 for document in documents_of(rows)]
    return list(torch.split_with_sizes(found, sizes))


def documents_of(rows: Sequence[Row]) -> list[Document]:
    """Of all rows, in their order."""
    return [document for row in rows for document in row.documents]


def alone_and_padded(
    reader: Reader, rows: Sequence[Row], done: Callable[[int], None]
) -> list[list[torch.Tensor]]:
    """What `reader` says of each document by itself, and padded among others; `done(rows)` is
    called after each row."""
    alone = []
    for number, row in enumerate(rows, start=1):
        alone += [found for document in row.documents for found in reader.run([document])]
        done(number)
    documents = documents_of(rows)
    padded = [
        found
        for start in range(0, len(documents), BATCH)
        for found in reader.run(documents[start : start + BATCH])
    ]
    return [alone, padded]


def compare_outputs(
    task: Task,
    rows: Sequence[Row],
    tuned: Sequence[torch.Tensor],
    exports: Sequence[Sequence[torch.Tensor]],
    same_ids: Sequence[bool],
    required: Required,
) -> Parity:
    """How far each of `exports` is from `tuned`; numbers are compared as parts of the largest of
    `tuned`, the distributions over classes in nats, and rankings by their order."""
    theirs = [torch.cat(list(export)).double() for export in exports]
    ours = torch.cat(list(tuned)).double()
    scale = float(ours.abs().max())
    difference = float(torch.stack([(export - ours).abs().max() for export in theirs]).max())
    kl = torch.zeros(1)
    if task in ("classify", "tag"):
        kl = torch.cat([divergence(ours, export) for export in theirs])
    same = [
        hit
        for export in theirs
        for hit in _same_answers(task, [len(row.documents) for row in rows], ours, export, scale)
    ]
    relative = difference / scale if scale else difference
    passed = (
        float(kl.mean()) <= required.mean_kl  # False for a NaN
        and relative <= required.difference
        and share(same) >= required.same_answers
        and all(same_ids)
    )
    return Parity(
        num_prompts=len(rows),
        num_positions=len(ours) * len(theirs),
        mean_kl=float(kl.mean()),
        max_kl=float(kl.max()),
        required_kl=required.mean_kl,
        same_prompts=share(same_ids),
        same_answers=share(same),
        required_answers=required.same_answers,
        same_stops=1.0,
        stops_at_turn=True,
        max_difference=relative,
        required_difference=required.difference,
        verdict="pass" if passed else "fail",
    )


def misses_of_states(parity: Parity) -> str:
    """What was observed and what is required, in one sentence."""
    return (
        f"over {parity.num_prompts} rows, alone and padded, its numbers differ by up to "
        f"{parity.max_difference:.1e} of the largest (required {parity.required_difference:.0e}), "
        f"the mean KL of the classes is {parity.mean_kl:.2e} nats (required "
        f"{parity.required_kl:.0e}), {parity.same_answers:.0%} of the classes or orders are equal "
        f"(required {parity.required_answers:.0%}) and {parity.same_prompts:.0%} of the texts have "
        "equal ids (required 100%)"
    )


def _read(
    loaded: LoadedHead, row_id: str, content: Content, told: str
) -> tuple[list[tuple[str, ...]], Example]:
    """What each document of a row says, and the row as the objective reads it."""
    match content:
        case Labelled():
            return [(content.text,)], classified(loaded, row_id, content)
        case Tagged():
            return [tuple(content.tokens)], tagged(loaded, row_id, content)
        case Preference():
            answers = (content.chosen, content.rejected)
            return [(content.prompt, a) for a in answers], preferred(loaded, row_id, content, told)
        case Pair():
            passages = (content.positive, *content.negatives)
            if loaded.task == "rerank":
                return [(content.anchor, p) for p in passages], ranked(loaded, row_id, content)
            return [(text,) for text in (content.anchor, *passages)], embedded(
                loaded, row_id, content
            )
    raise TypeError(f"{type(content).__name__} is not read by its states")


def _same_answers(
    task: Task, sizes: Sequence[int], ours: torch.Tensor, theirs: torch.Tensor, scale: float
) -> list[bool]:
    """Of classes and tags each; of rows that are ranked, each; of vectors, of each text the order
    in which all the others are near to it."""
    tie = TIE * scale
    if task in ("classify", "tag"):
        chosen = ours.gather(1, theirs.argmax(dim=1, keepdim=True))[:, 0]
        return [bool(hit) for hit in chosen >= ours.amax(dim=1) - tie]
    if task == "embed":
        near = [normalize(v, dim=-1) @ normalize(v, dim=-1).T for v in (ours, theirs)]
        return [_same_order(one, other, TIE) for one, other in zip(*near, strict=True)]
    parts = (torch.split_with_sizes(v[:, 0], list(sizes)) for v in (ours, theirs))
    return [_same_order(one, other, tie) for one, other in zip(*parts, strict=True)]


def _same_order(ours: torch.Tensor, theirs: torch.Tensor, tie: float) -> bool:
    above = ours[:, None] - ours > tie
    return bool((theirs[:, None] > theirs)[above].all())


def padded(documents: Sequence[Document], pad: int, *, has_types: bool) -> dict[str, torch.Tensor]:
    """transformers' arguments for `documents`, filled up on the right: (num_documents, length)."""
    width = max(len(document.ids) for document in documents)

    def filled(values: Sequence[int], filler: int = 0) -> list[int]:
        return [*values, *[filler] * (width - len(values))]

    arguments: dict[str, Any] = {
        "input_ids": [filled(document.ids, pad) for document in documents],
        "attention_mask": [filled([1] * len(document.ids)) for document in documents],
    }
    if has_types:
        arguments["token_type_ids"] = [filled(document.types) for document in documents]
    return {name: torch.tensor(rows) for name, rows in arguments.items()}
