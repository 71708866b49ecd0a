"""The rows of a harness's task: JSON beside its YAML file, or files that a person names.

Nothing is fetched. What the harness takes from a hub is a file elsewhere, which can be copied: a
table in Parquet, Arrow, CSV or JSON Lines; a folder of them by split, as a hub's data set has; or a
folder that the library `datasets` saved.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core.errors import DataError, NotFound, UsageError
from tunesmith.core.hashing import sha256_of_file
from tunesmith.core.project_folder import is_inside, open_plain, read_text
from tunesmith.stages.evaluate.harness_yaml import beside, text_of

MAX_BYTES = 1 << 30
"""Of the files of a split, and of its rows."""
SUFFIXES = (".parquet", ".arrow", ".jsonl", ".json", ".csv", ".tsv")
NULLS = [
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
]
"""Cells of CSV that are empty to pandas, by which the harness reads it."""
ABOUT = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json")
"""Files that say what is in a folder, and are no rows."""
_GIVEN = re.compile(r"(?:(?P<split>[A-Za-z0-9_.-]+)=)?(?P<place>.+)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Given:
    """Files of rows that a person named."""

    by_split: Mapping[str, Path]
    """A file, or a folder of one split's files."""
    folder: Path | None = None
    """A folder of splits."""
    is_processed: bool = False
    """Whether they are as the task's `process_docs` leaves them."""

    def __bool__(self) -> bool:
        return bool(self.by_split or self.folder)


NONE_GIVEN = Given(by_split={})


def given_rows(said: Sequence[str], *, is_processed: bool = False) -> Given:
    """What `SPLIT=FILE`, `SPLIT=FOLDER` and `FOLDER` name.

    Raises:
        NotFound: there is no such file or folder.
        UsageError: a split, or the folder of all, is named twice.
    """
    by_split: dict[str, Path] = {}
    folders: list[Path] = []
    for each in said:
        parts = _GIVEN.fullmatch(each)
        split, place = (parts["split"], Path(parts["place"])) if parts else (None, Path(each))
        if not place.exists():
            raise NotFound(f"there is no {place}", remedy="write --rows SPLIT=FILE, or a folder")
        if split is None and not place.is_dir():
            raise UsageError(
                f"{place} is no folder, and no split is named that it has the rows of",
                remedy=f"write --rows SPLIT={place}, as in --rows test={place}",
            )
        if split in by_split or (split is None and folders):
            raise UsageError(f"--rows names {split or 'a folder of splits'} twice")
        if split is None:
            folders.append(place)
        else:
            by_split[split] = place
    if is_processed and not said:
        raise UsageError("--processed says of --rows what they are: name them, too")
    return Given(by_split=by_split, folder=next(iter(folders), None), is_processed=is_processed)


