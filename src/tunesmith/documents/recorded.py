"""What runs and the evidence say of a model version, as facts: each with the run, and when.

Three things are derived from what runs recorded: the interval of the metric, from the rows of the
evaluation (as a gate finds it); the digest of the dataset's description in Croissant; and its draft
of the training-content summary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tunesmith.core import erasure
from tunesmith.core.canonical import fingerprint, parse, sha256
from tunesmith.core.catalog import Run
from tunesmith.core.errors import StoreError
from tunesmith.core.lifecycle import REPORTED
from tunesmith.core.ref import to_plain
from tunesmith.documents.croissant import croissant_file
from tunesmith.documents.describe import (
    DatasetFacts,
    describe,
    limitations,
    personal_data,
    preprocessing,
    synthetic,
)
from tunesmith.documents.store import (
    Found,
    Store,
    digest_of,
    fact,
    of_evidence,
    told,
)
from tunesmith.documents.training_content import training_content
from tunesmith.records.data import Dataset
from tunesmith.records.evaluation import Evaluation, GateResult
from tunesmith.records.export import Export
from tunesmith.records.review import ACCEPTED
from tunesmith.records.signal import Proposal, Signal
from tunesmith.stages.release.card import FORMS, does
from tunesmith.text.licences import MEANINGS, obligations, unclear

CONFIDENCE = 0.95
FEW_ROWS = 1_000
"""Of an evaluation: so far the intervals of metrics that are no share of rows are found, too, which
takes a second and grows with the rows."""
REGISTERED = "gate.registered"
"""What the evidence calls it that a gate was set."""
DECISIONS = ("asked", "approved", "rejected", "rolled back", "deprecated", "retired")
"""What people decide about a version: whether it is used."""
FINISHED = "run.finished"
SAID = (FINISHED, REGISTERED, REPORTED, ACCEPTED, erasure.DONE)
"""What is read of the evidence, beside what became of versions."""


def of_model(store: Store) -> Iterator[Found]:
    """The version, how it was tuned, with what, and what that took."""
    run, model, number = store.run, store.model, store.version.number
    said = to_plain(model)
    fields = (
        "objective", "method", "instruction", "labels", "num_steps", "num_trained_tokens",
        "num_labelled_tokens", "num_trainable", "num_parameters", "first_loss", "last_loss",
        "new_tokens",
    )  # fmt: skip
    form = FORMS[model.method]
    yield fact("model.name", store.version.name, run)
    yield fact("model.number", number, run)
    yield fact("model.digest", store.version.digest, run)
    yield fact("model.weights", model.adapter, run)
    yield fact("model.made_by", run.actor, run)
    yield fact("model.made_at", store.version.created_at, run)
    yield fact("model.previous", f"{store.version.name}@{number - 1}" if number > 1 else "", run)
    yield fact("model.form", form, run)
    for name in fields:
        yield fact(f"model.{name}", said[name], run)
    yield fact("tuning.settings", run.identity.get("config"), run, "settings of record")
    yield fact("tuning.seed", run.identity.get("seed"), run, "settings of record")
    yield fact("tuning.software", run.identity.get("environment"), run, "environment of record")
    yield fact("tuning.usage", run.usage, run, "measured while making")
    yield fact("tuning.certificate", _certificate(store), run, "certificate of")
    if teacher := store.input_of(run, "teacher"):
        yield fact("tuning.teacher", teacher.step, teacher)


def _certificate(store: Store) -> Any:
    try:
        held = parse(store.project.runner.blobs.get(store.model.certificate))
        checks = [(each["name"], each["observed"], each["passed"]) for each in held["checks"]]
    except (StoreError, ValueError, KeyError, TypeError):
        return None  # it is damaged: `tunesmith verify` says so, and here it is not known
    names = ("name", "observed", "passed")
    return [dict(zip(names, check, strict=True)) for check in checks]


def of_base(store: Store) -> Iterator[Found]:
    """The pre-trained weights."""
    run, base = store.input_of(store.run, "base") or store.run, store.model.base
    for name in ("name", "origin", "licence"):
        yield fact(f"base.{name}", getattr(base, name), run)
    yield fact("base.weights", base.weights, run)


def of_dataset(store: Store) -> Iterator[Found]:
    """What it was tuned on, and the sources behind it."""
    run = store.input_of(store.run, "dataset")
    if run is None:
        return
    dataset: Dataset = store.load(run)
    of = _described(store, run, dataset)
    said = to_plain(dataset)
    yield fact("dataset.ref", of.ref, run)
    yield fact("dataset.digest", of.digest, run)
    for name in ("name", "train", "test", "licences"):
        yield fact(f"dataset.{name}", said[name], run)
    if dataset.pii_treatment != "off":
        yield fact("dataset.pii", {"found": dict(dataset.pii)}, run)
    yield fact("dataset.settings", run.identity.get("config"), run, "settings of record")
    yield fact("dataset.sources", [_source(each) for each in of.sources], run)
    yield fact("dataset.languages", of.languages, run)
    for name, sentences in (
        ("preprocessing", preprocessing),
        ("personal_data", personal_data),
        ("limitations", limitations),
        ("synthetic", synthetic),
    ):
        yield fact(f"dataset.{name}", list(sentences(of)), run)
    described = {
        "sha256": sha256(croissant_file(of).encode()),
        "command": f"tunesmith data croissant {of.ref}",
    }
    yield fact("dataset.croissant", described, run, "derived from")
    yield fact("dataset.training_content", training_content(of), run, "derived from")
    does_what = does(store.model, dataset)
    yield fact("model.does", does_what, store.run)
    every = (store.model.base.licence, *dataset.licences)
    asked = {MEANINGS[name]: list(who) for name, who in obligations(every).items()}
    yield fact("licences.obligations", asked, run, "licences of")
    yield fact("licences.unclear", unclear(every), run, "licences of")
    yield from _about_data(store, run)


def _described(store: Store, run: Run, dataset: Dataset) -> DatasetFacts:
    """The dataset's facts, as to this model alone: others that were tuned on it are not its."""
    version = next(
        each
        for each in store.project.versions()
        if each.kind == "dataset" and each.digest == digest_of(run)
    )
    blobs = (dataset.train.rows, dataset.test.rows)
    is_erased = any(blob.sha256 in store.project.purged for blob in blobs)
    of = describe(store.project, version, run, dataset, is_erased=is_erased)
    return replace(of, models=tuple(each for each in of.models if each.name == store.ref))


