# /// script
# dependencies = ["ollama==0.6.3"]
# ///
"""Ollama's own Python client, at /api."""

import asyncio

import ollama
from harness import LONGEST, MODEL, QUESTION, URL, WEATHER, check, hold, report
from ollama import AsyncClient, Client
from pydantic import BaseModel, Field

HOST = URL.removesuffix("/v1")
client = Client(host=HOST)
messages = [{"role": "user", "content": QUESTION}]
options = {"num_predict": LONGEST, "seed": 1}
tool = {"type": "function", "function": {"name": "weather", "description": "Tells it.", "parameters": WEATHER}}


class City(BaseModel):
    name: str = Field(max_length=20)
    inhabitants: int = Field(ge=0, le=100_000_000)


@check("a chat, with counts and times")
def chat():
    answer = client.chat(model=MODEL, messages=messages, options=options)
    hold(answer.message.content and answer.message.role == "assistant", "no text")
    hold(
        answer.done and answer.eval_count > 0 and answer.prompt_eval_count > 0 and answer.total_duration > 0, "no count"
    )


@check("streamed chat is the unstreamed text, and its last part says how it ended")
def stream():
    whole = client.chat(model=MODEL, messages=messages, options=options).message.content
    parts = list(client.chat(model=MODEL, messages=messages, options=options, stream=True))
    hold("".join(part.message.content for part in parts) == whole, "another text")
    hold([part.done for part in parts] == [False] * (len(parts) - 1) + [True], "the end is not at the end")
    hold(parts[-1].done_reason in ("stop", "length"), f"done reason {parts[-1].done_reason}")


@check("options: a length, stop strings, a seed")
def heeded():
    short = client.chat(model=MODEL, messages=messages, options={"num_predict": 3})
    hold(short.eval_count == 3 and short.done_reason == "length", f"{short.eval_count} tokens")
    stopped = client.chat(model=MODEL, messages=messages, options={**options, "stop": ["e"]})
    hold("e" not in stopped.message.content and stopped.done_reason == "stop", stopped.message.content)
    warm = {**options, "temperature": 1.5, "seed": 7}
    texts = {client.chat(model=MODEL, messages=messages, options=warm).message.content for _ in range(2)}
    hold(len(texts) == 1, "one seed, two texts")


@check("a prompt, with a system message, raw, and streamed")
def generate():
    told = client.generate(model=MODEL, prompt=QUESTION, system="Be brief.", options=options)
    raw = client.generate(model=MODEL, prompt="Once upon a time", raw=True, options=options)
    hold(told.response and raw.response, "no text")
    parts = client.generate(model=MODEL, prompt="Once upon a time", raw=True, options=options, stream=True)
    hold("".join(part.response for part in parts) == raw.response, "another text")


@check("JSON of a pydantic model's schema, and of any")
def schema():
    answer = client.chat(model=MODEL, messages=messages, format=City.model_json_schema(), options={"num_predict": 200})
    City.model_validate_json(answer.message.content)
    free = client.generate(model=MODEL, prompt="A city as JSON.", format="json", options={"num_predict": 1})
    hold(free.response.lstrip().startswith("{"), free.response)


@check("tools are offered, and a call's result is read")
def tools():
    answer = client.chat(model=MODEL, messages=messages, tools=[tool], options=options)
    hold(answer.message.content is not None or answer.message.tool_calls, "neither text nor call")
    call = {"function": {"name": "weather", "arguments": {"city": "Oslo", "unit": "celsius"}}}
    turns = [
        *messages,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_name": "weather", "content": "12 degrees"},
    ]
    hold(client.chat(model=MODEL, messages=turns, tools=[tool], options=options).message.content, "no text behind it")


@check("embeddings of one text and of several")
def embed():
    several = client.embed(model=MODEL, input=["A cat.", "A dog."]).embeddings
    hold(len(several) == 2 and len(several[0]) == len(several[1]) > 100, f"{len(several)} vectors")
    hold(list(client.embeddings(model=MODEL, prompt="A cat.").embedding) == list(several[0]), "another vector")


@check("models: listed, shown, running")
def models():
    listed = [model.model for model in client.list().models]
    hold(MODEL in listed and MODEL in [model.model for model in client.ps().models], f"{listed}")
    shown = client.show(MODEL)
    hold(shown.modelinfo["llama.context_length"] > 0 and "completion" in shown.capabilities, f"{shown.capabilities}")


@check("eight at a time, by the async client")
async def together():
    asynchronous = AsyncClient(host=HOST)
    asked = [asynchronous.chat(model=MODEL, messages=messages, options={"num_predict": 8}) for _ in range(8)]
    hold(all(answer.message.content for answer in await asyncio.gather(*asked)), "an answer is missing")


@check("errors have a status and a sentence, and no model is fetched or deleted")
def errors():
    for status, ask in (
        (404, lambda: client.chat(model="no-such-model", messages=messages)),
        (400, lambda: client.chat(model=MODEL, messages=messages, think=True)),
        (400, lambda: client.chat(model=MODEL, messages=messages, options={"mirostat": 1})),
        (404, lambda: client.pull("no-such-model")),
        (400, lambda: client.delete(MODEL)),
    ):
        try:
            ask()
        except ollama.ResponseError as error:
            hold(error.status_code == status and error.error, f"{error.status_code} instead of {status}: {error.error}")
        else:
            hold(False, f"no error where {status} belongs")


report()
