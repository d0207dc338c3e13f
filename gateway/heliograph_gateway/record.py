"""What is known of a request while it is served."""

from contextlib import ExitStack
from dataclasses import dataclass, field

from starlette.types import Scope

from heliograph_api.usage import Usage
from heliograph_gateway.names import Route

REQUEST_ID_HEADER = "x-request-id"


@dataclass
class Record:
    """What is known of a request.

    Attributes:
        request_id: The client's x-request-id if it is a plain word, else a new one.
        route: The model, once it is resolved.
        status: Status of the answer, once there is one.
        failure: Status of what went wrong after the answer had begun, if something did.
        held_seconds: How long the request waited for a replica with room for it.
        usage: What it used, as far as the runtime has told.
        is_begun: Whether any of a replica's answer was passed on; a status comes before that where a wait is told of.
        bytes_in: Bytes of its body that were read.
        bytes_out: Bytes of the answer's body that were sent.
        cleanup: What is to be given up when the request is over.
    """

    request_id: str
    route: Route | None = None
    status: int | None = None
    failure: int | None = None
    held_seconds: float = 0.0
    usage: Usage | None = None
    is_begun: bool = False
    bytes_in: int = 0
    bytes_out: int = 0
    cleanup: ExitStack = field(default_factory=ExitStack, repr=False)

    @property
    def model(self) -> str:
        """Return namespace and name of the model as they are shown; nothing before it is resolved."""
        return "/".join(part for part in self.route.key if part) if self.route else ""

    def note(self, usage: Usage) -> None:
        """Note what the runtime says that was used so far."""
        self.usage = usage


def record_of(scope: Scope) -> Record:
    """Return the record of the request that a scope belongs to."""
    record: Record = scope["state"]["record"]
    return record
