"""What is sealed of a dataset when it is frozen: its card with the Merkle root of its files, its
description in Croissant, and its training-content sheet. See docs/adr/047."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from tunesmith.core import catalog, evidence, lifecycle
from tunesmith.core.blobs import Blobs
from tunesmith.core.canonical import canonical_json, sha256
from tunesmith.core.catalog import Version
from tunesmith.core.db import Transaction
from tunesmith.core.errors import TunesmithError
from tunesmith.core.event import Event
from tunesmith.core.failpoint import failpoint
from tunesmith.core.ref import Blob
from tunesmith.core.step import Step
from tunesmith.documents.croissant import FILE, croissant_file
from tunesmith.documents.describe import DatasetFacts, describe
from tunesmith.documents.markdown import table
from tunesmith.documents.training_content import training_content, write_sheet
from tunesmith.project import Project
from tunesmith.records.data import Dataset

CARD, SHEET = "card.md", "training-content.md"
DOCUMENTS: Mapping[str, str] = MappingProxyType(
    {CARD: "text/markdown", FILE: "application/ld+json", SHEET: "text/markdown"}
)
"""What is sealed: the name of the file that `tunesmith data checkout` writes, and its type."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sealed:
    """What the evidence says that the store keeps of a frozen dataset."""

    at: str
    seq: int
    """Of the evidence entry."""
    root: str
    """See `root_of`."""
    documents: Mapping[str, Blob]
    """By name; see `DOCUMENTS`."""


def freeze(project: Project, step: Step) -> Dataset:
    """The dataset that a step cuts; what is said of it is sealed, unless it is already.

    Raises:
        DataError: what is recorded of it makes no valid description.
    """
    dataset: Dataset = project.run(step)
    digest = project.runner.made(step)  # as stored: a record of before may lack fields
    if sealed_of(project, digest) is None:
        try:
            _seal(project, step, dataset, digest)
        except TunesmithError as error:
            error.step = step.name  # once, whoever needs the dataset
            raise
    return dataset


def _seal(project: Project, step: Step, dataset: Dataset, digest: str) -> None:
    version = next(
        each for each in project.versions() if each.kind == "dataset" and each.digest == digest
    )
    with project.runner.database.read() as connection:
        run = catalog.run(connection, version.run_id)
    facts = as_frozen(describe(project, version, run, dataset, is_erased=False))
    blobs = project.runner.blobs
    texts = {CARD: card(dataset, version, blobs)}  # all of them, before one is kept
    texts |= {name: document(name, facts) for name in (FILE, SHEET)}
    kept = {name: blobs.put(text.encode(), DOCUMENTS[name]) for name, text in texts.items()}
    failpoint("dataset.documents.stored")
    root = root_of(dataset)
    body: dict[str, Any] = {
        "version": facts.ref,
        "digest": digest,
        "root": root,
        "why": f"Merkle root {root[:12]}",
        "documents": list(kept),
        "kept": list(kept.values()),
    }
    with project.runner.database.write() as connection:
        if _found(connection, digest) is None:  # else another process was faster
            evidence.append(connection, lifecycle.FROZEN, project.runner.actor, body)
    note = f"{facts.ref} is sealed, Merkle root {root[:12]}: {', '.join(kept)}"
    project.runner.on_event(Event(step=step.name, what="sealed", note=note))


def sealed_of(project: Project, digest: str) -> Sealed | None:
    """What was sealed of the dataset whose record has that digest; None of one that was frozen
    before anything was."""
    with project.runner.database.read() as connection:
        return _found(connection, digest)


def _found(connection: Transaction, digest: str) -> Sealed | None:
    for entry in evidence.entries(connection, lifecycle.FROZEN):
        body = entry.body
        if body["digest"] == digest:
            kept = lifecycle.kept_blobs(entry)
            return Sealed(
                at=entry.at,
                seq=entry.seq,
                root=body["root"],
                documents=dict(zip(body["documents"], kept, strict=True)),
            )
    return None


def card(dataset: Dataset, version: Version, blobs: Blobs) -> str:
    """The card that was made with a dataset, and what its files are.

    Raises:
        StoreError: the card is not whole.
    """
    return f"{blobs.get(dataset.card).decode()}\n{_frozen_section(dataset, version)}"


def document(name: str, facts: DatasetFacts) -> str:
    """The description of a dataset in Croissant, or its training-content sheet, by its file's name.

    Raises:
        DataError: see `croissant`.
    """
    return croissant_file(facts) if name == FILE else write_sheet(training_content(facts))


def as_frozen(facts: DatasetFacts) -> DatasetFacts:
    """The facts that there were when the dataset was frozen: models are tuned on it later. So a
    document of them has the same bytes whenever it is made."""
    return replace(facts, models=(), is_erased=False)


def leaves_of(dataset: Dataset) -> dict[str, Blob]:
    """The files of a dataset, by the name that `tunesmith data checkout` writes."""
    return {
        "train.parquet": dataset.train.rows,
        "test.parquet": dataset.test.rows,
        "dropped.parquet": dataset.dropped,
    }


def root_of(dataset: Dataset) -> str:
    """The Merkle root of a dataset: the SHA-256 of the canonical JSON (RFC 8785) of the SHA-256 of
    each of its files, by name. Who has the files can find it with `sha256sum` alone."""
    return sha256(canonical_json({name: b.sha256 for name, b in leaves_of(dataset).items()}))


def _frozen_section(dataset: Dataset, version: Version) -> str:
    leaves, ref = leaves_of(dataset), f"{version.name}@{version.number}"
    files = [[name, str(blob.num_bytes), blob.sha256] for name, blob in leaves.items()]
    names = ",".join(f'"{name}":"..."' for name in sorted(leaves))
    lines = [
        "## Frozen",
        "",
        f"{ref}, on {version.created_at}.",
        "",
        f"- Merkle root of its files: `{root_of(dataset)}`",
        f"- SHA-256 of its record: `{version.digest}`",
        "",
        *table(("file", "bytes", "sha256"), files),
        "",
        f"The root is the SHA-256 of `{{{names}}}`",
        "with the SHA-256 of each file, as `sha256sum` prints it, in place of the dots. "
        f"`tunesmith data checkout {ref} FOLDER` writes the files.",
    ]
    return "\n".join(lines) + "\n"
