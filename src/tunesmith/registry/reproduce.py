"""Make the beginning of a version's tuning run again, somewhere clean, and compare the two."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tunesmith.core import catalog, evidence, lifecycle
from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.canonical import parse
from tunesmith.core.catalog import Run
from tunesmith.core.errors import BlobMissing, GateFailed, NotFound
from tunesmith.core.event import Event
from tunesmith.core.execute import Call, Given, Listener, SubprocessExecutor
from tunesmith.core.kinds import kind, resolve
from tunesmith.core.owner import owner
from tunesmith.core.plan import changes
from tunesmith.core.ref import Blob, find, from_plain
from tunesmith.project import Project
from tunesmith.records.model import ModelVersion
from tunesmith.registry.interpreter import Interpreter, interpreter
from tunesmith.registry.roles import Actor
from tunesmith.registry.signing import model_of
from tunesmith.registry.standing import version_of
from tunesmith.signing.opened import copy_checked

TOLERANCE = 1e-4
"""Of a step's loss: float32 sums in another order differ by less in their first steps, and another
seed, row or learning rate by more."""
KEPT = ("PATH", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Of this process's environment: where programs are, and the number of threads, on which the order
of sums depends. Nothing else of it reaches the run."""

Verdict = Literal["bitwise", "within tolerance", "failed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reproduction:
    """A slice of a run beside the run itself."""

    version: str
    verdict: Verdict
    num_steps: int
    """Steps that were taken again."""
    of_steps: int
    whole: bool
    """Whether these were all, so that the weights were compared too."""
    max_difference: float
    """The largest difference of a step's loss, as a part of the loss."""
    first_different: int
    """The first step whose loss is not the same to the bit; 0: none."""
    said: str
    """What failed, or was compared."""
    changed: tuple[str, ...]
    """What is another than it was then: code, libraries, the machine."""
    python: str
    """The interpreter that took the steps again."""
    then: Mapping[str, str]
    """Versions of Python and the libraries when the run was made ..."""
    now: Mapping[str, str]
    """... and of those that took the steps again."""
    wall_s: float


def reproduce(
    project: Project, version: str, num_steps: int, actor: Actor, python: Path | None = None
) -> Reproduction:
    """Take the first steps of the run that made a version again: from the same rows, weights, seed
    and settings, in a process and folders of its own, with the code and the libraries of this
    moment, or with those of another `python`. What came of it is evidence.

    Raises:
        UsageError: `version` is not of the form MODEL@NUMBER, or `python` is none, or has not got
            the same version of Tunesmith and all that the step needs.
        NotFound: there is no such version, or an input of its run is gone.
        GateFailed: the steps are not those of the run; this is evidence too.
    """
    model = model_of(project, version)
    with project.runner.database.read() as connection:
        made = catalog.run(connection, version_of(connection, version).run_id)
        runs = catalog.all_runs(connection)
    steps = min(num_steps, model.num_steps)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        clean = _clean_environment(Path(folder))
        used = interpreter(python, made.kind, clean)
        blobs = FolderBlobs(Path(folder) / "blobs")
        inputs = _copied_inputs(project, made, runs, blobs)
        config = {**made.identity["config"], "stop_after": steps}
        executor = SubprocessExecutor(
            Path(folder) / "blobs",
            Path(folder) / "work",
            environment=clean,
            python=used.command,
        )
        again = _tuned_again(project, made, config, inputs, executor)
        then, now = project.runner.blobs.get(model.curve), blobs.get(again.curve)
    found = _compared(version, model, again, _steps(then)[:steps], _steps(now))
    result = Reproduction(
        **found,
        changed=tuple(_changed(made, used)),
        python=str(used.path),
        then=made.identity["environment"],
        now=used.environment,
        wall_s=round(time.monotonic() - started, 3),
    )
    body = {
        "model": model.name,
        "why": f"{result.verdict}: {result.said}",
        "run": made.id,
        **{name: getattr(result, name) for name in Reproduction.__slots__},
        **actor.body(),
    }
    with project.runner.database.write() as connection:
        evidence.append(connection, lifecycle.REPRODUCED, actor.name, body)
    if result.verdict == "failed":
        because = f"; since then changed: {'; '.join(result.changed)}" if result.changed else ""
        raise GateFailed(
            f"the first {steps} steps of {version} could not be made again: {result.said}{because}",
            remedy="go back to that code and those libraries, or tune again with these; "
            "`tunesmith model show` has the evidence",
        )
    return result


def _copied_inputs(
    project: Project, made: Run, runs: list[Run], blobs: FolderBlobs
) -> dict[str, Given]:
    """The records that the run was given, and all that they hold, checked on the way to `blobs`."""
    makers = {run.output.sha256: run for run in runs if run.output}
    store = project.runner.blobs
    given: dict[str, Given] = {}
    for name, (digest,) in made.identity["inputs"].items():
        if digest not in makers:
            raise NotFound(
                f"what run {made.id} was given as {name} is not in the store",
                remedy="tune again: `tunesmith run`",
            )
        of = kind(makers[digest].kind).record
        data = store.get(Blob(sha256=digest, num_bytes=0))
        given[name] = Given(type=of, blob=blobs.put(data, "application/json"))
        for blob in find(from_plain(resolve(of), parse(data)), Blob):
            with contextlib.suppress(BlobMissing):  # erased; what the run needs of it, it will say
                _copy(project, blob, blobs)
    return given


def _copy(project: Project, blob: Blob, blobs: FolderBlobs) -> None:
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        copy_checked(project.runner.blobs, blob, Path(folder) / "copy")
        blobs.put(Path(folder) / "copy", blob.media_type)


def _clean_environment(folder: Path) -> dict[str, str]:
    """The variables of the run's environment; its home is new, in `folder`."""
    kept = {variable: os.environ[variable] for variable in KEPT if variable in os.environ}
    home = folder / "home"
    home.mkdir()
    return {**kept, "HOME": str(home), "LANG": "C.UTF-8", "HF_HUB_OFFLINE": "1"}


def _tuned_again(
    project: Project,
    made: Run,
    config: Mapping[str, Any],
    inputs: Mapping[str, Given],
    executor: SubprocessExecutor,
) -> ModelVersion:
    """What the first steps make, in a process of its own."""
    name = f"reproduce:{made.step.partition(':')[2]}"

    def progress(done: float, total: float, note: str) -> None:
        event = Event(step=name, what="progress", note=note, done=done, total=total)
        project.runner.on_event(event)

    call = Call(
        step=name,
        kind=made.kind,
        config=config,
        inputs=dict(inputs),
        seed=made.identity["seed"],
        identity=made.identity,
    )
    listener = Listener(
        progress=progress, metric=lambda *_point: None, forecast=lambda _forecast: None
    )
    return from_plain(ModelVersion, executor.execute(call, listener))


def _steps(curve: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in curve.splitlines()]


def _compared(
    version: str,
    model: ModelVersion,
    again: ModelVersion,
    then: list[dict[str, Any]],
    now: list[dict[str, Any]],
) -> dict[str, Any]:
    """The verdict on the steps, and what it rests on."""
    whole = len(then) == model.num_steps
    differences = [
        abs(new["loss"] - old["loss"]) / max(abs(old["loss"]), 1e-12)
        for old, new in zip(then, now, strict=False)
    ]
    apart = [number for number, difference in enumerate(differences, 1) if difference > 0]
    rows = [(step["row_ids"], step["num_tokens"]) for step in then]
    same_rows = rows == [(step["row_ids"], step["num_tokens"]) for step in now]
    same_weights = again.adapter.sha256 == model.adapter.sha256
    largest = max(differences, default=0.0)
    what = f"the losses of {len(then)} of {model.num_steps} steps"
    verdict: Verdict = "bitwise"
    said = f"{what} are the same to the bit" + (", and so are the weights" if whole else "")
    if not same_rows:
        verdict, said = "failed", "the steps took other rows, or read them as other tokens"
    elif largest > TOLERANCE:
        verdict = "failed"
        said = f"{what} differ by up to {largest:.1e} of the loss, from step {apart[0]} on"
    elif apart or (whole and not same_weights):
        verdict = "within tolerance"
        said = f"{what} differ by up to {largest:.1e} of the loss (allowed {TOLERANCE:.0e})"
    return {
        "version": version,
        "verdict": verdict,
        "num_steps": len(then),
        "of_steps": model.num_steps,
        "whole": whole,
        "max_difference": largest,
        "first_different": apart[0] if apart else 0,
        "said": said,
    }


def _changed(made: Run, used: Interpreter) -> list[str]:
    """What bears on the result and is another than it was when the run was made."""
    then = {name: made.identity[name] for name in ("code", "environment")}
    found = changes(then, {"code": used.code, "environment": used.environment})
    host, here = made.owner.partition(":")[0], owner().partition(":")[0]
    return [*found, f"machine: {host} -> {here}"] if host != here else list(found)
