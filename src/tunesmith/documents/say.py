"""Facts in words: how a value is written in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tunesmith.documents import checks
from tunesmith.documents.markdown import line, table
from tunesmith.records.document import Fact
from tunesmith.records.energy import Energy

NUM_DIGITS = 12


def said(fact: Fact) -> list[str]:
    """A fact's value in Markdown: one line, a sentence each, or a block after an empty line."""
    if fact.key in _BY_KEY:
        return _BY_KEY[fact.key](fact.value)
    return _plain(fact.value)


def where(fact: Fact) -> str:
    """Where it stands, in short, e.g. "recorded: run 7"; the whole is in a table at the end."""
    place = fact.where.partition(" (")[0].partition(", sha256")[0]
    return f"recorded: {place}" if fact.origin == "recorded" else "declared"


def _plain(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return [line(value)]
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    if isinstance(value, int):
        return [f"{value:,}"]
    if isinstance(value, float):
        return [f"{value:.6g}"]
    if isinstance(value, Mapping):
        every = {name: "; ".join(_plain(each)) for name, each in sorted(value.items())}
        return ["; ".join(f"{name}: {each}" for name, each in every.items() if each)]
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        short = all(len(each) < 40 for each in value)
        return [", ".join(map(line, value))] if short else [line(each) for each in value]
    if isinstance(value, list):
        return ["; ".join(_plain(each)) for each in value]
    return [line(value)]


def reports(value: list[dict[str, Any]]) -> list[str]:
    """Every report of a gate: when, by whom, with what verdict, and whether it is signed."""
    rows = [
        [
            each["gate"],
            each["verdict"],
            each["at"],
            each["by"],
            each["run"],
            each["digest"],
            "yes" if each["registered"] else "NO",
            ", ".join(f"{s['by']}, {s['at']}" for s in each["signed"]) or "NOT SIGNED",
        ]
        for each in value
    ]
    head = ["gate", "verdict", "date", "run by", "run", "sha256", "set before the result", "signed"]
    rules = [
        f"{each['gate']}, run {each['run']}: {rule['said']}: {line(rule['rule'])}: "
        f"{line(rule['observed'])}, required {line(rule['required'])}"
        for each in value
        for rule in each["rules"]
    ]
    return ["", *table(head, rows), "", *[f"- {rule}" for rule in rules]]


def comparisons(value: list[dict[str, Any]]) -> list[str]:
    """The model beside others on the same rows."""
    rows = [
        [
            each["metric"],
            each.get("task") or "its own",
            each.get("slice") or "all",
            each["versus"],
            f"{each['base']:.3f}",
            f"{each['tuned']:.3f}",
            f"{each['difference']:+.3f}",
            f"{each['low']:+.3f} to {each['high']:+.3f} ({each['confidence']:.0%})",
            each["num_rows"],
        ]
        for each in value
    ]
    what = ("metric", "task", "rows of", "beside")
    head = [*what, "that model", "this model", "difference", "interval", "rows"]
    return ["", *table(head, rows)]


def evaluation(value: dict[str, Any]) -> list[str]:
    """One evaluation."""
    within = ""
    if "low" in value:
        within = f" ({value['low']:.3f} to {value['high']:.3f}, {value['confidence']:.0%})"
    others = []
    for name, each in value["others"].items():
        low, high = value.get("intervals", {}).get(name, (None, None))
        between = "" if low is None else f" ({low:.3f} to {high:.3f})"
        others.append(f"{name} {each:.3f}{between}")
    labels = [f"F1 of {line(name)} {each:.3f}" for name, each in value["per_label_f1"].items()]
    head = f"{value['metric']} {value['value']:.3f}{within} on {value['num_rows']} rows"
    return ["; ".join([head, *others, *labels])]


def sources(value: list[dict[str, Any]]) -> list[str]:
    """What the dataset was cut from."""
    keys = ("name", "kind", "origin", "licence", "owner", "purpose", "num_rows", "read_on")
    head = [*("name", "kind", "origin", "licence", "owner", "purpose", "rows", "read on"), "sha256"]
    return ["", *table(head, [[*(each[key] for key in keys), each["digest"]] for each in value])]


def signals(value: list[dict[str, Any]]) -> list[str]:
    """What monitors found."""
    head = ["monitor", "traffic", "verdict", "run", "date", "sha256"]
    rows = [
        [*(each[key] for key in ("monitor", "traffic", "verdict", "run", "at", "digest"))]
        for each in value
    ]
    return ["", *table(head, rows)]


def usage(value: dict[str, Any]) -> list[str]:
    """What the run used."""
    kwh = Energy(joules=value["joules"]).kwh
    return [
        f"{value['wall_s']:.1f} s, {value['cpu_s']:.1f} CPU seconds, "
        f"{value['peak_bytes'] / 1e9:.2f} GB at most, {kwh:.3g} kWh ({value['joules_method']})"
    ]


def certificate(value: list[dict[str, Any]]) -> list[str]:
    """How many invariants of tuning were shown to hold."""
    failed = [each["name"] for each in value if not each["passed"]]
    held = f"{len(value) - len(failed)} of {len(value)} checks of the run hold"
    return [f"{held}; not: {', '.join(failed)}" if failed else held]


def croissant(value: dict[str, Any]) -> list[str]:
    """The dataset's description for others."""
    return [f"Croissant, sha256 {value['sha256']}: `{value['command']}`"]


def changes(value: list[dict[str, Any]]) -> list[str]:
    """Who did what with the version."""
    head = ["evidence", "date", "by", "what", "why"]
    return ["", *table(head, [[each[key] for key in ("evidence", "at", "by", "what", "why")]
                              for each in value])]  # fmt: skip


def blob(value: dict[str, Any]) -> list[str]:
    """Bytes in the store."""
    return [f"sha256 {value['sha256']}, {value['num_bytes']:,} bytes"]


def split(value: dict[str, Any]) -> list[str]:
    """One side of a dataset."""
    return [f"{value['num_rows']} rows, {value['num_tokens']:,} tokens, {blob(value['rows'])[0]}"]


_BY_KEY: Mapping[str, Callable[[Any], list[str]]] = {
    "gate.reports": reports,
    "gate.comparisons": comparisons,
    **checks.SAID,
    "evaluation.tuned": evaluation,
    "evaluation.base": evaluation,
    "dataset.sources": sources,
    "monitor.signals": signals,
    "tuning.usage": usage,
    "tuning.certificate": certificate,
    "dataset.croissant": croissant,
    "release.changes": changes,
    "model.weights": blob,
    "base.weights": blob,
    "dataset.train": split,
    "dataset.test": split,
}
