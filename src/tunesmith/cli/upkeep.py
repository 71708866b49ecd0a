"""Look after the store: what may go, copies of it, and what they are worth."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.render import HERE, Folder, Json, ProgressLine, out, say, seconds, size, table

if TYPE_CHECKING:
    from tunesmith.core.quarantine import Done, Kept, Plan
    from tunesmith.project import Project

Source = Annotated[Path, typer.Argument(help="Folder that holds backups.")]
Name = Annotated[
    str, typer.Option("--snapshot", help="Which one, the newest without.", metavar="NAME")
]


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    store = typer.Typer(
        help="The store: what may go, copies of it. `tunesmith verify` checks it (fsck).",
        no_args_is_help=True,
    )
    store.command("gc")(store_gc)
    store.command("backup")(store_backup)
    store.command("restore")(store_restore)
    app.add_typer(store, name="store")


def store_gc(
    folder: Folder = HERE,
    apply: Annotated[
        bool, typer.Option("--apply", help="Set aside what would go, remove what is due.")
    ] = False,
    why: Annotated[
        str, typer.Option(help="Say what keeps the blob whose digest begins so.", metavar="DIGEST")
    ] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Put back what was set aside.")] = False,
    batch: Annotated[
        str, typer.Option(help="Of all that is set aside, put back this.", metavar="BATCH")
    ] = "",
    limit: Annotated[int, typer.Option(help="Print at most this many blobs of each kind.")] = 20,
    as_json: Json = False,
) -> None:
    """Say which blobs nothing needs, and what keeps each of the others; nothing is changed.

    With --apply, what would go is set aside, and removed for good by --apply after the grace
    period of [store]. Until then whoever asks for it gets it, and --undo puts it back.
    """
    from tunesmith.cli.opening import opened
    from tunesmith.core import quarantine
    from tunesmith.core.errors import UsageError
    from tunesmith.project import open_store

    if sum([apply, bool(why), undo]) > 1 or (batch and not undo):
        raise UsageError("one of --apply, --why and --undo at a time; --batch goes with --undo")
    if undo:
        with closing(open_store(folder)) as project:
            runner = project.runner
            num = quarantine.undo(runner.database, project.blobs(), runner.actor, batch)
        out({"num_came_back": num}, [f"{num} blobs are back"], as_json)
        return
    with opened(folder) as (project, _):
        database, blobs = project.runner.database, project.blobs()
        in_use, settings = _in_use(project), project.file.store
        if apply:
            done = quarantine.collect(database, blobs, settings, in_use, project.runner.actor)
            out(done, _done(done, settings.grace_days), as_json)
            return
        with database.read() as connection:
            plan = quarantine.plan(connection, blobs, settings, in_use)
    if why:
        found = _found(plan, why)
        out(found, _why(found, plan), as_json)
    else:
        out(plan, _plan(plan, limit), as_json)


def _in_use(project: Project) -> set[int]:
    """Runs that the project file, as it is now, would use again."""
    from tunesmith.graph import steps
    from tunesmith.judging import planned_graph

    planned = project.runner.plan(steps(planned_graph(project)))
    return {each.hit.id for each in planned if each.hit is not None}


def _plan(plan: Plan, limit: int) -> list[str]:
    lines: list[str] = []
    for heading, found in (("kept", plan.kept), ("would go", plan.going)):
        total = size(sum(each.num_bytes for each in found))
        lines.append(f"{len(found)} blobs, {total}: {heading}")
        largest = sorted(found, key=lambda each: -each.num_bytes)[:limit]
        lines += [
            f"  {each.sha256[:12]}  {size(each.num_bytes):>9}  {_path(each)}" for each in largest
        ]
        if len(found) > limit:
            lines.append(f"  and {len(found) - limit} smaller ones: --json has all")
    for batch in plan.batches:
        due = "will be removed by --apply" if batch.is_due else "`--undo` puts it back"
        lines.append(
            f"set aside as {batch.id}: {batch.num_blobs} blobs, {size(batch.num_bytes)}; {due}"
        )
    if plan.going:
        lines.append("nothing was changed; --apply sets aside what would go")
    return lines


def _path(kept: Kept) -> str:
    return " <- ".join(reversed(kept.why))


def _done(done: Done, grace_days: float) -> list[str]:
    lines = [f"removed {done.num_removed} blobs, {size(done.removed_bytes)}"]
    if done.batch:
        lines.append(
            f"set aside {done.num_set_aside} blobs, {size(done.set_aside_bytes)}, as {done.batch}: "
            f"for {grace_days:g} days `tunesmith store gc --undo` puts them back"
        )
    else:
        lines.append("there is nothing else that nothing needs")
    if done.num_came_back:
        lines.append(f"{done.num_came_back} blobs are back, as something needs them")
    return lines


def _found(plan: Plan, digest: str) -> Kept:
    from tunesmith.core.errors import NotFound, UsageError

    found = [each for each in (*plan.kept, *plan.going) if each.sha256.startswith(digest)]
    if not found:
        raise NotFound(
            f"there is no blob {digest} in its place",
            remedy="`tunesmith store gc --json` lists all; what is set aside comes back when it is "
            "asked for, or by --undo",
        )
    if len(found) > 1:
        raise UsageError(f"{len(found)} blobs begin with {digest}", remedy="give more of it")
    return found[0]


def _why(found: Kept, plan: Plan) -> list[str]:
    state = "kept" if found in plan.kept else "would go"
    return [
        f"{found.sha256}  {size(found.num_bytes)}  {state}",
        *(f"{'  ' * depth}<- {each}" for depth, each in enumerate(reversed(found.why), start=1)),
    ]


def store_backup(
    to: Annotated[Path, typer.Argument(help="Folder for backups of this project.")],
    folder: Folder = HERE,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Read again what the backup has, and copy anew what is damaged there."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Copy the store as it is at one moment, while others go on using it; only what is new is
    copied. It shows when it is whole, and not before."""
    from tunesmith.core.backup import back_up
    from tunesmith.core.errors import StoreError
    from tunesmith.project import open_store

    with closing(open_store(folder)) as project:
        _require_outside(project, to)
        line = ProgressLine()
        made = back_up(
            project.runner.database,
            project.store,
            to,
            actor=project.runner.actor,
            on_progress=lambda done, total, what: line.show("backup", what, done, total),
            verify=verify,
        )
        line.clear()
    out(
        made,
        [
            f"snapshot {made.snapshot}: {made.num_blobs} blobs, {size(made.num_bytes)}, of which "
            f"{made.num_copied} ({size(made.copied_bytes)}) are new in {to}",
            f"the evidence ends with {made.head}" if made.head else "there is no evidence yet",
        ],
        as_json,
    )
    if made.damaged:
        raise StoreError(
            f"{len(made.damaged)} blobs are missing or damaged in the store, and so in the backup: "
            f"{', '.join(digest[:12] for digest in made.damaged[:5])}",
            remedy="`tunesmith verify --repair --from` an earlier backup, or `tunesmith run`",
        )


