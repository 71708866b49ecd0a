"""Take what an API answers into the store: JSON records, page after page, in the order of a key.

It is asked once, when a project is opened by somebody who wants to know: `look` keeps what came in
a file beside the blobs, without the records of people who are to be forgotten, and the step takes
it from there. The file is gone when the project is closed.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunesmith.core.errors import DataError, InputChanged
from tunesmith.core.step import Context, Progress
from tunesmith.records.data import Package
from tunesmith.stages.ingest.answers import Answer, Asker, Wait
from tunesmith.stages.ingest.asking import CallConfig
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.kept import keep, keep_error, kept
from tunesmith.stages.ingest.kept import place_of as kept_at
from tunesmith.stages.ingest.pages import after, at
from tunesmith.stages.ingest.reach import place_of
from tunesmith.stages.ingest.snapshot import Keeps, everything, line_of, pack

MAX_PAGES = 10_000
MAX_BYTES = 1 << 30
"""Of all records; they are held in memory, to be put in the order of their keys."""


def call(config: CallConfig, ctx: Context) -> Package:
    """The records of an API, packed as one file of JSON lines in the order of their keys.

    Raises:
        DataError: it may not be reached, it does not answer as it should, or two records have the
            same key; see `records_now`.
        InputChanged: the records are not those that `config.sha256` says.
    """
    return take(config, ctx, everything)


def take(
    config: CallConfig, ctx: Context, keeps: Keeps, *, without: Collection[str] = ()
) -> Package:
    """As `call`, but only the records that `keeps` says: those that none of the digests `without`
    tells."""
    target = ctx.workdir / "rows"
    name = _name_of(config.origin)
    there = kept(kept_at(ctx.cache, config), config.sha256, without) if ctx.cache else None
    if there is not None:
        _, num_erased = pack(there.lines(), target, name, keeps)
        num_erased += there.num_erased
    else:
        lines = records_now(config, ctx.hosts, ctx.progress)
        digest, num_erased = pack(lines, target, name, keeps)
        if digest != config.sha256:
            raise InputChanged(
                f"what {place_of(config.origin).shown} answers has the SHA-256 {digest}, not "
                f"{config.sha256}",
                remedy="if records were written just now, run again; if its section pins a sha256, "
                "find out why they changed, or pin the new one",
            )
    return Package(
        requirement=config.origin,
        filename=name,
        wheel=ctx.blobs.put(target, "application/zip"),
        num_erased=num_erased,
    )


def look(
    source: SourceConfig, hosts: tuple[str, ...], cache: Path, keeps: Keeps, progress: Progress
) -> tuple[SourceConfig, Path | None]:
    """The source with the digest of what its API answers now, and where that is kept for the step.

    Where it does not answer, the digest is empty, and what is kept says why not. A source that pins
    its records is left as it is.
    """
    if source.sha256:
        return source, None
    config = source.calling()
    path = kept_at(cache, config)
    path.unlink(missing_ok=True)  # of a process that was killed
    name = _name_of(config.origin)
    without = source.erased.digests if source.erased else ()
    try:
        lines = records_now(config, hosts, progress)
    except DataError as error:
        keep_error(path, error)
        return source, path
    digest = keep(path, ((line, keeps(name, line)) for line in lines), without)
    return source.model_copy(update={"sha256": digest}), path


def records_now(config: CallConfig, hosts: tuple[str, ...], progress: Progress) -> list[bytes]:
    """The records as lines, in the order of their keys; what is no object comes last.

    Raises:
        DataError: a server may not be reached, does not answer, or not in JSON; there is no such
            list; a record has no such key, or two have the same; the pages do not end.
    """
    shown = place_of(config.origin).shown
    asker = Asker(
        origin=place_of(config.origin),
        hosts=hosts,
        token=_token(config.token_env),
        wait=_waiting(progress, shown),
    )
    rows = _Rows(config=config)
    asked: set[str] = set()
    url = config.origin
    while url:
        if len(asked) >= MAX_PAGES:
            raise DataError(
                f"{shown} has more than {MAX_PAGES} pages",
                remedy="ask for larger pages by a parameter of the origin, or for fewer records",
            )
        asked.add(url)
        progress(0, 0, f"asks {shown}: {len(rows.found)} records, page {len(asked)}")
        answer = asker.ask(url)
        records = _records(config, answer)
        rows.add(records)
        url = after(config.next, url, answer, len(records))
        if url in asked:
            if not records and not (config.next and config.next.more):
                break  # some APIs repeat their last cursor for ever
            raise DataError(
                f"the pages of {shown} lead in a circle: after page {len(asked)} comes an earlier "
                "one",
                remedy="check `next` and the parameters of the origin",
            )
        if url:
            _require_same_server(config, url)
    return rows.in_order()


@dataclass(kw_only=True)
class _Rows:
    """The records so far."""

    config: CallConfig
    found: dict[str, tuple[tuple[bool, int, str], bytes]] = field(default_factory=dict)
    """By key: what they are put in order by, and the record as a line."""
    others: list[bytes] = field(default_factory=list)
    """What is no object."""
    num_bytes: int = 0

    def add(self, records: list[Any]) -> None:
        """Add those of one page."""
        key = self.config.key
        for record in records:
            if not isinstance(record, dict):
                said = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
                self.others.append(said.encode("utf-8", "surrogatepass") + b"\n")
                self.num_bytes += len(self.others[-1])
                continue
            value = record.get(key)
            if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
                raise DataError(
                    f"a record of {self._shown()} has no number or text as its key {key!r}",
                    remedy="name a field that tells records apart; it has: "
                    + ", ".join(record)[:200],
                )
            if str(value) in self.found:
                raise DataError(
                    f"the key {key!r} is {value!r} in two records of {self._shown()}",
                    remedy="name a field that tells records apart. If that is so, a page was given "
                    "twice, or records moved from page to page meanwhile: have the API put them in "
                    "a fixed order by a parameter, or read them by a cursor",
                )
            order = (isinstance(value, str), 0 if isinstance(value, str) else value, str(value))
            line = line_of(record)
            self.num_bytes += len(line)
            self.found[str(value)] = order, line
        if self.num_bytes > MAX_BYTES:
            raise DataError(
                f"the records of {self._shown()} have more than {MAX_BYTES >> 20} MiB",
                remedy="ask for fewer records, or for fewer fields, by a parameter of the origin",
            )

    def in_order(self) -> list[bytes]:
        """The lines, numbers before texts, what is no object last."""
        return [line for _, line in sorted(self.found.values())] + sorted(self.others)

    def _shown(self) -> str:
        return place_of(self.config.origin).shown


def _records(config: CallConfig, answer: Answer) -> list[Any]:
    shown = place_of(config.origin).shown
    has = f"; it has: {', '.join(answer.value)[:200]}" if isinstance(answer.value, dict) else ""
    try:
        found = at(answer.value, config.records)
    except KeyError:
        raise DataError(
            f"the answer of {shown} has no {config.records!r}",
            remedy=f"set `records` to where its list of records is{has}",
        ) from None
    if found is not None and not isinstance(found, list):
        raise DataError(
            f"{repr(config.records) if config.records else 'the answer'} of {shown} is a "
            f"{type(found).__name__}, no list",
            remedy=f'set `records` to where the list of records is, as in "data.items"{has}',
        )
    return found or []  # of an empty list some servers make null


def _require_same_server(config: CallConfig, url: str) -> None:
    """A page that lies elsewhere is another API's, or an attacker's."""
    origin = place_of(config.origin)
    try:
        place = place_of(url)
    except ValueError as error:
        raise DataError(
            f"the next page of {origin.shown} cannot be asked for: {error}",
            remedy="check `next`",
        ) from None
    if place.server != origin.server:
        raise DataError(
            f"the next page of {origin.shown} is on another server: {place.scheme}://{place.name}"
            f":{place.port}",
            remedy="find out why the API says so; or find its pages by a number or a cursor",
        )


def _token(variable: str) -> str:
    """The value of an environment variable; it is never part of a message."""
    if not variable:
        return ""
    token = os.environ.get(variable, "").strip()
    if not re.fullmatch(r"[\x21-\x7e]{8,}", token):
        raise DataError(
            f"the environment variable {variable} "
            + ("holds no token of at least 8 plain characters" if token else "is not set"),
            remedy=f"put the token of the API into it: export {variable}=...",
        )
    return token


def _waiting(progress: Progress, shown: str) -> Wait:
    def wait(seconds: float, why: str) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            progress(0, 0, f"{shown} says {why}: asks again in {left:.0f} s")
            time.sleep(min(left, 0.4))

    return wait


def _name_of(origin: str) -> str:
    """What the records are called: the end of the path, or the host."""
    place = place_of(origin)
    end = place.target.partition("?")[0].rstrip("/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9_-]+", "-", end or place.host).strip("-") or "api"
