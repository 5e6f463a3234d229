"""Who gets in.

OpenAI checks the key, the model and the beta header of a WebSocket after the 101: a refusal is an `error` event and a
close in the same breath (livekit/agents#6352, pickle-com/glass#220). Azure, and OpenAI's REST endpoints, refuse a key
with an HTTP 401.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request
from websockets.typing import Subprotocol

from .. import models
from .faults import error_event
from .front_door import HttpRequest
from .knobs import Knobs

REALTIME = "/v1/realtime"
TRANSLATIONS = "/v1/realtime/translations"
UPLOADS = "/v1/audio/transcriptions"
AZURE = "/openai"
SOCKETS = (REALTIME, TRANSLATIONS, AZURE + REALTIME)
POSTS = (UPLOADS, AZURE + UPLOADS)
EPHEMERAL = "ek_"
"""How client secrets begin."""
PROTOCOL = "realtime"
KEY_PROTOCOL = "openai-insecure-api-key."
"""WebSocket subprotocols: the one that is spoken, and the one whose name ends in the key."""

BETA_IS_GONE = "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API."
_AUTH, _SHAPE = 3000, 4000
_AZURE_DENIED = (
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an "
    "active subscription and use a correct regional API endpoint for your resource."
)
_AZURE_DATED = "api-version query parameter is not allowed when using /v1 path"


@dataclass(frozen=True, slots=True)
class Handshake:
    """One upgrade request as it arrived, accepted or not. Header names are lower case."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)

    @property
    def is_azure(self) -> bool:
        """Whether the path is Azure's: other credentials, and models go by the names of their deployments."""
        return self.path.startswith(AZURE)

    @classmethod
    def read(cls, request: Request) -> Handshake:
        """Take one as the WebSocket library has it; of a repeated query key the last value counts."""
        parts = urlsplit(request.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        return cls(parts.path, query, {name.lower(): value for name, value in request.headers.raw_items()})


class Rejected(Exception):
    """The handshake is answered with this `error` and closed; the reason is `type[.code]`."""

    def __init__(
        self, close_code: int, code: str | None, message: str, error_type: str = "invalid_request_error"
    ) -> None:
        super().__init__(message)
        self.close_code = close_code
        self.reason = f"{error_type}.{code}" if code else error_type
        self.event = error_event(code, message, error_type)


class HttpRefused(Exception):
    """The request is answered with this status and JSON body."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(body["error"]["message"])
        self.status = status
        self.body = body


def refused(status: int, code: str | None, message: str, param: str | None = None) -> HttpRefused:
    """A refusal in the words of OpenAI's REST endpoints."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return HttpRefused(status, {"error": error})


def check_azure(query: Mapping[str, str], headers: Mapping[str, str], knobs: Knobs, *, minted: bool = False) -> None:
    """What Azure looks at before anything else, a WebSocket upgrade included. Raises `HttpRefused`.

    `minted`: it carries a client secret that is valid.
    """
    key = headers.get("api-key") or bearer(headers)
    if not minted and (not key or _is_wrong(key, knobs)):
        raise HttpRefused(401, {"error": {"code": "401", "message": _AZURE_DENIED}})
    if "api-version" in query:
        raise HttpRefused(400, {"error": {"code": "BadRequest", "message": _AZURE_DATED}})


def check_request(request: HttpRequest, knobs: Knobs) -> str:
    """The key of a request to a path that Azure has, too. Returns the path as OpenAI has it; raises `HttpRefused`."""
    if not request.path.startswith(AZURE):
        check_key(request.headers, knobs)
        return request.path
    check_azure(request.query, request.headers, knobs)
    return request.path.removeprefix(AZURE)


def check_key(headers: Mapping[str, str], knobs: Knobs) -> None:
    """The key of a REST request to OpenAI. Raises `HttpRefused`."""
    try:
        _check_key(headers, knobs)
    except Rejected as rejected:
        raise refused(401, rejected.event["error"]["code"], str(rejected)) from None


def minted_for(session_type: str, minted: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a client secret was made for, if it is for this kind of session."""
    return minted if minted is not None and minted["type"] == session_type else None


def subprotocol(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The one that is spoken, where it is offered: a browser's WebSocket needs an answer."""
    return Subprotocol(PROTOCOL) if PROTOCOL in offered else None


def admit(
    handshake: Handshake, knobs: Knobs, minted: Mapping[str, Any] | None = None
) -> tuple[Literal["realtime", "transcription"], str]:
    """The type and model of the session that the handshake asks for. Raises `Rejected`.

    `minted` is the session of the client secret that it carries: it stands for a key, and for what the URL leaves out.
    """
    _check_credentials(handshake, knobs, minted)
    query = handshake.query
    model = query.get("model", "")
    transcribes = query.get("intent") == "transcription"
    if transcribes and (handshake.is_azure or (knobs.gateway_urls and _is_current(model, models.Use.TRANSCRIPTION))):
        return "transcription", ""
    if model:
        return "realtime", _deployed(model) if handshake.is_azure else _checked(model)
    if transcribes:
        return "transcription", ""
    if query.get("call_id"):
        return "realtime", models.DEFAULT_REALTIME
    if minted is not None and minted["type"] == "transcription":
        return "transcription", ""
    if minted is not None and minted["type"] == "realtime":
        return "realtime", _checked(minted["model"])
    raise Rejected(
        _SHAPE,
        "missing_model",
        "You must provide a model parameter, for example wss://api.openai.com/v1/realtime?model=gpt-realtime-1.5",
    )


def admit_translation(handshake: Handshake, knobs: Knobs, minted: Mapping[str, Any] | None = None) -> str:
    """The model of the translation session that the handshake asks for; raises `Rejected`. `minted`: as in `admit`."""
    _check_credentials(handshake, knobs, minted)
    model = handshake.query.get("model") or (minted or {}).get("model", "")
    if not model:
        raise Rejected(_SHAPE, "missing_model", "You must provide a model parameter.")
    if not _is_current(model, models.Use.TRANSLATION):
        raise Rejected(_SHAPE, "invalid_model", f'Model "{model}" is not supported for translation.')
    return model


def _check_credentials(handshake: Handshake, knobs: Knobs, minted: Mapping[str, Any] | None) -> None:
    if not handshake.is_azure and minted is None:
        _check_key(handshake.headers, knobs)
    if "realtime=v1" in handshake.headers.get("openai-beta", ""):
        raise Rejected(_SHAPE, "beta_api_shape_disabled", BETA_IS_GONE)


def _check_key(headers: Mapping[str, str], knobs: Knobs) -> None:
    key = bearer(headers)
    if not key:
        raise Rejected(_AUTH, None, "Missing bearer or basic authentication in header")
    if _is_wrong(key, knobs):
        # The real server shows a part of the key; whoever logs this message must cope.
        shown = f"{key[:3]}{'*' * 8}{key[-4:]}"
        raise Rejected(_AUTH, "invalid_api_key", f"Incorrect API key provided: {shown}.")


def bearer(headers: Mapping[str, str]) -> str:
    """The key or client secret that a request carries; "" without one."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return key
    # A browser's WebSocket has no headers of its own.
    offered = (name.strip() for name in headers.get("sec-websocket-protocol", "").split(","))
    return next((name.removeprefix(KEY_PROTOCOL) for name in offered if name.startswith(KEY_PROTOCOL)), "")


def _is_wrong(key: str, knobs: Knobs) -> bool:
    # A client secret is valid only while `Secrets` finds it; then nobody asks here.
    return key not in knobs.api_keys if knobs.api_keys is not None else key.startswith(EPHEMERAL)


def _checked(model_id: str) -> str:
    if not _is_current(model_id, models.Use.REALTIME):
        raise Rejected(
            _SHAPE,
            "invalid_model",
            f'Model "{model_id}" is not supported in realtime mode. '
            "See https://platform.openai.com/docs/models for a list of supported models.",
        )
    return model_id


def _deployed(name: str) -> str:
    """The model behind a deployment: the one of that name, else the default one, since a name tells nothing."""
    model = models.find(name)
    return models.DEFAULT_REALTIME if model is None or model.stage is models.Stage.SHUT_DOWN else _checked(name)


def _is_current(model_id: str, use: models.Use) -> bool:
    model = models.find(model_id)
    return model is not None and model.use is use and model.stage is not models.Stage.SHUT_DOWN
