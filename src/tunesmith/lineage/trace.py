"""Where a row came from, and all that was made from it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb

from tunesmith.core import erasure
from tunesmith.core.catalog import Run
from tunesmith.core.errors import NotFound, StoreError, UsageError
from tunesmith.lineage import query, words
from tunesmith.lineage.descent import ancestors, descend
from tunesmith.lineage.place import place_of
from tunesmith.lineage.scan import Needles, needles, num_rows_with
from tunesmith.lineage.versions import Held, all_held, readable
from tunesmith.project import Project
from tunesmith.records.data import DataAsset, Package, seeds_of
from tunesmith.records.index import Index
from tunesmith.records.lineage import Holder, RowTrace
from tunesmith.records.model import ModelVersion
from tunesmith.records.repair import Repair, Repairs
from tunesmith.retrieve.store import Store
from tunesmith.stages.ingest.cutting.forms import form_of
from tunesmith.text.normalise import normalise

MIN_PREFIX = 4
_NUMBERED = {
    **dict.fromkeys(("jsonl", "csv", "tsv"), "line"),
    "json": "element",
    "yaml": "entry",
    "parquet": "row",
    "mbox": "message",
}
"""What the number in a pointer counts, by the format of the file."""
_ROW_ID = re.compile(rf"[0-9a-f]{{{MIN_PREFIX},32}}")
_DUPLICATES = ("exact duplicate", "near duplicate")
_TO = {"train": "to train", "test": "to test", "dropped": "dropped", "quarantine": "in quarantine"}
_TABLES = (("source", ("rows", "quarantine")), ("dataset", ("train", "test", "dropped")))
_OF_ROWS = {"embed@1": ("vectors", "its vector"), "value@1": ("values", "what it is worth")}
_NAMED_BY_MODEL = {
    *("evaluate-base@1", "evaluate-tuned@1", "evaluate-base-task@1", "evaluate-tuned-task@1"),
    *("evaluate-tuned-pairs@1", "probe@1", "release@1", "export@1"),
}


def trace(project: Project, wanted: str) -> RowTrace:
    """The row that has the id `wanted`, or an id that begins so, or whose text has `wanted` in it.

    Raises:
        NotFound: there is none in any version that is still there.
        UsageError: there are several.
    """
    every = all_held(project)
    with query.opened() as connection:
        held, row = _only(project, connection, every, wanted)
        made = descend(project, connection, every, [row["row_id"]]).row_ids
        family = [row["row_id"], *made]
        placed = place(project, connection, every, family)
        said = words.of_row(project, held, row)
        shared, _ = words.of_others(project, connection, every, said, family)
        labels = {row["label"], *_labels(project, connection, every, made)}
        place_in_it = None if _is_id(wanted) else place_of(wanted, row)
        sought = row["text"].strip() if place_in_it is None else wanted
        came_from = ancestors(project, connection, every, [row["row_id"]], sought)
        parents, child = _merged(project, connection, every, row["row_id"])
    theirs = needles(words.distinctive(said, shared))
    placed = place_by_words(project, every, placed, theirs)
    runs = project.runs()
    package = package_of(project, held, runs)
    at = (row["pointer"], "", 0) if came_from else _numbered(held, row["pointer"])
    record = held.record
    assert isinstance(record, DataAsset)
    synthetic = record.synthetic
    with project.runner.database.read() as database:
        texts = {row["text"].strip(), normalise(row["text"]), *theirs.texts()}
        num_traces = len(list(erasure.traces_with(database, texts)))
    return RowTrace(
        row_id=row["row_id"],
        text=row["text"],
        label=row["label"],
        origin=record.origin,
        package=package.requirement if package else "",
        package_sha256=package.wheel.sha256 if package else "",
        member=at[0],
        numbered=at[1],
        number=at[2],
        licence=record.licence,
        owner=record.owner,
        parents=parents,
        ancestors=tuple(came_from),
        seeds=seeds_of(json.loads(row["attributes"]).get(synthetic.seeds)) if synthetic else (),
        child=child,
        holders=tuple(downwards(project, every, placed, runs, family, labels)),
        num_traces=num_traces,
        repair=_repair_of(project, held, row["row_id"]),
        place=place_in_it,
    )


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A version that has some of the rows that are looked for: how many, by table."""

    held: Held
    counts: Mapping[str, int]
    detail: str
    """Of a dataset that dropped one row: why; of what is placed by words: that it is."""
    by_words: bool = False
    """Whether no id tells of the rows, and what they say does."""
    is_mention: bool = False
    """Whether they are rows of others, which only mention who is looked for."""


