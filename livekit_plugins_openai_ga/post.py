"""One POST: its answer, or one `Failure`. For uploads and for the HTTP side of the API."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import field

import aiohttp
from livekit.agents.utils import http_context

from . import errors
from .errors import Failure
from .redaction import hide, traces
from .transport.link import retry_after
from .wire.endpoint import Endpoint
from .wire.values import value

Body = aiohttp.Payload | aiohttp.FormData | None
"""What is sent; it knows its content type."""


@value
class Answer:
    """An answer of the 2xx kind. Header names are compared without case."""

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    request_id: str = ""


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


async def post(
    where: Endpoint,
    body: Body,
    *,
    http: aiohttp.ClientSession,
    timeout: float,
    read_timeout: float = 0.0,
    secrets: Iterable[str] = (),
) -> Answer | Failure:
    """Send `body`. `timeout` (s) is for connecting, and for all of it together with `read_timeout` (s).

    A failure shows none of the `secrets` in the body, and none of those of `where`.
    """
    hidden = (*where.secrets, *traces(secrets))
    try:
        limits = aiohttp.ClientTimeout(total=timeout + read_timeout, connect=timeout)
        async with http.post(
            where.url,
            data=body,
            headers=dict(where.headers),
            timeout=limits,
            allow_redirects=False,  # the next host would get the key
        ) as response:
            request_id = response.headers.get("x-request-id", "")
            if response.status // 100 == 2:
                return Answer(response.headers, await response.read(), request_id)
            failure = errors.from_http(
                response.status,
                body=hide(await response.text(errors="replace"), hidden),
                retry_after=retry_after(response.headers.get("Retry-After")),
                request_id=request_id,
            )
            return failure.hiding(hidden)
    except (OSError, asyncio.TimeoutError) as exc:
        cause = getattr(exc, "os_error", exc)  # aiohttp puts its own around the one that says what happened
        return errors.from_exception(cause).hiding(hidden)  # it may quote the URL
    except aiohttp.ClientError as exc:  # broken off
        return errors.from_exception(ConnectionError(str(exc))).hiding(hidden)
