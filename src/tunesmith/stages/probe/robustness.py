"""Whether answers stay when a text is written worse, or says the same in other words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tunesmith.core.errors import DataError
from tunesmith.records.suite import Figure
from tunesmith.stages.probe.answers import Question, answers, fits, question_of
from tunesmith.stages.probe.asked import Asked, Subject
from tunesmith.stages.probe.figures import drop, share
from tunesmith.stages.probe.found import Found, Line, scores_of
from tunesmith.stages.probe.paraphrases import read_paraphrases, require_found
from tunesmith.stages.probe.perturb import CHANGES, perturbed
from tunesmith.stages.probe.rephrase import OF_REQUESTS, OF_TEXTS, PARAPHRASES

AS_IT_IS = "as it is"
_REQUESTS = ("chat", "checked", "preference", "feedback")
"""Formats in which a user asks for something."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Form:
    """Questions under one change, each beside itself as it is."""

    change: str
    plain: Sequence[Question]
    changed: Sequence[Question]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Said:
    """What both models said to the same questions under one change."""

    questions: Sequence[Question]
    answers: tuple[Sequence[str], Sequence[str]]
    """Of the base, of the tuned model."""


def robustness(asked: Asked) -> Found:
    """The share of answers that stay under each change of the test rows, and, where what is right
    is one of a few answers, how much of the accuracy is lost.

    Of rewrites and paraphrases only the rows count that have one.

    Raises:
        DataError: no test row can be asked, or none of the paraphrases is of one.
    """
    questions, notes = _questions(asked)
    written, of_people = _paraphrased(asked)
    forms = [*_written_worse(asked, questions), *_rewritten(asked, questions), *written]
    said_to = _ask(asked, questions, forms)
    plain, judged = said_to(questions), _is_judged(asked, questions)
    right = {f"accuracy: {AS_IT_IS}": _right(asked, plain)} if judged else {}
    confidence = asked.config.confidence
    figures = [share(n, *told, confidence=confidence, worse="lower") for n, told in right.items()]
    lines = _lines(AS_IT_IS, plain, plain, right)
    for form in forms:
        if form.plain:
            both = said_to(form.plain), said_to(form.changed)
            more, told = _looked_at(asked, form.change, both, judged=judged)
            figures += more
            lines += _lines(form.change, *both, told)
    return Found(
        figures=figures,
        examples=lines,
        notes=[*notes, *(each for form in forms for each in _noted(form, questions)), *of_people],
    )


def _written_worse(asked: Asked, questions: Sequence[Question]) -> list[_Form]:
    return [
        _Form(
            change=change,
            plain=questions,
            changed=[
                each.saying(perturbed(each.text, change, f"{asked.ctx.seed}/{each.name}"))
                for each in questions
            ],
        )
        for change in CHANGES
    ]


def _rewritten(asked: Asked, questions: Sequence[Question]) -> list[_Form]:
    """The questions that a rule rewrites, and that then still fit."""
    requests = asked.dataset.format in _REQUESTS
    first = [q for q in questions if all(turn.role == "system" for turn in q.before)]
    rules = {name: (rule, questions) for name, rule in OF_TEXTS.items()}
    rules |= {name: (rule, first) for name, rule in OF_REQUESTS.items() if requests}
    base, _ = asked.both
    forms = []
    for name, (rule, of) in rules.items():
        pairs = [(each, each.saying(rule(each.text))) for each in of]
        kept = [
            (before, after)
            for before, after in pairs
            if after.text != before.text and fits(base, after, asked.config.max_new_tokens)
        ]
        forms.append(_Form(change=name, plain=[b for b, _ in kept], changed=[a for _, a in kept]))
    return forms


def _paraphrased(asked: Asked) -> tuple[list[_Form], list[str]]:
    """The test rows that the suite's file has other words for, all of them; and what is to be said
    of the others in it.

    Raises:
        DataError: there is none, or the file cannot be understood.
    """
    file = asked.config.file
    if not file:
        return [], []
    given = read_paraphrases(asked.text_of_file(), file)
    base, _ = asked.both
    pairs = []
    for row in asked.every(asked.dataset.test):
        question = question_of(row)
        other = given.of(row.row_id, question.text) if question else None
        if question is not None and other is not None:
            pairs.append((question, question.saying(other)))
    room = asked.config.max_new_tokens
    kept = [pair for pair in pairs if all(fits(base, each, room) for each in pair)]
    require_found(kept, given.num, file, asked.dataset.name)
    notes = []
    if given.num > len(kept):
        notes.append(
            f"{given.num - len(kept)} of {given.num} paraphrases are of no test row, or do not fit "
            "the context"
        )
    form = _Form(change=PARAPHRASES, plain=[p for p, _ in kept], changed=[c for _, c in kept])
    return [form], notes


