"""What versions, lineage and erasure of data take. `python bench/versions.py [CASE ...]`.

diff: two versions of a million rows, with rows added before all others, removed and edited.
lineage: how much of a dataset's tables is there only to know where a row came from and went.
forget: the plan for one person among 200,000 rows of two sources, then the erasure itself.
"""

from __future__ import annotations

import hashlib
import json
import pydoc_data.topics
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.graph import build
from tunesmith.lineage import compare as comparing
from tunesmith.lineage import query
from tunesmith.lineage.forget import forget
from tunesmith.lineage.plan import plan
from tunesmith.project import open_project
from tunesmith.stages.curate.rows import Row, drop, write_dropped, write_split
from tunesmith.text.dedup import SHORT

MILLION = 1_000_000
ROUNDS = 3


def diff(folder: Path) -> None:
    """Seconds to compare two versions, the best and the worst of a few times."""
    before, after = folder / "before", folder / "after"
    _version(before, start=0, edited=False)
    _version(after, start=500, edited=True)
    took = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        with query.opened() as connection:
            query.load(connection, "before", {"rows": before})
            query.load(connection, "after", {"rows": after})
            query.compare(connection, in_file_order=True)
            counts = query.counts(connection)
            query.labels(connection)
            for name in ("before", "after"):
                query.lengths(connection, name)
            query.examples(connection, 5)
            looks = [comparing.look(connection, name) for name in ("before", "after")]
        took.append(time.perf_counter() - start)
    sizes = sum(path.stat().st_size for path in (before, after)) / 1e6
    print(
        f"diff: two versions of {MILLION} rows ({sizes:.0f} MB of Parquet), {counts}, personal "
        f"data looked for in {sum(look.num_looked_at for look in looks)} of "
        f"{sum(look.num_changed for look in looks)} changed rows: "
        f"{min(took):.2f} to {max(took):.2f} s over {ROUNDS} rounds (bar: 3 s)"
    )


def _version(path: Path, *, start: int, edited: bool) -> None:
    """A million rows of which each hundredth is edited; ids are hashes, pointers are lines."""
    draw = np.random.default_rng(7)
    named = (hashlib.sha256(str(number).encode()).hexdigest()[:6] for number in range(2000))
    words = np.array(list(named))
    picked = draw.integers(0, len(words), size=(MILLION + 500, 18))[start : start + MILLION]
    texts = [" ".join(row) for row in words[picked]]
    numbers = range(start, start + MILLION)
    if edited:
        texts = [
            f"{text} edited" if n % 100 == 0 else text
            for text, n in zip(texts, numbers, strict=True)
        ]
    ids = [
        hashlib.sha256(f"{n}{text}".encode()).hexdigest()[:32]
        for text, n in zip(texts, numbers, strict=True)
    ]
    table = {
        "row_id": ids,
        "pointer": [f"mail.jsonl#{line}" for line in range(1, MILLION + 1)],
        "text": texts,
        "label": ["abcd"[n % 4] for n in numbers],
        "attributes": [f'{{"number":{n},"kind":"{"abcd"[n % 4]}"}}' for n in numbers],
    }
    pq.write_table(pa.table(table), path, compression="zstd", row_group_size=10_000)


def lineage(folder: Path) -> None:
    """Compressed bytes of the columns that say where rows are from, beside all others."""
    kept, dropped = [], []
    for number, text in enumerate(_passages()):
        row_id = hashlib.sha256(f"{number}{text}".encode()).hexdigest()[:32]
        pointer = f"topics.jsonl#{number + 1}"
        content = json.dumps({"label": "topic", "text": text}, ensure_ascii=False)
        row = Row(
            row_id=row_id, asset="topics", pointer=pointer, text=text, label="topic",
            content=content, component=row_id, num_tokens=len(text) // 4,
        )  # fmt: skip
        if number % 10 == 9:
            dropped.append(drop(row, "near duplicate", kept[-1].row_id))
        else:
            kept.append(row)
    columns = _column_sizes(write_split(kept, folder / "split"))
    edges = sum(_column_sizes(write_dropped(dropped, folder / "dropped")).values())
    ways = columns["asset"] + columns["pointer"] + edges
    content_size = sum(
        columns[name] for name in columns if name not in ("asset", "pointer", "row_id")
    )
    print(
        f"lineage: {len(kept)} rows kept and {len(dropped)} merged, median "
        f"{int(np.median([len(row.text) for row in kept]))} characters: {ways} bytes of pointers "
        f"and edges to {content_size} of all else, {100 * ways / content_size:.1f} %; with the ids "
        f"{100 * (ways + columns['row_id']) / content_size:.1f} % (bar: 15 %)"
    )


def _passages() -> Iterator[str]:
    """Paragraphs of Python's own manual that have at least as many words as a long text has."""
    for _, topic in sorted(pydoc_data.topics.topics.items()):
        for paragraph in topic.split("\n\n"):
            if len(paragraph.split()) >= SHORT:
                yield " ".join(paragraph.split())


def _column_sizes(path: Path) -> dict[str, int]:
    sizes: dict[str, int] = {}
    metadata = pq.ParquetFile(path).metadata
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            name = column.path_in_schema
            sizes[name] = sizes.get(name, 0) + column.total_compressed_size
    return sizes


def forget_one(folder: Path) -> None:
    """Seconds for the plan, and for all of it."""
    draw = random.Random(3)
    words = ["".join(draw.choices("abcdefghij", k=6)) for _ in range(3000)]
    sections = []
    for name in ("visits", "calls"):
        with (folder / f"{name}.jsonl").open("w") as out:
            for number in range(100_000):
                note = f"{' '.join(draw.choices(words, k=20))} {number}"
                out.write(json.dumps({"who": f"person-{number % 20_000:06}", "note": note}) + "\n")
        sections.append(
            f'[source.{name}]\norigin = "file:{name}.jsonl"\nformat = "jsonl"\n'
            'text = "note"\nsubject = "who"\n'
        )
    (folder / "tunesmith.toml").write_text("\n".join(['[project]\nname = "bench"\n', *sections]))
    project = open_project(folder)
    for step in build(project.file).assets.values():
        project.run(step)
    took = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        _, planned = plan(project, ["person-000417"])
        took.append(time.perf_counter() - start)
    start = time.perf_counter()
    made = forget(project, ["person-000417"])
    print(
        f"forget: plan for {len(planned.row_ids)} of 200,000 rows {min(took):.2f} to "
        f"{max(took):.2f} s (bar: 2 s); all of it {time.perf_counter() - start:.1f} s, of which "
        f"the search read {made.num_blobs} blobs, {made.num_bytes / 1e6:.0f} MB, and found "
        f"{len(made.found)}"
    )
    project.close()


CASES: dict[str, Callable[[Path], None]] = {"diff": diff, "lineage": lineage, "forget": forget_one}

if __name__ == "__main__":
    for case in sys.argv[1:] or CASES:
        with tempfile.TemporaryDirectory() as name:
            CASES[case](Path(name))
