"""The service: OpenAI's chat API over an engine, and answers with citations over an index."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from tunesmith.core.errors import UsageError
from tunesmith.core.ref import to_plain
from tunesmith.lm.engine import Engine, Message, Piece
from tunesmith.records.index import Answer
from tunesmith.records.service import Trace
from tunesmith.stages.serve.asked import as_tuned
from tunesmith.stages.serve.config import ServiceConfig
from tunesmith.stages.serve.guard import Guard
from tunesmith.stages.serve.problem import Problem, internal
from tunesmith.stages.serve.tracking.app import AT, UPLOADS
from tunesmith.stages.serve.turns import Finished, Reason, Turn, Turns
from tunesmith.stages.serve.wire import ChatRequest, Completion, event, text

CLIENT_LEFT = 499
"""Status of a response that nobody will read."""

log = logging.getLogger(__name__)


class AskRequest(BaseModel):
    """The body of POST /v1/ask."""

    question: str = Field(min_length=1, max_length=10_000)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Served:
    """A model that answers."""

    model_id: str
    """What clients call it, e.g. "desk@3"."""
    engine: Engine
    """Answers, one request at a time."""
    instruction: str
    """System message that it was tuned with; put in front of conversations that bring none, whose
    texts are then normalised as those of a dataset are."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Service:
    """What the routes need."""

    turns: Turns
    models: Mapping[str, Served]
    """By `model_id`."""
    config: ServiceConfig
    record_trace: Callable[[Trace], None]
    ask: Callable[[str], Answer] | None
    created: int = dataclasses.field(default_factory=lambda: int(time.time()))
    asking: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)
    """An index is read by one at a time."""


def create_app(
    models: Sequence[Served],
    *,
    config: ServiceConfig,
    record_trace: Callable[[Trace], None],
    ask: Callable[[str], Answer] | None,
    tracking: FastAPI | None = None,
) -> FastAPI:
    """The service as an ASGI application.

    Args:
        models: those that requests can name; one answers at a time.
        record_trace: is given every request and what was answered, from another thread.
        ask: answers a question from the index, or None if the service has no index.
        tracking: keeps what other programs track, or None if the service does not.
    """
    turns = Turns(max_waiting=config.max_waiting)
    service = Service(
        turns=turns,
        models={model.model_id: model for model in models},
        config=config,
        record_trace=record_trace,
        ask=ask,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        turns.close()

    # No pages: the usual documentation loads scripts from elsewhere.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(
        Guard, host=config.host, max_body_bytes=config.max_body_bytes, uploads=UPLOADS
    )
    if tracking is not None:
        app.mount(AT, tracking)
    _add_error_handlers(app)
    _add_model_routes(app, service)
    _add_answer_routes(app, service)
    return app


def _add_model_routes(app: FastAPI, service: Service) -> None:
    shown = {
        name: {
            "id": name,
            "object": "model",
            "created": service.created,
            "owned_by": "tunesmith",
        }
        for name in service.models
    }

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        return {"object": "list", "data": list(shown.values())}

    @app.get("/v1/models/{model_id:path}")
    async def retrieve_model(model_id: str) -> dict[str, Any]:
        return shown[_named(service, model_id).model_id]


def _add_answer_routes(app: FastAPI, service: Service) -> None:
    @app.post("/v1/chat/completions")
    async def chat(body: ChatRequest, request: Request) -> Response:
        return await _chat(service, body, request)

    @app.post("/v1/ask")
    async def ask(body: AskRequest) -> dict[str, Any]:
        return await _ask(service, body.question)


async def _chat(service: Service, body: ChatRequest, request: Request) -> Response:
    model = _named(service, body.model)
    limit = service.config.max_tokens_limit
    body.check(max_tokens_limit=limit)
    # In a thread: to repair a long text takes long enough for others to notice.
    messages = await asyncio.to_thread(as_tuned, body.to_messages(), model.instruction)
    turn = service.turns.take(
        model.engine,
        messages,
        body.to_sampling(max_tokens_limit=limit),
        _recorder(service, model.model_id, messages),
    )
    completion = Completion(model.model_id)
    if body.stream:
        include_usage = body.stream_options is not None and body.stream_options.include_usage
        return await _streamed(turn, completion, request, include_usage=include_usage)
    async with _listening(turn, request):
        pieces = [piece async for piece in _explained(turn)]
    if turn.stopped.is_set():
        return Response(status_code=CLIENT_LEFT)
    return JSONResponse(completion.whole(pieces))


