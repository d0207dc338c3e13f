"""Does with OpenAI's client for Python what its standard input asks for, one line of JSON each; see driven.py.

A program, run with whichever major version of openai is on its path.
"""

import base64
import json
import sys
from contextlib import ExitStack
from operator import attrgetter
from pathlib import Path
from typing import Any

import openai


def main() -> None:
    """Answer lines until there are no more."""
    for line in sys.stdin:
        asked = json.loads(line)
        with ExitStack() as stack:
            client = stack.enter_context(openai.OpenAI(**asked["client"]))
            arguments = _with_files(asked["keywords"], stack)
            resource, _, method = asked["call"].rpartition(".")
            try:
                answer = _done(attrgetter(resource)(client), method, asked["arguments"], arguments)
            except openai.APIError as error:
                answer = {"error": _described(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _done(resource: Any, method: str, arguments: list[Any], keywords: dict[str, Any]) -> dict[str, Any]:
    if keywords.get("stream"):
        return _events(getattr(resource, method)(*arguments, **keywords))
    response = getattr(resource.with_raw_response, method)(*arguments, **keywords)
    value = response.parse()
    shown = value.to_dict(mode="json") if isinstance(value, openai.BaseModel) else _file(value)
    return {"value": shown, "headers": dict(response.headers.items())}


def _events(stream: Any) -> dict[str, Any]:
    events: list[dict[str, Any]] = []
    try:
        events.extend({**event.to_dict(mode="json"), "class": type(event).__name__} for event in stream)
    except openai.APIError as error:
        return {"events": events, "error": _described(error)}
    return {"events": events}


def _with_files(value: Any, stack: ExitStack) -> Any:
    if isinstance(value, list):
        return [_with_files(part, stack) for part in value]
    if isinstance(value, dict):
        if "$stream" in value:
            return stack.enter_context(Path(value["$stream"]).open("rb"))
        if "$bytes" in value:
            return Path(value["$bytes"]).read_bytes()
        return {name: _with_files(part, stack) for name, part in value.items()}
    return value


def _file(value: Any) -> dict[str, str]:
    return {"base64": base64.b64encode(value.read()).decode()}


def _described(error: openai.APIError) -> dict[str, Any]:
    return {
        "kind": type(error).__name__,
        "status": getattr(error, "status_code", None),
        "request_id": getattr(error, "request_id", None),
        "message": error.message,
        "type": error.type,
        "code": error.code,
        "param": error.param,
    }


if __name__ == "__main__":
    main()