def _noted(form: _Form, questions: Sequence[Question]) -> list[str]:
    """In how many rows a change changes nothing."""
    if form.change == PARAPHRASES:
        return []
    if form.change not in CHANGES:
        if len(form.plain) == len(questions):
            return []
        return [f"{form.change}: {len(form.plain)} of {len(questions)} rows have one"]
    same = sum(a.text == b.text for a, b in zip(form.changed, form.plain, strict=True))
    return [f"{form.change} changes nothing in {same} of {len(questions)} rows"] if same else []


def normalised(answer: str) -> str:
    """An answer as it is compared: without regard to case and blanks."""
    return " ".join(answer.casefold().split())


def _is_judged(asked: Asked, questions: Sequence[Question]) -> bool:
    """Whether an answer is right or wrong: a label, or what is known to be in a right one."""
    known = all(question.expected for question in questions)
    return asked.dataset.format == "labels" or (asked.dataset.format == "checked" and known)


def _questions(asked: Asked) -> tuple[list[Question], list[str]]:
    """What the test rows ask, if there is room for it written worse; and how many do not fit."""
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
    num = len(found) - len(kept)
    left_out = f"{num} of the rows drawn do not fit the context when they are changed"
    return kept, [left_out] if num else []


def _ask(
    asked: Asked, questions: Sequence[Question], forms: Sequence[_Form]
) -> Callable[[Sequence[Question]], _Said]:
    """What both say to every question in every form; one that comes twice is asked once."""
    wanted = [*questions, *(q for form in forms for q in (*form.plain, *form.changed))]
    every = list({_key(question): question for question in wanted}.values())

    def one(subject: Subject, before: int) -> Mapping[object, str]:
        done = asked.shown(2 * len(every), "answers changed rows", before)
        said = answers(subject, every, asked.config.max_new_tokens, done)
        return dict(zip(map(_key, every), said, strict=True))

    base, tuned = asked.both
    first, second = one(base, 0), one(tuned, len(every))
    return lambda form: _Said(
        questions=form,
        answers=([first[_key(q)] for q in form], [second[_key(q)] for q in form]),
    )


def _key(question: Question) -> object:
    """What makes it another question to a model."""
    return question.before, question.text


def _looked_at(
    asked: Asked, change: str, both: tuple[_Said, _Said], *, judged: bool
) -> tuple[list[Figure], dict[str, Sequence[Sequence[float]]]]:
    """The figures of a change, and what each question adds to each of them, for both models."""
    confidence = asked.config.confidence
    name, stays = f"answers that stay: {change}", _stays(both)
    figures = [share(name, *stays, confidence=confidence, worse="lower")]
    told: dict[str, Sequence[Sequence[float]]] = {name: stays}
    if judged:
        before, after = (_right(asked, said) for said in both)
        right, lost = f"accuracy: {change}", f"accuracy lost: {change}"
        figures += [
            share(right, *after, confidence=confidence, worse="lower"),
            drop(lost, before, after, confidence=confidence, seed=asked.ctx.seed),
        ]
        told[right] = after
        told[lost] = [
            [float(was) - float(is_now) for was, is_now in zip(*side, strict=True)]
            for side in zip(before, after, strict=True)
        ]
    return figures, told


def _stays(both: tuple[_Said, _Said]) -> tuple[list[bool], list[bool]]:
    """Whether each answer is the same as without the change."""
    base, tuned = (
        [normalised(a) == normalised(b) for a, b in zip(before, after, strict=True)]
        for before, after in zip(both[0].answers, both[1].answers, strict=True)
    )
    return base, tuned


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
    told: Mapping[str, Sequence[Sequence[float]]],
) -> list[Line]:
    """A line a question, with what it adds to each figure of `told`. What stands first there is
    shown beside it; without any, whether it stayed as it was."""
    lines = []
    shown = next(iter(told.values()), _stays((plain, said)))
    for number, question in enumerate(said.questions):
        base, tuned = (of_model[number] for of_model in said.answers)
        lines.append(
            Line(
                row_id=question.name,
                check=check,
                asked=question.text,
                base=base,
                tuned=tuned,
                base_score=float(shown[0][number]),
                tuned_score=float(shown[1][number]),
                scores=scores_of(told, number),
            )
        )
    return lines
