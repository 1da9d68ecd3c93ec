# /// script
# dependencies = ["pydantic-ai-slim[openai]==2.68.0"]
# ///
"""pydantic-ai's agents."""

from harness import KEY, LONGEST, MODEL, QUESTION, URL, check, hold, report
from pydantic import BaseModel, Field
from pydantic_ai import Agent, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

provider = OpenAIProvider(base_url=URL, api_key=KEY)
chat = OpenAIChatModel(MODEL, provider=provider)


class City(BaseModel):
    name: str = Field(max_length=20)
    inhabitants: int = Field(ge=0, le=100_000_000)


@check("a run, with usage")
async def run():
    result = await Agent(chat, model_settings={"max_tokens": LONGEST}).run(QUESTION)
    hold(result.output, "no text")


@check("a streamed run")
async def stream():
    async with Agent(chat, model_settings={"max_tokens": LONGEST}).run_stream(QUESTION) as result:
        pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
    hold(len(pieces) > 3, f"{len(pieces)} pieces")


@check("output by a tool")
async def tool_output():
    hold(isinstance((await Agent(chat, output_type=ToolOutput(City)).run(QUESTION)).output, City), "no City")


@check("output by the response format")
async def native_output():
    hold(isinstance((await Agent(chat, output_type=NativeOutput(City)).run(QUESTION)).output, City), "no City")


@check(
    "output that is only asked for in words, as JSON",
    why="no schema is on the wire, and 135 million parameters do not write JSON by themselves",
)
async def prompted_output():
    agent = Agent(chat, output_type=PromptedOutput(City), retries=3)
    hold(isinstance((await agent.run("Tell me of Paris. " + QUESTION)).output, City), "no City")


@check("a tool of the agent's beside the output's")
async def tools():
    agent = Agent(chat, output_type=ToolOutput(City), retries=3)

    @agent.tool_plain
    def weather(city: str) -> str:
        """Tells the weather of a city."""
        return f"12 degrees in {city}"

    hold(isinstance((await agent.run(QUESTION)).output, City), "no City")


@check("through the responses interface")
async def responses():
    model = OpenAIResponsesModel(MODEL, provider=provider)
    hold((await Agent(model, model_settings={"max_tokens": LONGEST}).run(QUESTION)).output, "no text")


report()
