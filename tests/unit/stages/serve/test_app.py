"""The service as its users meet it: a real server, the real OpenAI client."""

import io
import threading

import httpx
import openai
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunesmith.core.errors import UsageError
from tunesmith.lm.chat_template import conversation, prompt_ids
from tunesmith.lm.echo import EchoEngine
from tunesmith.lm.load import load_tokenizer
from tunesmith.records.data import DataAsset
from tunesmith.records.index import Answer, Citation
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.run import curate
from tunesmith.stages.serve.app import Served, create_app
from tunesmith.stages.serve.config import ServiceConfig


def test_models(start):
    client = start().client
    assert [model.id for model in client.models.list()] == ["desk@3"]
    assert client.models.retrieve("desk@3").owned_by == "tunesmith"
    with pytest.raises(openai.NotFoundError) as error:
        client.models.retrieve("other")
    assert error.value.code == "model_not_found"


def test_chat(start, engines):
    engine = engines.RememberingEngine()
    service = start(engine)
    answer = service.client.chat.completions.create(
        model="desk@3",
        messages=[{"role": "user", "content": "grant of licence"}],
        max_tokens=2,
        temperature=0.5,
        top_p=0.9,
        seed=7,
        stop=["x"],
    )
    assert answer.choices[0].message.content == "grant of"
    assert answer.choices[0].finish_reason == "length"
    assert answer.object == "chat.completion"
    assert answer.model == "desk@3"
    # The instruction (3 words) came first, since the client sent no system message.
    assert [m.content for m in engine.messages] == ["Name the licence.", "grant of licence"]
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (6, 2)
    assert answer.usage.total_tokens == 8
    sampling = engine.sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.top_p) == (2, 0.5, 0.9)
    assert (sampling.seed, sampling.stop) == (7, ("x",))
    (trace,) = service.traces
    assert (trace.service, trace.model, trace.traffic) == ("desk", "desk@3", "served")
    assert (trace.text, trace.answer) == ("grant of licence", "grant of")
    assert (trace.num_prompt_tokens, trace.num_answer_tokens) == (6, 2)
    assert trace.finish_reason == "length"


def test_content_parts_and_a_system_message_of_the_client(start, engines):
    engine = engines.RememberingEngine()
    answer = start(engine).client.chat.completions.create(
        model="desk@3",
        messages=[
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}],
            },
        ],
        n=1,
        user="somebody",
        response_format={"type": "text"},
    )
    assert answer.choices[0].message.content == "one two"
    assert [m.content for m in engine.messages] == ["Be brief.", "one two"]
    assert engine.messages[0].role == "system"


RAW = b"\tPermission  is\xc2\xa0granted\r\n\r\n\r\n\r\n  free\xe2\x80\x8b of charge \r\n"


