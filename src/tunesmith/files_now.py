"""The files beside the project file that its sections name, as they are now."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from tunesmith.core import erasure
from tunesmith.core.erasure import Erasures
from tunesmith.core.errors import StoreError
from tunesmith.core.execute import CACHE
from tunesmith.core.file_digests import KEPT, FileDigests
from tunesmith.core.project_folder import STORE
from tunesmith.project_file import ProjectFile
from tunesmith.records.data import Erased
from tunesmith.records.repair import Repair, Repairs
from tunesmith.stages.curate.pseudonym_key import with_key_as_it_is_now
from tunesmith.stages.evaluate.task_files import with_tasks
from tunesmith.stages.ingest import repairs
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.local import as_it_is_now
from tunesmith.stages.ingest.odcs import with_contract_file
from tunesmith.stages.transform.config import TransformConfig
from tunesmith.stages.transform.program import as_it_is_now as program_as_it_is_now


def with_files_as_they_are(file: ProjectFile, folder: Path) -> ProjectFile:
    """The sections with what their files say: an edited one is another input, as another key is.

    Raises:
        ConfigError, DataError, NotFound: a file is missing, or says what its section may not.
    """
    store = folder / STORE
    known = FileDigests(kept=store / "work" / CACHE / KEPT if store.is_dir() else None)
    sources = {
        name: as_it_is_now(with_contract_file(source, folder), folder, known)
        for name, source in file.source.items()
    }
    known.save()
    datasets = {name: with_key_as_it_is_now(each, folder) for name, each in file.dataset.items()}
    transforms = {name: program_as_it_is_now(each, folder) for name, each in file.transform.items()}
    suites = {name: suite.with_given(folder) for name, suite in file.suite.items()}
    gates = {
        name: with_tasks(gate, folder, file.model, file.dataset, file.base)
        for name, gate in file.gate.items()
    }
    changed = {"source": sources, "transform": transforms, "dataset": datasets}
    changed |= {"suite": suites, "gate": gates}
    return file.model_copy(update=changed)


def read_without(source: SourceConfig, folder: Path, erasures: Erasures) -> SourceConfig:
    """The source without what was erased, with the repairs of the records that were not; where the
    key is missing that tells whose these are, one that cannot be read without it.

    Raises:
        DataError: the file of its repairs says what it may not.
        StepStoreError: the key is missing, and the source is a package, which is read without it.
    """
    subjects = erasures.subjects if source.subject else ()
    digests = tuple(sorted({*subjects, *erasures.rows.get(source.name, ())}))
    if not digests:
        return repairs.with_repairs(source.without(None), folder)
    without = source.without(Erased(digests=digests, key=erasures.key))
    if repairs.read(folder, source.name):
        try:
            erasure.key_called(folder, erasures.key)
        except StoreError:
            if source.is_package:
                raise
            # What was taken in before is not used: it would be read without the repairs.
            return source.without(Erased(digests=(), key=erasures.key))
    return repairs.with_repairs(without, folder)


def made_without(transform: TransformConfig, folder: Path, erasures: Erasures) -> TransformConfig:
    """The transform without the rows of people who were forgotten, with the repairs of the others;
    where the key is missing that tells whose these are, one that cannot be made without it.

    Raises:
        DataError: the file of its repairs says what it may not.
    """
    there = repairs.read(folder, transform.name)
    digests = frozenset().union(erasures.subjects, *erasures.rows.values())
    without = transform.without(erasures.subjects, erasures.key)
    if there and digests:
        try:
            key = erasure.key_called(folder, erasures.key)
        except StoreError:  # nobody can tell whose they are: its step asks for the key, and says so
            return _asking_for(erasures.key, without)
        there = tuple(_of_others(there, transform.subject, key, digests))
    made = Repairs(source=transform.name, repairs=there) if there else None
    return without.repaired_by(made)


def _asking_for(key: str, transform: TransformConfig) -> TransformConfig:
    """The transform as one whose step needs that key, although it leaves nobody's rows out."""
    changed = transform.model_copy()
    # No method of its section: what is added there makes every transform run again.
    changed._erased = Erased(digests=(), key=key)
    return changed


def _of_others(
    there: Iterable[Repair], subject: str, key: bytes, digests: Collection[str]
) -> Iterator[Repair]:
    for repair in there:
        told = {erasure.keyed(key, "row", repair.record)}
        told |= {erasure.keyed(key, "subject", who) for who in repairs.subjects_of(repair, subject)}
        if told.isdisjoint(digests):
            yield repair
