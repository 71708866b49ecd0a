"""The invariants of a run, shown on its own model, data and machine, before and after it."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from tunesmith.core.errors import DataError
from tunesmith.records.certificate import Certificate, Check
from tunesmith.stages.finetune.batches import steps_of_epoch, two_rows
from tunesmith.stages.finetune.invariants import (
    Subject,
    influence,
    misplaced,
    step_errors,
)
from tunesmith.stages.finetune.preflight import Preflight
from tunesmith.stages.finetune.stock import (
    Comparison,
    Forward,
    relative_difference,
    stock_logits,
)

GRADIENT_BOUND = 1e-3
"""Of the gradient's length: what another order of the same float32 sums may change. On 135 million
parameters it is one or two ten-thousandths; a wrong denominator or a leak, a hundred times that."""
LOSS_BOUND = 1e-5
"""Of the loss."""
RELOAD_BOUND = 1e-3
"""Of the logits' root mean square: a merged weight is rounded once more than a sum of products."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprints:
    """Digests of a model's parameters."""

    frozen: str
    trained: tuple[str, ...]
    """One for each trained parameter, in their order."""


def before(
    subject: Subject, stock: Any, comparison: Comparison, preflight: Preflight, seed: int
) -> list[Check]:
    """The checks before the first step; those of arithmetic are made on the two shortest rows.

    `stock` is the twin of the model from before anything was trained, `comparison` how far the
    packed forward pass was from it on the first micro-batch. The gradients are left empty.
    """
    rows = subject.objective.answered(0, two_rows(subject.rows, subject.objective.weight))
    foreign, own = influence(subject, rows)
    loss, gradient = step_errors(subject, rows, stock)
    moved = misplaced(subject.rows, seed)
    return [
        _forward(comparison),
        _check(
            "before",
            "one row's states do not depend on another's tokens",
            (7, 8, 10),
            f"{foreign:g} (on its own: {own:.1e})",
            "exactly 0 (on its own: more)",
            foreign == 0 and own > 0,
        ),
        _check(
            "before",
            "the loss of a step is its definition, by torch on transformers' forward pass",
            (1, 2, 3, 4, 25),
            f"{loss:.1e}",
            f"at most {LOSS_BOUND:.0e} of the loss",
            loss <= LOSS_BOUND,
        ),
        _check(
            "before",
            "the gradient of a step is autograd's, however the step is cut",
            (1, 2, 3, 31),
            f"{gradient:.1e}",
            f"at most {GRADIENT_BOUND:.0e} of its length",
            gradient <= GRADIENT_BOUND,
        ),
        _check(
            "before",
            "the order of the rows follows from the seed, the epoch and their ids alone",
            (11, 33),
            f"{moved} rows moved when the file was shuffled",
            "0 rows",
            moved == 0,
        ),
        *_rows(preflight),
    ]


def after(
    subject: Subject,
    was: Fingerprints,
    reloaded: Forward,
    logged: Sequence[Sequence[str]],
    seed: int,
    batch_rows: int,
) -> list[Check]:
    """The checks after the last step.

    `was` are the fingerprints from before the first; `reloaded` gives the logits of one document by
    what was saved, on a base model that was loaded afresh; `logged` are the ids of the rows of each
    step, from the run's log.
    """
    now = fingerprints(subject.model, subject.parameters)
    unmoved = sum(old == new for old, new in zip(was.trained, now.trained, strict=True))
    # A single step moves no matrix A: its gradient is zero as long as B is.
    allowed = len(now.trained) - 1 if len(logged) == 1 else _unseen(subject, logged)
    broken = sum(not bool(torch.isfinite(p).all()) for p in subject.parameters)
    strayed = _strayed(subject, logged, seed, batch_rows)
    return [
        _check(
            "after",
            "the frozen parameters are unchanged",
            (32,),
            f"SHA-256 {now.frozen[:16]}",
            f"SHA-256 {was.frozen[:16]}",
            now.frozen == was.frozen,
        ),
        _check(
            "after",
            "every trained parameter moved and is finite",
            (16, 31),
            f"{unmoved} of {len(now.trained)} did not move, {broken} are not finite",
            f"at most {allowed}, and 0",
            unmoved <= allowed and broken == 0,
        ),
        _reload(subject, reloaded),
        _check(
            "after",
            "the rows of each step are those of the order",
            (11, 33),
            f"{strayed} of {len(logged)} steps took others",
            "0 steps",
            strayed == 0 and len(logged) > 0,
        ),
    ]


