"""Settings of serving: the `[service.NAME]` sections of the project file."""

from __future__ import annotations

import ipaddress
from typing import Self

from pydantic import Field, field_validator, model_validator

from tunesmith.core.section import Section


class ServiceConfig(Section):
    """Models behind an OpenAI-compatible endpoint, an index, and runs of other programs."""

    name: str = ""
    """Name of the service: what follows `service.` in the section's heading."""
    models: tuple[str, ...] = ()
    """Names of the models that answer; each request says which. Only a service with `tracking` may
    have none. Adapters of one base model share
    its weights in memory; models tuned with method full or head, or on another base, are loaded
    apart."""
    index: str = ""
    """Name of the index that `/v1/ask` answers from; without it there is no such answer."""
    tracking: bool = False
    """Whether programs that log to MLflow may log here instead, at `/mlflow`: with
    `MLFLOW_TRACKING_URI=http://127.0.0.1:PORT/mlflow`."""
    max_artifact_bytes: int = Field(default=20_000_000_000, ge=1)
    """Longest file that a program may log with `tracking`."""
    host: str = "127.0.0.1"
    """Address to listen on. This machine's own only: there are no keys yet to tell others apart."""
    port: int = Field(default=8377, ge=1, le=65535)
    """Port to listen on."""
    max_tokens_limit: int = Field(default=512, ge=1)
    """Longest answer, in tokens; also what a request that does not say gets."""
    max_body_bytes: int = Field(default=1_000_000, ge=1)
    """Longest request."""
    max_waiting: int = Field(default=8, ge=0)
    """Requests that may wait while the model answers another; further ones get status 429."""

    @field_validator("models")
    @classmethod
    def _each_once(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(models)) < len(models):
            raise ValueError("one model is named twice")
        return models

    @model_validator(mode="after")
    def _serves_something(self) -> Self:
        if not self.models and not self.tracking:
            raise ValueError("name models that answer, or set tracking = true")
        return self

    @field_validator("host")
    @classmethod
    def _only_loopback(cls, host: str) -> str:
        if host != "localhost" and not _is_loopback(host):
            raise ValueError(
                f"{host!r} can be reached by other machines, and there are no keys to tell who may"
                ' ask; use "127.0.0.1", and a proxy that authenticates in front of it if needed'
            )
        return host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
