"""Documents of a model version: compiled from its facts, written, and looked at again.

That a document was written is evidence: which facts it says, their digests, the file's digest. So
what is stale can be told without the file, and a file that somebody edited is not overwritten.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tunesmith.core import evidence
from tunesmith.core.canonical import sha256
from tunesmith.core.errors import Conflict, GateFailed, NotFound, UsageError
from tunesmith.core.settings import nearest
from tunesmith.documents import annex_iv, content_summary, ml_bom, model_card, nist_rmf
from tunesmith.documents.facts import fact_base, section_of, stated
from tunesmith.documents.sheet import Need, Reading, completeness
from tunesmith.project import Project
from tunesmith.records.document import (
    KINDS,
    STATED,
    WRITTEN,
    Completeness,
    Document,
    DocumentKind,
    FactBase,
    Standing,
)
from tunesmith.records.export import Export

Asks = Callable[[Need], bool]
"""Whether a need is asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """How a kind of document is made."""

    texts: Mapping[str, Callable[[Reading], str]]
    """By the ending of the file's name; the first is what is printed where none is named."""
    completeness: Callable[[Reading, Asks], Completeness]
    """Of the needs that are asked for."""


def every(_need: Need) -> bool:
    """Whether a need is asked for: each is."""
    return True


def _json(data: Callable[[Reading], Any]) -> Callable[[Reading], str]:
    return lambda reading: json.dumps(data(reading), ensure_ascii=False, indent=2) + "\n"


def _of(needs: Callable[[Reading], Iterator[Need]]) -> Callable[[Reading, Asks], Completeness]:
    return lambda reading, asks: completeness(reading, filter(asks, needs(reading)))


FORMS: Mapping[DocumentKind, Form] = {
    "model-card": Form(texts={"md": model_card.markdown}, completeness=_of(model_card.needs)),
    "ml-bom": Form(texts={"json": ml_bom.text}, completeness=_of(ml_bom.needs)),
    "annex-iv": Form(
        texts={"md": annex_iv.markdown, "json": _json(annex_iv.data)},
        completeness=_of(annex_iv.needs),
    ),
    "nist-rmf": Form(
        texts={"md": nist_rmf.markdown, "json": _json(nist_rmf.data)},
        completeness=_of(nist_rmf.needs),
    ),
    "training-content": Form(
        texts={"md": content_summary.markdown, "json": _json(content_summary.data)},
        # It has questions, no needs, and each can be answered once there is a dataset.
        completeness=lambda reading, _asks: content_summary.completeness(reading),
    ),
}


def kind_of(name: str) -> DocumentKind:
    """The kind of document that is called `name`.

    Raises:
        UsageError: there is none; the message names the nearest.
    """
    for kind in KINDS:
        if kind == name:
            return kind
    nearest("KIND", name, KINDS, "kind of document")
    raise AssertionError(name)


def compiled(base: FactBase, kind: DocumentKind, form: str = "") -> Document:
    """The document of a kind: a pure function of the facts. `form` is "md" or "json".

    Raises:
        UsageError: it has no such form.
    """
    texts = FORMS[kind].texts
    chosen = form or next(iter(texts))
    if chosen not in texts:
        raise UsageError(
            f"a document of kind {kind} is not written as {chosen!r}",
            remedy=f"end the file's name in {' or '.join(f'.{each}' for each in texts)}",
        )
    return _compiled(base, kind, "md" if chosen == "md" else "json", texts[chosen])


def _compiled(
    base: FactBase,
    kind: DocumentKind,
    form: Literal["md", "json"],
    made: Callable[[Reading], str],
) -> Document:
    reading = Reading(base)
    text = made(reading)
    found = FORMS[kind].completeness(reading, every)
    return Document(
        kind=kind,
        version=base.version,
        form=form,
        text=text,
        completeness=found,
        base=base.digest,
        uses=base.digests(sorted(reading.used)),
    )


def document(project: Project, version: str, kind: DocumentKind, form: str = "") -> Document:
    """The document of a model version, as of now.

    Raises:
        NotFound: there is no such version.
        UsageError: it has no such form, or people answer something that nobody asks.
    """
    return compiled(facts_of(project, version), kind, form)


def facts_of(project: Project, version: str) -> FactBase:
    """The facts, in which every answer is one to a question: a misspelt one would be lost.

    Raises:
        NotFound: there is no such version.
        ConfigError: people answer something that nobody asks; the message names the nearest.
    """
    base = fact_base(project, version)
    reading = Reading(base)
    asked = {
        "answers": ("question of the draft", list(content_summary.questions(reading))),
        "nist": ("subcategory", nist_rmf.subcategories()),
    }
    for key, (what, known) in asked.items():
        for answered in base.value(f"declared.{key}", {}):
            nearest(f"document.{base.section}.{key}", answered, known, what)
    return base