def place(
    project: Project,
    connection: duckdb.DuckDBPyConnection,
    every: Sequence[Held],
    row_ids: Sequence[str],
) -> list[Placed]:
    """The versions that have any of the rows `row_ids`; of what a source has in quarantine, nothing
    says the id (see `refused`)."""
    found: list[Placed] = []
    for kind, tables in _TABLES:
        counts: dict[Held, dict[str, int]] = {}
        details: dict[Held, str] = {}
        for held, name, path in readable(project, every, kind, tables):
            if name == "quarantine" and held.word != "transform":
                continue
            columns = "row_id, reason, detail" if name == "dropped" else "row_id"
            rows = query.rows_with_ids(connection, path, row_ids, columns=columns)
            if rows:
                counts.setdefault(held, {})[name] = len(rows)
            if len(rows) == 1 and name == "dropped":
                details[held] = _why(rows[0])
        found += [Placed(held=h, counts=c, detail=details.get(h, "")) for h, c in counts.items()]
    return found


def place_by_words(
    project: Project,
    every: Sequence[Held],
    placed: Sequence[Placed],
    wanted: Needles,
    names: Needles | None = None,
) -> list[Placed]:
    """`placed`, and the versions with rows that no id tells of and that have one of `wanted` in
    them: older ones, from before a source said whom its rows are about, or a field was edited.

    In the newest version of a data asset such a row is another's, and so is one that only has one
    of `names` in it: a mention, of which nothing else follows.
    """
    known = {each.held: each for each in placed}
    newest = {held.version.name: held for held in every if held.kind == "source"}
    counts: dict[Held, dict[str, int]] = {}
    mentions: dict[Held, int] = {}
    for kind, tables in _TABLES:
        for held, name, path in readable(project, every, kind, tables):
            if held in known and name in known[held].counts:
                continue
            if number := num_rows_with(Path(path), wanted):
                counts.setdefault(held, {})[name] = number
            elif names is not None and (number := num_rows_with(Path(path), names)):
                mentions[held] = mentions.get(held, 0) + number
    found = []
    for held in every:
        its = counts.get(held, {})
        if held in known:
            found.append(replace(known[held], counts={**known[held].counts, **its}))
        elif its and held not in newest.values():
            how = f"{_counted(its)}, by what is said there"
            found.append(Placed(held=held, counts=its, detail=how, by_words=True))
        elif number := sum(its.values()) + mentions.get(held, 0):
            how = f"mentioned in {number} {'row' if number == 1 else 'rows'}"
            found.append(Placed(held=held, counts={}, detail=how, by_words=True, is_mention=True))
    return found