def docs_of(
    path: Path, task: Mapping[str, Any], split: str, given: Given
) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of a split, and which files they are of where a person named them.

    Raises:
        NotFound: a file is not there.
        DataError: they are nowhere, or cannot be read.
    """
    files = given_files(given, split, str(task.get("dataset_name") or ""))
    if files:
        docs = _of_files(files)
        read = [f"{each.name}, sha256 {sha256_of_file(each)}" for each in files]
        if not docs:
            raise DataError(f"{path.name}: its split {split!r} has no rows")
        return docs, read
    named = (task.get("dataset_kwargs") or {}).get("data_files")
    if given or task.get("dataset_path") != "json" or not named:
        subset = f", {task['dataset_name']}" if task.get("dataset_name") else ""
        raise DataError(
            f"{path.name}: the rows of its split {split!r} are no local files (dataset_path "
            f"{task.get('dataset_path')!r}{subset}), and nothing is fetched",
            remedy=f"copy them here and name them: --rows {split}=FILE (Parquet, Arrow, JSON "
            "Lines, CSV), or --rows FOLDER of all splits, as the hub has it or save_to_disk "
            "writes it",
        )
    chosen = named.get(split, []) if isinstance(named, dict) else named
    docs = []
    for name in [chosen] if isinstance(chosen, str) else chosen:
        docs += _objects(text_of(beside(path, name)), name)
    if not docs:
        raise DataError(f"{path.name}: its split {split!r} has no rows")
    return docs, []


def given_files(given: Given, split: str, subset: str) -> list[Path]:
    """The files of a split, of those that a person named; none where there are none.

    A hub has the files of a subset (the task's `dataset_name`) in a folder of its name, and of a
    split in a folder of its name or in files whose names begin with it.
    """
    for name in (split, subset):
        if name and not is_inside(name):
            raise DataError(f"{name!r} is no name of a split or of a subset")
    if place := given.by_split.get(split):
        return _tables(place) if place.is_dir() else [place]
    if given.folder is None:
        return []
    within = [given.folder / subset, given.folder / "data" / subset] if subset else []
    for folder in [*within, given.folder, given.folder / "data"]:
        for each in (folder, folder / "data"):
            found = _tables(each / split) or [
                file for file in _tables(each) if re.split(r"[-.]", file.name)[0] == split
            ]
            if found:
                return found
        if within and folder in within and folder.is_dir():
            return []  # of another subset would be other rows
    return []


def is_same(given: Given, task: Mapping[str, Any], first: str, second: str) -> bool:
    """Whether two splits of a task are of the same rows."""
    subset = str(task.get("dataset_name") or "")
    if files := given_files(given, first, subset):
        return files == given_files(given, second, subset)
    if given:
        return first == second
    named = (task.get("dataset_kwargs") or {}).get("data_files")
    return not isinstance(named, dict) or named.get(first) == named.get(second)


def _tables(folder: Path) -> list[Path]:
    """The files of rows in a folder, in the order of their names; of one that the library
    `datasets` saved, those that it names."""
    state = folder / "state.json"
    if state.is_file():
        try:
            return [
                folder / Path(each["filename"]).name
                for each in json.loads(text_of(state))["_data_files"]
            ]
        except (ValueError, LookupError, TypeError) as error:
            raise DataError(f"{state} names no files: {error}") from error
    if not folder.is_dir():
        return []
    found = sorted(folder.iterdir())
    return [each for each in found if each.suffix in SUFFIXES and each.name not in ABOUT]


def _of_files(files: Sequence[Path]) -> list[dict[str, Any]]:
    if len({file.suffix for file in files}) > 1:  # the same rows, most likely, each twice
        raise DataError(
            f"a split has files of several forms: {', '.join(file.name for file in files)}",
            remedy="name the ones to read: --rows SPLIT=FILE",
        )
    docs: list[dict[str, Any]] = []
    num_bytes = 0
    for file in files:
        if file.suffix not in SUFFIXES:
            raise DataError(
                f"{file.name} is no file of rows", remedy=f"there is: {', '.join(SUFFIXES)}"
            )
        if not file.is_file():
            raise NotFound(f"there is no {file}")
        num_bytes += file.stat().st_size
        if num_bytes > MAX_BYTES:
            raise DataError(
                f"{file.name}: a split has at most {MAX_BYTES} bytes",
                remedy="copy the rows that are to be asked into a file of their own",
            )
        if file.suffix in (".json", ".jsonl"):
            docs += _objects(_text(file), file.name)
        else:
            docs += _of_table(file)
    return docs


def _of_table(file: Path) -> list[dict[str, Any]]:
    """The rows of a table, without columns of bytes (pictures, sound), which no text is made of."""
    import pyarrow as pa

    try:
        table = _table(file)
        if table.nbytes > MAX_BYTES:
            raise DataError(f"{file.name} has more than {MAX_BYTES} bytes of rows")
        kept = [each.name for each in table.schema if not _has_bytes(each.type)]
        # Dates and decimals are rendered as Python writes them, as the harness does.
        rows: list[dict[str, Any]] = json.loads(
            json.dumps(table.select(kept).to_pylist(), default=str), parse_constant=_null
        )
    except (pa.ArrowException, ValueError, KeyError, OSError) as error:
        raise DataError(f"{file.name} cannot be read: {' '.join(str(error).split())}") from error
    return rows


def _table(file: Path) -> Any:
    import pyarrow.csv as csv
    import pyarrow.ipc as ipc
    import pyarrow.parquet as pq

    source = open_plain(file)
    if source is None:
        raise DataError(f"{file.name} is no plain file")
    with source:
        if file.suffix == ".parquet":
            return pq.ParquetFile(source).read()
        if file.suffix == ".arrow":
            # What `datasets` saves is a stream; what pyarrow and others call a file begins so.
            of_file = source.read(6) == b"ARROW1"
            source.seek(0)
            return (ipc.open_file(source) if of_file else ipc.open_stream(source)).read_all()
        parse = csv.ParseOptions(
            delimiter="\t" if file.suffix == ".tsv" else ",", newlines_in_values=True
        )
        nulls = {"null_values": NULLS, "strings_can_be_null": True}
        first = csv.read_csv(source, None, parse, csv.ConvertOptions(**nulls))
        source.seek(0)
        types = {each.name: kind for each in first.schema if (kind := _as_pandas(first, each))}
        return csv.read_csv(source, None, parse, csv.ConvertOptions(column_types=types, **nulls))


def _as_pandas(table: Any, column: Any) -> Any:
    """The type that pandas would have read, where pyarrow read another: it takes no text for a
    time, and a column of whole numbers with an empty cell for fractions."""
    import pyarrow as pa

    if pa.types.is_temporal(column.type):
        return pa.string()
    if pa.types.is_integer(column.type) and table[column.name].null_count:
        return pa.float64()
    return None


def _has_bytes(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_nested(kind):
        return any(_has_bytes(kind.field(place).type) for place in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _null(_constant: str) -> None:
    """What is no JSON: nan, inf."""


def _objects(text: str, name: str) -> list[dict[str, Any]]:
    try:
        if text.lstrip().startswith("["):
            found = json.loads(text, parse_constant=_null)
        else:
            found = [
                json.loads(line, parse_constant=_null) for line in text.split("\n") if line.strip()
            ]
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is no JSON: {error}") from error
    if not all(isinstance(each, dict) for each in found):
        raise DataError(f"{name} has rows that are no objects")
    return list(found)


def _text(file: Path) -> str:
    return read_text(file, file.name, MAX_BYTES, encoding="utf-8-sig")
