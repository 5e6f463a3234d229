"""Who gets a session. GA checks the key, the model and the beta header after the 101: a refusal is an `error` event
and a close in the same breath (livekit/agents#6352, pickle-com/glass#220)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from .. import models
from .faults import error_event
from .knobs import Knobs

BETA_IS_GONE = "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API."
_AUTH, _SHAPE = 3000, 4000


class Rejected(Exception):
    """The handshake is answered with this `error` and closed; the reason is `type[.code]`."""

    def __init__(
        self, close_code: int, code: str | None, message: str, error_type: str = "invalid_request_error"
    ) -> None:
        super().__init__(message)
        self.close_code = close_code
        self.reason = f"{error_type}.{code}" if code else error_type
        self.event = error_event(code, message, error_type)


def admit(
    query: Mapping[str, str], headers: Mapping[str, str], knobs: Knobs
) -> tuple[Literal["realtime", "transcription"], str]:
    """The type and model of the session that the handshake asks for; header names are lower case. Raises `Rejected`."""
    _check_credentials(headers, knobs)
    model = query.get("model", "")
    transcribes = query.get("intent") == "transcription"
    if transcribes and knobs.gateway_urls and _is_current(model, models.Use.TRANSCRIPTION):
        return "transcription", ""
    if model:
        _check_model(model)
        return "realtime", model
    if transcribes:
        return "transcription", ""
    if query.get("call_id"):
        return "realtime", models.DEFAULT_REALTIME
    raise Rejected(
        _SHAPE,
        "missing_model",
        "You must provide a model parameter, for example wss://api.openai.com/v1/realtime?model=gpt-realtime-1.5",
    )


def admit_translation(query: Mapping[str, str], headers: Mapping[str, str], knobs: Knobs) -> str:
    """The model of the translation session that the handshake asks for; raises `Rejected`."""
    _check_credentials(headers, knobs)
    model = query.get("model", "")
    if not model:
        raise Rejected(_SHAPE, "missing_model", "You must provide a model parameter.")
    if not _is_current(model, models.Use.TRANSLATION):
        raise Rejected(_SHAPE, "invalid_model", f'Model "{model}" is not supported for translation.')
    return model


def _check_credentials(headers: Mapping[str, str], knobs: Knobs) -> None:
    _check_key(headers.get("authorization", ""), knobs)
    if "realtime=v1" in headers.get("openai-beta", ""):
        raise Rejected(_SHAPE, "beta_api_shape_disabled", BETA_IS_GONE)


def _check_key(authorization: str, knobs: Knobs) -> None:
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise Rejected(_AUTH, None, "Missing bearer or basic authentication in header")
    if knobs.api_keys is not None and key not in knobs.api_keys:
        # The real server shows a part of the key; whoever logs this message must cope.
        shown = f"{key[:3]}{'*' * 8}{key[-4:]}"
        raise Rejected(_AUTH, "invalid_api_key", f"Incorrect API key provided: {shown}.")


def _check_model(model_id: str) -> None:
    if not _is_current(model_id, models.Use.REALTIME):
        raise Rejected(
            _SHAPE,
            "invalid_model",
            f'Model "{model_id}" is not supported in realtime mode. '
            "See https://platform.openai.com/docs/models for a list of supported models.",
        )


def _is_current(model_id: str, use: models.Use) -> bool:
    model = models.find(model_id)
    return model is not None and model.use is use and model.stage is not models.Stage.SHUT_DOWN
