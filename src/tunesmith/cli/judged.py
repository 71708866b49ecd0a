"""What a judge said of a model's answers, pair by pair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.render import HERE, Folder, Json, left_out, out, shortened, table, wrapped
from tunesmith.core.errors import NotFound

if TYPE_CHECKING:
    from tunesmith.core.step import Step
    from tunesmith.project import Project
    from tunesmith.records.pairwise import Verdicts, WinRate


def model_judged(
    name: Annotated[str, typer.Argument(help="Name of a model.")],
    task: Annotated[str, typer.Argument(help="Name of a task of its gate that has a judge.")],
    against: Annotated[
        str, typer.Option(help='"base", or a version or alias that a rule compares with.')
    ] = "base",
    folder: Folder = HERE,
    limit: Annotated[int, typer.Option(help="Print at most this many pairs.")] = 20,
    best: Annotated[bool, typer.Option("--best", help="The pairs that it won first.")] = False,
    as_json: Json = False,
) -> None:
    """List the verdicts of a model that judges, pair by pair: those that were lost come first."""
    import pyarrow.parquet as pq

    from tunesmith.cli.opening import opened
    from tunesmith.cli.service import only

    with opened(folder) as (project, _):
        only(project.file.model, name, "model")
        verdicts, summary = _found(project, name, task, against)
        rows = pq.read_table(project.runner.blobs.path(verdicts.pairs)).to_pylist()
    sign = -1 if best else 1
    order = sorted(
        rows, key=lambda r: (sign * r["outcome"], sign * (r["tuned_first"] + r["tuned_second"]))
    )
    said = {1: "won", 0: "tie", -1: "lost"}
    cells = [
        [
            r["row_id"],
            said[r["outcome"]] + (f" ({r['tie']})" if r["tie"] else ""),
            *(f"{r[key]:+.2f}" for key in ("tuned_first", "tuned_second")),
            *(shortened(r[key], 28) for key in ("asked", "other", "tuned")),
        ]
        for r in order[:limit]
    ]
    headings = ["row", "verdict", "first", "second", "asked", f"{verdicts.versus} says", "it says"]
    head = [part for line in summary.said() for part in wrapped(line)]
    lines = [*head, "", *table(cells, headings), *left_out(len(rows), limit)]
    out({"judged_by_a_model": summary, "num_pairs": len(rows), "pairs": order}, lines, as_json)


def _found(project: Project, name: str, task: str, against: str) -> tuple[Verdicts, WinRate]:
    """The verdicts on a task beside `against`, and what they come to.

    Raises:
        NotFound: there is no such judge, or it has not been asked.
    """
    from tunesmith.graph import build
    from tunesmith.judging import planned_path

    gate = planned_path(project, build(project.file).models[name]).gate
    known: dict[tuple[str, str], Step] = {}
    versus = against
    if gate is not None:
        known = {(s.config.task.name, s.config.versus): s for s in gate.inputs.get("verdicts", ())}
        standings = gate.inputs.get("standings")
        for each in standings.standings if standings else ():
            versus = each.version if each.against == against else versus
    if gate is None or (task, versus) not in known:
        there = ", ".join(f"{of} beside {other}" for of, other in known) or "none"
        raise NotFound(
            f"no judge compares the answers of {name} to task {task!r} with those of {against}",
            remedy=f"there is: {there}",
        )
    verdicts: Verdicts = project.runner.current(known[task, versus])
    result = project.runner.current(gate)
    (summary,) = (each for each in result.win_rates if each.verdicts == verdicts)
    return verdicts, summary
