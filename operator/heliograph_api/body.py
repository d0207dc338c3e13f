"""JSON request bodies, as shells and client libraries send them."""

import json
from typing import Any, NoReturn

from heliograph_api.errors import APIError


def parse_json(body: bytes) -> Any:
    r"""Return what a JSON body says.

    Line breaks inside a string are let pass: shells put base64 with line breaks into a body. NaN and infinities, which
    JSON does not have, are refused, and so is half of a surrogate pair (`"\ud800"`): it cannot be passed on to anyone,
    not even in the text of an error.

    Raises:
        APIError: 400, the body is not JSON in UTF-8.
    """
    try:
        content = json.loads(body.decode(), strict=False, parse_constant=_refuse_constant)
        if rb"\u" in body:
            json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise APIError(
            400, f"The request body is not valid JSON in UTF-8{where}; send a JSON object.", code="invalid_json"
        ) from None
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