def _source(source: Any) -> dict[str, Any]:
    asset = source.asset
    return {
        "name": asset.name,
        "kind": source.kind,
        "origin": asset.origin,
        "licence": asset.licence,
        "owner": asset.owner,
        "purpose": asset.purpose,
        "num_rows": asset.num_rows,
        "num_quarantined": asset.num_quarantined,
        "subject": asset.subject,
        "read_on": source.read_on,
        "digest": source.digest,
    }


def _about_data(store: Store, dataset: Run) -> Iterator[Found]:
    """How good its sources' rows are, what people said of its labels, and what was erased."""
    runs = [run for each in store.given(dataset, "assets") for run in _assessed(store, each)]
    if runs:
        found = [
            {"step": run.step, "run": run.id, "at": run.finished_at, "digest": digest_of(run)}
            for run in runs
        ]
        yield fact("data.assessments", found, runs[-1])
    review = dataset.identity.get("config", {}).get("reviewed", "")
    accepted = [
        each for each in store.entries if each.what == ACCEPTED and each.body["review"] == review
    ]
    erased = [each for each in store.entries if each.what == erasure.DONE]
    for key, entries in (("data.reviews", accepted), ("data.erasures", erased)):
        if entries:
            yield of_evidence(key, [told(each) for each in entries], entries[-1])


