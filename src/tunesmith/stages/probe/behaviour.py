"""Cases of the user's own, in the manner of CheckList: Ribeiro et al., "Beyond Accuracy: Behavioral
Testing of NLP Models with CheckList", ACL 2020.

Minimum functionality: this input, that answer. Invariance: another way to say it, the same answer.
Directional: a change, and an answer that becomes likelier, or less likely.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.core.errors import UsageError
from tunesmith.records.suite import Figure
from tunesmith.stages.probe.answers import Question, answers, fits, likelihoods
from tunesmith.stages.probe.asked import Asked, Subject
from tunesmith.stages.probe.cases import Case, Test, read_tests
from tunesmith.stages.probe.figures import share
from tunesmith.stages.probe.found import Found, Line, Score
from tunesmith.stages.probe.robustness import normalised

EVERY = "all cases"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Outcome:
    """How one case came out with one model."""

    passed: bool
    said: str


def behaviour(asked: Asked) -> Found:
    """The share of cases that hold, of each test and of all.

    Raises:
        NotFound, DataError: the file cannot be read or understood.
        UsageError: a case is too long for the model, or names a label that it does not have.
    """
    tests = read_tests(asked.text_of_file(), asked.config.file)
    base, tuned = (_outcomes(asked, subject, tests, n) for n, subject in enumerate(asked.both))
    figures: list[Figure] = []
    lines: list[Line] = []
    for test in tests:
        figures.append(_share(asked, test.name, base[test.name], tuned[test.name]))
        lines += [
            Line(
                row_id=f"{test.name} {number}",
                check=test.type,
                asked=case.shown(),
                base=before.said,
                tuned=after.said,
                base_score=float(before.passed),
                tuned_score=float(after.passed),
                scores=tuple(
                    Score(figure=name, base=float(before.passed), tuned=float(after.passed))
                    for name in (EVERY, test.name)
                ),
            )
            for number, (case, before, after) in enumerate(
                zip(test.cases, base[test.name], tuned[test.name], strict=True), start=1
            )
        ]
    every = [[each for test in tests for each in side[test.name]] for side in (base, tuned)]
    return Found(figures=[_share(asked, EVERY, *every), *figures], examples=lines)


def _share(asked: Asked, name: str, base: Sequence[_Outcome], tuned: Sequence[_Outcome]) -> Figure:
    return share(
        name,
        [each.passed for each in base],
        [each.passed for each in tuned],
        confidence=asked.config.confidence,
        worse="lower",
    )


def _outcomes(
    asked: Asked, subject: Subject, tests: Sequence[Test], turn: int
) -> Mapping[str, list[_Outcome]]:
    """By test, case by case. What is asked for an answer is asked in one go."""
    questions = {
        text: Question(name=text[:40], text=text, plain=asked.dataset.format == "completion")
        for test in tests
        for case in test.cases
        for text in (case.input, *case.variants)
    }
    for question in questions.values():
        if not fits(subject, question, asked.config.max_new_tokens):
            raise UsageError(
                f"{asked.config.file}: a case does not fit the model's context: "
                f"{question.text[:60]!r}...",
                remedy="shorten it, or lower max_new_tokens of the suite",
            )
    to_answer = [
        questions[text]
        for text in dict.fromkeys(
            text
            for test in tests
            if test.type != "directional"
            for case in test.cases
            for text in (case.input, *case.variants)
        )
    ]
    done = asked.shown(2 * len(to_answer), "answers cases", turn * len(to_answer))
    said = answers(subject, to_answer, asked.config.max_new_tokens, done) if to_answer else []
    known = dict(zip((question.text for question in to_answer), said, strict=True))
    return {
        test.name: _moved(subject, test, questions)
        if test.type == "directional"
        else [_held(subject, test, case, known) for case in test.cases]
        for test in tests
    }


def _held(subject: Subject, test: Test, case: Case, known: Mapping[str, str]) -> _Outcome:
    """Whether the answer is what is expected, or the same for every way to say it."""
    first, *others = (normalised(known[text]) for text in (case.input, *case.variants))
    if test.type == "invariance":
        said = " | ".join(known[text] for text in (case.input, *case.variants))
        return _Outcome(passed=all(other == first for other in others), said=said)
    wanted = normalised(case.expected)
    exact = subject.labels or test.match == "whole"
    return _Outcome(passed=wanted == first if exact else wanted in first, said=known[case.input])


def _moved(subject: Subject, test: Test, questions: Mapping[str, Question]) -> list[_Outcome]:
    """Whether with each variant the answer is likelier than with the input, or less likely."""
    asked = [questions[text] for case in test.cases for text in (case.input, *case.variants)]
    found = iter(likelihoods(subject, asked, test.of, lambda _done: None))
    sign = 1 if test.direction == "up" else -1
    outcomes = []
    for case in test.cases:
        before, *others = (next(found) for _ in (case.input, *case.variants))
        said = " | ".join(f"{value:.4f}" for value in (before, *others))
        outcomes.append(
            _Outcome(
                passed=all(sign * (after - before) > test.by for after in others),
                said=f"log p({test.of}): {said}",
            )
        )
    return outcomes
