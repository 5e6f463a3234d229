"""What a session tells besides LiveKit's events: their names, and what each comes with.

`openai_server_event_received` and `openai_client_event_queued` come with the raw event, a dict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from ..spending import CostLimitReached as CostLimitReached
from ..spending import CostWarning as CostWarning
from ..wire.server_events import RateLimit as RateLimit

OwnEvents = Literal[
    "openai_server_event_received",
    "openai_client_event_queued",
    "session_created",
    "model_changed",
    "rate_limits_updated",
    "input_audio_timeout_triggered",
    "response_incomplete",
    "mcp_tools_listed",
    "mcp_approval_requested",
    "said_otherwise",
    "call_ended",
    "cost_warning",
    "cost_limit_reached",
]


@dataclass(frozen=True, slots=True)
class SessionCreated:
    """The event `session_created`: a connection is open, the first one or another. Its configuration comes next.

    Attributes:
        session_id: OpenAI's id (`sess_...`), for support; "" when the server sent none.
        request_id: The `x-request-id` of the handshake; "" when the server sent none, as OpenAI's own does.
        model: The model that was asked for.
        expires_at: When the server ends the session, in s since 1970; None when it did not say.
        connection: 1 for the session's first connection, 2 for the next one, and so on.
    """

    session_id: str
    request_id: str
    model: str
    expires_at: float | None
    connection: int


@dataclass(frozen=True, slots=True)
class ModelChanged:
    """The event `model_changed`: a model was refused, and the session goes on with another.

    Attributes:
        refused: The model that was asked for.
        model: The one that is asked for now.
        reason: Why, in one sentence.
    """

    refused: str
    model: str
    reason: str


@dataclass(frozen=True, slots=True)
class RateLimitsUpdated:
    """The event `rate_limits_updated`: what is left of the account's limits. OpenAI sends it after a reply.

    Attributes:
        limits: One for each limit the server named.
    """

    limits: tuple[RateLimit, ...]


@dataclass(frozen=True, slots=True)
class InputAudioTimeoutTriggered:
    """The event `input_audio_timeout_triggered`: nobody spoke for `idle_timeout_ms` after a reply.

    The server makes a user item of the silence, and answers it.

    Attributes:
        item_id: The id of that item.
        audio_start_ms: Where the silence begins in all the audio pushed to the session, in ms.
        audio_end_ms: Where it ends, in ms.
    """

    item_id: str
    audio_start_ms: float
    audio_end_ms: float


@dataclass(frozen=True, slots=True)
class ResponseIncomplete:
    """The event `response_incomplete`: the server ended a reply before it was complete.

    Attributes:
        response_id: The reply's id, as in LiveKit's `GenerationCreatedEvent`.
        reason: `max_output_tokens`, `content_filter`, or what else the server says; "" when it does not.
    """

    response_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The event `call_ended`: the call that the session was attached to (`RealtimeModel(call_id=...)`) is over.

    The session is over with it. It is no error, so LiveKit is not told: close the `AgentSession` here.

    Attributes:
        call_id: The call's id (`rtc_...`).
        reason: How its end was told, in one sentence.
    """

    call_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class SaidOtherwise:
    """The event `said_otherwise`: what `say()` gave to be read aloud was said in other words.

    Words are compared by the transcript of the speech, which may write a number where the text has a word.

    Attributes:
        response_id: The reply's id.
        text: What was to be said.
        said: What was said.
        similarity: How much of it was, by words in their order: 0.0 to 1.0, which it never is here.
    """

    response_id: str
    text: str
    said: str
    similarity: float


@dataclass(frozen=True, slots=True)
class MCPToolsListed:
    """The event `mcp_tools_listed`: OpenAI has asked an MCP server for its tools, at the beginning of each connection.

    Attributes:
        server_label: Which server.
        tools: The names of its tools, those that `allowed_tools` leaves.
    """

    server_label: str
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MCPApprovalRequested:
    """The event `mcp_approval_requested`: a call of an MCP server's tool waits until you call `approve` or `deny`.

    It waits for as long as the connection lasts. The conversation goes on meanwhile.

    Attributes:
        request_id: OpenAI's id of the request.
        server_label: Which server.
        name: Which of its tools.
        arguments: What the tool would be called with, JSON text.
    """

    request_id: str
    server_label: str
    name: str
    arguments: str = field(repr=False)
    _answer: Callable[[bool, str | None], None] = field(repr=False)

    def approve(self) -> None:
        """Let OpenAI call the tool; the agent answers when it has the result.

        Raises RealtimeError when the call waits no more: it was answered before, or its connection has gone.
        """
        self._answer(True, None)

    def deny(self, reason: str | None = None) -> None:
        """Do not call the tool; the agent goes on without it. `reason` is for the model. Raises as `approve` does."""
        self._answer(False, reason)