def downwards(
    project: Project,
    every: Sequence[Held],
    placed: Sequence[Placed],
    runs: Sequence[Run],
    row_ids: Collection[str],
    labels: Collection[str],
) -> Iterator[Holder]:
    """What holds the rows, and what was made from them, in the order in which it was made.

    A model holds a row if it was tuned on it, or was taught by a model that was. Where the dataset
    was purged since, for another's sake, the model's curve says which rows it was tuned on.
    """
    names = {v.digest: f"{v.name}@{v.number}" for v in project.versions()}
    tuned: dict[str, str] = {}  # digest of what is affected -> how
    asked: dict[str, str] = {}
    for each in placed:
        held = each.held
        if "test" in each.counts:
            asked[held.version.digest] = "asked about it"
        if each.counts.keys() & {"rows", "train"}:  # of what is in quarantine nothing was made
            tuned[held.version.digest] = "tuned on it"
        yield Holder(
            kind=held.word,
            name=held.ref,
            run=held.run.id,
            how=each.detail or _counted(each.counts),
            tags=held.tags,
            by_words=each.by_words,
        )
    sources = {e.held.version.digest for e in placed if e.held.kind == "source"} & tuned.keys()
    valued = {*tuned, *asked} - sources  # it is on a side of these datasets
    purged = {h.version.digest for h in every if h.kind == "dataset" and h.is_erased}
    for run in runs:
        if run.status != "succeeded" or run.output is None:
            continue
        given = {digest for digests in run.identity["inputs"].values() for digest in digests}
        name = names.get(run.output.sha256, run.step)
        if run.kind == "finetune@1" and (
            given & tuned.keys() or _is_in_curve(project, run, purged, row_ids)
        ):
            teachers = [names[d] for d in given & tuned.keys() if tuned[d].startswith("of ")]
            is_tuned = not teachers or len(teachers) < len(given & tuned.keys())
            tuned[run.output.sha256] = f"of {name}"
            how = "tuned on it" if is_tuned else f"taught by {teachers[0]}"
            yield Holder(kind="model", name=name, run=run.id, how=how)
        elif run.kind in _NAMED_BY_MODEL and given & (tuned.keys() | asked.keys()):
            verb = run.kind.partition("@")[0].partition("-")[0]
            kind = {"evaluate": "evaluation", "probe": "suite"}.get(verb, verb)
            models = [tuned[d] for d in given & tuned.keys() if tuned[d].startswith("of ")]
            how = ", ".join([*models, *(asked[d] for d in given & asked.keys())])
            if how:
                yield Holder(kind=kind, name=run.step, run=run.id, how=how)
        elif run.kind in _OF_ROWS and set(run.identity["inputs"]["dataset"]) & valued:
            kind, how = _OF_ROWS[run.kind]
            yield Holder(kind=kind, name=run.step, run=run.id, how=how)
        elif run.kind == "index@1" and given & sources and _is_indexed(project, run, labels):
            yield Holder(kind="index", name=name, run=run.id, how="a document of it")
        elif run.kind.startswith("replay-") and given & (sources | asked.keys()):
            yield Holder(kind="replay", name=run.step, run=run.id, how="may have been replayed")


def _counted(counts: Mapping[str, int]) -> str:
    """How many rows each table of a version has of those that are looked for."""
    return ", ".join(
        f"{count} {'row' if count == 1 else 'rows'}{'' if name == 'rows' else f' {_TO[name]}'}"
        for name, count in counts.items()
    )


def _is_in_curve(
    project: Project, run: Run, purged: Collection[str], row_ids: Collection[str]
) -> bool:
    """Whether the steps of a tuning run had one of the rows; read where its dataset was purged."""
    if not set(purged) & set(run.identity["inputs"]["dataset"]):
        return False
    model = project.load(run)
    assert isinstance(model, ModelVersion)
    try:
        curve = project.runner.blobs.get(model.curve).decode()
    except StoreError:  # damaged: `tunesmith verify` says so
        return False
    return any(row_id in curve for row_id in row_ids)


def _is_indexed(project: Project, run: Run, labels: Collection[str]) -> bool:
    """Whether an index has a document of one of `labels`, which are the documents' keys."""
    index = project.load(run)
    assert isinstance(index, Index)
    try:
        with Store(project.runner.blobs.path(index.database)) as store:
            return any(store.has_document(label) for label in labels)
    except StoreError:  # erased, or damaged
        return False


def _is_id(wanted: str) -> bool:
    return bool(_ROW_ID.fullmatch(wanted))


