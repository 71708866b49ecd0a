"""Tells, while a project runs, what each step does, what it cost, and what it found."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import singledispatch
from typing import Any

from tunesmith.cli.render import ProgressLine, metric, percent, say, seconds, size, wrapped
from tunesmith.core.event import Event
from tunesmith.core.meter import Forecast, Preview, Usage
from tunesmith.ledger.cost import display, price
from tunesmith.records.audit import Audit
from tunesmith.records.data import DataAsset, Dataset, Package
from tunesmith.records.evaluation import Evaluation, GateResult, RuleResult, Slices
from tunesmith.records.export import Export
from tunesmith.records.index import Index
from tunesmith.records.licence import LicenceStatements
from tunesmith.records.model import BaseModel, ModelVersion
from tunesmith.records.money import Rates
from tunesmith.records.pairwise import Verdicts
from tunesmith.records.quality import Quality
from tunesmith.records.release import Release
from tunesmith.records.service import Traffic
from tunesmith.records.signal import Proposal, Signal
from tunesmith.records.suite import Figure, SuiteBeside, SuiteResult
from tunesmith.records.transform import TransformedAsset
from tunesmith.records.value import RowValues, Vectors
from tunesmith.text.licences import differing, doubts


class Screen:
    """Listens to a runner. `rates` price what it hears of; without them nothing is priced."""

    def __init__(self) -> None:
        self.rates: Rates | None = None
        self._line = ProgressLine()
        self._running: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Say what happened. It may be heard of by several threads."""
        with self._lock:
            self._hear(event)

    def _hear(self, event: Event) -> None:
        if event.what in ("progress", "waiting"):
            note = event.note if event.what == "progress" else f"waits {event.note}"
            self._line.show(event.step, note, event.done, event.total)
            return
        ends = event.what in ("hit", "finished", "failed")
        self._line.clear(event.step if ends else "")
        # Of several at work, each line says whose it is.
        whose = f"{event.step}: " if len(self._running) > 1 else ""
        if event.what == "started":
            self._running.add(event.step)
        elif ends:
            self._running.discard(event.step)
        match event.what:
            case "hit":
                say(f"= {event.step}: unchanged ({event.note})")
            case "started":
                say(f"> {event.step}")
            case "looked" if event.note:
                for part in wrapped(f"? {event.step}: {event.note}"):
                    say(part)
            case "warned":
                for part in wrapped(f"! {event.step}: {event.note}"):
                    say(part)
            case "moved":
                say(f"  {event.step}: the alias {event.note!r} points here again")
            case "registered":
                for part in wrapped(f"{event.step} is on record; {event.note}", indent="  "):
                    say(part)
            case "sealed":
                for part in wrapped(f"{event.step}: {event.note}", indent="  "):
                    say(part)
            case "damaged":
                say(f"! {event.step}: {event.note}; it is made again")
            case "failed":
                say(f"! {event.step} failed: {event.note}")
            case "retry":
                self._running.discard(event.step)
                say(f"! {event.step}: {event.note}")
            case _:
                self._measured(event, whose)

    def _measured(self, event: Event, whose: str) -> None:
        if event.what == "preview" and event.preview is not None:
            rough = event.preview
            say(
                f"  {event.step} would take about {seconds(rough.wall_s)}, "
                f"{energy(rough.joules)}{self._priced(rough)} ({rough.basis})"
            )
        elif event.what == "forecast" and event.forecast is not None:
            said = self._used(event.forecast, within=interval(event.forecast))
            say(f"  {whose}forecast: {said} ({event.forecast.basis})")
        elif event.what == "finished" and event.usage is not None:
            for line in describe(event.record):
                for part in wrapped(f"{whose}{line}", indent="  "):
                    say(part)
            say(f"  {whose}took {self._used(event.usage)}")
            if event.forecast is not None:
                say(f"  {whose}{forecast_error(event.forecast, event.usage)}")

    def _used(self, usage: Usage | Forecast, within: str = "") -> str:
        parts = [seconds(usage.wall_s) + within, size(usage.peak_bytes), energy(usage.joules)]
        return ", ".join(parts) + self._priced(usage)

    def _priced(self, usage: Usage | Forecast | Preview) -> str:
        return f", {display(price(usage, self.rates))}" if self.rates is not None else ""


def forecast_error(forecast: Forecast, usage: Usage) -> str:
    """How far the forecast was off, as shares of what was used, and if its interval held."""
    inside = forecast.low_s <= usage.wall_s <= forecast.high_s
    time_off = (forecast.wall_s - usage.wall_s) / max(usage.wall_s, 1e-9)
    memory_off = (forecast.peak_bytes - usage.peak_bytes) / usage.peak_bytes
    return (
        f"forecast was {100 * time_off:+.0f} % off on time "
        f"({'inside' if inside else 'OUTSIDE'} its interval), {100 * memory_off:+.0f} % on memory"
    )


