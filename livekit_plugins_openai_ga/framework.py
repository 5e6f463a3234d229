"""What differs between releases of LiveKit Agents, from 1.2.8 on. No other module knows one release from another.

The rest of the package is written for the newest release. What it needs and older ones lack:

| name | here since | before |
|---|---|---|
| fields of events, capabilities, errors | 1.3.12 to 1.8.9 | `make` leaves them out, and sets them as attributes |
| tools as classes | 1.3.12 | marks on a function: `raw_schema`, `llm.is_function_tool` |
| `ProviderTool` | 1.3.12 | looks like a function that nobody calls: `let_through` |
| `ToolContext.flatten` | 1.3.12 | there are no toolsets: `flat_tools` |
| `Metadata` of metrics | 1.3.12 | metrics do not keep it |
| `SpeechEventType.PREFLIGHT_TRANSCRIPT` | 1.3.12 | an interim transcript |
| several messages in a reply are played | 1.5.12 | only the first: `PLAYS_ONE_MESSAGE`, and they are joined |
| `RemoteItemAddedEvent` | 1.5.17 | the same, and nobody listens |
| `LanguageCode` | 1.5.17 | the same, without names such as `german` |
| `_report_connection_acquired` | 1.5.17 | not told: `report_acquired` |
| `_update_session` | 1.5.17 | three calls, each waited for: `sets_up_in_steps` |
| errors that cannot get better end a stream | 1.6.10 | `fair_retries`, `real_reason` |
| `Instructions` that are rendered | 1.8.9 | they are a text: `plain_instructions` |
| `inference.VAD` | 1.6.10 | livekit-plugins-silero: `voice_detector` |
| a long attempt gives a stream its retries back | 1.8.9 | `fair_retries` |

Found in the packages of 1.2.8, 1.3.12, 1.5.17, 1.6.10, 1.7.1 and 1.8.9, which `tests/matrix` runs; a release in
between may have it already.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import inspect
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import livekit.agents
from livekit.agents import APIConnectionError, APIError, get_job_context, llm, stt, vad

P = ParamSpec("P")
T = TypeVar("T")

if TYPE_CHECKING:
    from livekit.agents import LanguageCode as LanguageCode
    from livekit.agents import ProviderTool as ProviderTool
    from livekit.agents.llm import RemoteItemAddedEvent as RemoteItemAddedEvent
    from livekit.agents.metrics.base import Metadata as Metadata
else:
    try:
        from livekit.agents.metrics.base import Metadata
    except ImportError:
        Metadata = dict
    try:
        from livekit.agents import LanguageCode
    except ImportError:

        class LanguageCode(str):
            """A language as whoever names it does."""

            @property
            def language(self) -> str:
                """Without the region: `de` of `de-DE`."""
                return self.replace("_", "-").partition("-")[0].lower()

    try:
        from livekit.agents import ProviderTool
    except ImportError:

        class ProviderTool:
            """A tool that the provider runs."""

    try:
        from livekit.agents.llm import RemoteItemAddedEvent
    except ImportError:

        @dataclass
        class RemoteItemAddedEvent:
            """The server has a new item."""

            previous_item_id: str | None
            item: llm.ChatItem


PREFLIGHT_TRANSCRIPT = getattr(stt.SpeechEventType, "PREFLIGHT_TRANSCRIPT", stt.SpeechEventType.INTERIM_TRANSCRIPT)
"""A text that will hardly change; LiveKit may begin to answer it."""

PLAYS_ONE_MESSAGE = tuple(map(int, re.findall(r"\d+", livekit.agents.__version__)[:3])) < (1, 5, 12)
"""Whether LiveKit plays the first message of a reply only; nothing but the release tells."""


def make(kind: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`kind(*args, **kwargs)` of LiveKit's, whether or not this release of it has all of these fields.

    What it lacks becomes a plain attribute, so that who knows of it can read it.
    """
    known = _parameters(kind)
    made = cast(Callable[..., T], kind)(*args, **{name: kwargs[name] for name in kwargs if name in known})
    for name in kwargs.keys() - known:
        setattr(made, name, kwargs[name])
    return made


