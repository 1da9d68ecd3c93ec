# /// script
# dependencies = ["openai==3.57.0"]
# ///
"""OpenAI's own Python client."""

import asyncio

import openai
from harness import KEY, LONGEST, MODEL, QUESTION, URL, WEATHER, check, hold, report
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel, Field

client = OpenAI(base_url=URL, api_key=KEY, max_retries=0)
messages = [{"role": "user", "content": QUESTION}]
tool = {"type": "function", "function": {"name": "weather", "parameters": WEATHER, "strict": True}}


class City(BaseModel):
    name: str = Field(max_length=20)
    inhabitants: int = Field(ge=0, le=100_000_000)


@check("chat completion with usage")
def chat():
    answer = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=LONGEST)
    hold(answer.choices[0].message.content, "no text")
    hold(
        answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens,
        "usage does not add up",
    )


@check("streamed chat is the unstreamed text, with usage at the end")
def stream():
    asked = {"model": MODEL, "messages": messages, "max_tokens": LONGEST, "temperature": 0.7, "seed": 7}
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    hold(text == whole.choices[0].message.content, "the streamed text is another one")
    hold(chunks[-1].usage.completion_tokens == whole.usage.completion_tokens, "usage differs")


@check("the stream helper's events and final completion")
def stream_helper():
    with client.chat.completions.stream(model=MODEL, messages=messages, stop=["\n"]) as events:
        kinds = {event.type for event in events}
        final = events.get_final_completion()
    hold("content.delta" in kinds and "content.done" in kinds, f"events {sorted(kinds)}")
    hold(final.choices[0].message.content, "no text")


@check("n choices, stop strings, log probabilities")
def choices():
    answer = client.chat.completions.create(
        model=MODEL, messages=messages, max_tokens=16, n=3, logprobs=True, top_logprobs=3, stop=["\n\n"]
    )
    hold([choice.index for choice in answer.choices] == [0, 1, 2], "three choices were asked for")
    hold(all(len(t.top_logprobs) == 3 for t in answer.choices[0].logprobs.content), "three alternatives each")


@check("a forced tool call, its result, and the answer")
def tools():
    forced = {"type": "function", "function": {"name": "weather"}}
    first = client.chat.completions.create(model=MODEL, messages=messages, tools=[tool], tool_choice=forced)
    (call,) = first.choices[0].message.tool_calls
    hold(call.function.name == "weather" and '"city"' in call.function.arguments, "no call of the tool")
    result = {"role": "tool", "tool_call_id": call.id, "content": "12 degrees"}
    history = [*messages, first.choices[0].message, result]
    second = client.chat.completions.create(
        model=MODEL, messages=history, tools=[tool], tool_choice="none", max_tokens=LONGEST
    )
    hold(second.choices[0].message.content, "no text behind the result")


@check("parse into a pydantic model")
def parse():
    answer = client.chat.completions.parse(model=MODEL, messages=messages, response_format=City)
    hold(isinstance(answer.choices[0].message.parsed, City), "not parsed")


@check("responses: text, streamed events, a parsed one")
def responses():
    answer = client.responses.create(model=MODEL, input=QUESTION, max_output_tokens=LONGEST)
    hold(answer.output_text, "no text")
    events = list(client.responses.create(model=MODEL, input=QUESTION, max_output_tokens=LONGEST, stream=True))
    hold(
        events[0].type == "response.created" and events[-1].type in ("response.completed", "response.incomplete"),
        "ends",
    )
    parsed = client.responses.parse(model=MODEL, input=QUESTION, text_format=City)
    hold(isinstance(parsed.output_parsed, City), "not parsed")


@check("responses: a forced function call and its output")
def response_tools():
    function = {"type": "function", "name": "weather", "parameters": WEATHER, "strict": True}
    first = client.responses.create(model=MODEL, input=QUESTION, tools=[function], tool_choice="required")
    (call,) = [item for item in first.output if item.type == "function_call"]
    back = [{"role": "user", "content": QUESTION}, call.model_dump(exclude_none=True)]
    back.append({"type": "function_call_output", "call_id": call.call_id, "output": "12 degrees"})
    second = client.responses.create(
        model=MODEL, input=back, tools=[function], tool_choice="none", max_output_tokens=LONGEST
    )
    hold(second.output_text, "no text behind the output")


@check("completions with echo and log probabilities")
def completions():
    answer = client.completions.create(model=MODEL, prompt="The sky is", max_tokens=8, echo=True, logprobs=2)
    hold(answer.choices[0].text.startswith("The sky is"), "no echo")
    hold(answer.choices[0].logprobs.token_logprobs[0] is None, "the first token has no probability")


@check("models: list and retrieve")
def models():
    ids = [model.id for model in client.models.list()]
    hold(MODEL in ids and client.models.retrieve(MODEL).id == MODEL, f"{MODEL} is not among {ids}")


@check("errors are those of the client's own classes")
def errors():
    for expected, body in (
        (openai.NotFoundError, {"model": "no-such-model", "messages": messages}),
        (openai.BadRequestError, {"model": MODEL, "messages": []}),
        (openai.BadRequestError, {"model": MODEL, "messages": messages, "temperature": 9}),
        (openai.BadRequestError, {"model": MODEL, "messages": [{"role": "user", "content": "word " * 20_000}]}),
    ):
        try:
            client.chat.completions.create(**body)
        except expected as error:
            hold(error.body["message"], "no sentence")
        else:
            hold(False, f"no {expected.__name__}")


@check("the request id is in raw responses")
def raw():
    answer = client.chat.completions.with_raw_response.create(model=MODEL, messages=messages, max_tokens=4)
    hold(answer.headers.get("x-request-id") and answer.parse().choices, "no x-request-id")


@check("eight at a time, and a stream that is left early")
async def together():
    many = AsyncOpenAI(base_url=URL, api_key=KEY, max_retries=0)
    left = await many.chat.completions.create(model=MODEL, messages=messages, max_tokens=2000, stream=True)
    await left.__anext__()
    await left.close()
    asked = [
        many.chat.completions.create(model=MODEL, messages=messages, max_tokens=12, seed=seed, temperature=1)
        for seed in range(8)
    ]
    hold(all(answer.choices for answer in await asyncio.gather(*asked)), "an answer is missing")
    await many.close()


report()