def store_restore(
    source: Source,
    folder: Folder = HERE,
    snapshot: Name = "",
    drill: Annotated[
        bool,
        typer.Option(
            "--drill", help="Restore into a temporary folder and check it; it is on record."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the store of a project that has none from a backup, and check it."""
    from tunesmith.core import restore
    from tunesmith.core.backup import chosen

    found = chosen(source, snapshot)
    if drill:
        _drill(source, snapshot, folder, as_json)
        return
    from tunesmith import project_file
    from tunesmith.core.db import Database
    from tunesmith.core.new_folder import require_free
    from tunesmith.core.owner import actor
    from tunesmith.core.project_folder import STORE

    require_free(folder / STORE, "--project")
    line = ProgressLine()
    if restore.restore_project_file(source, found, folder):
        say(f"the project file is the backup's, too: {folder / project_file.FILE}")
    file, _ = project_file.read(folder)
    url, wait_s = file.project.database, file.project.busy_timeout_s
    server = Database(url, busy_timeout_s=wait_s) if url else None
    try:
        restore.restore(
            source,
            found,
            folder.resolve(),
            server=server,
            actor=actor(),
            on_progress=lambda done, total, what: line.show("restore", what, done, total),
        )
    finally:
        line.clear()
        if server is not None:
            server.close()
    out(
        {"snapshot": found.name, "head": found.head, "num_blobs": len(found.blobs)},
        [
            f"restored snapshot {found.name}: {len(found.blobs)} blobs, {size(found.num_bytes)}",
            f"the evidence goes on from {found.head}, and says that it was restored",
            "next: tunesmith verify",
        ],
        as_json,
    )


def _drill(source: Path, snapshot: str, folder: Path, as_json: bool) -> None:
    from tunesmith.core.backup import chosen
    from tunesmith.core.errors import StoreError
    from tunesmith.core.restore import drill
    from tunesmith.project import open_store

    line = ProgressLine()
    with closing(open_store(folder)) as project:
        drilled = drill(
            source,
            chosen(source, snapshot),
            project.runner.database,
            actor=project.runner.actor,
            on_progress=lambda done, total, what: line.show("drill", what, done, total),
        )
    line.clear()
    rows = [[drilled.snapshot, drilled.num_blobs, size(drilled.num_bytes), seconds(drilled.wall_s)]]
    out(drilled, table(rows, ["snapshot", "blobs", "bytes", "took"]), as_json)
    if drilled.problems:
        raise StoreError(
            "\n  ".join([f"snapshot {drilled.snapshot} is not whole", *drilled.problems]),
            remedy="make another backup, and drill that one; this result is on record",
        )


def _require_outside(project: Project, to: Path) -> None:
    from tunesmith.core.errors import UsageError

    if to.resolve().is_relative_to(project.store.resolve()):
        raise UsageError(f"{to} is in the store itself", remedy="name a folder on another disk")
