"""Takes the shapes that toast-serve shares with OpenAI's API out of OpenAI's published OpenAPI document.

The document has 3 MB and changes often; the tests need a few of its schemas, at a known state. So these are written to
test/contract/openai-shapes.json, with what they refer to, and without prose. Where a union lists kinds of items that
this server never sends (calls of OpenAI's own tools, say), only the kind that it sends is kept; see KEPT.

example:
  python extract_openai_shapes.py openai-openapi.json --out ../test/contract/openai-shapes.json

The document: https://github.com/openai/openai-openapi, MIT licence.
"""

import argparse
import json
from pathlib import Path
from typing import Any

ANSWERS = [
    "CreateChatCompletionResponse",
    "CreateChatCompletionStreamResponse",
    "CreateCompletionResponse",
    "CreateEmbeddingResponse",
    "Response",
    "ResponseCreatedEvent",
    "ResponseInProgressEvent",
    "ResponseOutputItemAddedEvent",
    "ResponseContentPartAddedEvent",
    "ResponseTextDeltaEvent",
    "ResponseTextDoneEvent",
    "ResponseContentPartDoneEvent",
    "ResponseOutputItemDoneEvent",
    "ResponseCompletedEvent",
    "ResponseIncompleteEvent",
    "ResponseFailedEvent",
    "ListModelsResponse",
    "Model",
    "ErrorResponse",
]

REQUESTS = ["CreateChatCompletionRequest", "CreateCompletionRequest", "CreateEmbeddingRequest", "CreateResponse"]

# Unions cut down to what this server sends, and schemas of things that it never sends: anything goes there.
KEPT: dict[str, Any] = {
    "OutputItem": {"$ref": "#/components/schemas/OutputMessage"},
    "OutputMessageContent": {"$ref": "#/components/schemas/OutputTextContent"},
    "OutputContent": {"$ref": "#/components/schemas/OutputTextContent"},
    "InputItem": {},
    "Annotation": {},
    "ToolsArray": {"type": "array"},
    "ToolChoiceParam": {},
    "Prompt": {},
    "Reasoning": {},
    "Moderation": {},
    "ModelIdsResponses": {"type": "string"},
    "PromptCacheOptions": {},
    "ResponseConversation": {},
    "TextResponseFormatConfiguration": {},
}

# For readers, and `discriminator`, which would refer to what is cut off.
PROSE = {
    "description",
    "title",
    "example",
    "examples",
    "x-oaiMeta",
    "x-stainless-const",
    "x-oaiSupportedSDKs",
    "x-oaiTypeLabel",
    "x-oaiExpandable",
    "deprecated",
    "discriminator",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("document", type=Path, help="OpenAI's OpenAPI document, as JSON")
    parser.add_argument("--out", type=Path, required=True, help="file for the shapes")
    arguments = parser.parse_args()
    document = json.loads(arguments.document.read_text(encoding="utf-8"))
    schemas = document["components"]["schemas"]
    shapes = {
        "source": f"https://github.com/openai/openai-openapi, version {document['info']['version']}",
        "licence": document["info"]["license"]["name"],
        "madeBy": "scripts/extract_openai_shapes.py",
        "requestFields": {name: sorted(fields_of(schemas[name], schemas)) for name in REQUESTS},
        "schemas": closure(ANSWERS, schemas),
    }
    arguments.out.write_text(json.dumps(shapes, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(shapes['schemas'])} schemas, {arguments.out.stat().st_size} bytes: {arguments.out}")


def closure(names: list[str], schemas: dict[str, Any]) -> dict[str, Any]:
    """The named schemas and all that they refer to."""
    found: dict[str, Any] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = KEPT[name] if name in KEPT else without_prose(schemas[name])
        waiting.extend(references_in(found[name]))
    return dict(sorted(found.items()))


def without_prose(value: Any, *, names: bool = False) -> Any:
    """A copy without what is for readers. `names`: the keys are names of properties, which may be called anything."""
    if isinstance(value, dict):
        kept = {key: part for key, part in value.items() if names or key not in PROSE}
        shape = {key: without_prose(part, names=key == "properties" and not names) for key, part in kept.items()}
        # OpenAPI 3.0's way to say it, which 3.1 does not know and the document still has in places.
        if not names and shape.pop("nullable", False) is True:
            return {"anyOf": [shape, {"type": "null"}]}
        return shape
    if isinstance(value, list):
        return [without_prose(part) for part in value]
    return value


def references_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"].rsplit("/", 1)[1]] if isinstance(value.get("$ref"), str) else []
        return own + [name for part in value.values() for name in references_in(part)]
    if isinstance(value, list):
        return [name for part in value for name in references_in(part)]
    return []


def fields_of(schema: dict[str, Any], schemas: dict[str, Any]) -> set[str]:
    """Names of an object's fields, those of what it is made of included."""
    fields = set(schema.get("properties", {}))
    for part in schema.get("allOf", []):
        fields |= fields_of(part, schemas)
    if "$ref" in schema:
        fields |= fields_of(schemas[schema["$ref"].rsplit("/", 1)[1]], schemas)
    return fields


if __name__ == "__main__":
    main()
