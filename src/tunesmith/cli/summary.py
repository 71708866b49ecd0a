"""What became of a plan, for the page of a change: Markdown that others show."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.render import HERE, Folder, Json, difference, metric, out, seconds
from tunesmith.core.errors import NotFound, UsageError
from tunesmith.core.meter import Usage
from tunesmith.documents.markdown import code
from tunesmith.ledger.cost import display, price, zero

if TYPE_CHECKING:
    from tunesmith.core.catalog import Run
    from tunesmith.project import Project
    from tunesmith.records.evaluation import Evaluation, GateResult
    from tunesmith.records.money import Money, Rates

MOST_ITEMS = 40
"""Of one list."""
MOST_CHARACTERS = 60_000
"""A comment has at most 65,536 on GitHub."""


def add_to(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(summary)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A model, and what its gate says of it as the project is set now."""

    model: str
    version: str
    """e.g. "desk@2"; empty while it is not made."""
    gate: GateResult | None
    """None where it has not judged."""
    base: Evaluation | None
    tuned: Evaluation | None


def summary(
    plan: Annotated[Path, typer.Argument(help="What `tunesmith plan --json` printed before.")],
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Print what became of a plan as Markdown: what each gate says, the main figures, which steps
    ran, and what that cost. Names and texts of the project are code in it: nothing of them is a
    link, a mark or a command where it is shown.

        tunesmith plan --json > plan.json; tunesmith run; tunesmith summary plan.json
    """
    from tunesmith.cli.opening import opened
    from tunesmith.pipeline import books

    planned = _read(plan)
    with opened(folder) as (project, _):
        judged = list(_judged(project))
        ran = [run for run in project.runs() if run.id > planned["after_run"]]
        total = books(project).total
        file = project.file
    rates = file.ledger.rates
    cost = zero(rates.currency)
    for run in ran:
        cost += _cost(run, rates)
    lines = [f"### Tunesmith: {code(file.project.name)}", ""]
    for each in judged:
        lines += [*_verdict(each), ""]
    lines += [f"Cost: {display(cost)}; of all runs so far {display(total)}", ""]
    lines += _became(planned["lines"], ran, rates)
    text = _short(lines)
    gates = {each.model: each.gate.verdict if each.gate else None for each in judged}
    steps = [{"run": run.id, "step": run.step, "status": run.status} for run in ran]
    out({"markdown": text, "gates": gates, "ran": steps, "cost": cost}, [text], as_json)


def _read(path: Path) -> dict[str, Any]:
    """The plan in a file.

    Raises:
        NotFound, UsageError: it is not there, or is not a plan.
    """
    how = "make it before the run: tunesmith plan --json > plan.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        steps = [(line["step"], line["state"]) for line in found["lines"]]
        return {"after_run": int(found["after_run"]), "lines": steps}
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}", remedy=how) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not what `tunesmith plan` printed", remedy=how) from error


def _judged(project: Project) -> Iterator[Judged]:
    """Each model that a gate judges, with what there is of it as the project is set now."""
    from tunesmith.judging import planned_graph

    numbers = {each.digest: f"{each.name}@{each.number}" for each in project.versions()}
    for name, path in planned_graph(project).models.items():
        if path.gate is None:
            continue
        steps = [path.model, path.gate, path.base_evaluation, path.tuned_evaluation]
        model, gate, base, tuned = (each.hit for each in project.runner.plan(steps))
        yield Judged(
            model=name,
            version=numbers.get(model.output.sha256, "") if model and model.output else "",
            gate=project.load(gate) if gate else None,
            base=project.load(base) if base else None,
            tuned=project.load(tuned) if tuned else None,
        )


def _verdict(judged: Judged) -> Iterator[str]:
    from tunesmith.cli.screen import rule_lines

    which = code(judged.version or judged.model)
    gate = judged.gate
    if gate is None:
        yield f"**not judged**: the run ended before a gate had judged {which}"
        return
    let = ", which its settings let pass" if gate.verdict != "pass" and gate.admits else ""
    yield f"**{gate.verdict}**{let}: {which}, by gate {code(gate.gate)}"
    yield ""
    yield from _listed([code(line) for line in rule_lines(gate.rules)])
    if judged.base is not None and judged.tuned is not None:
        yield ""
        before, after = judged.base.metrics(), judged.tuned.metrics()
        yield from _listed(
            [
                f"{code(name)}: base {metric(name, before[name])}, tuned {metric(name, value)}"
                for name, value in after.items()
                if name in before
            ]
        )
    yield from _listed(
        [
            f"tuned - {code(each.versus)}, {code(each.metric)}: {difference(each)}, "
            f"{each.num_rows} {code(each.rows_said) if not each.is_of_all else 'rows'}"
            for each in gate.comparisons
        ]
    )


def _became(planned: Sequence[tuple[str, str]], ran: Sequence[Run], rates: Rates) -> Iterator[str]:
    """What was to run, and what did, folded away."""
    wanted = [step for step, state in planned if state == "runs"]  # and others that "may run"
    newest = {run.step: run for run in ran}
    not_run = [step for step in wanted if step not in newest]
    ended = Counter(run.status for run in newest.values())
    said = f"{len(wanted)} of {len(planned)} steps were to run, {ended.pop('succeeded', 0)} did"
    said += "".join(f", {number} {status}" for status, number in sorted(ended.items()))
    items = [
        *(_outcome(run, rates) for run in ran),
        *(f"{code(step)}: not run" for step in not_run),
    ]
    if not items:
        yield said
        return
    yield from (f"<details><summary>{said}</summary>", "", *_listed(items), "", "</details>")


def _outcome(run: Run, rates: Rates) -> str:
    took = f", {seconds(run.usage['wall_s'])}, {display(_cost(run, rates))}" if run.usage else ""
    why = f": {code(run.error)}" if run.error else ""
    return f"{code(run.step)}: {run.status}{took}{why}"


def _cost(run: Run, rates: Rates) -> Money:
    return price(Usage(**run.usage), rates) if run.usage else zero(rates.currency)


def _listed(items: Sequence[str]) -> list[str]:
    """Items of a list, the first of them where they are many."""
    more = len(items) - MOST_ITEMS
    return [f"- {item}" for item in items[:MOST_ITEMS]] + [f"- and {more} more"] * (more > 0)


def _short(lines: Sequence[str]) -> str:
    """The lines as text; of a project so large that a comment could not hold them, the first."""
    text = "\n".join(lines)
    if len(text) <= MOST_CHARACTERS:
        return text
    return text[: text.rindex("\n", 0, MOST_CHARACTERS)] + "\n\nThe rest is in the run's own log."
