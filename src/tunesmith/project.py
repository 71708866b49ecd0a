"""The composition root: opens the store of a project file, and alone picks the backends."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tunesmith.core import catalog, erasure, evidence, lifecycle, settings
from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.canonical import fingerprint, parse
from tunesmith.core.catalog import Run, Version
from tunesmith.core.db import Database, refuse_network_disk
from tunesmith.core.errors import Conflict, NotFound, UsageError
from tunesmith.core.event import Event
from tunesmith.core.execute import CACHE, Executor, InlineExecutor, SubprocessExecutor, kept, sweep
from tunesmith.core.kinds import kind, resolve
from tunesmith.core.migrations import migrate
from tunesmith.core.owner import actor
from tunesmith.core.project_folder import STORE, make_store
from tunesmith.core.ref import Blob, from_plain
from tunesmith.core.runner import Runner
from tunesmith.core.settings import Layers, Setting
from tunesmith.core.step import Step
from tunesmith.core.together import Together
from tunesmith.files_now import made_without, read_without, with_files_as_they_are
from tunesmith.ledger.budget import over_budget
from tunesmith.project_file import ProjectFile, read
from tunesmith.records.release import PRODUCTION, RELEASED, Release, Standing
from tunesmith.records.review import ACCEPTED, ReviewedLabels
from tunesmith.records.service import Trace
from tunesmith.stages.curate.verdicts import still_there
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.looking import as_it_answered_last, look, require_cursors

if TYPE_CHECKING:
    from tunesmith.stages.ingest.increment import Increment


Record = TypeVar("Record")


@dataclass(kw_only=True)
class Project:
    """A project file and its open store."""

    folder: Path
    file: ProjectFile
    layers: Layers
    runner: Runner
    purged: frozenset[str] = frozenset()
    """Digests of the blobs that were removed when somebody was forgotten, as of opening."""
    looked: frozenset[Path] = frozenset()
    """Files that hold what others answered when it was opened; they end with it."""
    increments: dict[str, Increment] = field(default_factory=dict)
    """What had changed, by source, in databases that are read by a cursor."""

    def run(self, step: Step) -> Any:
        """The record of `step`; see `Runner.run`."""
        return self.runner.run(step)

    def kept_of_running(self, step: Step) -> Path:
        """The folder that outlives the attempts at a step which runs now.

        Raises:
            NotFound: it does not run.
        """
        with self.runner.database.read() as connection:
            running = [run.step for run, lapsed in catalog.all_running(connection) if not lapsed]
        if step.name not in running:
            raise NotFound(f"{step.name} is not running", remedy="see what is: `tunesmith runs`")
        return kept(self.folder / STORE / "work", step.name)

    def preview(self, step: Step) -> None:
        """Tell who watches what tuning would roughly take; the step's inputs have run."""
        from tunesmith.stages.finetune.preview import preview

        inputs = {name: self.run(each) for name, each in step.inputs.items()}
        assert isinstance(step.config, ModelConfig)
        rough = preview(step.config, self.runner.blobs, **inputs)
        self.runner.on_event(Event(step=step.name, what="preview", preview=rough))

    @property
    def public_key(self) -> Path | None:
        """The key that what is served and exported must be signed with; None where none is set."""
        key = self.file.registry.public_key
        return self.folder / Path(key).expanduser() if key else None

    def settings(self) -> list[Setting]:
        """Every setting with its value and origin."""
        return settings.explain(self.file, self.layers)

    @property
    def store(self) -> Path:
        """The store's folder."""
        return self.folder / STORE

    def blobs(self) -> FolderBlobs:
        """The store's blobs, as files."""
        return FolderBlobs(self.store / "blobs")

    def close(self) -> None:
        """Close the store."""
        for path in self.looked:
            path.unlink(missing_ok=True)
        self.runner.database.close()

    def clean_up(self) -> None:
        """Mark what crashed runs left as interrupted, and remove their temporary files."""
        self.runner.sweep()
        self.blobs().sweep()
        sweep(self.store / "work")

    def look_again(self) -> None:
        """Read the evidence again: what was erased, what sources are read without and with which
        repairs, and the labels that datasets are given in place of their sources'."""
        with self.runner.database.read() as connection:
            state = erasure.read(connection)
            entries = evidence.entries(connection, ACCEPTED)
            accepted = {
                entry.body["review"]: still_there(
                    from_plain(ReviewedLabels, entry.body["accepted"]), state.purged
                )
                for entry in entries
            }
        self.purged = state.purged
        sources = {
            name: read_without(source, self.folder, state)
            for name, source in self.file.source.items()
        }
        datasets = {
            name: dataset.with_accepted(accepted.get(dataset.reviewed))
            for name, dataset in self.file.dataset.items()
        }
        transforms = {
            name: made_without(transform, self.folder, state)
            for name, transform in self.file.transform.items()
        }
        self.file = self.file.model_copy(
            update={"source": sources, "transform": transforms, "dataset": datasets}
        )

    # What is in the store.

    def runs(self) -> list[Run]:
        """Every run, oldest first."""
        with self.runner.database.read() as connection:
            return catalog.all_runs(connection)

    def load(self, run: Run) -> Any:
        """The record that a successful run made."""
        assert run.output is not None
        record = resolve(kind(run.kind).record)
        return from_plain(record, parse(self.runner.blobs.get(run.output)))

    def record(self, of: type[Record], digest: str) -> Record:
        """The record with that digest, by which the store knows it.

        Raises:
            StoreError: it is not there, or not whole.
        """
        data = self.runner.blobs.get(Blob(sha256=digest, num_bytes=0))
        return from_plain(of, parse(data))

    def versions(self) -> list[Version]:
        """Every named version."""
        with self.runner.database.read() as connection:
            return catalog.all_versions(connection)

    def released(self, model: str, alias: str) -> tuple[Release, str]:
        """The release that an alias points at, and the version's name, e.g. "desk@2".

        Raises:
            NotFound: the alias points nowhere.
        """
        with self.runner.database.read() as connection:
            found = catalog.current_alias(connection, "model", model, alias)
            if found is None:
                raise NotFound(
                    f"no version of model {model} has the alias {alias!r}",
                    remedy="run the project until its gate passes: `tunesmith run`",
                )
            run = catalog.run(connection, found.run_id)
            release: Release = self.load(run)
            digest = fingerprint(release.model)
            number = catalog.version_number(connection, "model", model, digest)
        return release, f"{model}@{number}"

    def in_use(self, model: str) -> tuple[Release, str]:
        """The release that serves: production where there is one, else the gate's alias.

        Raises:
            NotFound: neither points anywhere.
            Conflict: the version is retired.
        """
        alias = self.alias_in_use(model)
        release, version = self.released(model, alias)
        if self.closed(model).get(version) == lifecycle.RETIRED:
            raise Conflict(
                f"{version} is retired, and the alias {alias!r} still points at it",
                remedy="promote another version; `tunesmith model list` shows them",
            )
        return release, version

    def alias_in_use(self, model: str) -> str:
        """The alias by which a model serves: production where that points anywhere, else its
        gate's."""
        with self.runner.database.read() as connection:
            production = catalog.current_alias(connection, "model", model, PRODUCTION)
        return PRODUCTION if production else self.file.alias_of(model)

    def closed(self, model: str) -> dict[str, str]:
        """The versions of a model that are deprecated or retired, and which of the two."""
        with self.runner.database.read() as connection:
            return lifecycle.closed(connection, model)

    def standing(self, model: str, against: str, other_than: str) -> Standing | None:
        """What a rule against an alias compares with: the newest version there that is another one.

        An alias that points at the judged version itself (its digest is `other_than`) says what it
        was compared with when it came there: the one before. So a gate's key does not change when
        its model is released or promoted.
        """
        aliases = (PRODUCTION, "candidate") if against == RELEASED else (against,)
        with self.runner.database.read() as connection:
            for alias in aliases:
                for row in reversed(catalog.alias_history(connection, "model", model, alias)):
                    release: Release = self.load(catalog.run(connection, row.run_id))
                    digest = fingerprint(release.model)
                    if digest == other_than:
                        continue
                    number = catalog.version_number(connection, "model", model, digest)
                    version = f"{model}@{number}"
                    return Standing(against=against, version=version, model=release.model)
        return None

    def put_on_record(self, what: str, body: Mapping[str, Any]) -> None:
        """Add an entry to the evidence, unless it has the same one already."""
        with self.runner.database.write() as connection:
            known = evidence.entries(connection, what)
            if all(fingerprint(entry.body) != fingerprint(body) for entry in known):
                evidence.append(connection, what, self.runner.actor, body)

    def add_trace(self, trace: Trace) -> None:
        """Keep one served request."""
        with self.runner.database.write() as connection:
            catalog.add_trace(connection, trace)

    def traces(self, service: str, model: str) -> list[tuple[str, str]]:
        """What the released version of `model` was asked by the clients of a service, and answered
        to the end, oldest first.

        Raises:
            UsageError: the service does not serve that model.
            NotFound: nothing yet.
        """
        models = self.file.service[service].models
        if model not in models:
            raise UsageError(
                f"service {service} serves {', '.join(models)}, not {model}",
                remedy="name a monitor of a model that it serves, or add one",
            )
        _, version = self.in_use(model)
        with self.runner.database.read() as connection:
            rows = catalog.traces(connection, service, version)
        if not rows:
            raise NotFound(
                f"service {service} has answered nothing with {version} yet",
                remedy=f"start it (`tunesmith serve {service}`) and send it requests",
            )
        return [(row.text, row.answer) for row in rows]


