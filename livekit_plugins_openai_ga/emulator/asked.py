"""Sessions that are asked for over HTTP: with a client secret, or for a call.

They are judged as a `session.update` is, in the same words, and completed with what a fresh session has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from .. import models
from . import config, schema
from .actions import Event
from .conversation import Refused
from .front_door import HttpRequest
from .gate import HttpRefused
from .knobs import Knobs


def body(request: HttpRequest) -> Event:
    """The JSON object in a request; `{}` when it has none. Raises `HttpRefused`."""
    try:
        given = json.loads(request.body) if request.body.strip() else {}
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise http_refused(Refused(None, "We could not parse the JSON body of your request."))
    return given


def http_refused(refusal: Refused) -> HttpRefused:
    """A refusal as the answer to a request: 400, with the object that an `error` event has."""
    error = {"message": refusal.message, "type": refusal.error_type, "param": refusal.param, "code": refusal.code}
    return HttpRefused(HTTPStatus.BAD_REQUEST, {"error": error})


def session(given: Any, knobs: Knobs, *, where: str = "session") -> Event:
    """The `realtime` or `transcription` session that `given` asks for, complete but for `id` ("") and `expires_at` (0).

    Whether the model works is not looked at, as OpenAI does not when it mints. `where` names the object in refusals.
    Raises `HttpRefused`.
    """
    try:
        schema.SESSION(given, where)
        model = given.get("model") or models.DEFAULT_REALTIME
        fresh = (
            config.transcription("", 0, knobs)
            if given["type"] == "transcription"
            else config.realtime(model, "", 0, knobs)
        )
        return config.updated(fresh, given, knobs, voice_locked=False)
    except Refused as refusal:
        raise http_refused(refusal) from None


def translation(given: Any) -> Event:
    """The `translation` session that `given` asks for, complete but for `id` and `expires_at`. Raises `HttpRefused`."""
    try:
        schema.TRANSLATION_REQUEST(given, "session")
    except Refused as refusal:
        raise http_refused(refusal) from None
    change: Mapping[str, Any] = {name: value for name, value in given.items() if name != "model"}
    return config.translation_updated(config.translation(given["model"], "", 0), change)
