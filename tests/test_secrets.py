"""Keys stay out of all that can be printed: records at DEBUG, errors, tracebacks with locals, reprs, pickles, warnings.

A table of who we are, what kind of session it is, and what the server does with the keys it is shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import logging
import pickle
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, APIError, APIStatusError, llm

from livekit_plugins_openai_ga import STT, RealtimeModel, Translator
from livekit_plugins_openai_ga.connection import Connection
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn, speak
from livekit_plugins_openai_ga.emulator.faults import (
    CloseOn,
    DropOn,
    FailResponse,
    FailTranscription,
    Fault,
    InjectOn,
    RefuseHandshake,
    RejectOn,
)
from livekit_plugins_openai_ga.errors import from_http
from livekit_plugins_openai_ga.redaction import Secret
from livekit_plugins_openai_ga.rest import Calls, create_client_secret
from livekit_plugins_openai_ga.transport.link import LinkFailed
from livekit_plugins_openai_ga.wire.endpoint import Service

pytestmark = pytest.mark.usefixtures("every_callback_told")

PROJECT = "sk-proj-verysecretkey1234567890"
AZURE = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
EPHEMERAL = "ek_68af296e8e408191a1120ab6383263c2"
OPAQUE = "gateway/opaque+words=here"
HEADER, QUERY, BASE_QUERY = "opaque.in.a.header", "opaque&in the=query", "opaque.in.base.url"
ALL = (PROJECT, AZURE, EPHEMERAL, OPAQUE, HEADER, QUERY, BASE_QUERY)
CONN = APIConnectOptions(max_retry=1, retry_interval=0.02, timeout=3.0)


# -- who we are ------------------------------------------------------------------------------------------------------


def elsewhere(server: Emulator) -> dict[str, Any]:
    """Keys wherever a gateway may take one."""
    return {
        "base_url": f"{server.base_url}?code={BASE_QUERY}",
        "extra_headers": {"X-Gateway-Key": HEADER},
        "extra_query": {"subscription": QUERY},
    }


async def fresh() -> str:
    await asyncio.sleep(0)
    return f" {OPAQUE}\n"


WHO: dict[str, Callable[[Emulator], tuple[bool, dict[str, Any]]]] = {
    "a key": lambda server: (False, {"api_key": PROJECT, **elsewhere(server)}),
    "an ephemeral key": lambda server: (False, {"api_key": EPHEMERAL, **elsewhere(server)}),
    "a gateway's key": lambda server: (False, {"api_key": OPAQUE, **elsewhere(server)}),
    "Azure's key": lambda server: (True, {"api_key": AZURE, **elsewhere(server)}),
    "a token": lambda server: (True, {"token": OPAQUE, **elsewhere(server)}),
    "a provider": lambda server: (True, {"provider": lambda: OPAQUE, **elsewhere(server)}),
    "an async provider": lambda server: (True, {"provider": fresh, **elsewhere(server)}),
}


def realtime(azure: bool, given: dict[str, Any]) -> RealtimeModel:
    given = {**given, "conn_options": CONN}
    if not azure:
        return RealtimeModel(**given)
    names = {"token": "entra_token", "provider": "azure_ad_token_provider"}
    return RealtimeModel.with_azure(azure_deployment="agent", **{names.get(n, n): v for n, v in given.items()})


def transcriber(azure: bool, given: dict[str, Any], **more: Any) -> STT:
    if not azure:
        return STT(model="gpt-transcribe", **given, **more)
    names = {"token": "azure_ad_token", "provider": "azure_ad_token_provider"}
    return STT.with_azure(model="gpt-transcribe", **{names.get(n, n): v for n, v in given.items()}, **more)


# -- what can be printed ---------------------------------------------------------------------------------------------


class Printed:
    """Everything that somebody could see, as pairs of a place and a text."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def add(self, place: str, thing: Any) -> None:
        self.found.append((place, thing if type(thing) is str else repr(thing)))

    def error(self, exc: BaseException) -> None:
        """The error, as logs and collectors of crashes show it: with what it holds, its causes, frames and locals."""
        self.add(f"str of {type(exc).__name__}", str(exc))
        self.add(f"{type(exc).__name__}", [exc, exc.args, vars(exc), getattr(exc, "body", None)])
        frames = exc.__traceback__.tb_next if exc.__traceback__ is not None else None  # ours holds the keys by right
        trace = traceback.TracebackException(type(exc), exc, frames, capture_locals=True)
        self.add("traceback", "".join(trace.format()))
        self.pickled(exc)

    def pickled(self, thing: Any) -> None:
        try:
            self.add(f"pickle of {type(thing).__name__}", pickle.dumps(thing).decode("latin-1"))
        except Exception as exc:
            self.add("refused pickle", str(exc))

    def everything_alive(self) -> None:
        """The repr of each object of this package, of each task, future and scheduled call."""
        for thing in gc.get_objects():
            package, _, rest = str(type(thing).__module__).partition(".")
            ours = package == "livekit_plugins_openai_ga" and not rest.startswith("emulator")
            if ours or issubclass(type(thing), (asyncio.Future, asyncio.Handle)):  # not isinstance: it asks proxies
                self.add(f"repr of {type(thing).__name__}", repr(thing))

    def holds_no_key(self) -> None:
        for place, text in self.found:
            for key in ALL:
                for form in (key, quote(key, safe=""), key[:12], key[-12:]):
                    assert form not in text, f"{form} in {place}: {text[:2000]}"


