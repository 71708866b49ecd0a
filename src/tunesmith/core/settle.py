"""Run what can be run: a step that fails stops what needs it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.core.errors import NotBegun, RunFailed, TunesmithError
from tunesmith.core.runner import Runner
from tunesmith.core.step import Step, input_steps, ordered
from tunesmith.core.together import concerns_all


@dataclass(frozen=True, kw_only=True)
class Task:
    """A part of a project that is made as one: its steps in order, and what makes them."""

    steps: Sequence[Step]
    make: Callable[[], Any]


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What became of the tasks."""

    made: Mapping[str, Any]
    """What each task returned that went through."""
    failed: Mapping[str, BaseException]
    """What failed, by the name of its step, or of its task where that failed beside its steps; in
    the order in which it stopped tasks."""
    not_run: Mapping[str, tuple[str, ...]]
    """Why steps were not run, each with their names, in order."""
    num_steps: int
    """Of all tasks."""

    def require_all(self, also: Mapping[str, TunesmithError]) -> None:
        """Raise what failed, if anything did; of that and of what `also` failed each is said.

        Raises:
            RunFailed: it says what failed, each with its remedy, and what was not run.
            Exception: what failed is a defect, which has all this among its notes.
        """
        if not self.failed:
            return
        first = next(iter(self.failed.values()))
        if len(self.failed) == 1 and concerns_all(first):
            raise first
        error = RunFailed(_said(self, also), first=first)
        for each in self.failed.values():
            if not isinstance(each, TunesmithError):
                each.add_note(str(error))
                raise each
        raise error from first


def settle(runner: Runner, tasks: Mapping[str, Task]) -> Settled:
    """Make all tasks, but for the steps that need one that failed; none is tried twice.

    What somebody stopped, and a store that cannot be used, ends all of it.
    """
    try:
        made, errors = runner.together.settle({key: task.make for key, task in tasks.items()})
    finally:
        names_made, failed = runner.take_failed()
    begun = {step: error for step, error in failed.items() if not isinstance(error, NotBegun)}
    by_itself = [
        step
        for step, error in begun.items()
        if all(begun.get(each) is not error for each in input_steps(step))
    ]
    step_of = {id(begun[step]): step.name for step in by_itself}
    causes: dict[str, BaseException] = {}
    why: dict[str, str] = {}
    for key, error in errors.items():
        if isinstance(error, NotBegun):
            continue
        why[key] = step_of.get(id(error)) or getattr(error, "step", "") or key
        causes.setdefault(why[key], error)  # tasks that need one step meet one failure
    causes |= {step.name: begun[step] for step in by_itself if step.name not in causes}
    steps = ordered(*(step for task in tasks.values() for step in task.steps))
    not_run: dict[str, list[str]] = {}
    for step in steps:
        if step.name in names_made or step.name in causes:
            continue
        needs = [each.name for each in ordered(step) if each.name in causes]
        of = [key for key in tasks if key not in made and step in tasks[key].steps]
        if not needs and not of:
            continue  # nobody asked for it: what a task makes only if it comes to that
        needs = needs or list(dict.fromkeys(why[key] for key in of if key in why))
        not_run.setdefault(_because(needs), []).append(step.name)
    return Settled(
        made=made,
        failed=causes,
        not_run={reason: tuple(names) for reason, names in not_run.items()},
        num_steps=len(steps),
    )


def _because(needs: Sequence[str]) -> str:
    return f"because {' and '.join(needs)} failed" if needs else "because the run ended before"


def _said(settled: Settled, also: Mapping[str, TunesmithError]) -> str:
    failed = {**settled.failed, **also}
    num_not_run = sum(map(len, settled.not_run.values()))
    lines = [
        f"{len(failed)} failed, and {num_not_run} of {settled.num_steps} steps were not run",
        *(f"{name}: {error or type(error).__name__}" for name, error in failed.items()),
        *(f"not run, {why}: {', '.join(names)}" for why, names in settled.not_run.items()),
    ]
    return "\n".join(lines).replace("\n", "\n  ")
