"""Dataset and base model -> vectors of its texts."""

from __future__ import annotations

from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.nn.functional import normalize

from tunesmith.core.ref import PARQUET, Blob
from tunesmith.core.step import Context
from tunesmith.lm.encode import text_ids
from tunesmith.lm.example import Example, MicroBatch
from tunesmith.lm.heads import outputs
from tunesmith.lm.load import LoadedHead, is_encoder, load_head
from tunesmith.lm.read import read
from tunesmith.records.data import Dataset
from tunesmith.records.model import BaseModel
from tunesmith.records.value import Vectors
from tunesmith.stages.value.config import EmbedConfig

SMALLEST = 1e-6
"""Spread of a number that is the same in all rows."""


def embed(config: EmbedConfig, ctx: Context, *, dataset: Dataset, base: BaseModel) -> Vectors:  # noqa: ARG001
    """The texts of both sides of `dataset` as vectors of length 1, made by `base` as it came.

    An encoder's own vectors. A model that goes on with texts was not made for that: of it, the mean
    of its last states, each number of which is then set to mean 0 and variance 1 over the training
    rows, since what all texts have in common, in a few large numbers, would hide what they differ
    in.

    Raises:
        DataError: the base model is damaged, or cannot be read here.
    """
    encoder = is_encoder(base, ctx.blobs)
    loaded = load_head(base, ctx.blobs, "embed" if encoder else "reward")
    sides = [
        pq.read_table(ctx.blobs.path(side.rows), columns=["row_id", "text"]).to_pydict()
        for side in (dataset.train, dataset.test)
    ]
    examples, num_cut = _examples(loaded, [text for side in sides for text in side["text"]])
    found = read(
        loaded,
        examples,
        partial(outputs, loaded.model) if encoder else _mean_states,
        lambda done: ctx.progress(done, len(examples), f"embeds texts with {base.name}"),
    )
    whole = torch.cat([torch.empty(0, int(loaded.model.config.hidden_size)), *found])
    num_train = len(sides[0]["row_id"])
    if not encoder:
        spread, mean = torch.std_mean(whole[:num_train], dim=0, correction=0)
        whole = normalize((whole - mean) / spread.clamp_min(SMALLEST), dim=-1)
    train, test = (
        _put(ctx, name, side["row_id"], part)
        for name, side, part in zip(
            ("train", "test"), sides, (whole[:num_train], whole[num_train:]), strict=True
        )
    )
    return Vectors(
        dataset=dataset.name,
        base=base.name,
        is_encoder=encoder,
        dims=whole.shape[1],
        num_train=num_train,
        num_test=len(whole) - num_train,
        num_cut=num_cut,
        train=train,
        test=test,
    )


def _examples(loaded: LoadedHead, texts: list[str]) -> tuple[list[Example], int]:
    """The texts as tokens, and how many had to be cut; what ends an encoder's text stays."""
    most = loaded.context_length
    ids = [text_ids(loaded, text) for text in texts]
    examples = []
    for number, each in enumerate(ids):
        end = each[-1:] if loaded.is_encoder and len(each) > most else ()
        examples.append(Example(row_id=f"text {number}", prompt=each[: most - len(end)] + end))
    return examples, sum(len(each) > most for each in ids)


def _mean_states(states: torch.Tensor, micro: MicroBatch) -> torch.Tensor:
    parts = torch.split_with_sizes(states, micro.documents.lengths)
    return torch.stack([part.mean(dim=0) for part in parts])


def _put(ctx: Context, name: str, row_ids: list[str], vectors: torch.Tensor) -> Blob:
    flat = pa.array(vectors.flatten().numpy(), pa.float32())
    columns = {
        "row_id": pa.array(row_ids, pa.string()),
        "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
    }
    path = ctx.workdir / name
    pq.write_table(pa.table(columns), path, compression="zstd")
    return ctx.blobs.put(path, PARQUET)
