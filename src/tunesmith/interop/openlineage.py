"""Runs as OpenLineage events (https://openlineage.io/spec/2-0-2): START, and COMPLETE, FAIL or
ABORT, of each run that ended since the last time; to a file, or to a server.

What was told up to where is in the store, and moves on after the target has it: a crash in between
tells something twice, and never leaves it out. An event that is told twice is the same to the byte.
"""

from __future__ import annotations

import http.client
import os
import ssl
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import tunesmith
from tunesmith.core import catalog, cursors, evidence
from tunesmith.core.canonical import canonical_json, sha256
from tunesmith.core.catalog import Run, Version
from tunesmith.core.copies import Copy, put_on_record, without_secrets
from tunesmith.core.errors import DataError, NotFound, UsageError
from tunesmith.core.meter import Usage
from tunesmith.core.ref import from_plain
from tunesmith.core.verify import ENDINGS
from tunesmith.ledger.cost import price
from tunesmith.project import Project
from tunesmith.records.data import DataAsset, Dataset
from tunesmith.records.evaluation import Evaluation, GateResult
from tunesmith.records.model import ModelVersion
from tunesmith.stages.ingest.reach import Place, allowed_addresses, connect, place_of

PRODUCER = f"urn:tunesmith:{tunesmith.__version__}"
SPEC = "https://openlineage.io/spec"
EVENT_SCHEMA = f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
FACETS = "urn:tunesmith:openlineage-facets:1#/$defs"
"""The schemas of our own facets: openlineage_facets.json beside this file."""
ENDED = {"succeeded": "COMPLETE", "failed": "FAIL", "interrupted": "ABORT"}
TIMEOUT_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What an export told."""

    to: str
    num_events: int
    first: int
    """The first entry of the evidence that it is about; 0 where there was nothing new ..."""
    last: int
    """... and the last."""


class _Target(Protocol):
    def tell(self, lines: list[bytes]) -> None: ...


def export_openlineage(project: Project, to: str, *, again: bool = False) -> Told:
    """Tell `to`, a file or an http(s) address, of every run that ended since the last time.

    Args:
        again: from the first run on, whatever it was told.

    Raises:
        UsageError: the address cannot be used.
        NotFound: the file's folder is not there.
        DataError: the server may not be reached, or did not take an event; what it took before is
            not told again.
    """
    with _target(to, project.file.project.hosts) as target:
        known = f"openlineage:{sha256(_name(to).encode())[:32]}"  # an address may hold a secret
        database = project.runner.database
        with database.read() as connection:
            since = 0 if again else cursors.position(connection, known)
            entries = list(evidence.entries(connection, *ENDINGS, after=since))
        teller = _Teller(project)
        if entries:
            left = Copy(
                form="OpenLineage events",
                of=(),
                digests=(),
                has="records",
                where=without_secrets(to) if is_server(to) else _name(to),
            )
            put_on_record(database, project.runner.actor, left)
        num_events, first = 0, 0
        for entry in entries:
            events = teller.events(int(entry.body["run"]))
            target.tell([canonical_json(event) for event in events])
            with database.write() as connection:
                cursors.advance(connection, known, entry.seq)
            num_events += len(events)
            first = first or entry.seq
    last = entries[-1].seq if entries else 0
    return Told(to=to.partition("?")[0], num_events=num_events, first=first, last=last)


class _Teller:
    """What events of a project have in common."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self.namespace = f"tunesmith:{project.file.project.name}"
        with project.runner.database.read() as connection:
            first = next(evidence.entries(connection), None)
            versions = catalog.all_versions(connection)
            runs = catalog.all_runs(connection)
        self._store = uuid.UUID(hex=first.digest[:32]) if first else uuid.UUID(int=0)
        self._runs = {run.id: run for run in runs}
        self._versions: Mapping[str, Version] = {each.digest: each for each in versions}
        self._made_by = {run.output.sha256: run for run in runs if run.output is not None}

    def events(self, run_id: int) -> list[dict[str, Any]]:
        """The two events of a run that has ended."""
        run = self._runs[run_id]
        given = run.identity["inputs"].values()
        inputs = list(self._inputs(run, [digest for digests in given for digest in digests]))
        job = {
            "namespace": self.namespace,
            "name": run.step,
            "facets": {
                "jobType": _standard(
                    "JobTypeJobFacet",
                    "2-0-4",
                    processingType="BATCH",
                    integration="TUNESMITH",
                    jobType="STEP",
                )
            },
        }
        start = self._event(run, "START", run.started_at, job, inputs, [])
        ended = ENDED[run.status]
        at = run.finished_at or run.started_at
        return [start, self._event(run, ended, at, job, inputs, self._outputs(run))]

    def _event(
        self,
        run: Run,
        what: str,
        at: str,
        job: dict[str, Any],
        inputs: list[dict[str, Any]],
        outputs: list[dict[str, Any]],
    ) -> dict[str, Any]:
        facets = {
            "processing_engine": _standard(
                "ProcessingEngineRunFacet",
                "1-1-1",
                name="tunesmith",
                version=tunesmith.__version__,
            ),
            "tunesmith_step": _own(
                "Step", runId=run.id, kind=run.kind, key=run.key, actor=run.actor
            ),
        }
        if what != "START" and run.usage:
            usage = from_plain(Usage, run.usage)
            cost = price(usage, self._project.file.ledger.rates)
            facets["tunesmith_cost"] = _own(
                "Cost",
                wallSeconds=usage.wall_s,
                cpuSeconds=usage.cpu_s,
                joules=usage.joules,
                joulesMethod=usage.joules_method,
                amount=f"{cost.amount:f}",
                currency=cost.currency,
            )
        if what == "FAIL":  # the class alone: a message may cite a row
            facets["errorMessage"] = _standard(
                "ErrorMessageRunFacet",
                "1-0-1",
                message=(run.error or "unknown").partition(":")[0],
                programmingLanguage="python",
            )
        return {
            "eventType": what,
            "eventTime": at,
            "producer": PRODUCER,
            "schemaURL": EVENT_SCHEMA,
            "run": {"runId": str(uuid.uuid5(self._store, f"run {run.id}")), "facets": facets},
            "job": job,
            "inputs": inputs,
            "outputs": outputs,
        }

    def _inputs(self, run: Run, digests: list[str]) -> Iterator[dict[str, Any]]:
        """Records that other runs made; of a step that is given none, where its data came from."""
        made = [digest for digest in dict.fromkeys(digests) if digest in self._made_by]
        for digest in made:
            yield self._dataset(digest, self._made_by[digest])
        origin = run.identity.get("config", {}).get("origin", "")
        if not made and isinstance(origin, str) and ":" in origin:
            scheme, _, rest = origin.partition(":")
            yield {"namespace": scheme, "name": rest.lstrip("/") or rest}

    def _outputs(self, run: Run) -> list[dict[str, Any]]:
        if run.output is None:
            return []
        made = self._dataset(run.output.sha256, run)
        if run.output.sha256 in self._project.purged:
            return [made]
        record = self._project.load(run)
        match record:
            case DataAsset():
                made["outputFacets"] = {"outputStatistics": _rows(record.num_rows)}
            case Dataset():
                num_rows = record.train.num_rows + record.test.num_rows
                made["outputFacets"] = {"outputStatistics": _rows(num_rows)}
            case ModelVersion():
                made["facets"]["tunesmith_model"] = _own(
                    "Model",
                    base=record.base.origin,
                    baseSha256=record.base.weights.sha256,
                    method=record.method,
                    objective=record.objective,
                    trainedTokens=record.num_trained_tokens,
                    trainableParameters=record.num_trainable,
                )
            case Evaluation():
                metrics = [{"name": k, "value": v} for k, v in record.metrics().items()]
                made["facets"]["tunesmith_evaluation"] = _own(
                    "Evaluation", subject=record.subject, rows=record.num_rows, metrics=metrics
                )
            case GateResult():
                made["facets"]["tunesmith_gate"] = _own(
                    "Gate", model=record.model, verdict=record.verdict, admits=record.admits
                )
        return [made]

    def _dataset(self, digest: str, maker: Run) -> dict[str, Any]:
        version = self._versions.get(digest)
        name = f"{version.kind}/{version.name}" if version else maker.step
        facet = _standard("DatasetVersionDatasetFacet", "1-0-1", datasetVersion=digest)
        return {"namespace": self.namespace, "name": name, "facets": {"version": facet}}