def _assessed(store: Store, digest: str) -> Iterator[Run]:
    yield from store.of("assess@1", "asset", digest)


def of_judgement(store: Store) -> Iterator[Found]:
    """Every report of a gate on it, the oldest first, and the evaluations that the newest rests on;
    where there is none, the evaluation on its own dataset."""
    evaluated = list(store.of("evaluate-tuned@1", "model", store.version.digest))
    digests = [digest_of(run) for run in evaluated]
    judged = [run for each in digests for run in store.of("gate@1", "tuned", each)]
    judged.sort(key=lambda run: run.id)
    # It is also asked other rows, beside versions that came later.
    own = store.given(store.run, "dataset")
    tuned = [run for run in evaluated if store.given(run, "dataset") == own][-1:]
    base = [
        run
        for run in store.runs
        if run.kind == "evaluate-base@1"
        and store.given(run, "base") == store.given(store.run, "base")
        and store.given(run, "dataset") == own
    ][-1:]
    if judged:
        newest = judged[-1]
        tuned = [run for run in [store.input_of(newest, "tuned")] if run]
        base = [run for run in [store.input_of(newest, "base")] if run]
        reports = [_report(store, run) for run in judged]
        reports[-1]["signed"] = list(_signed(store, newest))
        verdict: GateResult = store.load(newest)
        yield fact("gate.reports", reports, newest)
        yield fact("gate.signed", reports[-1]["signed"], newest, "signatures of record")
        yield fact("gate.comparisons", verdict.comparisons, newest)
        yield fact("gate.settings", newest.identity.get("config"), newest, "settings of record")
    for key, runs in (("evaluation.tuned", tuned), ("evaluation.base", base)):
        for run in runs:
            yield fact(key, _evaluation(store, run), run)


def _evaluation(store: Store, run: Run) -> dict[str, Any]:
    from tunesmith.paired.power import MACRO_F1
    from tunesmith.stages.evaluate.compare import floor_interval
    from tunesmith.stages.evaluate.measured import CALIBRATION, known
    from tunesmith.stages.evaluate.predictions import from_parquet

    found: Evaluation = store.load(run)
    said = to_plain(found)
    kept = ("subject", "num_rows", "metric", "value", "others", "per_label_f1")
    answer = {name: said[name] for name in kept}
    blobs = store.project.runner.blobs
    within: dict[str, list[float]] = {}
    is_few = found.subject == "tuned" and found.num_rows <= FEW_ROWS
    more = (MACRO_F1, CALIBRATION) if is_few else ()
    try:
        names = known(found, from_parquet(blobs.get(found.predictions))) if more else ()
        for name in ("", *(name for name in more if name in names and name in found.others)):
            of, _ = floor_interval(found, blobs, metric=name, confidence=CONFIDENCE, seed=0)
            within[name] = [of.low, of.high]
    except (StoreError, ValueError):
        return answer  # its rows were erased
    low, high = within.pop("")
    answer |= {"low": low, "high": high, "confidence": CONFIDENCE}
    return answer | ({"intervals": within} if within else {})


def _report(store: Store, run: Run) -> dict[str, Any]:
    """A gate's report as documents list it: dated, by whom, and whether somebody signed it."""
    result: GateResult = store.load(run)
    digest = digest_of(run)
    return {
        "gate": result.gate,
        "verdict": result.verdict,
        "run": run.id,
        "at": run.finished_at,
        "by": run.actor,
        "digest": digest,
        "rules": [
            {"rule": r.rule, "observed": r.observed, "required": r.required, "said": r.said}
            for r in result.rules
        ],
        "registered": _registered(store, run),
        "signed": [],
    }


