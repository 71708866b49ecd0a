"""Ask the documents, open a citation, serve."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tunesmith.cli.render import HERE, Folder, Json, out, say
from tunesmith.core.errors import NotFound, UsageError

if TYPE_CHECKING:
    from tunesmith.project import Project
    from tunesmith.records.index import Index

Anything = TypeVar("Anything")
AROUND = 200


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(ask)
    app.command()(show)
    app.command()(serve)


def ask(
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    folder: Folder = HERE,
    index: Annotated[str, typer.Option(help="Which index; needed if there are several.")] = "",
    as_json: Json = False,
) -> None:
    """Answer from the documents, in their own words, or say that they do not answer it."""
    from tunesmith.cli.opening import opened
    from tunesmith.retrieve.answer import ask as ask_index

    with opened(folder) as (project, _):
        record = current_index(project, index)
        answer = ask_index(record, project.runner.blobs.path(record.database), question)
    lines = []
    for number, citation in enumerate(answer.citations, start=1):
        where = f" ({citation.page})" if citation.page else ""
        lines += [f"[{number}] {citation.quote}"]
        lines += [f"    {citation.title}: {citation.link}{where}", ""]
    if answer.answered:
        lines.append(f'open one with: tunesmith show "{answer.citations[0].link}"')
    else:
        lines.append(
            f"the documents do not answer it (evidence {answer.score:.2f}, "
            f"needed {answer.threshold:.2f})"
        )
    out(
        {"answer": answer, "links": [citation.link for citation in answer.citations]},
        lines,
        as_json,
    )


def show(
    link: Annotated[str, typer.Argument(help="A link such as mit#120-188, or a document's name.")],
    folder: Folder = HERE,
    index: Annotated[str, typer.Option(help="Which index; needed if there are several.")] = "",
    as_json: Json = False,
) -> None:
    """Open a document at a cited place; the cited words stand between >>> and <<<."""
    from tunesmith.cli.opening import opened
    from tunesmith.retrieve.store import Store

    with opened(folder) as (project, _screen):
        record = current_index(project, index)
        with Store(project.runner.blobs.path(record.database)) as store:
            # A document may have a # in its name, and then a place behind another one.
            name, span = link, ""
            if "#" in link and link not in store.names():
                name, _, span = link.rpartition("#")
            document = store.document(name)
            start, end = _span(span, len(document.text))
            pages = store.pages(name, start, end) if span else []
    before, quote, after = document.text[:start], document.text[start:end], document.text[end:]
    if span:
        before = ("..." if start > AROUND else "") + before[-AROUND:]
        after = after[:AROUND] + ("..." if len(after) > AROUND else "")
        text = f"{before}>>>{quote}<<<{after}"
    else:
        text = document.text
    value = {"document": name, "title": document.title, "start": start, "end": end, "text": quote}
    where = "".join(f", {page}" for page in pages)
    out({**value, "pages": pages}, [f"{document.title} ({name}){where}", "", text], as_json)


def serve(
    name: Annotated[str, typer.Argument(help="Which service; needed if there are several.")] = "",
    folder: Folder = HERE,
    port: Annotated[int, typer.Option(help="Port, over the project file's.")] = 0,
    tick: Annotated[
        bool, typer.Option("--tick", help="Run what of the schedules is due, meanwhile.")
    ] = False,
) -> None:
    """Serve released models at an address of this machine, in OpenAI's format, and keep the runs
    that programs log, in MLflow's."""
    from tunesmith.cli.opening import opened
    from tunesmith.endpoint import endpoint
    from tunesmith.schedule import opened as schedules_opened
    from tunesmith.schedule import ticking
    from tunesmith.stages.serve.run import serve as run_service

    ticks: AbstractContextManager[None] = nullcontext()
    if tick:
        with schedules_opened(folder) as book:  # raises where there is none
            ticks = ticking(folder, len(book.file.schedule))
    with opened(folder) as (project, _):
        service = only(project.file.service, name, "service")
        config = project.file.service[service]
        if port:
            config = config.model_copy(update={"port": port})
        for name in config.models:
            _, version = project.in_use(name)
            if version in project.closed(name):  # a retired one is refused
                say(f"warning: {version} is deprecated; see `tunesmith model show {version}`")
        if config.models:
            say(f"loading {', '.join(config.models)} for {service} ...")
        index = current_index(project, config.index) if config.index else None
        app = endpoint(project, config, index)
        url = f"http://{config.host}:{config.port}"
        if config.tracking:
            say(f"programs log here with MLFLOW_TRACKING_URI={url}/mlflow (stop: Ctrl-C)")
        if config.models:
            say(f"serving {', '.join(config.models)} at {url}/v1 (stop: Ctrl-C)")
        with ticks:
            run_service(app, config)


def current_index(project: Project, name: str) -> Index:
    """The index `name`, or the only one, as the project file has it now."""
    from tunesmith import graph

    step = graph.build(project.file).indexes[only(project.file.index, name, "index")]
    record: Index = project.runner.current(step)
    return record


def only(sections: Mapping[str, Anything], name: str, what: str) -> str:
    """`name`, or the name of the only section there is.

    Raises:
        NotFound: there is no such section.
        UsageError: there are several and no name was given.
    """
    if name:
        if name not in sections:
            known = ", ".join(sections) or "none"
            plain = name.partition("@")[0]
            if "@" in name and plain in sections:
                raise UsageError(
                    f"this command tells of {what} {plain!r} as it is now, and of no {name}",
                    remedy=f"name {plain}; `tunesmith data log {name}` tells of a version of data",
                )
            raise NotFound(f"there is no {what} {name!r}", remedy=f"there is: {known}")
        return name
    if not sections:
        raise NotFound(f"the project file has no [{what}.NAME] section", remedy="add one")
    if len(sections) > 1:
        raise UsageError(f"which {what}? there are {', '.join(sections)}", remedy="name one")
    return next(iter(sections))


def _span(text: str, length: int) -> tuple[int, int]:
    if not text:
        return 0, length
    start, _, end = text.partition("-")
    if not (start.isdecimal() and end.isdecimal() and int(start) <= int(end) <= length):
        raise UsageError(
            f"#{text} is not a place in a document of {length} characters",
            remedy="use a link that `tunesmith ask` printed, such as mit#120-188",
        )
    return int(start), int(end)