def _standard(name: str, of: str, /, **fields: Any) -> dict[str, Any]:
    schema = f"{SPEC}/facets/{of}/{name}.json#/$defs/{name}"
    return {"_producer": PRODUCER, "_schemaURL": schema, **fields}


def _own(name: str, /, **fields: Any) -> dict[str, Any]:
    return {"_producer": PRODUCER, "_schemaURL": f"{FACETS}/{name}", **fields}


def _rows(count: int) -> dict[str, Any]:
    return _standard("OutputStatisticsOutputDatasetFacet", "1-0-2", rowCount=count)


# Where events go.


@contextmanager
def _target(to: str, hosts: Collection[str]) -> Iterator[_Target]:
    if is_server(to):
        try:
            place = place_of(to)
        except ValueError as error:
            raise UsageError(f"this address cannot be used: {error}") from error
        allowed_addresses(place, hosts)
        yield _Server(place, hosts)
        return
    if "://" in to:
        raise UsageError(
            "events go to a file or to a server",
            remedy="give a path, or an address such as https://HOST/api/v1/lineage",
        )
    path = Path(to)
    if not path.parent.is_dir():
        raise NotFound(f"there is no folder {path.parent}", remedy="make it, or name another")
    with path.open("ab") as file:
        yield _File(file)


