# /// script
# dependencies = ["anthropic==2.14.0"]
# ///
"""Anthropic's own Python client, at /v1/messages."""

import anthropic
from anthropic import Anthropic
from harness import KEY, LONGEST, MODEL, QUESTION, URL, WEATHER, check, hold, report

client = Anthropic(base_url=URL.removesuffix("/v1"), api_key=KEY, max_retries=0)
messages = [{"role": "user", "content": QUESTION}]
tool = {"name": "weather", "description": "Tells the weather.", "input_schema": WEATHER}


@check("a message with usage")
def message():
    answer = client.messages.create(model=MODEL, messages=messages, max_tokens=LONGEST, system="Be brief.")
    hold(answer.content[0].text and answer.usage.input_tokens > 0, "no text")


@check("streamed text is the final message's")
def stream():
    with client.messages.stream(model=MODEL, messages=messages, max_tokens=LONGEST) as events:
        text = "".join(events.text_stream)
        final = events.get_final_message()
    hold(text == final.content[0].text and final.usage.output_tokens > 0, "another text")


@check("a forced tool, its result, and the answer")
def tools():
    choice = {"type": "tool", "name": "weather"}
    first = client.messages.create(model=MODEL, messages=messages, max_tokens=200, tools=[tool], tool_choice=choice)
    (use,) = [block for block in first.content if block.type == "tool_use"]
    hold(first.stop_reason == "tool_use" and use.input["city"] is not None, f"stop reason {first.stop_reason}")
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "12 degrees"}
    history = [*messages, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = client.messages.create(
        model=MODEL, messages=history, max_tokens=LONGEST, tools=[tool], tool_choice={"type": "none"}
    )
    hold(second.content[0].type == "text", "no text behind the result")


@check("stop sequences are told")
def stop():
    answer = client.messages.create(model=MODEL, messages=messages, max_tokens=200, stop_sequences=["e"])
    hold(answer.stop_reason == "stop_sequence" and answer.stop_sequence == "e", f"stop reason {answer.stop_reason}")


@check("counting tokens")
def count():
    counted = client.messages.count_tokens(model=MODEL, messages=messages).input_tokens
    usage = client.messages.create(model=MODEL, messages=messages, max_tokens=1).usage
    # What was read from the cache is no part of the input's tokens.
    read = usage.input_tokens + (usage.cache_read_input_tokens or 0)
    hold(counted == read, f"{counted}, and {read} were read")


@check("errors are those of the client's own classes")
def errors():
    for expected, body in (
        (anthropic.NotFoundError, {"model": "no-such-model", "messages": messages}),
        (anthropic.BadRequestError, {"model": MODEL, "messages": []}),
    ):
        try:
            client.messages.create(**body, max_tokens=4)
        except expected as error:
            hold(error.body["error"]["message"], "no sentence")
        else:
            hold(False, f"no {expected.__name__}")


report()
