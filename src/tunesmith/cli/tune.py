"""Tune a model, look at what it would be tuned on, and at what was shown of its run."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.render import HERE, WIDTH, Folder, Json, Set, metrics_table, out, table, wrapped
from tunesmith.cli.rivals import pilot_lines, transfer_lines
from tunesmith.cli.search import search_lines
from tunesmith.core.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from tunesmith.pipeline import Made
    from tunesmith.project import Project
    from tunesmith.records.certificate import Certificate
    from tunesmith.stages.finetune.control import Request
    from tunesmith.stages.finetune.first_batch import FirstBatch, ShownToken

LEGEND = "[trained: the answer]  {trained: the end of the turn}  all else is read, not trained"

Search = Annotated[
    int | None,
    typer.Option(
        "--search",
        min=1,
        metavar="N",
        help="Try N recipes on a few of the training rows and the best of them on more; print "
        "quality against money. The same again goes on where it stopped.",
    ),
]
INSTEAD = {
    "show_batch": "Tune nothing; print the first batch, token by token.",
    "transfer_report": "Compare the model with its base untuned, with its trunk frozen and with "
    "random weights, at the same steps.",
    "pilot": "Try rival recipes on a few of the training rows; print quality against money.",
    "pause": "Tell a run at another terminal to keep and wait.",
    "resume": "Tell a paused run to go on.",
    "stop": "Tell a run to keep what it did, and end.",
}
"""Flags of `tune`: what it does instead of tuning. At most one is given."""
WISHES: dict[str, Request] = {"pause": "pause", "resume": "go on", "stop": "stop"}


def add_to(app: typer.Typer) -> None:
    """Add this file's commands; `model_certificate` belongs to the group `model`."""
    app.command()(_with_flags(tune, INSTEAD))


def tune(
    name: Annotated[str, typer.Argument(help="Name of a model; needed if there are several.")] = "",
    folder: Folder = HERE,
    flags: Set = [],  # noqa: B006
    as_json: Json = False,
    search: Search = None,
    **instead: bool,
) -> None:
    """Tune one model and evaluate it; its gate is left to `tunesmith run`."""
    from tunesmith import graph, pipeline, rivals
    from tunesmith.cli.opening import opened
    from tunesmith.cli.service import only

    instead["search"] = search is not None
    given = [flag for flag, is_given in instead.items() if is_given]
    if len(given) > 1:
        raise UsageError("choose one of " + ", ".join(_option(flag) for flag in given))
    if given and given[0] in WISHES:
        _ask(name, folder, WISHES[given[0]], as_json)
        return
    with opened(folder, flags, runs=True) as (project, _):
        name = only(project.file.model, name, "model")
        match given:
            case ["show_batch"]:
                _show(pipeline.first_batch(project, name), as_json)
            case ["transfer_report"]:
                report = rivals.transfer_report(project, name)
                out(report, transfer_lines(report), as_json)
            case ["pilot"]:
                pilot = rivals.pilot(project, name)
                out(pilot, pilot_lines(pilot), as_json)
            case ["search"]:
                assert search is not None
                _search(project, name, search, as_json)
            case _:
                path = graph.build(project.file).models[name]
                made = pipeline.make_model(project, path, judges=False)
                out(made, _made_lines(name, made), as_json)


def _with_flags(command: Callable[..., None], flags: Mapping[str, str]) -> Callable[..., None]:
    """`command(..., **given)` as one whose keywords are these flags, for what reads signatures."""
    signature = inspect.signature(command, eval_str=True)
    *named, _ = signature.parameters.values()
    added = [
        inspect.Parameter(
            flag,
            inspect.Parameter.KEYWORD_ONLY,
            default=False,
            annotation=Annotated[bool, typer.Option(_option(flag), help=said)],
        )
        for flag, said in flags.items()
    ]

    @functools.wraps(command)
    def with_flags(*args: Any, **kwargs: Any) -> None:
        command(*args, **kwargs)

    with_flags.__signature__ = signature.replace(parameters=[*named, *added])  # type: ignore[attr-defined]
    return with_flags


def _option(flag: str) -> str:
    return f"--{flag.replace('_', '-')}"


def _search(project: Project, name: str, num_trials: int, as_json: bool) -> None:
    """Print what a search found, also if it was interrupted; that ends as elsewhere."""
    from tunesmith.search.run import search

    found = search(project, name, num_trials)
    out(found, search_lines(found), as_json)
    if found.ended == "interrupted":
        raise KeyboardInterrupt


def _ask(name: str, folder: Path, wish: Request, as_json: bool) -> None:
    from tunesmith.cli.opening import opened
    from tunesmith.cli.service import only
    from tunesmith.graph import build
    from tunesmith.stages.finetune.control import request

    with opened(folder) as (project, _):
        name = only(project.file.model, name, "model")
        request(project.kept_of_running(build(project.file).models[name].model), wish)
    said = {"pause": "waits", "go on": "goes on", "stop": "ends, and keeps what it did,"}[wish]
    out({"model": name, "asked": wish}, [f"{name} {said} after its present step"], as_json)


