"""Plan: of each step whether it would run, and why; and what may be kept though it would run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.core import catalog
from tunesmith.core.canonical import fingerprint
from tunesmith.core.catalog import Run
from tunesmith.core.errors import NotFound, StoreError, UsageError
from tunesmith.core.find import Finder
from tunesmith.core.plan import Planned, changes, identity, key, why
from tunesmith.core.ref import Blob
from tunesmith.core.step import Step, ordered
from tunesmith.core.successes import Successes
from tunesmith.core.waiver import Waiver, differs_by_code_alone, keepable, record


@dataclass(frozen=True, kw_only=True, slots=True)
class _Will:
    """What is known beforehand of a step's result."""

    make: str | None
    """Its digest; None where the step has to run."""
    as_before: str
    """Its digest if what runs for it comes out as it did before; empty where it hardly will."""


_Known = dict[Step, _Will]


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Looks at steps without running them."""

    finder: Finder
    made: Callable[[Step], str]
    """The digest of what was made, or verified, already; empty when it was not."""

    def plan(self, steps: list[Step]) -> list[Planned]:
        """What would be done with each step, in order."""
        known: _Known = {}
        before = Successes(self.finder.database, [step.name for step in ordered(*steps)])
        return [self._plan(step, known, before) for step in steps]

    def current(self, step: Step) -> Blob:
        """The record that would be used again for `step`, as it is stored.

        Raises:
            NotFound: `step`, as the settings have it now, has not run.
        """
        (planned,) = self.plan([step])
        if planned.hit is None or planned.hit.output is None:
            raise NotFound(
                f"{step.name} has not run as it is set now: {planned.reason}",
                remedy="run it first: `tunesmith run`",
            )
        return planned.hit.output

    def accept(self, step: Step, reason: str, actor: str) -> Waiver | None:
        """Keep the newest result of `step` although the code that made it changed since; None where
        there is nothing to accept, as it is used again anyway.

        Raises:
            UsageError: no `reason` is given; something else than the code changed, or the result is
                not whole; or a step before it runs, so that it is not known what it will be given.
        """
        if not reason.strip():
            raise UsageError("a result is kept for a reason", remedy='say it: --why "..."')
        known: _Known = {}
        before = Successes(self.finder.database, [step.name])
        planned = self._plan(step, known, before)
        if planned.hit is not None:
            return None
        if not planned.key:
            raise UsageError(
                f"the result of {step.name} cannot be kept: {planned.reason}",
                remedy="accept that one before it, or run it first",
            )
        digests = {
            name: [self._given(part, known, before) or "" for part in _parts(value)]
            for name, value in step.inputs.items()
        }
        what = identity(step, digests)
        database = self.finder.database
        with database.read() as connection:
            runs = catalog.all_runs(connection, step=step.name)
            kept = keepable([run for run in runs if run.output is not None], what, step.name)
            needed = catalog.run_blobs(connection, kept.id)
        try:
            for blob in needed:
                self.finder.blobs.check(blob, deep=True)
        except StoreError as error:
            raise UsageError(
                f"the result of {step.name} cannot be kept: {error.message}",
                remedy="run the step: `tunesmith run`",
            ) from error
        assert kept.output is not None
        waiver = Waiver(
            step=step.name,
            run=kept.id,
            output=kept.output.sha256,
            old_key=kept.key,
            new_key=planned.key,
            changed=tuple(changes(kept.identity, what)),
            why=" ".join(reason.split()),
            actor=actor,
        )
        with database.write() as connection:
            record(connection, waiver)
        return waiver

    def _plan(self, step: Step, known: _Known, before: Successes) -> Planned:
        last = before.of_step(step.name)
        digests: dict[str, list[str]] = {}
        waits_for: Step | None = None
        for name, value in step.inputs.items():
            for part in _parts(value):
                digest = self._given(part, known, before)
                if digest is None:
                    waits_for = waits_for or part
                    digest = known[part].as_before
                digests.setdefault(name, []).append(digest)
        what = identity(step, digests)
        wanted = key(what)
        at_hand = all(all(each) for each in digests.values())
        found = self.finder.find_among(before, step.name, wanted) if at_hand else None
        used = found.hit if found else None
        known[step] = _Will(
            make=used.output.sha256 if used and used.output and waits_for is None else None,
            as_before=_as_before(used, last, what),
        )
        if waits_for is not None:
            reason = why(last, what) if at_hand else f"{waits_for.name} runs before it"
            if used:
                reason = f"only if {waits_for.name} comes out otherwise"
            return Planned(step=step, hit=None, reason=reason, last=last, as_before=used)
        return Planned(
            step=step,
            hit=used,
            reason="" if used else why(last, what),
            last=last,
            waived=found.said() if found and found.waiver else "",
            key=wanted,
        )

    def _given(self, value: Any, known: _Known, before: Successes) -> str | None:
        """The digest of an input; None while it has to be made first."""
        if not isinstance(value, Step):
            return fingerprint(value)
        if made := self.made(value):
            return made
        if value not in known:
            self._plan(value, known, before)
        return known[value].make


def _as_before(used: Run | None, last: Run | None, what: Mapping[str, Any]) -> str:
    """The digest of what a step makes if new code and libraries make what the old ones did; empty
    where something else changed, or where it never ran."""
    if used is None and last is not None and differs_by_code_alone(last, what):
        used = last
    return used.output.sha256 if used and used.output else ""


def _parts(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
