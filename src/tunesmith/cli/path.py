"""The main path: init, config, plan, run, demo."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.render import HERE, Folder, Json, Set, out, say, table, wrapped
from tunesmith.core.ref import to_plain

EXAMPLES = Path(__file__).parent / "examples"
FILE = "tunesmith.toml"
Whole = Annotated[
    list[str],
    typer.Option(
        "--whole",
        help="Read this source whole, whatever its cursor, and say what increments had missed.",
        metavar="SOURCE",
    ),
]

Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs", help="Run so many steps at the same time; as [project] jobs.", metavar="N"
    ),
]
Accept = Annotated[
    list[str],
    typer.Option(
        "--accept-unchanged",
        help="Keep this step's result although its code changed; the reason is put on record.",
        metavar="STEP",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(init)
    app.command()(plan)
    app.command()(run)
    app.command()(demo)
    config = typer.Typer(help="The project's settings.", no_args_is_help=True)
    config.command("show")(config_show)
    app.add_typer(config, name="config")


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make, or an empty one.")],
    example: Annotated[str, typer.Option(help="Which example project to write.")] = "licence-desk",
    as_json: Json = False,
) -> None:
    """Write a commented project file."""
    path = write_example(folder, example)
    out(
        {"project_file": str(path)},
        [f"wrote {path}", f"next: cd {folder} && tunesmith plan && tunesmith run"],
        as_json,
    )


def write_example(folder: Path, example: str) -> Path:
    """Write an example's project file into `folder`; one that is there already is kept.

    Raises:
        NotFound: there is no such example.
        Conflict: another project file is there.
    """
    from tunesmith.core.errors import Conflict, NotFound

    known = {path.stem: path for path in EXAMPLES.glob("*.toml")}
    if example not in known:
        raise NotFound(
            f"there is no example {example!r}", remedy=f"one of: {', '.join(sorted(known))}"
        )
    text = known[example].read_text(encoding="utf-8")
    path = folder / FILE
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise Conflict(
            f"{path} is there already and is another one",
            remedy="choose another folder, or run `tunesmith run` in this one",
        )
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def config_show(folder: Folder = HERE, flags: Set = [], as_json: Json = False) -> None:  # noqa: B006
    """Print every setting, its value, and where it came from."""
    from tunesmith import project_file
    from tunesmith.core import settings
    from tunesmith.core.db import without_password

    file, layers = project_file.read(folder, flags=flags)
    shown = [
        replace(each, value=without_password(each.value))
        if each.key == "project.database"
        else each
        for each in settings.explain(file, layers)
    ]
    out(
        shown, table([[s.key, s.value, s.origin] for s in shown], ["key", "value", "from"]), as_json
    )


def plan(
    folder: Folder = HERE,
    flags: Set = [],  # noqa: B006
    whole: Whole = [],  # noqa: B006
    look: Annotated[
        bool,
        typer.Option(
            "--preview",
            help="Read sources and base models first, so that the rows, tokens and price of all "
            "that would run can be estimated.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Say which steps would run, why, and what they are expected to cost."""
    from tunesmith import graph, judging, pipeline
    from tunesmith.cli.opening import opened
    from tunesmith.cli.plans import plan_lines, preview_lines
    from tunesmith.expected.preview import previews, read_inputs
    from tunesmith.ledger.plan import price_plan

    with opened(folder, flags, asks=True, whole=whole) as (project, _):
        steps = judging.planned_graph(project)
        planned = project.runner.plan(graph.steps(steps))
        if look:
            known = pipeline.newest(project)
            make = partial(pipeline.make_asset, project)
            read_inputs(project, steps, planned, lambda name, step: make(step, known.get(name)))
            planned = project.runner.plan(graph.steps(steps))
        sized = previews(project, steps, planned, every=look)
        runs = project.runs()
        priced = price_plan(planned, project.file.ledger.rates, runs)
        could = judging.what_gates_could_show(project, steps, planned)
        could += judging.what_suites_could_show(project, steps, planned)
    lines = [
        *plan_lines(priced),
        *(part for line in (*preview_lines(sized), *could) for part in wrapped(line)),
    ]
    after = max((run.id for run in runs), default=0)
    said = {"after_run": after, "increments": project.increments, "preview": sized}
    out({**to_plain(priced), **to_plain(said)}, lines, as_json)


def run(
    folder: Folder = HERE,
    flags: Set = [],  # noqa: B006
    whole: Whole = [],  # noqa: B006
    jobs: Jobs = None,
    accept: Accept = [],  # noqa: B006
    why: Annotated[str, typer.Option(help="Why, with --accept-unchanged.")] = "",
    as_json: Json = False,
) -> None:
    """Run what is not there yet: sources to release, index, signals and proposals."""
    from tunesmith import pipeline
    from tunesmith.cli.closing import closing
    from tunesmith.cli.opening import opened
    from tunesmith.cli.plans import looked_back_lines
    from tunesmith.ledger.plan import look_back

    started = time.monotonic()
    if jobs is not None:
        flags = [*flags, f"project.jobs={jobs}"]
    with opened(folder, flags, runs=True, whole=whole) as (project, _):
        for kept in pipeline.accept_unchanged(project, accept, why) if accept else ():
            say(f"= {kept.step}: run {kept.run} is kept ({'; '.join(kept.changed)}): {kept.why}")
        since = max((run.id for run in project.runs()), default=0)
        result = pipeline.run(project)
        wall_s = time.monotonic() - started
        found = look_back(project.runs(), since, project.file.ledger.rates)
        screen = closing(project, result, wall_s, looked_back_lines(found))
    said = {"increments": to_plain(project.increments), "looked_back": to_plain(found)}
    out({**to_plain(result), **said}, screen, as_json)


def demo(
    folder: Annotated[Path, typer.Argument(help="Folder to run the demo in.")] = Path(
        "licence-desk"
    ),
    as_json: Json = False,
) -> None:
    """Run the licence desk: from real data to a tuned, gated, served and booked model."""
    path = write_example(folder, "licence-desk")
    say(f"the project file is {path}; it explains itself")
    run(folder, as_json=as_json)
