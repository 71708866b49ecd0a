"""What a suite's examples could show of the difference from the base model, said before it asks."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tunesmith.core.kinds import resolve
from tunesmith.paired.power import could_show, detectable, head, in_nats
from tunesmith.records.data import Dataset
from tunesmith.records.suite import SuiteResult
from tunesmith.stages.probe.check import READERS
from tunesmith.stages.probe.config import ProbeConfig
from tunesmith.stages.probe.given import Given

OF_TEXTS = 0.25
"""Nats by which the change in the loss of a token is taken to spread over general texts, where no
model of this suite was asked yet: tuning moves all of them in much the same way."""
_ROWS = ("robustness", "membership", "leakage", "injection")
"""Kinds of suites that ask rows of the dataset."""


def what_suite_could_show(
    config: ProbeConfig, given: Given | None, dataset: Dataset | None, last: SuiteResult | None
) -> list[str]:
    """A sentence for each number of examples that figures of the suite rest on, with the smallest
    difference between the base model and the tuned one that so many could be expected to show.

    `last` is what it found the last time, of another version, if it ran. Of rows and of a file's
    examples so many are asked at most: some may not fit the context.

    Raises:
        DataError: its file cannot be understood.
    """
    if dataset is None and config.kind in _ROWS:
        return ["what it could show is known when the dataset is cut"]
    if config.file and given is None:
        return [f"{config.file} cannot be read, so what it could show is not known"]
    if config.kind == "canaries":
        return ["an exposure is of no sample of examples, so nothing is tested"]
    if last is not None and last.kind != config.kind:  # another suite had this name
        last = None
    return [
        _loss(which, num, config.confidence, last)
        if config.kind == "forgetting"
        else _area(which, num, _others(config, dataset), config.confidence)
        if config.kind == "membership"
        else could_show(which, num, config.confidence) + _of_lost(config, num)
        for which, num in _examples(config, given, dataset)
    ]


def _examples(
    config: ProbeConfig, given: Given | None, dataset: Dataset | None
) -> Iterator[tuple[str, int]]:
    """What is asked, for people, and how many there are at most."""
    read = resolve(READERS[config.kind]) if config.kind in READERS and given else None
    said = read(given.text, config.file) if read and given else None
    test = _others(config, dataset)
    train = _at_most(config, dataset.train.num_rows) if dataset else 0
    match config.kind:
        case "forgetting":
            from tunesmith.stages.probe.general import TEXTS

            num = _at_most(config, len(said if said is not None else TEXTS))
            yield f"{num} texts", num
        case "robustness":
            yield f"at most {test} test rows under each change", test
            if said is not None:
                yield f"at most {said.num} paraphrases", said.num
        case "behaviour":
            tests = said or []
            every = sum(len(test.cases) for test in tests)
            yield f"{every} cases in all", every
            for each in tests:
                yield f"{each.name}, {len(each.cases)} cases", len(each.cases)
        case "membership":
            yield f"at most {train} rows tuned on and {test} test rows", train
        case "leakage":
            yield f"at most {train} training rows", train
            yield f"at most {test} test rows", test
        case "injection":
            from tunesmith.stages.probe.injection import ORDERS

            orders = len(said if said is not None else ORDERS)
            which = f"at most {test} test rows with {orders} orders each"
            yield which, test  # orders behind one row hang together
        case "refusals":
            from tunesmith.stages.probe.refusals import HARMFUL, HARMLESS, own_asks

            asks = said if said is not None else own_asks()
            for name, to_refuse in ((HARMFUL, True), (HARMLESS, False)):
                num = sum(ask.to_refuse is to_refuse for ask in asks)
                if num:
                    yield f"at most {num} {name}", num


def _of_lost(config: ProbeConfig, num: int) -> str:
    """Of robustness, what is added of accuracy lost: a row scores -1 to 1, so two can differ
    by 2 on it, and what is shown whatever they differ on is twice as far."""
    if config.kind != "robustness" or not num:
        return ""
    most = min(2.0, 2 * detectable(num, config.confidence, 1.0))
    return f"; of accuracy lost, which can differ by 2 on a row, one of {100 * most:.1f} points"


def _at_most(config: ProbeConfig, num: int) -> int:
    return min(config.num_rows or num, num)


def _others(config: ProbeConfig, dataset: Dataset | None) -> int:
    return _at_most(config, dataset.test.num_rows) if dataset else 0


def _loss(which: str, num: int, confidence: float, last: SuiteResult | None) -> str:
    """Of the loss of a token: by how far the differences spread the last time, if there was one."""
    found = last.figures[0] if last and last.figures else None
    if found is None or not found.detectable:
        return in_nats(which, "loss", num, confidence, OF_TEXTS)
    then = detectable(found.num_rows, found.confidence, math.inf)
    shown = found.detectable * detectable(num, confidence, math.inf) / then
    return (
        f"{head(which, confidence)}: a difference of {shown:.2g} nats can be shown, if the texts' "
        "differences spread as they did for the last version"
    )


def _area(which: str, num_members: int, num_others: int, confidence: float) -> str:
    """Of an area near a half: Hanley and McNeil, Radiology 143 (1982), as the rank test has it."""
    if not num_members or not num_others:
        return could_show(which, 0, confidence)
    spread = math.sqrt((num_members + num_others + 1) / (12 * num_members * num_others))
    shown = min(1.0, spread * detectable(1, confidence, math.inf))
    return (
        f"{head(which, confidence)}: a difference of {shown:.3f} in the area under the curve can "
        "be shown near 0.5, if both models' scores go together by a half (correlation)"
    )
