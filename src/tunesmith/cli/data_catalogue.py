"""The catalogue of data assets, and the page of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tunesmith.cli.render import HERE, Folder, Json, out, percent, seconds, table, wrapped
from tunesmith.core.ref import to_plain
from tunesmith.ledger.cost import display

if TYPE_CHECKING:
    from tunesmith.project import Project
    from tunesmith.records.money import Money
    from tunesmith.records.quality import CatalogueEntry, Freshness, Quality


def data_list(folder: Folder = HERE, as_json: Json = False) -> None:
    """List the data assets, what is to be thought of them and what uses them; and every version."""
    from tunesmith.cli.opening import opened
    from tunesmith.lineage.catalogue import catalogue

    with opened(folder) as (project, _):
        versions = [v for v in project.versions() if v.kind in ("data", "dataset")]
        entries = catalogue(project)
    rows = [[v.kind, v.name, v.number, v.digest[:12], v.created_at] for v in versions]
    newest = {("data", each.name, each.version): each for each in entries}
    found = [{**to_plain(v), "catalogue": newest.get((v.kind, v.name, v.number))} for v in versions]
    lines = table([_line(entry) for entry in entries], _HEADINGS) if entries else []
    lines += ["", *table(rows, ["kind", "name", "version", "digest", "made"])]
    out(found, lines, as_json)


_HEADINGS = ["asset", "rows", "licence", "verdict", "age", "true size", "used by"]


def asset_page(project: Project, name: str, as_json: bool) -> None:
    """Print all that is known of a data asset."""
    from tunesmith.lineage.catalogue import page

    entry = page(project, name)
    out(entry, list(_page(entry)), as_json)


def _line(entry: CatalogueEntry) -> list[object]:
    size = entry.quality.size if entry.quality else None
    return [
        f"{entry.name}@{entry.version}",
        entry.num_rows,
        entry.stated["licence"],
        entry.licence,
        _age(entry.freshness),
        f"{size.near_distinct} ({percent(size.share)})" if size else "-",
        ", ".join(entry.used_by) or "-",
    ]


def _page(entry: CatalogueEntry) -> Iterator[str]:
    yield f"{entry.name}@{entry.version}: {entry.num_rows} rows of {entry.origin}"
    if entry.quality:
        size = entry.quality.size
        yield (
            f"true size: {size.rows} rows, {size.distinct} distinct, {size.near_distinct} "
            f"near-distinct ({percent(size.share)})"
        )
    yield ""
    yield from table([[key, value] for key, value in entry.stated.items()], ["setting", "says"])
    yield ""
    yield from _licence(entry)
    yield ""
    yield f"freshness: {_fresh(entry.freshness)}"
    yield f"cost of reading in: {seconds(entry.cpu_s)} of CPU{_priced(entry.cost)}"
    if entry.review_s:
        yield f"cost of reviews: {seconds(entry.review_s)} of people{_priced(entry.review_cost)}"
    if entry.cost_per_row is not None:
        yield f"cost of a row: {display(entry.cost_per_row)}"
    if entry.quality:
        yield from _quality(entry, entry.quality)
    yield from wrapped(f"used by: {', '.join(entry.used_by) or 'nothing yet'}")
    if entry.remarks:
        yield ""
        yield "to look at"
    for each in entry.remarks:
        yield from wrapped(each, "  ")


def _licence(entry: CatalogueEntry) -> Iterator[str]:
    package = entry.package_licence
    says = f"; its package says {package}" if package else ""
    yield f"licence: {entry.stated['licence']}: {entry.licence}{says}"
    for each in entry.statements:
        mark = "doubtful" if each.is_doubt else "differs"
        yield from wrapped(f"{mark}: {each.says} ({each.file}, line {each.line})", "  ")
        if each.words:
            yield from wrapped(f'"{each.words}"', "    ")
    if entry.obligations:
        from tunesmith.text.licences import MEANINGS

        yield "  asks for: " + "; ".join(MEANINGS[name] for name in entry.obligations)


def _quality(entry: CatalogueEntry, quality: Quality) -> Iterator[str]:
    yield f"validity: {percent(entry.validity)} of the records broke no rule"
    total = max(quality.size.rows, 1)
    filled = ", ".join(f"{each.name} {percent(each.num_rows / total)}" for each in quality.fields)
    yield from wrapped(f"completeness: {filled}")
    if quality.low:
        low = ", ".join(f"{rule} in {count}" for rule, count in quality.low.items())
        yield from wrapped(f"rows that are hardly prose: {low}")
    found = ", ".join(f"{kind} in {count}" for kind, count in quality.pii.items()) or "none"
    yield f"personal data that has a form, in {quality.num_sampled} rows: {found}"
    if quality.licences:
        named = ", ".join(f"{name} in {count}" for name, count in quality.licences.items())
        yield from wrapped(f"rows that name a licence: {named}")


def _priced(cost: Money | None) -> str:
    return "" if cost is None else f", {display(cost)}"


def _age(fresh: Freshness) -> str:
    promise = {None: "", True: ", kept", False: ", TOO OLD"}[fresh.is_kept]
    return f"{fresh.age_days:.0f} days{promise}"


def _fresh(fresh: Freshness) -> str:
    newest = f"its newest date is {fresh.newest}" if fresh.newest else "no field of dates is known"
    promised = {
        None: "no promise (refresh_within)",
        True: f"the promise of {fresh.refresh_within} days is kept",
        False: f"the promise of {fresh.refresh_within} days is NOT kept",
    }[fresh.is_kept]
    return f"read in {fresh.loaded_at[:10]}, {newest}: {fresh.age_days:.0f} days old; {promised}"
