"""Which version of a model is meant by a name, and what speaks against giving it to others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tunesmith.core import catalog, lifecycle
from tunesmith.core.catalog import Version
from tunesmith.core.errors import Conflict, NotFound, StoreError
from tunesmith.core.ref import Blob, find
from tunesmith.project import Project
from tunesmith.records.data import Dataset
from tunesmith.records.model import ModelVersion
from tunesmith.records.release import PRODUCTION
from tunesmith.registry.report import newest_gate
from tunesmith.registry.standing import Entry, listed, split


@dataclass(frozen=True, kw_only=True, eq=False)
class Chosen:
    """A version that is to be given to others."""

    version: Version
    name: str
    """e.g. "desk@2"."""
    why: str
    """Why it is that one, for people."""
    model: ModelVersion
    dataset: Dataset
    """What it was tuned on."""
    warnings: tuple[str, ...]
    """What whoever gets it should know: its gate did not pass, it is deprecated or retired, rows
    that it was tuned on were erased."""


def choose(project: Project, wanted: str) -> Chosen:
    """The version that "desk@2" or "desk@production" names; of "desk" the one in production, else
    the gate's alias, else the newest, and none that is retired.

    Raises:
        UsageError: a number is not written as such.
        NotFound: there is no such model, version or alias.
        Conflict: no version is named and each is retired; or it was erased.
    """
    name, _, which = wanted.partition("@")
    entries = listed(project, name)
    if not entries:
        raise _no_version(project, name)
    entry, why = _named(wanted, entries) if which else _preferred(project, name, entries)
    with project.runner.database.read() as connection:
        (cut,) = catalog.run(connection, entry.version.run_id).identity["inputs"]["dataset"]
    model = project.record(ModelVersion, entry.version.digest)
    dataset = project.record(Dataset, cut)
    if is_erased(project, model):
        raise Conflict(
            f"{entry.name} was erased when somebody was forgotten",
            remedy="tune a version without them (`tunesmith run`), or name another",
        )
    return Chosen(
        version=entry.version,
        name=entry.name,
        why=why,
        model=model,
        dataset=dataset,
        warnings=tuple(_doubts(project, entry, dataset)),
    )


def require_whole(project: Project, chosen: Chosen, *, is_made: bool) -> None:
    """See that the weights and rows are there by which an export is shown to be the same model, or
    that it `is_made` already; what was erased is not got round by that.

    Raises:
        Conflict: some of its rows were erased.
        NotFound: some of it was removed from the store, or is damaged.
    """
    if any(blob.sha256 in project.purged for blob in find(chosen.dataset, Blob)):
        raise Conflict(
            f"{chosen.name} cannot be shown to be the same model elsewhere: rows of "
            f"{chosen.dataset.name}, on which it was tuned and would be compared, were erased when "
            "somebody was forgotten",
            remedy="tune a version without them (`tunesmith run`), or name another",
        )
    if is_made:
        return
    for blob in (*find(chosen.model, Blob), *find(chosen.dataset, Blob)):
        try:
            project.runner.blobs.check(blob)
        except StoreError as error:
            raise NotFound(
                f"{chosen.name} is not whole, so that no export could be compared with it: "
                f"{error.message}",
                remedy="it may have been collected (`keep_runs` in [store]): name a version that "
                "is whole, or restore a backup",
            ) from error


def is_erased(project: Project, model: ModelVersion) -> bool:
    """Whether what it learnt from somebody who was forgotten is gone, and it with that."""
    return any(blob.sha256 in project.purged for blob in find(model, Blob))


def _named(wanted: str, entries: Sequence[Entry]) -> tuple[Entry, str]:
    name, _, which = wanted.partition("@")
    if which.isdigit():
        split(wanted)
        for entry in entries:
            if entry.name == wanted:
                return entry, "as named"
        known = ", ".join(entry.name for entry in entries)
        raise NotFound(f"there is no model version {wanted}", remedy=f"there is: {known}")
    for entry in entries:
        if which in entry.aliases:
            return entry, f"it has the alias {which!r}"
    known = ", ".join(f"{alias} ({entry.name})" for entry in entries for alias in entry.aliases)
    raise NotFound(
        f"no version of {name} has the alias {which!r}",
        remedy=f"there is: {known}" if known else f"name one by number, such as {entries[-1].name}",
    )


def _preferred(project: Project, name: str, entries: Sequence[Entry]) -> tuple[Entry, str]:
    in_use = [entry for entry in entries if entry.state != lifecycle.RETIRED]
    if not in_use:
        raise Conflict(
            f"every version of {name} is retired",
            remedy=f"name one if you want it all the same, such as {entries[-1].name}",
        )
    candidate = project.file.alias_of(name)
    for alias in (PRODUCTION, candidate):
        for entry in in_use:
            if alias in entry.aliases:
                before = "" if alias == PRODUCTION else f", and none is {PRODUCTION!r}"
                return entry, f"it is {alias!r}{before}"
    return in_use[-1], f"the newest: none is {PRODUCTION!r} or {candidate!r}"


def _no_version(project: Project, name: str) -> NotFound:
    if name in project.file.model:
        return NotFound(f"there is no version of {name} yet", remedy="tune one: `tunesmith run`")
    known = dict.fromkeys([*project.file.model, *(each.version.name for each in listed(project))])
    return NotFound(f"there is no model {name!r}", remedy=f"there is: {', '.join(known) or 'none'}")


def _doubts(project: Project, entry: Entry, dataset: Dataset) -> Iterator[str]:
    gate = newest_gate(project, entry)
    if gate is None:
        yield f"no gate has judged {entry.name}"
    elif not gate.admits:
        yield f"gate {gate.gate} says {gate.verdict} of {entry.name}: {gate.failed()}"
    closed = [c for c in entry.changes if c.what in (lifecycle.DEPRECATED, lifecycle.RETIRED)]
    for change in closed[-1:]:
        yield f"{entry.name} is {change.what} since {change.at}, by {change.actor}: {change.why}"
    if dataset.train.rows.sha256 in project.purged:
        yield (
            f"rows that {entry.name} was tuned on were erased since, as somebody was forgotten: it "
            "may still know what it learnt from them"
        )