def open_project(
    folder: Path,
    *,
    flags: Sequence[str] = (),
    on_event: Callable[[Event], None] = lambda _event: None,
    asks: bool | Collection[str] = False,
    whole: Collection[str] = (),
) -> Project:
    """The project in `folder`, its store opened and brought to this version's schema.

    Who `asks` sees the rows of databases and APIs, of all or of some sources, as they are now; else
    they are as they were asked for last, and none is reached. Sources named in `whole` are read
    whole, whatever their cursor.

    Raises:
        UsageError: one named in `whole` has none.
        NotFound, ConfigError: see `read`.
        StoreError: the store cannot be used: too new, on a network disk, no space, not writable.
    """
    folder = folder.resolve()
    file, layers = read(folder, flags=flags)
    file = with_files_as_they_are(file, folder)
    project = _with_store(folder, file, layers, on_event)
    try:
        project.look_again()
        answered = _answered(project, asks, whole)
    except BaseException:
        project.close()
        raise
    project.file = project.file.model_copy(update={"source": answered})
    return project


def open_store(folder: Path) -> Project:
    """The project in `folder` for its store alone: no source is looked at, so that files of the
    project may be missing, and nothing can be planned or run.

    Raises:
        NotFound, ConfigError, StoreError: see `open_project`.
    """
    folder = folder.resolve()
    file, layers = read(folder)
    return _with_store(folder, file, layers, lambda _event: None)