def interval(forecast: Forecast) -> str:
    """Between what the time is expected to be; empty when it is certain."""
    if forecast.low_s == forecast.high_s:
        return ""
    return f" ({seconds(forecast.low_s)} to {seconds(forecast.high_s)})"


def energy(joules: float) -> str:
    """An amount of energy for people.

    >>> energy(812.3), energy(6200), energy(3_900_000)
    ('812 J', '6.2 kJ', '3.9 MJ')
    """
    if joules < 1000:
        return f"{joules:.0f} J"
    return f"{joules / 1000:.1f} kJ" if joules < 1e6 else f"{joules / 1e6:.1f} MJ"


@singledispatch
def describe(record: Any) -> list[str]:
    """What a record says, in a few lines for people."""
    return [type(record).__name__]


@describe.register
def _(package: Package) -> list[str]:
    return [f"{package.filename}, {size(package.wheel.num_bytes)}, {package.wheel.sha256[:12]}"]


@describe.register
def _(asset: DataAsset) -> list[str]:
    reasons = ", ".join(f"{rule} {count}" for rule, count in asset.quarantined_by_rule.items())
    return [
        f"rows: {asset.num_in} in, {asset.num_rows} out, {asset.num_filtered} not asked for, "
        f"{asset.num_quarantined} quarantined"
        + (f" ({reasons})" if reasons else "")
        + (f", {asset.num_erased} erased" if asset.num_erased else "")
        + (f"; {asset.num_repaired} of those out are repaired" if asset.num_repaired else ""),
        f"licence {asset.licence}; owner {asset.owner}; purpose: {asset.purpose}",
        *(f"warning: {each}" for each in asset.warnings),
    ]


@describe.register
def _(asset: TransformedAsset) -> list[str]:
    used = f"of {asset.num_read} rows of its sources {asset.num_used} are in it"
    refused = f", {asset.num_refused} only in quarantine" if asset.num_refused else ""
    return [
        f"{used}{refused}, {asset.num_unused} left out",
        *describe.dispatch(DataAsset)(asset),
    ]


@describe.register
def _(found: LicenceStatements) -> list[str]:
    why = doubts(found) or differing(found)
    said = ", ".join(f"{each.says} ({each.file}, line {each.line})" for each in why[:3])
    state = (
        "DOUBTFUL: " if doubts(found) else "but there is " if why else "nothing speaks against it"
    )
    return [f"licence {found.declared}, {state}{said}; {found.num_files} files looked at"]


@describe.register
def _(quality: Quality) -> list[str]:
    size = quality.size
    return [f"{size.rows} rows, {size.distinct} distinct, {size.near_distinct} near-distinct"]


@describe.register
def _(base: BaseModel) -> list[str]:
    return [f"{base.origin}, {base.format}, {size(base.weights.num_bytes)}, licence {base.licence}"]


@describe.register
def _(dataset: Dataset) -> list[str]:
    word = "tags" if dataset.format == "tags" else "labels"
    dropped = ", ".join(f"{count} {why}" for why, count in dataset.dropped_by_reason.items())
    return [
        f"rows: {dataset.num_in} in; train {dataset.train.num_rows}, test {dataset.test.num_rows}, "
        f"dropped {dataset.num_dropped}",
        *([f"dropped: {dropped}"] if dropped else []),
        *([f"{word}: {', '.join(dataset.labels)}"] if dataset.labels else []),
        f"tokens: train {dataset.train.num_tokens}, test {dataset.test.num_tokens}; "
        f"{dataset.num_components} near-duplicate components, each on one side only",
    ]


@describe.register
def _(model: ModelVersion) -> list[str]:
    share = model.num_trainable / model.num_parameters
    return [
        f"{model.num_steps} steps, {model.num_trained_tokens} tokens, "
        f"{model.num_trainable} of {model.num_parameters} parameters ({percent(share)}), "
        f"loss {model.first_loss:.3f} -> {model.last_loss:.3f}"
    ]


@describe.register
def _(evaluation: Evaluation) -> list[str]:
    found = ", ".join(
        f"{name} {metric(name, value)}" for name, value in evaluation.metrics().items()
    )
    task = f", task {evaluation.task} {evaluation.task_version}" if evaluation.task else ""
    return [f"{evaluation.subject}{task}: {found}, {evaluation.num_rows} rows"]


@describe.register
def _(slices: Slices) -> list[str]:
    return [
        f"{f'task {each.task}: ' if each.task else ''}{each.said}: {len(each.row_ids)} rows"
        for each in slices.slices
    ]


@describe.register
def _(found: SuiteBeside) -> list[str]:
    left_out = f"; {found.num_left_out} examples left out" if found.num_left_out else ""
    lines = [
        f"{figure.name}: {found.version} {figure.base:.3f}, tuned {figure.tuned.value:.3f}, "
        f"{_difference(figure)}"
        for figure in found.figures
    ]
    if not lines and not found.not_compared:
        lines = ["no example that both were asked, so nothing is compared"]
    head = f"{found.suite} beside {found.version} ({found.against}){left_out}"
    return [head, *lines, *found.unsaid]