def require_held(checks: Sequence[Check]) -> None:
    """Refuse to go on with what cannot be vouched for.

    Raises:
        DataError: a check does not hold; each of those is named.
    """
    failed = Certificate(checks=tuple(checks)).failed()
    if failed:
        raise DataError(
            f"the run's certificate fails: {failed}",
            remedy="mend the rows that it names; if it names a computation, tune a base model of "
            "another architecture, and report this one",
        )


def fingerprints(model: Any, parameters: Sequence[torch.nn.Parameter]) -> Fingerprints:
    """Digests of what is trained, one by one, and of all the rest."""
    return Fingerprints(
        frozen=frozen_digest(model, parameters),
        trained=tuple(_hashed([("", parameter)]) for parameter in parameters),
    )


def frozen_digest(model: Any, parameters: Sequence[torch.nn.Parameter]) -> str:
    """The SHA-256 of all parameters and buffers of `model` that are not in `parameters`: their
    names, types, shapes and bytes. Half a gigabyte takes about a second."""
    trained = {id(parameter) for parameter in parameters}
    tensors = itertools.chain(model.named_parameters(), model.named_buffers())
    return _hashed([(name, tensor) for name, tensor in tensors if id(tensor) not in trained])


def _hashed(tensors: Sequence[tuple[str, torch.Tensor]]) -> str:
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
        digest.update(flat.numpy().data)
    return digest.hexdigest()


def _forward(comparison: Comparison) -> Check:
    if comparison.ok:
        return _check(
            "before",
            "packed states are those of transformers, each document alone",
            (7, 8, 9, 12, 37),
            f"{comparison.difference:.1e}",
            f"at most {comparison.tolerance:.0e} of their scale",
            True,
        )
    return _check(
        "before",
        "documents run alone through transformers' own code",
        (7, 8, 9, 12, 37),
        f"packed states would differ by {comparison.difference:.1e} of their scale",
        "the stock path",
        True,  # that the run takes it shows in the checks of the loss and of the gradient
    )


def _rows(preflight: Preflight) -> list[Check]:
    return [
        _check(
            "before",
            f"no rows {finding.fault}",
            finding.defects,
            f"{len(finding.row_ids)} of {preflight.num_rows} rows",
            "0 rows",
            not finding.row_ids,
        )
        for finding in preflight.findings
    ]


def _strayed(subject: Subject, logged: Sequence[Sequence[str]], seed: int, batch_rows: int) -> int:
    """Steps of the log that took other rows than the order says."""
    steps = (
        step
        for epoch in itertools.count()
        for step in steps_of_epoch(subject.rows, seed, epoch, batch_rows)
    )
    return sum(
        [row.row_id for row in step] != list(row_ids)
        for row_ids, step in zip(logged, steps, strict=False)
    )


def _unseen(subject: Subject, logged: Sequence[Sequence[str]]) -> int:
    """Parameters that got no gradient: the embeddings' rows of new tokens, if no row of the log has
    one of them, as may be with a share of the rows."""
    row_ids = {row_id for step in logged for row_id in step}
    documents = (
        document
        for row in subject.rows
        if subject.token_ids and row.row_id in row_ids
        for document in row.documents()
    )
    return int(bool(subject.token_ids) and all(map(subject.token_ids.isdisjoint, documents)))


def _reload(subject: Subject, reloaded: Forward) -> Check:
    documents = [
        (torch.tensor(ids), types)
        for row in two_rows(subject.rows, subject.objective.weight)
        for ids, types in zip(row.documents(), row.document_types(), strict=True)
    ]
    with torch.no_grad():
        trained = torch.cat([stock_logits(subject.model, ids, types) for ids, types in documents])
        saved = torch.cat([reloaded(ids, types) for ids, types in documents])
    difference = relative_difference(saved, trained)
    return _check(
        "after",
        "what was saved gives the trained model's logits on a fresh base model",
        (26, 28, 30),
        f"{difference:.1e}",
        f"at most {RELOAD_BOUND:.0e} of their scale",
        difference <= RELOAD_BOUND,
    )


def _check(
    when: Literal["before", "after"],
    name: str,
    defects: tuple[int, ...],
    observed: str,
    required: str,
    passed: bool,
) -> Check:
    return Check(
        name=name,
        defects=defects,
        observed=observed,
        required=required,
        passed=passed,
        when=when,
    )
