"""Whether answers stay when a text is written worse: typos, case, whitespace, punctuation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.core.errors import DataError
from tunesmith.records.suite import Figure
from tunesmith.stages.probe.answers import Question, answers, fits, question_of
from tunesmith.stages.probe.asked import Asked, Subject
from tunesmith.stages.probe.figures import drop, share
from tunesmith.stages.probe.found import Found, Line
from tunesmith.stages.probe.perturb import CHANGES, perturbed

AS_IT_IS = "as it is"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Said:
    """What both models said to the same questions under one change."""

    questions: Sequence[Question]
    answers: tuple[Sequence[str], Sequence[str]]
    """Of the base, of the tuned model."""


def robustness(asked: Asked) -> Found:
    """The share of answers that stay under each change of the test rows, and, where what is right
    is one of a few answers, how much of the accuracy is lost.

    Raises:
        DataError: no test row can be asked.
    """
    questions, num_left_out = _questions(asked)
    forms = {
        AS_IT_IS: questions,
        **{
            change: [
                each.saying(perturbed(each.text, change, f"{asked.ctx.seed}/{each.name}"))
                for each in questions
            ]
            for change in CHANGES
        },
    }
    said = _ask(asked, forms)
    plain, judged = said[AS_IT_IS], _is_judged(asked, questions)
    figures: list[Figure] = []
    if judged:
        figures.append(
            share(
                f"accuracy: {AS_IT_IS}",
                *_right(asked, plain),
                confidence=asked.config.confidence,
                worse="lower",
            )
        )
    lines = _lines(AS_IT_IS, plain, plain, _right(asked, plain) if judged else None)
    for change in CHANGES:
        figures += _figures(asked, change, (plain, said[change]), judged=judged)
        lines += _lines(change, plain, said[change])
    left_out = f"{num_left_out} of the rows drawn do not fit the context when they are changed"
    same = {
        change: sum(a.text == b.text for a, b in zip(forms[change], questions, strict=True))
        for change in CHANGES
    }
    unchanged = [
        f"{change} changes nothing in {count} of {len(questions)} rows"
        for change, count in same.items()
        if count
    ]
    return Found(
        figures=figures,
        examples=lines,
        notes=[*([left_out] if num_left_out else []), *unchanged],
    )


def normalised(answer: str) -> str:
    """An answer as it is compared: without regard to case and blanks."""
    return " ".join(answer.casefold().split())


def _is_judged(asked: Asked, questions: Sequence[Question]) -> bool:
    """Whether an answer is right or wrong: a label, or what is known to be in a right one."""
    known = all(question.expected for question in questions)
    return asked.dataset.format == "labels" or (asked.dataset.format == "checked" and known)


def _questions(asked: Asked) -> tuple[list[Question], int]:
    """What the test rows ask, if there is room for every form of it; and how many do not fit."""
    rows = asked.rows(asked.dataset.test)
    found = [each for row in rows if (each := question_of(row)) is not None]
    base, _ = asked.both  # which knows no new tokens, and so needs the most room
    kept = [
        each
        for each in found
        if all(
            fits(base, each.saying(text), asked.config.max_new_tokens)
            for text in (
                each.text,
                *(perturbed(each.text, c, f"{asked.ctx.seed}/{each.name}") for c in CHANGES),
            )
        )
    ]
    if not kept:
        raise DataError(
            f"none of {len(rows)} test rows drawn from {asked.dataset.name!r} can be asked with "
            "changes: each is too long, or no user speaks in it",
            remedy="lower max_tokens of the dataset, or max_new_tokens of the suite",
        )
    return kept, len(found) - len(kept)


def _ask(asked: Asked, forms: dict[str, list[Question]]) -> dict[str, _Said]:
    """What both say to every form; a text that a change left as it is, is asked once."""
    every = list({(q.before, q.text): q for form in forms.values() for q in form}.values())

    def one(subject: Subject, before: int) -> dict[str, list[str]]:
        done = asked.shown(2 * len(every), "answers changed rows", before)
        said = answers(subject, every, asked.config.max_new_tokens, done)
        known = dict(zip(((q.before, q.text) for q in every), said, strict=True))
        return {name: [known[q.before, q.text] for q in form] for name, form in forms.items()}

    base, tuned = asked.both
    first, second = one(base, 0), one(tuned, len(every))
    return {
        name: _Said(questions=form, answers=(first[name], second[name]))
        for name, form in forms.items()
    }


def _figures(asked: Asked, change: str, both: tuple[_Said, _Said], *, judged: bool) -> list[Figure]:
    plain, said = both
    confidence = asked.config.confidence
    stays = [
        [normalised(a) == normalised(b) for a, b in zip(before, after, strict=True)]
        for before, after in zip(plain.answers, said.answers, strict=True)
    ]
    figures = [share(f"answers that stay: {change}", *stays, confidence=confidence, worse="lower")]
    if judged:
        before, after = _right(asked, plain), _right(asked, said)
        figures += [
            share(f"accuracy: {change}", *after, confidence=confidence, worse="lower"),
            drop(
                f"accuracy lost: {change}",
                before,
                after,
                confidence=confidence,
                seed=asked.ctx.seed,
            ),
        ]
    return figures


def _right(asked: Asked, said: _Said) -> tuple[list[bool], list[bool]]:
    """Whether each answer is the label; of a question that rules check, whether it is in there."""
    whole = asked.dataset.format == "labels"

    def is_right(question: Question, answer: str) -> bool:
        wanted, found = normalised(question.expected), normalised(answer)
        return wanted == found if whole else wanted in found

    base, tuned = (
        [is_right(each, answer) for each, answer in zip(said.questions, of_model, strict=True)]
        for of_model in said.answers
    )
    return base, tuned


def _lines(
    check: str,
    plain: _Said,
    said: _Said,
    right: tuple[Sequence[bool], Sequence[bool]] | None = None,
) -> list[Line]:
    """A line a question. Its scores: whether it is right, where that is given; else whether it
    stayed as it was."""
    lines = []
    for number, question in enumerate(said.questions):
        base, tuned = (of_model[number] for of_model in said.answers)
        scores = (
            [side[number] for side in right]
            if right
            else [
                normalised(after[number]) == normalised(before[number])
                for after, before in zip(said.answers, plain.answers, strict=True)
            ]
        )
        lines.append(
            Line(
                row_id=question.name,
                check=check,
                asked=question.text,
                base=base,
                tuned=tuned,
                base_score=float(scores[0]),
                tuned_score=float(scores[1]),
            )
        )
    return lines
