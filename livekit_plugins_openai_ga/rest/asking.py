"""A request of the HTTP API: made again where that can help, its failure in LiveKit's family of errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import aiohttp

from ..api_errors import to_api_error
from ..connection import Connection
from ..errors import Failure
from ..failures import FAILURES
from ..post import Answer, Body, http_session, post
from ..transport.link import LinkFailed
from ..transport.supervisor import Budget
from ..wire.endpoint import Service

_NOT_DONE = frozenset({"connection_refused", "host_not_found", "tls_failure", "key_provider_failed"})
_NOT_DONE_STATUSES = frozenset({401, 429, 503})
"""How a request fails that the server did nothing about."""

Sent = tuple[Body, Iterable[str]]


@dataclass(frozen=True, slots=True)
class Request:
    """A POST to be made.

    Attributes:
        service: What it is for.
        body: Makes, from the key in use, the body, which cannot be sent twice, and the secrets in it, which nothing
            the server says may show. May raise ValueError.
        call_id: The call it is about.
        action: What is done to the call.
        repeatable: Doing it twice does no harm.
        absent: The failure (a code of `failures`) that a 404 means here; "": the usual one.
    """

    service: Service
    body: Callable[[str], Sent]
    call_id: str = ""
    action: str = ""
    repeatable: bool = False
    absent: str = ""


async def ask(connection: Connection, request: Request, http: aiohttp.ClientSession | None) -> Answer:
    """Make a request, again within the attempts of `conn_options` where that can help. Raises `APIError`."""
    options = connection.conn_options
    budget = Budget(options.max_retry, options.retry_interval)
    async with http_session(http) as session:
        while True:
            answer = await _once(connection, request, session)
            if isinstance(answer, Answer):
                return answer
            delay = budget.failed(answer, time.monotonic()) if _may_repeat(request, answer) else None
            if delay is None:
                break
            await asyncio.sleep(delay)
    raise to_api_error(answer)  # from here: a traceback of `_once` leads to the request and its headers


def _may_repeat(request: Request, failure: Failure) -> bool:
    return request.repeatable or failure.code in _NOT_DONE or failure.http_status in _NOT_DONE_STATUSES


async def _once(connection: Connection, request: Request, http: aiohttp.ClientSession) -> Answer | Failure:
    try:
        key = await connection.key()
    except LinkFailed as exc:
        return exc.failure
    where = connection.endpoint(request.service, call_id=request.call_id, action=request.action, key=key)
    body, secrets = request.body(key)
    answer = await post(where, body, http=http, timeout=connection.conn_options.timeout, secrets=secrets)
    if isinstance(answer, Answer):
        return answer
    if answer.http_status == 404 and request.absent:
        row = FAILURES[request.absent]
        answer = replace(answer, meaning=row.meaning, remedy=row.remedy)
    return connection.explained(answer, key)