def is_server(to: str) -> bool:
    """Whether it is an address, and no file."""
    return to.startswith(("http://", "https://"))


def _name(to: str) -> str:
    return to if is_server(to) else str(Path(to).resolve())


class _File:
    """JSON Lines; on the disk before it is said to be told."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def tell(self, lines: list[bytes]) -> None:
        """Append events."""
        self._file.write(b"".join(line + b"\n" for line in lines))
        self._file.flush()
        os.fsync(self._file.fileno())


class _Server:
    """One request an event, as OpenLineage's servers take them."""

    def __init__(self, place: Place, hosts: Collection[str]) -> None:
        self._place = place
        self._hosts = hosts
        self._context = ssl.create_default_context()

    def tell(self, lines: list[bytes]) -> None:
        """Post events.

        Raises:
            DataError: it is not reached, or does not take one.
        """
        for line in lines:
            try:
                status = self._post(line)
            except (OSError, http.client.HTTPException) as error:
                raise DataError(
                    f"{self._place.shown} did not answer: {error}",
                    remedy="run this again when it does: it goes on where it was",
                ) from error
            if not 200 <= status < 300:
                raise DataError(
                    f"{self._place.shown} did not take an event: status {status}",
                    remedy="check the address; run this again, and it goes on where it was",
                )

    def _post(self, body: bytes) -> int:
        place = self._place
        line = http.client.HTTPConnection(place.host, place.port)
        if place.scheme == "https":
            line = http.client.HTTPSConnection(place.host, place.port, context=self._context)
        line.auto_open = 0  # it would look the name up again
        said = {"Content-Type": "application/json", "Connection": "close"}
        with connect(place, self._hosts, self._context, TIMEOUT_S) as line.sock:
            line.request("POST", place.target, body, said)
            with line.getresponse() as response:
                response.read(10_000)
                return response.status
