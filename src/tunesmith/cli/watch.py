"""Monitor traffic, and retrain when it is worth it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tunesmith.cli.render import HERE, Folder, Json, out, say


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(monitor)
    app.command()(retrain)


def monitor(
    name: Annotated[str, typer.Argument(help="Which monitor; needed if there are several.")] = "",
    folder: Folder = HERE,
    served: Annotated[
        str, typer.Option(help="Compare what this service was asked of the model, not the replays.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Compare traffic with what the model was tuned on: changed, unchanged, or need more."""
    from tunesmith import graph, pipeline
    from tunesmith.cli.opening import opened
    from tunesmith.cli.screen import describe
    from tunesmith.cli.service import only

    with opened(folder, runs=True) as (project, _):
        watched = only(project.file.monitor, name, "monitor")
        if served:
            only(project.file.service, served, "service")
            signals = [pipeline.watch_served(project, watched, served)]
        else:
            path = graph.build(project.file).watches[watched]
            signals = [project.run(step) for step in path.signals]
    out(signals, [line for signal in signals for line in describe(signal)], as_json)


def retrain(
    name: Annotated[str, typer.Argument(help="Which monitor; needed if there are several.")] = "",
    folder: Folder = HERE,
    yes: Annotated[bool, typer.Option("--yes", help="Run the changed plan.")] = False,
    as_json: Json = False,
) -> None:
    """Propose, with a price, whether to retrain; with --yes, do it."""
    from tunesmith import graph, judging, pipeline
    from tunesmith.cli.opening import opened
    from tunesmith.cli.plans import plan_lines
    from tunesmith.cli.screen import describe
    from tunesmith.cli.service import only
    from tunesmith.core.step import ordered
    from tunesmith.ledger.plan import price_plan

    with opened(folder, runs=True) as (project, _):
        watched = only(project.file.monitor, name, "monitor")
        proposal = pipeline.watch(project, graph.build(project.file).watches[watched]).proposal
        changed = judging.planned_path(project, pipeline.changed_path(project, proposal))
        planned = project.runner.plan(ordered(*changed.steps()))
        priced = price_plan(planned, project.file.ledger.rates, project.runs())
        value = {"proposal": proposal, "plan": priced, "made": None}
        lines = describe(proposal)
        if proposal.retrain:
            lines += ["", *plan_lines(priced)]
        if proposal.retrain and yes:
            for line in lines:
                say(line)
            made = pipeline.retrain(project, proposal)
            value["made"] = made
            dataset = project.file.model[proposal.model].dataset
            sources = [*project.file.dataset[dataset].sources, *proposal.add_sources]
            lines = [
                *describe(made.tuned),
                *(describe(made.release) if made.release else []),
                f"to keep it so, write in tunesmith.toml under [dataset.{dataset}]:",
                f"  sources = {json.dumps(sources)}",
            ]
            if made.dataset.format == "labels":
                lines.append(f"  labels = {json.dumps(made.dataset.labels)}")
        elif proposal.retrain:
            lines += ["", "to do it: tunesmith retrain --yes"]
    out(value, lines, as_json)