def _registered(store: Store, judged: Run) -> bool:
    """Whether what the gate asks was in the evidence before the model was evaluated."""
    evaluation = store.input_of(judged, "tuned")
    if evaluation is None:
        return False
    asked, on = fingerprint(judged.identity["config"]), store.given(evaluation, "dataset")
    before = [
        each.seq
        for each in store.entries
        if each.what == REGISTERED
        and fingerprint(each.body["settings"]) == asked
        and [each.body["dataset"]] == on
    ]
    finished = min(_finished(store, evaluation), default=0)
    return bool(before and before[0] < finished)


def _signed(store: Store, judged: Run) -> Iterator[dict[str, Any]]:
    """Who signed the newest report, and when: what was signed before it is of another one."""
    since = max(_finished(store, judged), default=0)
    for each in store.entries:
        if each.what == REPORTED and each.body["version"] == store.ref and each.seq > since:
            said = {name: each.body.get(name, "") for name in ("report", "key")}
            yield told(each) | said


def _finished(store: Store, run: Run) -> Iterator[int]:
    """The entry of the evidence that says that a run ended."""
    for each in store.entries:
        if each.what == FINISHED and each.body["run"] == run.id:
            yield each.seq


def of_life(store: Store) -> Iterator[Found]:
    """Releases, and who did what with it."""
    released = [
        run
        for run in store.runs
        if run.kind == "release@1" and store.version.digest in store.given(run, "model")
    ]
    if released:
        moved = {row.run_id: row for row in store.history}
        found = [
            {"alias": moved[run.id].alias, "at": moved[run.id].at, "digest": digest_of(run)}
            for run in released
            if run.id in moved
        ]
        yield fact("release.releases", found, released[-1])
    changes = [
        each for each in store.changes if each.version == store.ref and each.what in DECISIONS
    ]
    if changes:
        said = [
            {"evidence": c.seq, "at": c.at, "by": c.actor, "what": c.what, "why": c.why}
            for c in changes
        ]
        seq = changes[-1].seq
        entry = next(each for each in store.entries if each.seq == seq)
        yield of_evidence("release.changes", said, entry)


def of_use(store: Store) -> Iterator[Found]:
    """Its exports; what monitors found in traffic; what retraining was proposed."""
    exports = list(store.of("export@1", "model", store.version.digest))
    if exports:
        yield fact("exports", [_export(store, run) for run in exports], exports[-1])
    signals = {run.step: run for run in _watched(store)}  # the newest of each
    if signals:
        newest = max(signals.values(), key=lambda run: run.id)
        yield fact("monitor.signals", [_signal(store, r) for r in signals.values()], newest)
    digests = {digest_of(run) for run in signals.values()}
    proposals = [
        run
        for run in store.runs
        if run.kind == "retrain@1" and digests & set(store.given(run, "signals"))
    ]
    if proposals:
        said: Proposal = store.load(proposals[-1])
        value = {"retrain": said.retrain, "reason": said.reason, "at": proposals[-1].finished_at}
        yield fact("retrain.proposal", value, proposals[-1])


def _watched(store: Store) -> Iterator[Run]:
    """Comparisons of traffic with what the version was tuned on, but for monitors that are, as they
    are set now, another model's."""
    others = {
        name
        for name, monitor in store.project.file.monitor.items()
        if monitor.model != store.version.name
    }
    for digest in store.given(store.run, "dataset"):
        for run in store.of("monitor@1", "dataset", digest):
            found: Signal = store.load(run)
            if found.monitor not in others:
                yield run


def _export(store: Store, run: Run) -> dict[str, Any]:
    made: Export = store.load(run)
    return {
        "format": made.format,
        "quantisation": made.quantisation,
        "verdict": made.parity.verdict,
        "files": {name: blob.sha256 for name, blob in made.files.items()},
    }


def _signal(store: Store, run: Run) -> dict[str, Any]:
    found: Signal = store.load(run)
    return {
        "monitor": found.monitor,
        "traffic": found.traffic,
        "verdict": found.verdict,
        "run": run.id,
        "at": run.finished_at,
        "digest": digest_of(run),
    }
