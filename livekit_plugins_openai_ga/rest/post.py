"""One POST: its answer, or one `Failure`. And one that is sent again while that may help."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace

import aiohttp
from livekit.agents.utils import http_context

from .. import errors
from ..api_errors import to_api_error
from ..connection import Connection
from ..errors import Failure
from ..failures import FAILURES
from ..redaction import hide
from ..transport.link import LinkFailed, retry_after
from ..transport.supervisor import Budget
from ..wire.endpoint import Endpoint, Service

Body = bytes | aiohttp.FormData

_NOT_DONE = frozenset({"connection_refused", "host_not_found", "tls_failure", "key_provider_failed"})
_NOT_DONE_STATUSES = frozenset({429, 503})
"""How a request fails that the server did nothing about."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the 2xx kind. Header names are compared without case."""

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A POST to be made.

    Attributes:
        service: What it is for.
        body: Makes the body from the key in use; one that went out cannot be sent again. May raise ValueError.
        content_type: "" where the body says it itself.
        call_id: The call it is about.
        action: What is done to the call.
        repeatable: Doing it twice does no harm.
        absent: The failure (a code of `failures`) that a 404 means here; "": the usual one.
    """

    service: Service
    body: Callable[[str], Body]
    content_type: str = ""
    call_id: str = ""
    action: str = ""
    repeatable: bool = False
    absent: str = ""


@contextlib.asynccontextmanager
async def http_session(given: aiohttp.ClientSession | None) -> AsyncIterator[aiohttp.ClientSession]:
    """The session that was given, else the job's, else one for this once."""
    if given is None:
        with contextlib.suppress(RuntimeError):  # not in a job
            given = http_context.http_session()
    if given is not None:
        yield given
        return
    async with aiohttp.ClientSession() as own:
        yield own


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
    raise to_api_error(answer)  # from here: a traceback of `post` leads to the request and its headers


def _may_repeat(request: Request, failure: Failure) -> bool:
    return request.repeatable or failure.code in _NOT_DONE or failure.http_status in _NOT_DONE_STATUSES


async def _once(connection: Connection, request: Request, http: aiohttp.ClientSession) -> Answer | Failure:
    try:
        key = await connection.key()
    except LinkFailed as exc:
        return exc.failure
    where = connection.endpoint(request.service, call_id=request.call_id, action=request.action, key=key)
    answer = await post(
        where, request.body(key), http=http, content_type=request.content_type, timeout=connection.conn_options.timeout
    )
    if isinstance(answer, Failure) and answer.http_status == 404 and request.absent:
        row = FAILURES[request.absent]
        return replace(answer, meaning=row.meaning, remedy=row.remedy)
    return answer


async def post(
    where: Endpoint,
    body: Body,
    *,
    http: aiohttp.ClientSession,
    timeout: float,
    content_type: str = "",
    read_timeout: float = 0.0,
) -> Answer | Failure:
    """Send `body`. `timeout` (s) is for connecting, and for all of it together with `read_timeout` (s)."""
    try:
        limits = aiohttp.ClientTimeout(total=timeout + read_timeout, connect=timeout)
        headers = {**where.headers, **({"Content-Type": content_type} if content_type else {})}
        async with http.post(
            where.url,
            data=body or None,
            headers=headers,
            timeout=limits,
            allow_redirects=False,  # the next host would get the key
        ) as response:
            request_id = response.headers.get("x-request-id", "")
            if response.status // 100 == 2:
                return Answer(response.headers, await response.read(), request_id)
            failure = errors.from_http(
                response.status,
                body=hide(await response.text(errors="replace"), where.secrets),
                retry_after=retry_after(response.headers.get("Retry-After")),
                request_id=request_id,
            )
            return failure.hiding(where.secrets)
    except (OSError, asyncio.TimeoutError) as exc:
        cause = getattr(exc, "os_error", exc)  # aiohttp puts its own around the one that says what happened
        return errors.from_exception(cause).hiding(where.secrets)  # it may quote the URL
    except aiohttp.ClientError as exc:  # broken off
        return errors.from_exception(ConnectionError(str(exc))).hiding(where.secrets)