def _only(
    project: Project, connection: duckdb.DuckDBPyConnection, every: Sequence[Held], wanted: str
) -> tuple[Held, dict[str, Any]]:
    """The one row that is meant, of the newest version that has it."""
    is_id = _is_id(wanted)
    condition = "starts_with(row_id, ?)" if is_id else "contains(text, ?)"
    found: dict[str, tuple[Held, dict[str, Any]]] = {}
    for held, _, path in readable(project, every, "source", ("rows",)):
        for row in query.rows_where(connection, path, f"{condition} LIMIT 50", [wanted]):
            found[row["row_id"]] = (held, row)
    exact = {key: each for key, each in found.items() if each[1]["text"].strip() == wanted.strip()}
    found = exact or found
    newest = {held.version.name: held for held in every if held.kind == "source"}
    if not is_id:  # a record that was edited says the same in older versions, with another id
        now = {key: each for key, each in found.items() if each[0] in newest.values()}
        found = now or found
    if len(found) > 1:  # what was made from a row that is meant often says the same
        made = descend(project, connection, every, list(found)).row_ids
        found = {key: each for key, each in found.items() if key not in made}
    if not found:
        what = f"with an id that begins {wanted}" if is_id else "with this text"
        raise NotFound(
            f"no version of a data asset has a row {what}",
            remedy="a row id is in the first column of `tunesmith data checkout`'s tables; "
            "`tunesmith data quarantine SOURCE` shows what is in quarantine; what was erased is "
            "not found any more",
        )
    if len(found) > 1:
        some = "; ".join(
            f"{key} ({at.version.name}@{at.version.number}, {row['pointer']})"
            for key, (at, row) in list(found.items())[:5]
        )
        raise UsageError(
            f"{len(found)} rows are meant by {wanted[:60]!r}: {some}",
            remedy="give more digits of the id, or more of the text",
        )
    return next(iter(found.values()))


def _numbered(held: Held, pointer: str) -> tuple[str, str, int]:
    """The file of a pointer, and where the record is in it: what is counted, and its number from 1
    on; "" and 0 where a file is one row, or names its rows in another way."""
    member, _, number = pointer.rpartition("#")
    form = form_of(held.run.identity["config"].get("format", ""), member)
    what = _NUMBERED.get(form, "")
    return (member, what, int(number)) if what and number.isdecimal() else (pointer, "", 0)


def _labels(
    project: Project,
    connection: duckdb.DuckDBPyConnection,
    every: Sequence[Held],
    row_ids: Sequence[str],
) -> Iterator[str]:
    for _, _, path in readable(project, every, "source", ("rows",)) if row_ids else ():
        for row in query.rows_with_ids(connection, path, row_ids, columns="label"):
            yield row["label"]


def _merged(
    project: Project, connection: duckdb.DuckDBPyConnection, every: Sequence[Held], row_id: str
) -> tuple[tuple[str, ...], str]:
    """The duplicates that were dropped for a row, and the row that it was dropped for."""
    parents: dict[str, None] = {}
    child = ""
    for _, _, path in readable(project, every, "dataset", ("dropped",)):
        for row in query.duplicates_of(connection, path, row_id, _DUPLICATES):
            if row["detail"] == row_id:
                parents[row["row_id"]] = None
            else:
                child = row["detail"]
    return tuple(sorted(parents)), child


def _why(row: Mapping[str, Any]) -> str:
    of = f" of {row['detail']}" if row["reason"] in _DUPLICATES else f" ({row['detail']})"
    return f"dropped: {row['reason']}{of if row['detail'] else ''}"


def _repair_of(project: Project, held: Held, row_id: str) -> Repair | None:
    """What was repaired of a row, by what its version was read with."""
    for digest in held.run.identity["inputs"].get("repairs", ()):
        try:
            made = project.record(Repairs, digest)
        except StoreError:  # erased, or damaged
            continue
        for repair in made.repairs:
            if repair.record == row_id:
                return repair
    return None


def package_of(project: Project, held: Held, runs: Sequence[Run]) -> Package | None:
    """What a data asset was read from."""
    digests = held.run.identity["inputs"].get("package", ())
    for run in runs:
        if run.output is not None and run.output.sha256 in digests:
            package = project.load(run)
            return package if isinstance(package, Package) else None
    return None
