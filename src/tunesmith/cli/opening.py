"""Open a project for a command, with a screen that hears its runner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tunesmith.cli.render import say
from tunesmith.cli.screen import Screen
from tunesmith.project import Project, open_project


@contextmanager
def opened(
    folder: Path,
    flags: Sequence[str] = (),
    *,
    runs: bool = False,
    asks: bool = False,
    whole: Sequence[str] = (),
) -> Iterator[tuple[Project, Screen]]:
    """The project in `folder`, closed again at the end.

    A command that `runs` steps first cleans up after those that crashed; one that looks changes
    nothing. One that runs, or `asks`, sees the rows of databases and APIs as they
    are now; the sources in `whole` are read whole.
    """
    screen = Screen()
    project = open_project(folder, flags=flags, on_event=screen, asks=runs or asks, whole=whole)
    screen.rates = project.file.ledger.rates
    try:
        if runs:
            project.clean_up()
        yield project, screen
    except (KeyboardInterrupt, SystemExit):
        say("\nstopped; what was finished is kept, run the same command to go on")
        raise
    finally:
        project.close()
