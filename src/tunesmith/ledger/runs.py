"""From the store's runs to the ledger's facts, which the project file of today cannot change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tunesmith.core.catalog import Run
from tunesmith.core.meter import Usage
from tunesmith.ledger.facts import OF_ONE_MODEL, TRIAL, RunFacts

OF_TUNED = "finetune"


def served_models(runs: Sequence[Run]) -> dict[int, tuple[str, ...]]:
    """Which models each run served, by run id, as the runs themselves have it.

    What ran for a model has its name in its step. Any other run served the models that the same
    process tuned, later, on what it made, at any number of removes: the record of one run is among
    the recorded inputs of the next. What another process uses of it, on another day, was not known
    when the cost was incurred: if that counted, an expense would become an asset, or the other way
    round, after the books were closed (IAS 38.65, .71).
    """
    users: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        for digest in _inputs(run):
            users.setdefault((run.owner, digest), []).append(run)
    found: dict[int, tuple[str, ...]] = {}
    # What uses a run's record came after it, so it is known when the run is looked at.
    for run in sorted(runs, key=lambda each: each.id, reverse=True):
        if (model := _own_model(run)) is not None:
            found[run.id] = (model,) if model else ()
            continue
        record = run.output.sha256 if run.output else ""
        found[run.id] = tuple(
            sorted(
                {
                    model
                    for user in users.get((run.owner, record), ())
                    if user.id > run.id and (_stage(user) == OF_TUNED or _own_model(user) is None)
                    for model in found[user.id]
                }
            )
        )
    return found


def facts(
    runs: Iterable[Run],
    served: Mapping[int, Sequence[str]],
    passed: Mapping[int, bool],
    aliases: Mapping[int, str],
) -> list[RunFacts]:
    """The facts of every run that has ended.

    `served` says which models a run served, `passed` the verdict of each gate run, `aliases` the
    alias of each release run: all by run id.
    """
    told = []
    for run in runs:
        if run.status == "running":
            continue
        rest = run.kind.partition("@")[0].partition("-")[2]
        stage = _stage(run)
        models = tuple(served.get(run.id, ()))
        told.append(
            RunFacts(
                run=str(run.id),
                step=run.step,
                stage=stage,
                status=run.status,  # type: ignore[arg-type]
                started_at=run.started_at,
                usage=Usage(**run.usage) if run.usage else None,
                model=models[0] if len(models) == 1 else None,
                shared_by=models if len(models) > 1 else (),
                gate_passed=passed.get(run.id),
                subject=rest.partition("-")[0] if stage == "evaluate" else None,  # type: ignore[arg-type]
                alias=aliases.get(run.id, ""),
                note=(run.error or "").partition("\n")[0],
            )
        )
    return told


def _stage(run: Run) -> str:
    return run.kind.partition("@")[0].partition("-")[0]


def _own_model(run: Run) -> str | None:
    """The model that `run` is for by the name of its step; empty for a recipe that was tried beside
    its own; None for a run that is not for one model by name."""
    if _stage(run) not in OF_ONE_MODEL:
        return None
    name = run.step.partition(":")[2].partition("/")[0]
    return "" if TRIAL in name else name


def _inputs(run: Run) -> set[str]:
    given: Mapping[str, Sequence[str]] = run.identity.get("inputs", {})
    return {digest for digests in given.values() for digest in digests}
