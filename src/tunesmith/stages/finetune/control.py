"""Pause, go on, or stop: what somebody at another terminal asks of a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

Request = Literal["go on", "pause", "stop"]
LOOK_EVERY_S = 0.5


def request(folder: Path, wish: Request) -> None:
    """Ask the run whose kept folder this is; it hears at the end of its global step."""
    path = folder / "request"
    if wish == "go on":
        path.unlink(missing_ok=True)
        return
    half = path.with_suffix(".half")
    half.write_text(wish, encoding="utf-8")
    half.rename(path)


def requested(folder: Path) -> Request:
    """What was asked last."""
    try:
        found = (folder / "request").read_text(encoding="utf-8")
    except FileNotFoundError:
        return "go on"
    return "stop" if found == "stop" else "pause"


def wait_while_paused(folder: Path, waiting: Callable[[], None]) -> None:
    """Return when nobody asks for a pause any more; `waiting` is called every half second."""
    while requested(folder) == "pause":
        waiting()
        time.sleep(LOOK_EVERY_S)
