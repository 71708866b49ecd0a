"""Checkpoints of a project's evidence: made on demand, and with what moves an alias."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tunesmith.core import evidence
from tunesmith.core.checkpoint import MADE, Claim, claims_of, head
from tunesmith.core.db import Transaction
from tunesmith.core.errors import UsageError
from tunesmith.core.verify import Report
from tunesmith.project import Project
from tunesmith.signing.checkpoint import (
    Checkpoint,
    keep,
    kept_in,
    problems_of,
    put_on_record,
    read_file,
    require_like,
    sign_head,
)
from tunesmith.signing.keys import PrivateKey


def checkpoint(project: Project, by: str, key: PrivateKey) -> Checkpoint:
    """Sign the head of the evidence, put that on record, and keep it beside the tables.

    Raises:
        NotFound: there is no evidence yet.
        StoreError: the evidence does not go on from the checkpoints before.
    """
    with project.runner.database.write() as connection:
        made = checkpoint_in(project, connection, by, key)
    keep(project.store, made)
    return made


def checkpoint_in(
    project: Project, connection: Transaction, by: str, key: PrivateKey
) -> Checkpoint:
    """The same in the caller's transaction; the caller keeps it when that has ended."""
    require_like(connection, project.store)
    made = sign_head(connection, by, key)
    put_on_record(connection, made)
    return made


def claim_kept(kept: str, public_key: Path | None) -> Claim | None:
    """What somebody kept elsewhere: a head, or the file of a checkpoint; None where it is empty.

    Raises:
        UsageError: it is neither, or there is no key to verify a file with.
        SignatureError, DataError: see `read_file`.
    """
    if not kept:
        return None
    if not Path(kept).is_file():
        return head(kept)
    if public_key is None:
        raise UsageError(
            f"{kept} is verified with a key",
            remedy="name it: --public-key FILE, or public_key in [registry]",
        )
    return read_file(Path(kept), public_key)


def checked(
    project: Project, report: Report, kept: Sequence[Claim], public_key: Path | None
) -> tuple[Report, Checkpoint | None]:
    """What `verify` found, and what is wrong with checkpoints: those in the evidence, the one
    beside the tables, and those `kept` elsewhere; and the newest that is signed with the key."""
    from dataclasses import replace

    with project.runner.database.read() as connection:
        made = list(claims_of(evidence.entries(connection, MADE)))
        digests = evidence.digests(connection)
    claims = [*made, *kept_in(project.store), *kept]
    wrong, good = problems_of(claims, digests, "the evidence", public_key)
    found = replace(report, problems=(*report.problems, *dict.fromkeys(wrong)))
    return found, good[-1] if good else None
