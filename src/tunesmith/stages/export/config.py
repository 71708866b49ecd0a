"""Settings of an export."""

from __future__ import annotations

from pydantic import Field, model_validator

from tunesmith.core.section import Section
from tunesmith.records.export import Format, Quantisation


class ExportConfig(Section):
    """As what a model version is written, and on how much it is compared."""

    format: Format = "gguf"
    """"adapter": PEFT's folder, to go with the base model. "merged": a folder that transformers
    loads. "gguf": one file for llama.cpp, and a Modelfile for Ollama. "gguf-adapter": the adapter
    alone for llama.cpp. "onnx": one file for ONNX Runtime, and its tokenizer, of an encoder. Models
    that read states (classify, tag, reward, rerank, embed) can be "adapter", "merged" or "onnx"."""
    quantisation: Quantisation = "f32"
    """Of what the matrices of a GGUF file are made; every other format is "f32"."""
    num_prompts: int = Field(default=16, ge=1)
    """Rows of the test split, spread evenly over it, that the export is compared on."""

    @model_validator(mode="after")
    def _quantised_is_gguf(self) -> ExportConfig:
        if self.quantisation != "f32" and self.format != "gguf":
            raise ValueError(f'only format "gguf" can be quantised, not "{self.format}"')
        return self
