# /// script
# dependencies = ["litellm==1.110.2"]
# ///
"""litellm, as a provider of OpenAI's kind, of vLLM's and of Anthropic's."""

import litellm
from harness import KEY, LONGEST, MODEL, QUESTION, URL, WEATHER, check, hold, report
from pydantic import BaseModel, Field

messages = [{"role": "user", "content": QUESTION}]
openai = {"model": f"openai/{MODEL}", "api_base": URL, "api_key": KEY, "messages": messages, "max_tokens": LONGEST}


class City(BaseModel):
    name: str = Field(max_length=20)
    inhabitants: int = Field(ge=0, le=100_000_000)


@check("completion")
def completion():
    hold(litellm.completion(**openai).choices[0].message.content, "no text")


@check("stream, put together again, with usage")
def stream():
    chunks = list(litellm.completion(**openai, stream=True, stream_options={"include_usage": True}))
    whole = litellm.stream_chunk_builder(chunks, messages=messages)
    hold(whole.choices[0].message.content and whole.usage.completion_tokens > 0, "no text or no usage")


@check("async")
async def asynchronous():
    hold((await litellm.acompletion(**openai)).choices[0].message.content, "no text")


@check("a forced tool")
def tools():
    tool = {"type": "function", "function": {"name": "weather", "parameters": WEATHER}}
    answer = litellm.completion(**openai, tools=[tool], tool_choice="required")
    hold(answer.choices[0].message.tool_calls[0].function.name == "weather", "no call")


@check("response format of a pydantic model")
def response_format():
    text = litellm.completion(**{**openai, "max_tokens": 200}, response_format=City).choices[0].message.content
    City.model_validate_json(text)


@check("as vLLM's")
def vllm():
    hold(litellm.completion(**{**openai, "model": f"hosted_vllm/{MODEL}"}).choices[0].message.content, "no text")


@check("as Anthropic's")
def anthropic():
    asked = {**openai, "model": f"anthropic/{MODEL}", "api_base": URL.removesuffix("/v1")}
    hold(litellm.completion(**asked).choices[0].message.content, "no text")


@check("responses")
def responses():
    answer = litellm.responses(model=f"openai/{MODEL}", api_base=URL, api_key=KEY, input=QUESTION, max_output_tokens=32)
    hold(answer.output[0].content[0].text, "no text")


@check("a full context is litellm's own error")
def context():
    try:
        litellm.completion(**{**openai, "messages": [{"role": "user", "content": "word " * 20_000}]})
    except litellm.ContextWindowExceededError:
        return
    hold(False, "no ContextWindowExceededError")


report()
