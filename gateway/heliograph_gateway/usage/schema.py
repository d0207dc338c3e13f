"""What /openapi.json says of GET /v1/usage."""

from typing import Any

from heliograph_gateway.images.schema import ERROR


def _parameter(name: str, schema: dict[str, Any], meaning: str, *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": schema, "description": meaning}


_SECONDS = {"type": "integer", "minimum": 0}
_NAMES = {"type": "array", "items": {"type": "string"}, "maxItems": 100}
_RESULT = {
    "type": "object",
    "properties": {
        "object": {"const": "heliograph.usage.result"},
        **{name: {"type": "integer"} for name in ("images", "pixels", "steps", "num_requests")},
        **{name: {"type": "number"} for name in ("seconds", "gpu_seconds")},
        **{name: {"type": ["string", "null"]} for name in ("model", "key")},
    },
}
_BUCKET = {
    "type": "object",
    "properties": {
        "object": {"const": "bucket"},
        "start_time": _SECONDS,
        "end_time": _SECONDS,
        "results": {"type": "array", "items": _RESULT},
    },
}
_PAGE = {
    "type": "object",
    "properties": {
        "object": {"const": "page"},
        "data": {"type": "array", "items": _BUCKET},
        "has_more": {"type": "boolean"},
        "next_page": {"type": ["string", "null"]},
    },
}

USAGE_OPERATION: dict[str, Any] = {
    "summary": "What API keys used of models, by time",
    "parameters": [
        _parameter("start_time", _SECONDS, "Begin in Unix seconds; whole hours are answered", required=True),
        _parameter("end_time", _SECONDS, "End in Unix seconds, which does not count; now unless given"),
        _parameter("bucket_width", {"type": "string", "enum": ["1h", "1d"], "default": "1d"}, "Hours or days of UTC"),
        _parameter(
            "group_by", {"type": "array", "items": {"enum": ["model", "key"]}}, "What results are told apart by"
        ),
        _parameter("models", _NAMES, "Only these models"),
        _parameter("keys", _NAMES, "Only the API keys of these names; other keys than one's own take the scope admin"),
        _parameter("limit", {"type": "integer", "minimum": 1, "maximum": 168}, "Buckets of a page; 24 of 1h, 7 of 1d"),
        _parameter("page", {"type": "string"}, "next_page of the answer before"),
    ],
    "responses": {
        "200": {"description": "Usage", "content": {"application/json": {"schema": _PAGE}}},
        "default": {"description": "An error", "content": {"application/json": {"schema": ERROR}}},
    },
}
