"""What /openapi.json says of the paths that draw, made of the table of fields that reads the requests."""

from typing import Any

from heliograph_api.images.fields import FIELDS, Field
from heliograph_api.images.inputs import MAX_INPUTS
from heliograph_api.images.paths import Operation
from heliograph_api.images.takes import PICTURE, PICTURES

_SUMMARIES: dict[Operation, str] = {
    "generate": "Draw pictures from text, or change one",
    "edit": "Change pictures",
    "variation": "Draw variations of a picture",
    "inpaint": "Draw the masked part of a picture anew",
    "upscale": "Enlarge a picture",
    "video": "Draw a clip",
}
_REQUIRED: dict[Operation, list[str]] = {
    "generate": ["prompt"],
    "edit": ["image"],
    "variation": ["image"],
    "inpaint": ["image"],
    "upscale": ["image"],
    "video": [],
}
_ENTRY = {
    "type": "object",
    "properties": {
        "b64_json": {"type": "string"},
        "url": {"type": "string", "format": "uri"},
        "seed": {"type": "integer"},
        "prompt": {"type": "string"},
        "mime_type": {"type": "string"},
    },
}
_ANSWER = {
    "type": "object",
    "required": ["created", "data"],
    "properties": {
        "created": {"type": "integer"},
        "data": {"type": "array", "items": _ENTRY},
        "background": {"type": "string"},
        "output_format": {"type": "string"},
        "quality": {"type": "string"},
        "size": {"type": "string"},
        "usage": {"type": "object"},
    },
}
_NULLABLE_TEXT = {"type": ["string", "null"]}
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": _NULLABLE_TEXT,
                "code": _NULLABLE_TEXT,
            },
        }
    },
}
"""OpenAI's error envelope."""


def describe(operation: Operation) -> dict[str, Any]:
    """Return the operation object of a path: request bodies, the answer and the error."""
    return {
        "summary": _SUMMARIES[operation],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _body(operation, form=False)},
                "multipart/form-data": {"schema": _body(operation, form=True)},
            },
        },
        "responses": {
            "200": {
                "description": "Pictures, or events when `stream` is true",
                "content": {
                    "application/json": {"schema": _ANSWER},
                    "text/event-stream": {"schema": {"type": "string"}},
                },
            },
            "default": {"description": "An error", "content": {"application/json": {"schema": ERROR}}},
        },
    }


def _body(operation: Operation, *, form: bool) -> dict[str, Any]:
    properties = {field.name: _property(field, form=form) for field in FIELDS}
    return {"type": "object", "properties": properties, "required": _REQUIRED[operation]}


def _property(field: Field, *, form: bool) -> dict[str, Any]:
    also = f" Also: {', '.join(field.also)}." if field.also else ""
    schema = dict(field.takes.schema)
    upload = {"type": "string", "format": "binary"}
    if form and field.takes is PICTURE:
        schema = upload
    elif form and field.takes is PICTURES:
        schema = {"type": "array", "items": upload, "maxItems": MAX_INPUTS}
    return {**schema, "description": f"{field.meaning}.{also}"}
