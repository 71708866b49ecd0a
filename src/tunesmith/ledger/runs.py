"""From the store's runs to the ledger's facts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tunesmith.core.catalog import Run
from tunesmith.core.meter import Usage
from tunesmith.ledger.facts import RunFacts


def facts(
    runs: Iterable[Run],
    models: Mapping[str, str],
    passed: Mapping[int, bool],
    aliases: Mapping[int, str],
) -> list[RunFacts]:
    """The facts of every run that has ended.

    `models` says which one model a step serves, by step name; `passed` the verdict of each gate
    run, by run id; `aliases` the alias of each release run, by run id.
    """
    told = []
    for run in runs:
        if run.status == "running":
            continue
        stage, _, rest = run.kind.partition("@")[0].partition("-")
        told.append(
            RunFacts(
                run=str(run.id),
                step=run.step,
                stage=stage,
                status=run.status,  # type: ignore[arg-type]
                started_at=run.started_at,
                usage=Usage(**run.usage) if run.usage else None,
                model=models.get(run.step),
                gate_passed=passed.get(run.id),
                subject=rest.partition("-")[0] if stage == "evaluate" else None,  # type: ignore[arg-type]
                alias=aliases.get(run.id, ""),
                note=(run.error or "").partition("\n")[0],
            )
        )
    return told
