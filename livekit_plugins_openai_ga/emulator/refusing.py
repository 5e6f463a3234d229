"""The answers of those who do not get in: of requests that are refused, and of faults that take their place."""

from __future__ import annotations

import json
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Response

from .faults import RefuseHandshake
from .front_door import HttpRequest, HttpResponse
from .gate import HttpRefused, refused


def refuse(connection: ServerConnection, refusal: HttpRefused) -> Response:
    """The answer to an upgrade, with the refusal's status and body."""
    response = connection.respond(HTTPStatus(refusal.status), json.dumps(refusal.body))
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    return response


def fail(connection: ServerConnection, fault: RefuseHandshake) -> Response:
    """The answer to an upgrade that meets a fault."""
    response = connection.respond(HTTPStatus(fault.status), fault.body)
    for name, value in _retry(fault).items():
        response.headers[name] = value
    return response


def failed(fault: RefuseHandshake) -> HttpResponse:
    """The answer to a request that meets a fault."""
    return HttpResponse(fault.status, fault.body.encode(), headers=_retry(fault))


def not_here(request: HttpRequest) -> HttpRefused:
    """What a request to a path that nobody serves gets."""
    return refused(404, None, f"Invalid URL ({request.method} {request.path})")


def why(response: HttpResponse) -> dict[str, str]:
    """The `code` and `message` of an answer that refuses; "" for what it has not. A fault's may be anything."""
    if response.status < 400:
        return {"code": "", "message": ""}
    text = response.body.decode("utf-8", "replace")
    try:
        told = json.loads(text)
    except ValueError:
        return {"code": "", "message": text}
    error = told.get("error") if isinstance(told, dict) else None
    found = error if isinstance(error, dict) else {"message": text}
    return {name: str(found.get(name) or "") for name in ("code", "message")}


def _retry(fault: RefuseHandshake) -> dict[str, str]:
    return {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
