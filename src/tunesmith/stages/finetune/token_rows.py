"""The rows of new tokens, trained beside adapters, in the embeddings and the output head.

All other rows are frozen: the matrix that was loaded is never written to, and what is trained are
copies of a few of its rows, which stand in their place. PEFT does the same and calls it
`trainable_token_indices`; what is saved is in its format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn.functional import linear

from tunesmith.core.errors import DataError
from tunesmith.lm.example import Example


class TokenRows(torch.nn.Module):
    """Stands where a module with a row for each token stood: an embedding, or the output head."""

    ids: torch.Tensor

    def __init__(self, frozen: Any, ids: torch.Tensor, rows: torch.nn.Parameter) -> None:
        """`ids` (num_new,) ascend; `rows` is (num_new, hidden_size)."""
        super().__init__()
        self.frozen, self.rows = frozen, rows
        self.register_buffer("ids", ids, persistent=False)

    @property
    def weight(self) -> torch.Tensor:
        """The whole matrix, (vocabulary, hidden_size), of which the new rows get a gradient."""
        return self.frozen.weight.index_copy(0, self.ids, self.rows)


class EmbeddingRows(TokenRows):
    """Embeddings of which some rows are trained."""

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(...,) to (..., hidden_size)."""
        place = torch.searchsorted(self.ids, ids).clamp_max(len(self.ids) - 1)
        new = self.rows[place]
        scale = getattr(self.frozen, "embed_scale", None)  # Gemma's are scaled when looked up
        if scale is not None:
            new = new * torch.as_tensor(scale).to(new.dtype)
        return torch.where((self.ids[place] == ids)[..., None], new, self.frozen(ids))


class HeadRows(TokenRows):
    """An output head of which some rows are trained."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(..., hidden_size) to (..., vocabulary)."""
        return linear(states, self.weight)


def train_rows(model: Any, ids: Sequence[int]) -> dict[str, torch.nn.Parameter]:
    """Train the rows `ids` of the embeddings and the head of transformers' `model`, in place.

    The trained rows by the name of the module; a head that is tied to the embeddings has theirs.
    """
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = head.weight is embeddings.weight
    names = {id(module): name for name, module in model.named_modules()}
    places = torch.tensor(sorted(ids))
    rows = _copied(embeddings, places)
    model.set_input_embeddings(EmbeddingRows(embeddings, places, rows))
    trained = {names[id(embeddings)]: rows}
    if not tied:
        rows = trained[names[id(head)]] = _copied(head, places)
    model.set_output_embeddings(HeadRows(head, places, rows))
    return trained


def _copied(module: Any, places: torch.Tensor) -> torch.nn.Parameter:
    return torch.nn.Parameter(module.weight.detach()[places].clone())


def require_used(tokens: Mapping[int, str], rows: Sequence[Example]) -> None:
    """Refuse new tokens, by id, that there is nothing to learn of.

    Raises:
        DataError: one stands in none of the rows.
    """
    missing = dict(tokens)
    for row in rows:
        if not missing:
            return
        for document in row.documents():
            for found in missing.keys() & set(document):
                del missing[found]
    if missing:
        raise DataError(
            f"no training row has the new token {next(iter(missing.values()))!r}",
            remedy="leave it out of new_tokens, or add rows that it stands in",
        )
