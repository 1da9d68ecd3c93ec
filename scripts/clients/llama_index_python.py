# /// script
# dependencies = ["llama-index-llms-openai-like==0.8.1"]
# ///
"""LlamaIndex's OpenAILike."""

from harness import KEY, LONGEST, MODEL, QUESTION, URL, check, hold, report
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel, Field

chat = OpenAILike(
    model=MODEL,
    api_base=URL,
    api_key=KEY,
    is_chat_model=True,
    is_function_calling_model=True,
    should_use_structured_outputs=True,
    context_window=8192,
    max_tokens=LONGEST,
    max_retries=0,
)


class City(BaseModel):
    """A city."""

    name: str = Field(max_length=20)
    inhabitants: int = Field(ge=0, le=100_000_000)


def weather(city: str) -> str:
    """Tells the weather of a city."""
    return f"12 degrees in {city}"


@check("complete and chat")
def answers():
    hold(chat.complete(QUESTION).text, "no text")
    hold(chat.chat([ChatMessage(role="user", content=QUESTION)]).message.content, "no text")


@check("streamed chat")
def stream():
    pieces = [piece.delta for piece in chat.stream_chat([ChatMessage(role="user", content=QUESTION)])]
    hold(len(pieces) > 3, f"{len(pieces)} pieces")


@check("async chat")
async def asynchronous():
    hold((await chat.achat([ChatMessage(role="user", content=QUESTION)])).message.content, "no text")


@check("completions of a model that does not chat")
def completions():
    other = OpenAILike(model=MODEL, api_base=URL, api_key=KEY, is_chat_model=False, max_tokens=12)
    hold(other.complete("The sky is").text, "no text")


@check("a tool that is required")
def tools():
    answer = chat.chat_with_tools([FunctionTool.from_defaults(weather)], user_msg=QUESTION, tool_required=True)
    calls = chat.get_tool_calls_from_response(answer, error_on_no_tool_call=True)
    hold(calls[0].tool_name == "weather", "no call")


@check("a structured answer")
def structured():
    roomy = chat.model_copy(update={"max_tokens": 200})
    answer = roomy.as_structured_llm(City).chat([ChatMessage(role="user", content=QUESTION)])
    hold(isinstance(answer.raw, City), "no City")


report()
