# /// script
# dependencies = ["openai-agents==0.24.0"]
# ///
"""OpenAI's agents SDK."""

from typing import Literal

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from harness import KEY, MODEL, QUESTION, URL, check, hold, report
from openai import AsyncOpenAI
from pydantic import BaseModel, Field

set_tracing_disabled(True)


def client() -> AsyncOpenAI:
    return AsyncOpenAI(base_url=URL, api_key=KEY)


def chat() -> OpenAIChatCompletionsModel:
    return OpenAIChatCompletionsModel(model=MODEL, openai_client=client())


def responses() -> OpenAIResponsesModel:
    return OpenAIResponsesModel(model=MODEL, openai_client=client())


class City(BaseModel):
    name: str = Field(max_length=20)
    inhabitants: int = Field(ge=0, le=100_000_000)


@function_tool
def weather(city: Literal["Paris", "Rome"]) -> str:
    """Tells the weather of a city."""
    return f"12 degrees in {city}"


# No max_tokens: to this client an answer that reaches them is an error.
short = ModelSettings(temperature=0)


@check("chat completions: a run")
async def run_chat():
    hold((await Runner.run(Agent(name="a", model=chat(), model_settings=short), QUESTION)).final_output, "no text")


@check("responses: a run")
async def run_responses():
    hold((await Runner.run(Agent(name="a", model=responses(), model_settings=short), QUESTION)).final_output, "no text")


@check("responses: a streamed run")
async def stream():
    result = Runner.run_streamed(Agent(name="a", model=responses(), model_settings=short), QUESTION)
    kinds = [event.type async for event in result.stream_events()]
    hold("raw_response_event" in kinds and result.final_output, f"{set(kinds)}")


@check("a forced tool and the answer behind it, both interfaces")
async def tools():
    for model in (chat(), responses()):
        settings = ModelSettings(temperature=0, tool_choice="weather")
        agent = Agent(name="a", model=model, model_settings=settings, tools=[weather])
        result = await Runner.run(agent, QUESTION, max_turns=4)
        hold(any(item.type == "tool_call_output_item" for item in result.new_items), "the tool was not called")


@check("typed output, both interfaces")
async def typed():
    for model in (chat(), responses()):
        result = await Runner.run(Agent(name="a", model=model, output_type=City), QUESTION)
        hold(isinstance(result.final_output, City), "no City")


@check("typed output and a tool together")
async def both():
    settings = ModelSettings(temperature=0, tool_choice="required")
    agent = Agent(name="a", model=chat(), model_settings=settings, tools=[weather], output_type=City)
    result = await Runner.run(agent, QUESTION, max_turns=6)
    hold(isinstance(result.final_output, City), "no City")


report()
