"""Vectors of a dataset's texts against transformers, one text at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from sklearn.preprocessing import StandardScaler

from tunesmith.core.ref import Blob
from tunesmith.records.model import BaseModel
from tunesmith.stages.value.config import EmbedConfig
from tunesmith.stages.value.embed import embed

TRAIN = [
    ("Permission is hereby granted, free of charge, to any person.", "mit"),
    ("This program is free software under the GNU General Public License.", "gpl"),
    ("any person obtaining a copy of software " * 30, "mit"),  # over both contexts
]
TEST = [("Licensed under the Apache License", "mit")]


def stock(folder: Path) -> Any:
    """The mean of the last states of each text, (num_texts, dims); longer ones are truncated."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder)
    most = model.config.max_position_embeddings
    found = []
    for text, _ in [*TRAIN, *TEST]:
        ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=most).input_ids
        with torch.inference_mode():
            found.append(model(ids).last_hidden_state[0].mean(dim=0).numpy())
    return np.stack(found)


def unit(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def stored(tiny: Any, blob: Blob) -> tuple[list[str], Any]:
    table = pq.read_table(tiny.blobs.path(blob))
    return table["row_id"].to_pylist(), np.array(table["vector"].to_pylist())


def made(tiny: Any, base: BaseModel) -> tuple[Any, Any]:
    dataset = tiny.dataset(TRAIN, TEST)
    vectors = embed(EmbedConfig(), tiny.context(), dataset=dataset, base=base)
    train, test = stored(tiny, vectors.train), stored(tiny, vectors.test)
    assert (train[0], test[0]) == (["row000", "row001", "row002"], ["test000"])
    assert (vectors.num_train, vectors.num_test) == (3, 1)
    return vectors, np.concatenate([train[1], test[1]])


def test_an_encoders_are_the_means_of_its_states(readers: Any) -> None:
    base = readers.encoder("bert")
    vectors, found = made(readers.tiny, base)

    np.testing.assert_allclose(found, unit(stock(readers.folder / "bert")), atol=1e-5)
    assert (vectors.is_encoder, vectors.dims, vectors.num_cut) == (True, 32, 1)


def test_of_a_decoder_what_all_rows_have_in_common_is_taken_off(tiny: Any) -> None:
    vectors, found = made(tiny, tiny.base)

    states = stock(tiny.folder)
    expected = StandardScaler().fit(states[:3]).transform(states)
    np.testing.assert_allclose(found, unit(expected), atol=1e-3)
    assert (vectors.is_encoder, vectors.dims, vectors.num_cut) == (False, 64, 1)


def test_how_far_it_is_is_told(tiny: Any) -> None:
    told: list[tuple[float, float]] = []
    ctx = tiny.context(progress=lambda done, total, _note: told.append((done, total)))
    embed(EmbedConfig(), ctx, dataset=tiny.dataset(TRAIN, TEST), base=tiny.base)
    assert told[-1] == (4, 4)


def test_no_text_is_kept(tiny: Any) -> None:
    vectors, _ = made(tiny, tiny.base)
    for blob in (vectors.train, vectors.test):
        assert pq.read_schema(tiny.blobs.path(blob)).names == ["row_id", "vector"]


def test_one_training_row_has_no_spread(tiny: Any) -> None:
    dataset = tiny.dataset(TRAIN[:1], TEST)
    vectors = embed(EmbedConfig(), tiny.context(), dataset=dataset, base=tiny.base)
    for blob in (vectors.train, vectors.test):
        assert np.isfinite(stored(tiny, blob)[1]).all()


@pytest.mark.parametrize("num_test", [0, 1])
def test_a_side_may_be_empty(tiny: Any, num_test: int) -> None:
    dataset = tiny.dataset(TRAIN, TEST[:num_test])
    vectors = embed(EmbedConfig(), tiny.context(), dataset=dataset, base=tiny.base)
    assert (vectors.num_train, vectors.num_test) == (3, num_test)