@pytest.fixture
def printed(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], every_callback_told: None
) -> Iterator[Printed]:
    printed = Printed()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield printed
    for warning in warned:
        printed.add("warning", f"{warning.message} {warning.source!r}")
    for record in caplog.get_records("call"):
        printed.add(f"record of {record.name}", f"{logging.Formatter().format(record)} {record.__dict__!r}")
    out, err = capfd.readouterr()
    printed.add("stdout", out)
    printed.add("stderr", err)
    told = [text for place, text in printed.found if place == "record of asyncio"]
    assert any("Executing" in text for text in told), "asyncio was to print every callback"
    printed.holds_no_key()


# -- what the server does --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scene:
    """`faults` are made of all keys, as one sentence; `told` says whether the application hears of an error."""

    faults: Callable[[str], list[Fault]]
    told: bool = True


def body(said: str) -> str:
    return '{"error":{"message":' + '"' + said + '","type":"auth","code":"invalid_api_key"}}'


SCENES: dict[str, Scene] = {
    "nothing goes wrong": Scene(lambda said: [], told=False),
    "401 with the keys": Scene(lambda said: [RefuseHandshake(401, body(f"Incorrect: {said}"), times=9)]),
    "401 that is no JSON": Scene(lambda said: [RefuseHandshake(401, f"no access with {said}", times=9)]),
    "500 with the keys": Scene(lambda said: [RefuseHandshake(500, f"upstream: {said}", times=9)]),
    "500 cut within a key": Scene(lambda said: [RefuseHandshake(500, ("x" * 480 + said)[:530], times=9)]),
    "closed behind an error": Scene(
        lambda said: [CloseOn("session.created", 3000, error=("invalid_api_key", f"Not known: {said}"), times=9)]
    ),
    "a broken frame": Scene(lambda said: [InjectOn("session.created", '{"error": "' + said)], told=False),
    # What a prewarmed connection was told is asked for once more.
    "an update refused": Scene(lambda said: [RejectOn("session.update", "invalid_value", f"Denied: {said}", times=2)]),
    "a connection lost": Scene(lambda said: [DropOn("session.updated")], told=False),
    "a transcription failed": Scene(lambda said: [FailTranscription("bad", f"Not done: {said}", times=9)]),
    "a reply failed": Scene(lambda said: [FailResponse("server_error", f"Not done: {said}", times=9)]),
}
"""What goes wrong, and every sentence about it has all the keys in it."""

SPOKEN = {"a transcription failed"}  # only speech to text waits for it here
WRITTEN = {"a reply failed"}
HTTP = {name for name in SCENES if name[0].isdigit()} | {"nothing goes wrong"}