def test_the_engine_sees_the_ids_of_the_training_row(start, engines, tiny):
    """The same raw bytes as a document that a dataset is cut from, and as a request."""
    documents = [RAW.decode(), "Copy it as often as you like.", "Sell nothing.", "Give it away."]
    table = pa.table(
        {
            "row_id": [f"{number:032}" for number in range(4)],
            "pointer": ["here"] * 4,
            "text": documents,
            "label": ["mit", "mit", "gpl", "gpl"],
            "attributes": ["{}"] * 4,
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink)
    asset = DataAsset(
        name="notices",
        rows=tiny.blobs.put(sink.getvalue()),
        quarantine=tiny.blobs.put(b""),
        num_in=4,
        num_rows=4,
        num_quarantined=0,
        num_filtered=0,
        quarantined_by_rule={},
        licence="",
        owner="",
        purpose="",
        origin="",
    )
    config = DatasetConfig(
        name="d",
        sources=("notices",),
        base="tiny",
        instruction="Name the licence.",
        labels=("gpl", "mit"),
        min_chars=1,
        test_per_label=1,
    )
    dataset = curate(config, tiny.context(), assets=(asset,), base=tiny.base)
    texts = {
        row["row_id"]: row["text"]
        for split in (dataset.train, dataset.test)
        for row in pq.read_table(tiny.blobs.path(split.rows)).to_pylist()
    }
    document = texts[f"{0:032}"]
    tokenizer = load_tokenizer(tiny.base, tiny.blobs)
    row = conversation(tokenizer, dataset.instruction, document, "mit")
    engine = engines.RememberingEngine()
    service = start(engine)
    ask = {"model": "desk@3", "messages": [{"role": "user", "content": RAW.decode()}]}

    service.http.post("/v1/chat/completions", json=ask).raise_for_status()

    assert prompt_ids(tokenizer, engine.messages) == list(row.ids[: row.num_prompt])
    assert service.traces[0].text == document != RAW.decode()


def test_under_a_system_message_of_its_own_a_text_stays_as_it_came(start, engines):
    engine = engines.RememberingEngine()
    own = [{"role": "system", "content": "Say  it."}, {"role": "user", "content": RAW.decode()}]

    start(engine).http.post("/v1/chat/completions", json={"model": "desk@3", "messages": own})

    assert [message.content for message in engine.messages] == ["Say  it.", RAW.decode()]


def test_stream_with_usage(start):
    service = start()
    stream = service.client.chat.completions.create(
        model="desk@3",
        messages=[{"role": "user", "content": "a b c"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    deltas = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert deltas[0].delta.role == "assistant"
    assert [d.delta.content for d in deltas[1:-1]] == ["a", " b", " c"]
    assert [d.finish_reason for d in deltas] == [None] * 4 + ["stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 3 + 3 + 3
    assert len({chunk.id for chunk in chunks}) == 1
    assert service.traces[0].answer == "a b c"
    assert service.traces[0].finish_reason == "stop"


def test_stream_without_usage_ends_with_done(start):
    service = start()
    body = {"model": "desk@3", "messages": [{"role": "user", "content": "a"}], "stream": True}
    response = service.http.post("/v1/chat/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.endswith("data: [DONE]\n\n")
    assert "usage" not in response.text


@pytest.mark.parametrize("stream", [False, True])
def test_unknown_model(start, stream):
    with pytest.raises(openai.NotFoundError) as error:
        start().client.chat.completions.create(
            model="gpt", messages=[{"role": "user", "content": "a"}], stream=stream
        )
    assert error.value.code == "model_not_found"
    assert error.value.request_id.startswith("req_")


@pytest.mark.parametrize(
    ("settings", "param"),
    [
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logprobs": True}, "logprobs"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"temperature": 3}, "temperature"),
        ({"seed": 2**70}, "seed"),
        ({"seed": -(2**63) - 1}, "seed"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 9999}, "max_completion_tokens"),
        ({"extra_body": {"temprature": 1}}, "temprature"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "messages"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
def test_what_is_not_supported_is_refused(start, settings, param):
    request = {"model": "desk@3", "messages": [{"role": "user", "content": "a"}], **settings}
    with pytest.raises(openai.BadRequestError) as error:
        start().client.chat.completions.create(**request)
    assert error.value.param == param
    assert error.value.type == "invalid_request_error"


def test_content_that_is_not_text_is_refused(start):
    image = {"type": "image_url", "image_url": {"url": "http://localhost/a.png"}}
    with pytest.raises(openai.BadRequestError):
        start().client.chat.completions.create(
            model="desk@3", messages=[{"role": "user", "content": [image]}]
        )


class _Failing:
    def __init__(self, error, words=0):
        self.error, self.words = error, words

    def generate(self, messages, sampling):
        yield from list(EchoEngine().generate(messages, sampling))[: self.words]
        raise self.error


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_does_not_fit(start, stream):
    client = start(_Failing(UsageError("the prompt does not fit"))).client
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(
            model="desk@3", messages=[{"role": "user", "content": "a"}], stream=stream
        )
    assert error.value.code == "context_length_exceeded"


@pytest.mark.parametrize("stream", [False, True])
def test_a_fault_of_ours_says_nothing_of_the_inside(start, stream):
    client = start(_Failing(RuntimeError("secret path"))).client
    with pytest.raises(openai.InternalServerError) as error:
        client.chat.completions.create(
            model="desk@3", messages=[{"role": "user", "content": "a"}], stream=stream
        )
    assert "secret" not in str(error.value)
    assert error.value.type == "api_error"


def test_a_fault_in_the_middle_of_a_stream_is_an_error_event(start):
    service = start(_Failing(RuntimeError("secret path"), words=2))
    stream = service.client.chat.completions.create(
        model="desk@3", messages=[{"role": "user", "content": "a b c"}], stream=True
    )
    with pytest.raises(openai.APIError, match="failed"):
        list(stream)
    (trace,) = service.wait_for_traces(1)
    assert (trace.answer, trace.finish_reason) == ("a b", "failed")


def test_a_full_line_is_told_to_come_back(start, engines):
    engine = engines.SlowEngine()
    service = start(engine, max_waiting=0)
    ask = {"model": "desk@3", "messages": [{"role": "user", "content": "a"}]}
    with service.client.chat.completions.create(**ask, stream=True) as stream:
        next(iter(stream))
        with pytest.raises(openai.RateLimitError) as error:
            service.client.chat.completions.create(**ask)
        assert error.value.response.headers["retry-after"] == "1"
        assert error.value.code == "rate_limit_exceeded"
        engine.gate.set()
        *_, last = stream
    assert last.choices[0].finish_reason == "stop"
    # Whoever has been answered can ask again at once.
    for _ in range(20):
        assert service.client.chat.completions.create(**ask).choices


def test_one_at_a_time(start, engines):
    engine = engines.SlowEngine()
    service = start(engine, max_waiting=1)
    reasons = []

    def create():
        answer = service.client.chat.completions.create(
            model="desk@3", messages=[{"role": "user", "content": "a"}]
        )
        reasons.append(answer.choices[0].finish_reason)

    threads = [threading.Thread(target=create) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert engine.entered.acquire(timeout=60)
    assert not engine.entered.acquire(timeout=0.3)
    engine.gate.set()
    for thread in threads:
        thread.join(timeout=60)
    assert reasons == ["stop", "stop"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_the_engine(start, engines, stream):
    engine = engines.SlowEngine()
    service = start(engine, max_waiting=0)
    body = {
        "model": "desk@3",
        "messages": [{"role": "user", "content": "long story"}],
        "stream": stream,
    }
    if stream:
        with service.http.stream("POST", "/v1/chat/completions", json=body) as response:
            next(response.iter_text())
    else:
        with pytest.raises(httpx.ReadTimeout):
            service.http.post("/v1/chat/completions", json=body, timeout=0.3)
    assert engine.left.acquire(timeout=60)
    (trace,) = service.wait_for_traces(1)
    assert trace.text == "long story"
    assert trace.answer.startswith("word ")
    assert trace.finish_reason == "left"
    # And the next one is answered.
    engine.gate.set()
    answer = service.client.chat.completions.create(
        model="desk@3", messages=[{"role": "user", "content": "a"}]
    )
    assert answer.choices[0].message.content == "end"


def test_a_trace_that_cannot_be_written_takes_no_answer_away(start):
    def broken(trace):
        raise OSError("disk full")

    answer = start(record_trace=broken).client.chat.completions.create(
        model="desk@3", messages=[{"role": "user", "content": "a"}]
    )
    assert answer.choices[0].message.content == "a"


def test_ask(start):
    citation = Citation(document="mit", title="MIT", start=3, end=7, quote="text", sha256="0" * 64)

    def ask(question):
        return Answer(
            question=question,
            answered=True,
            score=0.9,
            threshold=0.5,
            citations=(citation,),
            index="licences",
        )

    service = start(ask=ask)
    answer = service.http.post("/v1/ask", json={"question": "May I?"}).json()
    assert answer["answered"] is True
    assert answer["citations"][0]["link"] == "mit#3-7"
    assert answer["citations"][0]["quote"] == "text"
    (trace,) = service.traces
    assert (trace.traffic, trace.text, trace.answer) == ("asked", "May I?", "text")
    assert service.http.post("/v1/ask", json={"question": ""}).status_code == 400


def test_ask_without_an_index(start):
    response = start().http.post("/v1/ask", json={"question": "May I?"})
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "no_index"


def test_every_route_is_known():
    app = create_app(
        [Served(model_id="m", engine=EchoEngine(), instruction="")],
        config=ServiceConfig(models=("m",)),
        record_trace=lambda _: None,
        ask=None,
    )
    assert {(route.path, *sorted(route.methods)) for route in app.routes} == {
        ("/healthz", "GET"),
        ("/v1/models", "GET"),
        ("/v1/models/{model_id:path}", "GET"),
        ("/v1/chat/completions", "POST"),
        ("/v1/ask", "POST"),
    }
