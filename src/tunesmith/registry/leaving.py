"""What leaves a project for others, on record before it shows: models, and the evidence."""

from __future__ import annotations

from pathlib import Path

from tunesmith.core import audit
from tunesmith.core.copies import Copy, put_on_record, put_on_record_in
from tunesmith.core.db import Transaction
from tunesmith.core.errors import Conflict
from tunesmith.core.hashing import sha256_of_file
from tunesmith.project import Project
from tunesmith.records.export import Export
from tunesmith.registry.choice import Chosen
from tunesmith.signing.checkpoint import Checkpoint, keep, require_like, sign_head
from tunesmith.signing.checkpoint import put_on_record as checkpointed
from tunesmith.signing.keys import PrivateKey


def export_leaves(project: Project, chosen: Chosen, made: Export, folder: Path) -> None:
    """Put on record that an export of a version is about to be in `folder`, and what was said
    against it.

    Raises:
        Conflict: somebody is being forgotten.
    """
    left = Copy(
        form=made.format,
        of=(f"model {chosen.name}",),
        digests=(chosen.version.digest,),
        has="weights",
        where=str(folder.resolve()),
        warnings=chosen.warnings,
    )
    put_on_record(project.runner.database, project.runner.actor, left)


def export_audit(
    project: Project, wanted: audit.Filter, to: Path, key: PrivateKey | None
) -> audit.Checked:
    """Write the evidence to the new file `to`; with a key its header has a checkpoint of all of it,
    which is put on record, too.

    Raises:
        Conflict: the file is there.
        StoreError: the evidence does not go on from its checkpoints, where one is to be signed.
    """
    if to.exists():
        raise Conflict(f"{to} is there already", remedy="name another file with --out")
    by = project.runner.actor
    made: list[Checkpoint] = []

    def seal(connection: Transaction) -> dict[str, object]:
        if key is None:
            return {}
        require_like(connection, project.store)
        made.append(sign_head(connection, by, key))
        return {"size": made[0].size, "head": made[0].head, "envelope": made[0].envelope}

    part = to.with_name(f".{to.name}.part")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with (
            project.runner.database.read() as connection,
            part.open("w", encoding="utf-8", newline="\n") as file,
        ):
            file.writelines(f"{line}\n" for line in audit.lines(connection, wanted, by, seal))
        left = Copy(
            form="an export of the evidence",
            of=(),
            digests=(sha256_of_file(part),),
            has="records",
            where=str(to.resolve()),
        )
        with project.runner.database.write() as connection:
            put_on_record_in(connection, by, left)
            for each in made:
                checkpointed(connection, each)
        part.replace(to)
    finally:
        part.unlink(missing_ok=True)
    for each in made:
        keep(project.store, each)
    with to.open(encoding="utf-8") as file:
        return audit.check(file)
