"""What became of a model version: where it stands, where it stood, whether it is closed.

Documents that say it are for others, so it has no names and no reasons: these are in the evidence.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tunesmith.core import lifecycle
from tunesmith.core.catalog import Alias
from tunesmith.documents.store import Found, Store, digest_of


def of_status(store: Store) -> Iterator[Found]:
    """One fact, which is another as soon as an alias moves to or from it or somebody closes it."""
    of_release = _versions(store)
    closed = [
        change
        for change in store.changes
        if change.version == store.ref and change.what in (lifecycle.DEPRECATED, lifecycle.RETIRED)
    ][-1:]
    said = [f"{change.what} since {change.at}" for change in closed]
    dates = [store.version.created_at, *(change.at for change in closed)]
    aliases = []
    for alias in dict.fromkeys(row.alias for row in store.history):
        rows = [row for row in store.history if row.alias == alias]
        of_it = [n for n, row in enumerate(rows) if of_release.get(row.digest) == store.ref]
        if not of_it:
            continue
        last = of_it[-1]
        if last + 1 < len(rows):
            said.append(_stood(rows[last + 1], of_release))
            dates.append(rows[last + 1].at)
            continue
        # A gate that judges it again moves the alias to it again: it stands there since the first.
        while last and last - 1 in of_it:
            last -= 1
        is_retired = any(change.what == lifecycle.RETIRED for change in closed)
        said.append(_stands(rows[last], of_release, rows[:last], is_retired=is_retired))
        dates.append(rows[last].at)
        aliases.append(alias)
    value = {"aliases": aliases, "said": said or ["not released: no alias ever pointed at it"]}
    yield {
        "key": "release.status",
        "value": value,
        "where": f"aliases and evidence of {store.ref}",
        "at": max(dates),
        "origin": "recorded",
    }


def _stands(
    row: Alias, of_release: dict[str, str], before: list[Alias], *, is_retired: bool
) -> str:
    if is_retired:
        return f"the alias {row.alias!r} still points at it, and serves nobody"
    if not row.reason.startswith(lifecycle.WENT_BACK):
        return f"{row.alias} since {row.at}"
    was = of_release.get(before[-1].digest, "another") if before else "another"
    return f"{row.alias} again since {row.at}, when it was rolled back to from {was}"


def _stood(after: Alias, of_release: dict[str, str]) -> str:
    """Of an alias that points at another version; `after` is the row that took it away."""
    now = of_release.get(after.digest, "another")
    if after.reason.startswith(lifecycle.WENT_BACK):
        return f"{after.alias} until {after.at}, when it was rolled back to {now}"
    return f"{after.alias} until {after.at}, when {now} took its place"


def _versions(store: Store) -> dict[str, Any]:
    """What version each release is of, by the digest of its record."""
    named = {
        each.digest: f"{each.name}@{each.number}"
        for each in store.project.versions()
        if each.kind == "model"
    }
    return {
        digest_of(run): named[model]
        for run in store.runs
        if run.kind == "release@1"
        for model in store.given(run, "model")
        if model in named
    }
