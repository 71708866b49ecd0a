"""What is in quarantine, of a source, which is read again, or of a transform, which is made again.

Nothing of it is kept. What is read, or made from, is what is in the store.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tunesmith.asset.contract import read_as
from tunesmith.core import erasure
from tunesmith.core.step import Context, Step
from tunesmith.graph import build
from tunesmith.project import Project
from tunesmith.records.data import DataAsset, Erased, Package
from tunesmith.records.repair import Repairs
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.entry import Quarantined
from tunesmith.stages.ingest.quarantine import Looked, from_cell, look
from tunesmith.stages.transform.config import TransformConfig
from tunesmith.stages.transform.quarantine import look as look_as_made
from tunesmith.stages.transform.rows import Refused
from tunesmith.stages.transform.run import subject_of


@dataclass(frozen=True, kw_only=True)
class Repairable:
    """A data asset of this project, as far as repairs are concerned."""

    name: str
    subject: str
    """The field that says whom a record is about; empty where none does."""
    repairs: Repairs | None
    """Those that it is read, or made, with."""
    erased: Erased | None
    look: Callable[[Repairs | None], list[Looked]]
    """Its records that are in quarantine, or repaired, with these repairs and the contract as it is
    now."""
    from_cell: Callable[[str, str], Any]
    """from_cell(field, text): what a text that was written into a table says."""
    mend: str
    """What to do about records that no repair can help."""


def repairable(project: Project, name: str) -> Repairable:
    """The source or transform of that name.

    Raises:
        NotFound: what it is read or made from, as it is now, is not in the store.
    """
    step = build(project.file).assets[name]
    if name in project.file.source:
        return _read(project, step, project.file.source[name])
    return _made(project, step, project.file.transform[name])


def package(project: Project, step: Step) -> Package:
    """What a source, which `step` reads, is read from.

    Raises:
        NotFound: it is not in the store.
    """
    found = project.runner.current(step.inputs["package"])
    assert isinstance(found, Package)
    return found


def _read(project: Project, step: Step, source: SourceConfig) -> Repairable:
    there = package(project, step)

    def look_again(repairs: Repairs | None) -> list[Looked]:
        with tempfile.TemporaryDirectory() as folder:
            return list(look(source, project.runner.blobs, there, Path(folder), repairs))

    return Repairable(
        name=source.name,
        subject=source.subject,
        repairs=source.repairs,
        erased=source.erased,
        look=look_again,
        from_cell=partial(from_cell, source),
        mend="take the record out of the source",
    )


def _made(project: Project, step: Step, config: TransformConfig) -> Repairable:
    sources: list[DataAsset] = [project.runner.current(each) for each in step.inputs["sources"]]
    fields = {name for source in sources for name in (source.subject,) if name}
    with project.runner.database.read() as connection:
        state = erasure.read(connection)

    def look_again(repairs: Repairs | None) -> list[Looked]:
        with tempfile.TemporaryDirectory() as folder:
            context = Context(
                blobs=project.runner.blobs,
                seed=0,
                workdir=Path(folder),
                keep=Path(folder),
                project=project.folder,
            )
            found = look_as_made(
                config,
                context,
                sources=sources,
                program=step.inputs.get("program"),
                erased=step.inputs.get("erased"),
                repairs=repairs,
            )
            return [
                Looked(
                    record=draft.row_id if draft.fields is not None else "",
                    pointer=draft.pointer,
                    as_read=draft.as_made,
                    fields=draft.fields,
                    is_repaired=draft.fields is not draft.as_made,
                    bad=_bad(refused) if refused else None,
                    is_asked_for=True,
                )
                for draft, refused in found
            ]

    def from_cell(field: str, text: str) -> Any:
        rule = config.contract.get(field)
        return text if rule is None else read_as(rule.type, text)

    return Repairable(
        name=config.name,
        subject=subject_of(config, sources, fields),
        repairs=config.repairs,
        erased=Erased(digests=state.subjects, key=state.key) if state.subjects else None,
        look=look_again,
        from_cell=from_cell,
        mend="take out what it is made from",
    )


def _bad(refused: Refused) -> Quarantined:
    return Quarantined(
        pointer=refused.pointer, rule=refused.rule, reason=refused.reason, value=refused.value
    )
