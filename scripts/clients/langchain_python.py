# /// script
# dependencies = ["langchain-openai==1.7.4"]
# ///
"""LangChain's ChatOpenAI."""

from harness import KEY, LONGEST, MODEL, QUESTION, URL, check, hold, report
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI
from pydantic import BaseModel, Field

chat = ChatOpenAI(base_url=URL, api_key=KEY, model=MODEL, max_tokens=LONGEST, max_retries=0)


class City(BaseModel):
    """A city."""

    name: str = Field(max_length=20)
    inhabitants: int = Field(ge=0, le=100_000_000)


@tool
def weather(city: str) -> str:
    """Tells the weather of a city."""
    return f"12 degrees in {city}"


@check("invoke, with usage")
def invoke():
    answer = chat.invoke(QUESTION)
    hold(answer.content and answer.usage_metadata["output_tokens"] > 0, "no text or no usage")


@check("stream, with usage in the sum of its chunks")
def stream():
    chunks = list(chat.stream(QUESTION, stream_usage=True))
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    hold(len(chunks) > 3 and total.content and total.usage_metadata, f"{len(chunks)} chunks")


@check("batch and its async kin")
async def batch():
    hold(all(answer.content for answer in chat.batch([QUESTION, "Say hello."])), "an answer is missing")
    hold((await chat.ainvoke(QUESTION)).content, "no text")


@check("a bound tool that is forced, and the answer behind its result")
def tools():
    forced = chat.bind_tools([weather], tool_choice="weather")
    first = forced.invoke(QUESTION)
    (call,) = first.tool_calls
    result = ToolMessage(content=weather.invoke(call["args"]), tool_call_id=call["id"])
    second = chat.invoke([HumanMessage(QUESTION), first, result])
    hold(call["name"] == "weather" and second.content is not None, "no call")


@check("structured output by schema")
def by_schema():
    hold(isinstance(chat.with_structured_output(City, method="json_schema").invoke(QUESTION), City), "no City")


@check("structured output by function call")
def by_call():
    hold(isinstance(chat.with_structured_output(City, method="function_calling").invoke(QUESTION), City), "no City")


@check("through the responses interface")
def responses():
    other = ChatOpenAI(
        base_url=URL, api_key=KEY, model=MODEL, use_responses_api=True, max_retries=0, max_tokens=LONGEST
    )
    hold(other.invoke(QUESTION).text, "no text")


@check("completions")
def completions():
    hold(OpenAI(base_url=URL, api_key=KEY, model=MODEL, max_tokens=12, max_retries=0).invoke("The sky is"), "no text")


report()