def _with_store(
    folder: Path, file: ProjectFile, layers: Layers, on_event: Callable[[Event], None]
) -> Project:
    blobs = FolderBlobs(make_store(folder) / "blobs")
    runner = _runner(file, blobs, folder, on_event)
    return Project(folder=folder, file=file, layers=layers, runner=runner)


def _runner(
    file: ProjectFile, blobs: FolderBlobs, folder: Path, on_event: Callable[[Event], None]
) -> Runner:
    executor = _executor(file, blobs, folder)
    section = file.project
    return Runner(
        blobs=blobs,
        database=open_database(file, folder),
        executor=executor,
        together=Together(jobs=section.jobs, on_stop=executor.stop),
        retries=lambda step: section.retries_of.get(step, section.retries),
        retry_wait_s=section.retry_wait_s,
        actor=actor(),
        on_event=on_event,
        limit=partial(over_budget, rates=file.ledger.rates, budget=file.ledger.budget_per_run),
    )


def open_database(file: ProjectFile, folder: Path) -> Database:
    """The store's database alone, as `open_project` opens it; no source is looked at."""
    store = make_store(folder)
    if not file.project.database:
        refuse_network_disk(store)
    url = file.project.database or f"sqlite:///{store / 'tunesmith.db'}"
    database = Database(url, busy_timeout_s=file.project.busy_timeout_s)
    migrate(database, store)
    return database


def _answered(
    project: Project, asks: bool | Collection[str], whole: Collection[str]
) -> dict[str, SourceConfig]:
    """The sources with the digests of what databases and APIs answer, now or last."""
    sources, runner = project.file.source, project.runner
    require_cursors(sources, whole)
    asked = sources.keys() if asks is True else asks or ()
    found: dict[str, SourceConfig] = {}
    for name, source in sources.items():
        if name not in asked:
            found[name] = as_it_answered_last(source, runner)
            continue
        seen = look(
            source,
            runner=runner,
            project=project.folder,
            cache=project.folder / STORE / "work" / CACHE,
            hosts=project.file.project.hosts,
            whole=name in whole,
        )
        found[name] = seen.source
        project.looked |= {seen.kept} if seen.kept else set()
        project.increments |= {name: seen.increment} if seen.increment else {}
    return found


def _executor(file: ProjectFile, blobs: FolderBlobs, folder: Path) -> Executor:
    store, hosts, jobs = folder / STORE, file.project.hosts, file.project.jobs
    work = store / "work"
    if file.project.executor == "subprocess" or jobs > 1:
        threads = max(1, (os.cpu_count() or 1) // jobs) if jobs > 1 else 0
        return SubprocessExecutor(store / "blobs", work, folder, hosts, threads=threads)
    return InlineExecutor(blobs, work, folder, hosts)
