"""The ledger: what each run cost, and what the books may do with it."""

from __future__ import annotations

import typer

from tunesmith.cli.render import HERE, Folder, Json, out, table, wrapped


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    ledger = typer.Typer(help="Costs, and IAS 38.", no_args_is_help=True)
    ledger.command("register")(ledger_register)
    app.add_typer(ledger, name="ledger")


def ledger_register(folder: Folder = HERE, as_json: Json = False) -> None:
    """Print what is capitalised, what is expensed, and why."""
    from tunesmith import pipeline
    from tunesmith.cli.opening import opened
    from tunesmith.ledger.cost import display

    with opened(folder) as (project, _):
        book = pipeline.books(project)
    why = list(dict.fromkeys((e.rule, e.paragraph, e.reason) for e in book.entries))
    numbers = {reason: number for number, reason in enumerate(why, start=1)}
    rows = [
        [
            e.run,
            e.step,
            e.phase,
            e.treatment,
            display(e.cost),
            f"[{numbers[e.rule, e.paragraph, e.reason]}]",
        ]
        for e in book.entries
    ]
    lines = [*table(rows, ["run", "step", "phase", "treatment", "cost", "why"]), ""]
    for (rule, paragraph, reason), number in numbers.items():
        lines += wrapped(f"[{number}] {paragraph} (rule {rule}): {reason}")
    for holding in book.holdings:
        lines += ["", f"model {holding.model}: {display(holding.capitalised)} capitalised"]
        if holding.available_since:
            lines.append(f"  available for use since {holding.available_since[:10]}")
        elif holding.available_from:
            lines.append(f"  planned to be available for use on {holding.available_from[:10]}")
        for criterion in holding.criteria:
            lines.append(f"  57({criterion.letter}) {criterion.state.replace('_', ' ')}")
            lines += [f"      has: {found}" for found in criterion.evidence]
            lines += [f"      missing: {gap}" for gap in criterion.missing]
    lines += [
        "",
        f"capitalised {display(book.capitalised)}, expensed {display(book.expensed)}, "
        f"total {display(book.total)} (rules {book.rules_version})",
    ]
    if book.missing:
        lines += ["evidence that is missing:", *[f"  - {gap}" for gap in book.missing]]
    out(book, lines, as_json)