def write(project: Project, version: str, kind: DocumentKind, path: Path) -> Document:
    """Write a document to `path`, and put on record that it was written, of which facts, and what
    people state of the model.

    Raises:
        UsageError: the file's name does not end as the kind is written.
        NotFound: there is no such version, or no such folder.
        Conflict: the file is there and is none that was written here, or was edited since.
    """
    if not path.parent.is_dir():
        raise NotFound(f"there is no folder {path.parent}", remedy="make it, or name another one")
    made = document(project, version, kind, path.suffix.removeprefix(".") or "no ending")
    _require_ours(project, path)
    _date_statements(project, version)
    made = document(project, version, kind, made.form)
    with _replacing(path, made.text.encode()):
        put_on_record(project, made, path.name)
    return made


def card_of_export(project: Project, version: str, export: Export) -> Document:
    """The model card that lies beside an export, as of now. What people state of the model is put
    on record.

    Raises:
        NotFound, UsageError: see `document`.
    """
    facts_of(project, version)
    _date_statements(project, version)
    card = partial(model_card.markdown, export=export)
    return _compiled(facts_of(project, version), "model-card", "md", card)


def _date_statements(project: Project, version: str) -> None:
    """What is stated is dated now, and documents say since when."""
    said = stated(project, version.rpartition("@")[0])
    if said["statements"]:
        project.put_on_record(STATED, said)


def put_on_record(project: Project, made: Document, file: str) -> None:
    """Say in the evidence that a document is written as a file of that name, and of which facts."""
    body = {
        "kind": made.kind,
        "version": made.version,
        "file": file,
        "sha256": sha256(made.text.encode()),
        "facts": made.base,
        "uses": dict(made.uses),
        "score": round(made.completeness.score, 4),
    }
    with project.runner.database.write() as connection:
        evidence.append(connection, WRITTEN, project.runner.actor, body)


def _require_ours(project: Project, path: Path) -> None:
    """See that nobody's work is lost."""
    if not path.exists():
        return
    now = sha256(path.read_bytes()) if path.is_file() else ""
    with project.runner.database.read() as connection:
        ours = {entry.body["sha256"] for entry in evidence.entries(connection, WRITTEN)}
    if now not in ours:
        raise Conflict(
            f"{path} is there and is not as it was written here: somebody may have worked in it",
            remedy="name another file with --out, or move this one away",
        )


@contextmanager
def _replacing(path: Path, content: bytes) -> Iterator[None]:
    """The file is there, whole, once this ends without an error; else it is as it was."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "wb") as target:
            target.write(content)
            target.flush()
            os.fsync(target.fileno())
        os.chmod(temporary, 0o644)
        yield
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def standings(project: Project, version: str) -> list[Standing]:
    """Each kind of document of a model version: how complete it would be now, and whether the one
    that was written last still says what is known.

    Raises:
        NotFound: there is no such version.
    """
    base = facts_of(project, version)
    with project.runner.database.read() as connection:
        entries = [
            entry
            for entry in evidence.entries(connection, WRITTEN)
            if entry.body["version"] == version
        ]
    last = {entry.body["kind"]: entry for entry in entries}
    found = []
    for kind in KINDS:
        now, written = compiled(base, kind), last.get(kind)
        uses: Mapping[str, str] = written.body["uses"] if written else {}
        found.append(
            Standing(
                kind=kind,
                score=round(now.completeness.score, 4),
                lacks=now.completeness.lacks,
                written_at=written.at if written else "",
                written_by=written.actor if written else "",
                file=written.body["file"] if written else "",
                changed=tuple(k for k, was in sorted(uses.items()) if was != base.digests([k])[k]),
            )
        )
    return found


def require_complete(project: Project, version: str) -> Mapping[str, Any]:
    """See that a version's documents are as complete as its section of the project file requires
    before it is promoted; what was found, for the evidence.

    Raises:
        GateFailed: one is not; the message names the first things that are missing.
        NotFound: there is no such version.
    """
    section = section_of(project, version.rpartition("@")[0])
    if section is None or not section.required:
        return {}
    base = facts_of(project, version)
    found = {kind: compiled(base, kind).completeness for kind in section.required}
    short = {kind: each for kind, each in found.items() if each.score < section.required[kind]}
    if short:
        said = "; ".join(
            f"{kind} is {each.score:.0%} complete, {section.required[kind]:.0%} is required"
            for kind, each in short.items()
        )
        raise GateFailed(
            f"the documents of {version} are not complete: {said}",
            remedy=" / ".join(_first(each) for each in short.values())
            + f"; all that is missing: `tunesmith model documents {version}`",
        )
    return {
        "facts": base.digest,
        "scores": {kind: round(each.score, 4) for kind, each in found.items()},
        "required": dict(section.required),
    }


def _first(found: Completeness, num: int = 3) -> str:
    shown: Iterable[str] = (f"{lack.what}: {lack.remedy}" for lack in found.lacks[:num])
    return "; ".join(shown)
