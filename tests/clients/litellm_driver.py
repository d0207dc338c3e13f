"""Does with LiteLLM what its standard input asks for, one line of JSON each; see driven.py."""

import json
import os
import sys
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

import openai

# Else it looks for a list of prices in the network as soon as it is imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

litellm: Any = import_module("litellm")


def main() -> None:
    """Answer lines until there are no more."""
    # Else it prints advice amid the answers.
    litellm.suppress_debug_info = True
    for line in sys.stdin:
        asked = json.loads(line)
        with ExitStack() as stack:
            try:
                answer = {"value": _done(asked["call"], asked["keywords"], stack)}
            except openai.APIStatusError as error:
                described = {"kind": type(error).__name__, "status": error.status_code, "message": error.message}
                answer = {"error": described}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _done(call: str, keywords: dict[str, Any], stack: ExitStack) -> Any:
    for name in {"image", "mask"} & set(keywords):
        keywords[name] = [stack.enter_context(file.open("rb")) for file in map(Path, keywords[name])]
    return json.loads(getattr(litellm, call)(**keywords).model_dump_json())


if __name__ == "__main__":
    main()
