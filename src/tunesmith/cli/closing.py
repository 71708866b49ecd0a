"""The last screen of a run: what was made, what it is worth, what it cost, where it is."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tunesmith.cli.render import difference, metrics_table, percent, seconds
from tunesmith.core.project_folder import STORE
from tunesmith.ledger.cost import display
from tunesmith.pipeline import Made, Result, books
from tunesmith.project import Project
from tunesmith.project_file import FILE
from tunesmith.records.data import Dataset, SemanticSize, TrueSize
from tunesmith.records.evaluation import Comparison

_OF_LICENCES = "Does the MIT license require keeping the copyright notice?"


def closing(
    project: Project, result: Result, wall_s: float, looked_back: Sequence[str] = ()
) -> list[str]:
    """One screen of text; `looked_back` says what had been expected."""
    lines = ["", f"{project.file.project.name}: done in {seconds(wall_s)}", ""]
    for name, asset in result.assets.items():
        lines.append(f"  data asset  {name}: {asset.num_rows} rows, {asset.licence}")
    in_models = {made.dataset.name for made in result.models.values()}
    for name, dataset in result.datasets.items():
        if name not in in_models:
            lines += _dataset(dataset)
    for name, made in result.models.items():
        lines += _model(name, made)
    for name, index in result.indexes.items():
        lines.append(
            f"  index       {name}: {index.num_documents} documents, "
            f"{index.num_sentences} sentences"
        )
    for name, watched in result.watched.items():
        for signal in watched.signals:
            verdict = signal.verdict.replace("_", " ")
            lines.append(f"  monitor     {name}: traffic {signal.traffic} is {verdict}")
        proposal = watched.proposal
        lines.append(f"  proposal    {'retrain' if proposal.retrain else 'do not retrain'}")
    lines += ["", *looked_back, *_cost(project), ""]
    lines += [
        f"  where       {_near(project.folder / FILE)} says it all; "
        f"{STORE}/ beside it holds it all",
        "",
        "next:",
        *[f"  {command}" for command in _commands(project)],
    ]
    return lines


def _dataset(dataset: Dataset) -> list[str]:
    lines = [f"  dataset     {sizes(dataset)}"]
    if dataset.size:
        lines.append(f"              {true_size(dataset.size)}")
    if isinstance(dataset.size, SemanticSize) and dataset.size.num_contradictions:
        lines.append(f"              {contradicting(dataset.name, dataset.size)}")
    if dataset.pii and dataset.pii_treatment == "report":
        lines.append(f"              personal data in its rows: {by_kind(dataset.pii)}")
    return lines


def true_size(size: TrueSize) -> str:
    """How much there is in rows that say the same.

    >>> true_size(TrueSize(rows=1050, distinct=10, near_distinct=10))
    'true size: 1050 rows, 10 distinct, 10 near-distinct (1.0 %)'
    """
    by_meaning = ""
    if isinstance(size, SemanticSize):
        by_meaning = f", {size.semantic_distinct} semantically distinct"
    return (
        f"true size: {size.rows} rows, {size.distinct} distinct, {size.near_distinct} "
        f"near-distinct{by_meaning} ({percent(size.share)})"
    )


def contradicting(name: str, size: SemanticSize) -> str:
    """How many rows mean the same as one with another label, and what lists them."""
    return (
        f"contradictions: {size.num_contradictions} rows mean the same as one with another label: "
        f"tunesmith data contradictions {name}"
    )


def by_kind(counts: Mapping[str, int]) -> str:
    """Counts by name, e.g. "1 card, 2 email"."""
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def sizes(dataset: Dataset) -> str:
    """How large a dataset is, and what it is."""
    num_labels = len(dataset.labels)
    what = {"labels": f"{num_labels} labels", "tags": f"{num_labels} tags"}
    return (
        f"{dataset.name}: {dataset.train.num_rows} rows to train, {dataset.test.num_rows} to test, "
        + what.get(dataset.format, f"format {dataset.format}")
    )


def _model(name: str, made: Made) -> list[str]:
    rows = metrics_table({"base": made.base, "tuned": made.tuned})
    lines = [
        *_dataset(made.dataset),
        f"  model       {name}, on {made.model.base.origin}",
        *[f"              {row}" for row in rows],
    ]
    for comparison in made.gate.comparisons if made.gate else ():
        marked = f", {comparison.metric}" if comparison.is_judged else ""
        lines.append(
            f"              tuned - {comparison.versus}: {difference(comparison)}, "
            f"{100 * comparison.confidence:g} % interval, {comparison.num_rows} "
            f"{_rows(comparison)}{marked}"
        )
    if made.gate is not None:
        alias = f", alias {made.release.move.alias!r}" if made.release else ""
        lines.append(f"  gate        {made.gate.verdict}{alias}")
    return lines


def _rows(comparison: Comparison) -> str:
    return "rows" if comparison.is_of_all else comparison.rows_said


def _cost(project: Project) -> list[str]:
    register = books(project)
    return [
        f"  cost        {display(register.total)} over all runs of this project: "
        f"{display(register.capitalised)} capitalised, {display(register.expensed)} expensed"
    ]


def _commands(project: Project) -> list[str]:
    program = _program()
    folder = _near(project.folder)
    inside = "" if folder == "." else f" -p {folder}"
    commands = [f"{program} ledger register{inside}"]
    if project.file.service:
        commands.insert(0, f"{program} serve{inside}")
    if project.file.index:
        is_licence_desk = project.file.project.name == "licence-desk"  # as `init` writes it
        question = _OF_LICENCES if is_licence_desk else "YOUR QUESTION"
        commands.insert(0, f'{program} ask{inside} "{question}"')
    return commands


def _program() -> str:
    """What one types to get here again."""
    if shutil.which("tunesmith"):
        return "tunesmith"
    started_as = Path(sys.argv[0])
    return str(started_as) if started_as.name == "tunesmith" else "python -m tunesmith"


def _near(folder: Path) -> str:
    """The folder as one would type it here."""
    here = Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)