def speech() -> list[rtc.AudioFrame]:
    pcm = speak("good morning", "alloy") + bytes(48000)
    pieces = (pcm[start : start + 4800] for start in range(0, len(pcm), 4800))
    return [rtc.AudioFrame(piece, 24000, 1, len(piece) // 2) for piece in pieces]


def listen_for_errors(to: Any, printed: Printed) -> list[BaseException]:
    errors: list[BaseException] = []

    def hear(event: Any) -> None:
        errors.append(event.error)
        printed.add("error event", [event, event.error, vars(event.error)])

    to.on("error", hear)
    return errors


async def converse(azure: bool, given: dict[str, Any], printed: Printed) -> list[BaseException]:
    """A session that asks for a reply."""
    model = realtime(azure, given)
    session = model.session()
    errors = listen_for_errors(session, printed)
    session.on("openai_server_event_received", lambda event: printed.add("raw event", event))
    try:
        await asyncio.wait_for(session.update_instructions("Be brief."), 8)
        reply = await asyncio.wait_for(session.generate_reply(), 8)
        async for message in reply.message_stream:
            async for _ in message.text_stream:
                pass
        await asyncio.sleep(0.05)  # what failed may be told behind the reply
    except Exception as exc:
        errors.append(exc)
    printed.everything_alive()
    for thing in (model, session, model.options, model.options.connection):
        printed.add("repr", thing)
        printed.pickled(thing)
    await session.aclose()
    return errors


async def stream(azure: bool, given: dict[str, Any], printed: Printed) -> list[BaseException]:
    """A stream of speech, on a connection that was prewarmed."""
    stt = transcriber(azure, given)
    errors = listen_for_errors(stt, printed)
    stt.prewarm()
    listening = stt.stream(conn_options=CONN)
    try:
        with contextlib.suppress(RuntimeError):  # it is closed already, by an error that comes below
            for frame in speech():
                listening.push_frame(frame)
                await asyncio.sleep(0)
            listening.end_input()
        async for _ in listening:
            pass
    except APIError as exc:
        errors.append(exc)
    printed.everything_alive()
    for thing in (stt, listening, stt.options):
        printed.add("repr", thing)
        printed.pickled(thing)
    await listening.aclose()
    await stt.aclose()
    return errors


async def recognize(azure: bool, given: dict[str, Any], printed: Printed, **more: Any) -> list[BaseException]:
    """A whole utterance."""
    stt = transcriber(azure, given, **more)
    errors = listen_for_errors(stt, printed)
    try:
        await stt.recognize(speech(), conn_options=CONN)
    except APIError as exc:
        errors.append(exc)
    printed.everything_alive()
    await stt.aclose()
    return errors


async def upload(azure: bool, given: dict[str, Any], printed: Printed) -> list[BaseException]:
    """A whole utterance by HTTP."""
    return await recognize(azure, given, printed, use_realtime=False)


async def interpret(azure: bool, given: dict[str, Any], printed: Printed) -> list[BaseException]:
    """A stream of translation. Azure has none."""
    translator = Translator(target_language="de", **given, conn_options=CONN)
    translation = translator.stream()
    errors = listen_for_errors(translation, printed)
    with contextlib.suppress(RuntimeError):  # it is over already, by an error that comes below
        for frame in speech():
            translation.push_frame(frame)
            await asyncio.sleep(0)
    translation.end_input()
    try:
        async for _ in translation.transcript:
            pass
    except APIError as exc:
        errors.append(exc)
    printed.everything_alive()
    for thing in (translator, translation, translation.options, translation.info):
        printed.add("repr", thing)
        printed.pickled(thing)
    await translator.aclose()
    return errors


async def mint(azure: bool, given: dict[str, Any], printed: Printed) -> list[BaseException]:
    """A client secret is made, and a call of somebody else's hung up."""
    model, errors = realtime(azure, given), []
    calls = Calls(model)
    try:
        printed.add("client secret", await create_client_secret(model))
        with contextlib.suppress(APIStatusError):
            await calls.hangup("rtc_1")
    except APIError as exc:
        errors.append(exc)
    printed.everything_alive()
    for thing in (model, calls):
        printed.add("repr", [thing, vars(thing)])
        printed.pickled(thing)
    return errors


KINDS: dict[str, tuple[Callable[..., Any], set[str]]] = {
    "conversation": (converse, set(SCENES) - SPOKEN),
    "stream": (stream, set(SCENES) - WRITTEN),
    "utterance": (recognize, set(SCENES) - WRITTEN - {"a connection lost"}),
    "upload": (upload, HTTP),
    "client secret": (mint, HTTP),
}
PLAYED = [
    *((kind, scene, "a key") for kind, (_, scenes) in KINDS.items() for scene in SCENES if scene in scenes),
    *((kind, scene, "a gateway's key") for kind in KINDS for scene in ("401 with the keys", "500 with the keys")),
    *(("conversation", "an update refused", who) for who in WHO if who != "a key"),
    *((kind, "401 with the keys", who) for kind in KINDS for who in WHO if who not in ("a key", "a gateway's key")),
]
PLAYED += [("translation", scene, "a key") for scene in SCENES if scene not in SPOKEN | WRITTEN]
PLAYED.remove(("client secret", "401 with the keys", "an ephemeral key"))  # it cannot make another


@pytest.mark.parametrize(("kind", "scene", "who"), PLAYED)
async def test_no_key_is_printed(kind: str, scene: str, who: str, printed: Printed) -> None:
    played = interpret if kind == "translation" else KINDS[kind][0]
    async with Emulator(Script([Turn(heard="good morning", say="Good morning.")] * 3)) as server:
        server.secrets.mint({"type": "realtime"}, value=EPHEMERAL)
        azure, given = WHO[who](server)
        used = [key for key in (PROJECT, AZURE, EPHEMERAL, OPAQUE) if key in (given.get("api_key"), given.get("token"))]
        used = [*(used or [OPAQUE]), HEADER, QUERY, BASE_QUERY]
        for fault in SCENES[scene].faults(" and ".join(used)):
            server.add_fault(fault)
        errors = await played(azure, given, printed)
        shown = [f"{dict(shake.headers)} {dict(shake.query)}" for shake in (*server.handshakes, *server.requests)]
        assert all(key in shown[0] for key in used), "the keys were to be shown to the server"
    for error in errors:
        printed.error(error)
    assert bool(errors) == SCENES[scene].told or scene == "a connection lost"


@pytest.mark.parametrize("kind", KINDS)
async def test_no_key_is_printed_when_nobody_listens(kind: str, printed: Printed) -> None:
    async with Emulator() as server:
        azure, given = WHO["a key"](server)
    errors = await KINDS[kind][0](azure, given, printed)
    for error in errors:
        printed.error(error)
    assert errors


@pytest.mark.parametrize("who", ["a provider that fails", "a provider of something else", "a provider of two words"])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_provider_gives_is_not_printed_when_it_is_of_no_use(kind: str, who: str, printed: Printed) -> None:
    async def provider() -> Any:
        if who == "a provider that fails":
            raise RuntimeError(f"cannot refresh {EPHEMERAL} for Bearer {OPAQUE}{OPAQUE}")
        return (OPAQUE, 3600) if who == "a provider of something else" else f"{OPAQUE} {PROJECT}"

    async with Emulator() as server:
        errors = await KINDS[kind][0](True, {"provider": provider, **elsewhere(server)}, printed)
        assert server.handshakes == []
    for error in errors:
        printed.error(error)
    assert errors


@pytest.mark.parametrize("reason", [f"bad key {PROJECT}", f"invalid_request_error.{HEADER}", f"{HEADER} {OPAQUE}"])
async def test_no_key_in_the_reason_of_a_close_is_printed(reason: str, printed: Printed) -> None:
    async with Emulator(faults=[CloseOn("session.created", 3000, reason, times=9)]) as server:
        azure, given = WHO["a gateway's key" if OPAQUE in reason else "a key"](server)
        for kind in (converse, stream):
            for error in (errors := await kind(azure, given, printed)):
                printed.error(error)
            assert errors


# -- holding a key ---------------------------------------------------------------------------------------------------


def connection() -> Connection:
    return Connection.create(
        base_url=f"https://gateway.example/v1?code={BASE_QUERY}",
        api_key=PROJECT,
        extra_headers={"X-Gateway-Key": HEADER},
        extra_query={"subscription": QUERY},
    )


def test_what_holds_a_key_shows_none_and_cannot_be_pickled() -> None:
    printed = Printed()
    held = [connection(), connection().endpoint(Service.UPLOAD)]
    model = RealtimeModel(api_key=PROJECT, extra_headers={"X-Gateway-Key": HEADER})
    held += [model, model.options, STT(api_key=PROJECT), STT(api_key=PROJECT, use_realtime=False).options]
    for thing in held:
        printed.add("repr", thing)
        printed.add("copy", copy.copy(thing))
        with pytest.raises(TypeError) as caught:
            pickle.dumps(thing)
        printed.error(caught.value)
    printed.holds_no_key()
    with pytest.raises(TypeError, match="cannot be pickled: make it anew"):
        pickle.dumps(connection())


def test_headers_can_be_printed_and_are_still_what_is_sent() -> None:
    headers = connection().endpoint(Service.REALTIME, model="m").headers
    assert f"{PROJECT}" in f"Bearer {PROJECT}" == headers["Authorization"]
    assert repr(dict(headers)) == "{'Authorization': [redacted], 'X-Gateway-Key': [redacted]}"


def test_a_failed_link_can_be_pickled_and_holds_no_key() -> None:
    printed = Printed()
    failure = from_http(401, body=f"Incorrect API key provided: {PROJECT}").hiding([HEADER])
    for thing in (failure, LinkFailed(failure)):
        printed.pickled(thing)
    assert [place for place, _ in printed.found] == ["pickle of Failure", "pickle of LinkFailed"]
    printed.holds_no_key()


@pytest.mark.parametrize("base_url", [f"https://user:{OPAQUE[8:]}@gateway.example/v1", f"https://[{OPAQUE}/v1"])
def test_a_url_that_is_refused_is_not_quoted(base_url: str) -> None:
    with pytest.raises(ValueError, match="base_url") as caught:
        RealtimeModel(api_key=PROJECT, base_url=base_url)
    assert OPAQUE[8:] not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_secret_is_text() -> None:
    secret = Secret("abc")
    assert (secret, f"{secret}", str(secret), secret.encode()) == ("abc", "abc", "abc", b"abc")
    assert {secret: 1}["abc"] == 1
    assert copy.deepcopy([secret]) == ["abc"]
    assert repr([copy.deepcopy([secret]), copy.copy(secret)]) == "[[[redacted]], [redacted]]"
    assert llm.ChatMessage(role="user", content=[secret]).text_content == "abc"
