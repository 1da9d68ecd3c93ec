# /// script
# dependencies = ["instructor==1.17.0"]
# ///
"""instructor: pydantic models out of a chat."""

from typing import Literal

import instructor
from harness import KEY, MODEL, URL, check, hold, report
from openai import OpenAI
from pydantic import BaseModel, Field

messages = [{"role": "user", "content": "Ada, 36, writes programs and likes mathematics."}]


class Person(BaseModel):
    name: str = Field(max_length=30)
    age: int = Field(ge=0, le=150)
    likes: list[Literal["mathematics", "music", "chess"]] = Field(max_length=3)


def in_mode(mode: instructor.Mode) -> None:
    client = instructor.from_openai(OpenAI(base_url=URL, api_key=KEY), mode=mode)
    person = client.chat.completions.create(
        model=MODEL, messages=messages, response_model=Person, max_retries=1, max_tokens=200
    )
    hold(isinstance(person, Person), "no Person")


@check("tools")
def tools():
    in_mode(instructor.Mode.TOOLS)


@check("strict tools")
def strict_tools():
    in_mode(instructor.Mode.TOOLS_STRICT)


@check("JSON schema")
def json_schema():
    in_mode(instructor.Mode.JSON_SCHEMA)


@check("an iterable of them")
def iterable():
    client = instructor.from_openai(OpenAI(base_url=URL, api_key=KEY), mode=instructor.Mode.JSON_SCHEMA)

    class People(BaseModel):
        people: list[Person] = Field(max_length=2)

    found = client.chat.completions.create(model=MODEL, messages=messages, response_model=People, max_tokens=300)
    hold(isinstance(found, People), "no people")


@check("partial objects, streamed")
def partial():
    client = instructor.from_openai(OpenAI(base_url=URL, api_key=KEY), mode=instructor.Mode.JSON_SCHEMA)
    pieces = list(
        client.chat.completions.create_partial(model=MODEL, messages=messages, response_model=Person, max_tokens=200)
    )
    hold(pieces and pieces[-1].name is not None, "no name")


report()