def _difference(figure: Figure) -> str:
    found = figure.difference
    return f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f}); {figure.tested}"


@describe.register
def _(found: SuiteResult) -> list[str]:
    lines = [
        f"{figure.name}: base {figure.base:.3f}, tuned {figure.tuned.value:.3f} "
        f"({figure.tuned.low:.3f} to {figure.tuned.high:.3f}), {_difference(figure)}"
        for figure in found.figures
    ]
    return [f"{found.kind}: {found.num_examples} examples", *lines, *found.notes]


@describe.register
def _(gate: GateResult) -> list[str]:
    let = ", which its settings let pass" if gate.verdict != "pass" and gate.admits else ""
    judged = [line for each in gate.win_rates for line in each.said()]
    missing = [
        f"{each.kind} lacks {lack.what}: {lack.remedy}"
        for each in gate.documents
        for lack in each.lacks
    ]
    return [f"verdict: {gate.verdict}{let}", *rule_lines(gate.rules), *missing, *judged]


@describe.register
def _(found: Verdicts) -> list[str]:
    return [
        f"judged by a model ({found.judge}): {found.num_rows} pairs of answers to task "
        f"{found.task}, beside {found.versus}, in both orders"
    ]


def rule_lines(rules: Sequence[RuleResult]) -> list[str]:
    """How each rule, or each limit of a suite, came out."""
    says = {"pass": "met", "fail": "NOT met", "inconclusive": "NOT decided"}
    lines = []
    for rule in rules:
        said = f"{says[rule.said]}: {rule.rule}: {rule.observed} (required {rule.required})"
        lines.append(said + (f"; {settled_by(rule)}" if rule.said == "inconclusive" else ""))
    return lines


@describe.register
def _(audit: Audit) -> list[str]:
    failed = [rule for rule in audit.rules if not rule.passed]
    found = [f"NOT met: {rule.rule}: {rule.observed}" for rule in failed]
    return [
        f"audit: {len(audit.rules) - len(failed)} of {len(audit.rules)} rules are met",
        *found,
        *(f"to look at: {what}" for what in audit.to_look_at),
        *(f"looked at: {what}" for what in audit.looked_at),
        *(f"not looked at: {what}" for what in audit.not_looked_at),
    ]


def settled_by(rule: RuleResult) -> str:
    """How many rows would settle a rule that the rows did not decide."""
    from tunesmith.stages.evaluate.gate import NO_ROWS

    if rule.observed == NO_ROWS:
        return f"at least {rule.num_rows_needed} rows are needed"
    if not rule.num_rows_needed:
        return "what was found is the threshold itself, so no number of rows would settle it"
    return f"about {rule.num_rows_needed} rows would settle it, if what was found is so"


@describe.register
def _(release: Release) -> list[str]:
    return [f"{release.model.name} is released under the alias {release.move.alias!r}"]


@describe.register
def _(export: Export) -> list[str]:
    parity = export.parity
    return [
        f"{export.format}, {export.quantisation}: mean KL {parity.mean_kl:.1e} nats a token over "
        f"{parity.num_prompts} prompts, {percent(parity.same_answers)} of the answers the same"
    ]


@describe.register
def _(index: Index) -> list[str]:
    return [
        f"{index.num_documents} documents, {index.num_passages} passages, "
        f"{index.num_sentences} sentences",
        index.calibration,
    ]


@describe.register
def _(vectors: Vectors) -> list[str]:
    cut = f", of {vectors.num_cut} only the beginning" if vectors.num_cut else ""
    return [
        f"{vectors.num_train} + {vectors.num_test} texts as vectors of {vectors.dims} numbers, by "
        f"{vectors.base}{cut}"
    ]


@describe.register
def _(values: RowValues) -> list[str]:
    return [
        f"{values.num_train} rows valued by {values.num_test}: the vote of the "
        f"{values.neighbours} nearest is right for {percent(values.accuracy)}"
    ]


@describe.register
def _(traffic: Traffic) -> list[str]:
    return [f"{traffic.num_rows} requests, {traffic.source}"]


@describe.register
def _(signal: Signal) -> list[str]:
    lines = [f"{signal.traffic}: {signal.verdict.replace('_', ' ')}"]
    for check in signal.checks:
        lines.append(
            f"- {check.name}: {check.verdict.replace('_', ' ')}; {check.statistic} "
            f"{check.effect:.3f} (at least {check.low:.3f}, accepted {check.tolerance:.3f}); "
            f"{check.num_traffic} rows could show {check.detectable:.3f}"
        )
        lines += [f"  {detail}" for detail in check.details]
    return lines


@describe.register
def _(proposal: Proposal) -> list[str]:
    verb = "retrain" if proposal.retrain else "do not retrain"
    added = f", adding {', '.join(proposal.add_sources)}" if proposal.add_sources else ""
    return [f"{verb} {proposal.model}{added}: {proposal.reason}"]
