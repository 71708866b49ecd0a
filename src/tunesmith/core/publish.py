"""How a run ends in the store: all that it made becomes visible in one transaction, or nothing."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

from sqlalchemy.engine import Connection

from tunesmith.core import catalog, evidence, lifecycle
from tunesmith.core.attempt import Attempt
from tunesmith.core.catalog import Run
from tunesmith.core.db import Database
from tunesmith.core.errors import TunesmithError
from tunesmith.core.facts import run_facts
from tunesmith.core.failpoint import failpoint
from tunesmith.core.kinds import Kind
from tunesmith.core.meter import Usage
from tunesmith.core.ref import AliasMove, Blob, find, to_plain
from tunesmith.core.step import Step

MOST_WHY = 300
"""Characters of the reason for a run that its evidence keeps."""


@dataclass(frozen=True, kw_only=True)
class Publisher:
    """Writes the ends of runs, each with its evidence."""

    database: Database
    actor: str

    def publish(self, of: Kind, attempt: Attempt, output: Blob, record: Any, usage: Usage) -> None:
        """Make all of a run visible in one transaction.

        Raises:
            Conflict: another process took the attempt over.
        """
        run_id = attempt.run_id
        with self.database.write() as connection:
            catalog.record_blobs(connection, run_id, [output, *find(record, Blob)])
            catalog.record_metrics(connection, run_id, attempt.points)
            if of.named:
                catalog.record_version(connection, of.named, record.name, output.sha256, run_id)
            ended = self.end(
                connection,
                run_id,
                why=attempt.why,
                status="succeeded",
                output=output.sha256,
                usage=catalog.encode(usage),
                forecast=catalog.encode(attempt.forecast),
            )
            if not ended:
                raise attempt.taken_over()
            for move in find(record, AliasMove):
                self.move(connection, move, output, run_id)
            failpoint("run.publishing")

    def fail(
        self, step: Step, attempt: Attempt, error: BaseException, usage: Usage, *, stopped: bool
    ) -> None:
        """Keep that a run failed, or was `stopped`, and what it used."""
        with contextlib.suppress(TunesmithError), self.database.write() as connection:
            ended = self.end(
                connection,
                attempt.run_id,
                why=attempt.why,
                status="interrupted" if stopped else "failed",
                error=catalog.without_nul(f"{type(error).__name__}: {error}"),
                usage=catalog.encode(usage),
                forecast=catalog.encode(attempt.forecast),
            )
            if not ended:  # what it used is not lost, though it may not publish
                body = {"run": attempt.run_id, "step": step.name, "usage": to_plain(usage)}
                evidence.append(connection, "run.fenced", self.actor, body)

    def interrupt(self, connection: Connection, run: Run) -> None:
        """Keep that the process of a run has ended without a word."""
        self.end(connection, run.id, status="interrupted", error="its process ended")

    def move(self, connection: Connection, move: AliasMove, output: Blob, run_id: int) -> None:
        """Move an alias to what a run made."""
        moved = to_plain(move) | {"digest": output.sha256, "run_id": run_id, "actor": self.actor}
        lifecycle.move_alias(connection, moved)

    def end(self, connection: Connection, run_id: int, why: str = "", **values: Any) -> bool:
        """End a running run, with its evidence; False when somebody else ended it first.

        Who ends what another process left does not know `why` it ran.
        """
        if not catalog.close_run(connection, run_id, **values):
            return False
        facts = run_facts(connection, run_id)
        body = {
            "run": run_id,
            "step": facts.step,
            "kind": facts.kind,
            "output": facts.output,
            "facts": facts.digest,
            **({"why": shorten(why, MOST_WHY, placeholder=" ...")} if why else {}),
        }
        what = "finished" if values["status"] == "succeeded" else values["status"]
        evidence.append(connection, f"run.{what}", self.actor, body)
        return True
