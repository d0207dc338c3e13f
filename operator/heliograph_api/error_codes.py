"""Every `code` that an error may have: its status, what it means, and whether the same request is worth another try."""

from dataclasses import dataclass
from typing import Literal

Again = Literal["no", "yes", "later"]
"""Whether the same request may succeed: never; after `Retry-After`, or soon; when somebody changed something."""


@dataclass(frozen=True)
class ErrorCode:
    """One code.

    Attributes:
        code: The code.
        statuses: HTTP statuses that it comes with.
        meaning: What is wrong, for people.
        again: Whether the same request is worth another try.
    """

    code: str
    statuses: tuple[int, ...]
    meaning: str
    again: Again = "no"


# fmt: off
CODES = (
    ErrorCode("invalid_value", (400, 422), "the value of a field can't be used; 422 for part of a path or of a query"),
    ErrorCode("invalid_type", (400,), "a field has a value of another kind, such as a list for a number"),
    ErrorCode("missing_required_parameter", (400,), "a field that is needed is not there"),
    ErrorCode("conflicting_fields", (400,), "two names of one setting disagree"),
    ErrorCode("unsupported", (400,), "the field asks for what the model, or this server, can't do"),
    ErrorCode("unknown_parameter", (400,), "`/v1/usage` has no such parameter"),
    ErrorCode("invalid_image", (400,), "an input picture is damaged, too large, or no picture"),
    ErrorCode("image_url_invalid", (400,), "the URL of a picture can't be read"),
    ErrorCode("image_url_not_allowed", (400,), "pictures are not fetched from that host", "later"),
    ErrorCode("image_url_refused_address", (400,), "the host of a picture has no public address"),
    ErrorCode("image_url_not_an_image", (400,), "there is no picture behind the URL"),
    ErrorCode("image_url_too_large", (400,), "the file behind the URL is too large"),
    ErrorCode("image_url_failed", (400,), "the host of a picture answered with an error", "yes"),
    ErrorCode("image_url_unreachable", (400,), "the host of a picture can't be reached", "yes"),
    ErrorCode("image_url_timeout", (400,), "the host of a picture did not answer in time", "yes"),
    ErrorCode("invalid_body", (400,), "the body is no JSON object and no form"),
    ErrorCode("invalid_json", (400,), "the body is no valid JSON"),
    ErrorCode("invalid_form", (400,), "the body is no valid form"),
    ErrorCode("invalid_http", (400,), "the request is no valid HTTP/1.1"),
    ErrorCode("invalid_api_key", (401,), "the key is missing, wrong, disabled or expired"),
    ErrorCode("insufficient_scope", (403,), "the key lacks the scope that this takes", "later"),
    ErrorCode("model_disabled", (403,), "the model is turned off", "later"),
    ErrorCode("host_not_allowed", (403,), "no key is set, and the gateway is asked under a foreign name", "later"),
    ErrorCode("origin_not_allowed", (403,), "no key is set, and the page that asks is a foreign one", "later"),
    ErrorCode("invalid_signature", (403,), "the signature of a link does not fit it"),
    ErrorCode("link_expired", (403,), "the link has expired; ask for the picture again"),
    ErrorCode("not_found", (404,), "nothing is served at that path"),
    ErrorCode("model_not_found", (404,), "there is no such model; the message lists those there are"),
    ErrorCode("video_not_found", (404,), "there is no such video, or it has expired"),
    ErrorCode("file_not_found", (404,), "the file is no longer kept"),
    ErrorCode("method_not_allowed", (405,), "the path is not served by that method"),
    ErrorCode("request_timeout", (408,), "the request did not come in time", "yes"),
    ErrorCode("video_not_ready", (409,), "the video is not drawn yet; ask for its status until it is", "yes"),
    ErrorCode("model_not_scaled", (409,), "the model has no replicas, and only a person gives it some", "later"),
    ErrorCode("request_too_large", (413,), "the body is too large"),
    ErrorCode("unsupported_media_type", (415,), "the body has another content type"),
    ErrorCode("unsupported_content_encoding", (415,), "the body is compressed"),
    ErrorCode("range_not_satisfiable", (416,), "the range lies outside the file"),
    ErrorCode("misdirected_request", (421,), "a runtime, asked directly, serves another model"),
    ErrorCode("queue_full", (429,), "the model, or the list of video jobs, has as many requests as it takes", "yes"),
    ErrorCode("rate_limit_exceeded", (429,), "the key made as many requests as it may in a minute", "yes"),
    ErrorCode("insufficient_quota", (429,), "the key drew as many pictures as it may today; the message says how long"),
    ErrorCode("generation_failed", (500,), "the engine failed at this request; other sizes or settings may work"),
    ErrorCode("worker_crashed", (500,), "the process that drew ended, perhaps because of this request"),
    ErrorCode("internal_error", (500,), "a bug; the log has the details"),
    ErrorCode("gateway_stopped", (500,), "of a video: the gateways that worked on it stopped, several times"),
    ErrorCode("upstream_failed", (502,), "the connection to the runtime broke, and the work may have been begun"),
    ErrorCode("upstream_error", (502,), "the runtime answered with an error without a reason, or with no pictures"),
    ErrorCode("model_not_ready", (503,), "the model has no replica that answers; the message says why", "yes"),
    ErrorCode("model_loading", (503,), "the runtime is loading the model", "yes"),
    ErrorCode("not_ready", (503,), "of `/readyz`: no requests are taken at the moment", "yes"),
    ErrorCode("overloaded", (503,), "the gateway has as many requests, or as much in memory, as it can keep", "yes"),
    ErrorCode("state_unavailable", (503,), "the gateway's database can't be reached", "yes"),
    ErrorCode("storage_unavailable", (503,), "the gateway's file store can't be reached", "yes"),
    ErrorCode("device_lost", (503,), "the device failed; the model is being loaded again", "yes"),
    ErrorCode("out_of_memory", (503,), "the device's memory does not suffice; ask for a smaller picture"),
    ErrorCode("upstream_timeout", (504,), "the runtime did not answer in time"),
    ErrorCode("deadline_exceeded", (504,), "the pictures were not drawn in time; ask for fewer or smaller ones"),
    ErrorCode("storage_full", (507,), "a picture can't be kept as a link, for want of room; ask for `b64_json`"),
)
# fmt: on