async def _streamed(
    turn: Turn, completion: Completion, request: Request, *, include_usage: bool
) -> Response:
    """The answer as it comes; an error before its first piece still has a status of its own."""
    pieces = _explained(turn)
    async with _listening(turn, request):
        first = await anext(pieces, None)

    async def joined() -> AsyncIterator[Piece]:
        if first is not None:
            yield first
        async for piece in pieces:
            yield piece

    async def events() -> AsyncIterator[str]:
        async with _listening(turn, request):
            try:
                async for line in completion.events(joined(), include_usage=include_usage):
                    yield line
            except Problem as problem:  # too late for a status
                yield event(problem.body())

    return StreamingResponse(
        events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


@contextlib.asynccontextmanager
async def _listening(turn: Turn, request: Request) -> AsyncIterator[None]:
    """Stop `turn` when the client leaves, or when this is left by an exception."""

    async def leave() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        turn.stop()

    watch = asyncio.create_task(leave())
    try:
        yield
    except BaseException:
        turn.stop()
        raise
    finally:
        watch.cancel()


async def _explained(turn: Turn) -> AsyncIterator[Piece]:
    """The pieces of `turn`; what the engine raises, as a problem."""
    try:
        async for piece in turn.pieces():
            yield piece
    except UsageError as error:
        raise Problem(400, str(error), code="context_length_exceeded", param="messages") from error
    except Exception as error:
        log.exception("the engine failed")
        raise internal() from error


def _recorder(service: Service, model_id: str, messages: Sequence[Message]) -> Finished:
    asked = [message.content for message in messages if message.role == "user"][-1]

    def finished(pieces: list[Piece], wall_s: float, reason: Reason) -> None:
        service.record_trace(
            Trace(
                service=service.config.name,
                model=model_id,
                source="served",
                traffic="served",
                text=asked,
                answer=text(pieces),
                num_prompt_tokens=pieces[-1].num_prompt_tokens if pieces else 0,
                num_answer_tokens=pieces[-1].num_answer_tokens if pieces else 0,
                finish_reason=reason,
                wall_s=round(wall_s, 4),
            )
        )

    return finished


async def _ask(service: Service, question: str) -> dict[str, Any]:
    """The answer as JSON, a link beside every citation."""
    if service.ask is None:
        raise Problem(404, "this service has no index to answer from", code="no_index")
    start = time.monotonic()
    async with service.asking:
        answer = await asyncio.to_thread(service.ask, question)
    trace = Trace(
        service=service.config.name,
        model="",
        source="served",
        traffic="asked",
        text=question,
        answer="\n".join(citation.quote for citation in answer.citations),
        num_prompt_tokens=0,
        num_answer_tokens=0,
        finish_reason="stop",
        wall_s=round(time.monotonic() - start, 4),
    )
    try:
        await asyncio.to_thread(service.record_trace, trace)
    except Exception:  # what is written down about an answer must not take the answer away
        log.exception("an answer could not be recorded")
    plain = to_plain(answer)
    for citation, shown in zip(answer.citations, plain["citations"], strict=True):
        shown["link"] = citation.link
    return dict(plain)


def _named(service: Service, model_id: str) -> Served:
    if model_id not in service.models:
        raise Problem(
            404,
            f"there is no model {model_id!r} here; this service serves "
            f"{', '.join(map(repr, service.models))}",
            code="model_not_found",
            param="model",
        )
    return service.models[model_id]


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        response = Problem(error.status_code, str(error.detail)).response()
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first: Mapping[str, Any] = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"][1:])
        return Problem(400, f"{param or 'the body'}: {first['msg']}", param=param).response()
