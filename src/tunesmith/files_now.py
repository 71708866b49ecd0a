"""The files beside the project file that its sections name, as they are now."""

from __future__ import annotations

from pathlib import Path

from tunesmith.core.execute import CACHE
from tunesmith.core.file_digests import KEPT, FileDigests
from tunesmith.core.project_folder import STORE
from tunesmith.project_file import ProjectFile
from tunesmith.stages.curate.pseudonym_key import with_key_as_it_is_now
from tunesmith.stages.evaluate.task_files import with_tasks
from tunesmith.stages.ingest.local import as_it_is_now
from tunesmith.stages.ingest.odcs import with_contract_file
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
