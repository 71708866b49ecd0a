"""Examples in a file that is read by mapping it into memory: made once, held by nobody.

An Arrow file, so that a million examples take the memory of those that are looked at.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

import pyarrow as pa

from tunesmith.lm.example import Answer, Example

BATCH = 1000
"""Examples that are in memory at once while a shard is written."""
_IDS = pa.list_(pa.int32())
SCHEMA = pa.schema(
    [
        ("row_id", pa.string()),
        ("prompt", _IDS),
        ("answers", pa.list_(_IDS)),
        ("weights", pa.list_(pa.list_(pa.float64()))),
        ("types", pa.list_(pa.list_(pa.int8()))),
        ("target", pa.string()),
    ]
)


class Shard(Sequence[Example]):
    """The examples of a file that `write_shard` wrote, made when they are asked for."""

    def __init__(self, path: Path) -> None:
        """Maps the file; it must stay there as long as this is used.

        Raises:
            pyarrow.ArrowInvalid: it is no such file.
        """
        self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        self.row_ids: list[str] = self._table["row_id"].to_pylist()
        """Of each example, in order."""

    def __len__(self) -> int:
        return len(self.row_ids)

    @overload
    def __getitem__(self, place: int) -> Example: ...
    @overload
    def __getitem__(self, place: slice) -> list[Example]: ...
    def __getitem__(self, place: int | slice) -> Example | list[Example]:
        if isinstance(place, slice):
            return [self[index] for index in range(*place.indices(len(self)))]
        index = range(len(self))[place]  # with the error of a list, and from the end
        row = {name: self._table[name][index].as_py() for name in SCHEMA.names}
        return Example(
            row_id=row["row_id"],
            prompt=tuple(row["prompt"]),
            answers=tuple(
                Answer(ids=tuple(ids), weights=tuple(weights), types=tuple(types))
                for ids, weights, types in zip(
                    row["answers"], row["weights"], row["types"], strict=True
                )
            ),
            target=_target(row["target"]),
        )

    def __iter__(self) -> Iterator[Example]:
        return (self[index] for index in range(len(self)))


def write_shard(path: Path, examples: Iterable[Example]) -> None:
    """Put `examples` into `path`, whole or not at all; with their digest in `path`.sha256."""
    half = path.with_name(f"{path.name}.{os.getpid()}.half")
    with pa.OSFile(str(half), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        pending: list[Example] = []
        for example in examples:
            pending.append(example)
            if len(pending) == BATCH:
                writer.write_batch(_batch(pending))
                pending = []
        writer.write_batch(_batch(pending))
    digest = path.with_name(f"{path.name}.sha256")
    digest_half = digest.with_name(f"{digest.name}.{os.getpid()}.half")
    digest_half.write_text(_sha256(half))
    half.rename(path)
    digest_half.rename(digest)


def open_shard(path: Path) -> Shard | None:
    """The shard at `path`; None if there is none, or if it is not what was written."""
    digest = path.with_name(f"{path.name}.sha256")
    if not path.is_file() or not digest.is_file() or digest.read_text() != _sha256(path):
        return None
    return Shard(path)


def row_ids_of(examples: Sequence[Example]) -> Sequence[str]:
    """The ids of all rows, without making the examples of a shard."""
    if isinstance(examples, Shard):
        return examples.row_ids
    return [example.row_id for example in examples]


def _batch(examples: Sequence[Example]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            "row_id": [example.row_id for example in examples],
            "prompt": [example.prompt for example in examples],
            "answers": [[answer.ids for answer in each.answers] for each in examples],
            "weights": [[answer.weights for answer in each.answers] for each in examples],
            "types": [[answer.types for answer in each.answers] for each in examples],
            "target": [json.dumps(example.target) for example in examples],
        },
        schema=SCHEMA,
    )


def _target(text: str) -> int | float | tuple[int, ...] | None:
    value = json.loads(text)
    return tuple(value) if isinstance(value, list) else value


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