@functools.cache
def _parameters(kind: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(kind).parameters)


def raw_schema(tool: object) -> dict[str, Any] | None:
    """The schema a tool was declared with; None when it was not declared with one."""
    if not callable(tool) or not llm.is_raw_function_tool(tool):
        return None
    from livekit.agents.llm.tool_context import get_raw_function_info

    return get_raw_function_info(tool).raw_schema


def let_through(tool: ProviderTool, name: str) -> None:
    """Make LiveKit take a tool that the provider runs. Older releases look it up by its name, which is never called."""
    if not hasattr(livekit.agents, "ProviderTool"):
        mark: Callable[..., object] = llm.function_tool
        mark(tool, raw_schema={"name": name, "parameters": {}})


def flat_tools(tools: Sequence[Any]) -> list[llm.Tool]:
    """An agent's tools as LiveKit gives them to a session: those of its toolsets by themselves."""
    context = llm.ToolContext(list(tools))
    flatten = getattr(context, "flatten", None)
    return list(context.function_tools.values() if flatten is None else flatten())


def plain_instructions(instructions: Any, *, spoken: bool) -> str:
    """An agent's instructions as LiveKit gives them to a session whose replies are `spoken`, or written."""
    render = getattr(instructions, "render", None)
    return str(instructions if render is None else render(modality="audio" if spoken else "text"))


def report_acquired(owner: llm.RealtimeSession[Any] | stt.RecognizeStream, *measured: Any) -> None:
    """Tell LiveKit's metrics how long a connection took, in seconds; for a stream also whether it was reused."""
    report = getattr(owner, "_report_connection_acquired", None)
    if report is not None:
        report(*measured)


def sets_up_in_steps() -> bool:
    """Whether LiveKit gives a new session its instructions, history and tools in three calls, one after the other."""
    return not hasattr(llm.RealtimeSession, "_update_session")


def job_attributes() -> dict[str, str]:
    """What LiveKit's own metrics say of the job they are from; empty outside a job."""
    try:
        job = get_job_context().job
    except RuntimeError:
        return {}
    return {"room_id": job.room.sid, "job_id": job.id}


def is_heard(emitter: Any, event: str) -> bool:
    """Whether anybody listens to events of this name. No release of LiveKit says so; one that keeps its listeners
    elsewhere is taken to have some."""
    listeners = getattr(emitter, "_events", None)
    return not isinstance(listeners, dict) or bool(listeners.get(event))


@contextlib.contextmanager
def fair_retries(stream: stt.RecognizeStream) -> Iterator[None]:
    """Around one attempt of a stream: its failure counts as it does in the newest release.

    One that cannot get better is not tried again. One that comes long after the connect timeout is the first of a new
    row; older releases would count those of hours together while nobody speaks, and then end the stream.
    """
    options = stream._conn_options
    began = time.monotonic()
    try:
        yield
    except APIError as error:
        if not error.retryable:
            stream._num_retries = options.max_retry
        elif time.monotonic() - began > 2 * options.timeout:
            stream._num_retries = 0
        raise


@contextlib.contextmanager
def real_reason() -> Iterator[None]:
    """Around the reading of a stream: a failure that cannot get better comes out as it is, as in the newest release.

    Older ones say "failed to recognize speech after 3 attempts" instead.
    """
    try:
        yield
    except APIConnectionError as error:
        if isinstance(error.__cause__, APIError) and not error.__cause__.retryable:
            raise error.__cause__ from None
        raise


def voice_detector() -> Callable[[], vad.VAD]:
    """What makes LiveKit's own voice activity detector. Raises ValueError when it is not installed."""
    bundled = getattr(getattr(livekit.agents, "inference", None), "VAD", None)
    if bundled is not None:
        return functools.partial(bundled, model="silero")
    if importlib.util.find_spec("livekit.plugins.silero") is not None:
        return lambda: cast(vad.VAD, importlib.import_module("livekit.plugins.silero").VAD.load())
    raise ValueError(
        "vad is missing: this model needs a voice activity detector, and this release of LiveKit Agents brings none. "
        "Install livekit-plugins-silero, or pass vad=... (None: you end segments with flush())."
    )