def model_certificate(
    name: Annotated[str, typer.Argument(help="Name of a model.")],
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Print what was shown of a model's run: each check, what was observed, what is required."""
    from tunesmith import graph
    from tunesmith.cli.opening import opened
    from tunesmith.cli.service import only
    from tunesmith.core.canonical import parse
    from tunesmith.core.ref import from_plain
    from tunesmith.records.certificate import Certificate

    with opened(folder) as (project, _):
        only(project.file.model, name, "model")
        model = project.runner.current(graph.build(project.file).models[name].model)
        record = from_plain(Certificate, parse(project.runner.blobs.get(model.certificate)))
    out(record, certificate_lines(record), as_json)


def certificate_lines(certificate: Certificate) -> list[str]:
    """The checks of a certificate, those from before the run and those from after it."""
    lines = []
    for when, checks in itertools.groupby(certificate.checks, key=lambda check: check.when):
        lines += ["", f"{when} the run:"]
        for check in checks:
            numbers = ", ".join(map(str, check.defects))
            lines += [
                f"  {'ok  ' if check.passed else 'FAIL'}  {check.name}",
                f"        {check.observed}; required {check.required} (defects {numbers})",
            ]
    held = sum(check.passed for check in certificate.checks)
    return [*lines, "", f"{held} of {len(certificate.checks)} checks hold"]


def batch_lines(batch: FirstBatch) -> list[str]:
    """The first batch with the trained tokens marked, and what was found in all rows."""
    lines = []
    for number, group in itertools.groupby(batch.tokens, key=lambda token: token.document):
        tokens = list(group)
        trained = sum(token.trained != "no" for token in tokens)
        row = f"document {number}, row {batch.row_ids[number]}"
        lines += [f"{row}: {len(tokens)} tokens, {trained} trained", *_token_lines(tokens)]
        target = batch.targets[number]
        lines += [f"  to be said of it: {target}", ""] if target else [""]
    found = batch.preflight
    labels = sum(token.trained != "no" for token in batch.tokens)
    counts = [[len(finding.row_ids), f"rows {finding.fault}"] for finding in found.findings]
    steps = max(1, batch.num_steps)
    return [
        *lines,
        LEGEND,
        "",
        f"first step: {len(batch.row_ids)} rows, {len(batch.tokens)} tokens, {labels} trained",
        f"one epoch:  {found.num_rows} rows, {found.num_tokens} tokens, {found.num_labels} trained",
        f"whole run:  {steps} steps",
        "",
        *table(counts, ["found", "in the training rows"]),
    ]


def _show(batch: FirstBatch, as_json: bool) -> None:
    """Print a batch; rows that would be refused are shown first and refused then."""
    from tunesmith.stages.finetune.preflight import require_sound

    out(batch, batch_lines(batch), as_json)
    require_sound(batch.preflight)


def _token_lines(tokens: Sequence[ShownToken]) -> Iterator[str]:
    """Tokens parted by bars, on lines that end where the text's do or where they are full."""
    line, width = "", 0
    for token in tokens:
        shown = _marked(token)
        if line and (width + len(shown) > WIDTH - 4):
            yield f"  {line}|"
            line, width = "", 0
        # The brackets of a trained token part it from the next as well.
        bar = "|" if line and token.trained == "no" else ""
        line += bar + _coloured(shown, token)
        width += len(bar) + len(shown)
        if token.text.endswith("\\n"):
            yield f"  {line}"
            line, width = "", 0
    if line:
        yield f"  {line}"


def _marked(token: ShownToken) -> str:
    match token.trained:
        case "answer":
            return f"[{token.text}]"
        case "end of turn":
            return f"{{{token.text}}}"
    return token.text


def _coloured(shown: str, token: ShownToken) -> str:
    """For terminals only: elsewhere what prints it takes the colour out again."""
    match token.trained:
        case "answer":
            return typer.style(shown, fg=typer.colors.GREEN, bold=True)
        case "end of turn":
            return typer.style(shown, fg=typer.colors.CYAN, bold=True)
    return shown


def _made_lines(name: str, made: Made) -> list[str]:
    model = made.model
    evaluations = {"base": made.base, "tuned": made.tuned}
    said = (
        f"{name}: {model.num_trainable} of {model.num_parameters} parameters were trained in "
        f"{model.num_steps} steps; loss {model.first_loss:.3f} to {model.last_loss:.3f}"
    )
    return [
        *wrapped(said),
        "",
        *metrics_table(evaluations, f"on {made.tuned.num_rows} test rows"),
        "",
        f"what was shown of the run: tunesmith model certificate {name}",
        "judge it and release it:   tunesmith run",
    ]
