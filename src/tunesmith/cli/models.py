"""Model versions and releases."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli import labels, model_documents, promotion, signing
from tunesmith.cli.export import model_export
from tunesmith.cli.judged import model_judged
from tunesmith.cli.render import HERE, Folder, Json, left_out, metric, out, shortened, table
from tunesmith.cli.tune import model_certificate
from tunesmith.core.errors import NotFound, UsageError

if TYPE_CHECKING:
    from tunesmith.core.step import Step
    from tunesmith.project import Project
    from tunesmith.records.evaluation import Evaluation


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    model = typer.Typer(help="Model versions and releases.", no_args_is_help=True)
    model.command("list")(model_list)
    model.command("card")(model_card)
    model.command("mistakes")(model_mistakes)
    model.command("judged")(model_judged)
    model.command("examples")(model_examples)
    model.command("certificate")(model_certificate)
    model.command("export")(model_export)
    promotion.add_to(model)
    model_documents.add_to(model)
    labels.add_to(model)
    signing.add_to(app, model)
    app.add_typer(model, name="model")


def model_list(
    folder: Folder = HERE,
    tag: Annotated[
        list[str] | None, typer.Option(help="Only versions with this tag: KEY or KEY=VALUE.")
    ] = None,
    search: Annotated[
        str, typer.Option(help="Only those with this in a name, state, tag, note or reason.")
    ] = "",
    as_json: Json = False,
) -> None:
    """List every model version: its state, the aliases that point at it, who approved it."""
    from tunesmith.cli.opening import opened
    from tunesmith.registry.labels import found
    from tunesmith.registry.standing import listed

    with opened(folder) as (project, _):
        entries = found(listed(project), tag or (), search)
    rows = [
        [
            e.version.name,
            e.version.number,
            e.state,
            ", ".join(e.aliases) or "-",
            ", ".join(c.actor for c in e.changes if c.what == "approved") or "-",
            e.version.digest[:12],
            e.version.created_at,
        ]
        for e in entries
    ]
    headings = ["model", "version", "state", "alias", "approved by", "digest", "made"]
    lines = table(rows, headings)
    for entry in entries:
        lines += promotion.aliases_of_retired(entry)
    out(entries, lines, as_json)


def model_card(
    name: Annotated[str, typer.Argument(help="Name of a model.")],
    folder: Folder = HERE,
    alias: Annotated[str, typer.Option(help="Which release; its gate's alias if not given.")] = "",
    as_json: Json = False,
) -> None:
    """Print the card of a released model (Markdown)."""
    from tunesmith.cli.opening import opened
    from tunesmith.core.canonical import fingerprint
    from tunesmith.core.waiver import behind

    with opened(folder) as (project, _):
        release, _version = project.released(name, alias or project.file.alias_of(name))
        card = project.runner.blobs.get(release.card).decode()
        with project.runner.database.read() as connection:
            waivers = behind(connection, fingerprint(release))
    if waivers:  # they may be younger than the card, which is never written again
        card += "\n## Kept although the code changed since\n\n"
        card += "".join(f"- {each.said()}\n" for each in waivers)
    out({"release": release, "card": card, "waivers": waivers}, [card], as_json)


def model_mistakes(
    name: Annotated[
        str, typer.Argument(help="Name of a model; of an older version NAME@NUMBER or NAME@ALIAS.")
    ],
    folder: Folder = HERE,
    limit: Annotated[int, typer.Option(help="Print at most this many rows.")] = 20,
    task: Annotated[str, typer.Option(help="What it answered to this task of its gate.")] = "",
    best: Annotated[bool, typer.Option("--best", help="The rows it did best on, instead.")] = False,
    by: Annotated[
        str, typer.Option("--metric", help="Of this metric; the first if not given.")
    ] = "",
    as_json: Json = False,
) -> None:
    """List the rows on which the tuned model did worst: of the test rows, or of a task."""
    from tunesmith.cli.opening import opened
    from tunesmith.records.evaluation import is_share
    from tunesmith.registry.answered import answered_by, answered_now

    with opened(folder) as (project, _):
        if "@" in name:
            asked = answered_by(project, name, task)
        else:
            asked = answered_now(project, _step_that_asks(project, name, task))
    evaluation, rows = asked.evaluation, asked.rows
    of = by or evaluation.metric
    worth = _worth_of(evaluation, of, rows)
    full = 1.0 if is_share(of) else math.inf
    wanted = rows if best else [row for row in rows if worth(row) < full]
    sign = -1 if best else 1
    found = sorted(wanted, key=lambda r: (sign * worth(r), -sign * r["loss"]))
    cells = [
        [
            *(r["row_id"], shortened(r["text"])),
            *(shortened(r[key], 28) for key in ("label", "predicted")),
            f"{r['loss']:.2f}",
        ]
        for r in found[:limit]
    ]
    way = ", lower is better" if evaluation.falls(of) else ""
    head = f"{of} {metric(of, evaluation.metrics()[of])}{way}"
    if is_share(of) and not best:
        head += f"; {len(found)} of {len(rows)} rows are not wholly right"
    lines = table(cells, ["row", "text", "wanted", "predicted", "loss"])
    key = "best" if best else "worst"
    out({"of": asked.of, "num_rows": len(rows), key: found[:limit]}, [head, *lines], as_json)


def _step_that_asks(project: Project, name: str, task: str) -> Step:
    from tunesmith import graph
    from tunesmith.cli.service import only

    only(project.file.model, name, "model")
    steps = graph.build(project.file).models[name].asked()
    asked = {step.name.partition("/")[2]: step for step in steps}
    if task not in asked:
        known = ", ".join(filter(None, asked))
        raise NotFound(
            f"the gate of {name} has no task {task!r}", remedy=f"there is: {known or 'none'}"
        )
    return asked[task]


def _worth_of(
    evaluation: Evaluation, of: str, rows: Sequence[Mapping[str, Any]]
) -> Callable[[Mapping[str, Any]], float]:
    """How well a row did, more is better.

    Raises:
        UsageError: rows have no such metric of their own.
    """
    first = rows[0] if rows else {}
    columns = {name.removeprefix("metric "): name for name in first if name.startswith("metric ")}
    columns |= {evaluation.metric: "score"}
    columns |= {name: "loss" for name in ("loss", "perplexity") if name in evaluation.others}
    if of not in columns:
        raise UsageError(
            f"a row has no {of!r} of its own", remedy=f"there is: {', '.join(columns)}"
        )
    sign = -1 if evaluation.falls(of) else 1
    return lambda row: sign * float(row[columns[of]])


def model_examples(
    name: Annotated[str, typer.Argument(help="Name of a model.")],
    suite: Annotated[str, typer.Argument(help="Name of one of its suites.")],
    folder: Folder = HERE,
    limit: Annotated[int, typer.Option(help="Print at most this many.")] = 20,
    as_json: Json = False,
) -> None:
    """List what a suite asked a model and its base: where the two differ most comes first."""
    import pyarrow.parquet as pq

    from tunesmith import graph
    from tunesmith.cli.opening import opened
    from tunesmith.cli.service import only

    with opened(folder) as (project, _):
        only(project.file.model, name, "model")
        suites = graph.build(project.file).models[name].suites
        only(suites, suite, "suite")
        result = project.runner.current(suites[suite])
        rows = pq.read_table(project.runner.blobs.path(result.examples)).to_pylist()
    order = sorted(rows, key=lambda r: -abs(r["tuned_score"] - r["base_score"]))
    sourced = ["source"] if any(r.get("source") for r in rows) else []
    cells = [
        [
            *(r[key] for key in ("row_id", "check", *sourced)),
            *(shortened(r[key], 32) for key in ("asked", "base", "tuned")),
            *(f"{r[key]:.3f}" for key in ("base_score", "tuned_score")),
        ]
        for r in order[:limit]
    ]
    headings = ["row", "check", *sourced, "asked", "base says", "tuned says", "base", "tuned"]
    lines = [*table(cells, headings), *left_out(len(rows), limit)]
    out({"num_examples": len(rows), "examples": order}, lines, as_json)
