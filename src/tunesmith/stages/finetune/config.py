"""Settings of fine-tuning: the `[model.NAME]` sections of the project file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from tunesmith.core.section import Section
from tunesmith.text.rewards import Reward

PAIRS = ("dpo", "ipo", "orpo", "simpo")
JUDGED = (*PAIRS, "kto")
SAYING = ("sft", "cpt", *JUDGED)
"""Objectives that new tokens are learnt with: the model says them, and no teacher needs to."""
WITH_REFERENCE = ("dpo", "ipo", "kto")
"""Objectives that compare the model with what it was before the first step."""
READ_BY: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "rank": ("method", ("lora", "dora")),
    "alpha": ("method", ("lora", "dora")),
    "layers": ("method", ("lora", "dora", "full")),
    "new_tokens": ("method", ("lora", "dora")),
    "start": ("method", ("full",)),
    "teacher": ("objective", ("distil",)),
    "teacher_share": ("objective", ("distil",)),
    "temperature": ("objective", ("distil", "grpo")),
    "rewards": ("objective", ("grpo",)),
    "group_size": ("objective", ("grpo",)),
    "max_new_tokens": ("objective", ("grpo",)),
    "kl_weight": ("objective", ("grpo",)),
    "clip": ("objective", ("grpo",)),
    "updates": ("objective", ("grpo",)),
    "beta": ("objective", JUDGED),
    "margin": ("objective", ("simpo",)),
    "desirable_weight": ("objective", ("kto",)),
    "undesirable_weight": ("objective", ("kto",)),
    "scale": ("objective", ("embed",)),
    "dims": ("objective", ("embed",)),
}
"""Settings that are not always read: the setting that decides, and its values with which they
are."""
OWN_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    **{name: {"learning_rate": 1e-4} for name in JUDGED},
    "simpo": {"learning_rate": 1e-4, "beta": 2.0},
    "grpo": {"learning_rate": 1e-4, "temperature": 1.0},
}
"""What a setting is with an objective, where nothing is said and its default is another."""


class ModelConfig(Section):
    """A base model tuned on a dataset."""

    name: str = ""
    """Name of the model: what follows `model.` in the section's heading."""
    base: str
    """Name of the base model that is tuned."""
    dataset: str
    """Name of the dataset that it is tuned on."""
    objective: Literal[
        "sft", "cpt", "distil", "dpo", "ipo", "orpo", "simpo", "kto", "grpo",
        "classify", "tag", "reward", "rerank", "embed",
    ] = "sft"  # fmt: skip
    """What is learnt from the rows: answers, token by token ("sft"); whole texts ("cpt"); what a
    teacher would say of each token of the answers ("distil"); which of two answers is better
    ("dpo", "ipo", "orpo", "simpo"); whether an answer was liked ("kto"); to answer
    so that rules reward it ("grpo"); the class of a text
    ("classify"); a tag for each word ("tag"); a number for an answer, from pairs of a better and a
    worse one ("reward"); a number for a passage beside a query ("rerank"); or a vector for a text,
    nearest to those of texts that belong to it ("embed")."""
    method: Literal["lora", "dora", "full", "head"] = "lora"
    """What is trained: low-rank adapters on every linear layer ("lora"), the same with a trained
    length for each row of the weights ("dora"), the weights themselves ("full"), or the output head
    alone ("head"). A head that is new is always trained, as a whole."""
    layers: int = Field(default=0, ge=0)
    """Train only the top so many layers of the decoder; 0 is all of them and, with "full", the
    embeddings and the output head too."""
    new_tokens: tuple[str, ...] = ()
    """Tokens that the vocabulary lacks, e.g. ["<icd>", "<atc>"]: each is kept whole wherever it
    stands. Its rows of the embeddings and of the output head begin as the mean of those of the
    pieces that it was cut into before, and are trained beside the adapters; no other row is."""
    start: Literal["pretrained", "random"] = "pretrained"
    """What the weights are before the first step: the base model's ("pretrained"), or drawn anew
    from the seed as transformers initialises them ("random"), which keeps only the base model's
    architecture and tokenizer. Random weights are all trained, and all saved."""
    teacher: str = ""
    """Who is learnt from: `base:NAME` or `model:NAME`; its tokens must be those of the base."""
    teacher_share: float = Field(default=0.5, ge=0, le=1)
    """How much the teacher counts; the rest is the answers themselves."""
    temperature: float = Field(default=2.0, gt=0)
    """Above 1 what the teacher holds less likely counts for more. With "grpo", whose default is
    1.0, the temperature at which answers are drawn."""
    rewards: tuple[Reward, ...] = ()
    """What answers are rewarded for, e.g. [{ name = "exact" }]: "exact", "pattern" with a regular
    expression, "json" with keys, "length" with max_chars; each may have a weight."""
    group_size: int = Field(default=8, ge=2)
    """Answers that are drawn to each question, and compared with one another."""
    max_new_tokens: int = Field(default=64, ge=1)
    """The most tokens of an answer; what is longer is cut off, and rewarded as it is then."""
    kl_weight: float = Field(default=0.04, ge=0)
    """How much it costs to answer otherwise than the base model; 0 saves a pass of that."""
    clip: float = Field(default=0.2, gt=0, lt=1)
    """By how much a token may become likelier, or less likely, from one draw of answers; what is
    beyond teaches nothing. It bears on the second update and later ones."""
    updates: int = Field(default=1, ge=1)
    """Steps of the optimiser for each draw of answers."""
    beta: float = Field(default=0.1, gt=0)
    """What the preference weighs. With "dpo", "ipo" and "kto" a larger one keeps the model nearer
    to what it was; with "orpo" it is the weight beside the loss of the better answer's tokens; with
    "simpo", whose default is 2.0, how many points a nat of a token is."""
    margin: float = Field(default=1.0, ge=0)
    """By how much, in beta times nats of a token, the better answer is to lead with "simpo"."""
    desirable_weight: float = Field(default=1.0, gt=0)
    """Weight of the rows that were liked, with "kto"."""
    undesirable_weight: float = Field(default=1.0, gt=0)
    """Weight of the rows that were not, with "kto"."""
    rank: int = Field(default=16, ge=1, le=1024)
    """Rank of the adapters: more can be learnt, and forgotten, with more."""
    alpha: float = Field(default=8.0, gt=0)
    """Strength of the adapters; they are scaled by alpha / sqrt(rank), so that another rank needs
    no other learning rate."""
    scale: float = Field(default=20.0, gt=0)
    """What cosines of vectors are multiplied by before they compete: the inverse of the
    temperature."""
    dims: tuple[Annotated[int, Field(gt=0)], ...] = ()
    """Vectors are also to be of use when they are cut to so many numbers, e.g. [384, 128, 64]; the
    losses of all lengths that stand here are added. None at all trains the whole vector."""
    learning_rate: float = Field(default=1e-3, gt=0, lt=1)
    """Highest learning rate, reached after the warm-up; with the objectives that learn from
    preferences, feedback or rewards the default is 1e-4."""
    share_of_rows: float = Field(default=1.0, gt=0, le=1)
    """Train on this share of the training rows only. A smaller share is a part of a larger one."""
    epochs: int = Field(default=2, ge=1)
    """How often every row is seen."""
    stop_after: int = Field(default=0, ge=0)
    """End after this many global steps of the same schedule; 0 is all of them. A run that was
    stopped at that step is not repeated."""
    batch_rows: int = Field(default=8, ge=1)
    """Rows of one global step. How they are spread over micro-batches changes only the memory."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps over which the learning rate rises from zero."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls to zero after the warm-up; "constant" does not."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's weight decay, of what is trained only."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients longer than this are shortened to it."""

    def changed(self, **changes: Any) -> ModelConfig:
        """This recipe with `changes`, but for what their method does not read.

        Raises:
            pydantic.ValidationError: the changes do not go together.
        """
        settings = {**self.model_dump(), **changes}
        return ModelConfig.model_validate(_read(settings, {**dict(self), **changes}))

    @model_validator(mode="before")
    @classmethod
    def _take_the_defaults_of_the_objective(cls, given: Any) -> Any:
        """They become values, so that `tunesmith config show` prints what is used."""
        if not isinstance(given, Mapping):
            return given
        objective = given.get("objective")
        own = OWN_DEFAULTS.get(objective, {}) if isinstance(objective, str) else {}
        return {**own, **given}

    @model_validator(mode="after")
    def _refuse_a_part_of_random_weights(self) -> Self:
        """What is not trained is not saved, and would be the base model's again when it is used."""
        if self.start == "random" and self.layers:
            raise ValueError("random weights are trained as a whole: leave layers out, or start")
        return self

    @model_validator(mode="after")
    def _refuse_tokens_that_are_not_said(self) -> Self:
        if self.new_tokens and self.objective not in SAYING:
            raise ValueError(
                f"new tokens cannot be learnt with objective {self.objective!r}: leave new_tokens "
                f"out, or set objective to {' or '.join(map(repr, SAYING))}"
            )
        for token in self.new_tokens:
            if token.split() != [token]:
                raise ValueError(f"a new token has no white space and is not empty, as {token!r}")
        if len(set(self.new_tokens)) < len(self.new_tokens):
            raise ValueError("new_tokens has one token twice")
        return self

    @model_validator(mode="after")
    def _require_a_teacher(self) -> Self:
        kind, _, name = self.teacher.partition(":")
        if self.objective == "distil" and (kind not in ("base", "model") or not name):
            raise ValueError("distillation needs a teacher: base:NAME or model:NAME")
        return self

    @model_validator(mode="after")
    def _require_rewards(self) -> Self:
        if self.objective == "grpo" and not self.rewards:
            raise ValueError("answers are rewarded for something: set rewards")
        return self

    @model_validator(mode="after")
    def _refuse_vectors_without_rivals(self) -> Self:
        """A vector has no head to train, and is told from those of the other rows of its step."""
        if self.objective == "embed" and self.method == "head":
            raise ValueError("vectors have no head: set method to lora or full, or set layers")
        if self.objective == "embed" and self.batch_rows < 2:
            raise ValueError("texts are told from those of other rows: set batch_rows to 2 or more")
        return self

    @model_validator(mode="after")
    def _refuse_what_is_not_read(self) -> Self:
        for key, (decider, values) in READ_BY.items():
            if key in self.model_fields_set and getattr(self, decider) not in values:
                raise ValueError(
                    f"{key} is not read with {decider} {getattr(self, decider)!r}: leave {key} "
                    f"out, or set {decider} to {' or '.join(map(repr, values))}"
                )
        return self

    @model_serializer(mode="wrap")
    def _leave_out_what_is_not_read(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Else a default, written out and read again, would look like a value that was given."""
        return _read(plain(self), dict(self))


def _read(settings: Mapping[str, Any], all_settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `settings` that are read, as `all_settings` decide."""

    def is_read(key: str) -> bool:
        decider, values = READ_BY.get(key, ("", ()))
        return not decider or all_settings[decider] in values

    return {key: value for key, value in settings.items() if is_read(key)}
