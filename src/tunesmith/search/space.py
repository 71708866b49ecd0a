"""What is searched: the recipes around a model's own, and the shares of rows they are tried on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, inf
from typing import TYPE_CHECKING, Any

import pydantic

from tunesmith.rivals import LARGEST_SHARE, RATES, pilot_share, rate_of
from tunesmith.stages.finetune.config import ModelConfig

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

REDUCTION = 3
"""Of the recipes on a rung one in so many goes on, to so many times its rows."""
SPAN = 10.0
"""The learning rate is at most so many times, and at least this part of, what is common for its
method: the model's own, or `rivals.RATES`."""
FACTOR = "learning_rate"
Params = Mapping[str, Any]
"""What Optuna knows of a trial: its method, the factor of its learning rate, and of each other dial
that the method reads the place of its value among the choices."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """The recipes that may be proposed.

    `alpha` is no dial: under Adam a stronger adapter is a higher learning rate by another name.
    """

    own: ModelConfig
    methods: tuple[str, ...]
    choices: Mapping[str, tuple[int, ...]]
    """Of each dial beside the method and the learning rate, in order."""

    def read_with(self, method: str) -> list[str]:
        """The dials that `method` reads, beside the learning rate."""
        settings = self.own.changed(method=method).model_dump()
        return [dial for dial in self.choices if dial in settings]

    def own_params(self) -> Params:
        """The model's own recipe."""
        own = self.own
        places = {
            dial: self.choices[dial].index(getattr(own, dial))
            for dial in self.read_with(own.method)
        }
        return {"method": own.method, FACTOR: 1.0, **places}

    def suggested(self, trial: BaseTrial) -> Params:
        """A recipe, from what Optuna suggests for each dial that its method reads."""
        method = trial.suggest_categorical("method", self.methods)
        params = {
            "method": method,
            FACTOR: trial.suggest_float(FACTOR, 1 / SPAN, SPAN, log=True),
        }
        for dial in self.read_with(str(method)):
            params[dial] = trial.suggest_int(dial, 0, len(self.choices[dial]) - 1)
        return params

    def settings(self, params: Params) -> dict[str, Any]:
        """What a recipe sets; the learning rate has two digits, so that it can be typed."""
        method, factor = params["method"], params[FACTOR]
        rate = rate_of(self.own, method)
        if factor != 1:
            rate = min(0.9, float(f"{rate * factor:.2g}"))
        places = {key: place for key, place in params.items() if key in self.choices}
        values = {dial: self.choices[dial][place] for dial, place in places.items()}
        return {"method": method, "learning_rate": rate, **values}


def space_of(own: ModelConfig, num_layers: int) -> Space:
    """The recipes around a model's `own`, without those that its other settings refuse.

    Epochs are at most its own: a few rows want to be seen more often than many.
    """

    def allowed(**changes: Any) -> bool:
        try:
            return own.changed(**changes).start == own.start
        except pydantic.ValidationError:
            return False

    methods = tuple(m for m in dict.fromkeys([own.method, *RATES]) if allowed(method=m))
    thirds = {ceil(num_layers / 3), ceil(2 * num_layers / 3)} - {num_layers}
    layers = (
        count
        for count in {*thirds, 0, own.layers}
        if all(allowed(method=method, layers=count) for method in methods)
    )
    ranks = {min(1024, max(1, own.rank * times // 4)) for times in (1, 2, 4, 8, 16)}
    rows = {max(1, own.batch_rows // 2), own.batch_rows, own.batch_rows * 2}
    return Space(
        own=own,
        methods=methods,
        choices={
            "layers": tuple(sorted(layers, key=lambda count: count or inf)),
            "rank": tuple(sorted(ranks)),
            "epochs": tuple(range(1, own.epochs + 1)),
            "batch_rows": tuple(sorted(rows)),
        },
    )


def shares_of(own: ModelConfig, num_rows: int) -> tuple[float, ...]:
    """The rungs: shares of the training rows, each `REDUCTION` times the one before.

    The rows of a smaller share are among those of a larger one.
    """
    share = pilot_share(own, num_rows)
    shares = [share]
    while (share := REDUCTION * share) <= min(LARGEST_SHARE, own.share_of_rows):
        shares.append(float(f"{share:.6g}"))
    return tuple(shares)
